r"""What the spectrum of a large Jacobian depends on: one handful of numbers per unit.

The Jacobian of a step, `I + jacobian of the increment`, is a sum of diagonal matrices
times random ones. Their entries at a state are the coefficients; where the state comes
from (a network, samples of a theory, nodes of a rule) makes no difference.
"""

import functools

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jax.scipy.special import ndtri
from jaxtyping import Array, ArrayLike, Float

from .._cells import GRU, LSTM, AbstractCell, ResetAfterGRU
from .._cells._base import dot
from .._errors import check_whole, check_x64, real_array
from ._ensembles import AbstractEnsemble, GRUEnsemble, LSTMEnsemble, ResetAfterGRUEnsemble
from ._solve import check_ensemble, scalar
from ._static import gate_variance


class AbstractCoefficients(eqx.Module):
    """Coefficients of `n` units or samples, whose weights have the sum one."""


class GRUCoefficients(AbstractCoefficients):
    r"""The Jacobian $D_{1-z} + D_a U_z + D_b U_h (D_r + D_c U_r)$ of a GRU's step.

    $a = (y - h) z (1 - z)$, $b = z (1 - y^2)$, $c = h r (1 - r)$ with the candidate y and
    the update rate z, all before the step.
    """

    z: Float[Array, " n"]
    r: Float[Array, " n"]
    a: Float[Array, " n"]
    b: Float[Array, " n"]
    c: Float[Array, " n"]
    weights: Float[Array, " n"]
    g_h: Float[Array, ""]
    g_r: Float[Array, ""]
    g_z: Float[Array, ""]


class ColumnCoefficients(AbstractCoefficients):
    r"""A Jacobian whose random matrices all act on the same vector.

    The eigenvalues depend on $V = v/|\lambda - 1 + z|^2 + w/|\lambda|^2$ of each unit, with
    what a step lets go `z`, `gain` v and `output` w. `spare` is the number of further
    eigenvalues per unit: one in an LSTM, whose state has two numbers per unit.
    """

    z: Float[Array, " n"]
    gain: Float[Array, " n"]
    output: Float[Array, " n"]
    weights: Float[Array, " n"]
    spare: int = eqx.field(static=True)


def gru_coefficients(ensemble: GRUEnsemble, h, z, r, y, weights=None) -> GRUCoefficients:
    """Coefficients from samples, each of shape `(n,)`: outputs `h`, update rates `z`, reset
    gates `r` and candidates `y` of the same units before a step."""
    z = _some(z)
    return GRUCoefficients(
        z=z,
        r=r,
        a=(y - h) * z * (1 - z),
        b=z * (1 - y**2),
        c=h * r * (1 - r),
        weights=_weights(h, weights),
        g_h=ensemble.g_h,
        g_r=ensemble.g_r,
        g_z=ensemble.g_z,
    )


def reset_after_coefficients(
    ensemble: ResetAfterGRUEnsemble, h, z, r, x, y, weights=None
) -> ColumnCoefficients:
    """Coefficients from samples, each of shape `(n,)`: outputs `h`, update rates `z`, reset
    gates `r`, recurrent sums `x` and candidates `y` of the same units before a step."""
    e, z = ensemble, _some(z)
    slope = z * (1 - y**2)
    candidate = (r * e.g_h) ** 2 + (x * r * (1 - r) * e.g_r) ** 2
    gain = (e.g_z * (y - h) * z * (1 - z)) ** 2 + slope**2 * candidate
    return ColumnCoefficients(z, gain, 0 * gain, _weights(h, weights), spare=0)


def lstm_coefficients(
    ensemble: LSTMEnsemble, c, x_f, i, o, candidate, weights=None
) -> ColumnCoefficients:
    """Coefficients from samples, each of shape `(n,)`: cells `c`, inputs of the forget gate
    `x_f`, gates `i`, `o` and candidates of the same units before a step."""
    e, f, z = ensemble, sigmoid(x_f), _some(sigmoid(-x_f))
    phi = jnp.tanh(f * c + i * candidate)
    inside = (
        (c * f * z * e.g_f) ** 2
        + (candidate * i * (1 - i) * e.g_i) ** 2
        + (i * (1 - candidate**2) * e.g_c) ** 2
    )
    gain = (o * (1 - phi**2)) ** 2 * inside
    output = (phi * o * (1 - o) * e.g_o) ** 2
    return ColumnCoefficients(z, gain, output, _weights(c, weights), spare=1)


