"""One field, two readings of time."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float


class AbstractSystem(eqx.Module):
    """A field of increments together with what an increment means.

    `field` is a cell or any function from a state of shape `(n,)` to one of the same shape.
    Both readings share equilibria and Jacobian; they differ only in `growth`.
    """

    field: eqx.AbstractVar[Callable]

    def residual(self, h: Float[Array, " n"]) -> Float[Array, " n"]:
        """The increment at `h`, shape `(n,)`: zero exactly at an equilibrium."""
        return self.field(h)

    def jacobian(self, h: Float[Array, " n"]) -> Float[Array, "n n"]:
        """Derivative of the increment at `h`, shape `(n, n)`, every gate included."""
        return jax.jacfwd(self.residual)(h)

    @abc.abstractmethod
    def growth(self, eigenvalues: Complex[Array, "*k"]) -> Float[Array, "*k"]:
        """How fast modes with these eigenvalues of `jacobian` grow, per unit of time.

        Negative: the mode decays. Zero: a bifurcation.
        """


class Flow(AbstractSystem):
    """Continuous time: the increment is dh/dt, a mode grows like exp(Re λ t)."""

    field: Callable

    def growth(self, eigenvalues: Complex[Array, "*k"]) -> Float[Array, "*k"]:
        return jnp.real(eigenvalues)


class Map(AbstractSystem):
    """Discrete time: the increment is h⁺ − h, a mode grows like |1 + λ| per step."""

    field: Callable

    def growth(self, eigenvalues: Complex[Array, "*k"]) -> Float[Array, "*k"]:
        return jnp.log(jnp.abs(1 + eigenvalues))
