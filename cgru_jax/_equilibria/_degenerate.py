"""What is in a cluster of boxes that no bisection can settle: a degenerate equilibrium.

Two things are shown. First, that there is one: at the point found, the equation and the
vanishing part of its Jacobian are enclosed, and an affine change of the equation no larger
than these enclosures makes the point exactly degenerate. At a floating-point parameter more
cannot be shown: next to every fold there are systems with two equilibria and with none.
Second, what it counts for: the degree of the field on the boundary of a box around the
cluster, from enclosures of the field, is its index, whatever the box holds.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .. import _interval
from .._implicit import smallest_singular
from .._interval import high, low, magnitude
from .._linalg import eigenvalues, scalar_adjugate, scalar_determinant, solve
from .._results import KINDS, choose

# How far, relative to the field, the nearest exactly degenerate system may be.
WITHIN = 1e-12
STEPS = 12  # of Gauss-Newton's method from the middle of a cluster, quadratic at the end
ASIDE = 1e-5  # of differences: the third root of round-off
FLAT = 1e-4  # a coefficient this small beside the field counts as zero
WIDEST = 0.1  # of a box around a cluster: what is known of a point must stay local
PIECES, ROUNDS = 32, 24  # of the boundary at a time; bisections of one of them
RADII, GROWTH = 10, 4.0  # boxes tried around a cluster, each this much larger than the last
# Nothing about these boxes is symmetric: symmetric fields vanish on axes and diagonals, and
# the ends of the pieces must not lie there.
SHAPE = (1.0, 0.93, 0.89)
ODD = 0.137


class Degenerate(NamedTuple):
    """A named cluster: entries as in `Equilibria`; `named` is False if it is not known."""

    root: Array
    kind: KINDS
    multiplicity: Array
    coefficient: Array
    named: Array


def name_cluster(equation, lift, system, field, hull) -> Degenerate:
    """The degenerate equilibrium in a cluster.

    **Arguments:**

    - `equation`: from shape `(n,)` to `(n,)`; `lift`, from its roots to states of `system`,
      whose other modes decide between the kinds of saddle-node.
    - `field`: from `n` centres and radii to enclosures of the equation (`Node`s).
    - `hull`: shape `(2n,)`, low before high.
    """
    n = hull.shape[0] // 2
    middle = (hull[:n] + hull[n:]) / 2

    def jacobian(x):
        return jax.jacfwd(equation)(x)

    def determinant(x):
        return scalar_determinant(_rows(jacobian(x)))

    column = jnp.argmax(jnp.max(jnp.abs(_adjugate(jacobian(middle))), axis=0))

    def conditions(x):
        slope = jacobian(x)
        # How the determinant changes along the null vector: zero at a cusp.
        null = _adjugate(slope)[:, column]
        det, bend = jax.jvp(determinant, (x,), (null,))
        first = jnp.stack([det, bend, jnp.trace(slope)])
        return jnp.concatenate([equation(x), first, slope.ravel()])

    # Which conditions make which point: the worst kind that fits is the one.
    none, one = [0.0] * (n * n), [1.0] * n
    if n == 1:
        tables = {"cusp": [*one, 1, 1, 0, 0], "fold": [*one, 1, 0, 0, 0]}
    else:
        tables = {
            "flat": [*one, 0, 0, 0, *[1.0] * (n * n)],
            "nilpotent": [*one, 1, 0, 1, *none],
            "cusp": [*one, 1, 1, 0, *none],
            "fold": [*one, 1, 0, 0, *none],
        }
        if n > 2:  # a vanishing trace says nothing about two eigenvalues
            del tables["nilpotent"]
    size = jnp.max(
        jnp.abs(jax.vmap(equation)(middle + jnp.concatenate([jnp.eye(n), -jnp.eye(n)])))
    )
    extent = hull[n:] - hull[:n] + 1e-6 * jnp.maximum(1.0, jnp.abs(middle))

    # Differences instead of a third derivative, which would cost more to compile than all
    # the rest: the conditions are exact, so these slopes only decide how fast they are met.
    aside = ASIDE * jnp.maximum(1.0, jnp.max(jnp.abs(middle))) * jnp.eye(n)
    places = jnp.concatenate([jnp.zeros((1, n)), aside, -aside])

    def approach(weights):
        def step(_, state):
            x, _, _ = state
            values = weights * jax.vmap(conditions)(x + places)
            slope = (values[1 : n + 1] - values[n + 1 :]).T / (2 * aside[0, 0])
            move = _least_squares(slope, values[0])
            move = jnp.where(jnp.isfinite(move), move, 0)
            after = jnp.clip(x - move, middle - extent, middle + extent)
            return after, x, jnp.max(jnp.abs(values[0]))

        # One more step, of which only the values at its start are used.
        start = (middle, middle, jnp.max(extent))
        return jax.lax.fori_loop(0, STEPS + 1, step, start)[1:]

    weights = jnp.array(list(tables.values()), hull.dtype)
    points, off = jax.vmap(approach)(weights)
    allowed = WITHIN * jnp.where(size > 0, size, 1)
    # A condition of second order is a hundred times harder to meet than one of first.
    fits = (off <= 100 * allowed) & jax.vmap(
        lambda p: _nearly_singular(field(list(p), [jnp.zeros(())] * n), allowed)
    )(points)
    best = jnp.argmax(fits)
    point = points[best]
    is_ = {name: best == i for i, name in enumerate(tables)}

    state = lift(point)
    a, c, curvature, decays = _normal_form(system, state)
    fold, cusp = is_["fold"], is_["cusp"] & (jnp.abs(c) > FLAT * size)
    kind = choose(
        KINDS,
        KINDS.codimension_two,
        (fold & decays, KINDS.saddle_node_first),
        (fold, KINDS.saddle_node_second),
        (is_["cusp"] & ~cusp, KINDS.degenerate),
    )
    multiplicity = jnp.where(fold, 2.0, jnp.where(cusp, 3.0, jnp.nan))
    if n == 2:
        two = is_["nilpotent"] & (curvature > FLAT * size)
        four, flatter = _quadratic_part(equation, point, size)
        four, flatter = is_["flat"] & four, is_["flat"] & flatter
        multiplicity = jnp.where(two, 2.0, jnp.where(four, 4.0, multiplicity))
        kind = KINDS.where(flatter, KINDS.degenerate, kind)
    # In a wide cluster there may be more than the one point that was found.
    multiplicity = jnp.where(jnp.max(hull[n:] - hull[:n]) < 1e-3, multiplicity, jnp.nan)
    coefficient = jnp.where(fold, a, jnp.where(cusp, c, jnp.nan))
    return Degenerate(point, kind, multiplicity, coefficient, jnp.any(fits))


def _rows(matrix):
    n = matrix.shape[0]
    return [[matrix[i, j] for j in range(n)] for i in range(n)]


def _adjugate(matrix):
    return jnp.stack([jnp.stack(row) for row in scalar_adjugate(_rows(matrix))])


def _least_squares(slope, value):
    """The shortest move that takes off the most: a pseudo-inverse in closed form, in which
    singular values below a millionth of the largest count as zero."""
    square = slope.T @ slope
    damped = square + 1e-12 * jnp.trace(square) * jnp.eye(len(square))
    return solve(damped, slope.T @ value)


def _nearly_singular(nodes, allowed):
    """Whether an affine change of the equation by `allowed` makes a point a singular root,
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
    return (value <= allowed) & (jnp.minimum(by_rank, n * largest) + n * doubt <= allowed)