def measure_coefficients(
    cell: AbstractCell, state: Float[Array, " n"]
) -> AbstractCoefficients:
    """The coefficients of a network at one of its states, with the gains of its matrices.

    **Arguments:** `cell`: a `GRU`, `ResetAfterGRU` or `LSTM` without inputs; `state`: shape
    `(cell.size,)`, for example a late point of a trajectory.

    **Returns:** coefficients, one per unit. `support`, `eigenvalue_mass` and `density`
    of them foretell the eigenvalues of `I + Flow(cell).jacobian(state)` for large random
    matrices, more sharply than those of the ensemble do.

    **Raises:** `ValueError` for another cell, a state that does not fit, and in single
    precision.

    **Source:** derived for this package.
    """
    owner = "measure_coefficients"
    if not isinstance(cell, GRU | ResetAfterGRU | LSTM):
        raise ValueError(f"{owner}: cell is a {type(cell).__name__}, not a GRU or LSTM.")
    state = real_array(owner, "state", state)
    if state.shape != (cell.size,):
        raise ValueError(
            f"{owner}: state has shape {state.shape}, this cell has ({cell.size},)."
        )
    check_x64(owner, jnp.result_type(state, cell.b_i if hasattr(cell, "b_i") else cell.b_r))
    gain = lambda matrix: jnp.sqrt(jnp.mean(matrix**2) * cell.units)
    gate = lambda k, h: dot(getattr(cell, f"U_{k}"), h) + getattr(cell, f"b_{k}")
    if isinstance(cell, LSTM):
        h, c = jnp.split(state, 2)
        gains = {f"g_{k}": gain(getattr(cell, f"U_{k}")) for k in "fioc"}
        i, o = sigmoid(gate("i", h)), sigmoid(gate("o", h))
        candidate = jnp.tanh(gate("c", h))
        return lstm_coefficients(LSTMEnsemble(**gains), c, gate("f", h), i, o, candidate)
    h = state
    gains = {f"g_{k}": gain(getattr(cell, f"U_{k}")) for k in "hrz"}
    z, r = sigmoid(gate("z", h)), sigmoid(gate("r", h))
    if isinstance(cell, GRU):
        y = jnp.tanh(gate("h", r * h))
        return gru_coefficients(GRUEnsemble(**gains), h, z, r, y)
    x = dot(cell.U_h, h) + cell.c_h
    y = jnp.tanh(cell.b_h + r * x)
    return reset_after_coefficients(ResetAfterGRUEnsemble(**gains), h, z, r, x, y)


def resting_coefficients(
    ensemble: AbstractEnsemble, variance: ArrayLike, count: int = 4096
) -> AbstractCoefficients:
    """The coefficients at a static mean-field state of this variance.

    **Arguments:** `variance`: a root of `solve_mean_field`, or zero for the silent state;
    `count`: how many units stand for all. They are spread evenly over the laws of the
    inputs, which makes averages good to about 2/`count`; but not those that rare units
    make, as the support of an LSTM at one does where forget gates are broad or biased
    to keep. `spectral_edge` of the ensemble has no samples.

    **Returns:** coefficients of `count` units, of the same weight. NaN throughout for a
    variance that is NaN, as an unused slot of `solve_mean_field` is, or negative.

    **Raises:** `ValueError` for what is no ensemble, no scalar or no count.

    **Source:** derived for this package.
    """
    owner = "resting_coefficients"
    check_ensemble(owner, ensemble)
    check_whole(owner, "count", count, 2)
    return _compiled(ensemble, scalar(owner, "variance", variance), count)


@eqx.filter_jit
def _compiled(ensemble, variance, count):
    return _resting(ensemble, variance, count)


@functools.singledispatch
def _resting(ensemble, variance, count):
    raise NotImplementedError(type(ensemble))


@_resting.register
def _(ensemble: GRUEnsemble, variance, count):
    e, q = ensemble, variance
    u, r, z = _resting_gates(e, q, count)
    h = jnp.tanh(_input(e.m_h, e.g_h, e.s_h, jnp.mean(r**2) * q, u))
    return gru_coefficients(e, h, z, r, h)


@_resting.register
def _(ensemble: ResetAfterGRUEnsemble, variance, count):
    e, q = ensemble, variance
    u, r, z = _resting_gates(e, q, count)
    x = _input(e.m_h, e.g_h, e.s_h, q, u)
    h = jnp.tanh(r * x)
    return reset_after_coefficients(e, h, z, r, x, h)


@_resting.register
def _(ensemble: LSTMEnsemble, variance, count):
    e, q = ensemble, variance
    u = _even_normals(4, count)
    # Beyond, a gate lets next to nothing go, and the square of its cell is no number.
    f = jnp.minimum(_input(e.m_f, e.g_f, e.s_f, q, u[0]), 300)
    i = sigmoid(_input(e.m_i, e.g_i, e.s_i, q, u[1]))
    o = sigmoid(_input(e.m_o, e.g_o, e.s_o, q, u[2]))
    candidate = jnp.tanh(_input(e.m_c, e.g_c, e.s_c, q, u[3]))
    cell = i * candidate * (1 + jnp.exp(f))
    return lstm_coefficients(e, cell, f, i, o, candidate)


def _resting_gates(e, q, count):
    """Normal numbers for the candidate, reset gates and update rates of a GRU's units."""
    u = _even_normals(3, count)
    r = sigmoid(_input(e.m_r, e.g_r, e.s_r, q, u[1]))
    return u[0], r, sigmoid(_input(e.m_z, e.g_z, e.s_z, q, u[2]))


def _input(mean, gain, spread, q, u):
    variance = gate_variance(gain, spread, q)
    none = variance == 0
    # The root of a variance that is zero has no derivative; the input then has no spread.
    # One that is not known makes everything NaN.
    return mean + jnp.where(none, 0, jnp.sqrt(jnp.where(none, 1, variance))) * u


def _even_normals(dimension, count):
    """Normal numbers, `(dimension, count)`, that fill their space evenly (the additive
    recurrence of the generalised golden ratio)."""
    ratio = 2.0
    for _ in range(40):  # x^(d+1) = x + 1
        ratio = (1 + ratio) ** (1 / (dimension + 1))
    steps = jnp.array([ratio ** -(k + 1) for k in range(dimension)])
    uniform = (0.5 + steps[:, None] * jnp.arange(1, count + 1)) % 1
    return ndtri(uniform)


def _some(z):
    """An update rate, or what a forget gate lets go, whose square is still a number: a unit
    that lets nothing go at all would divide zero by zero."""
    return jnp.maximum(z, 1e-140)


def _weights(samples, weights):
    if weights is None:
        return jnp.full(samples.shape, 1 / samples.size)
    return weights / jnp.sum(weights)
