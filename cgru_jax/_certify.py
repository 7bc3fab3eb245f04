"""A floating-point answer as a proved one: exactly one exact root lies next to it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool

from ._equilibria._boxes import examine
from ._errors import check_x64, real_array
from ._program import hoist_numbers


def prove_root(
    residual: Callable, root: ArrayLike | list, radius: float
) -> Bool[Array, ""]:
    """Whether exactly one zero of a square system lies near an approximate one, as a proof.

    A degenerate equilibrium cannot be proved at floating-point parameters. What can be is
    the pair: with a parameter among the unknowns and the vanishing determinant among the
    equations, a fold is a simple root.

    **Arguments:**

    - `residual`: from shape `(N,)` to `(N,)`, of arithmetic, tanh, sigmoid, exp and so on,
      Jacobians by `jax.jacfwd` included.
    - `root`: shape `(N,)`, from any solver.
    - `radius`: half the width of the box around `root`, the same in every coordinate.

    **Returns:** shape `()`. True: in the box is exactly one zero, and it is simple; proved
    with outward rounding. False: nothing is known; the zero may be multiple or further off,
    or the box too wide for the equations to be nearly linear in it, or so narrow that
    rounding fills it. 1e-9 suits most.

    **Fails:** `ValueError` in single precision, for shapes that do not fit, for a radius
    that is not positive, and for an operation that has no interval rule, which it names.

    **Source:** R. Krawczyk's test on the mean-value form (textbook interval analysis).
    """
    root = real_array("prove_root", "root", root)
    root = root.astype(jnp.result_type(root, float))
    check_x64("prove_root", root.dtype)
    if root.ndim != 1 or root.shape[0] == 0:
        raise ValueError(f"prove_root: root must have shape (N,), got {root.shape}.")
    if not 0 < radius < float("inf"):
        raise ValueError(f"prove_root: radius must be positive and finite, got {radius}.")
    given = jax.eval_shape(residual, root)
    if getattr(given, "shape", None) != root.shape:
        raise ValueError(
            f"prove_root: at a root of shape {root.shape} the residual returns {given}; "
            "there must be as many equations as unknowns."
        )
    program, arrays = hoist_numbers(residual, root)
    arrays, root = jax.lax.stop_gradient((arrays, root))
    size = range(root.shape[0])
    low, high = [root[j] - radius for j in size], [root[j] + radius for j in size]
    # One operation at a time: a second, where compiling all of them takes a minute.
    found = examine(program, [_scalars(a, root.dtype) for a in arrays], low, high)
    inside = [
        (found.centre[j] - found.spread[j] > low[j])
        & (found.centre[j] + found.spread[j] < high[j])
        for j in size
    ]
    return found.unique & jnp.all(jnp.stack(inside))


def _scalars(array, dtype):
    flat = array.astype(dtype).reshape(-1)
    scalars = np.empty(flat.shape[0], object)
    for i in range(flat.shape[0]):  # at once, NumPy would look inside a tracer
        scalars[i] = flat[i]
    return scalars.reshape(array.shape)
