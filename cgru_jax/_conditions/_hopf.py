"""Where an equilibrium starts to oscillate."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._linalg import eigenvalues, solve
from .._results import RESULTS
from .._systems import Flow
from ._base import AbstractCondition, locate
from ._linear import additive_compound, form, null_vectors, vanishing


class Hopf(eqx.Module):
    """A Hopf bifurcation.

    - `point`: shape `(n,)`; `parameter`: shape `()`.
    - `frequency`: shape `()`, ω > 0 of the pair ±iω.
    - `lyapunov`: shape `()`, the first Lyapunov coefficient l₁: negative, a stable cycle
      (if the other modes are stable) is born on the side where the equilibrium is
      unstable; positive, an unstable one on the other side.
    - `distance`: shape `()`, how far the answer lies from the guess.
    - `result`: how it ended.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch"]
    frequency: Float[Array, "*batch"]
    lyapunov: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_hopf(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> Hopf:
    """A Hopf bifurcation near a guess: two eigenvalues have the sum zero, and are not real.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a `Flow` of two dimensions or more.
    - `point`, `parameter`: the guess, shapes `(n,)` and `()`.

    **Returns:** a `Hopf`, with derivatives of every order with respect to everything that
    the family closes over.

    **Fails:** NaN, and `result` is `nonfinite`, `not_converged`, `elsewhere` (further from
    the guess than half its size), `wrong_kind` (the two eigenvalues are real: a neutral
    saddle), or `degenerate` (the pair does not cross the axis, or ω vanishes). Where only
    l₁ vanishes, `result` is `degenerate` too, and the values stand. `ValueError` for a
    `Map` (see `locate_neimark_sacker`), for one dimension, and in single precision.

    **Source:** Kuznetsov, Elements of Applied Bifurcation Theory, section 3.5 and equation
    (3.20), with |q| = 1 and ⟨p, q⟩ = 1.
    """
    return locate(HopfCondition(), family, point, parameter)


class HopfCondition(AbstractCondition):
    verb = "locate_hopf"
    codimension = 1
    reading = Flow
    smallest = 2

    def tests(self, field, point, parameter):
        return [vanishing(additive_compound(jax.jacfwd(field)(point, parameter)))]

    def read(self, field, point, parameter, extra):
        f = lambda x: field(x, parameter)
        omega, refusals = frequency(jax.jacfwd(f)(point))
        l1, size = first_lyapunov(f, point, omega)
        # l₁ is a sum of terms of this size; what is left of it may be rounding.
        remarks = [(jnp.abs(l1) <= 1e-9 * (1 + size), RESULTS.degenerate)]
        return Hopf(point, parameter, omega, l1), refusals, remarks


def frequency(jacobian):
    """ω of the pair on the axis, and the reasons to refuse it."""
    scale = jnp.max(jnp.abs(jacobian)) ** 2
    square = squared_frequency(jacobian)
    refusals = [
        (square < -1e-8 * scale, RESULTS.wrong_kind),
        (~(square > 1e-8 * scale), RESULTS.degenerate),
    ]
    return jnp.sqrt(jnp.where(square > 0, square, 1)), refusals


def squared_frequency(jacobian):
    """ω² where two eigenvalues have the sum zero; negative where they are real.

    It is a rational function of the Jacobian there, in closed form up to three dimensions;
    beyond, from a simple eigenvalue refined by Newton's method, whose two steps carry its
    first three derivatives.
    """
    n = jacobian.shape[0]
    if n == 2:
        return jacobian[0, 0] * jacobian[1, 1] - jacobian[0, 1] * jacobian[1, 0]
    if n == 3:
        return sum(_minors(jacobian))
    values = eigenvalues(jax.lax.stop_gradient(jacobian))
    # Of all pairs with the least sum, λ itself: its partner is its negative.
    sums = jnp.abs(values[:, None] + values[None, :])
    sums = jnp.where(jnp.eye(n, dtype=bool), jnp.inf, sums)
    value = values[jnp.unravel_index(jnp.argmin(sums), sums.shape)[0]]
    return -jnp.real(follow_eigenvalue(jacobian, value) ** 2)


def _minors(a):
    pairs = ((0, 1), (0, 2), (1, 2))
    return [a[i, i] * a[j, j] - a[i, j] * a[j, i] for i, j in pairs]


def follow_eigenvalue(jacobian, value):
    """A simple eigenvalue, known at frozen entries, with its derivatives."""
    eye = jnp.eye(jacobian.shape[0])
    for _ in range(2):
        v, w = null_vectors(jax.lax.stop_gradient(jacobian - value * eye))
        # Newton's method on the bordered determinant: d/dλ is −1 for w v = 1.
        shifted = jacobian - value * eye
        n = jacobian.shape[0]
        matrix = jnp.zeros((n + 1, n + 1), shifted.dtype)
        matrix = matrix.at[:n, :n].set(shifted).at[:n, n].set(v).at[n, :n].set(w)
        unit = jnp.zeros(n + 1, shifted.dtype).at[n].set(1)
        right = jnp.linalg.solve(matrix, unit)
        left = jnp.linalg.solve(matrix.T, unit)
        value = value - right[n] / (left[:n] @ right[:n])
    return value


def pair_vectors(f, point, value):
    """q with |q| = 1 and p with p̄·q = 1, of a complex eigenvalue; p̄ is returned."""
    jacobian = jax.jacfwd(f)(point)
    q, conjugate_p = null_vectors(jacobian - value * jnp.eye(point.shape[0]))
    return jacobian, q, conjugate_p


def first_lyapunov(f, point, omega):
    """l₁, and the size of the terms that it is the sum of."""
    jacobian, q, p = pair_vectors(f, point, 1j * omega)
    r = jnp.conj(q)
    eye = jnp.eye(point.shape[0])
    h11 = solve(jacobian, form(f, point, q, r))
    h20 = solve(2j * omega * eye - jacobian, form(f, point, q, q))
    terms = jnp.stack(
        [
            p @ form(f, point, q, q, r),
            -2 * p @ form(f, point, q, h11),
            p @ form(f, point, r, h20),
        ]
    )
    l1 = jnp.sum(jnp.real(terms)) / (2 * omega)
    return l1, jnp.sum(jnp.abs(terms)) / (2 * omega)
