"""Equilibria by Newton's method from many starts: any size, nothing proved."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike, Float

from .. import _scalars
from .._cells import AbstractCell
from .._errors import check_whole, real_array
from .._linalg import CLOSED_FORM_SIZE, scalar_adjugate, scalar_determinant, scalar_solve
from .._program import hoist
from .._results import RESULTS, choose
from .._systems import AbstractSystem, check_system
from ._base import Equilibria
from ._describe import describe

# Steps of an eighth of the box from any start to near a root (in many dimensions the way is
# longer); then a few for every distinct candidate; then many for a stubborn one: a double
# root only halves the distance each time.
APPROACH, LONG_APPROACH, POLISH, PATIENCE = 14, 60, 6, 40


def find_equilibria(
    system: AbstractSystem, starts: ArrayLike | None = None, *, capacity: int = 64
) -> Equilibria:
    """Equilibria that Newton's method reaches from the given starts.

    **Arguments:**

    - `system`: a `Flow` or a `Map`.
    - `starts`: shape `(s, n)`. May be left out for a cell: a grid over the box that its
      equilibria lie in for one or two units, states along trajectories for more. A cell is
      searched in `reduced` coordinates: of an LSTM's start only h matters.
    - `capacity`: how many equilibria there is room for.

    **Returns:** `Equilibria` in `capacity` slots, in no particular order. The points carry
    derivatives of every order with respect to everything that `system` holds or its field
    closes over. `complete` is always False: nothing is proved; see `enumerate_equilibria`.

    **Fails:** `result` is `nonfinite` (a parameter or a start is NaN or infinite; no
    equilibria), `capacity` (there are more), `missed` (the indices of a cell's equilibria
    do not sum to one; that they do proves nothing), or `singular` (an equilibrium is
    degenerate: its place stands, its derivative is NaN). `ValueError` for starts of a
    wrong shape, and for a field that does not return the shape of its state.

    **Source:** derived here; step lengths are bounded by an eighth of the extent of the
    starts, which keeps Newton's method from leaping between basins.
    """
    check_system("find_equilibria", system)
    starts = _default_starts(system) if starts is None else starts
    starts = real_array("find_equilibria", "starts", starts)
    starts = starts.astype(jnp.result_type(starts, float))
    if starts.ndim != 2 or 0 in starts.shape:
        raise ValueError(
            f"find_equilibria: starts must have shape (s, n) with s, n ≥ 1, got "
            f"{starts.shape}; one start is starts[None]."
        )
    size = getattr(system.field, "size", starts.shape[1])
    if size != starts.shape[1]:
        raise ValueError(
            f"find_equilibria: starts of shape {starts.shape} do not fit a system of "
            f"dimension {size}."
        )
    check_whole("find_equilibria", "capacity", capacity, 1)
    given = jax.eval_shape(system.field, jax.ShapeDtypeStruct((size,), starts.dtype))
    if getattr(given, "shape", None) != (size,):
        raise ValueError(
            f"find_equilibria: the field maps a state of shape ({size},) to {given}; a "
            "field returns an array of the shape of its state."
        )
    cell = system.field if isinstance(system.field, AbstractCell) else None
    equation, lift = (cell.reduced, cell.lift) if cell else (system.residual, jnp.asarray)
    # A reduced equation has the first coordinates of the state for its unknowns.
    starts = starts[:, : cell.units if cell else None]
    parts = [hoist(f, starts[0]) for f in (equation, lift)]
    parts.append(hoist(system.residual, jnp.zeros(size, starts.dtype)))
    programs, arrays = zip(*parts, strict=True)
    inward = cell is not None and cell.box() is not None
    return _find(programs, type(system), inward, capacity, arrays, starts)


def grid(n: int, per_axis: int) -> Float[Array, "s n"]:
    """Starts that cover the box [−1, 1]^n evenly.

    **Returns:** shape `(per_axis ** n, n)`: the centres of the cells of a regular grid.

    **Raises:** `ValueError` if `n` or `per_axis` is not a positive whole number.
    """
    for name, value in (("n", n), ("per_axis", per_axis)):
        check_whole("grid", name, value, 1)
    axis = (2 * jnp.arange(per_axis) + 1) / per_axis - 1
    return jnp.stack(jnp.meshgrid(*[axis] * n, indexing="ij"), -1).reshape(-1, n)


def _default_starts(system):
    cell = system.field
    if not isinstance(cell, AbstractCell):
        raise ValueError(
            "find_equilibria: starts can be left out for a cell only; for a field of your "
            "own give an array of shape (s, n)."
        )
    if cell.units > 2:
        return _along_trajectories(cell)
    starts = grid(cell.units, 64 if cell.units == 1 else 12)
    return jax.vmap(cell.lift)(starts)


def _along_trajectories(cell, trajectories=64, moments=4, spacing=8):
    """States that the network visits: Newton's method seldom converges from others."""
    begin, noise = jr.split(jr.key(0))
    states = jr.uniform(begin, (trajectories, cell.size), minval=-1, maxval=1)
    rows = []
    for _ in range(moments):
        rows.append(states)
        for _ in range(spacing):
            states = states + jax.vmap(cell)(states)
    visited = jnp.concatenate(rows)
    return visited + 0.05 * jr.normal(noise, visited.shape)


