"""Saddle-nodes that appear on a cycle."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .._bifurcation._base import blank
from .._conditions import FoldCondition, as_field, hoist_field, locate, null_vectors
from .._cycles import Cycle
from .._cycles._along import pose_cycle
from .._results import RESULTS, choose
from .._systems import Flow

MOST = 8  # places of one cycle at which equilibria may appear at once
# A place counts as slow if the orbit is nowhere more than this many times slower.
SLOW = 4.0
TOGETHER = 1e-7  # parameters that are equal but for rounding, which a fold takes a root of
# The passages make up this part of the period at least; a first guess is not wrong by more.
LEAST, MOST_TIME = 0.5, 1.5
NEAR = 0.1  # how far from the cycle a saddle-node may be, in sizes of the cycle


class SNIC(eqx.Module):
    """Saddle-nodes on an invariant circle: where a cycle ends because equilibria appear on
    it, in 8 slots of which some are used.

    - `points`: shape `(8, n)`, the saddle-nodes; `valid`: shape `(8,)`, which there are.
    - `parameter`: shape `()`, at which they appear.
    - `passage`: shape `()`, to which period · √|distance of the parameter| tends.
    - `result`: how it ended.
    """

    points: Float[Array, "*batch k n"]
    valid: Bool[Array, "*batch k"]
    parameter: Float[Array, "*batch"]
    passage: Float[Array, "*batch"]
    result: RESULTS


def locate_snic(family: Callable, cycle: Cycle, parameter: ArrayLike) -> SNIC:
    r"""The saddle-nodes that are about to appear on a slow cycle.

    The slowest places of the cycle are solved for folds of equilibria. They end it if they
    all appear at one parameter, beside the cycle and ahead of it, and if the times in
    which their normal forms $u' = a\,δ + b\,u^2$ are passed, $π/\sqrt{a b δ}$ each, make up
    the period. A cycle that is slow because it comes near to a saddle does not pass.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a `Flow`.
    - `cycle`, `parameter`: a slow cycle, as the last one of `trace_cycles` with the result
      `slow`, and its parameter. Slow enough is one whose period is 2/3 to 2 times the
      $π/\sqrt{a b δ}$ of all its passages together: most of it is spent where the
      saddle-nodes will be. Farther off, follow the branch on.

    **Returns:** a `SNIC`, with derivatives with respect to everything that the family
    closes over.

    **Fails:** NaN, and `result` is `nonfinite` (also of a cycle that was not found) or
    `no_saddle_node` (none ahead beside the cycle, or none that account for its period).
    `ValueError` for what does not fit.

    **Source:** Kuznetsov, Elements of Applied Bifurcation Theory, section 7.1; the
    comparison of times is derived here.
    """
    verb = "locate_snic"
    field, point, parameter = pose_cycle(verb, family, cycle, parameter, 8)
    program, arrays = hoist_field(field, point, parameter)
    return _locate(program, arrays, cycle, parameter)


@eqx.filter_jit
def _locate(program, arrays, cycle, parameter):
    cycle, parameter = jax.lax.stop_gradient((cycle, parameter))
    field = as_field(program, arrays)
    finite = jnp.isfinite(parameter) & jnp.all(jnp.isfinite(cycle.points))
    for array in arrays:
        finite &= jnp.all(jnp.isfinite(jax.lax.stop_gradient(array)))
    points = jnp.where(finite, cycle.points, 0.0)
    speeds = jnp.linalg.norm(jax.vmap(lambda x: field(x, parameter))(points), axis=1)
    least = (speeds <= jnp.roll(speeds, 1)) & (speeds < jnp.roll(speeds, -1))
    slow = jnp.where(least & (speeds <= SLOW * jnp.min(speeds)), speeds, jnp.inf)
    rank = jnp.argsort(jax.lax.stop_gradient(slow))[:MOST]
    extent = jnp.max(jnp.max(points, axis=0) - jnp.min(points, axis=0))

    def passage(point):
        """A saddle-node near a slow place, and the limit of time · √distance."""
        fold = locate(
            FoldCondition(), lambda p: Flow(lambda x: field(x, p)), point, parameter
        )
        sound = fold.result == RESULTS.successful
        place = jnp.where(sound, fold.point, point)
        at = jnp.where(sound, fold.parameter, parameter)
        _, w = null_vectors(jax.jacfwd(field)(place, at))
        drift = w @ jax.jacfwd(field, 1)(place, at)
        # The sign says on which side of the parameter nothing stands in the way.
        product = drift * fold.coefficient
        ahead = product * (parameter - at)
        away = jnp.min(jnp.linalg.norm(points - place, axis=1))
        sound &= (ahead > 0) & (away <= NEAR * extent)
        limit = jnp.pi / jnp.sqrt(jnp.where(sound, jnp.abs(product), 1.0))
        return place, at, limit, sound

    places, at, limits, sound = jax.vmap(passage)(points[rank])
    sound &= jnp.isfinite(slow[rank])
    first = jnp.argmin(jnp.where(sound, jnp.abs(at - parameter), jnp.inf))
    where = at[first]
    together = jnp.abs(at - where) <= TOGETHER * (1 + jnp.abs(where))
    # Two slow places may lead to one saddle-node.
    gaps = jnp.max(jnp.abs(places[:, None] - places[None]), axis=2)
    before = jnp.arange(MOST)[:, None] > jnp.arange(MOST)
    double = jnp.any((gaps <= 1e-6 * extent) & before & sound, axis=1)
    valid = sound & together & ~double
    total = jnp.sum(jnp.where(valid, limits, 0.0))
    share = total / jnp.sqrt(jnp.abs(parameter - where)) / cycle.period
    good = finite & jnp.any(valid) & (share >= LEAST) & (share <= MOST_TIME)
    valid &= good
    return SNIC(
        points=blank(valid, places),
        valid=valid,
        parameter=jnp.where(good, where, jnp.nan),
        passage=jnp.where(good, total, jnp.nan),
        result=choose(
            RESULTS,
            RESULTS.no_saddle_node,
            (~finite, RESULTS.nonfinite),
            (good, RESULTS.successful),
        ),
    )
