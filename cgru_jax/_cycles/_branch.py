"""Branches of cycles, from their birth at a Hopf point to their end."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .. import _arclength
from .._arclength import Curve
from .._bifurcation import Events
from .._bifurcation._base import blank, check_extent, explained, why_ended
from .._conditions import hoist_field, stability_tests, vanishing
from .._implicit import attach
from .._program import hoist
from .._results import EVENTS, RESULTS, choose
from .._systems import Map
from ._along import (
    INTERVALS,
    circle_angle,
    describe,
    ends,
    longest_period,
    pose_cycle,
    setting,
)
from ._base import MARGINAL, TRIVIAL, Cycle, push
from ._moving import begin, equations, field_at, linear, split

# Where the orbit has this part of the length that it started with, its size goes to zero
# like the root of the distance of the parameter from a Hopf point, which is then near.
SMALLEST = 1e-2


class CycleBranch(eqx.Module):
    """A branch of cycles, in `k` slots of which the first ones are used.

    - `cycles`: a `Cycle` whose arrays have a leading axis of length `k`.
    - `parameters`: shape `(k,)`, in order along the branch.
    - `unstable`: shape `(k,)`, how many multipliers lie outside the circle.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `events`: `Events` in `e` slots: fold (of cycles), period doubling, Neimark–Sacker;
      its `points` are one point of each. `at_events`: the cycles there, leading axis `e`.
    - `result`: why it ended: `shrunk` (near a Hopf point), `slow` (the period grew),
      `bound`, `closed`, `step`, `capacity`; or what went wrong.
    """

    cycles: Cycle
    parameters: Float[Array, "*batch k"]
    unstable: Int[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    events: Events
    at_events: Cycle
    result: RESULTS


def trace_cycles(
    family: Callable,
    cycle: Cycle,
    parameter: ArrayLike,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    longest: ArrayLike | None = None,
    capacity: int = 256,
    intervals: int = INTERVALS,
) -> CycleBranch:
    """The branch of cycles through one of them, followed by its arclength, round folds.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a `Flow`.
    - `cycle`, `parameter`: where the branch starts, from `find_cycle`; any mesh.
    - `bounds`: `(low, high)`, between which the parameter stays.
    - `direction`: +1 or −1, whether the parameter first rises or falls.
    - `longest`: the period at which the branch ends as `slow`; by default 100 times that
      of the start.
    - `capacity`: how many cycles there is room for.
    - `intervals`: an even number of intervals of the mesh, which moves with the cycle.
      Cost grows with the cube of `intervals` times `n`. To compile takes about a minute
      of one core for three dimensions.

    **Returns:** a `CycleBranch`. Cycles carry derivatives at fixed parameter, events as
    solutions of their own equations.

    **Fails:** as `trace_branch`; `coarse` where a cycle needs more `intervals`, as long
    periods do. A cycle of a failed search gives `nonfinite`. Where two
    branches of cycles cross, this one is followed through, with `unresolved`. `ValueError`
    for what does not fit.

    **Source:** pseudo-arclength continuation (H. B. Keller, 1977) of the equations in
    `_moving.py`; E. J. Doedel's treatment of periodic solutions, without his freezing of
    the mesh.
    """
    verb = "trace_cycles"
    field, point, parameter = pose_cycle(verb, family, cycle, parameter, intervals)
    low, high, direction = check_extent(verb, bounds, direction, capacity, parameter)
    longest = longest_period(verb, longest, cycle)
    program, arrays = hoist_field(field, point, parameter)
    return _trace(
        program,
        intervals,
        capacity,
        arrays,
        cycle,
        parameter,
        low,
        high,
        direction,
        longest,
    )


@eqx.filter_jit
def _trace(
    program, intervals, capacity, arrays, cycle, parameter, low, high, direction, longest
):
    frozen, cycle, parameter = jax.lax.stop_gradient((arrays, cycle, parameter))
    n = cycle.points.shape[1]
    start, view = begin(field_at(program, frozen, parameter), cycle, intervals)
    start = jnp.append(start, parameter)
    question, constants = hoist(functools.partial(linear, program, frozen, view), start)
    tests = None, []
    if n > 2:
        tests = hoist(
            lambda u: jnp.stack(stability_tests(Map, _push(program, frozen, n, u))), start
        )
    extent = setting(start, cycle, SMALLEST, longest, low, high, direction)
    curve = Curve(
        None, tests[0], parameters=3, turns=True, crossings=False, linear=question
    )
    path = _arclength.trace(curve, (constants, tests[1]), extent, capacity)

    valid = jnp.arange(capacity) < path.count
    known = path.count > 0
    safe = jnp.where(known, path.points[0], start)
    places = jnp.where(valid[:, None], path.points, safe)
    used = path.kinds >= 0
    spots = jnp.where(used[:, None], path.places, safe)
    places = jax.vmap(lambda u, on: _at_parameter(program, arrays, view, u, on))(
        places, valid
    )
    spots = jax.vmap(lambda u, k, on: _at_event(program, arrays, view, u, k, on))(
        spots, path.kinds, used
    )
    every, slots = jnp.concatenate([places, spots]), jnp.concatenate([valid, used])
    cycles = describe(program, arrays, n, 1, every, slots)
    along, at_events = (
        jax.tree.map(lambda x, part=part: x[part], cycles)
        for part in (slice(None, capacity), slice(capacity, None))
    )

    # Where the test of a pair vanishes for two real multipliers nothing happens.
    pair = path.kinds == _arclength.FIRST_TEST + 1
    used &= ~pair | jnp.isfinite(jax.vmap(circle_angle)(at_events))
    hide = lambda x: blank(used, x) if eqx.is_inexact_array(x) else x
    at_events = jax.tree.map(hide, at_events)
    kinds = jnp.where(used, jnp.maximum(path.kinds, 1), 0)
    logs = along.exponents * along.period[:, None]
    unstable = jnp.where(valid, jnp.sum(logs[:, 1:] > 0, axis=1), 0)
    events = Events(
        kind=jax.vmap(lambda k: choose(EVENTS, EVENTS.none, *((k == i, e) for i, e in
            enumerate((EVENTS.none, EVENTS.fold, EVENTS.period_doubling,
                       EVENTS.neimark_sacker)))))(kinds),
        points=at_events.points[:, 0],
        parameters=blank(used, spots[:, -1]),
        valid=used,
    )  # fmt: skip
    marginal = jnp.any(jnp.abs(logs[:, 1:]) <= 1e3 * MARGINAL, axis=1)
    sound = explained(events, path.steps, unstable, valid & ~marginal)
    result = why_ended(
        path,
        path.unresolved | ~sound,
        troubles=[(jnp.any(along.trivial_error > TRIVIAL), RESULTS.coarse)],
        bounds=ends(extent, path, 1),
    )
    return CycleBranch(
        cycles=along,
        parameters=blank(valid, places[:, -1]),
        unstable=unstable,
        valid=valid,
        events=events,
        at_events=at_events,
        result=result,
    )


def _push(program, arrays, n, unknown):
    points, steps, parameter = split(unknown, n)
    return push(field_at(program, arrays, parameter), points, steps)


def _at_parameter(program, arrays, view, unknown, used):
    """A cycle of the branch with its derivatives at fixed parameter."""
    parameter = jax.lax.stop_gradient(unknown[-1])
    question, constants = hoist(
        lambda u: equations(program, arrays, view, jnp.append(u, parameter)), unknown[:-1]
    )
    return jnp.append(attach(question, constants, unknown[:-1], used), parameter)


def _at_event(program, arrays, view, unknown, kind, used):
    """An event with its derivatives."""
    n = view.shape[0]

    def whole(u):
        lap = _push(program, arrays, n, u)
        tests = [vanishing(lap)]
        if n > 2:
            tests += [tests[0], *stability_tests(Map, lap)]
        weights = jax.nn.one_hot(kind, len(tests))
        return jnp.append(equations(program, arrays, view, u), weights @ jnp.stack(tests))

    question, constants = hoist(whole, unknown)
    return attach(question, constants, unknown, used)
