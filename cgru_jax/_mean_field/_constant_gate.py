"""Chaos of an infinitely large GRU whose update gate is constant: no sampling, no noise.

With z fixed, h is y seen through a linear filter, so the correlation functions of the two
close on themselves and are solved for by iteration, in frequencies and in time by turns.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._errors import check_whole, check_x64, concrete, real_array
from .._implicit import solve_root
from .._results import RESULTS, choose
from ._ensembles import GRUEnsemble
from ._mehler import correlation_of, hermite
from ._sites import flaw, sigmoid, site_of

TOLERANCE, SWEEPS, TINY = 1e-10, 1_000, 1e-300
DAMPING = 0.7  # the share of the new value: the iteration must not overshoot the fold
SILENT = 1e-8  # a variance below this is that of a network at rest
# Variances of the pre-activation between which the least gain is looked for: above, chaos
# is strong. Each round leaves a fifth of the interval, in logarithms.
LARGEST, SMALLEST, SIZES, ROUNDS = 2.0, 2e-3, 11, 6
DECAYED = 1e-2  # of the variance: what may be left at the largest lag


class CorrelationFunction(eqx.Module):
    """Correlation function of one unit of an infinitely large network.

    - `values`: shape `(lags + 1,)`, ⟨h_t h_{t+τ}⟩ for τ from 0; the first is the variance.
      Zero throughout for a network that comes to rest.
    - `result`: how the iteration ended.
    """

    values: Float[Array, "*batch k"]
    result: RESULTS


class DynamicThreshold(eqx.Module):
    """The least gain `g_h` that sustains activity.

    - `gain`: shape `()`, with derivatives in the numbers of the ensemble.
    - `variance`: shape `()`, ⟨h²⟩ there: zero for a continuous onset. No derivatives.
    - `result`: how the search ended.
    """

    gain: Float[Array, "*batch"]
    variance: Float[Array, "*batch"]
    result: RESULTS


def solve_constant_gate(
    ensemble: GRUEnsemble, *, lags: int = 256, start=None
) -> CorrelationFunction:
    r"""Correlation function of a large GRU whose update gate does not vary.

    Solves, with $\Delta = g_h^2 C_r C_h + s_h^2$ and $\langle\cdot\rangle$ over pairs of
    normal variables with these covariances,
    $C_r = \langle \sigma\sigma \rangle(m_r, g_r^2 C_h + s_r^2)$,
    $C_y = \langle \tanh \tanh \rangle(m_h, \Delta)$ and
    $\hat C_h = \hat C_y\, z^2 / |e^{i\omega} - 1 + z|^2$, z being the update rate.

    **Arguments:**

    - `ensemble`: a `GRUEnsemble` with `g_z = s_z = 0`: the update rate is σ(m_z).
    - `lags`: the largest lag, a power of two for speed; ten correlation times are needed.
    - `start`: shape `(lags + 1,)`, where the iteration begins: the `values` for a nearby
      ensemble. Near a discontinuous onset both activity and rest are solutions, and a bad
      start ends at rest: come from larger gains. By default an active network.

    **Returns:** a `CorrelationFunction`, differentiable in the ensemble.

    **Fails:** NaN with `nonfinite`, `negative`, or `inapplicable` if the gate varies. With
    `not_converged` (near an onset) and `short` (more lags are needed) the values are
    the last ones.

    **Raises:** `ValueError` for what does not fit, and in single precision.

    **Source:** derived for cgru_jax (dynamic mean-field theory); correlations by Mehler's
    formula.
    """
    owner = "solve_constant_gate"
    _check(owner, ensemble, lags, ("g_z", "s_z"))
    if start is None:
        start = 0.5 * jnp.exp(-jnp.arange(lags + 1) / 10)
    start = real_array(owner, "start", start)
    if start.shape != (lags + 1,):
        raise ValueError(
            f"{owner}: start has shape {start.shape}, but must have shape ({lags + 1},), "
            "one value for each lag."
        )
    return _solve(ensemble, start)


def dynamic_threshold(ensemble: GRUEnsemble, *, lags: int = 256) -> DynamicThreshold:
    r"""The least `g_h` at which a large GRU with a constant update gate stays active.

    Below it every state decays, if not at once; where the onset is discontinuous it lies
    below `1/σ(m_r)`, and between the two rest and chaos are both stable. Found as the
    minimum of $g_h(D)$ over the variance D of the pre-activation of h: for a given D the
    iteration converges also beyond the fold, where it would fall to rest at a given gain.

    **Arguments:**

    - `ensemble`: a `GRUEnsemble` with `g_z = s_z = 0` and `m_h = s_h = 0`. Its `g_h` is not
      looked at.
    - `lags`: the largest lag; slow gates and small jumps need more.

    **Returns:** a `DynamicThreshold`; for a continuous onset its `variance` is zero. That
    is so, for an update rate below one and `s_r = 0`, where
    $g_r^2 (1 - r_0)(5 - 8 r_0) \le 6$ with $r_0 = \sigma(m_r)$: for `m_r = 0` up to
    $g_r = 2\sqrt 3$, beyond the $2\sqrt 2$ at which equilibria begin to jump.

    **Fails:** NaN with `nonfinite`, `negative`, `inapplicable` (a number that should be
    zero is not), `not_converged`, or `short`, also where the jump is too small to be seen
    with these lags.

    **Raises:** `ValueError` for what does not fit, and in single precision.

    **Source:** derived for cgru_jax; the criterion by expanding in a small variance, where
    correlations are slow and obey a Newtonian equation with a cubic potential.
    """
    _check("dynamic_threshold", ensemble, lags, ("g_z", "s_z", "m_h", "s_h"))
    return _threshold(ensemble, lags)


def _check(owner, ensemble, lags, zero):
    site_of(owner, ensemble, GRUEnsemble)
    check_whole(owner, "lags", lags, 8)
    check_x64(owner, ensemble.g_h.dtype)
    for name in zero:
        number = getattr(ensemble, name)
        if concrete(number) and number != 0:
            raise ValueError(
                f"{owner}: {name} is {number}, but this theory needs it to be zero; "
                "sample_paths takes any ensemble."
            )


@eqx.filter_jit
def _solve(ensemble, start):
    lags = len(start) - 1

    def advance(inner):
        values, driving = _round(ensemble, inner)
        return ensemble.g_h**2 * driving + ensemble.s_h**2, values

    reset = correlation_of(sigmoid, ensemble.m_r, _reset(ensemble, start))
    begin = ensemble.g_h**2 * reset * start + ensemble.s_h**2
    inner = solve_root(lambda x: advance(x)[0] - x, _iterate, begin)
    again, values = advance(inner)
    # A biased state does not decorrelate, but comes to a limit.
    biased, nearby = (ensemble.m_h != 0) | (ensemble.s_h != 0), values[-1 - lags // 8]
    result = choose(
        RESULTS,
        RESULTS.successful,
        *_flaws(ensemble, ("g_z", "s_z")),
        (~jnp.isfinite(values).all(), RESULTS.nonfinite),
        (jnp.max(jnp.abs(again - inner)) > TOLERANCE, RESULTS.not_converged),
        (_is_short(values, jnp.where(biased, nearby, 0)), RESULTS.short),
    )
    kept = (result == RESULTS.not_converged) | (result == RESULTS.short)
    kept |= result == RESULTS.successful
    values = jnp.where(values[0] > SILENT, values, 0 * values)
    return CorrelationFunction(jnp.where(kept, values, jnp.nan), result)


@eqx.filter_jit
def _threshold(ensemble, lags):
    frozen = jax.lax.stop_gradient(ensemble)

    def advance(ensemble, size, shape):
        """For the variance `size` of the pre-activation and the shape of its correlations:
        the next shape, the gain that keeps the variance, and the correlations of h."""
        values, driving = _round(ensemble, size * shape)
        return driving / driving[0], jnp.sqrt(size / driving[0]), values

    def visit(shape, size):
        change = lambda x: advance(frozen, size, x)[0] - x
        shape = _iterate(change, shape, extrapolate=True)
        again, gain, values = advance(frozen, size, shape)
        # Among too few lags a frozen state passes for a solution.
        gain = jnp.where(_is_short(values), jnp.inf, gain)
        rough = ~(jnp.max(jnp.abs(again - shape)) <= TOLERANCE)
        return shape, (gain, shape, rough)

    def zoom(turn, carry):
        (high, low, shape), _, at_edge = carry
        sizes = jnp.geomspace(high, low, SIZES)
        _, (gains, shapes, rough) = jax.lax.scan(visit, shape, sizes)
        least = jnp.argmin(gains)
        best = sizes[least], gains[least], shapes[least], rough[least]
        around = jnp.clip(least, 1, SIZES - 2)
        last = (least == SIZES - 1) | jnp.isinf(gains[around + 1])
        ends = sizes[around - 1], sizes[around + 1], shapes[around - 1]
        return ends, best, jnp.where(turn == 0, last, at_edge)

    begin = jnp.exp(-jnp.arange(lags + 1) / 10)
    ends = jnp.asarray(LARGEST), jnp.asarray(SMALLEST), begin
    best = ends[0], jnp.asarray(jnp.inf), begin, jnp.asarray(True)
    carry = jax.lax.fori_loop(0, ROUNDS, zoom, (ends, best, jnp.asarray(False)))
    _, (size, least, shape, rough), at_edge = carry
    # The shape is found; this hangs its derivative on it. At a minimum over D the gain
    # moves as it does at a fixed D.
    found = lambda residual, x: x
    shape = solve_root(lambda x: advance(ensemble, size, x)[0] - x, found, shape)
    _, gain, values = advance(ensemble, size, shape)

    onset, smooth = _onset(ensemble)
    continuous = at_edge & smooth & (least >= onset)
    result = choose(
        RESULTS,
        RESULTS.successful,
        *_flaws(ensemble, ("g_z", "s_z", "m_h", "s_h")),
        (continuous, RESULTS.successful),
        (at_edge | _is_short(values), RESULTS.short),
        (rough, RESULTS.not_converged),
    )
    gain = jnp.where(continuous, onset, gain)
    variance = jnp.where(continuous, 0, jax.lax.stop_gradient(values[0]))
    fine = result == RESULTS.successful
    return DynamicThreshold(
        jnp.where(fine, gain, jnp.nan), jnp.where(fine, variance, jnp.nan), result
    )


def _flaws(ensemble, zero):
    numbers = jnp.stack([getattr(ensemble, name) for name in zero])
    return (*flaw(ensemble), ((numbers != 0).any(), RESULTS.inapplicable))


def _onset(ensemble):
    """The gain at which rest loses its stability, and whether chaos grows from there
    without a jump."""
    x, weights, _ = hermite()
    r = sigmoid(ensemble.m_r + ensemble.s_r * x)
    slope, bend = r * (1 - r), r * (1 - r) * (1 - 2 * r)
    square = weights @ r**2
    # Slow correlations C are the orbit of a particle that leaves rest and returns to it,
    # which weighs the quadratic force by 2/3; without memory there is nothing but C(0).
    weight = jnp.where(sigmoid(ensemble.m_z) < 1, 2 / 3, 1)
    force = ensemble.g_r**2 * (weights @ (r * bend) + weight * (weights @ slope**2))
    return 1 / jnp.sqrt(square), force <= 2 * square


def _is_short(values, far=0.0):
    """Whether correlations have not come to their limit at the largest lag."""
    left = jnp.abs(values[-1] - far)
    return (values[0] > SILENT) & (left > DECAYED * values[0])


def _iterate(residual, x, extrapolate=False):
    """A zero of `residual` by adding it again and again.

    `extrapolate` is Anderson's mixing with one step of memory: near an onset the plain
    iteration creeps along one direction. It finds unstable fixed points as well.
    """

    def sweep(carry):
        x, force, before, count = carry
        new = x + DAMPING * force
        if extrapolate:
            moved, changed = x - before[0], force - before[1]
            square = jnp.maximum(jnp.vdot(changed, changed), TINY)
            part = jnp.vdot(changed, force) / square
            new = x + force - part * (moved + changed)
        return new, residual(new), (x, force), count + 1

    def unsettled(carry):
        _, force, _, count = carry
        return (count == 0) | (jnp.max(jnp.abs(force)) > TOLERANCE) & (count < SWEEPS)

    # The first sweep moves nowhere and only looks.
    none = jnp.zeros_like(x)
    return jax.lax.while_loop(unsettled, sweep, (x, none, (x, none), 0))[0]


def _round(ensemble, inner):
    """C_h and C_r C_h, given the covariance of the pre-activation of h, `(lags + 1,)`."""
    state = _filtered(ensemble, correlation_of(jnp.tanh, ensemble.m_h, inner))
    reset = correlation_of(sigmoid, ensemble.m_r, _reset(ensemble, state))
    return state, reset * state


def _reset(ensemble, state):
    return ensemble.g_r**2 * state + ensemble.s_r**2


def _filtered(ensemble, correlation):
    """An even function of time, periodic with twice the lags, seen through the gate."""
    lags = len(correlation) - 1
    z = sigmoid(ensemble.m_z)
    whole = jnp.concatenate([correlation, correlation[-2:0:-1]])
    omega = 2 * jnp.pi * jnp.fft.rfftfreq(2 * lags)
    # |exp(iω) − 1 + z|², without the cancellation at small ω and z.
    gain = z**2 / (z**2 + 4 * (1 - z) * jnp.sin(omega / 2) ** 2)
    return jnp.fft.irfft(jnp.fft.rfft(whole) * gain)[: lags + 1]
