"""One step of an implicit method for fields that are steep across the way they lead.

Orbits near a degenerate equilibrium creep along valleys. Within the same 3,000 steps per
orbit, diffrax's Tsit5 misses the sectors of saddle-nodes, semi-hyperbolic saddles and
cusps; its Kvaerno methods run out of steps on plain orbits of figure 4, and take fifty
times as long. This one solves linear equations only.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._linalg import solve

# What each of six stages takes from those before it, of their increments and of their
# slopes; the last increment is the error.
_STAGES = np.zeros((6, 6))
_STAGES[1, :1] = 1.544
_STAGES[2, :2] = 0.9466785280815826, 0.2557011698983284
_STAGES[3, :3] = 3.314825187068521, 2.896124015972201, 0.9986419139977817
_STAGES[4:, :4] = (
    1.221224509226641,
    6.019134481288629,
    12.53708332932087,
    -0.687886036105895,
)
_STAGES[5, 4] = 1.0
_MEMORY = np.zeros((6, 6))
_MEMORY[1, :1] = -5.6688
_MEMORY[2, :2] = -2.430093356833875, -0.2063599157091915
_MEMORY[3, :3] = -0.1073529058151375, -9.594562251023355, -20.47028614809616
_MEMORY[4, :4] = 7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616
_MEMORY[5, :5] = (
    8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136,
    -6.058818238834054,
)  # fmt: skip
_DIAGONAL = 4.0  # one over the method's γ


def rodas(
    field, state: Float[Array, " n"], dt: Float[Array, ""]
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """The state a time `dt` later along an autonomous field, and an estimate of the error.

    Order four with an error of order three; stable however steep the field is.

    **Returns:** shape `(n,)` and the largest component of the error, shape `()`.

    **Source:** the method Rodas of E. Hairer and G. Wanner, Solving Ordinary Differential
    Equations II, section IV.10, in the form that saves products with the Jacobian.
    """
    n = state.shape[0]
    matrix = _DIAGONAL / dt * jnp.eye(n) - jax.jacfwd(field)(state)

    # A loop, because the field would else be compiled six times.
    def stage(made, tables):
        increments, slopes, own = tables
        value = field(state + increments @ made)
        increment = solve(matrix, value + slopes @ made / dt)
        return jnp.where(own[:, None], increment, made), None

    tables = jnp.asarray(_STAGES), jnp.asarray(_MEMORY), jnp.eye(6, dtype=bool)
    made, _ = jax.lax.scan(stage, jnp.zeros((6, n), state.dtype), tables)
    after = state + jnp.asarray(_STAGES[5]) @ made + made[5]
    return after, jnp.max(jnp.abs(made[5]))
