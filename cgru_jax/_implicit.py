"""The one implicit derivative: solve on frozen values, attach the rule to the answer."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._linalg import CLOSED_FORM_SIZE, determinant, scalar_adjugate, solve
from ._program import Program, hoist


def solve_root(residual, solver, guess: Float[Array, " n"]) -> Float[Array, " n"]:
    """A root of `residual` that is differentiable in everything `residual` closes over.

    **Arguments:**

    - `residual`: from shape `(n,)` to `(n,)`; may close over traced arrays.
    - `solver`: `solver(residual, guess)` returns the root, shape `(n,)`. It sees frozen
      values, so it may loop, branch and search as it likes.
    - `guess`: shape `(n,)`. The answer does not depend on it smoothly.

    **Returns:** the root, shape `(n,)`, with derivatives of every order by the implicit
    function theorem.

    **Fails:** the derivative is NaN where the Jacobian at the root is singular to working
    precision; the value stands.
    """
    program, arrays = hoist(residual, guess)
    frozen = jax.lax.stop_gradient(arrays)
    root = solver(lambda x: program(frozen, x), jax.lax.stop_gradient(guess))
    return attach(program, arrays, root)


def attach(program: Program, arrays: list, root: Float[Array, " n"]) -> Float[Array, " n"]:
    """`root` again, now with derivatives in `arrays`: `program(arrays, root) = 0`."""
    return _rooted(program, arrays, jax.lax.stop_gradient(root))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _rooted(program, arrays, root):
    return root


@_rooted.defjvp
def _rooted_jvp(program, primals, tangents):
    arrays, found = primals
    moved, _ = tangents
    # Calling the rule again, not reading `found`, is what gives the second derivative.
    root = _rooted(program, arrays, found)
    jacobian = jax.jacfwd(lambda x: program(arrays, x))(root)
    _, drift = jax.jvp(lambda a: program(a, root), (arrays,), (moved,))
    step = solve(jacobian, -drift)
    return root, jnp.where(is_singular(jacobian), jnp.nan, step)


def is_singular(jacobian: Float[Array, "n n"]) -> Float[Array, ""]:
    """Whether a Jacobian, known at a root that is exact to round-off, may be singular.

    At a fold a root is exact to the square root of round-off only, and so is the vanishing
    eigenvalue: distances to singularity below that cannot be told from zero.
    """
    scale = jnp.max(jnp.abs(jacobian))
    return ~(distance_to_singularity(jacobian) > singularity_tolerance(scale))


def singularity_tolerance(scale: Float[Array, ""]) -> Float[Array, ""]:
    """How small an eigenvalue is a zero, at a root found in working precision."""
    # 64 allows for the curvature of a cell with weights of about ten.
    return 64 * jnp.sqrt(jnp.finfo(scale.dtype).eps) * scale


def distance_to_singularity(jacobian: Float[Array, "n n"]) -> Float[Array, ""]:
    """An estimate of the smallest singular value, within a factor n."""
    n = jacobian.shape[0]
    if n > CLOSED_FORM_SIZE:
        return jnp.linalg.svd(jacobian, compute_uv=False)[-1]
    rows = [[jacobian[i, j] for j in range(n)] for i in range(n)]
    largest = functools.reduce(
        jnp.maximum, [jnp.abs(x) for row in scalar_adjugate(rows) for x in row]
    )
    det = jnp.abs(determinant(jacobian))
    return jnp.where(largest > 0, det / jnp.where(largest > 0, largest, 1), 0.0)