def _normal_form(system, state):
    """Quadratic and cubic coefficient on the centre manifold; |⟨w, B(v, v)⟩| for unit
    vectors; whether all other modes decay.

    With J v = 0, w J = 0, ⟨w, v⟩ = 1 and |v| = 1: a = ⟨w, B(v, v)⟩ / 2 and
    c = ⟨w, C(v, v, v) + 3 B(v, h)⟩ / 6, where J h = −B(v, v) + ⟨w, B(v, v)⟩ v and
    ⟨w, h⟩ = 0 (Y. Kuznetsov, Elements of Applied Bifurcation Theory, 5.4 and 8.7).
    """
    n, residual = state.shape[0], system.residual
    slope = system.jacobian(state)
    left, _, right = jnp.linalg.svd(slope)
    v, unit = right[-1], left[:, -1]
    v = v * jnp.sign(v[jnp.argmax(jnp.abs(v))])
    w = unit / (unit @ v)

    def second(x, direction):
        return jax.jvp(lambda y: jax.jacfwd(residual)(y) @ v, (x,), (direction,))[1]

    quadratic = second(state, v)
    third = jax.jvp(lambda x: second(x, v), (state,), (v,))[1]
    a = w @ quadratic / 2
    border = jnp.block([[slope, v[:, None]], [w[None, :], jnp.zeros((1, 1))]])
    shift = jnp.linalg.solve(border, jnp.append(-quadratic + 2 * a * v, 0.0))[:n]
    c = w @ (third + 3 * second(state, shift)) / 6
    spectrum = eigenvalues(slope)
    zero = jnp.arange(n) == jnp.argmin(jnp.abs(spectrum))
    curvature = jnp.abs(unit @ quadratic)
    return a, c, curvature, jnp.all((system.growth(spectrum) < 0) | zero)


