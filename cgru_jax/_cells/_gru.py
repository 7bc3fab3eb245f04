"""The gated recurrent unit of the dynamics papers: the reset gate acts on the state."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import AbstractCell, arrays_of_one_size, dot, unit_box


class GRU(AbstractCell):
    r"""A GRU whose reset gate comes before the recurrent matrix.

    $z = \sigma(U_z h + b_z)$, $r = \sigma(U_r h + b_r)$, increment
    $z \odot (\tanh(U_h (r \odot h) + b_h) - h)$. Here z is the update rate; the z of
    torch and keras is 1 − z.

    **Source:** eqs. (5)–(7) of the ICLR 2019 submission, with $b_h$ outside $U_h$.
    """

    U_h: Float[Array, "n n"]
    U_r: Float[Array, "n n"]
    U_z: Float[Array, "n n"]
    b_h: Float[Array, " n"]
    b_r: Float[Array, " n"]
    b_z: Float[Array, " n"]
    W_h: Float[Array, "n p"] | None
    W_r: Float[Array, "n p"] | None
    W_z: Float[Array, "n p"] | None

    def __init__(
        self, U_h, U_r=0, U_z=0, b_h=0, b_r=0, b_z=0, *, W_h=None, W_r=None, W_z=None
    ):
        """Matrices `U_*` of shape `(n, n)`, biases `b_*` of shape `(n,)`, input weights
        `W_*` of shape `(n, p)` or none. Scalars broadcast; n is the size of `U_h`.

        **Raises:** `ValueError` for shapes that do not fit, and for NaN or infinity.
        """
        arrays = arrays_of_one_size(
            "GRU", "U_h", U_h=U_h, U_r=U_r, U_z=U_z, b_h=b_h, b_r=b_r, b_z=b_z,
            W_h=W_h, W_r=W_r, W_z=W_z,
        )  # fmt: skip
        for name, array in arrays.items():
            setattr(self, name, array)

    @property
    def size(self) -> int:
        return self.U_h.shape[-1]

    @property
    def units(self) -> int:
        return self.U_h.shape[-1]

    def box(self):
        return unit_box(self)

    def __call__(self, h: Float[Array, "n *columns"]) -> Float[Array, "n *columns"]:
        return jax.nn.sigmoid(dot(self.U_z, h) + self.b_z) * self.reduced(h)

    def reduced(self, h: Float[Array, "n *columns"]) -> Float[Array, "n *columns"]:
        """The increment without its factor z > 0, which moves no zero and turns no sign."""
        r = jax.nn.sigmoid(dot(self.U_r, h) + self.b_r)
        return jnp.tanh(dot(self.U_h, r * h) + self.b_h) - h


def gru(U_h, U_r=0, b_h=0, b_r=0, U_z=0, b_z=0) -> GRU:
    """A `GRU` from lists, scalars or arrays, in the order of the paper's tables.

    **Arguments:** `U_h`, `U_r`, `U_z` are `(n, n)` or scalars, the biases `(n,)` or
    scalars; n is the size of `U_h`, and a scalar `U_h` makes one unit.

    **Raises:** `ValueError` for shapes that do not fit, and for NaN or infinity.
    """
    return GRU(U_h, U_r=U_r, U_z=U_z, b_h=b_h, b_r=b_r, b_z=b_z)
