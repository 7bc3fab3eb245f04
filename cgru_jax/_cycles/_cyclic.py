"""Linear algebra of a closed chain: each block of equations holds two neighbours.

Unknowns: `N` points of `n` numbers, and one number that all equations hold (the period).
Equations: `N` blocks of `n`, of which block i holds points i and i + 1, and a last one
that holds the first point only.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# A reduced matrix, of orthonormal rows but for one column, that is as singular as this
# belongs to cycles that meet: rounding moves a fold of cycles by its square root.
SINGULAR = 1e-7


class Factors(eqx.Module):
    """An eliminated chain.

    - `turns`: shape `(N − 1, 2n, 2n)`, which take one point out of two blocks; `diagonal`,
      `ahead`, `first`, `common`: what they leave of the rows that give points 1 to N − 1.
    - `open_first`, `open_last`: shape `(n, n)`, all that the chain says of its two ends,
      `open_first @ x_0 + open_last @ x_N = 0`, however its solutions grow or decay.
    - `closing`: shape `(n + 1, n + 1)`, for the first point and the common number.
    """

    turns: Float[Array, "*batch k m m"]
    diagonal: Float[Array, "*batch k n n"]
    ahead: Float[Array, "*batch k n n"]
    first: Float[Array, "*batch k n n"]
    common: Float[Array, "*batch k n"]
    open_first: Float[Array, "*batch n n"]
    open_last: Float[Array, "*batch n n"]
    closing: Float[Array, "*batch c c"]


def factor(residual, unknown: Float[Array, " u"], n: int) -> Factors:
    """Differentiate a residual of this shape and eliminate points 1 to N − 1."""
    return linearise(residual, unknown, n)[0]


def linearise(residual, unknown: Float[Array, " u"], n: int):
    """The eliminated equations and the residual itself.

    Neighbours of one parity are never in one block, so 2n + 1 directions give the whole
    Jacobian; `N` is even.
    """
    count = (unknown.shape[0] - 1) // n
    parity = jnp.arange(count) % 2

    # Directions: component j of all even points, of all odd ones, and the common number.
    points = jnp.einsum("kp,jl->pjkl", parity[:, None] == jnp.arange(2), jnp.eye(n))
    points = jnp.pad(points.reshape(2 * n, -1), ((0, 1), (0, 1)))
    seeds = points.at[-1, -1].set(1.0)
    push = jax.vmap(lambda s: jax.jvp(residual, (unknown,), (s,)), out_axes=(None, 0))
    value, images = push(seeds)
    blocks = images[:-1, :-1].reshape(2, n, count, n).transpose(0, 2, 3, 1)
    even = (parity == 0)[:, None, None]
    here = jnp.where(even, blocks[0], blocks[1])
    there = jnp.where(even, blocks[1], blocks[0])
    common = images[-1, :-1].reshape(count, n)
    last = images[:n, -1]

    def eliminate(carry, rows):
        first, open_, shared = carry
        here, there, common = rows
        column = jnp.concatenate([open_, here])
        # Any rows that leave nothing below the diagonal will do: the orthogonal ones are
        # frozen, and one step of Gauss, which does nothing but carry derivatives, follows.
        q, _ = jnp.linalg.qr(jax.lax.stop_gradient(column), mode="complete")
        top, below = jnp.split(q.T @ column, 2)
        left = jnp.linalg.solve(top.T, below.T).T
        turn = q.T - jnp.concatenate([jnp.zeros_like(q[:, :n].T), left @ q[:, :n].T])
        zero = jnp.zeros_like(first)
        rest = turn @ jnp.concatenate(
            [
                jnp.concatenate([zero, first, shared[:, None]], axis=1),
                jnp.concatenate([there, zero, common[:, None]], axis=1),
            ]
        )
        ahead, first, shared = rest[:, :n], rest[:, n : 2 * n], rest[:, -1]
        kept = turn, top, ahead[:n], first[:n], shared[:n]
        return (first[n:], ahead[n:], shared[n:]), kept

    start = here[0], there[0], common[0]
    ends, kept = jax.lax.scan(eliminate, start, (here[1:], there[1:], common[1:]))
    first, open_, shared = ends
    closing = jnp.block([[first + open_, shared[:, None]], [last, jnp.zeros(1)]])
    return Factors(*kept, first, open_, closing), value


def solve(factors: Factors, right: Float[Array, " u"]) -> Float[Array, " u"]:
    """The solution for one right-hand side."""
    n = factors.open_first.shape[0]
    blocks = right[:-1].reshape(-1, n)

    def reduce(carry, row):
        turn, block = row
        both = turn @ jnp.concatenate([carry, block])
        return both[n:], both[:n]

    open_, kept = jax.lax.scan(reduce, blocks[0], (factors.turns, blocks[1:]))
    ends = jnp.linalg.solve(factors.closing, jnp.append(open_, right[-1]))
    first, common = ends[:n], ends[n]

    def back(after, row):
        diagonal, ahead, start, shared, value = row
        value = value - ahead @ after - start @ first - shared * common
        point = jnp.linalg.solve(diagonal, value)
        return point, point

    rows = factors.diagonal, factors.ahead, factors.first, factors.common, kept
    _, points = jax.lax.scan(back, first, rows, reverse=True)
    return jnp.concatenate([first, points.ravel(), common[None]])


def is_degenerate(factors: Factors) -> Bool[Array, ""]:
    """Whether the cycle is not isolated, or not told from another one by working
    precision."""
    matrix = factors.closing
    # The unit of the common number and that of the last equation are arbitrary.
    matrix = matrix / jnp.linalg.norm(matrix, axis=0)
    matrix = matrix / jnp.linalg.norm(matrix, axis=1, keepdims=True)
    values = jnp.linalg.svd(matrix, compute_uv=False)
    return ~(values[-1] > SINGULAR)


@dataclasses.dataclass(frozen=True)
class Chain:
    """How `attach` solves with such a Jacobian: `size` numbers in a point."""

    size: int

    def __call__(self, residual, root, valid):
        count = (root.shape[0] - 1) // self.size
        factors = factor(residual, root, self.size)
        singular = is_degenerate(factors)
        usable = valid & ~singular
        eye = jnp.eye(self.size)
        # Numbers that do no harm where there is nothing to solve.
        whole = eqx.tree_at(
            lambda f: (f.diagonal, f.closing),
            factors,
            (
                jnp.where(usable, factors.diagonal, jnp.tile(eye, (count - 1, 1, 1))),
                jnp.where(usable, factors.closing, jnp.eye(self.size + 1)),
            ),
        )
        return lambda right: solve(whole, right), singular
