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


def check_system(owner: str, system) -> None:
    """Refuse what is not a system, as a cell or a function is not."""
    if not isinstance(system, AbstractSystem):
        raise ValueError(
            f"{owner}: system must be a Flow or a Map, got {type(system).__name__}; wrap a "
            "cell or a function, as in cgru.Flow(cell)."
        )


def check_orbit_state(owner: str, name: str, system: AbstractSystem, state) -> None:
    """Refuse what is no state of the system, or has one dimension: orbits in it turn
    nowhere."""
    size = getattr(system.field, "size", None)
    if state.ndim != 1 or state.shape[0] < 2 or size not in (None, state.shape[0]):
        needed = "(n,) with n ≥ 2" if size is None else f"({size},)"
        raise ValueError(f"{owner}: {name} must have shape {needed}, got {state.shape}.")
    given = jax.eval_shape(system.residual, state)
    if getattr(given, "shape", None) != state.shape:
        raise ValueError(
            f"{owner}: at a point of shape {state.shape} the field returns {given}; it "
            "must return an array of the shape of its state."
        )
