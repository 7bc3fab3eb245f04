"""Where a fold and a Hopf bifurcation meet: a double zero eigenvalue."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float

from .._results import RESULTS
from .._systems import Flow
from ._base import AbstractCondition, locate
from ._linear import additive_compound, form, null_vectors, solve_singular, vanishing


class BogdanovTakens(eqx.Module):
    """A Bogdanov–Takens point: a double zero eigenvalue with one eigenvector.

    - `point`: shape `(n,)`; `parameter`: shape `(2,)`.
    - `null_vector`: shape `(n,)`, of unit length, its largest component positive.
    - `a`, `b`: shape `()`, of the normal form x' = y, y' = β₁ + β₂ x + a x² + b x y.
    - `distance`, `result`: as in `Fold`.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch 2"]
    null_vector: Float[Array, "*batch n"]
    a: Float[Array, "*batch"]
    b: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_bogdanov_takens(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> BogdanovTakens:
    """A Bogdanov–Takens point near a guess, in a family of two parameters.

    **Arguments:** `family`: from a parameter, shape `(2,)`, to a `Flow` of two dimensions
    or more; `point`, `parameter`: the guess.

    **Returns:** a `BogdanovTakens`, differentiable as a `Fold` is.

    **Fails:** as `locate_fold`; `wrong_kind` where a zero eigenvalue and a pair on the axis
    meet, without a double zero.

    **Source:** Kuznetsov, section 8.4.
    """
    return locate(BogdanovTakensCondition(), family, point, parameter)


class BogdanovTakensCondition(AbstractCondition):
    verb = "locate_bogdanov_takens"
    codimension = 2
    reading = Flow
    smallest = 2

    def tests(self, field, point, parameter):
        jacobian = jax.jacfwd(field)(point, parameter)
        return [vanishing(jacobian), vanishing(additive_compound(jacobian))]

    def read(self, field, point, parameter, extra):
        f = lambda x: field(x, parameter)
        jacobian = jax.jacfwd(f)(point)
        q0, q1, p0, p1, defect = chains(jacobian)
        a = p1 @ form(f, point, q0, q0) / 2
        b = p0 @ form(f, point, q0, q0) + p1 @ form(f, point, q0, q1)
        refusals = [(defect > 1e-6, RESULTS.wrong_kind)]
        return BogdanovTakens(point, parameter, q0, a, b), refusals, []


def chains(jacobian):
    """Jordan chains J q1 = q0, Jᵀ p0 = p1 of a double zero, with p_i q_j = δ_ij, and how
    far the zero is from double: the product of unit left and right null vectors."""
    # A left null vector normalised by w v = 1 would be infinite here.
    q0, _ = null_vectors(jacobian)
    p1, _ = null_vectors(jacobian.T)
    defect = abs(p1 @ q0)
    q1 = solve_singular(jacobian, q0, p1, q0)
    p1 = p1 / (p1 @ q1)
    p0 = solve_singular(jacobian.T, p1, q0, p1)
    # What is left to choose makes p0 q0 = 1 (it is) and p0 q1 = 0.
    return q0, q1, p0 - (p0 @ q1) * p1, p1, defect
