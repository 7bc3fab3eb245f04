"""The search for one question asked of a whole batch: refined zeros and what they are."""

import functools
import math

import equinox as eqx
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from .. import _interval
from .._linalg import determinant, eigenvalues, solve
from .._results import KINDS
from .._stability import simple_kind
from . import _worklist
from ._boxes import distance, proof_size, read_proof
from ._degenerate import find_candidates, is_line, name_cluster
from ._degree import index_of_cluster
from ._worklist import Found

NEWTON = 6  # steps from half of the proved box: quadratic convergence needs five
CORRECTIONS = 40  # more steps where it did not arrive, each worth a factor or four
FACTS = 7  # numbers in a row between the root and the eigenvalues (`_row`)


class Question(eqx.Module):
    """Which equation to solve, how to read its roots, and which arrays each program uses.

    Three programs, of a root each: the equation, the state that belongs to the root, the
    increment at a state. The equation's arrays come first, and none comes twice.
    `inward`: whether the equation points inwards on the boundary of the box, so that the
    indices in it sum to one (Poincaré–Hopf).
    """

    programs: tuple = eqx.field(static=True)
    uses: tuple = eqx.field(static=True)
    inward: bool = eqx.field(static=True)

    def equation(self, arrays):
        return self._bound(0, arrays)

    def lift(self, arrays):
        return self._bound(1, arrays)

    def increment(self, arrays):
        return self._bound(2, arrays)

    def _bound(self, which, arrays):
        program, uses = self.programs[which], self.uses[which]
        return functools.partial(program, [arrays[i] for i in uses])


def ask(parts, inward) -> tuple[Question, list]:
    """A question from three hoisted pairs, and its arrays."""
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
    return Question(tuple(program for program, _ in parts), tuple(uses), inward), arrays


class Facts(eqx.Module):
    """What is known of a zero, read off a row of `Found`."""

    root: jax.Array
    index: jax.Array
    residual: jax.Array
    kind: KINDS
    multiplicity: jax.Array
    coefficient: jax.Array
    eigenvalues: jax.Array


def read(row, size) -> Facts:
    """The facts of one zero; `size` is the dimension of the state."""
    n = row.shape[0] - FACTS - 2 * size
    index, residual, kind, multiplicity, coefficient = row[n + 2 : n + FACTS]
    real, imaginary = jnp.split(row[n + FACTS :], 2)
    place = jnp.where(jnp.isnan(kind), 0, kind).astype(jnp.int32)
    return Facts(
        row[:n],
        index,
        residual,
        eqx.tree_at(lambda item: item._value, KINDS.unknown, place),
        multiplicity,
        coefficient,
        jax.lax.complex(real, imaginary),
    )


def _row(root, facts, values):
    """One equilibrium as a row: the root; the radius within which it is the only one; the
    radius within which it surely lies, infinite without a proof; index, residual, kind,
    multiplicity, coefficient; the eigenvalues."""
    facts = [jnp.asarray(fact, root.dtype) for fact in facts]
    return jnp.concatenate([root, jnp.stack(facts), values.real, values.imag])


