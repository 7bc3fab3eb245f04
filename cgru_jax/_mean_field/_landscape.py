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
from ._static import COARSE, reset_gate, variance_map
from ._thresholds import critical_gain, with_gain

_INPUTS, _GATES = 61, 41  # nodes; with twice as many seven digits stay
_CONVERGED, _COARSE = 1e-9, 1e-3
# From where the solution is found by iteration it is followed to the gain asked for, in
# steps of log g_h: the first and the longest, and the shortest before it is given up.
_STEP, _LONGEST, _SHORTEST = 0.15, 0.4, 1e-5
_NEWTON, _MOST = 4, 400
# Fixed points that shrink to nothing are the silent state: the logarithm of q.
_SILENT = -23.0
# Below, the only fixed point is zero for certain: at one |h| ≤ |U_h (r h)| ≤ 2 g_h |h|, as
# a large matrix stretches by no more than twice its gain.
_LEAST_GAIN = 0.5


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

    Where fixed points become many with a jump, $\Sigma^* = 0$ at a finite variance, this
    happens below every other threshold: all of them unstable, without any activity that
    lasts. That is so, with $r_0 = \sigma(m_r)$, for $g_r^2 (1 - r_0)(5 - 7 r_0) > 4$: with
    `m_r = 0` beyond $4 / \sqrt 3 = 2.309$, before the $2 \sqrt 2$ from which static states
    jump as well.

    **Arguments:** `ensemble`: as for `complexity`; its `g_h` is not looked at.

    **Returns:** a `TopologyThreshold`, differentiable in the ensemble.

    **Fails:** NaN and `result.no_fold` if the onset is continuous: Σ* then begins at the
    critical gain. `biased`, `nonfinite`, `negative`; `not_converged`, also where the jump
    is too small to be seen.

    **Source:** derived for this package. For a small variance q and a gain just off the
    critical one, $\mu = g_h^2 r_0^2 - 1$, the law of a unit can be held at q at the price
    $(\mu + A q)^2 / 4$, while the determinant earns $(\mu + B q)^2 / 4$;
    $A = g_r^2 (1 - r_0)(2 - 3 r_0) - 2$ is that of `onset_curvature` and
    $B = g_r^2 (1 - r_0)(3 - 4 r_0) - 2$ the slope of κ. Where $A + B$ is negative the
    difference is largest at $q^* = -\mu / (A + B)$, with $\Sigma^* = g_r^2 (1 - r_0)^2
    \mu q^* / 4$; where it is positive no small q is best, and the onset jumps.
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


def _begin(e):
    """A gain, far from the onset, and the seven numbers there, by iteration."""
    # tanh² of inputs of variance two has the mean 0.52: with this gain the static equation
    # has a root above one half.
    half = jnp.asarray(0.5)
    e = with_gain(e, 2 / jnp.sqrt(reset_gate(e, half, COARSE)[0]))
    q = jax.lax.fori_loop(0, 200, lambda _, q: variance_map(e, q, COARSE), jnp.ones(()))
    # The static law first, whose determinant has a stable iteration; then all of it.
    static = jnp.zeros(7).at[1].set(jnp.log(q)).at[4:].set(jnp.log(0.1))
    driven = e.g_h**2 * reset_gate(e, q, COARSE)[0] * q
    static = static.at[0].set(jnp.log(driven))
    determinant = jnp.arange(7) >= 4

    def sweep(i, y):
        new = _site(y, e)[0]
        inner = i < 100
        step = jnp.where(inner, jnp.where(determinant, 0.5, 0.0), 0.15)
        return y + step * (new - y)

    return jnp.log(e.g_h), jax.lax.fori_loop(0, 250, sweep, static)


def _followed(e, goal, least):
    """The law followed from far away to log g_h = `goal`, or to where Σ is no more than
    `least`: the log g_h there, the numbers, Σ, and what is left of the equations. Steps
    shorten where it changes fast."""
    gain, y = _begin(e)

    def underway(state):
        count, t, step, *_, rate, left = state
        on = ((t != goal) | (left > _CONVERGED)) & (rate > least) & (step > _SHORTEST)
        return on & (count < _MOST)

    # Compiling Newton's method is most of the cost: the steps on the spot, which finish
    # what the iteration began and, at the goal, what following left, are those of the way.
    def advance(state):
        count, t, step, y, slope, rate, left = state
        beginning = count < 2
        far = goal - t
        last = jnp.abs(far) <= step
        move = jnp.where(last, far, step * jnp.sign(far))
        move = jnp.where(beginning, 0.0, move)
        reached = jnp.where(last & ~beginning, goal, t + move)
        there = with_gain(e, jnp.exp(reached))
        new, rest = _newton(lambda y: _rest(y, there), y + move * slope, _NEWTON)
        # The law may end, or fall onto the silent one.
        good = (rest < _COARSE) & (new[1] > _SILENT)
        good = jnp.where(count == 0, True, good & ((move != 0) | (rest < left)))
        longer = jnp.where(beginning, step, jnp.minimum(1.5 * step, _LONGEST))
        slope_there = (new - y) / jnp.where(move == 0, jnp.inf, move)
        rate_there = jnp.where(beginning, rate, _site(new, there)[1])
        after = count + 1, reached, longer, new, slope_there, rate_there, rest
        shorter = count + 1, t, step / 2, y, slope, rate, left
        return jax.tree.map(lambda x, y: jnp.where(good, x, y), after, shorter)

    infinite = jnp.asarray(jnp.inf)
    start = jnp.asarray(0), gain, jnp.asarray(_STEP), y, jnp.zeros(7), infinite, infinite
    _, gain, _, y, _, rate, left = jax.lax.while_loop(underway, advance, start)
    return gain, y, rate, left


@eqx.filter_jit
def _complexity(ensemble):
    usable, cases = _usable(ensemble)
    e = jax.lax.stop_gradient(ensemble)
    goal = jnp.log(e.g_h)
    reached, y, _, rest = _followed(e, goal, -jnp.inf)
    found = usable & (reached == goal) & (rest < _CONVERGED) & (y[1] > _SILENT)
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
    goal = jnp.log(_LEAST_GAIN)
    gain, y, rate, _ = _followed(e, goal, 0.0)
    there = rate <= 0
    r = sigmoid(e.m_r)
    jumps = e.g_r**2 * (1 - r) * (5 - 7 * r) > 4

    def both(x, e):
        new, rate, _ = _site(x[:7], with_gain(e, jnp.exp(x[7])))
        return jnp.append(new - x[:7], rate)

    guess = jnp.append(y, gain)
    x, left = _newton(lambda x: both(x, e), guess, 2 * _NEWTON)
    found = usable & jumps & there & (left < _CONVERGED)
    program, arrays = hoist(lambda x: both(x, ensemble), x)
    x = attach(program, arrays, jnp.where(found, x, 0.0), found)
    result = choose(
        RESULTS,
        RESULTS.successful,
        *cases,
        (~jumps, RESULTS.no_fold),
        (~found, RESULTS.not_converged),
    )
    shown = lambda value: jnp.where(found, value, jnp.nan)
    return TopologyThreshold(shown(jnp.exp(x[7])), shown(jnp.exp(x[1])), result)
