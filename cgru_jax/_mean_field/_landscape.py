r"""How many fixed points a large random GRU has: the annealed Kac–Rice complexity.

The mean number of fixed points grows like $e^{N \Sigma^*}$. $\Sigma^*$ is stationary over
the law P of one unit's inputs: what its entropy loses against the law that the weights
would give, and what the determinant of the Jacobian gains. The stationary law is the
normal one, tilted; seven numbers describe it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float

from .._implicit import attach
from .._linalg import solve
from .._program import hoist
from .._results import RESULTS, choose
from ._averages import line
from ._ensembles import AbstractEnsemble, GRUEnsemble
from ._solve import check_ensemble, refuse
from ._static import COARSE, variance_map
from ._thresholds import critical_gain, onset_curvature, with_gain

_INPUTS, _GATES = 61, 41  # nodes; with twice as many seven digits stay
_CONVERGED, _COARSE = 1e-9, 1e-3
# From where the solution is found by iteration it is followed down to the gain asked for.
_STEPS, _NEWTON = 20, 4
_RATIO, _FINEST = 0.93, 0.9995  # of the gains of two steps towards the threshold
_START = 1.5  # in critical gains: far from the onset, where the iteration would stall
# No reset gate is more than open: below this gain no equation has a solution.
_LEAST_GAIN = 1.02


class Complexity(eqx.Module):
    """The rate Σ* of the number of fixed points and their typical variance, shape `()`."""

    rate: Float[Array, ""]
    variance: Float[Array, ""]
    result: RESULTS


class TopologyThreshold(eqx.Module):
    """The gain at which fixed points become exponentially many; all of shape `()`."""

    gain: Float[Array, ""]
    variance: Float[Array, ""]
    result: RESULTS


def complexity(ensemble: AbstractEnsemble) -> Complexity:
    r"""How fast the number of fixed points of a random GRU grows with its size.

    **Arguments:** `ensemble`: a `GRUEnsemble` without bias of the candidate and without
    spread of the reset gate's bias; the update gate moves no fixed point.

    **Returns:** a `Complexity`: $\Sigma^*$ with $E[\text{number}] \sim e^{N \Sigma^*}$, per
    unit, and the variance $q^* = \langle h^2 \rangle$ of the fixed points that make most of
    that mean; differentiable in the ensemble. A negative rate: in a large network zero is
    alone. It is the rate of the mean, which rare networks with many fixed points raise:
    that of the typical network may be lower.

    **Fails:** NaN and `result.biased`, `nonfinite` or `negative` for such ensembles;
    `no_root` where no stationary law was found below the critical gain, `not_converged`
    beyond it, where there is one.

    **Raises:** `ValueError` for another ensemble, and in single precision.

    **Source:** derived for this package by the Kac–Rice formula.
    """
    _check("complexity", ensemble)
    return _complexity(ensemble)


def topology_threshold(ensemble: AbstractEnsemble) -> TopologyThreshold:
    r"""The gain `g_h` above which the mean number of fixed points grows exponentially.

    Where activity sets in with a jump this happens, $\Sigma^* = 0$, below every other
    threshold: fixed points, all of them unstable, without any activity that lasts.

    **Arguments:** `ensemble`: as for `complexity`; its `g_h` is not looked at.

    **Returns:** a `TopologyThreshold`, differentiable in the ensemble.

    **Fails:** NaN and `result.no_fold` if the onset is continuous: Σ* then begins at the
    critical gain. `biased`, `nonfinite`, `negative`, `not_converged`.

    **Source:** derived for this package.
    """
    _check("topology_threshold", ensemble)
    return _threshold(with_gain(ensemble, 1.0))


def _check(verb, ensemble):
    check_ensemble(verb, ensemble)
    if not isinstance(ensemble, GRUEnsemble):
        raise ValueError(
            f"{verb}: the complexity is known for GRUEnsemble only, not for "
            f"{type(ensemble).__name__}."
        )


def _usable(e):
    infinite, negative = refuse(e)
    biased = (e.m_h != 0) | (e.s_h != 0) | (e.s_r != 0)
    cases = [(infinite, RESULTS.nonfinite), (negative, RESULTS.negative)]
    return ~(infinite | negative | biased), [*cases, (biased, RESULTS.biased)]


def _site(y, e):
    """What the seven numbers make of one unit: the next seven, and Σ and q.

    They are log Δ and log q, the tilts (E u² − 1)/2 of both inputs, and log P_u, log S_b,
    log S_c of the determinant, P_w being one.
    """
    delta, q = jnp.exp(y[0]), jnp.exp(y[1])
    tilt_x, tilt_rho = y[2], y[3]
    P_u, S_b, S_c = jnp.exp(y[4]), jnp.exp(y[5]), jnp.exp(y[6])
    spread = jnp.sqrt(delta)
    x, weights_x = line(0.0, spread, _INPUTS)
    # All averages are of even functions of x.
    x, weights_x = x[_INPUTS // 2 :], 2 * weights_x[_INPUTS // 2 :]
    weights_x = weights_x.at[0].divide(2)
    # Without recurrence of the gate its law is a point; a square root would have no slope.
    width = jnp.where(e.g_r > 0, e.g_r, 0) * jnp.sqrt(q)
    rho, weights_rho = line(e.m_r, width, _GATES)
    u = x[:, None] / spread
    v = jnp.where(e.g_r > 0, (rho - e.m_r) / jnp.where(e.g_r > 0, width, 1), 0.0)
    h, r = jnp.tanh(x)[:, None], sigmoid(rho)
    b, c, square = (1 - h**2) ** 2, (h * r * (1 - r)) ** 2, r**2
    X_u, X_w = e.g_h**2 * b, e.g_r**2 * P_u * c
    Y_u, Y_w = e.g_r**2 * S_c, e.g_h**2 * S_b
    A, B = 1 + Y_u * X_u, 1 + Y_w * X_w
    D = A * B + square * Y_w * X_u
    driven = e.g_h**2 * square * h**2
    tilt = jnp.log(D) / 2 + tilt_x * driven / delta + tilt_rho * h**2 / q
    weights = weights_x[:, None] * weights_rho * jnp.exp(tilt)
    total = jnp.sum(weights)
    mean = lambda values: jnp.sum(weights * values) / total

    gauge = mean((A * X_w + square * X_u) / D)
    # Without a law the gate has its normal one.
    second = jnp.where(e.g_r > 0, mean(v**2), 1.0)
    new = jnp.stack(
        [
            jnp.log(mean(driven)),
            jnp.log(mean(h**2)),
            (mean(u**2) - 1) / 2,
            (second - 1) / 2,
            jnp.log(mean(X_u * B / D) / gauge),
            jnp.log(mean(b * (Y_u * B + square * Y_w) / D) * gauge),
            jnp.log(mean(c * A * Y_w / D) * gauge),
        ]
    )
    rate = jnp.log(total) - tilt_x - tilt_rho - (Y_u * P_u + Y_w) / 2
    return new, rate, q


def _rest(y, e):
    return _site(y, e)[0] - y


def _newton(residual, y, steps):
    """Where the steps of Newton lead to, and the residual before the last of them."""

    def twice(y):
        rest = residual(y)
        return rest, rest

    def step(_, state):
        y, _ = state
        slope, rest = jax.jacfwd(twice, has_aux=True)(y)
        move = solve(slope, rest)
        return y - jnp.clip(move, -0.3, 0.3), jnp.max(jnp.abs(rest))

    return jax.lax.fori_loop(0, steps, step, (y, jnp.inf))


def _far_from_onset(e):
    """The seven numbers where a fixed point of variance O(1) is easy to find."""
    q = jax.lax.fori_loop(0, 200, lambda _, q: variance_map(e, q, COARSE), jnp.ones(()))
    # The static law first, whose determinant has a stable iteration; then all of it.
    static = jnp.zeros(7).at[1].set(jnp.log(q)).at[4:].set(jnp.log(0.1))
    open_ = critical_gain(e) ** -2
    static = static.at[0].set(jnp.log(e.g_h**2 * open_ * q))
    determinant = jnp.arange(7) >= 4

    def sweep(i, y):
        new = _site(y, e)[0]
        inner = i < 100
        step = jnp.where(inner, jnp.where(determinant, 0.5, 0.0), 0.15)
        return y + step * (new - y)

    return jax.lax.fori_loop(0, 250, sweep, static)


def _followed(e, y, gains):
    """The seven numbers at each gain, each found from those before, and their residuals."""

    def advance(state, gain):
        before, y, last, now = state
        # Along the secant; the first two steps have none.
        known = now != last
        ahead = jnp.where(known, (gain - now) / jnp.where(known, now - last, 1), 0)
        guess = y + ahead * (y - before)
        new, rest = _newton(lambda y: _rest(y, with_gain(e, gain)), guess, _NEWTON)
        return (y, new, now, gain), (new, rest)

    return jax.lax.scan(advance, (y, y, gains[0], gains[0]), gains)[1]


@eqx.filter_jit
def _complexity(ensemble):
    usable, cases = _usable(ensemble)
    e = jax.lax.stop_gradient(ensemble)
    first = jnp.maximum(e.g_h, _START * critical_gain(e))
    gains = jnp.geomspace(first, e.g_h, _STEPS)
    # The last gain once more: the residual is that before the last step.
    gains = jnp.append(gains, e.g_h)
    path, rest = _followed(e, _far_from_onset(with_gain(e, first)), gains)
    y, found = path[-1], usable & (rest[-1] < _CONVERGED)
    # Fixed points that shrink to nothing are the silent state.
    found = found & (y[1] > jnp.log(1e-10))
    program, arrays = hoist(lambda y: _rest(y, ensemble), y)
    y = attach(program, arrays, jnp.where(found, y, 0.0), found)
    _, rate, q = _site(y, ensemble)
    # Beyond the critical gain there is a law: it was not found.
    beyond = ensemble.g_h > critical_gain(ensemble)
    result = choose(
        RESULTS,
        RESULTS.successful,
        *cases,
        (~found & beyond, RESULTS.not_converged),
        (~found, RESULTS.no_root),
    )
    shown = lambda value: jnp.where(found, value, jnp.nan)
    return Complexity(shown(rate), shown(q), result)


@eqx.filter_jit
def _threshold(ensemble):
    usable, cases = _usable(ensemble)
    e = jax.lax.stop_gradient(ensemble)
    first = _START * critical_gain(e)

    def positive(state):
        gain, ratio, _, _, rate = state
        return (rate > 0) & (ratio < _FINEST) & (gain > _LEAST_GAIN)

    def descend(state):
        gain, ratio, y, before, rate = state
        lower = with_gain(e, ratio * gain)
        new, rest = _newton(lambda y: _rest(y, lower), 2 * y - before, _NEWTON)
        # The solution may end, or fall onto the silent one, soon after Σ = 0.
        good = (rest < _COARSE) & (new[1] > jnp.log(1e-6))
        after = ratio * gain, ratio, new, y, _site(new, lower)[1]
        shorter = gain, (1 + ratio) / 2, y, y, rate
        return jax.tree.map(lambda x, y: jnp.where(good, x, y), after, shorter)

    y = _far_from_onset(with_gain(e, first))
    start = (first, jnp.asarray(_RATIO), y, y, jnp.ones(()))
    gain, _, y, _, rate = jax.lax.while_loop(positive, descend, start)
    there = rate <= 0

    def both(x, e):
        new, rate, _ = _site(x[:7], with_gain(e, jnp.exp(x[7])))
        return jnp.append(new - x[:7], rate)

    guess = jnp.append(y, jnp.log(gain))
    x, left = _newton(lambda x: both(x, e), guess, 2 * _NEWTON)
    jumps = usable & there
    found = jumps & (left < _CONVERGED)
    program, arrays = hoist(lambda x: both(x, ensemble), x)
    x = attach(program, arrays, jnp.where(found, x, 0.0), found)
    result = choose(
        RESULTS,
        RESULTS.successful,
        *cases,
        (~jumps & (onset_curvature(ensemble) > 0), RESULTS.not_converged),
        (~jumps, RESULTS.no_fold),
        (~found, RESULTS.not_converged),
    )
    shown = lambda value: jnp.where(found, value, jnp.nan)
    return TopologyThreshold(shown(jnp.exp(x[7])), shown(jnp.exp(x[1])), result)
