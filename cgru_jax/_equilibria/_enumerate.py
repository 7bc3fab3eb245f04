"""Every equilibrium in a box, each proved to exist and to be the only one near."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from .._cells import AbstractCell
from .._errors import check_x64, concrete, real_array
from .._implicit import attach
from .._linalg import determinant, eigenvalues, solve
from .._program import hoist
from .._results import KINDS, RESULTS, choose
from .._systems import AbstractSystem
from . import _worklist
from ._base import Equilibria
from ._boxes import examine

NEWTON = 6  # steps from a quarter of the proved box: quadratic convergence needs four
PROOFS = 4  # attempts at a radius in which the refined zero is the only one


def enumerate_equilibria(
    system: AbstractSystem, *, box: tuple | None = None, capacity: int = 24
) -> Equilibria:
    r"""Every equilibrium in a box, with a proof.

    Branch and prune: a box is dropped when interval arithmetic shows that the field has no
    zero in it, and kept when Krawczyk's test shows that it has exactly one; otherwise it is
    split. Batch it with `eqx.filter_vmap` or `sweep`: the whole batch then shares one list
    of boxes, and no member waits for the slowest.

    **Arguments:**

    - `system`: a `Flow` or a `Map`, of up to three units or so; the work grows steeply with
      the dimension, and ends at a budget.
    - `box`: `(low, high)`, where to look, each of shape `(n,)` or a scalar that broadcasts
      against the other. May be left out for a cell, whose equilibria all lie in a known
      box.
    - `capacity`: how many equilibria there is room for.

    **Returns:** `Equilibria` in `capacity` slots, in no particular order. `complete` says
    that there are no others in the box. `index` is proved too. Points and eigenvalues carry
    derivatives of every order with respect to everything that `system` holds or its field
    closes over.

    **Fails:** what is listed is proved whatever `result` says, but `complete` is False with
    `undecided` (two equilibria too near to each other to tell, or a degenerate one),
    `budget`, `overflow`, `capacity`, and with `nonfinite`, where nothing is listed.
    `ValueError` in single precision, for a box that does not fit, and for a field with an
    operation that has no interval rule, which it names.

    **Source:** R. Krawczyk's test on the mean-value form (textbook interval analysis); the
    shared list of boxes is derived here.
    """
    if not isinstance(capacity, int) or capacity < 1:
        raise ValueError(
            f"enumerate_equilibria: capacity must be a whole number ≥ 1, got {capacity!r}."
        )
    programs, arrays, low, high = _posed(system, box)
    return _enumerate(programs, type(system), capacity, arrays, low, high)


def search_report(system, *, box=None, capacity: int = 24) -> _worklist.Found:
    """What the search itself knows of one member: undecided boxes, boxes examined."""
    programs, arrays, low, high = _posed(system, box)
    return _search(programs, type(system), capacity, arrays, low, high)


def _posed(system, box):
    """The question as programs and arrays."""
    low, high, equation, lift = _question(system, box)
    size = low.shape[0]
    state = jax.eval_shape(lift, low) if lift else low
    given = jax.eval_shape(system.residual, state)
    if getattr(given, "shape", None) != state.shape:
        raise ValueError(
            f"enumerate_equilibria: the field maps a state of shape {state.shape} to "
            f"{given}; a field returns an array of the shape of its state. The box has "
            f"{size} coordinates."
        )
    parts = [hoist(equation, low)]
    if lift:
        parts += [hoist(lift, low), hoist(system.residual, jnp.zeros(state.shape))]
    return *_gathered(parts), low, high


def _question(system, box):
    """The box, the equation to solve in it, and how to get from its unknowns to a state."""
    field = system.field
    if box is None:
        known = field.box() if isinstance(field, AbstractCell) else None
        if known is None:
            raise ValueError(
                "enumerate_equilibria: box can be left out for a cell of this package only; "
                "give box=(low, high), two arrays of shape (n,)."
            )
        check_x64("enumerate_equilibria", known[0].dtype)
        return *known, field.reduced, None if field.size == field.units else field.lift
    if not isinstance(box, tuple | list) or len(box) != 2:
        raise ValueError("enumerate_equilibria: box must be a pair (low, high).")
    low, high = (
        real_array("enumerate_equilibria", f"box[{i}]", end) for i, end in enumerate(box)
    )
    check_x64("enumerate_equilibria", jnp.zeros(()).dtype)
    size = getattr(field, "size", None)
    shape = jnp.broadcast_shapes(low.shape, high.shape) if low.ndim + high.ndim else ()
    if shape == () and size is not None:
        shape = (size,)
    if len(shape) != 1 or shape[0] == 0 or size not in (None, shape[0]):
        what = "(n,)" if size is None else f"({size},)"
        raise ValueError(
            f"enumerate_equilibria: box has ends of shape {low.shape} and {high.shape}; "
            f"both must have the shape {what} of the state."
        )
    low, high = (jnp.broadcast_to(x, shape).astype(float) for x in (low, high))
    if concrete(low) and concrete(high) and not bool(jnp.all(low < high)):
        raise ValueError(
            f"enumerate_equilibria: box is empty: low {low} must be below high {high} in "
            "every coordinate."
        )
    return low, high, system.residual, None


class _Programs(eqx.Module):
    """What to solve, how to read the answer, and which arrays each of them uses."""

    programs: tuple = eqx.field(static=True)
    uses: tuple = eqx.field(static=True)

    def _call(self, which, arrays, x):
        return self.programs[which]([arrays[i] for i in self.uses[which]], x)

    def equation(self, arrays, x):
        return self._call(0, arrays, x)

    def lift(self, arrays, x):
        return self._call(1, arrays, x) if len(self.programs) > 1 else x

    def residual(self, arrays, state):
        return self._call(-1, arrays, state)


def _gathered(parts):
    """Programs that share a list of arrays, in which none comes twice."""
    arrays, uses = [], []
    for _, own in parts:
        places = []
        for array in own:
            place = next((i for i, other in enumerate(arrays) if other is array), None)
            if place is None:
                place = len(arrays)
                arrays.append(array)
            places.append(place)
        uses.append(tuple(places))
    return _Programs(tuple(program for program, _ in parts), tuple(uses)), arrays


@eqx.filter_jit
def _search(programs, reading, capacity, arrays, low, high):
    arrays, low, high = jax.lax.stop_gradient((arrays, low, high))
    prove = _prover(programs, reading, capacity, [(a.shape, a.dtype) for a in arrays])
    found = prove(_raveled(arrays)[None], low[None], high[None])
    return jax.tree.map(lambda x: x[0], found)


@eqx.filter_jit
def _enumerate(programs, reading, capacity, arrays, low, high):
    found = _search(programs, reading, capacity, arrays, low, high)
    n, size = low.shape[0], programs.lift(arrays, low).shape[0]
    finite = jnp.all(jnp.isfinite(low)) & jnp.all(jnp.isfinite(high)) & jnp.all(low < high)
    for array in arrays:
        finite &= jnp.all(jnp.isfinite(array))
    valid = jnp.arange(capacity) < found.count
    roots, facts = found.rows[:, :n], found.rows[:, n + 2 :]

    def finish(root, fact, used):
        # Derivatives of an unused slot stop here, where a NaN cannot reach the others.
        mine = [jnp.where(used, a, jax.lax.stop_gradient(a)) for a in arrays]
        program = programs.programs[0]
        root = jnp.where(used, root, jax.lax.stop_gradient(low))
        root = attach(program, [mine[i] for i in programs.uses[0]], root)
        point = programs.lift(mine, root)
        values = jax.lax.complex(fact[3 : 3 + size], fact[3 + size :])
        kind = choose(
            KINDS,
            KINDS.unknown,
            *((fact[2] == code, kind) for code, kind in enumerate(_SIMPLE)),
        )
        return point, _spectrum(programs, mine, point, values), kind

    points, values, kind = jax.vmap(finish)(roots, facts, valid)
    return Equilibria(
        points=jnp.where(valid[:, None], points, jnp.nan),
        eigenvalues=jnp.where(valid[:, None], values, jnp.nan),
        kind=kind,
        index=jnp.where(valid, facts[:, 0], jnp.nan),
        residual=jnp.where(valid, facts[:, 1], jnp.nan),
        valid=valid,
        complete=finite & (found.trouble == 0),
        result=choose(
            RESULTS,
            RESULTS.successful,
            (~finite, RESULTS.nonfinite),
            (found.trouble == _worklist.CAPACITY, RESULTS.capacity),
            (found.trouble == _worklist.OVERFLOW, RESULTS.overflow),
            (found.trouble == _worklist.BUDGET, RESULTS.budget),
            (found.trouble == _worklist.UNDECIDED, RESULTS.undecided),
        ),
    )


_SIMPLE = (KINDS.unknown, KINDS.sink, KINDS.source, KINDS.saddle, KINDS.hopf, KINDS.degenerate)


def _prover(programs, reading, capacity, shapes):
    """The search over a batch, `(N, K), (N, n), (N, n)` to `Found`; any further axis that a
    `vmap` brings is merged into the first one, so that one list serves them all."""

    def unravel(columns, view):
        arrays, start = [], 0
        for shape, dtype in shapes:
            size = math.prod(shape)
            arrays.append(view(columns[start : start + size], shape, dtype))
            start += size
        return arrays

    program, used = programs.programs[0], programs.uses[0]

    def split(columns):
        def view(part, shape, _):
            pool = np.empty(part.shape[0], object)
            for i in range(len(pool)):  # at once, NumPy would look inside the tracers
                pool[i] = part[i]
            return pool.reshape(shape)

        pools = unravel(columns, view)
        return [pools[i] for i in used]

    def refine(row, lowest, highest):
        arrays = unravel(row, lambda part, shape, dtype: part.reshape(shape).astype(dtype))
        return _refine(programs, reading, split(row), arrays, lowest, highest)

    @jax.custom_batching.custom_vmap
    def prove(parameters, low, high):
        n = low.shape[1]
        size = jax.eval_shape(
            lambda p, x: programs.lift(
                unravel(p, lambda part, shape, dtype: part.reshape(shape)), x
            ),
            parameters[0],
            low[0],
        ).shape[0]
        return _worklist.search(
            program, split, refine, n + 5 + 2 * size, capacity, _budget(n), parameters,
            low, high,
        )  # fmt: skip

    @prove.def_vmap
    def _(size, batched, *operands):
        merged = [
            x if b else jnp.broadcast_to(x, (size, *x.shape))
            for x, b in zip(operands, batched, strict=True)
        ]
        found = prove(*(x.reshape(-1, x.shape[-1]) for x in merged))
        shape = (size, merged[0].shape[1])
        found = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), found)
        return found, jax.tree.map(lambda _: True, found)

    return prove


def _budget(n):
    """Boxes per member: three times what the hardest of 60,000 two-unit networks took."""
    return 4_096 if n <= 2 else 65_536


def _refine(programs, reading, constants, arrays, lowest, highest):
    """A zero to round-off, the proof that it is one, and what is to be known about it."""
    n = lowest.shape[0]
    scale = jnp.maximum(1.0, jnp.maximum(jnp.max(jnp.abs(lowest)), jnp.max(jnp.abs(highest))))

    def newton(_, x):
        def field(y):
            return programs.equation(arrays, y)

        step = solve(jax.jacfwd(field)(x), field(x))
        x = jnp.where(jnp.isfinite(step), x - step, x)
        return jnp.clip(x, lowest, highest)

    point = jax.lax.fori_loop(0, NEWTON, newton, (lowest + highest) / 2)

    def prove(state):
        attempt, _, radius, _, _ = state
        ends = [[point[j] - radius for j in range(n)], [point[j] + radius for j in range(n)]]
        v = examine(programs.programs[0], constants, *ends)
        near = functools.reduce(
            jnp.maximum,
            [jnp.abs(c - p) + s for c, p, s in zip(v.centre, point, v.spread, strict=True)],
        )
        return attempt + 1, v.unique, radius, near * (1 + 1e-9), v.sign

    def widen(state):
        attempt, unique, radius, near, sign = state
        return prove((attempt, unique, 3 * near, near, sign))

    def open_(state):
        attempt, unique, _, near, _ = state
        return ~unique & (attempt < PROOFS) & jnp.isfinite(near)

    first = prove((0, jnp.zeros((), bool), 1e-12 * scale, scale, scale))
    _, unique, radius, near, sign = jax.lax.while_loop(open_, widen, first)
    near = jnp.where(unique, near, jnp.inf)

    state = programs.lift(arrays, point)
    system = reading(functools.partial(programs.residual, arrays))
    jacobian = system.jacobian(state)
    values = eigenvalues(jacobian)
    index = (-1) ** n * sign
    residual = jnp.max(jnp.abs(system.residual(state)))
    kind = _kind(system, jacobian, values, index)
    facts = [radius, near, index, residual, kind.astype(point.dtype)]
    return jnp.concatenate([point, jnp.stack(facts), values.real, values.imag])


def _kind(system, jacobian, values, index):
    """The place in `_SIMPLE` of an equilibrium with a proved index."""
    growth = system.growth(values)
    on_axis = jnp.abs(growth) <= 1e3 * jnp.finfo(growth.dtype).eps * jnp.abs(values)
    code = jnp.where(jnp.all(growth < 0), 1, jnp.where(jnp.all(growth > 0), 2, 3))
    code = jnp.where(jnp.any(on_axis), 5, code)
    code = jnp.where(jnp.any(on_axis & (values.imag != 0)), 4, code)
    # Eigenvalues that contradict the proved index have lost the digit that decides.
    rounded = (-1) ** jacobian.shape[0] * jnp.sign(determinant(jacobian))
    return jnp.where((rounded == index) & jnp.all(jnp.isfinite(jacobian)), code, 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _spectrum(programs, arrays, point, values):
    """Eigenvalues that are known already, with the derivatives that they have."""
    return values


@_spectrum.defjvp
def _spectrum_jvp(programs, primals, tangents):
    arrays, point, values = primals

    def compute(arrays, point):
        return eigenvalues(jax.jacfwd(lambda x: programs.residual(arrays, x))(point))

    _, moved = jax.jvp(compute, (arrays, point), tangents[:2])
    return _spectrum(programs, arrays, point, values), moved


def _raveled(arrays):
    parts = [jnp.ravel(a).astype(float) for a in arrays]
    return jnp.concatenate(parts) if parts else jnp.zeros(0)

