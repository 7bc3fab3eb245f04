"""How far the parameters of a cell are from a bifurcation, and in which direction.

The least change δ of the free parameters p with F(h; p + δ) = 0 and a vanishing test at
every listed point h is a minimum under constraints. It is found on frozen values, from
several starts; what is differentiated is the Karush–Kuhn–Tucker system that it solves.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._conditions import additive_compound, frequency, newton, vanishing
from .._errors import check_x64, real_array
from .._implicit import attach
from .._linalg import solve
from .._program import hoist, hoist_numbers
from .._results import RESULTS, choose

STARTS = 12  # the listed points, and places around them
AROUND = 0.2  # how far around, as a part of the size of the points
STEPS = 40  # a regular minimum takes ten; a search that fails takes all
# A move of a point costs this part of the same move of a parameter while the equations are
# not solved yet. It has no say in where the minimum is.
WEIGHT = 0.1
LONGEST = 0.3  # step, as a part of the size of the unknowns
# Places at which an equilibrium is looked up on the way to the answer, three steps each.
WAY = 32


class Nearest(eqx.Module):
    """The nearest cell on a bifurcation.

    - `cell`: the cell that was given, with its free arrays changed.
    - `points`: shape `(k, n)`, where the listed points are then.
    - `distance`: shape `()`, the Euclidean norm of the change.
    - `result`: how it ended.
    """

    cell: eqx.Module
    points: Float[Array, "*batch k n"]
    distance: Float[Array, "*batch"]
    result: RESULTS


def nearest_bifurcation(
    cell: eqx.Module | Callable,
    points: ArrayLike | list,
    *,
    free: Sequence[str],
    kind: str = "fold",
) -> Nearest:
    r"""The least change of a cell that brings its equilibria to a bifurcation.

    **Arguments:**

    - `cell`: a cell, or any Equinox module that maps a state to its increment and holds
      the free arrays.
    - `points`: shape `(k, n)`, equilibria of `cell`, or ghosts (slow points where a pair
      has gone), as guesses.
    - `free`: names of the arrays of `cell` that may change, every entry by itself.
    - `kind`: `"fold"`: the Jacobian becomes singular at every listed point, all at once.
      `"hopf"`: two eigenvalues of the only listed point get the sum zero, and are not real.

    **Returns:** a `Nearest`, with derivatives of every order with respect to everything in
    `cell`; that of `distance` is the unit vector −δ/|δ|, and NaN where the distance is 0.
    The robustness of a memory is the distance of its sink.

    It is the least of the local minima that were reached from 12 starts, the points and
    places around them. One counts first if the listed equilibria, followed on the straight
    line from `cell` to the answer, arrive at their bifurcations. A single equilibrium that
    does not arrive meets something nearer, so that the answer is refused.

    **Fails:** NaN, and `result` is `nonfinite`, `not_converged`, `elsewhere` (a single
    equilibrium does not arrive), `merged` (two listed points became one), `wrong_kind`
    (`"hopf"`: only real pairs were found), or `degenerate` (no strict minimum, or ω = 0).
    `ValueError` in single precision, for names that are not of free arrays, for points of a
    wrong shape, and for more points than free entries.

    **Source:** constrained Newton steps in the null space of the constraints (Nocedal and
    Wright, Numerical Optimization, chapter 18); put together here.
    """
    points, free = _checked(cell, points, free, kind)
    arrays = [getattr(cell, name) for name in free]
    ends = np.cumsum([a.size for a in arrays])[:-1]
    start = jnp.concatenate([a.reshape(-1) for a in arrays])

    def changed(p):
        pieces = jnp.split(p, ends)
        parts = [x.reshape(a.shape) for x, a in zip(pieces, arrays, strict=True)]
        return eqx.tree_at(lambda c: [getattr(c, name) for name in free], cell, parts)

    n = points.shape[1]
    unknown = jnp.concatenate([points[0], start])
    program, held = hoist_numbers(lambda u: changed(u[n:])(u[:n]), unknown)
    p, points, distance, result = _solve(program, kind, held, start, points)
    return Nearest(changed(p), points, distance, result)


def _checked(cell, points, free, kind):
    verb = "nearest_bifurcation"
    if not isinstance(cell, eqx.Module) or not callable(cell):
        raise ValueError(
            f"{verb}: cell must be a cell or an Equinox module that maps a state to its "
            f"increment, got {type(cell).__name__}; of a Flow give its field."
        )
    if kind not in ("fold", "hopf"):
        raise ValueError(f'{verb}: kind must be "fold" or "hopf", got {kind!r}.')
    # Input weights do nothing to a cell that is called as it is, with the input zero.
    offered = [
        name
        for name in cell.__dataclass_fields__
        if eqx.is_inexact_array(getattr(cell, name)) and not name.startswith("W_")
    ]
    if isinstance(free, str) or not all(isinstance(name, str) for name in free):
        raise ValueError(f'{verb}: free must be names, as in ("b_h",), got {free!r}.')
    free = tuple(dict.fromkeys(free))
    unknown = [name for name in free if name not in offered]
    if unknown or not free:
        raise ValueError(
            f"{verb}: free names {unknown[0] if unknown else 'nothing'}; the arrays of "
            f"this {type(cell).__name__} that may change are {', '.join(offered)}."
        )
    for name in free:
        check_x64(verb, getattr(cell, name).dtype)
    points = real_array(verb, "points", points)
    points = points.astype(jnp.result_type(points, float))
    check_x64(verb, points.dtype)
    size = getattr(cell, "size", None)
    if points.ndim != 2 or 0 in points.shape or size not in (None, points.shape[1]):
        raise ValueError(
            f"{verb}: points must have shape (k, {size or 'n'}), got {points.shape}; one "
            "point is points[None]."
        )
    if kind == "hopf" and (points.shape[0] != 1 or points.shape[1] < 2):
        raise ValueError(
            f"{verb}: a Hopf bifurcation is of one point, in two dimensions or more; "
            f"points has shape {points.shape}."
        )
    entries = sum(getattr(cell, name).size for name in free)
    if points.shape[0] > entries:
        raise ValueError(
            f"{verb}: {points.shape[0]} points cannot be put on a bifurcation with "
            f"{entries} free entr{'ies' if entries > 1 else 'y'}; free more arrays."
        )
    given = jax.eval_shape(cell, points[0])
    if getattr(given, "shape", None) != points[0].shape:
        raise ValueError(
            f"{verb}: at a point of shape {points[0].shape} the cell returns {given}; an "
            "increment has the shape of the state."
        )
    return points, free


@eqx.filter_jit
def _solve(program, kind, held, start, points):
    (k, n), m = points.shape, start.shape[0]
    unknowns = m + k * n

    def test(jacobian):
        return vanishing(jacobian if kind == "fold" else additive_compound(jacobian))

    def constraints(field, p, h):
        values = jax.vmap(lambda x: field(x, p))(h)
        tests = jax.vmap(lambda x: test(jax.jacfwd(field)(x, p)))(h)
        return jnp.concatenate([values.reshape(-1), tests])

    def bind(arrays):
        # Not in scalars, as elsewhere: with so many parameters that doubles the compiling.
        return lambda h, p: program(arrays, jnp.concatenate([h, p]))

    def stationary(z):
        """The gradient of the Lagrangian and the constraints, at change, points and
        multipliers."""
        field = bind(held)
        moved, multipliers = z[:unknowns], z[unknowns:]

        def split(x):
            return constraints(field, start + x[:m], x[m:].reshape(k, n))

        values, pull = jax.vjp(split, moved)
        slope = jnp.where(jnp.arange(unknowns) < m, moved, 0) + pull(multipliers)[0]
        return jnp.concatenate([slope, values])

    size = jax.lax.stop_gradient(jnp.maximum(1, jnp.max(jnp.abs(points))))
    z = jnp.zeros(unknowns + k * (n + 1)).at[m:unknowns].set(points.reshape(-1))
    equations, constants = hoist(stationary, z)
    frozen, values, origin = jax.lax.stop_gradient((constants, held, start))
    field = bind(values)
    listed = jax.lax.stop_gradient(points)

    noise = AROUND * size * jr.normal(jr.key(0), (STARTS, k * n))
    guesses = jnp.tile(jax.lax.stop_gradient(z), (STARTS, 1))
    guesses = guesses.at[1:, m:unknowns].add(noise[1:])
    minima, converged, strict = jax.vmap(
        lambda guess: _minimise(lambda z: equations(frozen, z), guess, unknowns, m, size)
    )(guesses)

    places = minima[:, m:unknowns].reshape(STARTS, k, n)
    apart = jnp.linalg.norm(places[:, :, None] - places[:, None], axis=-1)
    merged = jnp.any(jnp.where(jnp.eye(k, dtype=bool), False, apart < 1e-6 * size), (1, 2))
    flat = real = jnp.zeros(STARTS, bool)
    if kind == "hopf":
        jacobians = jax.vmap(lambda d, h: jax.jacfwd(field)(h, origin + d))(
            minima[:, :m], places[:, 0]
        )
        (real, _), (flat, _) = jax.vmap(frequency)(jacobians)[1]
    arrives = _arrives(field, origin, listed, minima[:, :m], places, size)
    refused = ~converged | merged | real | flat | ~strict
    if k == 1:
        refused |= ~arrives
    lengths = jnp.linalg.norm(minima[:, :m], axis=1)
    rank = jnp.where(refused, jnp.inf, lengths)
    # Those that arrive come first, however far they are.
    preferred = jnp.where(arrives, rank, jnp.inf)
    rank = jnp.where(jnp.any(jnp.isfinite(preferred)), preferred, rank)
    best = jnp.argmin(rank)
    good = jnp.isfinite(rank[best])

    z = attach(equations, constants, minima[best], good)
    finite = jnp.all(jnp.isfinite(listed))
    for array in (*values, origin):
        finite &= jnp.all(jnp.isfinite(array))
    # The reason is that of the start which came furthest.
    result = choose(
        RESULTS,
        RESULTS.successful,
        (~finite, RESULTS.nonfinite),
        (good, RESULTS.successful),
        (~jnp.any(converged | merged), RESULTS.not_converged),
        (jnp.all(~converged | merged), RESULTS.merged),
        (jnp.all(~converged | merged | real), RESULTS.wrong_kind),
        (jnp.all(~converged | merged | real | flat | ~strict), RESULTS.degenerate),
        (~good, RESULTS.elsewhere),
    )
    good &= finite
    change, moved = z[:m], z[m:unknowns].reshape(k, n)
    return (
        jnp.where(good, start + change, jnp.nan),
        jnp.where(good, moved, jnp.nan),
        jnp.where(good, jnp.linalg.norm(jnp.where(good, change, 1)), jnp.nan),
        result,
    )


def _minimise(stationary, guess, unknowns, m, size):
    """A constrained minimum by Newton's method in the null space of the constraints.

    Across the constraints a step solves them; along them it goes down, whatever the sign of
    the curvature. Returned with whether it converged, and whether the minimum is strict.
    """
    weights = jnp.where(jnp.arange(unknowns) < m, 1.0, WEIGHT * size)
    count = guess.shape[0] - unknowns
    small = 1e-13 * size

    def system(z):
        matrix, value = jax.jacfwd(lambda z: (stationary(z),) * 2, has_aux=True)(z)
        slope = jnp.where(jnp.arange(unknowns) < m, z[:unknowns], 0) / weights
        curvature = matrix[:unknowns, :unknowns] / weights / weights[:, None]
        normals = matrix[unknowns:, :unknowns] / weights
        # Rows of one length: the tests are products, the increments are not.
        lengths = jnp.linalg.norm(normals, axis=1)
        lengths = jnp.where(lengths > 0, lengths, 1)
        u, s, vt = jnp.linalg.svd(normals / lengths[:, None])
        across, along = vt[:count].T, vt[count:].T
        return value, slope, curvature, lengths, (u, s, across, along)

    def step(state):
        taken, z, _, _ = state
        value, slope, curvature, lengths, (u, s, across, along) = system(z)
        inverse = s / (s * s + 1e-20 * s[0] ** 2)
        normal = -across @ (inverse * (u.T @ (value[unknowns:] / lengths)))
        bent, turn = jnp.linalg.eigh(along.T @ curvature @ along)
        down = turn.T @ (along.T @ (slope + curvature @ normal))
        largest = jnp.max(jnp.abs(bent), initial=1)
        scale = jnp.maximum(jnp.abs(bent), 1e-6 * largest)
        move = normal - along @ (turn @ (down / scale))
        multipliers = -(u @ (inverse * (across.T @ (slope + curvature @ move)))) / lengths
        move = move / weights
        long = jnp.max(jnp.abs(move))
        extent = jnp.maximum(size, jnp.max(jnp.abs(z[:unknowns])))
        part = jnp.minimum(1, LONGEST * extent / long)
        found = jnp.concatenate([z[:unknowns] + part * move, multipliers])
        fine = jnp.all(jnp.isfinite(found))
        found = jnp.where(fine, found, z)
        return taken + 1, found, jnp.where(fine, long, jnp.inf), jnp.min(bent, initial=1)

    def unsettled(state):
        taken, _, long, _ = state
        return (taken < STEPS) & (long > small)

    start = (0, guess, jnp.full((), 1e9), jnp.full((), -jnp.inf))
    _, z, long, bent = jax.lax.while_loop(unsettled, step, start)
    value = stationary(z)
    settled = (long <= 1e-9 * size) & (jnp.max(jnp.abs(value)) <= 1e-9 * size)
    return z, settled, bent > 1e-9


def _arrives(field, origin, listed, changes, places, size):
    """Whether every listed point that is an equilibrium, followed on the straight line
    from the given parameters to the changed ones, comes to where its bifurcation is."""
    # Towards a fold an equilibrium moves like the root of what is left of the way.
    ways = jnp.repeat(1 - (1 - jnp.linspace(0, 0.98, WAY)) ** 2, 3)

    def begin(point):
        root, there = newton(lambda x: field(x, origin), point)
        return root, there & (jnp.max(jnp.abs(root - point)) <= 0.1 * size)

    roots, there = jax.vmap(begin)(listed)

    def follow(root, change, place):
        def newton_step(x, way):
            both = lambda x: (field(x, origin + way * change),) * 2
            jacobian, value = jax.jacfwd(both, has_aux=True)(x)
            return x - solve(jacobian, value), None

        last, _ = jax.lax.scan(newton_step, root, ways)
        off = jnp.linalg.norm(last - place)
        return off <= 0.3 * jnp.linalg.norm(root - place) + 1e-3 * size

    reached = jax.vmap(jax.vmap(follow, (0, None, 0)), (None, 0, 0))(roots, changes, places)
    return jnp.all(reached | ~there, axis=1)
