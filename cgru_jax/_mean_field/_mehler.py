"""Correlations of a function of a normal process, by Mehler's formula.

With orthonormal Hermite coefficients a_n of f, two normal variables of correlation ρ have
⟨f f⟩ = Σ a_n² ρ^n: one set of coefficients gives all times.
"""

import functools

import jax.numpy as jnp
import numpy as np

# The trapezoidal rule over nine deviations, exact to round-off for gates up to twenty times
# sharper than their argument is wide. A correlation ρ keeps ρ^n of the n-th Hermite
# coefficient: for ρ < 0.8 there is nothing beyond 160; the rest goes with the last.
NODES, REACH, TERMS, BLOCK = 601, 9.0, 160, 16


def correlation_of(f, mean, covariance):
    """⟨f(x_0) f(x_τ)⟩ of a stationary normal process with this mean and covariance."""
    variance = covariance[0]
    squares, whole = _coefficients(f, mean, variance)
    ratio = covariance / jnp.where(variance > 0, variance, 1)
    # The sum over n of squares[n] ratio^n, as a product of two tables of powers.
    table = jnp.append(squares, whole - jnp.sum(squares)).reshape(-1, BLOCK)
    fine = _powers(ratio, BLOCK)
    coarse = _powers(fine[-1] * ratio, len(table))
    return jnp.sum(coarse * (table @ fine), axis=0)


def _powers(x, count):
    powers = [jnp.ones_like(x)]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    return jnp.stack(powers)


def _coefficients(f, mean, variance):
    """Squared Hermite coefficients of f(mean + √variance x), and the mean of its square."""
    nodes, weights, basis = hermite()
    # The derivative of a square root at zero is infinite; there is no variance to carry.
    deviation = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
    values = f(mean + deviation * nodes)
    return (basis @ values) ** 2, weights @ values**2


@functools.cache
def hermite():
    """Nodes, weights and weighted orthonormal polynomials, one fewer than `TERMS`."""
    x = np.linspace(-REACH, REACH, NODES)
    weights = np.exp(-(x**2) / 2)
    weights /= weights.sum()
    rows = [np.ones_like(x), x]
    for n in range(2, TERMS - 1):
        rows.append((x * rows[-1] - np.sqrt(n - 1) * rows[-2]) / np.sqrt(n))
    return x, weights, np.array(rows) * weights
