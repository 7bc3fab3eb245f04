"""Find a cycle from a point that is drawn to it."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._errors import check_positive, check_whole, check_x64, real_array
from .._implicit import attach
from .._program import hoist, hoist_numbers
from .._results import KINDS, RESULTS, choose
from .._steps import follow_adaptive
from .._systems import AbstractSystem, Flow, Map, check_orbit_state
from ._base import Cycle, at_times, chain, read
from ._collocation import coefficients, derivatives, rates, spread
from ._cyclic import Chain, linearise, solve

LAPS = 20
INTERVALS = 128  # van der Pol at μ = 2, and four ghosts in a lap of 623, to 1e-10
SAMPLES = 1024  # of the orbit that is followed, in a lap
# A period is looked for between these parts of the guess: the guess is within 30 %.
SHORTEST, LONGEST = 0.7, 1.45
ROUNDS, STEPS = 4, 12  # meshes, and steps of Newton's method on each
FLAT = 1e-6  # an orbit smaller than this, as a part of the size of the state, is a point


def find_cycle(
    system: AbstractSystem,
    near: ArrayLike | list,
    period: ArrayLike,
    *,
    stable: bool = True,
    laps: int = LAPS,
    intervals: int = INTERVALS,
) -> Cycle:
    """The cycle that is reached from a point, to round-off in nearly all cases.

    The orbit is followed for some laps, cut where it returns, and made periodic by Newton's
    method on a mesh that resolves it everywhere alike. The equations are a closed chain,
    eliminated block by block: cost and memory grow with `intervals` alone.

    **Arguments:**

    - `system`: a `Flow` of two dimensions or more.
    - `near`: shape `(n,)`, a point from which the cycle is reached.
    - `period`: shape `()`, a guess within 30 %.
    - `stable`: `False` follows the orbit backwards in time, to a cycle that repels.
    - `laps`: how many guessed periods it is followed. A cycle of saddle type is reached
      neither way: with 0, a point close to it suffices.
    - `intervals`: an even number of intervals of the mesh; more of them for a stiff orbit.

    **Returns:** a `Cycle`, with derivatives of its points (at frozen mesh), period,
    extremes, multipliers and exponents with respect to everything that `system` closes
    over.

    **Fails:** NaN, and `result` is `nonfinite`, `diverged` or `max_steps` (on the way),
    `not_converged`, `no_cycle` (an equilibrium), `elsewhere` (a period that the guess does
    not fit), or `multiple` (of the period). With `coarse` the values stand and the
    stability is left `unknown`. The derivative is NaN where cycles meet. `ValueError` for a
    `Map`, for one dimension, in single precision, and for shapes that do not fit.

    **Source:** boundary value problems of periodic orbits: E. J. Doedel, H. B. Keller and
    J. P. Kernévez, 1991; the elimination: S. J. Wright, 1992; the formula: see
    `_collocation.py`.
    """
    verb = "find_cycle"
    if isinstance(system, Map):
        raise ValueError(
            f"{verb}: a cycle of a Map with k points is k equilibria of its k-th iterate; "
            "ask find_equilibria for those of cgru.Map(lambda h: iterate(h) - h)."
        )
    if not isinstance(system, Flow):
        raise ValueError(
            f"{verb}: system must be a Flow, got {type(system).__name__}; wrap the field, "
            "as in cgru.Flow(cell)."
        )
    near, period = real_array(verb, "near", near), real_array(verb, "period", period)
    near, period = (x.astype(jnp.result_type(x, float)) for x in (near, period))
    check_x64(verb, near.dtype)
    check_orbit_state(verb, "near", system, near)
    check_positive(verb, "period", period)
    for label, value, least in (("laps", laps, 0), ("intervals", intervals, 8)):
        check_whole(verb, label, value, least)
    if intervals % 2:
        raise ValueError(f"{verb}: intervals must be even, got {intervals}.")
    program, arrays = hoist_numbers(system.residual, near)
    return _find(program, bool(stable), laps, intervals, arrays, near, period)


@eqx.filter_jit
def _find(program, stable, laps, intervals, arrays, near, guess):
    frozen, near, guess = jax.lax.stop_gradient((arrays, near, guess))
    field = functools.partial(program, frozen)
    points, steps, reached, followed = _follow(
        program, stable, laps, intervals, frozen, near, guess
    )
    points, steps, converged = _close(field, points, steps)
    period = jnp.sum(steps)
    fits = (SHORTEST * guess <= period) & (period <= LONGEST * guess)
    result = choose(
        RESULTS,
        RESULTS.successful,
        (followed != RESULTS.successful, followed),
        (~reached | is_flat(points), RESULTS.no_cycle),
        (~converged, RESULTS.not_converged),
        (~fits, RESULTS.elsewhere),
    )
    return settle(program, arrays, points, steps, result)


def settle(program, arrays, points, steps, result) -> Cycle:
    """The cycle through points that solve the equations, with derivatives, or NaN."""
    count, n = points.shape
    good = result == RESULTS.successful
    # Where nothing was found, some orbit with which the rest can be computed.
    angle = 2 * jnp.pi * jnp.arange(count)[:, None] / count + jnp.arange(n)
    points = jnp.where(good, points, jnp.cos(angle))
    period = jnp.where(good, jnp.sum(steps), 1.0)
    parts = jnp.where(good, steps / jnp.sum(steps), 1 / count)
    anchor = points[0]
    flow = jax.lax.stop_gradient(program(arrays, anchor))
    field = functools.partial(program, arrays)

    unknown = jnp.append(points.ravel(), period)
    question, constants = hoist(chain(field, parts, anchor, flow), unknown)
    unknown = attach(question, constants, unknown, good, Chain(n))
    points, steps = unknown[:-1].reshape(count, n), unknown[-1] * parts
    cycle = read(field, points, steps, result)
    good &= cycle.result != RESULTS.multiple
    kind = choose(KINDS, cycle.kind, (~good, KINDS.unknown))
    numbers, rest = eqx.partition(cycle, eqx.is_inexact_array)
    numbers = jax.tree.map(lambda x: jnp.where(good, x, jnp.nan), numbers)
    return eqx.tree_at(lambda c: c.kind, eqx.combine(numbers, rest), kind)


def is_flat(points):
    extent = jnp.max(jnp.max(points, axis=0) - jnp.min(points, axis=0))
    return extent <= FLAT * (1 + jnp.max(jnp.abs(points)))


def _follow(program, stable, laps, intervals, arrays, near, guess):
    """A closed polygon near the cycle with its mesh, whether anything moves there, and how
    the integration ended."""
    n = near.shape[0]
    sign = 1.0 if stable else -1.0
    clocked, constants = hoist(
        lambda y: sign * program(arrays, y[:n]), jnp.append(near, 0.0)
    )
    # Two laps at most to the fastest place and back to it.
    span = (1 + LONGEST) * LONGEST
    times = laps + span * jnp.linspace(0, 1, int(span * SAMPLES))
    times = guess * jnp.concatenate([jnp.zeros(1), times])
    if not laps:
        times = times[1:]
    # Newton's method takes over from here: a few digits suffice.
    tol = jnp.asarray(1e-7)
    states, result = follow_adaptive(
        clocked, 200_000, False, constants, near, times, tol, tol
    )
    states = states[-int(span * SAMPLES) :]
    times = times[-int(span * SAMPLES) :]
    field = lambda x: clocked(constants, jnp.append(x, 0.0))
    towers = jax.vmap(lambda x: derivatives(field, x))(states)
    slopes = towers[:, 0]
    speeds = jnp.linalg.norm(slopes, axis=1)
    moving = ~is_flat(states)

    # From the fastest place, where returns are clearest, to the nearest return.
    begin = jnp.argmax(jnp.where(times - times[0] <= LONGEST * guess, speeds, 0))
    late = times - times[begin]
    allowed = (late >= SHORTEST * guess) & (late <= LONGEST * guess)
    gaps = jnp.linalg.norm(states - states[begin], axis=1)
    period = late[jnp.argmin(jnp.where(allowed, gaps, jnp.inf))]

    def state(time):
        index = jnp.clip(jnp.searchsorted(late, time, side="right") - 1, 0, len(late) - 2)
        gap = late[index + 1] - late[index]
        return _hermite(
            states[index],
            states[index + 1],
            slopes[index] * gap,
            slopes[index + 1] * gap,
            (time - late[index]) / gap,
        )

    # To the plane across the flow: between samples the fastest place is far away.
    for _ in range(3):
        there = state(period)
        missing = (states[begin] - there) @ slopes[begin]
        period = period + missing / (field(there) @ slopes[begin])
    at = _cut(rates(towers), late, period, intervals)
    # Spread what is left, so that the polygon is closed.
    gap = states[begin] - state(period)
    points = jax.vmap(state)(at) + (at / period)[:, None] * gap
    steps = jnp.diff(at, append=period)
    if not stable:
        points, steps = jnp.roll(points[::-1], 1, axis=0), steps[::-1]
    return points, steps, moving, result


def _hermite(a, b, slope_a, slope_b, s):
    """The cubic with these values and slopes at 0 and 1."""
    return (
        (1 + 2 * s) * (1 - s) ** 2 * a
        + s * (1 - s) ** 2 * slope_a
        + s**2 * (3 - 2 * s) * b
        - s**2 * (1 - s) * slope_b
    )


def _close(field, points, steps):
    """Newton's method on a mesh, a better mesh, and so on; whether it converged."""
    count, n = points.shape
    size = 1 + jnp.max(jnp.abs(points))

    def newton(points, steps):
        period = jnp.sum(steps)
        frozen = chain(field, steps / period, points[0], field(points[0]))
        equations = lambda u: frozen(u.at[-1].multiply(period))
        # The unit of time is the period, so that no step can be long in it.
        unknown = jnp.append(points.ravel(), 1.0)
        move = solve(*linearise(equations, unknown, n))
        long = jnp.max(jnp.abs(move) / jnp.append(jnp.full(count * n, size), 1.0))
        move = jnp.where(jnp.isfinite(long), move / jnp.maximum(1, 4 * long), 0)
        points = points - move[:-1].reshape(count, n)
        steps = steps * (1 - move[-1])
        return points, steps, jnp.where(jnp.isfinite(long), long, jnp.inf)

    def body(state):
        rounds, tries, points, steps, _ = state
        points, steps, long = newton(points, steps)
        done = (long <= 1e-12) | (tries + 1 >= STEPS)
        renew = done & (rounds + 1 < ROUNDS) & (long < 1)
        points, steps = jax.lax.cond(
            renew, lambda p, s: _remesh(field, p, s), lambda p, s: (p, s), points, steps
        )
        # What does not converge at all need not be tried on other meshes.
        stop = ~jnp.isfinite(long) | (done & (long >= 1))
        rounds = jnp.where(stop, ROUNDS, rounds + done)
        return rounds, jnp.where(done, 0, tries + 1), points, steps, long

    state = 0, 0, points, steps, jnp.asarray(jnp.inf)
    state = jax.lax.while_loop(lambda s: s[0] < ROUNDS, body, state)
    *_, points, steps, long = state
    return points, steps, (long <= 1e-8) & jnp.all(jnp.isfinite(points))


def _remesh(field, points, steps):
    """The same orbit on better intervals."""
    times = jnp.append(0.0, jnp.cumsum(steps))
    towers = jax.vmap(lambda x: derivatives(field, x))(points)
    speeds = rates(towers)
    at = _cut(jnp.append(speeds, speeds[0]), times, times[-1], steps.shape[0])
    pieces = coefficients(points, towers, steps)
    return at_times(pieces, steps, at), jnp.diff(at, append=times[-1])


def _cut(speeds, times, period, count):
    """Times from 0 that cut a lap into intervals that are alike, shape `(count,)`."""
    times = jnp.clip(times, 0, period)
    cost = (speeds[:-1] + speeds[1:]) * jnp.diff(times)
    return spread(cost, times, jnp.arange(count) / count)
