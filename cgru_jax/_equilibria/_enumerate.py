"""Every equilibrium in a box, each proved to exist and to be the only one near."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._cells import AbstractCell
from .._errors import check_whole, check_x64, concrete, real_array
from .._implicit import attach, undefined_where
from .._linalg import eigenvalues
from .._program import hoist
from .._results import RESULTS, choose
from .._systems import AbstractSystem, check_system
from . import _worklist
from ._base import Equilibria
from ._prove import ask, prove, read
from ._worklist import Found

TROUBLES = {
    _worklist.NOT_ISOLATED: RESULTS.not_isolated,
    _worklist.CAPACITY: RESULTS.capacity,
    _worklist.UNLISTED: RESULTS.overflow,
    _worklist.OVERFLOW: RESULTS.overflow,
    _worklist.BUDGET: RESULTS.budget,
    _worklist.UNDECIDED: RESULTS.undecided,
}


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

    **Returns:** `Equilibria` in `capacity` slots, the used ones first and sorted by their
    coordinates, whatever the batch. `complete` says that there are no others in the box.
    `index` is proved too. Points and eigenvalues carry
    derivatives of every order with respect to everything that `system` holds or its field
    closes over; equal eigenvalues have none.

    Where equilibria meet, bisection cannot separate them. Such a cluster is one row: its
    index is proved, and so is that the point is a singular equilibrium of an equation that
    differs by at most 1e-12 (relative to the field) in its affine part; kind, multiplicity
    and coefficient are those of that point, computed in floating point. A cluster that may
    hold several points, or that lies beside proved ones into which its point would unfold,
    is left undecided. `result` is then `singular`.

    **Fails:** what is listed is proved whatever `result` says, but `complete` is False with
    `undecided` (a cluster that could not be named, or an equation that changes within a
    billionth of the box: an LSTM whose forget gate is that near to one), `budget`,
    `overflow`, `capacity`, `not_isolated`, and with `nonfinite` and `empty_box`, where
    nothing is listed.
    `ValueError` in single precision, for a box that does not fit, and for a field with an
    operation that has no interval rule, which it names.

    **Source:** R. Krawczyk's test on the mean-value form (textbook interval analysis); the
    shared list of boxes is derived here.
    """
    return _enumerate(*_posed(system, box, capacity))


def search_report(system: AbstractSystem, *, box=None, capacity: int = 24) -> Found:
    """What the search itself knows: undecided boxes in groups, boxes examined."""
    return prove(*_posed(system, box, capacity))


def _posed(system, box, capacity):
    """The arguments of `prove`, checked."""
    check_system("enumerate_equilibria", system)
    check_whole("enumerate_equilibria", "capacity", capacity, 1)
    low, high, equation, lift = _question(system, box)
    state = jax.eval_shape(lift, low)
    given = jax.eval_shape(system.residual, state)
    if getattr(given, "shape", None) != state.shape:
        raise ValueError(
            f"enumerate_equilibria: the field maps a state of shape {state.shape} to "
            f"{given}; it must return an array of the shape of its state, and so must the "
            "ends of the box have it."
        )
    if given.dtype != low.dtype:
        check_x64("enumerate_equilibria", given.dtype)
    parts = [hoist(equation, low), hoist(lift, low)]
    parts.append(hoist(system.residual, jnp.zeros(state.shape)))
    # A cell's own box is one that its state cannot leave.
    question, arrays = ask(parts, inward=box is None)
    return question, type(system), capacity, arrays, low, high


