r"""What one unit of a large random network does at rest, given the variance of all.

At a fixed point the inputs of every gate are independent normal numbers whose variances
follow from $q = \langle h^2 \rangle$, and q from them: `variance_map` is this function of
q. `stability_of` is the squared radius of the fixed point's Jacobian, seen from the
boundary of stability: below one the fixed point is stable.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float

from ._averages import gaussian_mean, line, long_line, on_a_line, short_line
from ._ensembles import AbstractEnsemble, GRUEnsemble, LSTMEnsemble, ResetAfterGRUEnsemble


class Rules(NamedTuple):
    """How averages over one, two and three variables are taken."""

    one: object
    two: object
    three: object


@functools.singledispatch
def variance_map(
    ensemble: AbstractEnsemble, q: Float[Array, ""], rules: Rules
) -> Float[Array, ""]:
    r"""The variance $F(q)$ of the outputs of units whose inputs have the variance `q`."""
    raise NotImplementedError(type(ensemble))


@functools.singledispatch
def stability_of(
    ensemble: AbstractEnsemble, q: Float[Array, ""], rules: Rules
) -> Float[Array, ""]:
    """The squared radius that a fixed point of variance `q` is stable below one of."""
    raise NotImplementedError(type(ensemble))


def gate_variance(gain, spread, q):
    """The variance of a gate's input."""
    return gain**2 * q + spread**2


@variance_map.register
def _(ensemble: GRUEnsemble, q, rules):
    e = ensemble
    open_, _ = reset_gate(e, q, rules)
    variance = gate_variance(e.g_h, e.s_h, open_ * q)
    return gaussian_mean(_tanh_squared, rules.one, (e.m_h,), (variance,))


@stability_of.register
def _(ensemble: GRUEnsemble, q, rules):
    e = ensemble
    open_, slope = reset_gate(e, q, rules)
    variance = gate_variance(e.g_h, e.s_h, open_ * q)
    slopes = gaussian_mean(_sech_to_the_fourth, rules.one, (e.m_h,), (variance,))
    return e.g_h**2 * (open_ + e.g_r**2 * q * slope) * slopes


def reset_gate(e, q, rules):
    """Mean squares of the reset gate and of its slope."""
    variance = gate_variance(e.g_r, e.s_r, q)
    return gaussian_mean(_gate_squares, rules.one, (e.m_r,), (variance,))


@variance_map.register
def _(ensemble: ResetAfterGRUEnsemble, q, rules):
    e = ensemble
    variances = gate_variance(e.g_h, e.s_h, q), gate_variance(e.g_r, e.s_r, q)
    return gaussian_mean(_reset_tanh_squared, rules.two, (e.m_h, e.m_r), variances)


@stability_of.register
def _(ensemble: ResetAfterGRUEnsemble, q, rules):
    e = ensemble
    variances = gate_variance(e.g_h, e.s_h, q), gate_variance(e.g_r, e.s_r, q)
    candidate, gate = gaussian_mean(_reset_slopes, rules.two, (e.m_h, e.m_r), variances)
    return e.g_h**2 * candidate + e.g_r**2 * gate


@variance_map.register
def _(ensemble: LSTMEnsemble, q, rules):
    e = ensemble
    output, _ = _output_gate(e, q, rules)
    means, variances = (e.m_f, e.m_i, e.m_c), _lstm_variances(e, q)
    return output * gaussian_mean(_resting_square, rules.three, means, variances)


@stability_of.register
def _(ensemble: LSTMEnsemble, q, rules):
    e = ensemble
    return sum(lstm_pushes(e, q, rules, jnp.ones_like))


def lstm_pushes(e: LSTMEnsemble, q, rules, share, extra=()):
    """The mean square gain of a push through the cell, and through the output gate.

    The first is weighted with the square of `share(x_f, *extra)`.
    """
    output, slope = _output_gate(e, q, rules)
    means, variances = (e.m_f, e.m_i, e.m_c), _lstm_variances(e, q)
    slopes = functools.partial(_resting_slopes, share)
    forget, into, candidate, square = gaussian_mean(
        slopes, rules.three, means, variances, extra
    )
    inside = e.g_f**2 * forget + e.g_i**2 * into + e.g_c**2 * candidate
    return output * inside, e.g_o**2 * slope * square


