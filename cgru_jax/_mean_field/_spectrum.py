"""Where the eigenvalues of large random Jacobians lie, and how many are where."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact

from .._results import RESULTS
from ._coefficients import (
    AbstractCoefficients,
    ColumnCoefficients,
    GRUCoefficients,
    resting_coefficients,
)
from ._ensembles import AbstractEnsemble
from ._solve import check_ensemble, solve_mean_field

# Nodes on the upper half of a circle; the integrand is smooth but where the circle crosses
# the boundary of the support, so that the third digit is what this buys.
_NODES = 32
_SWEEPS, _CONVERGED = 1_000, 1e-7


def support(
    source: AbstractEnsemble | AbstractCoefficients, point: Inexact[ArrayLike, ""]
) -> Float[Array, ""]:
    r"""How far inside the spectrum a point lies: eigenvalues are where it is at least one.

    **Arguments:**

    - `source`: an ensemble (at its static state with the largest variance, or silent if
      zero is the only one), or coefficients of a state (`measure_coefficients`).
    - `point`: one complex number λ, an eigenvalue of the Jacobian of a step,
      `I + Flow(cell).jacobian(state)`; for continuous time shift by one.

    **Returns:** shape `()`, not negative. The boundary of the spectrum is the level one; it
    need not be convex.

    **Source:** derived for this package by hermitisation; the Perron root of a 2 x 2
    matrix for `GRU`, the mean of V for `ResetAfterGRU` and `LSTM`.
    """
    return _support(_coefficients("support", source), jnp.asarray(point))


def eigenvalue_mass(
    source: AbstractEnsemble | AbstractCoefficients, centre: ArrayLike, radius: ArrayLike
) -> Float[Array, ""]:
    """The fraction of all eigenvalues in a disc around a real number.

    **Arguments:** `source`: as for `support`; `centre`, real, and `radius`, positive, of
    the disc in the plane of the multipliers of a step.

    **Returns:** shape `()`, between 0 and 1 and good to about 0.002 (of all 2N in an
    LSTM).

    **Source:** derived for this package: the contour integral of the resolvent.
    """
    coefficients = _coefficients("eigenvalue_mass", source)
    mass = _mass(coefficients, jnp.asarray(centre, float), jnp.asarray(radius, float))
    return jnp.clip(mass, 0, 1)


def density(
    source: AbstractEnsemble | AbstractCoefficients,
    point: Complex[ArrayLike, ""],
    *,
    radius: ArrayLike = 0.02,
) -> Float[Array, ""]:
    """The density of eigenvalues per unit of area, its mean over a small disc.

    **Arguments:** `source`: as for `support`; `point`: the complex centre of the disc, of
    this `radius`.

    **Returns:** shape `()`; the integral over the plane is one.

    **Source:** derived for this package.
    """
    coefficients = _coefficients("density", source)
    point = jnp.asarray(point, complex)
    radius = jnp.asarray(radius, float)
    return _around(coefficients, point, radius) / (jnp.pi * radius**2)


def _coefficients(verb, source):
    if isinstance(source, AbstractCoefficients):
        return source
    check_ensemble(verb, source)
    return _at_rest(source)


def resting_variance(ensemble):
    """The largest root of the mean field, zero without one; NaN if that is not known."""
    found = solve_mean_field(ensemble)
    known = (found.result == RESULTS.successful) | (found.result == RESULTS.no_root)
    # The slots are ascending, and unused ones come last.
    last = jnp.maximum(jnp.sum(found.valid) - 1, 0)
    largest = jnp.where(found.valid[0], found.variance[last], 0.0)
    return jnp.where(known, largest, jnp.nan)


@eqx.filter_jit
def _at_rest(ensemble):
    return resting_coefficients(ensemble, resting_variance(ensemble))


@functools.singledispatch
def _support_of(coefficients, point):
    raise NotImplementedError(type(coefficients))


@_support_of.register
def _(coefficients: GRUCoefficients, point):
    k = coefficients
    d = k.weights / jnp.abs(point - k.keep) ** 2
    z, h = (k.g_z * k.a) ** 2 * d, (k.g_h * k.b) ** 2 * d
    top, right = jnp.sum(z), jnp.sum(h)
    left = k.g_r**2 * jnp.sum(k.weights * k.c**2) + jnp.sum(k.r**2 * z)
    bottom = jnp.sum(k.r**2 * h)
    apart = jnp.sqrt((top - bottom) ** 2 + 4 * right * left)
    return (top + bottom + apart) / 2


@_support_of.register
def _(coefficients: ColumnCoefficients, point):
    return jnp.sum(coefficients.weights * _square(coefficients, point))


_support = eqx.filter_jit(_support_of)


def _square(k, point):
    """V of each unit."""
    # Zero carries the spare eigenvalues only where outputs pass nothing on.
    far = jnp.where(k.output > 0, k.output / jnp.abs(point) ** 2, 0)
    return k.gain / jnp.abs(point - k.keep) ** 2 + far


@eqx.filter_jit
def _mass(coefficients, centre, radius):
    angles = (jnp.arange(_NODES) + 0.5) * jnp.pi / _NODES
    # Conjugate points have conjugate resolvents: the upper half is enough.
    return _flux(coefficients, centre, radius, angles)


@eqx.filter_jit
def _around(coefficients, point, radius):
    angles = (jnp.arange(2 * _NODES) + 0.5) * jnp.pi / _NODES
    return _flux(coefficients, point, radius, angles)


def _flux(coefficients, centre, radius, angles):
    spokes = radius * jnp.exp(1j * angles)

    def one(start, spoke):
        start, value = _resolvent(coefficients, centre + spoke, start)
        return start, jnp.real(value * spoke)

    # Neighbours on the circle are good starts for each other.
    return jnp.mean(jax.lax.scan(one, _start(coefficients), spokes)[1])


@functools.singledispatch
def _resolvent(coefficients, point, start):
    """The mean of 1/(λ − eigenvalue), and where the next search may start."""
    raise NotImplementedError(type(coefficients))


def _start(coefficients):
    return jnp.ones(5 if isinstance(coefficients, GRUCoefficients) else 0)


@_resolvent.register
def _(coefficients: ColumnCoefficients, point, start):
    k = coefficients
    V = _square(k, point)

    def halve(_, ends):
        low, high = ends
        s = (low + high) / 2
        inside = jnp.sum(k.weights * V / (1 + V * s)) > 1
        return jnp.where(inside, s, low), jnp.where(inside, high, s)

    s = sum(jax.lax.fori_loop(0, 40, halve, (0.0, 1.0))) / 2
    s = jnp.where(jnp.sum(k.weights * V) > 1, s, 0.0)
    near, far = 1 / (point - k.keep), 1 / point
    gain = k.gain / jnp.abs(point - k.keep) ** 2
    pushed = (gain * near + (V - gain) * far) / (1 + V * s)
    value = k.spare * far + jnp.sum(k.weights * (near - s * pushed))
    return start, value / (1 + k.spare)


@_resolvent.register
def _(coefficients: GRUCoefficients, point, start):
    k = coefficients
    zeta = point - k.keep
    square = jnp.abs(zeta) ** 2
    a, b, c, r = k.a**2, k.b**2, k.c**2, k.r**2
    mean = lambda values: jnp.sum(k.weights * values)

    def terms(x):
        P_u, P_w, S_a, S_b, S_c = x
        X_u = a * k.g_z**2 * P_u + b * k.g_h**2 * P_w
        X_w = c * k.g_r**2 * P_u
        Y_u, Y_w = k.g_z**2 * S_a + k.g_r**2 * S_c, k.g_h**2 * S_b
        A, B = square + Y_u * X_u, 1 + Y_w * X_w
        return X_u, X_w, Y_u, Y_w, A, B, A * B + r * Y_w * X_u

    def sweep(state):
        step, x, _ = state
        X_u, X_w, Y_u, Y_w, A, B, D = terms(x)
        through = (Y_u * B + r * Y_w) / D
        new = jnp.stack(
            [
                mean(X_u * B / D),
                mean((A * X_w + r * X_u) / D),
                mean(a * through),
                mean(b * through),
                mean(c * A * Y_w / D),
            ]
        )
        x = (x + new) / 2
        # P and 1/S have one common factor that nothing depends on.
        gains = jnp.stack([k.g_z**2, k.g_h**2, k.g_r**2])
        t = jnp.sqrt(jnp.sum(gains * x[2:]) / (x[0] + x[1]))
        x = x * jnp.where(jnp.arange(5) < 2, t, 1 / t)
        return step + 1, x, jnp.max(jnp.abs(x - state[1]))

    inside = _support_of(coefficients, point) > 1
    busy = lambda state: inside & (state[0] < _SWEEPS) & (state[2] > _CONVERGED)
    _, x, _ = jax.lax.while_loop(busy, sweep, (0, start, jnp.ones(())))
    *_, B, D = terms(x)
    value = jnp.where(inside, mean(jnp.conj(zeta) * B / D), mean(1 / zeta))
    # Near the boundary all shrink; a next start must not be nothing.
    return jnp.where(inside, jnp.maximum(x, 1e-3), start), value
