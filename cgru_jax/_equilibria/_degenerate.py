"""What is in a cluster of boxes that no bisection can settle: a degenerate equilibrium.

Shown is that there is one: at the point found, the equation and the vanishing part of its
Jacobian are enclosed, and an affine change of the equation no larger than these enclosures
makes the point exactly degenerate. At a floating-point parameter more cannot be shown: next
to every fold there are systems with two equilibria and with none.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._implicit import smallest_singular
from .._linalg import eigenvalues, scalar_adjugate, scalar_determinant, solve
from .._results import KINDS, choose

# How far, relative to the field, the nearest exactly degenerate system may be.
WITHIN = 1e-12
STEPS = 12  # of Gauss-Newton's method from the middle of a cluster, quadratic at the end
ASIDE = 1e-5  # of differences: the third root of round-off
FLAT = 1e-3  # a coefficient this small beside the field counts as zero
# A second mode as slow as this, beside how the field bends over the distance `LOCAL`, may
# have zeros of its own.
SECOND, LOCAL = 1e-2, 0.03
# Systems within `WITHIN` of a point of multiplicity two, three or more have all of its
# zeros nearer than this.
UNFOLDED = 1e-4, 3e-3, 3e-2
STABLE = 1e-8  # growth, beside the fastest, that is told from none


class Candidates(NamedTuple):
    """Points that each meet the conditions of one sort of degenerate point, worst first.

    - `points`: shape `(k, n)`; `off`, shape `(k,)`: the largest condition that is left.
    - `size`: shape `()`, of the equation around them.
    - `sorts`: their names.
    """

    points: Array
    off: Array
    size: Array
    sorts: list


class Degenerate(NamedTuple):
    """A named cluster: entries as in `Equilibria`; `named` is False if it is not known.
    `reach`: a zero nearer to it than this is one of those that the multiplicity counts."""

    root: Array
    kind: KINDS
    multiplicity: Array
    coefficient: Array
    named: Array
    reach: Array


def find_candidates(equation, hull) -> Candidates:
    """The degenerate points that a cluster may be.

    **Arguments:**

    - `equation`: from shape `(n,)` to `(n,)`.
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
    return Candidates(points, off, size, list(tables))


def name_cluster(equation, lift, system, hull, candidates, change, fine) -> Degenerate:
    """The degenerate equilibrium in a cluster.

    **Arguments:**

    - `equation`, `hull`: as for `find_candidates`; `lift`, from roots of the equation to
      states of `system`, whose other modes decide between the kinds of saddle-node.
    - `change`: shape `(k,)`, how much of the equation must change to make each candidate a
      singular root, from `_degree.index_of_cluster`.
    - `fine`: width of the boxes in the cluster.
    """
    n = hull.shape[0] // 2
    points, off, size, sorts = candidates
    allowed = WITHIN * jnp.where(size > 0, size, 1)
    # A condition of second order is a hundred times harder to meet than one of first.
    fits = (off <= 100 * allowed) & (change <= allowed)
    best = jnp.argmax(fits)
    point = points[best]
    is_ = {sort: best == i for i, sort in enumerate(sorts)}

    state = lift(point)
    form = _normal_form(system, state)
    steep = jnp.linalg.norm(form.slope)
    alone = _has_one_slow_mode(equation, point)
    fold = is_["fold"] & alone & (jnp.abs(form.a) > FLAT * size)
    cusp = is_["cusp"] & alone & (jnp.abs(form.c) > FLAT * size)
    two = four = open_ = jnp.zeros((), bool)
    unknown = is_["cusp"] & alone & ~cusp
    if n == 2:
        forms_apart, forms_vanish = _quadratic_part(equation, point, size)
        two = is_["nilpotent"] & (form.curvature > FLAT * size)
        open_ = is_["flat"] & ~forms_vanish
        four = open_ & forms_apart
        unknown |= (is_["flat"] & forms_vanish) | (is_["nilpotent"] & ~two)
    elif n > 2:
        unknown |= is_["flat"]
    unknown |= (fold | cusp) & form.others_rest
    uncounted = unknown | (open_ & ~four)
    kind = choose(
        KINDS,
        KINDS.codimension_two,
        (unknown, KINDS.degenerate),
        (fold & form.others_decay, KINDS.saddle_node_first),
        (fold, KINDS.saddle_node_second),
    )
    multiplicity = jnp.select([fold | two, cusp, four], [2.0, 3.0, 4.0], jnp.nan)
    # Boxes of this width cannot tell two curves that touch to this order over so long a
    # stretch. What is longer holds more than one point.
    bend = jnp.select([fold, cusp], [jnp.abs(form.a), jnp.abs(form.c)], form.curvature)
    blur = 1e-15 * size if n == 1 else fine * steep
    order = jnp.where(cusp, 3.0, 2.0)
    longest = 20 * fine + 10 * (blur / jnp.where(bend > 0, bend, 1)) ** (1 / order)
    longest = jnp.where(four, jnp.maximum(longest, 1e-5), longest)
    short = uncounted | (jnp.max(hull[n:] - hull[:n]) <= longest)
    reach = jnp.select([uncounted, cusp], [UNFOLDED[2], UNFOLDED[1]], UNFOLDED[0])
    return Degenerate(
        root=point,
        kind=kind,
        multiplicity=jnp.where(uncounted, jnp.nan, multiplicity),
        coefficient=jnp.select([fold, cusp], [form.a, form.c], jnp.nan),
        named=jnp.any(fits) & (fold | cusp | two | uncounted | four) & short,
        reach=reach * jnp.maximum(1.0, jnp.max(jnp.abs(point))),
    )


