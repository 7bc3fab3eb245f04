"""Where two equilibria meet and vanish."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float

from .._results import RESULTS
from ._base import AbstractCondition, locate
from ._linear import form, null_vectors, solve_singular, vanishing


class Fold(eqx.Module):
    """A fold (saddle-node, limit point) of equilibria.

    - `point`: shape `(n,)`; `parameter`: shape `()`.
    - `null_vector`: shape `(n,)`, v, of unit length, its largest component positive.
    - `coefficient`: shape `()`, a = w·F_hh(v, v)/2 with w the left null vector, w·v = 1:
      on the centre manifold the state moves like x' = b (p − p*) + a x². The sign of a
      turns with v.
    - `distance`: shape `()`, how far the answer lies from the guess.
    - `result`: how it ended.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch"]
    null_vector: Float[Array, "*batch n"]
    coefficient: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_fold(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> Fold:
    """A fold near a guess: the increment and the determinant of its Jacobian vanish.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a system.
    - `point`, `parameter`: the guess, shapes `(n,)` and `()`.

    **Returns:** a `Fold`, with derivatives of every order with respect to everything that
    the family closes over.

    **Fails:** NaN, and `result` is `nonfinite`, `not_converged`, `elsewhere` (further from
    the guess than half its size), or `degenerate` (the family does not cross the fold with
    nonzero speed, as at a branch point, or the quadratic coefficient vanishes, as at a
    cusp). `ValueError` in single precision and for shapes that do not fit.

    **Source:** Kuznetsov, Elements of Applied Bifurcation Theory, sections 3.2 and 10.2.
    """
    return locate(FoldCondition(), family, point, parameter)


class FoldCondition(AbstractCondition):
    verb = "locate_fold"
    codimension = 1

    def tests(self, field, point, parameter):
        return [vanishing(jax.jacfwd(field)(point, parameter))]

    def read(self, field, point, parameter, extra):
        v, a = quadratic(lambda x: field(x, parameter), point)
        return Fold(point, parameter, v, a), [], []


def quadratic(f, point):
    """Null vector and quadratic coefficient at a point with a zero eigenvalue."""
    v, w = null_vectors(jax.jacfwd(f)(point))
    return v, w @ form(f, point, v, v) / 2


def cubic(f, point, v, w, jacobian):
    """The cubic coefficient on the centre manifold of a zero eigenvalue; it has a meaning
    of its own only where the quadratic one vanishes."""
    bend = solve_singular(jacobian, -form(f, point, v, v), v, w)
    third = form(f, point, v, v, v) + 3 * form(f, point, v, bend)
    return w @ third / 6
