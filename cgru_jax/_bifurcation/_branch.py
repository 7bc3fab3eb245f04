"""Branches of equilibria, with everything that happens to them on the way."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int

from .. import _arclength, _scalars
from .._arclength import Curve, Setting
from .._conditions import is_oscillation, pose, stability_tests, vanishing
from .._errors import concrete, real_array
from .._implicit import attach
from .._linalg import CLOSED_FORM_SIZE, eigenvalues
from .._program import hoist, hoist_numbers
from .._results import EVENTS, RESULTS, choose
from .._systems import Map


class Events(eqx.Module):
    """What happens along a branch, in order, in `e` slots of which some are used.

    - `kind`: `EVENTS`, shape `(e,)`; `none` in an unused slot.
    - `points`: shape `(e, n)`; `parameters`: shape `(e,)`, along a curve in two parameters
      `(e, 2)`; NaN in an unused slot.
    - `valid`: which slots are used, shape `(e,)`.
    """

    kind: EVENTS
    points: Float[Array, "*batch e n"]
    parameters: Float[Array, "..."]
    valid: Bool[Array, "*batch e"]

    @property
    def count(self) -> Int[Array, "*batch"]:
        """How many events there are, shape `()`."""
        return jnp.sum(self.valid, axis=-1)

    def tally(self, kind) -> Int[Array, "*batch"]:
        """How many are of this member of `EVENTS`, shape `()`."""
        return jnp.sum(self.valid & (self.kind == kind), axis=-1)


class Branch(eqx.Module):
    """A branch of equilibria, in `k` slots of which the first ones are used.

    - `points`: shape `(k, n)`; `parameters`: shape `(k,)`; in order along the branch.
    - `eigenvalues`: shape `(k, n)`, of the full Jacobian of the increment.
    - `unstable`: shape `(k,)`, how many modes grow; 0 in an unused slot.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `events`: `Events`, in order along the branch.
    - `result`: why it ended: `bound`, `closed`, `step`, `capacity`; or what went wrong.
    """

    points: Float[Array, "*batch k n"]
    parameters: Float[Array, "*batch k"]
    eigenvalues: Complex[Array, "*batch k n"]
    unstable: Int[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    events: Events
    result: RESULTS


def trace_branch(
    family: Callable,
    point: ArrayLike | list,
    parameter: ArrayLike,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    along: ArrayLike | None = None,
    capacity: int = 512,
) -> Branch:
    """The branch of equilibria through a point, followed by its arclength, round folds.

    Compiled once per model structure and size; batch it with `eqx.filter_vmap`: a batch is
    followed in lanes that do not wait for each other.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a system.
    - `point`, `parameter`: where the branch starts, shapes `(n,)` and `()`: an equilibrium,
      which is corrected at its parameter if it is a little off.
    - `bounds`: `(low, high)`, between which the parameter stays. Their distance sets the
      scale: a step moves the parameter by at most an 80th of it, and the state by a tenth
      of its size (at least 1).
    - `direction`: +1 or −1, whether the parameter first rises or falls; of `along`, the
      sense.
    - `along`: shape `(n + 1,)`, to start from a branch point, the way to leave it: a row of
      `BranchPoint.tangents`.
    - `capacity`: how many points there is room for.

    **Returns:** a `Branch`. Every change of the number of growing modes is an event, found
    by a change of sign in a step, or by a near-miss that shorter steps resolve, and
    refined to round-off. Points carry derivatives at fixed parameter, events as solutions
    of their own equations (a branch point has none: see `locate_branch_point`), with
    respect to everything that the family closes over.

    **Fails:** `result` is `elsewhere` or `not_converged` (the start is no equilibrium),
    `nonfinite`, `capacity` (points or events), `step`, or `unresolved` (the branch is
    there, but not every event). With `bound` and no point, the start is out of bounds.
    `ValueError` in single precision, for shapes that do not fit, and for bounds that are
    empty or exclude the start.

    **Source:** pseudo-arclength continuation (H. B. Keller, 1977); step control and the
    search for near-misses are derived here.
    """
    verb = "trace_branch"
    field, reading, point, parameter = pose(verb, family, point, parameter, 1)
    if not isinstance(capacity, int) or capacity < 2:
        raise ValueError(f"{verb}: capacity must be a whole number ≥ 2, got {capacity!r}.")
    low, high = check_bounds(verb, bounds, parameter)
    n = point.shape[0]
    direction = real_array(verb, "direction", direction)
    if direction.shape != () or (concrete(direction) and float(direction) not in (1, -1)):
        raise ValueError(f"{verb}: direction must be 1 or -1, got {direction}.")
    crossed = along is not None
    if crossed:
        along = real_array(verb, "along", along)
        if along.shape != (n + 1,):
            raise ValueError(
                f"{verb}: along must have shape ({n + 1},), the change of the point and "
                f"then of the parameter, got {along.shape}."
            )
    else:
        along = jnp.zeros(n + 1).at[n].set(1)
    program, arrays = hoist_numbers(
        lambda u: field(u[:n], u[n]), jnp.append(point, parameter)
    )
    size = jnp.maximum(1, jnp.max(jnp.abs(point)))
    setting = Setting(
        start=jnp.append(point, parameter),
        scale=jnp.append(jnp.full(n, size), (high - low) / 8),
        along=along * direction,
        low=low[None],
        high=high[None],
        crossed=jnp.asarray(crossed),
    )
    return _branch(program, reading, capacity, arrays, setting)


def check_bounds(verb, bounds, start):
    """Bounds `(low, high)` as arrays of the shape of `start`, which lies between them; NaN
    lies anywhere."""
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"{verb}: bounds must be a pair (low, high).")
    low, high = (
        real_array(verb, f"bounds[{i}]", end).astype(float) for i, end in enumerate(bounds)
    )
    for name, end in (("low", low), ("high", high)):
        if end.shape != start.shape:
            raise ValueError(
                f"{verb}: the {name} bound has shape {end.shape}, the parameter "
                f"{start.shape}."
            )
    # NumPy: inside a transformation JAX would trace a comparison of two numbers too.
    if concrete(low) and concrete(high) and not np.all(np.less(low, high)):
        raise ValueError(f"{verb}: bounds are empty: {low} is not below {high}.")
    if all(map(concrete, (low, high, start))) and (
        np.any(np.less(start, low)) or np.any(np.less(high, start))
    ):
        raise ValueError(
            f"{verb}: the start {start} lies outside the bounds ({low}, {high})."
        )
    return low, high


@eqx.filter_jit
def _branch(program, reading, capacity, arrays, setting):
    n = setting.start.shape[0] - 1
    frozen = jax.lax.stop_gradient(arrays)

    def tests(u):
        return jnp.stack(stability_tests(reading, _jacobian(program, frozen, u)))

    tested = n > 1 or issubclass(reading, Map)
    questions = hoist(tests, setting.start) if tested else (None, [])
    curve = Curve(program, questions[0], parameters=1, turns=True)
    path = _arclength.trace(curve, (frozen, questions[1]), setting, capacity)

    valid = jnp.arange(capacity) < path.count
    places = jnp.where(valid[:, None], path.points, path.points[0])
    points = jax.vmap(lambda u, used: _at_parameter(program, arrays, u, used))(
        places, valid
    )
    spectrum = lambda x, u: eigenvalues(_jacobian(program, arrays, jnp.append(x, u[n])))
    values = jax.vmap(spectrum)(points, places)
    growth = reading(lambda x: x).growth(values)
    unstable = jnp.where(valid, jnp.sum(growth > 0, axis=1), 0)

    events, steps = _events(program, reading, arrays, path)
    marginal = jnp.any(jnp.abs(growth) <= 1e-7 * jnp.abs(values), axis=1)
    explained = _explained(events, steps, unstable, valid & ~marginal)
    status = path.status
    result = choose(
        RESULTS,
        RESULTS.step,
        (status == _arclength.NONFINITE, RESULTS.nonfinite),
        (status == _arclength.LOST, RESULTS.not_converged),
        (status == _arclength.ELSEWHERE, RESULTS.elsewhere),
        ((status == _arclength.CAPACITY) | path.crowded, RESULTS.capacity),
        (path.unresolved | ~explained, RESULTS.unresolved),
        (status == _arclength.BOUND, RESULTS.bound),
        (status == _arclength.CLOSED, RESULTS.closed),
    )
    return Branch(
        points=jnp.where(valid[:, None], points, jnp.nan),
        parameters=jnp.where(valid, places[:, n], jnp.nan),
        eigenvalues=jnp.where(valid[:, None], values, jnp.nan),
        unstable=unstable,
        valid=valid,
        events=events,
        result=result,
    )


def _jacobian(program, arrays, u):
    """Derivative of the increment in the point, of a program of (point, parameter)."""
    n = u.shape[0] - 1
    if n > CLOSED_FORM_SIZE or not _scalars.worthwhile(program):
        return jax.jacfwd(lambda x: program(arrays, jnp.append(x, u[n])))(u[:n])
    known = [u[i] for i in range(n + 1)]

    def column(j):
        alone = lambda x: _scalars.evaluate(
            program, arrays, [*known[:j], x, *known[j + 1 :]]
        )
        return jnp.stack(jax.jvp(alone, (u[j],), (jnp.ones_like(u[j]),))[1])

    return jnp.stack([column(j) for j in range(n)], axis=1)


def _at_parameter(program, arrays, u, used):
    """A point of the branch with its derivatives at fixed parameter."""
    n = u.shape[0] - 1
    question, constants = hoist(
        lambda x: program(arrays, jnp.append(x, jax.lax.stop_gradient(u[n]))), u[:n]
    )
    return attach(question, constants, u[:n], used)


def _events(program, reading, arrays, path):
    """The events of a path, and the numbers of the points that follow them."""
    n = path.places.shape[1] - 1
    frozen = jax.lax.stop_gradient(arrays)
    used = path.kinds >= 0
    places = jnp.where(used[:, None], path.places, path.points[0])
    kinds = [EVENTS.fold, EVENTS.branch_point]
    if issubclass(reading, Map):
        kinds += [EVENTS.period_doubling, EVENTS.neimark_sacker]
    else:
        kinds += [EVENTS.hopf]
    # Where the test of a pair vanishes for two real eigenvalues nothing happens.
    pair = len(kinds) - 1
    if n > 1:
        real = jax.vmap(lambda u: ~is_oscillation(reading, _jacobian(program, frozen, u)))(
            places
        )
        used &= (path.kinds != pair) | ~real
    order = jnp.argsort(~used, stable=True)
    used, places = used[order], places[order]
    which, steps = path.kinds[order], path.steps[order]

    def known(u, which, used):
        def equations(u):
            matrix = _jacobian(program, arrays, u)
            tests = [vanishing(matrix)] * 2
            if n > 1 or issubclass(reading, Map):
                tests += stability_tests(reading, matrix)
            weights = jax.nn.one_hot(which, len(tests))
            return jnp.append(program(arrays, u), weights @ jnp.stack(tests))

        question, constants = hoist(equations, u)
        return attach(question, constants, u, used)

    def named(which, used):
        cases = [(used & (which == k), item) for k, item in enumerate(kinds)]
        return choose(EVENTS, EVENTS.none, *cases)

    places = jax.vmap(known)(places, which, used)
    events = Events(
        kind=jax.vmap(named)(which, used),
        points=jnp.where(used[:, None], places[:, :n], jnp.nan),
        parameters=jnp.where(used, places[:, n], jnp.nan),
        valid=used,
    )
    return events, steps


def _explained(events, steps, unstable, sure):
    """Whether the number of growing modes changes by what the events of each step say."""
    size = unstable.shape[0]
    double = (events.kind == EVENTS.hopf) | (events.kind == EVENTS.neimark_sacker)
    crossing = events.kind == EVENTS.branch_point
    slot = jnp.where(events.valid, steps, size)
    change = jnp.zeros(size, int).at[slot].add(jnp.where(double, 2, 1), mode="drop")
    count = jnp.zeros(size, int).at[slot].add(1, mode="drop")
    # At a branch point it depends on the branch.
    free = jnp.zeros(size, bool).at[slot].max(crossing, mode="drop")
    actual = jnp.abs(unstable[1:] - unstable[:-1])
    change, count, free = change[1:], count[1:], free[1:]
    single = actual == change
    several = (actual <= change) & ((actual - change) % 2 == 0)
    right = free | jnp.where(count <= 1, single, several)
    return jnp.all(right | ~(sure[1:] & sure[:-1]))
