"""Smooth functions of a matrix that vanish where it is singular, or has a pair on the axis
or on the circle; null vectors by bordered solves; multilinear forms.

Eigenvectors are never differentiated: a null vector is the solution of a linear system
whose borders are held fixed.
"""

import itertools

import jax
import jax.numpy as jnp

from .._implicit import smallest_singular
from .._linalg import CLOSED_FORM_SIZE, determinant, solve


def vanishing(a):
    """A smooth function of a matrix that is zero exactly where the matrix is singular.

    The determinant up to three dimensions; beyond, where a determinant has no scale, the
    last component of a bordered solve.
    """
    if a.shape[0] <= CLOSED_FORM_SIZE:
        return determinant(a)
    return _bordered(a, *_borders(a))[1]


def signed_distance(a):
    """Zero with a change of sign where `a` becomes singular; piecewise smooth."""
    if a.shape[0] <= CLOSED_FORM_SIZE:
        return determinant(a)
    a = jax.lax.stop_gradient(a)
    sign, _ = jnp.linalg.slogdet(a)
    return sign * smallest_singular(a)[0]


def additive_compound(a):
    """The matrix whose eigenvalues are the sums of two eigenvalues of `a`."""
    eye = jnp.eye(a.shape[0], dtype=a.dtype)
    pairs = list(itertools.combinations(range(a.shape[0]), 2))

    def entry(i, j, k, l):
        terms = [
            (a[i, k], j == l),
            (a[j, l], i == k),
            (-a[i, l], j == k),
            (-a[j, k], i == l),
        ]
        return sum((x for x, there in terms if there), eye[0, 0] * 0)

    return jnp.stack([jnp.stack([entry(*p, *q) for q in pairs]) for p in pairs])


def multiplicative_compound(a):
    """The matrix whose eigenvalues are the products of two eigenvalues of `a`."""
    pairs = list(itertools.combinations(range(a.shape[0]), 2))
    return jnp.stack(
        [
            jnp.stack([a[i, k] * a[j, l] - a[i, l] * a[j, k] for k, l in pairs])
            for i, j in pairs
        ]
    )


def null_vectors(a):
    """Right and left null vectors v and w of a singular matrix, real or complex.

    |v| = 1 with its largest component positive; w v = 1 (no conjugate).
    """
    left, right = _borders(a)
    v, _ = _bordered(a, left, right)
    w, _ = _bordered(a.T, right, left)
    v = v / jnp.sqrt(jnp.sum(jnp.abs(v) ** 2))
    largest = v[jnp.argmax(jnp.abs(v))]
    v = v * jnp.conj(largest) / jnp.abs(largest) if jnp.iscomplexobj(a) else (
        v * jnp.sign(largest)
    )  # fmt: skip
    return v, w / jnp.sum(w * v)


def solve_singular(a, b, v, w):
    """The solution x of `a x = b − (w b) v` with `w x = 0`, for null vectors v, w."""
    n = a.shape[0]
    matrix = jnp.zeros((n + 1, n + 1), a.dtype)
    matrix = matrix.at[:n, :n].set(a).at[:n, n].set(v).at[n, :n].set(w)
    return solve(matrix, jnp.append(b, 0))[:n]


def form(f, point, *directions):
    """The derivative of `f` along each of the given directions in turn, real or complex."""
    if not any(jnp.iscomplexobj(d) for d in directions):
        return _form(f, point, jnp.stack(directions))
    choices = list(itertools.product((0, 1), repeat=len(directions)))
    parts = [(jnp.real(d), jnp.imag(d)) for d in directions]
    real = jnp.stack(
        [
            jnp.stack([part[i] for part, i in zip(parts, choice, strict=True)])
            for choice in choices
        ]
    )
    # One trace of the nested derivative serves all the combinations.
    values = jax.vmap(lambda d: _form(f, point, d))(real)
    weights = jnp.asarray([1j ** sum(choice) for choice in choices])
    return jnp.tensordot(weights, values, axes=1)


def _form(f, point, directions):
    for d in directions:
        f = _along(f, d)
    return f(point)


def _along(f, direction):
    return lambda x: jax.jvp(f, (x,), (direction,))[1]


def _borders(a):
    """Unit vectors close to the left and the right null vector, held fixed."""
    _, left, right = smallest_singular(jax.lax.stop_gradient(a))
    if jnp.iscomplexobj(a) and a.shape[0] > CLOSED_FORM_SIZE:
        # The library gives u and vᴴ of u s vᴴ; null vectors are conj(u) and v.
        left, right = jnp.conj(left), jnp.conj(right)
    return left, right


def _bordered(a, left, right):
    """v and g with `a v + conj(left) g = 0`, `conj(right) v = 1`."""
    n = a.shape[0]
    matrix = jnp.zeros((n + 1, n + 1), a.dtype)
    matrix = matrix.at[:n, :n].set(a).at[:n, n].set(jnp.conj(left))
    matrix = matrix.at[n, :n].set(jnp.conj(right))
    unit = jnp.zeros(n + 1, a.dtype).at[n].set(1)
    answer = solve(matrix, unit)
    return answer[:n], answer[n]
