"""Branches of cycles, from their birth at a Hopf point to their end."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .. import _arclength
from .._arclength import Curve, Setting
from .._bifurcation import Events
from .._bifurcation._base import blank, check_extent, explained, why_ended
from .._conditions import hoist_field, is_oscillation, pose, stability_tests, vanishing
from .._errors import concrete, real_array
from .._implicit import attach
from .._program import hoist
from .._results import EVENTS, RESULTS, choose
from .._systems import Flow, Map
from ._base import MARGINAL, TRIVIAL, Cycle, push, read
from ._moving import begin, equations, field_at, slopes, split

INTERVALS = 64
# Where the orbit has this part of the length that it started with, its size goes to zero
# like the root of the distance of the parameter from a Hopf point, which is then near.
SMALLEST = 1e-2
LONGEST = 100.0  # periods of the start
FAR = 30.0


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
      Cost grows with the cube of `intervals` times `n`. To compile takes half a minute for
      two dimensions and minutes beyond, where multipliers are tested for in every step.

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


def pose_cycle(verb, family, cycle, parameter, intervals, *, kinds=(Cycle,), free=1):
    """A family of `free` parameters as a field of (point, parameter), with a cycle of it,
    which is of one of these `kinds`."""
    if not isinstance(cycle, kinds):
        wanted = " or a ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{verb}: cycle must be a {wanted}, as find_cycle returns, got "
            f"{type(cycle).__name__}."
        )
    if cycle.points.ndim != 2:
        raise ValueError(
            f"{verb}: cycle.points has shape {cycle.points.shape}; a batch of cycles goes "
            "through eqx.filter_vmap."
        )
    if not isinstance(intervals, int) or intervals < 8 or intervals % 2:
        raise ValueError(
            f"{verb}: intervals must be an even number ≥ 8, got {intervals!r}."
        )
    # A cycle that was not found is NaN, and the result will say so.
    anywhere = jnp.zeros_like(cycle.points[0])
    field, reading, point, parameter = pose(verb, family, anywhere, parameter, free)
    if not issubclass(reading, Flow):
        raise ValueError(f"{verb}: the family returns a {reading.__name__}, not a Flow.")
    return field, point, parameter


def longest_period(verb, longest, cycle):
    """The checked period at which a curve from this cycle ends."""
    longest = LONGEST * cycle.period if longest is None else longest
    longest = real_array(verb, "longest", longest)
    if all(map(concrete, (longest, cycle.period))) and longest <= cycle.period:
        raise ValueError(
            f"{verb}: longest is {longest}, but the cycle has period {cycle.period}."
        )
    return longest


@eqx.filter_jit
def _trace(
    program, intervals, capacity, arrays, cycle, parameter, low, high, direction, longest
):
    frozen, cycle, parameter = jax.lax.stop_gradient((arrays, cycle, parameter))
    n = cycle.points.shape[1]
    start, view = begin(field_at(program, frozen, parameter), cycle, intervals)
    start = jnp.append(start, parameter)
    question, constants = hoist(functools.partial(equations, program, frozen, view), start)
    sparse = hoist(functools.partial(slopes, program, frozen, view), start)
    tests = None, []
    if n > 2:
        tests = hoist(
            lambda u: jnp.stack(stability_tests(Map, _push(program, frozen, n, u))), start
        )
    middle = jnp.mean(cycle.points, axis=0)
    radius = jnp.sqrt(jnp.mean(jnp.sum((cycle.points - middle) ** 2, axis=1)))
    least = start[-3] + jnp.log(SMALLEST)
    most = jnp.log(longest)
    setting = Setting(
        start=start,
        scale=jnp.concatenate(
            [
                jnp.full(intervals * n, radius * jnp.sqrt(intervals)),
                jnp.ones(2),
                (high - low)[None] / 8,
            ]
        ),
        along=jnp.zeros_like(start).at[-1].set(direction),
        # Nothing grows e^FAR times larger, nor shorter in time.
        low=jnp.stack([least, start[-2] - FAR, low]),
        high=jnp.stack([start[-3] + FAR, most, high]),
        crossed=jnp.asarray(False),
    )
    curve = Curve(
        question, tests[0], parameters=3, turns=True, crossings=False, slopes=sparse[0]
    )
    path = _arclength.trace(curve, (constants, tests[1], sparse[1]), setting, capacity)

    valid = jnp.arange(capacity) < path.count
    known = path.count > 0
    safe = jnp.where(known, path.points[0], start)
    places = jnp.where(valid[:, None], path.points, safe)
    used, kinds = _kinds(program, frozen, n, path, safe)
    spots = jnp.where(used[:, None], path.places, safe)

    places = jax.vmap(lambda u, on: _at_parameter(program, arrays, view, u, on))(
        places, valid
    )
    spots = jax.vmap(lambda u, k, on: _at_event(program, arrays, view, u, k, on))(
        spots, path.kinds, used
    )

    def describe(unknown):
        points, steps, parameter = split(unknown, n)
        return read(field_at(program, arrays, parameter), points, steps, RESULTS.successful)

    cycles = jax.vmap(describe)(jnp.concatenate([places, spots]))
    slots = jnp.concatenate([valid, used])
    numbers, rest = eqx.partition(cycles, eqx.is_inexact_array)
    cycles = eqx.combine(jax.tree.map(functools.partial(blank, slots), numbers), rest)
    along, at_events = (
        jax.tree.map(lambda x, part=part: x[part], cycles)
        for part in (slice(None, capacity), slice(capacity, None))
    )

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
    last = path.points[jnp.maximum(path.count - 1, 0)]
    result = why_ended(
        path,
        path.unresolved | ~sound,
        troubles=[(jnp.any(along.trivial_error > TRIVIAL), RESULTS.coarse)],
        bounds=[
            (last[-3] <= least + 1e-6, RESULTS.shrunk),
            (last[-2] >= most - 1e-6, RESULTS.slow),
        ],
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


def _kinds(program, arrays, n, path, safe):
    """Which events are any, and their kinds: 1 fold, 2 period doubling, 3 torus."""
    used = path.kinds >= 0
    kinds = jnp.where(used, jnp.maximum(path.kinds, 1), 0)
    if n > 2:
        spots = jnp.where(used[:, None], path.places, safe)
        # Where the test of a pair vanishes for two real multipliers nothing happens.
        complex_ = jax.vmap(lambda u: is_oscillation(Map, _push(program, arrays, n, u)))(
            spots
        )
        used &= (kinds != 3) | complex_
    return used, jnp.where(used, kinds, 0)


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
