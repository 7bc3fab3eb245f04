"""Bifurcations that only a map has: a multiplier −1, or a pair on the circle."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._linalg import determinant, eigenvalues, solve
from .._results import RESULTS
from .._systems import Map
from ._base import AbstractCondition, locate
from ._hopf import follow_eigenvalue, pair_vectors
from ._linear import form, multiplicative_compound, null_vectors, vanishing


class PeriodDoubling(eqx.Module):
    """A period doubling (flip) of an equilibrium of a map.

    - `point`: shape `(n,)`; `parameter`: shape `()`.
    - `coefficient`: shape `()`, b of the normal form x⁺ = −x + b x³: positive, a stable
      cycle of period two is born (if the other modes are stable).
    - `distance`, `result`: as in `Fold`.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch"]
    coefficient: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


class NeimarkSacker(eqx.Module):
    """A Neimark–Sacker bifurcation of an equilibrium of a map.

    - `point`: shape `(n,)`; `parameter`: shape `()`.
    - `angle`: shape `()`, θ in (0, π) of the multipliers e^{±iθ}.
    - `coefficient`: shape `()`, d: negative, a stable closed curve is born.
    - `distance`, `result`: as in `Fold`.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch"]
    angle: Float[Array, "*batch"]
    coefficient: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_period_doubling(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> PeriodDoubling:
    """A period doubling near a guess.

    **Arguments:** `family`: from a parameter, shape `()`, to a `Map`; `point`,
    `parameter`: the guess.

    **Returns:** a `PeriodDoubling`, differentiable as a `Fold` is.

    **Fails:** as `locate_fold`; where only b vanishes, `result` is `degenerate` and the
    values stand.

    **Source:** Kuznetsov, sections 4.5 and 5.4.
    """
    return locate(PeriodDoublingCondition(), family, point, parameter)


class PeriodDoublingCondition(AbstractCondition):
    verb = "locate_period_doubling"
    codimension = 1
    reading = Map

    def tests(self, field, point, parameter):
        jacobian = jax.jacfwd(field)(point, parameter)
        return [vanishing(jacobian + 2 * jnp.eye(point.shape[0]))]

    def read(self, field, point, parameter, extra):
        f = lambda x: field(x, parameter)
        jacobian = jax.jacfwd(f)(point)
        q, p = null_vectors(jacobian + 2 * jnp.eye(point.shape[0]))
        bend = solve(-jacobian, form(f, point, q, q))
        terms = jnp.stack([p @ form(f, point, q, q, q), 3 * p @ form(f, point, q, bend)])
        b, size = jnp.sum(terms) / 6, jnp.sum(jnp.abs(terms)) / 6
        remarks = [(jnp.abs(b) <= 1e-9 * (1 + size), RESULTS.degenerate)]
        return PeriodDoubling(point, parameter, b), [], remarks


def locate_neimark_sacker(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> NeimarkSacker:
    """A Neimark–Sacker bifurcation near a guess: two multipliers have the product one, and
    are not real.

    **Arguments:** `family`: from a parameter, shape `()`, to a `Map` of two dimensions or
    more; `point`, `parameter`: the guess.

    **Returns:** a `NeimarkSacker`, differentiable as a `Hopf` is.

    **Fails:** as `locate_hopf`. Strong resonances (θ = π/2, 2π/3) are not singled out.

    **Source:** Kuznetsov, sections 4.7 and 5.4.
    """
    return locate(NeimarkSackerCondition(), family, point, parameter)


class NeimarkSackerCondition(AbstractCondition):
    verb = "locate_neimark_sacker"
    codimension = 1
    reading = Map
    smallest = 2

    def tests(self, field, point, parameter):
        compound = multiplicative_compound(_multipliers(field, point, parameter))
        return [vanishing(compound - jnp.eye(compound.shape[0]))]

    def read(self, field, point, parameter, extra):
        f = lambda x: field(x, parameter)
        cosine = real_part(_multipliers(field, point, parameter))
        angle = jnp.arccos(jnp.where(jnp.abs(cosine) < 1, cosine, 0))
        refusals = [
            (jnp.abs(cosine) > 1 + 1e-8, RESULTS.wrong_kind),
            (~(jnp.abs(cosine) < 1 - 1e-8), RESULTS.degenerate),
        ]
        d, size = _coefficient(f, point, angle)
        remarks = [(jnp.abs(d) <= 1e-9 * (1 + size), RESULTS.degenerate)]
        return NeimarkSacker(point, parameter, angle, d), refusals, remarks


def _multipliers(field, point, parameter):
    return jax.jacfwd(field)(point, parameter) + jnp.eye(point.shape[0])


def real_part(multipliers):
    """cos θ of two multipliers whose product is one; beyond ±1 where they are real."""
    n = multipliers.shape[0]
    if n == 2:
        return jnp.trace(multipliers) / 2
    if n == 3:
        # The third multiplier is the determinant.
        return (jnp.trace(multipliers) - determinant(multipliers)) / 2
    values = eigenvalues(jax.lax.stop_gradient(multipliers))
    products = jnp.abs(values[:, None] * values[None, :] - 1)
    products = jnp.where(jnp.eye(n, dtype=bool), jnp.inf, products)
    value = values[jnp.unravel_index(jnp.argmin(products), products.shape)[0]]
    value = follow_eigenvalue(multipliers, value)
    return jnp.real(value + 1 / value) / 2


def _coefficient(f, point, angle):
    """d, and the size of the terms that it is the sum of."""
    turn = jnp.exp(1j * angle)
    jacobian, q, p = pair_vectors(f, point, turn - 1)
    r = jnp.conj(q)
    h11 = solve(-jacobian, form(f, point, q, r))
    second = turn**2 * jnp.eye(point.shape[0]) - (jacobian + jnp.eye(point.shape[0]))
    h20 = solve(second, form(f, point, q, q))
    terms = jnp.stack(
        [
            p @ form(f, point, q, q, r),
            2 * p @ form(f, point, q, h11),
            p @ form(f, point, r, h20),
        ]
    )
    return jnp.sum(jnp.real(terms / turn)) / 2, jnp.sum(jnp.abs(terms)) / 2
