"""The index of a cluster of boxes that no bisection can settle, proved by the degree.

The degree of the field on the boundary of a box around the cluster, from enclosures of the
field, is its index, whatever the box holds.
"""

import functools

import jax
import jax.numpy as jnp

from .. import _interval
from .._interval import high, low, magnitude
from .._linalg import scalar_adjugate, scalar_determinant

WIDEST = 0.1  # of a box around a cluster: what is known of a point must stay local
PIECES, ROUNDS = 32, 24  # of the boundary at a time; bisections of one of them
RADII, GROWTH = 10, 4.0  # boxes tried around a cluster, each this much larger than the last
# Nothing about these boxes is symmetric: symmetric fields vanish on axes and diagonals, and
# the ends of the pieces must not lie there.
SHAPE = (1.0, 0.93, 0.89)
ODD = 0.137


def index_of_cluster(field, hull, points, taken, taken_index, others, lowest, highest):
    """The index of what a cluster holds, proved; and what is singular in it.

    **Arguments:**

    - `field`: from lists of `n` centres and radii to `Node`s of the equation.
    - `hull`: shape `(2n,)`; `others`: shape `(m, 2n)`, hulls of the other clusters, NaN in
      unused rows.
    - `points`: shape `(k, n)`.
    - `taken`: shape `(k, 2n)`: boxes in which the proved equilibria lie, NaN in unused
      rows; `taken_index`: shape `(k,)`.
    - `lowest`, `highest`: shape `(n,)`: beyond this box nothing is known.

    **Returns:** index, shape `()`, NaN if it could not be proved; half-width of the box
    that was used, shape `()`; for each of the points, how large an affine change of the
    equation makes it a singular root, at most, shape `(k,)`.
    """
    n = hull.shape[0] // 2
    middle = (hull[:n] + hull[n:]) / 2
    scale = jnp.maximum(1.0, jnp.max(jnp.abs(middle)))
    half = jnp.max(hull[n:] - hull[:n]) / 2
    smallest = jnp.maximum(1.5 * half, 1e-7 * scale)

    def attempt(state):
        tries, _, _, _ = state
        radius = smallest * GROWTH**tries * jnp.array(SHAPE[:n])
        ends = jnp.concatenate([middle - radius, middle + radius])
        room = jnp.all(ends[:n] >= lowest) & jnp.all(ends[n:] <= highest)

        def meets(boxes):
            return jnp.all((boxes[:, :n] <= ends[n:]) & (boxes[:, n:] >= ends[:n]), axis=1)

        def within(boxes):
            return jnp.all((boxes[:, :n] > ends[:n]) & (boxes[:, n:] < ends[n:]), axis=1)

        inside = within(taken)
        clear = room & ~jnp.any(meets(others)) & ~jnp.any(meets(taken) & ~inside)
        clear &= radius[0] <= WIDEST * scale
        known = jnp.sum(jnp.where(inside, taken_index, 0.0))
        degree, change = _degree(field, middle, radius, points)
        return tries + 1, jnp.where(clear, degree - known, jnp.nan), radius[0], change

    nothing = jnp.full(len(points), jnp.inf)
    start = (jnp.zeros((), jnp.int32), jnp.full((), jnp.nan), smallest, nothing)
    return jax.lax.while_loop(
        lambda state: jnp.isnan(state[1]) & (state[0] < RADII), attempt, start
    )[1:]


