r"""A piece of an orbit between two saddles, as equations, and their solution.

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

import jax
import jax.numpy as jnp

from .._conditions import newton
from .._cycles._base import at_times
from .._cycles._collocation import coefficients, defects, derivatives, rates, spread
from .._cycles._cyclic import factor, is_degenerate, solve
from .._linalg import beside
from ._base import Leaving, leaving

ENDS = 1e-6  # how far the ends lie from the saddles, as a part of the length of the orbit
STEPS = 12  # of Newton's method on each mesh
TAIL = 64  # points of the linearised flow into a saddle


def equations(field, origin: Leaving, target: Leaving, apart, steps, unknown):
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
    ends = jnp.append((first - part * out.along) @ beside(out.frame), into.across @ last)
    return jnp.concatenate([lack.ravel(), ends, part[None] - apart])


def close(field, points, parameter, steps, origin, target, apart, meshes):
    """Newton's method on a mesh, a better mesh, and so on; whether it converged, and
    whether to a connection that does not break as the parameter moves."""
    count, n = points.shape
    size = jnp.max(jnp.abs(points))
    scale = jnp.append(jnp.full(count * n, size), jnp.maximum(1, jnp.abs(parameter)))

    def improve(unknown, steps):
        question = functools.partial(equations, field, origin, target, apart, steps)
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
        late, ahead = tail_into(here, target, gap, apart)
        states = jnp.concatenate([points, last - first + ahead])
        times = jnp.concatenate([times, total + late])
        speeds = rates(towers)
        cost = (speeds[:-1] + speeds[1:]) / 2 * steps[:-1]
        cost = jnp.append(cost, jnp.full(TAIL, speeds[-1]) * late[0])
        inner = jnp.minimum(times, end)
        cost = jnp.where(jnp.diff(inner) > 0, cost, 0)
        at = spread(cost, inner, jnp.linspace(0, 1, count)).at[-1].set(inner[-1])
        inside = at_times(pieces[:-1], steps[:-1], jnp.minimum(at, total))
        beyond = jax.vmap(lambda x: jnp.interp(at, times, x), 1, 1)(states)
        points = jnp.where((at <= total)[:, None], inside, beyond)
        return jnp.append(points.ravel(), parameter), jnp.append(jnp.diff(at), 0.0)

    def body(state):
        rounds, tries, unknown, steps, _, _ = state
        unknown, long, singular = improve(unknown, steps)
        done = (long <= 1e-12) | (tries + 1 >= STEPS)
        renew = done & (rounds + 1 < meshes) & (long < 1e-2)
        unknown, steps = jax.lax.cond(renew, remesh, lambda *x: x, unknown, steps)
        # What does not converge at all need not be tried on other meshes.
        stop = ~jnp.isfinite(long) | (done & (long >= 1e-2))
        rounds = jnp.where(stop, meshes, rounds + done)
        return rounds, jnp.where(done, 0, tries + 1), unknown, steps, long, singular

    unknown = jnp.append(points.ravel(), parameter)
    state = 0, 0, unknown, steps, jnp.asarray(jnp.inf), jnp.asarray(True)
    state = jax.lax.while_loop(lambda s: s[0] < meshes, body, state)
    *_, unknown, steps, long, singular = state
    settled = (long <= 1e-8) & jnp.all(jnp.isfinite(unknown))
    return unknown, steps, settled, singular


def tail_into(field, saddle: Leaving, gap, apart):
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