def _quadratic_part(equation, point, size):
    """Of a plane field without a linear part: whether its two quadratic forms have no
    common zero, so that the multiplicity is two times two; whether they vanish too."""
    forms = jax.hessian(equation)(point) / 2
    p, q = (jnp.stack([f[0, 0], 2 * f[0, 1], f[1, 1]]) for f in forms)
    resultant = (p[0] * q[2] - p[2] * q[0]) ** 2 - (p[0] * q[1] - p[1] * q[0]) * (
        p[1] * q[2] - p[2] * q[1]
    )
    first, second = jnp.max(jnp.abs(p)), jnp.max(jnp.abs(q))
    there = (first > FLAT * size) & (second > FLAT * size)
    apart = jnp.abs(resultant) > FLAT**2 * (first * second) ** 2
    return there & apart, jnp.maximum(first, second) <= FLAT * size


def is_line(equation, hull):
    """Whether the equilibria in a hull fill a curve: Newton's method from five places along
    it then ends at five places, each a singular root. Sampled, not proved."""
    n = hull.shape[0] // 2
    middle, half = (hull[:n] + hull[n:]) / 2, (hull[n:] - hull[:n]) / 2
    along = half * (half >= jnp.max(half))

    def settle(start):
        def step(_, state):
            x, _, _ = state
            value, slope = equation(x), jax.jacfwd(equation)(x)
            move = _least_squares(slope, value)
            after = x - jnp.clip(jnp.where(jnp.isfinite(move), move, 0), -half, half)
            smallest = smallest_singular(slope)[0]
            largest = jnp.linalg.norm(slope)
            singular = smallest <= 1e-8 * largest
            return after, x, singular & (jnp.max(jnp.abs(value)) <= 1e-13 * largest)

        return jax.lax.fori_loop(0, STEPS + 1, step, (start, start, False))[1:]

    places = jnp.linspace(-0.8, 0.8, 5)[:, None]
    ends, good = jax.vmap(settle)(middle + places * along)
    gaps = jnp.linalg.norm(ends[1:] - ends[:-1], axis=1)
    # Within a thousandth the solutions of a single degenerate point scatter as widely.
    return jnp.all(good) & jnp.all(gaps > 0.1 * jnp.max(half)) & (jnp.max(half) > 1e-3)


def index_of_cluster(field, hull, taken, taken_index, others, lowest, highest):
    """The index of what a cluster holds, proved; and the half-width of the box used.

    **Arguments:**

    - `field`: from lists of `n` centres and radii to `Node`s of the equation.
    - `hull`: shape `(2n,)`; `others`: shape `(m, 2n)`, hulls of the other clusters, NaN in
      unused rows.
    - `taken`: shape `(k, 2n)`: boxes in which the proved equilibria lie, NaN in unused
      rows; `taken_index`: shape `(k,)`.
    - `lowest`, `highest`: shape `(n,)`: beyond this box nothing is known.

    **Returns:** index, shape `()`, NaN if it could not be proved; half-width, shape `()`.
    """
    n = hull.shape[0] // 2
    middle = (hull[:n] + hull[n:]) / 2
    scale = jnp.maximum(1.0, jnp.max(jnp.abs(middle)))
    half = jnp.max(hull[n:] - hull[:n]) / 2
    smallest = jnp.maximum(1.5 * half, 1e-7 * scale)

    def attempt(state):
        tries, _, _ = state
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
        degree = _degree(field, middle, radius)
        return tries + 1, jnp.where(clear, degree - known, jnp.nan), radius[0]

    start = (jnp.zeros((), jnp.int32), jnp.full((), jnp.nan), smallest)
    _, index, radius = jax.lax.while_loop(
        lambda state: jnp.isnan(state[1]) & (state[0] < RADII), attempt, start
    )
    return index, radius


def _degree(field, middle, radius):
    """Degree of −F on the boundary of a box, from enclosures; NaN if they do not decide."""
    n = middle.shape[0]
    if n == 1:
        ends = [
            _sign(field([middle[0] + s * radius[0]], [jnp.zeros(())])[0].range)
            for s in (-1.0, 1.0)
        ]
        return jnp.where(ends[0] * ends[1] != 0, (ends[0] - ends[1]) / 2, jnp.nan)
    if n > 2:
        return jnp.full((), jnp.nan)

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
        # One by one: a block is enclosed in many small steps, slower to compile.
        one = lambda *place: tuple(_sign(node.tight) for node in field(*place))
        return jax.vmap(one)(centre, radii)

    def round_(state):
        begin, end, waiting, crossings, rounds, sound = state
        # The pieces and both their ends, in one call: it is compiled once per call.
        first, second = look(
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
        return begin, end, jnp.concatenate([used, used]), crossings, rounds + 1, sound

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
    )
    state = jax.lax.while_loop(
        lambda s: jnp.any(s[2]) & s[5] & (s[4] < ROUNDS), round_, state
    )
    return jnp.where(state[5] & ~jnp.any(state[2]), state[3], jnp.nan)


def _sign(interval):
    return jnp.where(low(interval) > 0, 1.0, jnp.where(high(interval) < 0, -1.0, 0.0))
