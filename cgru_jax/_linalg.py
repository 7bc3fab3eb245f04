"""Small linear algebra in closed form, so that a batch stays a batch of scalars.

Under `vmap` a LAPACK call on a 2 x 2 matrix costs eight times the closed form. Up to three
dimensions every formula is written out; above, the library routine is called.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

CLOSED_FORM_SIZE = 3  # beyond it cofactors lose to LU, in speed and in digits


def determinant(a: Inexact[Array, "n n"]) -> Inexact[Array, ""]:
    """Determinant, shape `()`."""
    n = a.shape[0]
    if n > CLOSED_FORM_SIZE:
        return jnp.linalg.det(a)
    return scalar_determinant([[a[i, j] for j in range(n)] for i in range(n)])


def scalar_determinant(a):
    """Determinant of a list of rows of scalars, by expansion along the first row."""
    if len(a) == 1:
        return a[0][0]
    if len(a) == 2:
        return a[0][0] * a[1][1] - a[0][1] * a[1][0]
    return sum(
        (-1) ** j * a[0][j] * scalar_determinant(_minor(a, 0, j)) for j in range(len(a))
    )


def scalar_adjugate(a):
    """Adjugate of a list of rows of scalars: `a @ adj(a) = det(a) I`."""
    n = len(a)
    if n == 1:
        return [[jnp.ones_like(a[0][0])]]
    return [
        [(-1) ** (i + j) * scalar_determinant(_minor(a, j, i)) for j in range(n)]
        for i in range(n)
    ]


def _minor(a, row, column):
    return [
        [entry for j, entry in enumerate(line) if j != column]
        for i, line in enumerate(a)
        if i != row
    ]


def scalar_solve(a, b):
    """Solve `a x = b` for rows of scalars; infinite or NaN where `a` is singular."""
    det = scalar_determinant(a)
    adjugate = scalar_adjugate(a)
    return [sum(c * y for c, y in zip(row, b, strict=True)) / det for row in adjugate]


def solve(a: Inexact[Array, "n n"], b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
    """Solve `a x = b`, shape `(n,)`; not finite where `a` is singular."""
    n = a.shape[0]
    if n > CLOSED_FORM_SIZE:
        return jnp.linalg.solve(a, b)
    rows = [[a[i, j] for j in range(n)] for i in range(n)]
    return jnp.stack(scalar_solve(rows, [b[i] for i in range(n)]))


def eigenvalues(a: Float[Array, "n n"]) -> Complex[Array, " n"]:
    """All eigenvalues, shape `(n,)`, complex; closed form for one and two dimensions."""
    n = a.shape[0]
    if n == 1:
        return (a[0] + 0j).astype(jnp.result_type(a, jnp.complex64))
    if n > 2:
        return jnp.linalg.eigvals(a)
    half = (a[0, 0] + a[1, 1]) / 2
    # The difference form keeps the digits that trace^2 - 4 det cancels.
    discriminant = ((a[0, 0] - a[1, 1]) / 2) ** 2 + a[0, 1] * a[1, 0]
    real = discriminant > 0
    apart = jnp.sqrt(jnp.where(real, discriminant, 1))
    frequency = jnp.sqrt(jnp.where(real, 1, -discriminant))
    # Of two real ones the smaller would be a difference, without digits beside a large
    # one: their product has them.
    large = half + jnp.where(half < 0, -apart, apart)
    small = determinant(a) / large
    pair = jnp.where(half < 0, small, large), jnp.where(half < 0, large, small)
    return jax.lax.complex(
        jnp.stack([jnp.where(real, x, half) for x in pair]),
        jnp.stack([jnp.where(real, 0, x) for x in (frequency, -frequency)]),
    )


def beside(unit: Float[Array, " n"]) -> Float[Array, "n m"]:
    """Unit vectors as columns that span what is perpendicular to one, m = n − 1."""
    # A mirror that brings the vector onto an axis; the other axes then span the rest.
    axis = jnp.zeros_like(unit).at[0].set(jnp.where(unit[0] > 0, -1.0, 1.0))
    mirror = unit - axis
    mirror = mirror / jnp.linalg.norm(mirror)
    return (jnp.eye(len(unit)) - 2 * jnp.outer(mirror, mirror))[:, 1:]