@eqx.filter_jit
def prove(question, reading, capacity, arrays, low, high) -> Found:
    """`_worklist.search` for one member; a `vmap` of it is one search over the batch.

    **Arguments:**

    - `question`, `arrays`: from `ask`.
    - `reading`: `Flow` or `Map`, for the kinds.
    - `low`, `high`: shape `(n,)`.

    **Returns:** `Found` of one member. Nothing here has a derivative.
    """
    arrays, low, high = jax.lax.stop_gradient((arrays, low, high))
    n = low.shape[0]
    size = jax.eval_shape(question.lift(arrays), low).shape[0]
    shapes = [(a.shape, a.dtype) for a in arrays]
    needed = sum(math.prod(shape) for shape, _ in shapes[: len(set(question.uses[0]))])
    program, uses = question.programs[0], question.uses[0]

    def constants(columns):
        """The scalars of the equation's arrays, from columns over a block of boxes."""
        pools, start = [], 0
        for shape, _ in shapes[: len(set(uses))]:
            pool = np.empty(math.prod(shape), object)
            for i in range(pool.size):  # at once, NumPy would look inside the tracers
                pool[i] = columns[start + i]
            pools.append(pool.reshape(shape))
            start += pool.size
        return [pools[i] for i in uses]

    def unravel(row):
        mine, start = [], 0
        for shape, dtype in shapes:
            end = start + math.prod(shape)
            mine.append(row[start:end].reshape(shape).astype(dtype))
            start = end
        return mine

    def refine(row, *where):
        return _refine(question, reading, unravel(row), constants(row), *where)

    def name(row, *where):
        return _name(question, reading, unravel(row), constants(row), *where)

    flat = [jnp.ravel(a).astype(low.dtype) for a in arrays]
    row = jnp.concatenate(flat) if flat else jnp.zeros(0, low.dtype)
    width = n + FACTS + 2 * size
    # `custom_vmap` traces its function for one member and then again for the batch. What is
    # done to one zero is traced here, once; nothing in it comes from outside.
    like = functools.partial(jax.ShapeDtypeStruct, dtype=low.dtype)
    hulls, rows = like((_worklist.CLUSTERS, 2 * n)), like((capacity, width))
    refine = jax.make_jaxpr(refine)(row, low, high, like((proof_size(n),)))
    name = jax.make_jaxpr(name)(row, like((2 * n,)), hulls, rows, low, high)
    refine, name = map(jax.extend.core.jaxpr_as_fun, (refine, name))

    # custom_vmap has one rule for every vmap: merge the new axis into the members.
    @jax.custom_batching.custom_vmap
    def search(parameters, low, high):
        found = _worklist.search(
            program, constants, needed, refine, width, capacity, _budget(n),
            parameters, low, high,
        )  # fmt: skip
        found = _worklist.name_clusters(found, name, parameters, low, high)
        return _worklist.in_order(found, low, high)

    @search.def_vmap
    def _(batch, batched, *operands):
        operands = [
            x if b else jnp.broadcast_to(x, (batch, *x.shape))
            for x, b in zip(operands, batched, strict=True)
        ]
        if not batch:
            one = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in operands]
            none = lambda x: jnp.zeros((0, *x.shape), x.dtype)
            found = jax.tree.map(none, jax.eval_shape(search, *one))
            return found, jax.tree.map(lambda _: True, found)
        members = operands[0].shape[1]
        found = search(*(x.reshape(batch * members, x.shape[-1]) for x in operands))
        found = jax.tree.map(lambda x: x.reshape(batch, members, *x.shape[1:]), found)
        return found, jax.tree.map(lambda _: True, found)

    return jax.tree.map(lambda x: x[0], search(row[None], low[None], high[None]))


def _budget(n):
    """Boxes per member: ten times what the hardest of 60,000 two-unit networks took."""
    return 4_096 if n <= 2 else 65_536