def _output_gate(e, q, rules):
    variance = gate_variance(e.g_o, e.s_o, q)
    return gaussian_mean(_gate_squares, rules.one, (e.m_o,), (variance,))


def _lstm_variances(e, q):
    return tuple(
        gate_variance(getattr(e, f"g_{k}"), getattr(e, f"s_{k}"), q) for k in "fic"
    )


def _gate_squares(x):
    gate = sigmoid(x)
    return gate**2, (gate * sigmoid(-x)) ** 2


def _tanh_squared(x):
    return jnp.tanh(x) ** 2


def _sech_squared(x):
    # 1 − tanh² has no digits left where it is small.
    e = jnp.exp(-2 * jnp.abs(x))
    return 4 * e / (1 + e) ** 2


def _sech_to_the_fourth(x):
    return _sech_squared(x) ** 2


def _reset_tanh_squared(x, rho):
    return jnp.tanh(sigmoid(rho) * x) ** 2


def _reset_slopes(x, rho):
    r = sigmoid(rho)
    slope = _sech_squared(r * x) ** 2
    return slope * r**2, slope * (x * r * sigmoid(-rho)) ** 2


def _resting_square(f, i, c):
    # 1 / (1 − σ(f)) is 1 + e^f: formed from σ it would overflow.
    return jnp.tanh(sigmoid(i) * jnp.tanh(c) * (1 + jnp.exp(f))) ** 2


def _resting_slopes(share, f, i, c, *extra):
    """Squares of what a push does, by the gate where it enters, and of the output."""
    gate, candidate = sigmoid(i), jnp.tanh(c)
    slow = 1 + jnp.exp(f)
    cell = gate * candidate * slow
    slope = _sech_squared(cell) * share(f, *extra)
    return (
        (slope * cell * sigmoid(f)) ** 2,
        (slope * cell * sigmoid(-i)) ** 2,
        (slope * gate * _sech_squared(c) * slow) ** 2,
        jnp.tanh(cell) ** 2,
    )


@functools.lru_cache
def _on_a_plane(count):
    """The rule for (input, gate): a gate that is a switch, and an output that saturates."""

    def rule(f, means, deviations):
        x, weights = line(means[0], deviations[0], count)
        rho, gate_weights = line(means[1], deviations[1], count)
        values = f(x[:, None], rho)
        return jax.tree.map(
            lambda v: jnp.sum(weights * jnp.sum(gate_weights * v, axis=1)), values
        )

    return rule


@functools.lru_cache
def _in_space(forget, into, candidate):
    """The rule for (forget gate, input gate, candidate) of an LSTM at rest.

    The candidate's nodes follow the gates: the cell saturates where the candidate is as
    small as e^−f, and averages that contain e^2f get their weight from there.
    """

    def rule(f, means, deviations):
        x_f, weights_f = long_line(means[0], deviations[0], forget)
        x_i, weights_i = line(means[1], deviations[1], into)

        def inner(x_f, x_i):
            scale = 1 / (1 + sigmoid(x_i) * (1 + jnp.exp(x_f)))
            x_c, weights, end, cut = short_line(means[2], deviations[2], candidate, scale)

            def mean(values):
                far = jnp.where(cut, values[-1], 0)
                return far + jnp.sum(weights * (values[:-1] - far))

            return jax.tree.map(mean, f(x_f, x_i, jnp.append(x_c, end)))

        def slice_(total, node):
            x, weight = node
            values = jax.vmap(inner, (None, 0))(x, x_i)
            add = lambda t, v: t + weight * jnp.sum(weights_i * v)
            return jax.tree.map(add, total, values), None

        # Slice by slice: all nodes at once would not fit a cache.
        shapes = jax.eval_shape(inner, x_f[0], x_i[0])
        none = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return jax.lax.scan(slice_, none, (x_f, weights_f))[0]

    return rule


# Nodes after which digits no longer change, measured at gains up to 100 (20 of a forget
# gate): the eighth for the fine rules and, enough to see between which two points a root
# lies, the third.
FINE = Rules(on_a_line(161), _on_a_plane(97), _in_space(81, 41, 33))
COARSE = Rules(on_a_line(65), _on_a_plane(41), _in_space(33, 17, 21))
