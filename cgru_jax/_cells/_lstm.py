"""The long short-term memory."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import AbstractCell, arrays_of_one_size, dot, unit_box


class LSTM(AbstractCell):
    r"""An LSTM on the state concat(h, c).

    Gates $f, i, o = \sigma(U_k h + b_k)$ and candidate $g = \tanh(U_c h + b_c)$;
    $c^+ = f \odot c + i \odot g$, $h^+ = o \odot \tanh(c^+)$. The increment is the new
    state less the old one.

    **Source:** torch's `LSTMCell` (one bias in place of two), derived here from its
    documentation.
    """

    U_f: Float[Array, "m m"]
    U_i: Float[Array, "m m"]
    U_o: Float[Array, "m m"]
    U_c: Float[Array, "m m"]
    b_f: Float[Array, " m"]
    b_i: Float[Array, " m"]
    b_o: Float[Array, " m"]
    b_c: Float[Array, " m"]
    W_f: Float[Array, "m p"] | None
    W_i: Float[Array, "m p"] | None
    W_o: Float[Array, "m p"] | None
    W_c: Float[Array, "m p"] | None

    def __init__(
        self,
        U_f,
        U_i=0,
        U_o=0,
        U_c=0,
        b_f=0,
        b_i=0,
        b_o=0,
        b_c=0,
        *,
        W_f=None,
        W_i=None,
        W_o=None,
        W_c=None,
    ):
        """Matrices `U_*` of shape `(m, m)`, biases `b_*` of shape `(m,)`, input weights
        `W_*` of shape `(m, p)` or none. Scalars broadcast; m is the size of `U_f`.

        **Raises:** `ValueError` for shapes that do not fit, and for NaN or infinity.
        """
        arrays = arrays_of_one_size(
            "LSTM", "U_f", U_f=U_f, U_i=U_i, U_o=U_o, U_c=U_c, b_f=b_f, b_i=b_i, b_o=b_o,
            b_c=b_c, W_f=W_f, W_i=W_i, W_o=W_o, W_c=W_c,
        )  # fmt: skip
        for name, array in arrays.items():
            setattr(self, name, array)

    @property
    def size(self) -> int:
        """The dimension of the state, twice the number of units."""
        return 2 * self.U_f.shape[-1]

    @property
    def units(self) -> int:
        return self.U_f.shape[-1]

    def box(self):
        return unit_box(self)

    def reduced(self, h: Float[Array, " m"]) -> Float[Array, " m"]:
        """At an equilibrium c = i g / (1 − f), so h alone is unknown."""
        o = jax.nn.sigmoid(dot(self.U_o, h) + self.b_o)
        return o * jnp.tanh(self._resting_c(h)) - h

    def lift(self, h: Float[Array, " m"]) -> Float[Array, " n"]:
        return jnp.concatenate([h, self._resting_c(h)])

    def _resting_c(self, h):
        i = jax.nn.sigmoid(dot(self.U_i, h) + self.b_i)
        # σ(−a) is 1 − σ(a) with all its digits, and is seen to be positive.
        rest = jax.nn.sigmoid(-(dot(self.U_f, h) + self.b_f))
        return i * jnp.tanh(dot(self.U_c, h) + self.b_c) / rest

    def __call__(self, h: Float[Array, "n *columns"]) -> Float[Array, "n *columns"]:
        h, c = jnp.split(h, 2)
        f = jax.nn.sigmoid(dot(self.U_f, h) + self.b_f)
        i = jax.nn.sigmoid(dot(self.U_i, h) + self.b_i)
        o = jax.nn.sigmoid(dot(self.U_o, h) + self.b_o)
        new_c = f * c + i * jnp.tanh(dot(self.U_c, h) + self.b_c)
        return jnp.concatenate([o * jnp.tanh(new_c) - h, new_c - c])
