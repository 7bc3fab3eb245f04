"""One flat list of boxes over a whole batch of systems: no member waits for the slowest."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._boxes import PAD, examine, proof_of, proof_size

# Boxes per pass. The box test runs in a loop over two blocks: with one, XLA fuses the chain
# of exponentials into its consumers and computes it once per consumer (13 times slower);
# with more it is slower again.
LANES, BLOCKS = 512, 2
# A unique zero is handed to Newton's method only if it is known to half of the box, or to
# this part of the box that was asked about: then the method surely converges to it.
SHARP, SHARP_ENOUGH = 0.5, 1e-9
# Room on the list, in passes: depth first, hard members fill several for each halving.
LIST = 64
# A box that shrank to less than this part is looked at again before it is split.
SHRUNK = 0.8
# A box is split where its components change most, but never across a side that is already
# shorter than the longest by this factor: nothing may grow thin for ever.
THIN = 8.0
# Widths relative to the box that was asked about. A box narrower than one of these waits
# until every wider one of the batch is settled, so that a degenerate point cannot eat the
# budget of other places; one narrower than `FINE` stays undecided. Most zeros are proved in
# wider boxes than the first level, so that ordinary members seldom wait.
LEVELS = (3e-3, 1e-3, 1e-4, 1e-6)
FINE = 5e-10
STEPS = 2.0**30  # per width of the box: zeros are put in order by the step that they are on
CLUSTERS = 16  # groups of undecided boxes that a member has room for
# Undecided boxes with a smaller gap are of one group: where two branches of zeros of the
# components almost touch, boxes are given up along a stretch of this length.
NEIGHBOURS = 0.02
# What went wrong, the worst last. Up to `OVERFLOW` every box that was given up lies in a
# cluster; with `UNLISTED` there were too many clusters.
UNDECIDED, BUDGET, OVERFLOW, UNLISTED, NOT_ISOLATED, CAPACITY = 1, 2, 3, 4, 5, 6
_EMPTY, _PARKED, _ZERO, _SPLIT, _AGAIN = 0, 5, 6, 7, 8
_BARRED = 2**30  # boxes spent, for a member that gets none


class Found(NamedTuple):
    """What the search knows of `N` members, each with room for `k` zeros.

    - `rows`: shape `(N, k, w)`: what `refine` returned about each zero, point first.
    - `count`: shape `(N,)`.
    - `trouble`: shape `(N,)`: 0, or the worst of the codes above.
    - `clusters`: shape `(N, CLUSTERS, 2n)`: hulls of touching undecided boxes, low before
      high; `groups`, shape `(N,)`: how many; above `CLUSTERS` if some found no room.
    - `boxes`: shape `(N,)`: how many were examined.
    """

    rows: Array
    count: Array
    trouble: Array
    clusters: Array
    groups: Array
    boxes: Array


class _State(NamedTuple):
    boxes: Array  # (2n, S): the list, last in first out
    owner: Array  # (S,): member, plus N times the number of LEVELS passed
    length: Array
    queue: Array  # (2n, Q): boxes that were never on the list: the members', the parked
    queue_owner: Array
    next: Array
    end: Array
    events: Array  # (2n + proof, E): zeros, parked and undecided boxes
    event_owner: Array
    event_code: Array
    waiting: Array
    spent: Array  # (N,): boxes examined
    found: Found


def search(
    program, constants, needed, refine, width, capacity, budget, parameters, low, high
) -> Found:
    """Every zero of `program` in a box, for every member of a batch.

    **Arguments:**

    - `constants`: from the first `needed` columns of parameters, shape `(needed, b)`, to
      what `_interval.enclose` wants.
    - `refine`: from `(row, low, high, proof)` of one zero, shapes `(K,)`, `(n,)`, `(n,)`,
      `(proof_size(n),)`, to a list of one row of `width` numbers: the point, the radius in
      which it is the only zero, the radius in which it surely lies (infinite if it could
      not be proved), whatever else is wanted. The proof is that of `proof_of`.
    - `capacity`, `budget`: zeros and boxes per member.
    - `parameters`: shape `(N, K)`; `low`, `high`: shape `(N, n)`. A member with a NaN in
      one of them gets no box.
    """
    members, n = low.shape
    lanes = int(np.clip(2 ** np.ceil(np.log2(4 * members)), 32, LANES))
    size = LIST * lanes
    room = 16 * lanes
    waiting_room = members + 4_096
    narrow = parameters[:, :needed]
    extent = jnp.max(high - low, axis=1)
    sound = jnp.all(jnp.isfinite(parameters), axis=1)
    sound &= jnp.all(jnp.isfinite(low) & jnp.isfinite(high) & (low < high), axis=1)

    def begin():
        columns = jnp.concatenate([low.T, high.T])
        pad = functools.partial(jnp.zeros, dtype=low.dtype)
        names = jnp.arange(members, dtype=jnp.int32)
        quiet = jnp.zeros(members, jnp.int32)
        return _State(
            boxes=pad((2 * n, size + 2 * lanes)),
            owner=jnp.zeros(size + 2 * lanes, jnp.int32),
            length=jnp.int32(0),
            # Room in front and behind, so that a window of `lanes` always fits.
            queue=jnp.concatenate(
                [pad((2 * n, lanes)), columns, pad((2 * n, waiting_room + lanes))], axis=1
            ),
            queue_owner=jnp.pad(names, (lanes, waiting_room + lanes)),
            next=jnp.int32(lanes),
            end=jnp.int32(lanes + members),
            events=pad((2 * n + proof_size(n), room + lanes)),
            event_owner=jnp.zeros(room + lanes, jnp.int32),
            event_code=jnp.zeros(room + lanes, jnp.int32),
            waiting=jnp.int32(0),
            spent=jnp.where(sound, 0, _BARRED).astype(jnp.int32),
            found=Found(
                jnp.full((members, capacity, width), jnp.nan),
                quiet,
                quiet,
                jnp.full((members, CLUSTERS, 2 * n), jnp.nan),
                quiet,
                quiet,
            ),
        )

    def busy(s):
        return (s.length > 0) | (s.next < s.end)

    def advance(s):
        lane = jnp.arange(lanes, dtype=jnp.int32)
        left = size - s.length
        # A full list takes no children: it gives boxes up rather than lose them.
        jammed = left == 0
        take = jnp.minimum(jnp.minimum(s.length, lanes), jnp.where(jammed, lanes, left))
        start = jnp.maximum(s.length - lanes, 0)
        fresh = lane >= s.length - start
        place = jnp.where(fresh, s.next + lane - s.length, start + lane)
        live = jnp.where(fresh, place < s.end, place >= s.length - take)

        def window(of_list, of_queue):
            axis = of_list.ndim - 1
            return jnp.where(
                fresh,
                jax.lax.dynamic_slice_in_dim(of_queue, s.next - s.length, lanes, axis),
                jax.lax.dynamic_slice_in_dim(of_list, start, lanes, axis),
            )

        box = window(s.boxes, s.queue)
        owner = window(s.owner, s.queue_owner)
        member = owner % members
        used = s.spent[member]
        live &= used < _BARRED
        tested = live & (used < budget) & ~jammed
        spent = s.spent.at[member].add(tested.astype(jnp.int32))

        blocks = (BLOCKS, lanes // BLOCKS)
        verdict = jax.lax.scan(
            lambda _, x: (None, _judge(program, constants, n, *x)),
            None,
            (
                narrow[member].reshape(*blocks, -1).transpose(0, 2, 1),
                box.reshape(2 * n, *blocks).transpose(1, 0, 2),
                (owner // members).reshape(blocks),
                extent[member].reshape(blocks),
            ),
        )[1]
        ends, proof, *rest = verdict
        ends, proof = (
            jnp.stack([x.reshape(lanes) for x in side]) for side in (ends, proof)
        )
        middle, axis, code, level = (x.reshape(lanes) for x in rest)
        across = jnp.arange(n, dtype=jnp.int32)[:, None] == axis
        first = ends.at[n:].set(jnp.where(across, middle, ends[n:]))
        second = ends.at[:n].set(jnp.where(across, middle, ends[:n]))
        # While there is room to park; afterwards boxes go on being split at once.
        parking = s.end + s.waiting + lanes <= s.queue.shape[1] - lanes
        go_on = tested & ((code == _SPLIT) | (code == _AGAIN))
        event = jnp.where(tested, code, jnp.where(jammed, jnp.int32(OVERFLOW), BUDGET))
        park = (code == _PARKED) & parking
        go_on |= tested & (code == _PARKED) & ~parking
        event = jnp.where(park & tested, _PARKED, event)
        happened = live & ~go_on & (event != _EMPTY)

        # The children, onto the list.
        twice = tested & go_on & (code != _AGAIN)
        kept = jnp.concatenate([go_on, twice])
        order = _compacted(kept)
        children = jnp.concatenate([first, second], axis=1)[:, order]
        heirs = jnp.where(code == _PARKED, member + members * level, owner)
        twins = jnp.concatenate([heirs, heirs])[order]
        base = s.length - take
        fresh_used = jnp.sum(fresh & (place < s.end), dtype=jnp.int32)

        # The rest that matters, to the events.
        order = _compacted(happened)
        record = jnp.concatenate([jnp.where(tested, ends, box), proof])[:, order]
        return s._replace(
            boxes=_write(s.boxes, children, base),
            owner=_write(s.owner, twins, base),
            length=base + jnp.sum(kept, dtype=jnp.int32),
            next=s.next + fresh_used,
            events=_write(s.events, record, s.waiting),
            event_owner=_write(s.event_owner, heirs[order], s.waiting),
            event_code=_write(s.event_code, event[order], s.waiting),
            waiting=s.waiting + jnp.sum(happened, dtype=jnp.int32),
            spent=spent,
        )

    def settle(s):
        # Zeros are compared in pairs: a few lanes of them at a time.
        return _settle(s, refine, parameters, low, high, capacity, lanes // 4)

    def round_(s):
        s = jax.lax.while_loop(lambda s: busy(s) & (s.waiting <= room - lanes), advance, s)
        return settle(s)

    s = jax.lax.while_loop(lambda s: busy(s) | (s.waiting > 0), round_, begin())
    boxes = jnp.where(sound, s.spent, 0)
    return s.found._replace(boxes=boxes)


def _judge(program, constants, n, columns, box, level, extent):
    """What becomes of a block of boxes: what is left of them (all of the enlarged box for a
    zero), what proves a zero in it, where to split across which axis (−1: whole), a code,
    the level."""
    lowest, highest = [box[j] for j in range(n)], [box[n + j] for j in range(n)]
    v = examine(program, constants(columns), lowest, highest)
    widths = [b - a for a, b in zip(v.low, v.high, strict=True)]
    before = _greatest([b - a for a, b in zip(lowest, highest, strict=True)])
    width = _greatest(widths)
    blur = _greatest(v.spread)
    reach = _greatest([(b - a) / 2 for a, b in zip(v.outer_low, v.outer_high, strict=True)])
    # No box can be narrower than what `examine` adds to it.
    least = 4 * PAD * jnp.maximum(1.0, _greatest([jnp.abs(x) for x in (*v.low, *v.high)]))
    enough = jnp.maximum(SHARP_ENOUGH * extent, least)
    zero = v.unique & ((blur <= SHARP * reach) | (blur <= enough))

    code = jnp.where(width < SHRUNK * before, jnp.int32(_AGAIN), _SPLIT)
    passed = sum((width < limit * extent).astype(jnp.int32) for limit in LEVELS)
    code = jnp.where(passed > level, _PARKED, code)
    # By the width before: a box that has just shrunk to nothing deserves another look.
    code = jnp.where(before < jnp.maximum(FINE * extent, least), UNDECIDED, code)
    code = jnp.where(zero, _ZERO, code)
    code = jnp.where(v.empty, _EMPTY, code)

    # Across which coordinate, and where: off the middle, where symmetric systems have
    # their zeros.
    axis, middle, most = jnp.int32(0), width, -0.5
    for j in range(n):
        change = v.weight[j] * widths[j]
        change = jnp.where(jnp.isnan(change), jnp.inf, change)
        change = jnp.where(THIN * widths[j] >= width, change, -1.0)
        here = change > most
        axis = jnp.where(here, jnp.int32(j), axis)
        middle = jnp.where(here, v.low[j] + 0.47 * widths[j], middle)
        most = jnp.where(here, change, most)
    axis = jnp.where(code == _AGAIN, jnp.int32(-1), axis)
    ends = [
        jnp.where(zero, a, b)
        for a, b in zip([*v.outer_low, *v.outer_high], [*v.low, *v.high], strict=True)
    ]
    # Not stacked here: XLA would compute the whole chain once per entry of the stack.
    return ends, proof_of(v), middle, axis, code, passed


def _settle(s, refine, parameters, low, high, capacity, lanes):
    """Deal with the events: file zeros, queue what was parked, group the rest."""
    members, n = low.shape
    lane = jnp.arange(lanes)

    def step(state):
        done, s = state
        record = jax.lax.dynamic_slice_in_dim(s.events, done, lanes, 1).T
        box, proof = record[:, : 2 * n], record[:, 2 * n :]
        heir = jax.lax.dynamic_slice_in_dim(s.event_owner, done, lanes)
        owner = heir % members
        code = jax.lax.dynamic_slice_in_dim(s.event_code, done, lanes)
        code = jnp.where(done + lane < s.waiting, code, _EMPTY)
        found, code = _file(
            s.found, refine, parameters, low, high, capacity, box, proof, owner, code
        )

        parked = code == _PARKED
        place = jnp.where(
            parked, s.end + jnp.cumsum(parked, dtype=jnp.int32) - 1, s.queue.shape[1]
        )
        lost = (code >= UNDECIDED) & (code <= OVERFLOW)
        trouble = found.trouble.at[owner].max(jnp.where(lost, code, 0))
        found = _group(found._replace(trouble=trouble), box, owner, lost)
        s = s._replace(
            queue=s.queue.at[:, place].set(box.T, mode="drop"),
            queue_owner=s.queue_owner.at[place].set(heir, mode="drop"),
            end=s.end + jnp.sum(parked, dtype=jnp.int32),
            found=found,
        )
        return done + lanes, s

    done = jnp.int32(0)
    _, s = jax.lax.while_loop(lambda state: state[0] < state[1].waiting, step, (done, s))
    return s._replace(waiting=jnp.int32(0))


def _file(found, refine, parameters, low, high, capacity, box, proof, owner, code):
    """Refine zeros and enter those that are new; what stays unproved becomes undecided."""
    n = low.shape[1]
    lane = jnp.arange(len(owner))
    # A box that holds no zero would be the one that the others wait for.
    held = jnp.where((code == _ZERO)[:, None], box, jnp.nan)
    (rows,) = jax.vmap(refine)(parameters[owner], held[:, :n], held[:, n:], proof)
    point, alone, near = rows[:, :n], rows[:, n], rows[:, n + 1]
    proved = jnp.isfinite(near)
    inside = jnp.all(
        (point + near[:, None] >= low[owner]) & (point - near[:, None] <= high[owner]),
        axis=1,
    )
    zero = (code == _ZERO) & proved

    def compare(others, there):
        """Which of `others` are the same zero as ours, and which may be."""
        apart = functools.reduce(
            jnp.maximum, [jnp.abs(point[:, None, j] - others[..., j]) for j in range(n)]
        )
        their_alone, their_near = others[..., n], others[..., n + 1]
        same = (apart + their_near <= alone[:, None]) | (
            apart + near[:, None] <= their_alone
        )
        distinct = apart > near[:, None] + their_near
        return jnp.any(same & there, axis=1), jnp.any(~same & ~distinct & there, axis=1)

    filed = found.rows[owner, :, : n + 2]
    known, unclear = compare(filed, jnp.arange(capacity) < found.count[owner][:, None])
    earlier = (owner[:, None] == owner) & (lane[:, None] > lane)
    repeated, muddled = compare(rows[None, :, : n + 2], earlier & zero)
    unclear |= muddled
    repeat = known | repeated

    new = zero & inside & ~repeat & ~unclear
    slot = found.count[owner] + jnp.sum(earlier & new, axis=1, dtype=jnp.int32)
    fits = new & (slot < capacity)
    code = jnp.where((code == _ZERO) & (~proved | (unclear & ~repeat)), UNDECIDED, code)
    return (
        found._replace(
            rows=found.rows.at[owner, jnp.where(fits, slot, capacity)].set(
                rows, mode="drop"
            ),
            count=found.count.at[owner].add(fits.astype(jnp.int32)),
            trouble=found.trouble.at[owner].max(
                jnp.where(new & ~fits, jnp.int32(CAPACITY), 0)
            ),
        ),
        code,
    )


def _group(found, box, owner, lost):
    """Enter undecided boxes one by one, each into the hull of the group that it is near."""
    n = box.shape[1] // 2
    order = _compacted(lost)

    def enter(state):
        i, found = state
        which = order[i]
        member, one = owner[which], box[which]
        groups, used = found.clusters[member], found.groups[member]
        there = jnp.arange(CLUSTERS) < used
        touches = there & _near(groups, one)
        slot = jnp.where(jnp.any(touches), jnp.argmax(touches).astype(jnp.int32), used)
        old = jnp.where(slot < used, groups[slot], one)
        hull = jnp.concatenate(
            [jnp.minimum(old[:n], one[:n]), jnp.maximum(old[n:], one[n:])]
        )
        return i + 1, found._replace(
            clusters=found.clusters.at[member, slot].set(hull, mode="drop"),
            groups=found.groups.at[member].max(slot + 1),
            trouble=found.trouble.at[member].max(jnp.where(slot < CLUSTERS, 0, UNLISTED)),
        )

    total = jnp.sum(lost, dtype=jnp.int32)
    _, found = jax.lax.while_loop(
        lambda state: state[0] < total, enter, (jnp.int32(0), found)
    )
    return found


def name_clusters(found, name, parameters, low, high) -> Found:
    """Replace the clusters of undecided boxes by what `name` makes of them.

    `name` takes parameters and hull of one cluster, the hulls of the member's others, its
    rows and its box; it returns a row, and whether the cluster is a line. A member whose
    clusters all get an index has no trouble left, unless its list of clusters is not whole.
    One pass of the loop serves one cluster, so that plain members cost nothing.
    """
    n = low.shape[1]
    slots = jnp.arange(CLUSTERS)
    capacity = found.rows.shape[1]
    open_ = (found.trouble >= UNDECIDED) & (found.trouble <= UNLISTED)

    def enter(state):
        waiting, left, found = state
        member, slot = jnp.divmod(jnp.argmax(waiting), CLUSTERS)
        clusters, one = found.clusters[member], slots == slot
        # Groups that grew towards each other are one.
        hull = clusters[slot]
        for _ in range(3):
            one |= waiting[member] & _near(clusters, hull)
            hull = jnp.concatenate(
                [
                    jnp.min(jnp.where(one[:, None], clusters[:, :n], jnp.inf), axis=0),
                    jnp.max(jnp.where(one[:, None], clusters[:, n:], -jnp.inf), axis=0),
                ]
            )
        row, line = name(
            parameters[member],
            hull,
            jnp.where(one[:, None], jnp.nan, clusters),
            found.rows[member],
            low[member],
            high[member],
        )
        trouble, count = found.trouble[member], found.count[member]
        known = jnp.isfinite(row[n + 2]) & (trouble <= OVERFLOW)
        fits = known & (count < capacity)
        left = left.at[member].add(-jnp.where(known, jnp.sum(one, dtype=jnp.int32), 0))
        trouble = jnp.where(known & (left[member] == 0), 0, trouble)
        trouble = jnp.where(known & ~fits, CAPACITY, trouble)
        trouble = jnp.where(line & ~known, NOT_ISOLATED, trouble)
        return (
            waiting.at[member].set(waiting[member] & ~one),
            left,
            found._replace(
                rows=found.rows.at[member, jnp.where(fits, count, capacity)].set(
                    row, mode="drop"
                ),
                count=found.count.at[member].add(fits.astype(jnp.int32)),
                trouble=found.trouble.at[member].set(trouble.astype(jnp.int32)),
            ),
        )

    waiting = open_[:, None] & (slots < found.groups[:, None])
    state = (waiting, found.groups, found)
    return jax.lax.while_loop(lambda state: jnp.any(state[0]), enter, state)[2]


def in_order(found, low, high) -> Found:
    """The same with the rows of every member sorted by their points.

    Which lane finds a zero, and when, depends on the whole batch; the slot that it ends in
    must not. Coordinates are compared in steps of a billionth of the box, so that the last
    digit does not decide between two zeros on one line, and then as they are.
    """
    members, n = low.shape
    lanes = min(LANES, members)
    several = found.count > 1
    total = jnp.sum(several)
    order = jnp.where(jnp.arange(members) < total, _compacted(several), members)
    order = jnp.pad(order, (0, lanes), constant_values=members)
    scale = STEPS / (high - low)
    slots = jnp.arange(found.rows.shape[1])

    def sort(state):
        done, rows = state
        who = jax.lax.dynamic_slice_in_dim(order, done, lanes)
        mine, used = rows[who], slots < found.count[who, None]
        points = [mine[:, :, j] for j in range(n)]
        steps = [jnp.round(x * scale[who, j, None]) for j, x in enumerate(points)]
        # How many come before each: with so few, faster than XLA's sort.
        before = slots < slots[:, None]
        for x in reversed([*steps, *points]):
            ahead, here = x[:, None, :], x[:, :, None]
            before = (ahead < here) | ((ahead == here) & before)
        rank = jnp.sum(before & used[:, None], axis=2)
        which = jnp.argmax(rank[:, None] == slots[:, None], axis=2)
        which = jnp.where(used, which, slots)
        mine = jnp.take_along_axis(mine, which[:, :, None], axis=1)
        return done + lanes, rows.at[who].set(mine, mode="drop")

    _, rows = jax.lax.while_loop(
        lambda state: state[0] < total, sort, (jnp.int32(0), found.rows)
    )
    return found._replace(rows=rows)


def _near(groups, box):
    """Which hulls are neighbours of a box."""
    n = box.shape[0] // 2
    gap = jnp.max(box[n:] - box[:n]) + NEIGHBOURS * jnp.maximum(1.0, jnp.max(jnp.abs(box)))
    return jnp.all(
        (groups[:, :n] <= box[n:] + gap) & (groups[:, n:] >= box[:n] - gap), axis=1
    )


def _compacted(flags):
    """Where the flagged lanes are, those first, in order; the rest is arbitrary."""
    size = flags.shape[0]
    place = jnp.where(flags, _counted(flags) - 1, size)
    lanes = jnp.arange(size, dtype=jnp.int32)
    return jnp.zeros(size, jnp.int32).at[place].set(lanes, mode="drop")


def _counted(flags):
    """The cumulative sum of flags. Over the lanes of a pass by products with triangles, in
    half the time of XLA's own."""
    size = flags.shape[0]
    row = 2 ** (size.bit_length() // 2)
    if size > 2 * LANES or size % row:
        return jnp.cumsum(flags, dtype=jnp.int32)
    # Such small whole numbers are exact in the least precision of any product.
    table = flags.reshape(-1, row).astype(jnp.float32)
    within = table @ jnp.triu(jnp.ones((row, row), jnp.float32))
    before = jnp.tril(jnp.ones((len(table),) * 2, jnp.float32), -1) @ within[:, -1]
    return (within + before[:, None]).ravel().astype(jnp.int32)


def _write(columns, new, start):
    return jax.lax.dynamic_update_slice_in_dim(columns, new, start, axis=columns.ndim - 1)


def _greatest(values):
    return functools.reduce(jnp.maximum, values)
