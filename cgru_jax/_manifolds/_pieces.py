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
from .._cycles._cyclic import linearise, solve
from .._linalg import beside
from ._base import Leaving, leaving

ENDS = 1e-6  # how far the ends lie from the saddles, as a part of the length of the orbit
STEPS = 12  # of Newton's method on each mesh
TAIL = 64  # points of the linearised flow into a saddle


def saddles(field, origin: Leaving, target: Leaving, parameter):
    """What the equations say of the two saddles at a parameter, near those of the guess:
    the first, how orbits leave it, a fixed unit vector near that; the second, and what
    orbits that come to it have none of."""
    here = lambda x: field(x, parameter)
    out = leaving(here, origin.point, 1, origin.frame)
    into = out
    if target is not origin:
        into = leaving(here, target.point, 1, target.frame)
    return out.point, out.along, out.frame, into.point, into.across


def equations(field, saddles, apart, steps, unknown):
    """Of points, counted from the first saddle, and the parameter, of which `saddles` is a
    function. The last of `steps` is 0: the chain is open."""
    parameter = unknown[-1]
    origin, along, frame, target, across = saddles(parameter)
    points = unknown[:-1].reshape(-1, origin.shape[0])
    lack = defects(lambda y: field(origin + y, parameter), points, steps)[:-1]
    first, last = points[0], points[-1] + origin - target
    part = frame @ first
    ends = jnp.append((first - part * along) @ beside(frame), across @ last)
    return jnp.concatenate([lack.ravel(), ends, part[None] - apart])


def frames(field, points, parameter, origin):
    """Unit vectors as columns at each point, the first along the orbit; shape (N, n, n)."""
    flow = jax.vmap(lambda y: field(origin + y, parameter))(points)
    unit = flow / jnp.linalg.norm(flow, axis=1, keepdims=True)
    return jnp.concatenate([unit[:, :, None], jax.vmap(beside)(unit)], axis=2)


def moved(points, steps, axes, rows):
    """Points and steps after a move by `N` rows of `n` numbers.

    Without `axes`: points by these, each interval with the time that it has, for a crude
    guess. With the axes of `frames`: points across the orbit, and each interval by the
    logarithm of its own time, for one that is nearly an orbit. What happens near one saddle
    then leaves the distance from the other alone, which a shift of the whole clock would
    change by a factor. Of the first point, which no interval ends at, the first number is
    its way along the orbit.
    """
    if axes is None:
        return points + rows, steps
    across = rows.at[1:, 0].set(0.0)
    points = points + jnp.einsum("kij,kj->ki", axes, across)
    return points, steps.at[:-1].multiply(jnp.exp(rows[1:, 0]))


def close(field, guess, origin, target, apart, meshes, clocks):
    """Newton's method on a mesh, a better mesh, and so on.

    **Arguments:** `guess`: points, parameter and steps; `clocks`: whether each interval
    has its own, as `moved` explains.

    **Returns:** points, parameter and steps; whether it converged; and of the last
    iterate but one the eliminated equations and the axes to which they belong.
    """
    points, parameter, _ = guess
    count, n = points.shape
    size = jnp.max(jnp.abs(points))
    ends = functools.partial(saddles, field, origin, target)
    # States are rounded beside a distance that sets the clock of the whole orbit.
    eps = jnp.finfo(points.dtype).eps
    rounding = eps * (size + jnp.max(jnp.abs(origin.point))) / apart
    unit = jnp.full((count, n), size)
    if clocks:
        unit = unit.at[1:, 0].set(1.0)
    unit = jnp.append(unit.ravel(), jnp.maximum(1, jnp.abs(parameter)))

    def improve(points, at, steps):
        # To first order is what Newton's method needs, and quicker to compile.
        here, slopes = jax.jvp(ends, (at,), (jnp.ones(()),))
        near = lambda p: jax.tree.map(lambda x, d: x + (p - at) * d, here, slopes)
        axes = frames(field, points, at, here[0]) if clocks else None

        def question(u):
            after, times = moved(points, steps, axes, u[:-1].reshape(count, n))
            unknown = jnp.append(after.ravel(), at + u[-1])
            return equations(field, near, apart, times, unknown)

        factors, value = linearise(question, jnp.zeros(count * n + 1), n)
        move = -solve(factors, value)
        long = jnp.max(jnp.abs(move) / unit)
        move = jnp.where(jnp.isfinite(long), move / jnp.maximum(1, 4 * long), 0)
        long = jnp.where(jnp.isfinite(long), long, jnp.inf)
        points, steps = moved(points, steps, axes, move[:-1].reshape(count, n))
        return points, at + move[-1], steps, long, (factors, axes)

    def remesh(points, parameter, steps):
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
        return points, parameter, jnp.append(jnp.diff(at), 0.0)

    def body(state):
        rounds, tries, *orbit, _, _ = state
        *orbit, long, linear = improve(*orbit)
        done = (long <= 1e-12 + 16 * rounding) | (tries + 1 >= STEPS)
        renew = done & (rounds + 1 < meshes) & (long < 1e-2)
        orbit = jax.lax.cond(renew, remesh, lambda *x: x, *orbit)
        # What does not converge at all need not be tried on other meshes.
        stop = ~jnp.isfinite(long) | (done & (long >= 1e-2))
        rounds = jnp.where(stop, meshes, rounds + done)
        return rounds, jnp.where(done, 0, tries + 1), *orbit, long, linear

    empty = jax.eval_shape(improve, *guess)[-1]
    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), empty)
    state = 0, 0, *guess, jnp.asarray(jnp.inf), empty
    state = jax.lax.while_loop(lambda s: s[0] < meshes, body, state)
    _, _, points, parameter, steps, long, linear = state
    settled = (long <= 1e-8 + 100 * rounding) & jnp.all(jnp.isfinite(points))
    return points, parameter, steps, settled, linear


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