@eqx.filter_jit
def _find(programs, reading, inward, capacity, arrays, starts):
    frozen = jax.lax.stop_gradient(arrays)
    approach, settle = _newton(programs[0], frozen[0], jax.lax.stop_gradient(starts))
    near, reach, converging = jax.vmap(approach)(starts)
    first = _distinct(near, reach)
    # Degenerate roots and mere slow points look alike from here. They get slots of their
    # own, lest a valley full of them crowds out the plain roots.
    plain = _select(near, first & converging, min(capacity, len(starts)))
    crowded = jnp.sum(first & converging) > capacity
    others = _select(near, first & ~converging, min(capacity, len(starts)))
    roots, reach = _settle_all(settle, jnp.concatenate([plain, others]))
    first = _distinct(roots, reach)
    found = jnp.sum(first)

    finite = jnp.all(jnp.isfinite(starts))
    for array in jax.tree.leaves(frozen):
        finite &= jnp.all(jnp.isfinite(array))
    points = _select(roots, first, capacity)
    valid = finite & jnp.isfinite(points[:, 0])
    question = list(zip(programs, arrays, strict=True))
    equilibria, singular = describe(question, reading, points, valid)
    result = choose(
        RESULTS,
        RESULTS.successful,
        (~finite, RESULTS.nonfinite),
        (crowded | (found > capacity), RESULTS.capacity),
        (found == 0, RESULTS.not_converged),
        # A cell's field points into its box, so the indices of all equilibria sum to one.
        (inward & (jnp.abs(equilibria.index_sum - 1) > 0), RESULTS.missed),
        (jnp.any(singular), RESULTS.singular),
    )
    return eqx.tree_at(lambda e: e.result, equilibria, result)


def _newton(program, arrays, starts):
    """Two functions of one point: `approach(point)` and `settle(point, steps)`.

    Each returns a point, shape `(n,)`, and how far from it the root may lie, shape `()`:
    infinite if the point is not near one (`approach`), or not converged (`settle`).
    `approach` also says whether the last step was that of a plain root, `settle` how far
    the root may lie even so. The scales of state and field are read off the starts.
    """
    n = starts.shape[1]
    scalar = n <= CLOSED_FORM_SIZE and _scalars.worthwhile(program)
    linear = functools.partial(
        _linearise_scalars if scalar else _linearise, program, arrays
    )
    extent = jnp.max(starts, axis=0) - jnp.min(starts, axis=0)
    longest = jnp.where(extent > 0, extent, jnp.maximum(1, jnp.abs(starts[0]))) / 8
    limits = tuple(longest[i] for i in range(n)) if scalar else longest
    steps_to_a_root = APPROACH if n <= CLOSED_FORM_SIZE else LONG_APPROACH
    room = _norm(limits)
    coarse = room / 64  # degenerate roots this close together may be taken for one
    field = jnp.abs(jax.vmap(lambda x: program(arrays, x))(starts))
    # A start at which the field is not defined says nothing about the others.
    strength = jnp.max(jnp.where(jnp.isfinite(field), field, 0))
    noise = 16 * jnp.finfo(starts.dtype).eps * strength  # what rounding hides

    def advance(x, move):
        stretch = _norm(jax.tree.map(lambda m, limit: m / limit, move, limits))
        scale = 1 / jnp.maximum(1, stretch)
        # Where the Jacobian is exactly singular there is no step: move on a little.
        sound = jnp.isfinite(stretch)
        return jax.tree.map(
            lambda a, m, limit: a + jnp.where(sound, scale * m, limit / 8), x, move, limits
        )

    def measure(x):
        # At a root of multiplicity m the distance left is m Newton steps.
        value, move, inverse = linear(x)
        inverse = jnp.where(jnp.isnan(inverse), jnp.inf, inverse)  # 0/0: a zero Jacobian
        size = _norm(value)
        return size, _norm(move), 4 * inverse * (size + noise / 8) + 1e-9 * room

    def unpack(point):
        return tuple(point[i] for i in range(n)) if scalar else point

    def pack(x):
        return jnp.stack(x) if scalar else x

    def approach(point):
        def step(_, x):
            return advance(x, linear(x)[1])

        x = jax.lax.fori_loop(0, steps_to_a_root, step, unpack(point))
        size, move, reach = measure(x)
        near = (size <= 1e-2 * strength) & (move <= room)
        converging = reach < 1e-4 * room
        return pack(x), jnp.where(near, jnp.minimum(reach, coarse), jnp.inf), converging

    def settle(point, steps):
        # At a degenerate root the last steps are noise divided by noise: keep the best.
        def step(_, state):
            x, best, least = state
            value, move, _ = linear(x)
            size = _norm(value)
            better = size < least
            best = jax.tree.map(lambda a, b: jnp.where(better, a, b), x, best)
            return advance(x, move), best, jnp.where(better, size, least)

        x = unpack(point)
        state = (x, x, jnp.full((), jnp.inf, starts.dtype))
        best = jax.lax.fori_loop(0, steps, step, state)[1]
        size, move, reach = measure(best)
        close = (size <= 1e-6 * strength) & (move <= 1e-9 * room)
        rough, reach = reach, jnp.minimum(reach, 1e-4 * room)
        settled = close | (size <= noise)
        return pack(best), jnp.where(settled, reach, jnp.inf), jnp.minimum(rough, coarse)

    return approach, settle


