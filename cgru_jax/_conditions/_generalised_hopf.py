"""Where a Hopf bifurcation changes from soft to hard."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._linalg import solve
from .._results import RESULTS
from .._systems import Flow
from ._base import AbstractCondition, locate
from ._hopf import first_lyapunov, frequency, pair_vectors
from ._linear import additive_compound, form, vanishing


class GeneralisedHopf(eqx.Module):
    """A generalised Hopf (Bautin) point: a pair on the axis, and l₁ = 0.

    - `point`: shape `(n,)`; `parameter`: shape `(2,)`; `frequency`: shape `()`.
    - `lyapunov`: shape `()`, the second Lyapunov coefficient l₂.
    - `distance`, `result`: as in `Hopf`.
    """

    point: Float[Array, "*batch n"]
    parameter: Float[Array, "*batch 2"]
    frequency: Float[Array, "*batch"]
    lyapunov: Float[Array, "*batch"]
    distance: Float[Array, "*batch"] | None = None
    result: RESULTS | None = None


def locate_generalised_hopf(
    family: Callable, point: ArrayLike | list, parameter: ArrayLike | list
) -> GeneralisedHopf:
    """A generalised Hopf point near a guess, in a family of two parameters.

    **Arguments:** `family`: from a parameter, shape `(2,)`, to a `Flow` of two dimensions
    or more; `point`, `parameter`: the guess.

    **Returns:** a `GeneralisedHopf`, differentiable as a `Hopf` is.

    **Fails:** as `locate_hopf`.

    **Source:** Kuznetsov, section 8.3; the formula of l₂ after Kuznetsov (1999), "Numerical
    normalization techniques for all codim 2 bifurcations of equilibria in ODE's".
    """
    return locate(GeneralisedHopfCondition(), family, point, parameter)


class GeneralisedHopfCondition(AbstractCondition):
    verb = "locate_generalised_hopf"
    codimension = 2
    reading = Flow
    smallest = 2

    def tests(self, field, point, parameter):
        f = lambda x: field(x, parameter)
        jacobian = jax.jacfwd(f)(point)
        omega, _ = frequency(jacobian)
        return [vanishing(additive_compound(jacobian)), first_lyapunov(f, point, omega)[0]]

    def read(self, field, point, parameter, extra):
        f = lambda x: field(x, parameter)
        omega, refusals = frequency(jax.jacfwd(f)(point))
        l2, size = second_lyapunov(f, point, omega)
        remarks = [(jnp.abs(l2) <= 1e-9 * (1 + size), RESULTS.degenerate)]
        return GeneralisedHopf(point, parameter, omega, l2), refusals, remarks


def second_lyapunov(f, point, omega):
    """l₂ where l₁ vanishes, and the size of the terms that it is the sum of."""
    jacobian, q, p = pair_vectors(f, point, 1j * omega)
    r = jnp.conj(q)
    n = point.shape[0]
    eye = jnp.eye(n)
    D = lambda *directions: form(f, point, *directions)
    at = lambda k, b: solve(1j * k * omega * eye - jacobian, b)

    h20, h11 = at(2, D(q, q)), at(0, D(q, r)).real + 0j
    h30 = at(3, D(q, q, q) + 3 * D(q, h20))
    g21 = D(q, q, r) + D(r, h20) + 2 * D(q, h11)
    c1 = p @ g21 / 2
    border = jnp.zeros((n + 1, n + 1), complex)
    border = border.at[:n, :n].set(1j * omega * eye - jacobian)
    border = border.at[:n, n].set(q).at[n, :n].set(p)
    h21 = solve(border, jnp.append(g21 - 2 * c1 * q, 0))[:n]
    h31 = at(
        2,
        D(q, q, q, r) + 3 * D(q, q, h11) + 3 * D(q, r, h20) + 3 * D(h20, h11)
        + D(r, h30) + 3 * D(q, h21) - 6 * c1 * h20,
    )  # fmt: skip
    h22 = at(
        0,
        D(q, q, r, r) + 4 * D(q, r, h11) + D(r, r, h20) + D(q, q, jnp.conj(h20))
        + 2 * D(h11, h11) + 2 * D(q, jnp.conj(h21)) + 2 * D(r, h21)
        + D(jnp.conj(h20), h20) - 4 * c1.real * h11,
    )  # fmt: skip
    g32 = jnp.stack(
        [
            D(q, q, q, r, r), D(q, q, q, jnp.conj(h20)), 3 * D(q, r, r, h20),
            6 * D(q, q, r, h11), D(r, r, h30), 3 * D(q, q, jnp.conj(h21)),
            6 * D(q, r, h21), 3 * D(q, jnp.conj(h20), h20), 6 * D(q, h11, h11),
            6 * D(r, h20, h11), 2 * D(r, h31), 3 * D(q, h22), D(jnp.conj(h20), h30),
            3 * D(jnp.conj(h21), h20), 6 * D(h11, h21),
        ]
    )  # fmt: skip
    terms = g32 @ p / (12 * omega)
    return jnp.sum(terms.real), jnp.sum(jnp.abs(terms))
