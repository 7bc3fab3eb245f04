"""Curves in two parameters of cycles that fold, double their period, or become a torus.

All three are cycles along which a vector is carried round to itself times a number on the
circle: 1, −1, or e^{iθ} with the angle θ as one more unknown. The linearised equations of
the cycle, in which the last interval ends at that multiple of the first point, are then
singular: the least singular value completes the equations.
"""

import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .. import _arclength
from .._arclength import Curve
from .._bifurcation._base import blank, check_extent, why_ended
from .._conditions import hoist_field
from .._program import hoist
from .._results import RESULTS, choose
from ._along import (
    INTERVALS,
    circle_angle,
    describe,
    ends,
    longest_period,
    pose_cycle,
    setting,
)
from ._base import TRIVIAL, Cycle
from ._fold import CycleFold
from ._moving import begin, field_at, linear

# Where the orbit has this part of the length that it started with, its size has gone to
# zero like the root of the distance from a generalised Hopf point, which is then near.
SMALLEST = 0.1
# Of a central difference of exact derivatives: it decides how fast the iteration
# converges, not where to.
STEP = 1e-5
# At an angle of 0 or π two equations become one; they are told apart by its sine.
SHARPEST = 0.02


class CycleCurve(eqx.Module):
    """A curve of bifurcations of cycles, in `k` slots of which the first ones are used.

    - `cycles`: a `Cycle` whose arrays have a leading axis of length `k`.
    - `parameters`: shape `(k, 2)`, in order along the curve.
    - `angle`: shape `(k,)`, of the multiplier on the circle: 0 for folds, π for period
      doublings, between them for Neimark–Sacker points.
    - `coefficient`: shape `(k,)`, of folds: how the two cycles that meet bend apart, on a
      scale of its own; it changes its sign where three of them meet, at a cusp of cycles.
      NaN on the other curves.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `result`: why it ended: `shrunk` (near a generalised Hopf point), `slow` (the period
      grew), `resonance` (the angle came to 0 or π), `bound`, `closed`, `step`, `capacity`;
      or what went wrong.
    """

    cycles: Cycle
    parameters: Float[Array, "*batch k 2"]
    angle: Float[Array, "*batch k"]
    coefficient: Float[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    result: RESULTS


def trace_cycle_fold_curve(
    family: Callable,
    cycle: Cycle | CycleFold,
    parameter: ArrayLike | list,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    longest: ArrayLike | None = None,
    capacity: int = 256,
    intervals: int = INTERVALS,
) -> CycleCurve:
    """The curve of folds of cycles through one of them, in a family of two parameters.

    **Arguments:**

    - `family`: from a parameter, shape `(2,)`, to a `Flow`.
    - `cycle`, `parameter`: a fold of cycles with both parameters, shape `(2,)`: from
      `locate_cycle_fold`, or an event of `trace_cycles` (in `at_events`).
    - `bounds`: `(low, high)`, each of shape `(2,)`, between which the parameters stay.
    - `direction`: +1 or −1, whether the first parameter first rises or falls (the second,
      where the first is constant).
    - `longest`, `capacity`, `intervals`: as in `trace_cycles`. To compile takes half a
      minute of one core.

    **Returns:** a `CycleCurve`, without derivatives: those of a fold come from
    `locate_cycle_fold` at one of its cycles.

    **Fails:** `result` is `nonfinite` (also of a cycle that was not found),
    `not_converged`, `elsewhere` (no fold near the start) or `coarse` (more `intervals` are
    needed). `ValueError` for what does not fit.

    **Source:** pseudo-arclength continuation (H. B. Keller, 1977) of the equations in
    `_moving.py` and of the least singular value of their derivative; Kuznetsov,
    Elements of Applied Bifurcation Theory, section 10.3; put together here.
    """
    return _traced(
        "trace_cycle_fold_curve", 0.0, family, cycle, parameter, bounds, direction,
        longest, capacity, intervals, kinds=(Cycle, CycleFold),
    )  # fmt: skip


def trace_cycle_doubling_curve(
    family: Callable,
    cycle: Cycle,
    parameter: ArrayLike | list,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    longest: ArrayLike | None = None,
    capacity: int = 256,
    intervals: int = INTERVALS,
) -> CycleCurve:
    """The curve of period doublings of cycles through one of them: a multiplier is −1.

    **Arguments:** as `trace_cycle_fold_curve`; `cycle` is one of three dimensions or more,
    as `trace_cycles` gives it at a period doubling (in `at_events`).

    **Returns, Fails, Source:** as `trace_cycle_fold_curve`.
    """
    return _traced(
        "trace_cycle_doubling_curve", math.pi, family, cycle, parameter, bounds,
        direction, longest, capacity, intervals,
    )  # fmt: skip


def trace_cycle_torus_curve(
    family: Callable,
    cycle: Cycle,
    parameter: ArrayLike | list,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    longest: ArrayLike | None = None,
    capacity: int = 256,
    intervals: int = INTERVALS,
) -> CycleCurve:
    """The curve of Neimark–Sacker (torus) bifurcations of cycles through one of them: two
    multipliers are e^{±iθ}. It ends where θ comes within 0.02 of 0 or π.

    **Arguments:** as `trace_cycle_fold_curve`; `cycle` is one of three dimensions or more
    with complex multipliers, as `trace_cycles` gives it at a Neimark–Sacker point (in
    `at_events`).

    **Returns, Source:** as `trace_cycle_fold_curve`.

    **Fails:** as `trace_cycle_fold_curve`; `wrong_kind` where no multipliers are a pair.
    """
    return _traced(
        "trace_cycle_torus_curve", None, family, cycle, parameter, bounds, direction,
        longest, capacity, intervals,
    )  # fmt: skip


def _traced(
    verb, angle, family, cycle, parameter, bounds, direction, longest, capacity, intervals,
    *, kinds=(Cycle,),
):  # fmt: skip
    field, point, parameter = pose_cycle(
        verb, family, cycle, parameter, intervals, kinds=kinds, free=2
    )
    if angle != 0 and point.shape[0] < 3:
        raise ValueError(
            f"{verb}: needs three dimensions or more, got {point.shape[0]}: in the plane "
            "the one multiplier of a cycle is positive."
        )
    low, high, direction = check_extent(verb, bounds, direction, capacity, parameter)
    longest = longest_period(verb, longest, cycle)
    program, arrays = hoist_field(field, point, parameter)
    return _trace(
        program, angle, intervals, capacity, arrays, cycle, parameter, low, high,
        direction, longest,
    )  # fmt: skip


@eqx.filter_jit
def _trace(
    program, angle, intervals, capacity, arrays, cycle, parameter, low, high, direction,
    longest,
):  # fmt: skip
    # No derivatives flow through.
    arrays, cycle, parameter = jax.lax.stop_gradient((arrays, cycle, parameter))
    n = cycle.points.shape[1]
    size = intervals * n
    start, view = begin(field_at(program, arrays, parameter), cycle, intervals)
    start, between, invalid = jnp.append(start, parameter), [], RESULTS.nonfinite
    if angle is None:
        guess = circle_angle(cycle)
        real = jnp.isnan(guess) & jnp.all(jnp.isfinite(cycle.points))
        invalid = choose(RESULTS, invalid, (real, RESULTS.wrong_kind))
        start = jnp.insert(start, size, guess)
        between = [(SHARPEST, jnp.pi - SHARPEST)]
    extent = setting(start, cycle, SMALLEST, longest, low, high, direction, between)
    question, constants = hoist(
        lambda u: _linear(program, angle, arrays, view, u)[0], start
    )
    bounded = 4 + len(between)
    curve = Curve(None, None, bounded, turns=False, crossings=False, linear=question)
    path = _arclength.trace(curve, (constants, []), extent, capacity)

    valid = jnp.arange(capacity) < path.count
    first = jnp.where(path.count > 0, path.points[0], start)
    places = jnp.where(valid[:, None], path.points, first)
    bare = jax.vmap(functools.partial(_bare, angle, size))(places)
    cycles = describe(program, arrays, n, 2, bare, valid)
    coefficient = jnp.full(capacity, jnp.nan)
    if angle == 0:
        _, left, bent = jax.lax.map(
            lambda u: _linear(program, angle, arrays, view, u), places
        )
        # From point to point the vectors may be turned round.
        agree = jnp.where(jnp.sum(left[1:] * left[:-1], axis=1) < 0, -1.0, 1.0)
        coefficient = jnp.append(1.0, jnp.cumprod(agree)) * bent
    angles = places[:, size] if angle is None else jnp.full(capacity, angle)
    last = path.points[jnp.maximum(path.count - 1, 0), size]
    sharp = jnp.minimum(last, jnp.pi - last) <= SHARPEST + 1e-6
    return CycleCurve(
        cycles=cycles,
        parameters=blank(valid, places[:, -2:]),
        angle=blank(valid, angles),
        coefficient=blank(valid, coefficient),
        valid=valid,
        result=why_ended(
            path,
            path.unresolved,
            invalid=invalid,
            troubles=[(jnp.any(cycles.trivial_error > TRIVIAL), RESULTS.coarse)],
            bounds=[
                *ends(extent, path, 2),
                *([(sharp, RESULTS.resonance)] if angle is None else []),
            ],
        ),
    )


# Unknowns: points, the angle where it is one, logarithms of length and period, parameters.


def _bare(angle, size, u):
    """The unknowns of a cycle alone."""
    return jnp.delete(u, size, assume_unique_indices=True) if angle is None else u


def _linear(program, angle, arrays, view, u):
    """The derivatives of all equations with their values as a last column, the left
    singular vector, and what the second derivative along the right one has along it."""
    n = view.shape[0]
    size = u.shape[0] - 4 - (angle is None)
    place = _bare(angle, size, u)
    short = STEP * jnp.minimum(1, jnp.exp(place[-4]))
    # A fold moves length and period as well, and knows the phase; to the others these say
    # nothing.
    whole = size + 2 if angle == 0 else size
    factor = jnp.exp(1j * u[size]) if angle is None else math.cos(angle)

    kind = float if angle is not None else complex

    def look(vectors, shift):
        _, right, _ = vectors
        along = shift[0] * right.real + shift[1] * right.imag
        beyond = (factor - 1) * right[:n]
        jump = shift[0] * beyond.real + shift[1] * beyond.imag
        along = jnp.pad(along, (0, len(place) - whole))
        matrix = linear(
            program, arrays, view, place + short * along, free=2, jump=short * jump
        )

        def decompose(_):
            once = matrix[:whole, :whole].astype(kind)
            if angle != 0:
                once = once.at[-n:, :n].multiply(factor)
            left, _, after = jnp.linalg.svd(once)
            w, v = left[:, -1].conj(), after[-1].conj()
            # The value of the library is not negative, and rounded to the largest one.
            return w, v, w @ once @ v

        # One loop for all, so that the equations are compiled once.
        return jax.lax.cond(jnp.all(shift == 0), decompose, lambda v: v, vectors), matrix

    nothing = jnp.zeros(whole, kind), jnp.zeros(whole, kind), jnp.zeros((), kind)
    shifts = jnp.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    shifts = shifts if angle is None else shifts[:3]
    (left, right, least), matrices = jax.lax.scan(look, nothing, shifts)
    # The derivative of a singular value is that of the matrix between its vectors, and
    # which of the two directions comes first does not matter.
    slope = left @ (matrices[1] - matrices[2])[:whole, :-1] / (2 * short)
    closed = matrices[0]
    if angle is not None:
        rows = jnp.append(slope, least)[None]
        return jnp.concatenate([closed, rows]), left, slope[:whole] @ right
    slope = slope + 1j * left @ (matrices[3] - matrices[4])[:whole, :-1] / (2 * short)
    turn = 1j * factor * left[-n:] @ closed[size - n : size, :n] @ right[:n]
    rows = jnp.append(jnp.insert(slope, size, turn), least)
    closed = jnp.insert(closed, size, 0, axis=1)
    return jnp.concatenate([closed, jnp.stack([rows.real, rows.imag])]), left, turn