def _degree(field, middle, radius, points):
    """Degree of −F on the boundary of a box, from enclosures; NaN if they do not decide.
    Beside it what `_change_to_singular` says of the points: a program is compiled once per
    place where it is enclosed."""
    n = middle.shape[0]

    def enclose(centres, radii):
        """Signs of the components and the change, over a block of boxes."""

        # One by one: a block is enclosed in many small steps, slower to compile.
        def one(*place):
            nodes = field(*place)
            return [_sign(node.tight) for node in nodes], _change_to_singular(nodes)

        centres = [jnp.append(c, p) for c, p in zip(centres, points.T, strict=True)]
        radii = [jnp.append(r, jnp.zeros(len(points))) for r in radii]
        signs, change = jax.vmap(one)(centres, radii)
        return [sign[: -len(points)] for sign in signs], change[-len(points) :]

    if n == 1:
        ends = middle[0] + radius[0] * jnp.array([-1.0, 1.0])
        ((below, above),), change = enclose([ends], [jnp.zeros(2)])
        return jnp.where(below * above != 0, (below - above) / 2, jnp.nan), change
    if n > 2:
        _, change = enclose(list(middle[:, None]), list(radius[:, None]))
        return jnp.full((), jnp.nan), change

    def place(turn):
        """A point of the boundary, counterclockwise; `turn` goes from 0 to 4."""
        side = jnp.floor(turn) % 4
        along = 2 * (turn - jnp.floor(turn)) - 1
        one = jnp.ones_like(along)
        sides = ((one, along), (-along, one), (-one, -along), (along, -one))
        x, y = sides[3]
        for i in (2, 1, 0):
            x = jnp.where(side == i, sides[i][0], x)
            y = jnp.where(side == i, sides[i][1], y)
        return middle[0] + radius[0] * x, middle[1] + radius[1] * y, side

    def look(begin, end):
        """Signs of both components on pieces of the boundary, 0 where undecided."""
        # A piece ends before the corner, at which the next one begins.
        x0, y0, side = place(begin)
        along = 2 * (end - begin)
        dx = along * radius[0] * ((side == 3) * 1.0 - (side == 1))
        dy = along * radius[1] * ((side == 0) * 1.0 - (side == 2))
        pad = 8 * jnp.finfo(radius.dtype).eps * (jnp.max(jnp.abs(middle)) + radius[0])
        centre = [x0 + dx / 2, y0 + dy / 2]
        radii = [jnp.abs(dx) / 2 + pad, jnp.abs(dy) / 2 + pad]
        return enclose(centre, radii)

    def round_(state):
        begin, end, waiting, crossings, rounds, sound, _ = state
        # The pieces and both their ends, in one call.
        (first, second), change = look(
            jnp.concatenate([begin, begin, end]), jnp.concatenate([end, begin, end])
        )
        first, (second, before, after) = first[:PIECES], jnp.split(second, 3)
        # Crossings of the ray F1 > 0, F2 = 0, counted on pieces on which F1 > 0.
        ray = (first > 0) & (second == 0)
        sound &= ~jnp.any(waiting & ray & ((before == 0) | (after == 0)))
        crossings += jnp.sum(jnp.where(waiting & ray, (after - before) / 2, 0.0))
        open_ = waiting & (first == 0) & (second == 0)
        sound &= jnp.sum(open_) <= PIECES // 2
        slots = jnp.nonzero(open_, size=PIECES // 2, fill_value=0)[0]
        used = jnp.arange(PIECES // 2) < jnp.sum(open_)
        a, b = begin[slots], end[slots]
        cut = a + 0.47 * (b - a)  # off the middle, where symmetric fields vanish
        begin, end = jnp.concatenate([a, cut]), jnp.concatenate([cut, b])
        used = jnp.concatenate([used, used])
        return begin, end, used, crossings, rounds + 1, sound, change

    per_side = PIECES // 4
    cuts = (jnp.arange(1, per_side) + ODD) / per_side
    cuts = jnp.concatenate([jnp.zeros(1), cuts])
    begins = (jnp.arange(4.0)[:, None] + cuts).ravel()
    state = (
        begins,
        jnp.append(begins[1:], 4.0),
        jnp.ones(PIECES, bool),
        jnp.zeros((), middle.dtype),
        0,
        jnp.ones((), bool),
        jnp.full(len(points), jnp.inf),
    )
    state = jax.lax.while_loop(
        lambda s: jnp.any(s[2]) & s[5] & (s[4] < ROUNDS), round_, state
    )
    *_, waiting, crossings, _, sound, change = state
    return jnp.where(sound & ~jnp.any(waiting), crossings, jnp.nan), change


def _sign(interval):
    return jnp.where(low(interval) > 0, 1.0, jnp.where(high(interval) < 0, -1.0, 0.0))


def _change_to_singular(nodes):
    """How large an affine change of the equation makes a point a singular root, at most,
    given the equation's enclosure there.

    By enclosures: |F| bounds the constant part; the linear part is the smallest singular
    value of the Jacobian, which is at most |det| over any entry of the adjugate, and at
    most the largest entry times n.
    """
    n = len(nodes)
    value = functools.reduce(jnp.maximum, [magnitude(node.range) for node in nodes])
    entries = [[jnp.zeros(()) if g is None else g for g in node.gradient] for node in nodes]
    middle = [[(low(g) + high(g)) / 2 for g in row] for row in entries]
    doubt = functools.reduce(
        jnp.maximum, [(high(g) - low(g)) / 2 for row in entries for g in row]
    )
    largest = functools.reduce(jnp.maximum, [magnitude(g) for row in entries for g in row])
    adjugate = functools.reduce(
        jnp.maximum, [jnp.abs(x) for row in scalar_adjugate(middle) for x in row]
    )
    rounding = 16 * n * _interval.EPS
    det = jnp.abs(scalar_determinant(middle)) + rounding * largest**n
    by_rank = jnp.where(adjugate > 0, det / jnp.where(adjugate > 0, adjugate, 1), jnp.inf)
    return jnp.maximum(value, jnp.minimum(by_rank, n * largest) + n * doubt)
