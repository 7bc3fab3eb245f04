"""The one implicit derivative: solve on frozen values, attach the rule to the answer."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

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


def dense(residual, root, valid):
    """How to solve with the Jacobian of `residual` at a root, and whether it is singular:
    as a full matrix. It is not looked at where `valid` is False."""
    jacobian = jax.jacfwd(residual)(root)
    singular = is_singular(residual, root, jacobian)
    solvable = jnp.where(valid & ~singular, jacobian, jnp.eye(len(root)))
    return functools.partial(solve, solvable), singular


def attach(
    program: Program, arrays: list, root: Float[Array, " n"], valid=True, linear=dense
) -> Float[Array, " n"]:
    """`root` again, now with derivatives in `arrays`: `program(arrays, root) = 0`.

    Where `valid` is False (an unused slot) the derivative is zero. `linear`: a hashable
    stand-in for `dense` where the Jacobian has a shape that is quicker to solve with.
    """
    root = jax.lax.stop_gradient(root)
    return _rooted(program, linear, arrays, root, jnp.asarray(valid))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _rooted(program, linear, arrays, root, valid):
    return root


@_rooted.defjvp
def _rooted_jvp(program, linear, primals, tangents):
    arrays, found, valid = primals
    moved = tangents[0]
    # Calling the rule again, not reading `found`, is what gives the second derivative.
    root = _rooted(program, linear, arrays, found, valid)
    _, drift = jax.jvp(lambda a: program(a, root), (arrays,), (moved,))
    solver, singular = linear(lambda x: program(arrays, x), root, valid)
    step = solver(-jnp.where(valid, drift, 0))
    return root, undefined_where(valid & singular, step)


def undefined_where(condition, tangent):
    """NaN for a nonzero tangent under `condition`; a zero one stays zero.

    As a linear map it does the same to cotangents, so a loss that does not look at a
    degenerate root is not spoiled by it: a plain factor NaN would turn 0 into NaN.
    """
    huge = jnp.where(condition, float(jnp.finfo(tangent.dtype).max) ** 0.9, 1)
    none = jnp.where(condition, 0, 1)
    # Infinity times zero; the same read backwards, as the transposed map multiplies.
    return tangent * huge * huge * none * huge * huge


def is_singular(residual, root: Float[Array, " n"], jacobian) -> Bool[Array, ""]:
    """Whether the Jacobian at a root found in working precision may be singular.

    Rounding hides a residual below `noise`. At a fold of curvature c it therefore moves the
    root by sqrt(noise / c) and the vanishing eigenvalue by sqrt(noise c); at a cusp the
    eigenvalue moves by noise^(2/3). What is smaller than that cannot be told from zero.
    """
    sigma, left, right = smallest_singular(jacobian)
    curvature = jnp.abs(left @ second_derivative(residual, root, right))
    size = field_size(residual, root, right)
    eps = jnp.finfo(root.dtype).eps
    # The factors are margins: the residual of a cell is a few units of rounding.
    fold = 16 * jnp.sqrt(eps * size * curvature)
    cusp = 32 * eps ** (2 / 3) * size
    return ~(sigma > fold + cusp)


def second_derivative(residual, root, direction) -> Float[Array, " n"]:
    """The second derivative of `residual` along `direction`, taken twice; shape `(n,)`."""

    def slope(x):
        return jax.jvp(residual, (x,), (direction,))[1]

    return jax.jvp(slope, (root,), (direction,))[1]


def field_size(residual, root, direction) -> Float[Array, ""]:
    """How large the field is one unit away along `direction`: the scale of its rounding."""
    sizes = jnp.abs(jnp.stack([residual(root + direction), residual(root - direction)]))
    # One side may lie outside of where the field is defined.
    return jnp.max(jnp.where(jnp.isfinite(sizes), sizes, 0))


def smallest_singular(jacobian: Inexact[Array, "n n"]):
    """The smallest singular value, shape `()`, with its left and right unit vectors.

    Up to three dimensions from the adjugate: the value then holds within a factor n, and
    the vectors become exact as it vanishes, which is where they are needed.
    """
    n = jacobian.shape[0]
    if n > CLOSED_FORM_SIZE:
        u, values, vt = jnp.linalg.svd(jacobian)
        return values[-1], u[:, -1], vt[-1]
    rows = [[jacobian[i, j] for j in range(n)] for i in range(n)]
    adjugate = jnp.stack([jnp.stack(row) for row in scalar_adjugate(rows)])
    largest = jnp.max(jnp.abs(adjugate))
    there = jnp.where(largest > 0, largest, 1)
    column = adjugate[:, jnp.argmax(jnp.max(jnp.abs(adjugate), axis=0))]
    row = adjugate[jnp.argmax(jnp.max(jnp.abs(adjugate), axis=1))]
    first = jnp.zeros(n, jacobian.dtype).at[0].set(1)
    right, left = (
        jnp.where(largest > 0, v / jnp.linalg.norm(jnp.where(largest > 0, v, first)), first)
        for v in (column, row)
    )
    return jnp.abs(determinant(jacobian)) / there, left, right
