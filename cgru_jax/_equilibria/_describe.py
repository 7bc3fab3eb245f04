"""From places to equilibria: derivatives, eigenvalues, kind and index of each."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp

from .._implicit import attach, is_singular
from .._linalg import determinant
from .._results import KINDS, RESULTS
from .._stability import classify, degree, simple_kind
from ._base import Equilibria


def describe(question, reading, roots, valid):
    """`Equilibria` at the given roots, and which of them are singular.

    **Arguments:**

    - `question`: the equation, the lift of its roots to states and the increment, each a
      hoisted pair of program and arrays; derivatives flow into the arrays.
    - `reading`: `Flow` or `Map`.
    - `roots`: shape `(k, m)`, of the equation, to round-off; the used slots first.
    - `valid`: shape `(k,)`.

    **Returns:** `Equilibria` (`complete` False, `result` successful) and a mask `(k,)`.
    """
    # Unused slots are worked on at a used point and masked after: a NaN that a masked
    # branch makes would come back through reverse mode as 0 times NaN.
    equation, lift, increment = (functools.partial(*pair) for pair in question)
    roots = jnp.where(valid[:, None], roots, roots[0])
    roots = jax.vmap(functools.partial(attach, *question[0]))(roots, valid)
    points = jax.vmap(lift)(roots)
    system, reduced = reading(increment), reading(equation)

    def judge(root, point):
        # Degeneracy and index are those of the equation: a gate that is almost shut makes
        # an eigenvalue of the increment vanish, and no bifurcation.
        jacobian = reduced.jacobian(root)
        singular = is_singular(equation, root, jacobian)
        index = _sign(jacobian)
        seen = classify(system, point)
        # Eigenvalues that contradict the index have lost the digit that decides.
        whole = system.jacobian(point)
        plain = KINDS.where(
            _sign(whole) == index,
            simple_kind(system, whole, seen.eigenvalues),
            KINDS.unknown,
        )
        kind = KINDS.where(singular, seen.kind, plain)
        return seen.eigenvalues, kind, index, singular

    values, kind, index, singular = jax.vmap(judge)(roots, points)
    singular &= valid
    residual = jnp.max(jnp.abs(jax.vmap(system.residual)(points)), axis=-1)
    kinds = jnp.where(valid, kind._value, KINDS.unknown._value)
    equilibria = Equilibria(
        points=jnp.where(valid[:, None], points, jnp.nan),
        eigenvalues=jnp.where(valid[:, None], values, jnp.nan),
        kind=eqx.tree_at(lambda kind: kind._value, kind, kinds),
        index=jnp.where(
            valid, _with_degrees(reduced, roots, valid, index, singular), jnp.nan
        ),
        multiplicity=jnp.where(valid & ~singular, 1.0, jnp.nan),
        coefficient=jnp.full_like(residual, jnp.nan),
        residual=jnp.where(valid, residual, jnp.nan),
        valid=valid,
        complete=jnp.zeros((), bool),
        result=RESULTS.successful,
    )
    return equilibria, singular


def _sign(jacobian):
    """sign det(−J), the index where it is not zero."""
    return (-1) ** jacobian.shape[0] * jnp.sign(determinant(jacobian))


def _with_degrees(system, points, valid, index, singular):
    """Fill in the index of every singular equilibrium, by degree.

    One pass of the loop serves one singular equilibrium of every member of a batch, so a
    batch without any pays nothing.
    """
    points = jax.lax.stop_gradient(points)
    system = jax.tree.map(
        lambda x: jax.lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, system
    )
    capacity = points.shape[0]

    def fill(state):
        index, waiting = state
        slot = jnp.argmax(waiting)
        apart = jnp.max(jnp.abs(points - points[slot]), axis=-1)
        others = valid & (jnp.arange(capacity) != slot)
        nearest = jnp.min(jnp.where(others, apart, jnp.inf))
        # Small beside the distance to the neighbours, large beside the error of the point.
        radius = jnp.minimum(0.05, nearest / 4)
        index = index.at[slot].set(degree(system, points[slot], radius))
        return index, waiting.at[slot].set(False)

    return jax.lax.while_loop(lambda state: jnp.any(state[1]), fill, (index, singular))[0]
