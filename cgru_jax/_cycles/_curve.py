"""Curves of folds of cycles in two parameters."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .. import _arclength
from .._arclength import Curve, Setting
from .._bifurcation._base import blank, check_extent, why_ended
from .._conditions import hoist_field
from .._program import hoist
from .._results import RESULTS
from ._base import TRIVIAL, Cycle, read
from ._branch import FAR, INTERVALS, longest_period, pose_cycle
from ._fold import CycleFold
from ._moving import begin, equations, field_at, slopes, split

# Where the orbit has this part of the length that it started with, its size has gone to
# zero like the root of the distance from a generalised Hopf point, which is then near.
SMALLEST = 0.1
# Of a central difference of exact derivatives: it decides how fast the iteration
# converges, not where to.
STEP = 1e-5


class CycleFoldCurve(eqx.Module):
    """A curve of folds of cycles, in `k` slots of which the first ones are used.

    - `cycles`: a `Cycle` whose arrays have a leading axis of length `k`.
    - `parameters`: shape `(k, 2)`, in order along the curve.
    - `coefficient`: shape `(k,)`, how the two cycles that meet bend apart, on a scale of
      its own; it changes its sign where three of them meet, at a cusp of cycles.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `result`: why it ended: `shrunk` (near a generalised Hopf point), `slow` (the period
      grew), `bound`, `closed`, `step`, `capacity`; or what went wrong.
    """

    cycles: Cycle
    parameters: Float[Array, "*batch k 2"]
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
) -> CycleFoldCurve:
    """The curve of folds of cycles through one of them, in a family of two parameters.

    **Arguments:**

    - `family`: from a parameter, shape `(2,)`, to a `Flow`.
    - `cycle`, `parameter`: a fold of cycles with both parameters, shape `(2,)`: from
      `locate_cycle_fold`, or an event of `trace_cycles` (in `at_events`).
    - `bounds`: `(low, high)`, each of shape `(2,)`, between which the parameters stay.
    - `direction`: +1 or −1, whether the first parameter first rises or falls (the second,
      where the first is constant).
    - `longest`, `capacity`, `intervals`: as in `trace_cycles`. To compile takes about a
      minute.

    **Returns:** a `CycleFoldCurve`, without derivatives: those come from
    `locate_cycle_fold` at one of its cycles.

    **Fails:** `result` is `nonfinite` (also of a cycle that was not found),
    `not_converged`, `elsewhere` (no fold near the start) or `coarse` (more `intervals` are
    needed). `ValueError` for what does not fit.

    **Source:** pseudo-arclength continuation (H. B. Keller, 1977) of the equations in
    `_moving.py` and of the least singular value of their derivative; Kuznetsov,
    Elements of Applied Bifurcation Theory, section 10.3; put together here.
    """
    verb = "trace_cycle_fold_curve"
    field, point, parameter = pose_cycle(
        verb, family, cycle, parameter, intervals, kinds=(Cycle, CycleFold), free=2
    )
    low, high, direction = check_extent(verb, bounds, direction, capacity, parameter)
    longest = longest_period(verb, longest, cycle)
    program, arrays = hoist_field(field, point, parameter)
    return _trace(
        program, intervals, capacity, arrays, cycle, parameter, low, high, direction,
        longest,
    )  # fmt: skip


@eqx.filter_jit
def _trace(
    program, intervals, capacity, arrays, cycle, parameter, low, high, direction, longest
):
    # No derivatives flow through.
    arrays, cycle, parameter = jax.lax.stop_gradient((arrays, cycle, parameter))
    points = cycle.points
    n = points.shape[1]
    start, view = begin(field_at(program, arrays, parameter), cycle, intervals)
    start = jnp.concatenate([start, parameter])
    radius = jnp.sqrt(jnp.mean(jnp.sum((points - jnp.mean(points, axis=0)) ** 2, axis=1)))
    least, most = start[-4] + jnp.log(SMALLEST), jnp.log(longest)
    across = jnp.full(intervals * n, radius * jnp.sqrt(intervals))
    setting = Setting(
        start=start,
        scale=jnp.concatenate([across, jnp.ones(2), (high - low) / 8]),
        along=jnp.zeros_like(start).at[-2:].set(jnp.array([1, 1e-6]) * direction),
        low=jnp.concatenate([jnp.stack([least, start[-3] - FAR]), low]),
        high=jnp.concatenate([jnp.stack([start[-4] + FAR, most]), high]),
        crossed=jnp.asarray(False),
    )
    question, constants = hoist(lambda u: _equations(program, arrays, view, u), start)
    sparse = hoist(lambda u: _derivatives(program, arrays, view, u)[0], start)
    curve = Curve(
        question, None, parameters=4, turns=False, crossings=False, slopes=sparse[0]
    )
    path = _arclength.trace(curve, (constants, [], sparse[1]), setting, capacity)

    valid = jnp.arange(capacity) < path.count
    first = jnp.where(path.count > 0, path.points[0], start)
    places = jnp.where(valid[:, None], path.points, first)

    def describe(u):
        points, steps, _ = split(u[:-1], n)
        return read(field_at(program, arrays, u[-2:]), points, steps, RESULTS.successful)

    _, left, bent = jax.lax.map(lambda u: _derivatives(program, arrays, view, u), places)
    # From point to point the vectors may be turned round.
    agree = lambda x: jnp.where(jnp.sum(x[1:] * x[:-1], axis=1) < 0, -1.0, 1.0)
    turned = jnp.append(1.0, jnp.cumprod(agree(left)))
    numbers, rest = eqx.partition(jax.vmap(describe)(places), eqx.is_inexact_array)
    cycles = eqx.combine(jax.tree.map(functools.partial(blank, valid), numbers), rest)
    last = path.points[jnp.maximum(path.count - 1, 0)]
    return CycleFoldCurve(
        cycles=cycles,
        parameters=blank(valid, places[:, -2:]),
        coefficient=blank(valid, turned * bent),
        valid=valid,
        result=why_ended(
            path,
            path.unresolved,
            troubles=[(jnp.any(cycles.trivial_error > TRIVIAL), RESULTS.coarse)],
            bounds=[
                (last[-4] <= least + 1e-6, RESULTS.shrunk),
                (last[-3] >= most - 1e-6, RESULTS.slow),
            ],
        ),
    )


# Unknowns: points, logarithms of length and period, two parameters. At one value of the
# second parameter the equations of a cycle are those of a family of one.


def _at(program, second):
    return lambda arrays, x: program(arrays, jnp.append(x, second))


def _slopes(program, arrays, view, u):
    """Derivatives of the equations of a cycle: in everything but the second parameter."""
    return slopes(_at(program, u[-1]), arrays, view, u[:-1])


def _equations(program, arrays, view, u):
    """Those of a cycle, and the least singular value of their derivative at fixed
    parameters."""
    values = jnp.linalg.svd(_slopes(program, arrays, view, u)[:, :-1], compute_uv=False)
    closed = equations(_at(program, u[-1]), arrays, view, u[:-1])
    return jnp.append(closed, values[-1])


def _derivatives(program, arrays, view, u):
    """The matrix of derivatives of the equations, the left singular vector, and what the
    second derivative along the right one has along the left one."""
    short = STEP * jnp.minimum(1, jnp.exp(u[-4]))

    def look(vectors, shift):
        place = u + shift * short * jnp.append(vectors[1], jnp.zeros(2))
        matrix = _whole(program, arrays, view, place)

        def decompose(_):
            left, _, right = jnp.linalg.svd(matrix[:, :-2])
            return left[:, -1], right[-1]

        # One loop for all three, so that the equations are compiled once.
        vectors = jax.lax.cond(shift == 0, decompose, lambda v: v, vectors)
        return vectors, matrix

    nothing = jnp.zeros(u.shape[0] - 2)
    shifts = jnp.array([0.0, 1.0, -1.0])
    (left, right), (matrix, after, before) = jax.lax.scan(look, (nothing, nothing), shifts)
    # The derivative of a singular value is that of the matrix between its vectors, and
    # which of the two directions comes first does not matter.
    least = left @ (after - before) / (2 * short)
    return jnp.concatenate([matrix, least[None]]), left, least[:-2] @ right


def _whole(program, arrays, view, u):
    """Derivatives of the equations of a cycle in all unknowns."""
    moved = lambda p: equations(_at(program, p), arrays, view, u[:-1])
    _, column = jax.jvp(moved, (u[-1],), (jnp.ones(()),))
    return jnp.append(_slopes(program, arrays, view, u), column[:, None], axis=1)
