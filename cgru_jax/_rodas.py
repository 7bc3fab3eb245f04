"""One step of an implicit method for fields that are steep across the way they lead."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._linalg import solve

# What each stage takes from those before it, of their increments and of their slopes.
_STAGES = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895, 1.0),
)
_MEMORY = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136,
     -6.058818238834054),
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
    matrix = _DIAGONAL / dt * jnp.eye(state.shape[0]) - jax.jacfwd(field)(state)
    stages = []
    for increments, slopes in zip(_STAGES, _MEMORY, strict=True):
        value = field(state + _weighted(increments, stages))
        stages.append(solve(matrix, value + _weighted(slopes, stages) / dt))
    *_, error = stages
    after = state + _weighted(_STAGES[-1], stages[:-1]) + error
    return after, jnp.max(jnp.abs(error))


def _weighted(weights, stages):
    return sum(w * k for w, k in zip(weights, stages, strict=True))