def _question(system, box):
    """The box, the equation to solve in it, and how to get from its unknowns to a state."""
    field = system.field
    if box is None:
        known = field.box() if isinstance(field, AbstractCell) else None
        if known is None:
            raise ValueError(
                "enumerate_equilibria: box can be left out for a cell of this package "
                "only. Give box=(low, high), two arrays of shape (n,)."
            )
        check_x64("enumerate_equilibria", known[0].dtype)
        return *known, field.reduced, field.lift
    if not isinstance(box, tuple | list) or len(box) != 2:
        raise ValueError("enumerate_equilibria: box must be a pair (low, high).")
    low, high = (
        real_array("enumerate_equilibria", f"box[{i}]", end) for i, end in enumerate(box)
    )
    check_x64("enumerate_equilibria", jnp.zeros(()).dtype)
    size = getattr(field, "size", None)
    # A scalar end is for every coordinate, of which a cell knows how many there are.
    shapes = {x.shape for x in (low, high) if x.ndim} or {(size,)}
    shape = min(shapes)
    if len(shapes) > 1 or len(shape) != 1 or not shape[0] or size not in (None, shape[0]):
        what = "(n,)" if size is None else f"({size},)"
        raise ValueError(
            f"enumerate_equilibria: box has ends of shape {low.shape} and {high.shape}; "
            f"both must have the shape {what} of the state."
        )
    low, high = (jnp.broadcast_to(x, shape).astype(float) for x in (low, high))
    # NumPy: inside a transformation JAX would trace a comparison of two numbers too.
    if concrete(low) and concrete(high) and not np.all(np.less(low, high)):
        raise ValueError(
            f"enumerate_equilibria: box is empty: low {low} must be below high {high} in "
            "every coordinate."
        )
    return low, high, system.residual, lambda x: x


@eqx.filter_jit
def _enumerate(question, reading, capacity, arrays, low, high):
    found = prove(question, reading, capacity, arrays, low, high)
    finite, extended = jnp.ones((), bool), jnp.all(low < high)
    for array in (*arrays, low, high):
        finite &= jnp.all(jnp.isfinite(array))
    valid = jnp.arange(capacity) < found.count
    size = jax.eval_shape(question.lift(arrays), low).shape[0]
    facts = jax.vmap(lambda row: read(row, size))(found.rows)

    def with_derivatives(root, values, used):
        # An unused slot is worked on at a place where nothing is NaN, and masked after.
        root = jnp.where(used, root, low)
        uses = [arrays[i] for i in question.uses[0]]
        root = attach(question.programs[0], uses, root, used)
        return question.lift(arrays)(root), _spectrum(question, arrays, root, values, used)

    points, values = jax.vmap(with_derivatives)(facts.root, facts.eigenvalues, valid)
    return Equilibria(
        points=jnp.where(valid[:, None], points, jnp.nan),
        eigenvalues=jnp.where(valid[:, None], values, jnp.nan),
        kind=facts.kind,
        index=jnp.where(valid, facts.index, jnp.nan),
        multiplicity=jnp.where(valid, facts.multiplicity, jnp.nan),
        coefficient=jnp.where(valid, facts.coefficient, jnp.nan),
        residual=jnp.where(valid, facts.residual, jnp.nan),
        valid=valid,
        complete=finite & extended & (found.trouble == 0),
        result=choose(
            RESULTS,
            RESULTS.successful,
            (~finite, RESULTS.nonfinite),
            (~extended, RESULTS.empty_box),
            *((found.trouble == code, result) for code, result in TROUBLES.items()),
            (jnp.any(valid & (facts.multiplicity != 1)), RESULTS.singular),
        ),
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _spectrum(question, arrays, root, values, used):
    """Eigenvalues that are known already, with the derivatives that they have."""
    return values


@_spectrum.defjvp
def _spectrum_jvp(question, primals, tangents):
    arrays, root, values, used = primals

    # Where two of them are equal they have no derivative, and the rule for the square root
    # between them would spoil those of the other slots on the way back.
    gaps = jnp.abs(values[:, None] - values[None, :]) + jnp.where(
        jnp.eye(len(values)), jnp.inf, 0
    )
    double = used & jnp.any(gaps <= 4 * jnp.finfo(root.dtype).eps * jnp.abs(values))
    apart = jnp.diag(jnp.arange(1.0, len(values) + 1))

    def compute(arrays, root):
        point = question.lift(arrays)(root)
        jacobian = jax.jacfwd(question.increment(arrays))(point)
        spectrum = eigenvalues(jnp.where(used & ~double, jacobian, apart))
        # Equal ones: their mean, which has a derivative, to be made NaN below.
        return jnp.where(double, jnp.trace(jacobian) / len(values), spectrum)

    _, moved = jax.jvp(compute, (arrays, root), tangents[:2])
    known = _spectrum(question, arrays, root, values, used)
    return known, undefined_where(double, moved)
