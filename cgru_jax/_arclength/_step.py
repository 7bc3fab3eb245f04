"""One step along a curve: predicted, corrected, and accepted or not."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ._base import (
    BOUND,
    CAPACITY,
    CLOSED,
    CROSSES,
    CROSSING,
    ELSEWHERE,
    FIRST_TEST,
    LOST,
    NONFINITE,
    RUNNING,
    STEP,
    TURNS,
)
from ._space import dot, move, norm, signed, slanted, where

LONGEST, FIRST_STEP, SHORTEST = 0.1, 0.01, 1e-10  # steps, in units of the size of the curve
NEWTON = 4
STRAIGHT, TURN = 0.995, 0.97  # cosines between tangents: lengthen the step, or refuse it
# Chord and mean tangent of a smooth arc differ by a twelfth of the change of curvature; a
# jump to a neighbouring curve shows here first. Squared half angle.
SLANT = 4.5e-4
FINE = 1e-6  # two events closer than this are not told apart
MOVED = 1e-2  # how far a start may be from the curve


class Lane(eqx.Module):
    """Where a lane is on its curve. Vectors are tuples of leaves, in scaled unknowns."""

    row: Array  # the numbers of the curve
    start: tuple
    begin: tuple  # tangent there
    point: tuple
    tangent: tuple
    sigma: (
        Array  # whether the tangent runs with the orientation of the equations; 0: unknown
    )
    tests: tuple
    slopes: tuple  # of the tests, along the curve
    stride: Array
    landing: Array  # the next step ends on a bound; `guess` and `normal` say where
    guess: tuple
    normal: tuple
    far: Array  # has left the start
    count: Array
    fresh: Array  # the point is not recorded yet
    flag: Array  # a bit for each test that changed sign in the step to the point
    events: Array
    status: Array
    moved: Array
    unresolved: Array


def begin(space, row):
    """A lane before its first step, which only moves the start onto the curve."""
    _, setting = space.restore(row)
    size, count = space.size, space.curve.parameters
    start = space.unpack(setting.start / setting.scale)
    along = setting.along / setting.scale
    along = space.unpack(along / jnp.linalg.norm(along))
    inside = (setting.low <= setting.start[size - count :]) & (
        setting.start[size - count :] <= setting.high
    )
    status = jnp.select(
        [~jnp.all(jnp.isfinite(row)), ~jnp.all(inside)], [NONFINITE, BOUND], RUNNING
    )
    # The last unknown stays, if that can be; elsewhere (at a fold) any other plane does.
    last = space.unpack(jnp.zeros(size).at[-1].set(1))
    plane = last if space.curve.turns else space.unpack(slanted(size))
    zero, false, whole = jnp.zeros(()), jnp.zeros((), bool), jnp.zeros((), int)
    nothing = (zero,) * (FIRST_TEST + space.tests)
    crossed = setting.crossed
    return Lane(
        row=row,
        start=start,
        begin=along,
        point=start,
        tangent=along,
        sigma=zero,
        tests=nothing,
        slopes=nothing,
        stride=jnp.asarray(FIRST_STEP),
        landing=~crossed,
        guess=start,
        normal=plane,
        far=false,
        count=(crossed & (status == RUNNING)).astype(int),
        fresh=crossed & (status == RUNNING),
        flag=whole,
        events=whole,
        status=status,
        moved=zero,
        unresolved=false,
    )


def advance(space, capacity, lane):
    """One step of one lane, accepted or not."""
    row, point, tangent = lane.row, lane.point, lane.tangent
    _, setting = space.restore(row)

    # A closed curve is closed by a step exactly to its start.
    home = move(lane.start, -1, point)
    ahead, apart = dot(tangent, home), norm(home)
    closing = lane.far & (ahead > 0) & (ahead <= 1.2 * lane.stride) & (apart < 1.5 * ahead)
    stride = jnp.where(closing, ahead, lane.stride)

    guess = where(lane.landing, lane.guess, move(point, stride, tangent))
    normal = where(lane.landing, lane.normal, tangent)

    opening = lane.count == 0
    # Bordered by a direction that the curve is orthogonal to, a matrix is singular.
    line = move(tangent, 1e-3, space.unpack(slanted(space.size)))
    line = where(opening, line, tangent)
    found, first, error, (direction, values, slopes) = space.settle(
        row, guess, guess, normal, line, NEWTON
    )
    agree = dot(direction, tangent)
    sigma = jnp.where(agree < 0, -1.0, 1.0)
    onward = tuple(sigma * x for x in direction)
    slopes = tuple(sigma * x for x in slopes)
    tests, slopes = signed(sigma, values), signed(sigma, slopes)

    # Is it the same curve, and was the step short enough?
    step = move(found, -1, point)
    long = norm(step)
    mean = move(tangent, 1, onward)
    straight = dot(step, mean) >= (1 - SLANT) * long * norm(mean) - 1e-12
    sound = (error <= 1e-9) & (first <= 0.2 * long + 1e-9) & straight
    sound &= jnp.abs(agree) >= TURN
    sound = jnp.where(opening, (error <= 1e-9) & (long <= MOVED), sound)

    # Which events happened in it, and might an even number have cancelled?
    known = lane.sigma != 0
    flips = [known & ((a < 0) != (b < 0)) for a, b in zip(lane.tests, tests, strict=True)]
    flips[CROSSES] = known & (sigma * lane.sigma < 0)
    flips[TURNS] &= space.curve.turns
    flips[CROSSES] &= space.curve.crossings
    several = (flips[TURNS] | flips[CROSSES]).astype(int) + sum(
        x.astype(int) for x in flips[2:]
    ) > 1
    doubtful = jnp.zeros((), bool)
    for k in range(len(tests)):
        if (k == TURNS and not space.curve.turns) or k == CROSSES:
            continue
        nearly = _dips(lane.tests[k], lane.slopes[k], tests[k], slopes[k], long)
        # At a crossing the turning of the parameter has a kink.
        doubtful |= nearly & (~flips[CROSSES] if k == TURNS else True)
    doubtful &= known
    sound &= ~flips[CROSSES] | (long <= CROSSING)
    sound &= ~(several | doubtful) | (long <= FINE)

    outside, guess, normal = _bound(space, setting, point, found)
    accept = sound & (lane.landing | ~outside)
    landing = sound & outside & ~lane.landing
    moves = accept & ((long > 1e-12) | opening)
    # At a fold the start cannot be corrected at its own parameter.
    retry = opening & ~sound & (lane.stride == FIRST_STEP)
    landing |= retry
    guess = where(retry, lane.start, guess)
    normal = where(retry, space.unpack(slanted(space.size)), normal)
    back = norm(move(found, -1, lane.start)) < 1e-6
    closed = accept & lane.far & ~lane.landing & back
    closed &= dot(onward, lane.begin) > 0.5

    cosine = jnp.abs(agree)
    growth = jnp.where(cosine > 0.999, 2.0, jnp.where(cosine > STRAIGHT, 1.5, 1.0))
    shorter = jnp.where(lane.landing, lane.stride, stride) / 2
    stride = jnp.where(
        accept,
        jnp.minimum(lane.stride * growth, LONGEST),
        jnp.where(landing & ~retry, lane.stride, shorter),
    )
    count = lane.count + moves
    lost = jnp.where(error <= 1e-9, ELSEWHERE, LOST)
    status = jnp.select(
        [
            opening & accept,
            retry,
            opening,
            accept & lane.landing,
            closed,
            ~sound & (stride < SHORTEST),
            count >= capacity,
        ],
        [RUNNING, RUNNING, lost, BOUND, CLOSED, STEP, CAPACITY],
        RUNNING,
    )
    flag = sum(x.astype(int) << k for k, x in enumerate(flips)) * accept
    return Lane(
        row=row,
        start=where(opening, found, lane.start),
        begin=where(opening, onward, lane.begin),
        point=where(accept, found, point),
        tangent=where(accept, onward, tangent),
        sigma=jnp.where(accept, sigma, lane.sigma),
        tests=where(accept, tests, lane.tests),
        slopes=where(accept, slopes, lane.slopes),
        stride=stride,
        landing=landing,
        guess=guess,
        normal=normal,
        far=lane.far | (accept & (norm(move(found, -1, lane.start)) > 1.5 * stride)),
        count=count,
        fresh=moves,
        flag=flag,
        events=lane.events + (flag > 0),
        status=status,
        moved=jnp.where(opening, long, lane.moved),
        unresolved=lane.unresolved | (accept & (doubtful | several)),
    )


def _bound(space, setting, point, found):
    """Whether a step leaves the bounds; where it crosses the first of them, and the normal
    of that bound."""
    count, size = space.curve.parameters, space.size
    outside = jnp.zeros((), bool)
    part = jnp.ones(())
    axis = jnp.zeros((), int)
    for k in range(count):
        i = size - count + k
        a, b = space.last(point, count - k), space.last(found, count - k)
        for end, beyond in (
            (setting.low[k] / setting.scale[i], jnp.less),
            (setting.high[k] / setting.scale[i], jnp.greater),
        ):
            leaves = beyond(b, end)
            way = jnp.where(leaves, (end - a) / jnp.where(b == a, 1, b - a), 2.0)
            axis = jnp.where(way < part, i, axis)
            part = jnp.minimum(part, way)
            outside |= leaves
    part = jnp.maximum(part, 0)
    guess = tuple(a + part * (b - a) for a, b in zip(point, found, strict=True))
    normal = space.unpack((jnp.arange(size) == axis).astype(float))
    return outside, guess, normal


def _dips(a, slope_a, b, slope_b, length):
    """Whether a function with these values and slopes at two ends of one sign comes close
    to zero between them, or crosses it twice: the least value of the cubic through them."""
    sign = jnp.where(a < 0, -1.0, 1.0)
    a, b = sign * a, sign * b
    slope_a, slope_b = sign * slope_a * length, sign * slope_b * length
    cubic = 2 * (a - b) + slope_a + slope_b
    square = 3 * (b - a) - 2 * slope_a - slope_b
    root = jnp.sqrt(jnp.maximum(square**2 - 3 * cubic * slope_a, 0))
    below = square + root
    at = -slope_a / jnp.where(below > 0, below, 1)
    least = ((cubic * at + square) * at + slope_a) * at + a
    valley = (a >= 0) & (b > 0) & (slope_a < 0) & (slope_b > 0) & (below > 0)
    return valley & (least < 0.25 * jnp.minimum(a, b))
