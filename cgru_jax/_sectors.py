"""The sectors of a planar equilibrium: how orbits come to it and leave it.

Two circles around the equilibrium bound an annulus. An orbit that touches the inner circle
from outside and goes on to the outer one in both directions of time passes by: such orbits
fill a hyperbolic sector. One that touches the outer circle from inside and goes on to the
inner one in both directions comes back: such orbits fill an elliptic sector. Turned inside
out one is the other, so one search serves both. Orbits that cross the annulus are what is
left: separatrices, and parabolic sectors. Because whole orbits are followed, directions at
which the field merely points to the equilibrium do not mislead.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from . import _scalars
from ._errors import check_x64, concrete, real_array
from ._program import hoist
from ._results import RESULTS, choose
from ._rodas import rodas
from ._systems import AbstractSystem

# Two annuli: outer radius by the one asked for, and how much deeper the inner one lies, in
# log r. An orbit of the size r that is r² thin comes as near as log(1/r), 2 to 3, and its
# shape may add as much; the inner radius, 5e-5, is still large beside rounding.
ANNULI = ((1.0, 5.5), (0.5, 7.0))
SAMPLES = 256  # angles per circle, dense where the field turns
TOUCHING = 16  # orbits per circle that touch it, that there is room for
CLOSER = 1.5  # parabolic sectors are those as wide at the depth less this, in log r
BESIDE = 1e-3  # how far, in log r, an orbit that touches begins beside its circle
STEPS = 3_000  # per orbit
TOLERANCE = 1e-8  # of a step, in log r and angle


class Sectors(eqx.Module):
    """Sectors of one equilibrium; all shape `()`, NaN where they are not settled.

    - `elliptic`: regions of orbits that leave the equilibrium and return to it.
    - `hyperbolic`: regions of orbits that come near and leave.
    - `parabolic`: regions of orbits that come to the equilibrium, or of orbits that leave
      it, between two hyperbolic sectors; those beside an elliptic one belong to that one. A
      node has one, a focus or a centre none.
    - `index`: 1 + (elliptic − hyperbolic) / 2, in agreement with the degree of the field.
    - `result`: whether all of this is settled.
    """

    elliptic: Float[Array, "*batch"]
    hyperbolic: Float[Array, "*batch"]
    parabolic: Float[Array, "*batch"]
    index: Float[Array, "*batch"]
    result: RESULTS


def sectors(system: AbstractSystem, point: ArrayLike, radius: ArrayLike = 0.1) -> Sectors:
    """Elliptic, hyperbolic and parabolic sectors of an isolated planar equilibrium.

    **Arguments:**

    - `system`: a `Flow` in the plane. (Of a `Map` the sectors of its increments, which are
      those of the flow that it follows in the limit of small steps.)
    - `point`: shape `(2,)`, the equilibrium; a few 1e-6 beside it does no harm.
    - `radius`: shape `()`, of a disc without another equilibrium.

    **Returns:** `Sectors`: the same in two annuli, from `radius` down to radius / 250 and
    from half of it to radius / 2000, and in agreement with the degree of the field on all
    four circles. Finer they are not seen: an equilibrium around which every orbit turns so
    unevenly that it comes 250 times nearer on one side than on the other is not told from
    one with sectors.

    **Fails:** NaN, and `result` is `undecided` where annuli or degrees disagree (another
    equilibrium within `radius`, a radius beyond which sectors already end, sectors too
    narrow to be seen, a field lost in rounding on the inner circles), `not_converged` where
    the point is no equilibrium, or `nonfinite`. `ValueError` in single precision, and for a
    point or radius of a wrong shape.

    **Source:** the index formula is I. Bendixson's (textbook); the search is derived here.
    Sampled, not proved.
    """
    point = real_array("sectors", "point", point)
    radius = real_array("sectors", "radius", radius)
    if point.shape != (2,) or radius.shape != ():
        raise ValueError(
            "sectors: point must have shape (2,) and radius shape (), got "
            f"{point.shape} and {radius.shape}; sectors are those of a planar system."
        )
    if concrete(radius) and not radius > 0:
        raise ValueError(f"sectors: radius must be positive, got {radius}.")
    point = point.astype(float)
    check_x64("sectors", point.dtype)
    program, arrays = hoist(system.residual, point)
    return _sectors(program, arrays, point, radius.astype(float))


@eqx.filter_jit
def _sectors(program, arrays, point, radius):
    arrays, point, radius = jax.lax.stop_gradient((arrays, point, radius))
    scale, depth = (jnp.array(column) for column in zip(*ANNULI, strict=True))
    field = _compass(program, arrays, point)
    seen = jax.vmap(functools.partial(_annulus, field))(jnp.log(radius * scale), depth)
    elliptic, hyperbolic, parabolic, degree, clear = seen
    index = 1 + (elliptic - hyperbolic) / 2
    finite = jnp.isfinite(radius) & jnp.all(jnp.isfinite(point)) & (radius > 0)
    for array in arrays:
        finite &= jnp.all(jnp.isfinite(array))
    innermost = jnp.min(jnp.log(radius * scale) - depth)
    around = jnp.linspace(0, 2 * jnp.pi, SAMPLES)
    usual = jnp.max(jnp.hypot(*jax.vmap(functools.partial(field, innermost))(around)))
    rests = jnp.linalg.norm(program(arrays, point)) < 0.1 * usual
    # Below this the places themselves are rounded to few digits.
    fine = innermost > jnp.log(1e6 * jnp.finfo(point.dtype).eps * jnp.max(jnp.abs(point)))
    settled = finite & rests & fine & jnp.all(clear) & jnp.all(degree == index[0])
    for counts in (elliptic, hyperbolic, parabolic):
        settled &= counts[0] == counts[1]
    one = lambda counts: jnp.where(settled, counts[0], jnp.nan)
    return Sectors(
        elliptic=one(elliptic),
        hyperbolic=one(hyperbolic),
        parabolic=one(parabolic),
        index=one(index),
        result=choose(
            RESULTS,
            RESULTS.undecided,
            (~finite, RESULTS.nonfinite),
            (~rests, RESULTS.not_converged),
            (settled, RESULTS.successful),
        ),
    )


def _compass(program, arrays, point):
    """The field at `(log r, angle)`: its radial and angular component."""

    def field(height, angle):
        r, cos, sin = jnp.exp(height), jnp.cos(angle), jnp.sin(angle)
        place = [point[0] + r * cos, point[1] + r * sin]
        if _scalars.worthwhile(program):
            u, v = _scalars.evaluate(program, arrays, place)
        else:
            u, v = program(arrays, jnp.stack(place))
        return u * cos + v * sin, v * cos - u * sin

    return field


def _annulus(field, height, depth):
    """What is seen between the circle at `height` and the one `depth` further in.

    **Returns:** how many elliptic, hyperbolic, parabolic sectors; the degrees on the two
    circles; whether all of that is sound.
    """
    # The third circle lies between: orbits that touch it pass by at a larger distance.
    heights = jnp.stack([height, height - depth, height - depth + CLOSER])
    sides = jnp.array([1.0, -1.0, -1.0])
    depths = jnp.stack([depth, depth, depth - CLOSER])
    arcs, degrees, clear, straight = jax.vmap(functools.partial(_arcs, field))(
        heights, sides, depths
    )
    loops, passes, wider = (jax.tree.map(lambda x, i=i: x[i], arcs) for i in range(3))

    # Between two hyperbolic sectors, seen on the outer circle.
    alone = passes.outermost
    start, end = passes.low, passes.low + passes.length
    gap = _gap(start, end, alone)
    # Of the orbits at the larger distance, the widest that lies inside of each.
    inside = passes.holds(wider.low + wider.length / 2) & wider.outermost[None]
    widest = jnp.argmax(jnp.where(inside, wider.length[None], -1), axis=1)
    wide = _gap(wider.low[widest], (wider.low + wider.length)[widest], alone)
    # Beside a separatrix the orbits that cross fill an angle that shrinks with the inner
    # circle, at least as its radius; a parabolic sector keeps its angle.
    stays = (gap > wide / 2) & (gap > BESIDE)
    loop_within = jnp.mod(loops.touch[None] - end[:, None], 2 * jnp.pi) < gap[:, None]
    taken = jnp.any(loop_within & loops.outermost[None], axis=1)
    parabolic = jnp.sum(alone & stays & ~taken)
    elliptic, hyperbolic = jnp.sum(loops.outermost), jnp.sum(alone)
    node = (elliptic + hyperbolic == 0) & straight[0]
    counts = elliptic, hyperbolic, jnp.where(node, 1, parabolic)
    return *counts, degrees[:2], jnp.all(clear)


class _Arcs(eqx.Module):
    """Orbits that touch one circle and reach the other in both directions of time, and the
    arcs of that other circle over which they stand; two arcs are nested or apart."""

    touch: Float[Array, "*batch k"]
    low: Float[Array, "*batch k"]
    length: Float[Array, "*batch k"]
    outermost: Bool[Array, "*batch k"]

    def holds(self, angles):
        """Whether each arc contains each angle, shape `(k, angles)`."""
        return jnp.mod(angles[None] - self.low[:, None], 2 * jnp.pi) < self.length[:, None]


def _arcs(field, height, side, depth):
    """The `_Arcs` of the circle at `height`; side 1 looks inwards and −1 outwards.

    **Returns:** them; the degree on the circle; whether that is sound; and whether orbits
    get to the other circle along a direction rather than around.
    """
    beside = height - side * BESIDE
    angles, degree, clear = _angles(field, beside)

    def outwards(angle):
        radial, angular = field(beside, angle)
        # A field without any radial part touches nowhere, whatever its rounding.
        return radial - 1e-9 * jnp.hypot(radial, angular)

    rises = jax.vmap(outwards)(angles) > 0
    _, angular = jax.vmap(functools.partial(field, beside))((angles[1:] + angles[:-1]) / 2)
    # Along its orbit the distance is least where the radial component turns positive.
    least = jnp.where(angular > 0, rises[1:] & ~rises[:-1], rises[:-1] & ~rises[1:])
    most = jnp.where(angular > 0, rises[:-1] & ~rises[1:], rises[1:] & ~rises[:-1])
    touches = jnp.where(side > 0, most, least)
    at = jnp.nonzero(touches, size=TOUCHING, fill_value=0)[0]
    used = jnp.arange(TOUCHING) < jnp.sum(touches)

    def halve(_, ends):
        middle = (ends[0] + ends[1]) / 2
        lower = (jax.vmap(outwards)(middle) > 0) == rises[at]
        return jnp.where(lower, middle, ends[0]), jnp.where(lower, ends[1], middle)

    touch = jax.lax.fori_loop(0, 45, halve, (angles[at], angles[at + 1]))[0]
    # Together with the most radial orbit, which tells a node from a focus.
    radial, angular = jax.vmap(functools.partial(field, beside))(angles)
    steepest = jnp.argmax(jnp.abs(radial) / jnp.hypot(radial, angular))
    shoot = functools.partial(_shoot, field, height, side, depth)
    reached, swing = jax.vmap(jax.vmap(shoot, (None, 0)), (0, None))(
        jnp.append(touch, angles[steepest]), jnp.array([1.0, -1.0])
    )
    crosses = jnp.any(reached[-1] & (jnp.abs(swing[-1]) < 2 * jnp.pi))
    straight = crosses & jnp.any(angular > 0) & jnp.any(angular < 0)
    reached, swing = reached[:-1], swing[:-1]
    low, high = touch + jnp.min(swing, axis=1), touch + jnp.max(swing, axis=1)
    used &= jnp.all(reached, axis=1)
    arcs = _Arcs(touch, low, high - low, used)
    # Nested orbits belong to one sector: count the outermost, of equals the first.
    within = arcs.holds(low + arcs.length / 2) & used[:, None]
    order = jnp.arange(TOUCHING)
    longer = arcs.length[:, None] - arcs.length[None]
    beaten = (longer > 0) | ((longer == 0) & (order[:, None] < order[None]))
    outermost = used & ~jnp.any(within & beaten, axis=0)
    fits = jnp.sum(touches) <= TOUCHING
    arcs = _Arcs(touch, low, high - low, outermost)
    return arcs, degree, clear & fits, straight


def _gap(start, end, chosen):
    """From the end of each arc to the nearest start of a chosen one, rounding aside."""
    ahead = jnp.mod(start[None] - end[:, None] + BESIDE, 2 * jnp.pi) - BESIDE
    return jnp.min(jnp.where(chosen[None], ahead, jnp.inf), axis=1)


def _angles(field, height):
    """Sample angles, dense where the field turns; the degree; whether that is resolved, and
    rounding leaves the field its direction."""

    def turning(angles):
        radial, angular = jax.vmap(functools.partial(field, height))(angles)
        jumps = jnp.diff(jnp.arctan2(angular, radial))
        return jumps - 2 * jnp.pi * jnp.round(jumps / (2 * jnp.pi))

    even = jnp.linspace(0, 2 * jnp.pi, SAMPLES + 1)

    def refine(_, angles):
        share = jnp.diff(angles) / (2 * jnp.pi)
        # Beside a jump as well: it may lie at the end of what was refined before.
        jumps = jnp.abs(turning(angles))
        jumps = jnp.maximum(jumps, jnp.maximum(jnp.roll(jumps, 1), jnp.roll(jumps, -1)))
        weight = jnp.cumsum(share + jumps / (4 * jnp.pi))
        weight = jnp.concatenate([jnp.zeros(1), weight]) / weight[-1]
        return jnp.interp(even / (2 * jnp.pi), weight, angles)

    angles = jax.lax.fori_loop(0, 10, refine, even)
    turns = turning(angles)
    # The field turns once more than its components along and across the radius do.
    degree = 1 + jnp.round(jnp.sum(turns) / (2 * jnp.pi))
    # Over a millionth of the radius a field is straight, unless its digits are gone.
    near = height + jnp.array([-1e-6, 0, 1e-6])
    parts = jnp.stack(jax.vmap(lambda h: jax.vmap(lambda t: field(h, t))(angles))(near))
    rough = jnp.max(jnp.abs(parts[:, 0] - 2 * parts[:, 1] + parts[:, 2]), axis=0)
    size = jnp.max(jnp.abs(parts[:, 1]), axis=0)
    clear = jnp.all(rough < 1e-2 * size) & jnp.all(jnp.abs(turns) < jnp.pi / 2)
    return angles, degree, clear


def _shoot(field, height, side, depth, angle, time):
    """Follow one orbit from beside a circle into the annulus, forwards or backwards; in
    log r and angle with unit speed, so that a degenerate equilibrium is no delay.

    **Returns:** whether it gets to the other circle, and the angle by which it has turned.

    The method is implicit because orbits creep along valleys, where explicit steps would
    have to be as short as the valley is narrow.
    """

    def heading(place):
        radial, angular = field(height - side * place[0], place[1])
        return time * jnp.stack([-side * radial, angular]) / jnp.hypot(radial, angular)

    def step(state):
        place, ds, count = state
        # The speed is 1, so this ends on the circle and not beyond.
        ds = jnp.minimum(ds, depth - place[0])
        moved, error = rodas(heading, place, ds)
        error = error / TOLERANCE
        place = jnp.where(error < 1, moved, place)
        factor = jnp.clip(0.9 * (error + 1e-9) ** (-1 / 4), 0.2, 4)
        ds = jnp.minimum(0.25, ds * jnp.where(jnp.isnan(factor), 0.2, factor))
        return place, ds, count + 1

    end = depth - 10 * TOLERANCE

    def inside(state):
        place, _, count = state
        turns = jnp.abs(place[1] - angle) < 4 * jnp.pi
        return (place[0] >= 0) & (place[0] < end) & turns & (count < STEPS)

    start = jnp.stack([BESIDE + 0 * angle, angle])
    place, _, _ = jax.lax.while_loop(inside, step, (start, BESIDE + 0 * angle, 0))
    return place[0] >= end, place[1] - angle
