"""What every cell is: a function from the state to its increment."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._errors import real_array

FEW = 8  # columns of a matrix up to which sums of rows beat a matrix product on a CPU


class AbstractCell(eqx.Module):
    """A gated recurrent cell without its reading of time.

    `cell(h)` is the increment of the state, shape `(cell.size,)`: `Flow(cell)` reads it as
    dh/dt and `Map(cell)` as h⁺ − h. Input weights `W_*` are `None` in a cell without
    inputs; a cell that has them and is called as it is sees the input zero. The code of a
    cell holds for states in columns too, its biases then being columns.
    """

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """The dimension of the state."""

    @property
    @abc.abstractmethod
    def units(self) -> int:
        """The number of units."""

    @abc.abstractmethod
    def __call__(self, h: Float[Array, "n *columns"]) -> Float[Array, "n *columns"]:
        """The increment of the state `h`, shape `(n,)`."""

    def box(self) -> tuple[Float[Array, " m"], Float[Array, " m"]] | None:
        """Where every zero of `reduced` lies, `(low, high)`; `None` if it is not known.

        On the boundary `reduced` points inwards, so that the indices sum to one.
        """
        return None

    def reduced(self, h: Float[Array, "m *columns"]) -> Float[Array, "m *columns"]:
        """An equation whose zeros become the equilibria under `lift`, with their indices.

        In as few unknowns as the cell allows; in general the increment itself.
        """
        return self(h)

    def lift(self, h: Float[Array, " m"]) -> Float[Array, " n"]:
        """The equilibrium, shape `(n,)`, that belongs to a zero of `reduced`."""
        return h

    def with_input(self, x: ArrayLike) -> "AbstractCell":
        """The autonomous cell under the constant input `x`, shape `(p,)`.

        A constant input is a bias: every `W_k x` is added to `b_k`, and the input weights
        are gone.

        **Raises:** `ValueError` if the cell has no input weights, or `x` does not fit them.
        """
        gates = [name[2:] for name in self._fields() if name.startswith("W_")]
        weights = {gate: getattr(self, f"W_{gate}") for gate in gates}
        present = [w for w in weights.values() if w is not None]
        if not present:
            raise ValueError(
                f"{type(self).__name__}.with_input: this cell has no input weights; give "
                "it some of " + ", ".join(f"W_{gate}" for gate in gates) + "."
            )
        x = real_array(type(self).__name__ + ".with_input", "x", x)
        if x.shape != present[0].shape[1:]:
            raise ValueError(
                f"{type(self).__name__}.with_input: x has shape {x.shape}, but the input "
                f"weights have shape {present[0].shape}."
            )
        arrays = {name: getattr(self, name) for name in self._fields()}
        for gate, weight in weights.items():
            if weight is not None:
                arrays[f"b_{gate}"] = arrays[f"b_{gate}"] + dot(weight, x)
            arrays[f"W_{gate}"] = None
        return type(self)(**arrays)

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        return tuple(cls.__dataclass_fields__)


def unit_box(cell: AbstractCell):
    """Each unit in [−1, 1]: an equilibrium of it is a hyperbolic tangent, or less."""
    return -jnp.ones(cell.units), jnp.ones(cell.units)


def dot(
    weights: Float[Array, "m k"], x: Float[Array, "k *columns"]
) -> Float[Array, "m *columns"]:
    """`weights @ x` in full precision on every backend (TF32 would spoil Jacobians)."""
    if x.ndim == 2 and weights.shape[1] <= FEW:
        return jnp.sum(weights[:, :, None] * x, axis=1)
    return jnp.matmul(weights, x, precision=jax.lax.Precision.HIGHEST)


def arrays_of_one_size(owner: str, leader: str, **given) -> dict:
    """The arrays of a cell: checked, broadcast, and of one floating dtype.

    `leader` names the matrix that fixes the number of units n. Names that begin with `U`
    are `(n, n)`, with `W` `(n, p)` or `None`, all others `(n,)`; scalars broadcast.
    """
    if given[leader] is None:
        raise ValueError(f"{owner}: {leader} is missing; it fixes the number of units.")
    for name, value in given.items():
        if value is None and name[0] != "W":
            raise ValueError(f"{owner}: {name} is None; leave it out where it is zero.")
    arrays = {k: real_array(owner, k, v) for k, v in given.items() if v is not None}
    first = arrays[leader]
    if first.ndim == 0:
        first = first.reshape(1, 1)
    if first.ndim != 2 or first.shape[0] != first.shape[1]:
        raise ValueError(
            f"{owner}: {leader} must be a square matrix, got shape {first.shape}. "
            "A batch of cells is made with eqx.filter_vmap over the constructor."
        )
    units = first.shape[0]
    if units == 0:
        raise ValueError(f"{owner}: {leader} has shape (0, 0); a cell needs a unit.")
    arrays[leader] = first
    dtype = jnp.result_type(*arrays.values(), float)
    inputs = None
    for name, array in arrays.items():
        if name[0] == "W":
            if array.ndim != 2 or array.shape[0] != units:
                raise ValueError(
                    f"{owner}: {name} must have shape ({units}, inputs) to go with "
                    f"{leader} of shape {first.shape}, got {array.shape}."
                )
            if inputs not in (None, array.shape[1]):
                raise ValueError(
                    f"{owner}: {name} has shape {array.shape}, but other input weights "
                    f"take {inputs} inputs."
                )
            inputs = array.shape[1]
            shape = array.shape
        else:
            shape = (units, units) if name[0] == "U" else (units,)
            if array.ndim and array.shape != shape:
                raise ValueError(
                    f"{owner}: {name} has shape {array.shape}, but {leader} of shape "
                    f"{first.shape} needs {name} to be a scalar or of shape {shape}."
                )
        arrays[name] = jnp.broadcast_to(array, shape).astype(dtype)
    return {name: arrays.get(name) for name in given}
