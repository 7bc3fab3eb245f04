"""Follow a curve of solutions by its arclength: any equations with one unknown to spare.

Many curves are followed at once, in lanes: a lane whose curve has ended takes the next one
from a queue, so no curve waits for the longest, and all arithmetic is on rows of scalars.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from . import _scalars
from ._linalg import scalar_determinant, scalar_solve
from ._program import Program

# Why a curve ended.
RUNNING, BOUND, CLOSED, STEP, CAPACITY, LOST, ELSEWHERE, NONFINITE = range(8)
# What may happen on the way.
TURNS, CROSSES, FIRST_TEST = range(3)

LANES = 128  # rows that stay in the cache of one core
LONGEST, FIRST_STEP, SHORTEST = 0.1, 0.01, 1e-10  # steps, in units of the size of the curve
NEWTON = 4
STRAIGHT, TURN = 0.995, 0.97  # cosines between tangents: lengthen the step, or refuse it
# Chord and mean tangent of a smooth arc differ by a twelfth of the change of curvature; a
# jump to a neighbouring curve shows here first. Squared half angle.
SLANT = 4.5e-4
# A crossing of two curves persists at any step, a jump between two that only come near
# does not: follow what looks like a crossing this closely before believing it.
CROSSING = 1e-4
FINE = 1e-6  # two events closer than this are not told apart
MOVED = 1e-2  # how far a start may be from the curve
BRACKET = 14  # of the Illinois rule, to round-off on a smooth test
EVENTS = 16  # steps with an event, per curve
SCALAR_SIZE = 4  # unknowns up to which the linear algebra is written out


class Curve(eqx.Module):
    """What is followed: programs of one vector of unknowns, the parameters last.

    - `equations`: to one value less than there are unknowns.
    - `tests`: to values whose changes of sign are events, or `None`.
    - `parameters`: how many of the last unknowns have bounds.
    - `turns`: whether it is an event that the last unknown turns round.
    - `crossings`: whether it is one that another curve crosses. They are the most to
      compile; without them a curve is followed through, with no word of it.
    - `slopes`: to the matrix of derivatives of `equations`, where they are so sparse that
      one direction for each unknown, which is what is done without it, is a waste.
    """

    equations: Program = eqx.field(static=True)
    tests: Program | None = eqx.field(static=True)
    parameters: int = eqx.field(static=True)
    turns: bool = eqx.field(static=True)
    crossings: bool = eqx.field(static=True, default=True)
    slopes: Program | None = eqx.field(static=True, default=None)


class Path(eqx.Module):
    """A followed curve, in `k` slots of which the first `count` are used.

    - `points`: shape `(k, N)`.
    - `places`: shape `(EVENTS, N)`, where events happen, in order along the curve; `kinds`,
      shape `(EVENTS,)`: TURNS (the last unknown), CROSSES (another curve), FIRST_TEST plus
      the number of the test that changes its sign, or −1 in an unused slot; `steps`,
      shape `(EVENTS,)`: the number of the point that comes next.
    - `status`: why it ended. `moved`: how far the start was moved onto the curve, in units
      of the scale. `crowded`: whether there were more events than slots.
    - `unresolved`: whether a test almost vanished without a change of sign, or two events
      lie too close together.
    """

    points: Float[Array, "*batch k N"]
    places: Float[Array, "*batch e N"]
    kinds: Int[Array, "*batch e"]
    steps: Int[Array, "*batch e"]
    count: Int[Array, "*batch"]
    status: Int[Array, "*batch"]
    moved: Float[Array, "*batch"]
    crowded: Bool[Array, "*batch"]
    unresolved: Bool[Array, "*batch"]


class Setting(eqx.Module):
    """One curve's own numbers: `start` and `scale` (the size of each unknown) of shape
    `(N,)`; `along` `(N,)`, the way to set out; `low`, `high` `(p,)`; `crossed`: whether
    the start is a crossing, to be left exactly along `along`."""

    start: Float[Array, "*batch N"]
    scale: Float[Array, "*batch N"]
    along: Float[Array, "*batch N"]
    low: Float[Array, "*batch p"]
    high: Float[Array, "*batch p"]
    crossed: Bool[Array, "*batch"]


def trace(curve: Curve, arrays: tuple, setting: Setting, capacity: int) -> Path:
    """Follow one curve; under `vmap`, a batch of them in lanes.

    **Arguments:** `arrays`: lists, what `equations`, `tests` and, if there is such a
    program, `slopes` close over. No derivatives flow through: attach them to the answer.
    """
    flat, restore = _raveler(jax.lax.stop_gradient((arrays, setting)))

    @jax.custom_batching.custom_vmap
    def many(rows):
        return _trace_all(curve, restore, rows, capacity)

    @many.def_vmap
    def _(size, batched, rows):
        del batched  # there is only one operand
        paths = many(rows.reshape(-1, rows.shape[-1]))
        paths = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), paths)
        return paths, jax.tree.map(lambda _: True, paths)

    return jax.tree.map(lambda x: x[0], many(flat[None]))


def _raveler(tree):
    """All numbers of a tree in one real row, and the way back."""
    leaves, structure = jax.tree.flatten(tree)
    # A complex leaf is two real ones.
    split = [[x.real, x.imag] if jnp.iscomplexobj(x) else [x] for x in leaves]
    flat = jnp.concatenate([jnp.ravel(x).astype(float) for part in split for x in part])

    def restore(row):
        whole, at = [], 0
        for leaf, part in zip(leaves, split, strict=True):
            pieces = []
            for _ in part:
                pieces.append(row[at : at + leaf.size].reshape(leaf.shape))
                at += leaf.size
            value = jax.lax.complex(*pieces) if len(pieces) == 2 else pieces[0]
            whole.append(value.astype(leaf.dtype))
        return jax.tree.unflatten(structure, whole)

    return flat, restore


class _Lane(eqx.Module):
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


def _trace_all(curve, restore, rows, capacity):
    batch = rows.shape[0]
    size = jax.eval_shape(restore, rows[0])[1].start.shape[0]
    space = _Space(curve, restore, size)
    width = min(LANES, batch)
    # The starts of all curves at once; a lane then only copies its own.
    waiting = jax.vmap(functools.partial(_begin, space))(rows)
    advance = jax.vmap(functools.partial(_advance, space, capacity))

    def mix(chosen, new, old):
        pick = lambda a, b: jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        return jax.tree.map(pick, new, old)

    def unfinished(state):
        return jnp.any(state[1] < batch)

    def body(state):
        lanes, ids, following, track, noted, ends = state
        # Recorded before the step, from numbers that are in memory: XLA would otherwise
        # compute the whole step again for every one of them.
        live = ids < batch
        slot = jnp.where(
            live & lanes.fresh, ids * capacity + lanes.count - 1, batch * capacity
        )
        record = [space.pack(lanes.point), space.pack(lanes.tangent)]
        track = track.at[slot].set(jnp.concatenate(record, axis=-1))
        event = live & lanes.fresh & (lanes.flag > 0) & (lanes.events <= EVENTS)
        slot = jnp.where(event, ids * EVENTS + lanes.events - 1, batch * EVENTS)
        noted = noted.at[slot].set(jnp.stack([lanes.flag, lanes.count - 1], -1))
        done = live & (lanes.status != RUNNING)
        end = [lanes.count, lanes.events, lanes.status, lanes.moved, lanes.unresolved]
        end = jnp.stack([x.astype(float) for x in end], -1)
        ends = ends.at[jnp.where(done, ids, batch)].set(end)

        def refill(state):
            lanes, ids, following = state
            ids = jnp.where(done, following + jnp.cumsum(done) - 1, ids)
            chosen = jnp.where(ids < batch, ids, 0)
            lanes = mix(done, jax.tree.map(lambda x: x[chosen], waiting), lanes)
            return lanes, ids, following + jnp.sum(done)

        stepped = advance(lanes)
        # A lane that is refilled now records its start before it steps.
        lanes, ids, following = jax.lax.cond(
            jnp.any(done), refill, lambda s: s, (mix(~done, stepped, lanes), ids, following)
        )
        return lanes, ids, following, track, noted, ends

    state = (
        jax.tree.map(lambda x: x[:width], waiting),
        jnp.arange(width),
        jnp.asarray(width),
        jnp.full((batch * capacity + 1, 2 * size), jnp.nan),
        jnp.zeros((batch * EVENTS + 1, 2), int),
        jnp.zeros((batch + 1, 5)),
    )
    *_, track, noted, ends = jax.lax.while_loop(unfinished, body, state)
    track = track[:-1].reshape(batch, capacity, 2 * size)
    noted = noted[:-1].reshape(batch, EVENTS, 2)
    kinds, places, steps, false = _refine_all(space, rows, track, noted)
    scale = jax.vmap(lambda row: restore(row)[1].scale)(rows)
    whole = ends[:-1].astype(int)
    return Path(
        points=track[:, :, :size] * scale[:, None],
        places=places * scale[:, None],
        kinds=kinds,
        steps=steps,
        count=whole[:, 0],
        status=whole[:, 2],
        moved=ends[:-1, 3],
        crowded=whole[:, 1] > EVENTS,
        unresolved=(whole[:, 4] > 0) | false,
    )


class _Space:
    """The linear algebra of the unknowns: written out in scalars for few of them."""

    def __init__(self, curve, restore, size):
        self.curve, self.restore, self.size = curve, restore, size
        programs = [p for p in (curve.equations, curve.tests) if p is not None]
        self.tests = 0
        if curve.tests is not None:
            self.tests = curve.tests.jaxpr.outvars[0].aval.shape[0]
        small = size <= SCALAR_SIZE
        small &= curve.slopes is None
        self.scalar = small and all(_scalars.worthwhile(p) for p in programs)

    def pack(self, vector):
        return jnp.stack(vector, axis=-1) if self.scalar else vector[0]

    def unpack(self, array):
        return tuple(array[i] for i in range(self.size)) if self.scalar else (array,)

    def last(self, vector, back=1):
        return vector[-back] if self.scalar else vector[0][-back]

    def evaluate(self, program, arrays, scale, vector):
        if self.scalar:
            point = [x * scale[i] for i, x in enumerate(vector)]
            return tuple(_scalars.evaluate(program, arrays, point))
        return (program(arrays, vector[0] * scale),)

    def linear(self, row, vector):
        """Value and Jacobian of the equations."""
        arrays, setting = self.restore(row)
        f = functools.partial(self.evaluate, self.curve.equations, arrays[0], setting.scale)
        if self.curve.slopes is not None:
            slopes = self.curve.slopes(arrays[2], vector[0] * setting.scale)
            return f(vector)[0], slopes * setting.scale
        if not self.scalar:
            return f(vector)[0], jax.jacfwd(lambda x: f((x,))[0])(vector[0])
        columns = []
        for j in range(self.size):
            # One variable at a time: derivatives that vanish are never written down.
            alone = lambda x, j=j: f((*vector[:j], x, *vector[j + 1 :]))
            value, column = jax.jvp(alone, (vector[j],), (jnp.ones_like(vector[j]),))
            columns.append(column)
        return value, [list(entries) for entries in zip(*columns, strict=True)]

    def correct(self, row, vector, normal, gap):
        """Newton's step onto the curve, in the plane at distance `gap` along `normal`."""
        value, jacobian = self.linear(row, vector)
        if self.scalar:
            return tuple(
                scalar_solve([*jacobian, list(normal)], [*(-v for v in value), gap])
            )
        matrix = jnp.concatenate([jacobian, normal[0][None]])
        return (jnp.linalg.solve(matrix, jnp.append(-value, gap)),)

    def look(self, row, near, vector):
        """The unit tangent with the orientation of the equations, a number that vanishes at
        a crossing with another curve, and the tests. `near`: a vector not far from the
        tangent's line."""
        _, jacobian = self.linear(row, vector)
        if self.scalar:
            n = self.size
            normal = [
                (-1) ** (n - 1 + j)
                * scalar_determinant([[*line[:j], *line[j + 1 :]] for line in jacobian])
                for j in range(n)
            ]
            length = jnp.sqrt(sum(x * x for x in normal))
            tangent = tuple(x / length for x in normal)
        else:
            matrix = jnp.concatenate([jacobian, near[0][None]])
            # Two solves: the derivative of one with two right-hand sides is a batch of
            # products on which XLA for CPUs has aborted.
            unit = jnp.zeros(self.size).at[-1].set(1)
            along = jnp.linalg.solve(matrix, unit)
            across = jnp.linalg.solve(matrix, jnp.ones(self.size))
            sign, _ = jnp.linalg.slogdet(jax.lax.stop_gradient(matrix))
            tangent = (sign * along / jnp.linalg.norm(along),)
            length = 1 / (1 + jnp.linalg.norm(across))
        return tangent, length, self.test(row, vector)

    def test(self, row, vector):
        """The values of the tests."""
        if self.curve.tests is None:
            return ()
        arrays, setting = self.restore(row)
        values = self.evaluate(self.curve.tests, arrays[1], setting.scale, vector)
        return values if self.scalar else tuple(values[0][i] for i in range(self.tests))

    def watch(self, row, near, vector):
        """What might vanish twice in one step, in the places of `_read`, for the
        orientation of the equations. The tangent, all that is dear in it, only if it is
        an event that the curve turns."""
        zero = jnp.zeros(())
        if not self.curve.turns:
            return (zero, zero, *self.test(row, vector))
        tangent, _, tests = self.look(row, near, vector)
        return (self.last(tangent), zero, *tests)


