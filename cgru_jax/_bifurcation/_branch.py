"""Branches of equilibria, with everything that happens to them on the way."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int

from .. import _arclength, _scalars
from .._arclength import Curve, Setting
from .._conditions import (
    hoist_field,
    is_oscillation,
    pose,
    stability_tests,
    vanishing,
)
from .._errors import real_array
from .._implicit import attach
from .._linalg import CLOSED_FORM_SIZE, eigenvalues
from .._program import hoist
from .._results import EVENTS, RESULTS, choose
from .._systems import Map
from ._base import Events, blank, check_extent, explained, why_ended


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
    low, high, direction = check_extent(verb, bounds, direction, capacity, parameter)
    n = point.shape[0]
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
    program, arrays = hoist_field(field, point, parameter)
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
    known = explained(events, steps, unstable, valid & ~marginal)
    return Branch(
        points=blank(valid, points),
        parameters=blank(valid, places[:, n]),
        eigenvalues=blank(valid, values),
        unstable=unstable,
        valid=valid,
        events=events,
        result=why_ended(path, path.unresolved | ~known),
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
        points=blank(used, places[:, :n]),
        parameters=blank(used, places[:, n]),
        valid=used,
    )
    return events, steps
