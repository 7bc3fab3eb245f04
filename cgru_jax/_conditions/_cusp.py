"""Where two folds meet and vanish."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float

from .._results import RESULTS
from ._base import AbstractCondition, locate
from ._fold import cubic, quadratic
from ._linear import null_vectors, vanishing


class Cusp(eqx.Module):
    """A cusp: three equilibria meet.

    - `point`: shape `(n,)`; `parameter`: shape `(2,)`; `null_vector`: as in `Fold`.
    - `coefficient`: shape `()`, c of the normal form x' = b₁ + b₂ x + c x³.
    - `distance`, `result`: as in `Fold`.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch 2"]
    null_vector: Float[Array, "*batch n"]
    coefficient: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_cusp(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> Cusp:
    """A cusp near a guess, in a family of two parameters.

    **Arguments:** `family`: from a parameter, shape `(2,)`, to a system; `point`,
    `parameter`: the guess.

    **Returns:** a `Cusp`, differentiable as a `Fold` is.

    **Fails:** as `locate_fold`; `degenerate` also where c vanishes.

    **Source:** Kuznetsov, section 8.2.
    """
    return locate(CuspCondition(), family, point, parameter)


class CuspCondition(AbstractCondition):
    verb = "locate_cusp"
    codimension = 2

    def tests(self, field, point, parameter):
        f = lambda x: field(x, parameter)
        return [vanishing(jax.jacfwd(f)(point)), quadratic(f, point)[1]]

    def read(self, field, point, parameter, extra):
        f = lambda x: field(x, parameter)
        jacobian = jax.jacfwd(f)(point)
        v, w = null_vectors(jacobian)
        c = cubic(f, point, v, w, jacobian)
        return Cusp(point, parameter, v, c), [], []
