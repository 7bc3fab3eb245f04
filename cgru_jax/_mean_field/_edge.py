r"""How far beyond one the spectrum of a fixed point reaches, however little that is.

A broad update gate (in an LSTM: forget gate) pinches the edge of an unstable fixed point
onto one: $\lambda_e - 1$ is exponentially small in its gain. It is found as a logarithm;
as a number it would be lost beside the one.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, ArrayLike, Float

from .._implicit import attach
from .._program import hoist
from .._results import RESULTS, choose
from ._averages import gaussian_mean, on_a_line
from ._coefficients import AbstractCoefficients
from ._ensembles import AbstractEnsemble, LSTMEnsemble
from ._solve import check_ensemble, refuse, scalar
from ._spectrum import resting_variance, support_at
from ._static import FINE, gate_variance, lstm_pushes, stability_of

# Bisection ends at 1e-13 of the widest interval.
_HALVINGS = 54
_GATE = on_a_line(321)  # the feature may lie eight deviations from the middle


class SpectralEdge(eqx.Module):
    """The largest real multiplier at a fixed point, all of shape `()`.

    `log_excess` is log(`edge` − 1), −∞ where the edge is not beyond one.
    """

    edge: Float[Array, ""]
    log_excess: Float[Array, ""]
    stability: Float[Array, ""]
    result: RESULTS


class Disc(eqx.Module):
    """A disc around a real `centre`; `radius` of the same shape `()`."""

    centre: Float[Array, ""]
    radius: Float[Array, ""]


def spectral_edge(
    source: AbstractEnsemble | AbstractCoefficients, variance: ArrayLike | None = None
) -> SpectralEdge:
    r"""The right edge of the spectrum of a step's Jacobian, and so the spectral radius.

    It is where the support ends on the real line; no eigenvalue is larger in size, as
    gates are positive. For an ensemble the edge is that of a static state for N → ∞. A
    stable state (`stability` below one) whose gates differ from unit to unit has
    eigenvalues up to one, exponentially few of them, so that its edge is one; the radius
    of a network of finite size stays below and must not be compared with it.

    **Arguments:**

    - `source`: an ensemble, or the coefficients of a state (`measure_coefficients`).
    - `variance`: of the static state of an ensemble: a root of `solve_mean_field`, zero
      for the silent state, or nothing for the largest root (zero if there is none).

    **Returns:** a `SpectralEdge`, differentiable in the ensemble, as `log_excess` is.

    **Fails:** NaN and `result.nonfinite`, `negative`; `not_converged` if the mean field
    was not solved, or if the inputs of the forget gates are so broad (a standard deviation
    beyond 14) that $\langle V(1) \rangle$ is no number.

    **Raises:** `ValueError` in single precision, and for a `variance` that is no scalar.

    **Source:** derived for this package: $\kappa\, E[(z / (z + \epsilon))^2] = 1$ with the
    update rate z, and its like for LSTMs.
    """
    if isinstance(source, AbstractCoefficients):
        return _edge_of(source)
    check_ensemble("spectral_edge", source)
    if variance is None:
        return _edge(source, resting_variance(source))
    return _edge(source, scalar("spectral_edge", "variance", variance))


def zero_state_disc(ensemble: AbstractEnsemble) -> Disc:
    r"""The disc that the eigenvalues of the silent network fill, for biases without spread.

    **Returns:** a `Disc` in the plane of the multipliers of a step: around $1 - z_0$ with
    radius $z_0 r_0 g_h$ for both GRUs, around $f_0$ with radius $i_0 o_0 g_c$ for an LSTM,
    which has N more eigenvalues that are zero.

    **Fails:** NaN if a gate's bias has a spread, or the candidate a bias; for a number
    that is not finite or negative where it is a gain or a spread.

    **Source:** derived for this package from the circular law.
    """
    check_ensemble("zero_state_disc", ensemble)
    e = ensemble
    if isinstance(e, LSTMEnsemble):
        centre, radius = sigmoid(e.m_f), sigmoid(e.m_i) * sigmoid(e.m_o) * e.g_c
        spreads = (e.m_c, e.s_f, e.s_i, e.s_o, e.s_c)
    else:
        centre, radius = sigmoid(-e.m_z), sigmoid(e.m_z) * sigmoid(e.m_r) * e.g_h
        spreads = (e.m_h, e.s_h, e.s_r, e.s_z)
    infinite, negative = refuse(e)
    bad = infinite | negative | jnp.any(jnp.stack(spreads) != 0)
    return Disc(jnp.where(bad, jnp.nan, centre), jnp.where(bad, jnp.nan, radius))


@functools.singledispatch
def _log_support(ensemble: AbstractEnsemble, q, t):
    """log of the support function at 1 + e^t, for t of shape `()`."""
    e = ensemble
    variance = gate_variance(e.g_z, e.s_z, q)
    # The average has its step where log z = t: it is taken around there.
    shift = jax.lax.stop_gradient(jnp.minimum(t, 0.0))
    share = gaussian_mean(_caught, _GATE, (e.m_z - shift,), (variance,), (t, shift))
    return jnp.log(stability_of(e, q, FINE) * share)


@_log_support.register
def _(ensemble: LSTMEnsemble, q, t):
    e = ensemble
    inside, output = lstm_pushes(e, q, FINE, _forgotten, (t,))
    return jnp.log(inside + output / (1 + jnp.exp(t)) ** 2)


def _caught(x, t, shift):
    return sigmoid(log_sigmoid(x + shift) - t) ** 2


def _forgotten(x, t):
    return sigmoid(log_sigmoid(-x) - t)


@eqx.filter_jit
def _edge(ensemble, q):
    infinite, negative = refuse(ensemble)
    stability = stability_of(ensemble, q, FINE)
    frozen, fixed = jax.lax.stop_gradient((ensemble, q))
    radius = jax.lax.stop_gradient(stability)
    mean, _, variance = jax.lax.stop_gradient(_slow_gate(ensemble, q))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        inside = _log_support(frozen, fixed, middle) > 0
        return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

    highest = jnp.log(10 + 2 * jnp.sqrt(radius))
    # No gate is nearer to its limit than nine deviations beyond its mean allow.
    lowest = -700 - jnp.abs(mean) - 9 * jnp.sqrt(variance)
    t = sum(jax.lax.fori_loop(0, _HALVINGS, halve, (lowest, highest))) / 2
    beyond = (radius > 1) & (t > lowest + 1)
    # A radius above one has an edge; it need not be resolved, or not be a number.
    known = jnp.isfinite(radius) & ~infinite & ~negative & ((radius <= 1) | beyond)
    beyond &= known
    program, arrays = hoist(lambda t: _log_support(ensemble, q, t[0])[None], t[None])
    t = attach(program, arrays, jnp.where(beyond, t, 0.0)[None], beyond)[0]
    below = _stable_edge(ensemble, q, known)
    edge = jnp.where(beyond, 1 + jnp.exp(t), jnp.where(known, below, jnp.nan))
    excess = jnp.where(beyond, t, jnp.where(known, -jnp.inf, jnp.nan))
    result = choose(
        RESULTS,
        RESULTS.successful,
        (infinite, RESULTS.nonfinite),
        (negative, RESULTS.negative),
        (~known, RESULTS.not_converged),
    )
    return SpectralEdge(edge, excess, jnp.where(known, stability, jnp.nan), result)


@eqx.filter_jit
def _edge_of(coefficients):
    """The edge of a state: beyond the last of the gates the support only decreases."""
    frozen = jax.lax.stop_gradient(coefficients)
    # Distances from one: a gate may keep all but 1e-30.
    least = jnp.min(frozen.z)

    def beyond(t, k):
        over = jnp.exp(t) - least
        return jnp.log(support_at(k, jnp.exp(t) + (k.z - least), 1 + over))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        inside = beyond(middle, frozen) > 0
        return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

    # No gain of a network makes an edge of e^20, and no coefficient is slower than e^−320.
    t = sum(jax.lax.fori_loop(0, _HALVINGS, halve, (-350.0, 20.0))) / 2
    stability = support_at(coefficients, coefficients.z, 1.0)
    known = jnp.isfinite(stability)
    program, arrays = hoist(lambda t: beyond(t[0], coefficients)[None], t[None])
    t = attach(program, arrays, t[None], known)[0]
    excess = jnp.exp(t) - least
    over = known & (stability > 1)
    logarithm = jnp.log(jnp.where(over, excess, 1))
    logarithm = jnp.where(over, logarithm, jnp.where(known, -jnp.inf, jnp.nan))
    result = RESULTS.where(known, RESULTS.successful, RESULTS.nonfinite)
    return SpectralEdge(jnp.where(known, 1 + excess, jnp.nan), logarithm, stability, result)


def _slow_gate(e, q):
    """Mean, and share that a step keeps, of the update (LSTM: forget) gate at its mean, and
    the variance of its input."""
    if isinstance(e, LSTMEnsemble):
        return e.m_f, sigmoid(e.m_f), gate_variance(e.g_f, e.s_f, q)
    return e.m_z, sigmoid(-e.m_z), gate_variance(e.g_z, e.s_z, q)


def _stable_edge(e, q, known):
    """The edge of a stable state: one, but for gates that are the same in all units."""
    _, keep, variance = _slow_gate(e, q)
    if isinstance(e, LSTMEnsemble):
        inside, output = lstm_pushes(e, q, FINE, jnp.ones_like)
    else:
        inside, output = stability_of(e, q, FINE), jnp.zeros(())

    def beyond(x):
        return inside * ((1 - keep) / (x - keep)) ** 2 + output / x**2 - 1

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        reached = beyond(middle) > 0
        return jnp.where(reached, middle, low), jnp.where(reached, high, middle)

    ends = jax.lax.stop_gradient(keep), jnp.ones(())
    x = sum(jax.lax.fori_loop(0, _HALVINGS, halve, ends)) / 2
    program, arrays = hoist(lambda x: beyond(x[0])[None], x[None])
    known = known & (variance == 0) & (inside + output < 1)
    return jnp.where(known, attach(program, arrays, x[None], known)[0], 1.0)