def _has_one_slow_mode(equation, point):
    """Whether all modes but one are fast: near a second slow one lie other zeros."""
    n = point.shape[0]
    aside = LOCAL * jnp.eye(n)
    around = jax.vmap(equation)(point + jnp.concatenate([aside, -aside]))
    near = jnp.max(jnp.abs(around), axis=0)
    slope = jax.jacfwd(equation)(point) * LOCAL / jnp.where(near > 0, near, 1)[:, None]
    # The product of the n − 1 largest singular values, by the largest of them.
    rest = jnp.linalg.norm(slope) ** max(n - 2, 0)
    return jnp.max(jnp.abs(_adjugate(slope))) > SECOND * rest


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


class _Form(NamedTuple):
    """Of a point with one vanishing mode: its Jacobian; quadratic and cubic coefficient on
    the centre manifold; |⟨w, B(v, v)⟩| for unit vectors; whether all other modes decay,
    and whether one of them neither grows nor decays."""

    slope: Array
    a: Array
    c: Array
    curvature: Array
    others_decay: Array
    others_rest: Array


def _normal_form(system, state) -> _Form:
    """With J v = 0, w J = 0, ⟨w, v⟩ = 1 and |v| = 1: a = ⟨w, B(v, v)⟩ / 2 and
    c = ⟨w, C(v, v, v) + 3 B(v, h)⟩ / 6, where J h = −B(v, v) + ⟨w, B(v, v)⟩ v and
    ⟨w, h⟩ = 0 (Y. Kuznetsov, Elements of Applied Bifurcation Theory, 5.4 and 8.7).
    """
    n, residual = state.shape[0], system.residual
    slope = system.jacobian(state)
    _, unit, v = smallest_singular(slope)
    v = v * jnp.sign(v[jnp.argmax(jnp.abs(v))])
    w = unit / (unit @ v)

    def second(x, direction):
        along = lambda y: jax.jvp(residual, (y,), (v,))[1]
        return jax.jvp(along, (x,), (direction,))[1]

    quadratic = second(state, v)
    third = jax.jvp(lambda x: second(x, v), (state,), (v,))[1]
    a = w @ quadratic / 2
    border = jnp.block([[slope, v[:, None]], [w[None, :], jnp.zeros((1, 1))]])
    shift = solve(border, jnp.append(-quadratic + 2 * a * v, 0.0))[:n]
    c = w @ (third + 3 * second(state, shift)) / 6
    spectrum = eigenvalues(slope)
    others = jnp.arange(n) != jnp.argmin(jnp.abs(spectrum))
    growth = system.growth(spectrum)
    rest = jnp.abs(growth) <= STABLE * jnp.max(jnp.where(others, jnp.abs(spectrum), 0.0))
    return _Form(
        slope=slope,
        a=a,
        c=c,
        curvature=jnp.abs(unit @ quadratic),
        others_decay=jnp.all((growth < 0) | ~others),
        others_rest=jnp.any(rest & others),
    )


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
