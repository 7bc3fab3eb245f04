"""Where two cycles meet and vanish."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._conditions import AbstractCondition, hoist_field, locate
from .._results import RESULTS
from .._systems import Flow
from ._along import INTERVALS, pose_cycle
from ._base import Cycle, extremes, fold_test
from ._collocation import pieces_through
from ._moving import begin, equations, field_at, split


class CycleFold(eqx.Module):
    """A fold of cycles.

    - `points`: shape `(N, n)`; `times`: shape `(N,)`; `period`: shape `()`; `low`, `high`:
      shape `(n,)`: as in `Cycle`.
    - `parameter`: shape `()`.
    - `distance`: shape `()`, how far first point and parameter lie from the guess.
    - `result`: how it ended.
    """

    points: Float[Array, "*batch N n"]
    times: Float[Array, "*batch N"]
    period: Float[Array, "*batch"]
    low: Float[Array, "*batch n"]
    high: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_cycle_fold(
    family: Callable,
    cycle: Cycle,
    parameter: ArrayLike,
    *,
    intervals: int = INTERVALS,
) -> CycleFold:
    """A fold of cycles (limit point of cycles) near a cycle: a second multiplier is 1.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a `Flow`.
    - `cycle`, `parameter`: a cycle near the fold and its parameter, as an event of
      `trace_cycles` gives them, or `find_cycle`.
    - `intervals`: an even number of intervals of the mesh.

    **Returns:** a `CycleFold`, with derivatives of every order with respect to everything
    that the family closes over.

    **Fails:** as `locate_fold`; `degenerate` at a cusp of cycles, `no_cycle` where the
    iteration shrinks to an equilibrium.

    **Source:** Kuznetsov, Elements of Applied Bifurcation Theory, section 5.3; in the plane
    the multiplier is 1 where the integral of the divergence vanishes.
    """
    verb = "locate_cycle_fold"
    field, point, parameter = pose_cycle(verb, family, cycle, parameter, intervals)
    program, arrays = hoist_field(field, point, parameter)
    start, view = _start(program, intervals, arrays, cycle, parameter)
    n = point.shape[0]
    return locate(CycleFoldCondition(start[n:], view), family, start[:n], parameter)


@eqx.filter_jit
def _start(program, intervals, arrays, cycle, parameter):
    return begin(field_at(program, arrays, parameter), cycle, intervals)


class CycleFoldCondition(AbstractCondition):
    """`rest`: a guess of all unknowns but the first point and the parameter."""

    rest: Float[Array, " e"]
    view: Float[Array, " n"]
    verb = "locate_cycle_fold"
    codimension = 1
    reading = Flow
    smallest = 2

    def begin(self, field, point, parameter):
        return jax.lax.stop_gradient(self.rest)

    def residual(self, field, point, parameter, extra):
        program = lambda _, u: field(u[:-1], u[-1])
        unknown = jnp.concatenate([point, extra, parameter[None]])
        closed = equations(program, None, self.view, unknown)
        points, steps, parameter = split(unknown, self.view.shape[0])
        meeting = fold_test(lambda x: field(x, parameter), points, steps)
        return jnp.append(closed, meeting)

    def read(self, field, point, parameter, extra):
        unknown = jnp.concatenate([point, extra, parameter[None]])
        points, steps, parameter = split(unknown, self.view.shape[0])
        f = lambda x: field(x, parameter)
        low, high = extremes(pieces_through(f, points, steps), points, jax.vmap(f)(points))
        answer = CycleFold(
            points, jnp.cumsum(steps) - steps, jnp.sum(steps), low, high, parameter
        )
        # Ten times smaller than the guess is another thing: a generalised Hopf point.
        shrunk = extra[-2] < self.rest[-2] - jnp.log(10.0)
        return answer, [(shrunk, RESULTS.no_cycle)], []
