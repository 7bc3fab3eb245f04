r"""Orbits that lead from a saddle back to it, or on to another one.

A finite piece of the orbit stands for all of it: its first point lies on the line along
which orbits leave the first saddle, a fixed small distance away, and its last one in the
plane in which they come to the second, $w\,(x(T) - s) = 0$ with the left eigenvector w
(projection boundary conditions: the parameter is wrong by less than the square of the
distances). States are counted from the first saddle, which moves with the parameter. The
piece is a chain of two-point formulas and its two ends are one more link, so that the
equations have the shape of a cycle's, the parameter in the place of the period.

**Source:** W.-J. Beyn, The numerical computation of connecting orbits in dynamical
systems, IMA Journal of Numerical Analysis, 1990.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._conditions._base import NEAR, REACH, as_field, hoist_field, newton, pose
from .._cycles._base import at_times
from .._cycles._collocation import coefficients, defects, derivatives
from .._cycles._cyclic import Chain, factor, is_degenerate, solve
from .._errors import concrete, real_array
from .._implicit import attach
from .._program import hoist
from .._results import RESULTS, choose
from .._systems import Flow
from ._base import Leaving, follow, leaving, parabola

ENDS = 1e-6  # how far the ends lie from the saddles, as a part of the length to follow
INTERVALS = 160  # the loop of Duffing's equation to 1e-10
ROUNDS, STEPS = 4, 12  # meshes, and steps of Newton's method on each
EQUAL = 0.2  # part of the mesh that is spread evenly over time
EARLY, LATE, TAIL = 128, 1024, 64  # samples of the first guess
# An orbit that passes the saddle no nearer than this part of its own size does not lead
# there; of several passes the first is meant, if it is not much wider than the closest.
PASSES, FIRST = 0.9, 1.3


class Homoclinic(eqx.Module):
    """An orbit that leaves a saddle and comes back to it.

    - `points`: shape `(N, n)`, from just after the saddle to just before it (1e-6 of
      `length` away); `times`: shape `(N,)`, from 0.
    - `parameter`: shape `()`; `saddle`: shape `(n,)`.
    - `saddle_quantity`: shape `()`, the positive eigenvalue plus the largest real part
      below zero. Negative: one stable cycle is born; positive: a cycle that is not stable.
    - `distance`: shape `()`, how far saddle and parameter lie from the guess.
    - `result`: how it ended.
    """

    points: Float[Array, "*batch N n"]
    times: Float[Array, "*batch N"]
    parameter: Float[Array, "*batch"]
    saddle: Float[Array, "*batch n"]
    saddle_quantity: Float[Array, "*batch"]
    distance: Float[Array, "*batch"]
    result: RESULTS


class Heteroclinic(eqx.Module):
    """An orbit from one saddle to another: as `Homoclinic`, with `start` and `end`, the two
    saddles, shape `(n,)`."""

    points: Float[Array, "*batch N n"]
    times: Float[Array, "*batch N"]
    parameter: Float[Array, "*batch"]
    start: Float[Array, "*batch n"]
    end: Float[Array, "*batch n"]
    distance: Float[Array, "*batch"]
    result: RESULTS


def locate_homoclinic(
    family: Callable,
    saddle: ArrayLike,
    parameter: ArrayLike,
    *,
    side: int = 1,
    length: ArrayLike = 20.0,
    intervals: int = INTERVALS,
) -> Homoclinic:
    """The parameter at which the orbit that leaves a saddle comes back to it.

    At the guess the orbit is followed to its first pass by the saddle; Newton's method
    then closes what is left open, moving the parameter.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a `Flow`.
    - `saddle`, `parameter`: a guess. The saddle has exactly one positive eigenvalue; for
      one negative and several positive ones, reverse the time of the family.
    - `side`: 1 for the orbit on the side on which the largest component of the eigenvector
      grows, −1 for the other.
    - `length`: shape `()`, within which arclength the orbit comes back.
    - `intervals`: an even number, of the mesh.

    **Returns:** a `Homoclinic`, with derivatives of every order with respect to everything
    that the family closes over (of the points at frozen times).

    **Fails:** NaN, and `result` is `nonfinite`, `no_saddle`, `no_connection` (the orbit at
    the guess does not come back, or only a part of it was found), `not_converged`,
    `elsewhere` (far from the guess), or `degenerate` (the connection does not break as the
    parameter moves, as in a conservative family). `ValueError` for a `Map`, in single
    precision, and for shapes that do not fit.

    **Source:** see `_connections.py`; the saddle quantity: Kuznetsov, Elements of Applied
    Bifurcation Theory, chapter 6.
    """
    verb = "locate_homoclinic"
    posed = _pose(verb, family, saddle, None, parameter, side, length, intervals)
    orbit, origin, _ = _connect(*posed)
    return Homoclinic(
        **orbit,
        saddle=origin.point,
        saddle_quantity=origin.rate + origin.slowest,
    )


def locate_heteroclinic(
    family: Callable,
    start: ArrayLike,
    end: ArrayLike,
    parameter: ArrayLike,
    *,
    side: int = 1,
    length: ArrayLike = 20.0,
    intervals: int = INTERVALS,
) -> Heteroclinic:
    """The parameter at which the orbit that leaves one saddle comes to another.

    **Arguments:** as `locate_homoclinic`, with guesses of the two saddles, each with
    exactly one positive eigenvalue.

    **Returns:** a `Heteroclinic`.

    **Fails:** as `locate_homoclinic`.
    """
    verb = "locate_heteroclinic"
    posed = _pose(verb, family, start, end, parameter, side, length, intervals)
    orbit, origin, target = _connect(*posed)
    return Heteroclinic(**orbit, start=origin.point, end=target.point)


def _pose(verb, family, start, end, parameter, side, length, intervals):
    field, reading, start, parameter = pose(verb, family, start, parameter, 1)
    if not issubclass(reading, Flow):
        raise ValueError(f"{verb}: the family must return a Flow, got {reading.__name__}.")
    if start.shape[0] < 2:
        raise ValueError(f"{verb}: the saddle has shape {start.shape}; it needs n ≥ 2.")
    if end is not None:
        end = real_array(verb, "end", end).astype(start.dtype)
        if end.shape != start.shape:
            raise ValueError(
                f"{verb}: start and end must have the same shape, got {start.shape} and "
                f"{end.shape}."
            )
    if side not in (1, -1):
        raise ValueError(f"{verb}: side must be 1 or -1, got {side!r}.")
    length = real_array(verb, "length", length).astype(start.dtype)
    if length.shape != () or (concrete(length) and not length > 0):
        raise ValueError(f"{verb}: length must be one positive number, got {length}.")
    if not isinstance(intervals, int) or intervals < 16 or intervals % 2:
        raise ValueError(
            f"{verb}: intervals must be an even number ≥ 16, got {intervals!r}."
        )
    program, arrays = hoist_field(field, start, parameter)
    side = jnp.asarray(side, start.dtype)
    return program, intervals, arrays, start, end, parameter, side, length


def _connect(program, count, arrays, start, end, guess, side, length):
    """The orbit as a dict, and the two saddles with their directions, or NaN."""
    frozen = jax.lax.stop_gradient((arrays, start, end, guess, side, length))
    found = _search(program, count, *frozen)
    return _settle(program, count, end is None, arrays, start, guess, found)


@eqx.filter_jit
def _search(program, count, arrays, start, end, guess, side, length):
    field = as_field(program, arrays)
    here = lambda x: field(x, guess)
    origin = leaving(here, start, side)
    target = origin if end is None else leaving(here, end, side)
    apart = ENDS * length
    points, steps, passes = _guess(
        program, count, (arrays, guess), origin, target, length, end is None
    )
    unknown, steps, converged, singular = _close(
        field, points, guess, steps, origin, target, apart
    )
    finite = jnp.isfinite(guess) & jnp.all(jnp.isfinite(start)) & jnp.isfinite(length)
    for array in arrays:
        finite &= jnp.all(jnp.isfinite(array))
    result = choose(
        RESULTS,
        RESULTS.successful,
        (~finite, RESULTS.nonfinite),
        (~(origin.alone & target.alone), RESULTS.no_saddle),
        (~passes, RESULTS.no_connection),
        (~converged, RESULTS.not_converged),
        (singular, RESULTS.degenerate),
    )
    # Where nothing was found, numbers with which the rest can be computed.
    spare = jnp.append(jnp.cos(jnp.arange(len(unknown) - 1.0)), guess)
    good = result == RESULTS.successful
    unknown = jnp.where(good, unknown, spare)
    steps = jnp.where(good, steps, 1 / count)
    return unknown, steps, result, origin, target, apart


@eqx.filter_jit
def _settle(program, count, back, arrays, start, guess, found):
    """What was found with its derivatives. The search is compiled apart from this, so that
    a derivative does not compile it again."""
    unknown, steps, result, origin, target, apart = found
    target = origin if back else target
    n = start.shape[0]
    field = as_field(program, arrays)
    equations = functools.partial(_equations, field, origin, target, apart, steps)
    question, constants = hoist(equations, unknown)
    good = result == RESULTS.successful
    unknown = attach(question, constants, unknown, good, Chain(n))
    points, parameter = unknown[:-1].reshape(count, n), unknown[-1]
    here = lambda x: field(x, parameter)
    out = leaving(here, origin.point, 1, origin.frame)
    into = out if back else leaving(here, target.point, 1, target.frame)
    moved = jnp.maximum(jnp.max(jnp.abs(out.point - start)), jnp.abs(parameter - guess))
    reach = REACH * jnp.maximum(jnp.max(jnp.abs(start)), jnp.abs(guess))
    short = jnp.linalg.norm(points[-1] + out.point - into.point) > 1e2 * apart
    flat = jnp.max(jnp.abs(points)) < 1e2 * apart
    result = choose(
        RESULTS,
        result,
        (~good, result),
        (~(out.alone & into.alone), RESULTS.no_saddle),
        (moved > jnp.maximum(NEAR, reach), RESULTS.elsewhere),
        (short | flat, RESULTS.no_connection),
    )
    orbit = {
        "points": points + out.point,
        "times": jnp.cumsum(steps) - steps,
        "parameter": parameter,
        "distance": jax.lax.stop_gradient(moved),
    }
    good = result == RESULTS.successful
    orbit, out, into = jax.tree.map(
        lambda x: jnp.where(good, x, jnp.nan) if eqx.is_inexact_array(x) else x,
        (orbit, out, into),
    )
    return orbit | {"result": result}, out, into


def _equations(field, origin: Leaving, target: Leaving, apart, steps, unknown):
    """Of points, counted from the first saddle, and the parameter; `origin` and `target`
    are the saddles at the guess. The last of `steps` is 0: the chain is open."""
    n = origin.frame.shape[0]
    points, parameter = unknown[:-1].reshape(-1, n), unknown[-1]
    here = lambda x: field(x, parameter)
    out = leaving(here, origin.point, 1, origin.frame)
    into = out
    if target is not origin:
        into = leaving(here, target.point, 1, target.frame)
    lack = defects(lambda y: here(out.point + y), points, steps)[:-1]
    first, last = points[0], points[-1] + out.point - into.point
    part = out.frame @ first
    ends = jnp.append((first - part * out.along) @ _beside(out.frame), into.across @ last)
    return jnp.concatenate([lack.ravel(), ends, part[None] - apart])


def _beside(unit):
    """Unit vectors that span what is perpendicular to one, shape `(n, n − 1)`."""
    # A mirror that brings the vector onto an axis.
    axis = jnp.zeros_like(unit).at[0].set(jnp.where(unit[0] > 0, -1.0, 1.0))
    mirror = unit - axis
    mirror = mirror / jnp.linalg.norm(mirror)
    return (jnp.eye(len(unit)) - 2 * jnp.outer(mirror, mirror))[:, 1:]


def _guess(program, count, arrays, origin, target, length, back):
    """A polygon from the first saddle to the second with its steps, and whether the orbit
    comes near to there."""
    field = lambda a, x: as_field(program, a[0])(x, a[1])
    here = functools.partial(field, arrays)
    sound = origin.alone & target.alone & (length > 0) & jnp.isfinite(length)
    length = jnp.where(sound, length, 1.0)
    apart = ENDS * length
    # Near the saddle by its distance, then by the length.
    early = jnp.exp(jnp.linspace(jnp.log(apart), jnp.log(length / LATE), EARLY + 1))
    late = length / LATE * jnp.arange(1, LATE + 1)
    lengths = jnp.concatenate([apart[None], early[1:-1], late])
    slowest = jnp.where(sound, 0.1 * apart * origin.rate, jnp.inf)
    everywhere = jnp.array([[-jnp.inf], [jnp.inf]]) * jnp.ones_like(origin.point)
    states, times, *_ = follow(
        field, arrays, parabola(here, origin, apart), apart, lengths, slowest, everywhere
    )
    gaps = jnp.linalg.norm(states - target.point, axis=1)
    reached = jnp.isfinite(gaps)
    falls = jnp.append(False, gaps[1:] < gaps[:-1])
    allowed = reached & (jnp.cumsum(falls) > 0) if back else reached
    ahead = jnp.append(gaps[1:], jnp.inf)
    extent = jax.lax.cummax(jnp.where(reached, gaps, 0))
    least = allowed & falls & (gaps <= ahead) & (gaps <= PASSES * extent)
    closest = jnp.min(jnp.where(least, gaps, jnp.inf))
    # Samples lie up to a spacing from the closest place.
    at = jnp.argmax(least & (gaps <= FIRST * closest + 2 * length / LATE))
    passes = sound & jnp.any(least)

    # From there with the linearised flow, without what would lead away again.
    gap = states[at] - target.point
    gap = gap - target.along * (target.across @ gap)
    late, tail = _tail(here, target, gap, apart)
    body = jnp.where((jnp.arange(len(gaps)) <= at)[:, None], states, states[at])
    clock = jnp.where(jnp.arange(len(gaps)) <= at, times, times[at])
    states = jnp.concatenate([body, target.point + tail])
    times = jnp.concatenate([clock, times[at] + late])
    sides = jnp.linalg.norm(jnp.diff(states, axis=0), axis=1)
    at = _spread(sides, times, count)
    points = jax.vmap(lambda x: jnp.interp(at, times, x), 1, 1)(states)
    return points - origin.point, jnp.append(jnp.diff(at), 0.0), passes


def _tail(field, saddle: Leaving, gap, apart):
    """Times and states of the linearised flow, from `gap` until it is `apart`."""
    far = jnp.maximum(jnp.linalg.norm(gap) / apart, 2.0)
    step = jnp.log(far) / -saddle.slowest / TAIL
    matrix = step * jax.jacfwd(field)(saddle.point)
    even = jnp.eye(len(matrix)) + matrix @ matrix / 12
    # The exponential, as Padé has it: enough for a guess, stable however stiff it is.
    onward = jnp.linalg.solve(even - matrix / 2, even + matrix / 2)

    def move(gap, _):
        gap = onward @ gap
        # Rounding would grow.
        gap = gap - saddle.along * (saddle.across @ gap)
        return gap, gap

    _, states = jax.lax.scan(move, gap, length=TAIL)
    return step * jnp.arange(1, TAIL + 1), states


def _spread(cost, times, count):
    """Times, the first and the last of `times` included, between which the cost is the
    same; a part of the mesh is spread evenly."""
    steps = jnp.diff(times)
    cost = (1 - EQUAL) * cost / jnp.sum(cost) + EQUAL * steps / jnp.sum(steps)
    amount = jnp.append(0.0, jnp.cumsum(cost))
    at = jnp.interp(jnp.linspace(0, 1, count), amount / amount[-1], times)
    return at.at[0].set(times[0]).at[-1].set(times[-1])


def _close(field, points, parameter, steps, origin, target, apart):
    """Newton's method on a mesh, a better mesh, and so on; whether it converged, and
    whether to a connection that does not break as the parameter moves."""
    count, n = points.shape
    size = jnp.max(jnp.abs(points))
    scale = jnp.append(jnp.full(count * n, size), jnp.maximum(1, jnp.abs(parameter)))

    def improve(unknown, steps):
        question = functools.partial(_equations, field, origin, target, apart, steps)
        factors = factor(question, unknown, n)
        move = solve(factors, question(unknown))
        long = jnp.max(jnp.abs(move) / scale)
        move = jnp.where(jnp.isfinite(long), move / jnp.maximum(1, 4 * long), 0)
        long = jnp.where(jnp.isfinite(long), long, jnp.inf)
        return unknown - move, long, is_degenerate(factors)

    def remesh(unknown, steps):
        points, parameter = unknown[:-1].reshape(count, n), unknown[-1]
        here = lambda x: field(x, parameter)
        first, _ = newton(here, origin.point)
        last = first if target is origin else newton(here, target.point)[0]
        towers = jax.vmap(lambda y: derivatives(lambda z: here(first + z), y))(points)
        pieces = coefficients(points, towers, steps)
        times, total = jnp.cumsum(steps) - steps, jnp.sum(steps)
        # The last point to its distance again, along the linearised flow if beyond.
        gap = points[-1] + first - last
        more = jnp.log(jnp.linalg.norm(gap) / apart) / -target.slowest
        end = total + jnp.clip(more, -total / 2, total)
        late, tail = _tail(here, target, gap, apart)
        states = jnp.concatenate([points, last - first + tail])
        times = jnp.concatenate([times, total + late])
        # How fast the orbit changes its course, in units that intervals should share.
        rates = jnp.linalg.norm(towers[:, -1], axis=1) ** (1 / towers.shape[1])
        cost = (rates[:-1] + rates[1:]) / 2 * steps[:-1]
        cost = jnp.append(cost, jnp.full(TAIL, rates[-1]) * late[0])
        inner = jnp.minimum(times, end)
        at = _spread(jnp.where(jnp.diff(inner) > 0, cost, 0), inner, count)
        inside = at_times(pieces[:-1], steps[:-1], jnp.minimum(at, total))
        beyond = jax.vmap(lambda x: jnp.interp(at, times, x), 1, 1)(states)
        points = jnp.where((at <= total)[:, None], inside, beyond)
        return jnp.append(points.ravel(), parameter), jnp.append(jnp.diff(at), 0.0)

    def body(state):
        rounds, tries, unknown, steps, _, _ = state
        unknown, long, singular = improve(unknown, steps)
        done = (long <= 1e-12) | (tries + 1 >= STEPS)
        renew = done & (rounds + 1 < ROUNDS) & (long < 1e-2)
        unknown, steps = jax.lax.cond(renew, remesh, lambda *x: x, unknown, steps)
        # What does not converge at all need not be tried on other meshes.
        stop = ~jnp.isfinite(long) | (done & (long >= 1e-2))
        rounds = jnp.where(stop, ROUNDS, rounds + done)
        return rounds, jnp.where(done, 0, tries + 1), unknown, steps, long, singular

    unknown = jnp.append(points.ravel(), parameter)
    state = 0, 0, unknown, steps, jnp.asarray(jnp.inf), jnp.asarray(True)
    state = jax.lax.while_loop(lambda s: s[0] < ROUNDS, body, state)
    *_, unknown, steps, long, singular = state
    settled = (long <= 1e-8) & jnp.all(jnp.isfinite(unknown))
    return unknown, steps, settled, singular