def _refine(question, reading, arrays, constants, lowest, highest, proof):
    """A zero to round-off, how far it may be off, and what is to be known about it."""
    n = lowest.shape[0]
    *matrices, sign = read_proof(list(proof), n)
    equation = question.equation(arrays)
    scale = jnp.maximum(1.0, jnp.max(jnp.abs(jnp.concatenate([lowest, highest]))))

    def newton(_, x):
        step = solve(jax.jacfwd(equation)(x), equation(x))
        return jnp.clip(jnp.where(jnp.isfinite(step), x - step, x), lowest, highest)

    point = jax.lax.fori_loop(0, NEWTON, newton, (lowest + highest) / 2)

    # The enclosure sees no positive factors of the equation, which may have kept Newton's
    # method from arriving, and may be zero elsewhere: its own steps do the rest. Numbers
    # apart: in a vmap XLA would compute all of it again for each entry of an array.
    def correct(state):
        tries, point, step, _, _ = state
        point = [
            jnp.clip(x - s, a, b)
            for x, s, a, b in zip(point, step, lowest, highest, strict=True)
        ]
        program = question.programs[0]
        return tries + 1, point, *distance(program, constants, point, *matrices)

    def open_(state):
        tries, _, step, noise, _ = state
        off = jnp.zeros((), bool)
        for s, d in zip(step, noise, strict=True):
            off |= jnp.abs(s) > 2 * d + 4 * jnp.finfo(scale.dtype).eps * scale
        return (tries == 0) | (off & (tries < CORRECTIONS))

    none = [jnp.zeros_like(scale)] * n
    start = (0, list(point), none, none, none)
    _, point, _, _, near = jax.lax.while_loop(open_, correct, start)
    point, near = jnp.stack(point), jnp.max(jnp.stack(near)) * (1 + 1e-9)
    alone = jnp.min(jnp.minimum(point - lowest, highest - point)) * (1 - 1e-9)
    state = question.lift(arrays)(point)
    system = reading(question.increment(arrays))
    jacobian = system.jacobian(state)
    values = eigenvalues(jacobian)
    index = (-1) ** n * sign
    residual = jnp.max(jnp.abs(system.residual(state)))
    # Eigenvalues that contradict the proved index have lost the digit that decides.
    rounded = (-1) ** jacobian.shape[0] * jnp.sign(determinant(jacobian))
    plain = simple_kind(system, jacobian, values)
    kind = KINDS.where(rounded == index, plain, KINDS.unknown)
    # A positive factor that the enclosure left out may not be defined here.
    sound = (alone > 0) & ~jnp.isnan(near) & jnp.isfinite(residual)
    facts = [
        alone,
        jnp.where(sound, near, jnp.inf),
        index,
        residual,
        kind._value,
        1.0,
        jnp.nan,
    ]
    return _row(point, facts, values)


def _name(question, reading, arrays, constants, hull, others, rows, lowest, highest):
    """What a cluster of undecided boxes is: a row, with NaN for the index where it is not
    understood, and whether it is a line of equilibria."""
    n = lowest.shape[0]
    equation, system = question.equation(arrays), reading(question.increment(arrays))

    def field(centre, radii):
        return _interval.enclose(question.programs[0], constants, centre, radii)

    candidates = find_candidates(equation, hull)
    near = rows[:, n + 1 : n + 2]
    taken = jnp.concatenate([rows[:, :n] - near, rows[:, :n] + near], axis=1)
    index, radius, change = index_of_cluster(
        field, hull, candidates.points, taken, rows[:, n + 2], others, lowest, highest
    )
    if question.inward:
        # The only cluster has the index that the proved equilibria leave for it.
        only = jnp.all(jnp.isnan(others)) & jnp.isnan(index)
        known = jnp.sum(jnp.where(jnp.isnan(rows[:, 0]), 0, rows[:, n + 2]))
        index = jnp.where(only, 1 - known, index)
    lift = question.lift(arrays)
    fine = _worklist.FINE * jnp.max(highest - lowest)
    found = name_cluster(equation, lift, system, hull, candidates, change, fine)
    state = lift(found.root)
    # A proved zero inside of the hull, or so near that it is one of those into which the
    # point unfolds, or an index that a point of this multiplicity cannot have: the cluster
    # holds another thing than that point.
    begin = jnp.minimum(hull[:n], found.root - found.reach)
    end = jnp.maximum(hull[n:], found.root + found.reach)
    apart = jnp.any((taken[:, :n] > end) | (taken[:, n:] < begin), axis=1)
    alone = jnp.all(apart | jnp.isnan(taken[:, 0]))
    m = found.multiplicity
    fits = jnp.isnan(m) | (((index - m) % 2 == 0) & (jnp.abs(index) < m))
    facts = [
        radius,
        radius,
        jnp.where(found.named & alone & fits, index, jnp.nan),
        jnp.max(jnp.abs(system.residual(state))),
        found.kind._value,
        found.multiplicity,
        found.coefficient,
    ]
    row = _row(found.root, facts, eigenvalues(system.jacobian(state)))
    return row, is_line(equation, hull)