def _settle_all(settle, points):
    """Settle every point: a few steps for all, then many for each that needs them.

    One pass of the loop serves one point of every member of a batch, so that a batch in
    which all converge at once pays for nothing else.
    """
    points, reach, rough = jax.vmap(lambda point: settle(point, POLISH))(points)
    alone = _distinct(points, rough)

    def stubborn(state):
        points, reach, waiting = state
        slot = jnp.argmax(waiting)
        point, close, _ = settle(points[slot], PATIENCE)
        return (
            points.at[slot].set(point),
            reach.at[slot].set(close),
            waiting.at[slot].set(False),
        )

    state = (points, reach, alone & ~jnp.isfinite(reach))
    return jax.lax.while_loop(lambda state: jnp.any(state[2]), stubborn, state)[:2]


def _linearise_scalars(program, arrays, x):
    """Value, Newton step and size of the inverse Jacobian at a point of scalars."""
    n = len(x)

    def field(*scalars):
        return tuple(_scalars.evaluate(program, arrays, list(scalars)))

    columns = []
    for j in range(n):
        basis = tuple(jnp.full((), float(i == j), x[j].dtype) for i in range(n))
        value, column = jax.jvp(field, x, basis)
        columns.append(column)
    rows = [[columns[j][i] for j in range(n)] for i in range(n)]
    move = tuple(-m for m in scalar_solve(rows, value))
    adjugate = _norm(tuple(entry for row in scalar_adjugate(rows) for entry in row))
    return value, move, n * adjugate / jnp.abs(scalar_determinant(rows))


def _linearise(program, arrays, x):
    """The same at a point that is an array, for more dimensions."""
    value = program(arrays, x)
    jacobian = jax.jacfwd(lambda y: program(arrays, y))(x)
    right = jnp.stack([value, jnp.ones_like(value)], axis=-1)
    solved = jnp.linalg.solve(jacobian, right)
    # One more right-hand side estimates the inverse; its norm itself would cost n of them.
    return value, -solved[:, 0], jnp.max(jnp.abs(solved[:, 1]))


def _norm(tree):
    return functools.reduce(
        jnp.maximum, [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]
    )


def _distinct(roots, reach):
    """The best of every group of paths that ended at the same root, shape `(s,)`."""
    s = roots.shape[0]
    apart = functools.reduce(
        jnp.maximum, [jnp.abs(x[:, None] - x[None, :]) for x in roots.T]
    )
    same = apart <= reach[:, None] + reach[None, :]
    order = jnp.arange(s)
    earlier = (reach[None, :] < reach[:, None]) | (
        (reach[None, :] == reach[:, None]) & (order[None, :] < order[:, None])
    )
    # Asked of the roots too: a maximum over NaN is not always NaN on a CPU.
    converged = jnp.isfinite(reach) & jnp.all(jnp.isfinite(roots), axis=1)
    beaten = jnp.any(same & earlier & converged[None, :], axis=1)
    return converged & ~beaten


def _select(points, chosen, slots):
    """The chosen points in the first of `slots` rows, NaN in the others."""
    rows = jnp.nonzero(chosen, size=slots, fill_value=0)[0]
    used = jnp.arange(slots) < jnp.sum(chosen)
    return jnp.where(used[:, None], points[rows], jnp.nan)
