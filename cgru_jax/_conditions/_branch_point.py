"""Where two branches of equilibria cross."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._implicit import smallest_singular
from .._results import RESULTS
from ._base import AbstractCondition, locate
from ._fold import cubic, quadratic
from ._linear import form, null_vectors, solve_singular


class BranchPoint(eqx.Module):
    """A simple branch point: two branches of equilibria cross.

    - `point`: shape `(n,)`; `parameter`: shape `()`.
    - `tangents`: shape `(2, n + 1)`, unit vectors along the branches, the parameter last;
      the first row belongs to the branch on which the parameter moves faster. To follow
      one give it to `trace_branch` as `along`.
    - `quadratic`, `cubic`: shape `()`, a and c of the normal form
      x' = b (p − p*) x + a x² + c x³ on the centre manifold. a ≠ 0: the branches
      exchange stability (transcritical); a = 0: a pitchfork, supercritical for c < 0.
    - `distance`, `result`: as in `Fold`.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch"]
    tangents: Float[Array, "*batch 2 m"]
    quadratic: Float[Array, "*batch"]
    cubic: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_branch_point(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> BranchPoint:
    """A branch point near a guess.

    A branch point does not survive a general change of the family. The equations therefore
    allow for a constant imperfection along the left null vector, and the answer is
    accepted where that vanishes; its derivatives are right for changes that keep the
    branch point.

    **Arguments:** `family`: from a parameter, shape `()`, to a system; `point`,
    `parameter`: the guess.

    **Returns:** a `BranchPoint`, with derivatives of every order.

    **Fails:** NaN, and `result` is as for `locate_fold`; `wrong_kind` where branches only
    come near to each other, `degenerate` where they touch.

    **Source:** the extended system of G. Moore (1980); Kuznetsov, section 10.2.
    """
    return locate(BranchPointCondition(), family, point, parameter)


class BranchPointCondition(AbstractCondition):
    verb = "locate_branch_point"
    codimension = 1

    def begin(self, field, point, parameter):
        left = smallest_singular(jax.jacfwd(field)(point, parameter))[1]
        return jnp.append(left, 0)

    def residual(self, field, point, parameter, extra):
        left, imperfection = extra[:-1], extra[-1]
        value, pull = jax.vjp(field, point, parameter)
        by_point, by_parameter = pull(left)
        return jnp.concatenate(
            [
                value + imperfection * left,
                by_point,
                jnp.stack([by_parameter, left @ left - 1]),
            ]
        )

    def read(self, field, point, parameter, extra):
        f = lambda x: field(x, parameter)
        jacobian = jax.jacfwd(f)(point)
        v, w = null_vectors(jacobian)
        slope = jax.jacfwd(field, argnums=1)(point, parameter)
        bend = solve_singular(jacobian, -slope, v, w)
        whole = lambda u: field(u[:-1], u[-1])
        here = jnp.append(point, parameter)
        along, across = jnp.append(v, 0), jnp.append(bend, 1)
        aa, ab, bb = (
            w @ form(whole, here, *pair)
            for pair in ((along, along), (along, across), (across, across))
        )
        gap = ab**2 - aa * bb
        size = ab**2 + jnp.abs(aa * bb)
        # The two roots of aa x² + 2 ab x y + bb y², without cancellation.
        root = jnp.sqrt(jnp.where(gap > 0, gap, 1))
        big = -(ab + jnp.where(ab < 0, -root, root))
        rows = jnp.stack([big * along + aa * across, bb * along + big * across])
        rows = rows / jnp.sqrt(jnp.sum(rows**2, axis=1, keepdims=True))
        first = jnp.argmax(jnp.abs(rows[:, -1]))
        rows = jnp.where(first == 0, rows, rows[::-1])
        imperfection = jnp.abs(extra[-1])
        scale = jnp.max(jnp.abs(whole(here + along))) + jnp.max(jnp.abs(aa))
        refusals = [
            (imperfection > 1e-10 * (1 + scale), RESULTS.wrong_kind),
            (~(gap > 1e-12 * size), RESULTS.degenerate),
        ]
        a = quadratic(f, point)[1]
        c = cubic(f, point, v, w, jacobian)
        return BranchPoint(point, parameter, rows, a, c), refusals, []
