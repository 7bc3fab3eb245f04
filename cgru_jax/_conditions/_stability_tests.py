"""What changes its sign where an equilibrium loses stability other than at a fold."""

import functools

import jax.numpy as jnp

from .._systems import Map
from ._hopf import frequency
from ._linear import additive_compound, multiplicative_compound, signed_distance
from ._maps import real_part


def stability_tests(reading, jacobian) -> list:
    """Smooth functions of the Jacobian of the increment, for up to three dimensions.

    A `Flow`: two eigenvalues with the sum zero. A `Map`: a multiplier −1, and two
    multipliers with the product one. One dimension has no pairs.
    """
    n = jacobian.shape[0]
    eye = jnp.eye(n)
    if not issubclass(reading, Map):
        return [signed_distance(additive_compound(jacobian))] if n > 1 else []
    tests = [signed_distance(jacobian + 2 * eye)]
    if n > 1:
        compound = multiplicative_compound(jacobian + eye)
        tests.append(signed_distance(compound - jnp.eye(compound.shape[0])))
    return tests


def is_oscillation(reading, jacobian):
    """Whether the pair whose test vanishes is complex, and not two real ones."""
    if issubclass(reading, Map):
        cosine = real_part(jacobian + jnp.eye(jacobian.shape[0]))
        return jnp.abs(cosine) < 1 - 1e-8
    _, refusals = frequency(jacobian)
    return ~functools.reduce(jnp.logical_or, [refused for refused, _ in refusals])