def _dot(a, b):
    return sum(jnp.sum(x * y) for x, y in zip(a, b, strict=True))


def _norm(a):
    return jnp.sqrt(_dot(a, a))


def _move(a, factor, b):
    return tuple(x + factor * y for x, y in zip(a, b, strict=True))


def _where(condition, a, b):
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def _begin(space, row):
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
    plane = last if space.curve.turns else space.unpack(_slanted(size))
    zero, false, whole = jnp.zeros(()), jnp.zeros((), bool), jnp.zeros((), int)
    nothing = (zero,) * (FIRST_TEST + space.tests)
    crossed = setting.crossed
    return _Lane(
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


def _slanted(size):
    """A direction that is orthogonal to nothing in particular."""
    return jnp.cos(jnp.arange(1.0, size + 1)) / jnp.sqrt(size / 2)


def _read(space, seen):
    """What changes sign at an event, for the orientation of the equations."""
    tangent, length, tests = seen
    return (space.last(tangent), length, *tests)


def _signed(sigma, values):
    """The same for a tangent that runs with (+1) or against (−1) that orientation."""
    return (sigma * values[0], sigma * values[1], *values[2:])


def _advance(space, capacity, lane):
    """One step of one lane, accepted or not."""
    row, point, tangent = lane.row, lane.point, lane.tangent
    _, setting = space.restore(row)

    # A closed curve is closed by a step exactly to its start.
    home = _move(lane.start, -1, point)
    ahead, apart = _dot(tangent, home), _norm(home)
    closing = lane.far & (ahead > 0) & (ahead <= 1.2 * lane.stride) & (apart < 1.5 * ahead)
    stride = jnp.where(closing, ahead, lane.stride)

    guess = _where(lane.landing, lane.guess, _move(point, stride, tangent))
    normal = _where(lane.landing, lane.normal, tangent)

    def newton(_, state):
        x, first, _ = state
        step = space.correct(row, x, normal, -_dot(normal, _move(x, -1, guess)))
        size = _norm(step)
        return _move(x, 1, step), jnp.maximum(first, size), size

    zero = jnp.zeros_like(stride)
    found, first, error = jax.lax.fori_loop(0, NEWTON, newton, (guess, zero, zero))

    opening = lane.count == 0
    # Bordered by a direction that the curve is orthogonal to, a matrix is singular.
    line = _move(tangent, 1e-3, space.unpack(_slanted(space.size)))
    line = _where(opening, line, tangent)
    direction, _, _ = space.look(row, line, found)
    agree = _dot(direction, tangent)
    sigma = jnp.where(agree < 0, -1.0, 1.0)
    onward = tuple(sigma * x for x in direction)
    watch = functools.partial(space.watch, row, line)
    values, slopes = jax.jvp(watch, (found,), (onward,))
    tests, slopes = _signed(sigma, values), _signed(sigma, slopes)

    # Is it the same curve, and was the step short enough?
    step = _move(found, -1, point)
    long = _norm(step)
    mean = _move(tangent, 1, onward)
    straight = _dot(step, mean) >= (1 - SLANT) * long * _norm(mean) - 1e-12
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
    guess = _where(retry, lane.start, guess)
    normal = _where(retry, space.unpack(_slanted(space.size)), normal)
    back = _norm(_move(found, -1, lane.start)) < 1e-6
    closed = accept & lane.far & ~lane.landing & back
    closed &= _dot(onward, lane.begin) > 0.5

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
    return _Lane(
        row=row,
        start=_where(opening, found, lane.start),
        begin=_where(opening, onward, lane.begin),
        point=_where(accept, found, point),
        tangent=_where(accept, onward, tangent),
        sigma=jnp.where(accept, sigma, lane.sigma),
        tests=_where(accept, tests, lane.tests),
        slopes=_where(accept, slopes, lane.slopes),
        stride=stride,
        landing=landing,
        guess=guess,
        normal=normal,
        far=lane.far | (accept & (_norm(_move(found, -1, lane.start)) > 1.5 * stride)),
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


def _refine_all(space, rows, track, noted):
    """Every noted event, refined: kinds, places and the numbers of the next points, in
    order along each curve, and whether one of a curve's events turned out to be none."""
    batch = track.shape[0]
    kinds = FIRST_TEST + space.tests
    if kinds == FIRST_TEST and not (space.curve.turns or space.curve.crossings):
        none = jnp.full((batch, EVENTS), -1)
        places = jnp.full((batch, EVENTS, space.size), jnp.nan)
        return none, places, none, jnp.zeros(batch, bool)
    bits = (noted[:, :, 0, None] >> jnp.arange(kinds)) & 1
    # A pitchfork met along its bent branch is a turn and a crossing: one event.
    bits = bits.at[:, :, TURNS].min(1 - bits[:, :, CROSSES])
    items = batch * EVENTS * kinds
    total = jnp.sum(bits)
    order = jnp.nonzero(bits.reshape(-1), size=items, fill_value=items)[0]
    width = min(LANES, items)
    order = jnp.concatenate([order, jnp.full(width, items)])

    def block(state):
        at, out = state
        which = jax.lax.dynamic_slice(order, (at,), (width,))
        used = which < items
        safe = jnp.where(used, which, 0)
        member, event, kind = jnp.unravel_index(safe, (batch, EVENTS, kinds))
        step = jnp.where(used, noted[member, event, 1], 1)
        args = rows[member], track[member, step - 1], track[member, step], kind
        place, part = jax.vmap(functools.partial(_refine, space))(*args)
        true = jnp.ones(width, bool)
        if space.curve.crossings:
            crossing = used & (kind == CROSSES)
            place, true = jax.lax.cond(
                jnp.any(crossing),
                lambda place: _cross(space, args[0], place, crossing),
                lambda place: (place, true),
                place,
            )
        key = jnp.where(true, step + part, jnp.inf)
        row = jnp.concatenate([place, key[:, None], kind[:, None].astype(float)], axis=1)
        return at + width, out.at[jnp.where(used, which, items)].set(row)

    empty = jnp.full((items + 1, space.size + 2), jnp.nan)
    _, out = jax.lax.while_loop(lambda s: s[0] < total, block, (0, empty))
    out = out[:-1].reshape(batch, EVENTS * kinds, -1)
    key = out[:, :, space.size]
    rank = jnp.argsort(key, axis=1)[:, :EVENTS]
    out = jnp.take_along_axis(out, rank[:, :, None], axis=1)
    key = out[:, :, space.size]
    found = jnp.isfinite(key)
    return (
        jnp.where(found, out[:, :, -1], -1).astype(int),
        jnp.where(found[:, :, None], out[:, :, : space.size], jnp.nan),
        jnp.where(found, key, 0).astype(int),
        jnp.any(jnp.isposinf(key), axis=1),
    )


def _refine(space, row, begin, end, kind):
    """Where in one step a test changes its sign: the place, and the part of the step.

    The root of a smooth function in a bracket, by the Illinois rule; every trial is first
    corrected onto the curve, so it cannot leave it.
    """
    n = space.size
    a, t = space.unpack(begin[:n]), space.unpack(begin[n:])
    b, ahead = space.unpack(end[:n]), space.unpack(end[n:])
    length = _dot(t, _move(b, -1, a))
    onward = tuple(x / _dot(t, ahead) for x in ahead)  # per unit of the distance along t

    def value(x):
        tangent, size, tests = space.look(row, t, x)
        sigma = jnp.where(_dot(tangent, t) < 0, -1.0, 1.0)
        values = _signed(sigma, _read(space, (tangent, size, tests)))
        return sum(jnp.where(kind == k, v, 0.0) for k, v in enumerate(values))

    def at(part):
        # The cubic through both ends, then two steps of Newton's method.
        s = part
        h = (
            (1 + 2 * s) * (1 - s) ** 2,
            s * (1 - s) ** 2,
            s**2 * (3 - 2 * s),
            s**2 * (s - 1),
        )
        x = tuple(
            h[0] * p + h[1] * length * u + h[2] * q + h[3] * length * v
            for p, u, q, v in zip(a, t, b, onward, strict=True)
        )

        def newton(_, x):
            gap = part * length - _dot(t, _move(x, -1, a))
            return _move(x, 1, space.correct(row, x, t, gap))

        return jax.lax.fori_loop(0, 2, newton, x)

    def narrow(i, state):
        low, f_low, high, f_high, side, best, least = state
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        middle = jnp.where((middle > low) & (middle < high), middle, (low + high) / 2)
        # The first two trials are the ends.
        middle = jnp.select([i == 0, i == 1], [0.0, 1.0], middle)
        x = at(middle)
        f = value(x)
        left = ((f < 0) == (f_low < 0)) & (i > 1) | (i == 0)
        # Illinois: an end that stays twice counts half, so that both move.
        again = (i > 1) & (left == side)
        weight = jnp.where(again, 0.5, 1.0)
        return (
            jnp.where(left, middle, low),
            jnp.where(left, f, weight * f_low),
            jnp.where(left, high, middle),
            jnp.where(left, weight * f_high, f),
            jnp.where(i > 1, left, side),
            # The last trial need not be the best one.
            _where(jnp.abs(f) < least, (x, middle), best),
            jnp.minimum(jnp.abs(f), least),
        )

    zero, one = jnp.zeros(()), jnp.ones(())
    state = (zero, zero, one, zero, jnp.zeros((), bool), (a, zero), jnp.inf * one)
    *_, (x, part), _ = jax.lax.fori_loop(0, BRACKET, narrow, state)
    return space.pack(x), part


def _cross(space, rows, places, chosen):
    """Crossings to round-off, and whether they are any: near one the curve itself is badly
    determined, so the place solves equations of its own (G. Moore's).

    At a crossing the equations G have a left null vector w of their whole Jacobian:
    G + μ w = 0, w G' = 0, |w| = 1, and two curves that only come near have μ ≠ 0.
    """
    n = space.size

    def equations(row, unknown):
        arrays, setting = space.restore(row)
        g = lambda x: space.curve.equations(arrays[0], x * setting.scale)
        x, w, mu = unknown[:n], unknown[n:-1], unknown[-1]
        value, pull = jax.vjp(g, x)
        return jnp.concatenate([value + mu * w, pull(w)[0], (w @ w - 1)[None]])

    def solve(row, place):
        arrays, setting = space.restore(row)
        jacobian = jax.jacfwd(lambda x: space.curve.equations(arrays[0], x * setting.scale))
        w = jnp.linalg.svd(jacobian(place))[0][:, -1]
        start = jnp.concatenate([place, w, jnp.zeros(1)])

        def newton(_, state):
            x, _ = state
            f = functools.partial(equations, row)
            step = jnp.linalg.solve(jax.jacfwd(f)(x), f(x))
            return x - step, jnp.linalg.norm(step)

        found, error = jax.lax.fori_loop(0, 5, newton, (start, jnp.zeros(())))
        near = jnp.linalg.norm(found[:n] - place) < 10 * CROSSING
        return found[:n], near & (error < 1e-9) & (jnp.abs(found[-1]) < 1e-10)

    found, true = jax.vmap(solve)(rows, places)
    places = jnp.where((chosen & true)[:, None], found, places)
    return places, true | ~chosen
