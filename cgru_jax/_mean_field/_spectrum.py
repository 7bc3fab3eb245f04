"""Where the eigenvalues of large random Jacobians lie, and how many are where."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._errors import check_positive
from .._implicit import attach
from .._program import hoist
from .._results import RESULTS
from ._coefficients import (
    AbstractCoefficients,
    ColumnCoefficients,
    GRUCoefficients,
    resting_coefficients,
)
from ._ensembles import AbstractEnsemble
from ._solve import check_ensemble, scalar, solve_mean_field

# Nodes on the upper half of a circle; the integrand is smooth but where the circle crosses
# the boundary of the support, so that the third digit is what this buys.
_NODES = 32
# Sweeps find where Newton's method may begin; near the boundary they alone would creep.
_SWEEPS, _ROUGH, _NEWTON, _CONVERGED = 1_000, 1e-3, 6, 1e-9


def support(
    source: AbstractEnsemble | AbstractCoefficients, point: ArrayLike
) -> Float[Array, ""]:
    r"""How far inside the spectrum a point lies: eigenvalues are where it is at least one.

    **Arguments:**

    - `source`: an ensemble (at its static state with the largest variance, or silent if
      zero is the only one), or coefficients of a state (`measure_coefficients`).
    - `point`: one complex number λ, an eigenvalue of the Jacobian of a step,
      `I + Flow(cell).jacobian(state)`; for continuous time shift by one.

    **Returns:** shape `()`, not negative. The boundary of the spectrum is the level one; it
    need not be convex.

    **Raises:** `ValueError` for a `point` that is no scalar, and for what is no source.

    **Source:** derived for this package by hermitisation; the Perron root of a 2 x 2
    matrix for `GRU`, the mean of V for `ResetAfterGRU` and `LSTM`.
    """
    point = scalar("support", "point", point, complex_=True)
    return _support(_coefficients("support", source), point)


def eigenvalue_mass(
    source: AbstractEnsemble | AbstractCoefficients, centre: ArrayLike, radius: ArrayLike
) -> Float[Array, ""]:
    """The fraction of all eigenvalues in a disc around a real number.

    **Arguments:** `source`: as for `support`; `centre`, real, and `radius`, positive, of
    the disc in the plane of the multipliers of a step.

    **Returns:** shape `()`, between 0 and 1 and good to about 0.002 (of all 2N in an
    LSTM); differentiable in all arguments, by the implicit derivative of the resolvent.

    **Fails:** NaN where the equations of the resolvent, or the mean field of an ensemble,
    were not solved, and for a radius that is not positive.

    **Raises:** `ValueError` for a complex centre, for what is no scalar or no source.

    **Source:** derived for this package: the contour integral of the resolvent.
    """
    owner = "eigenvalue_mass"
    coefficients = _coefficients(owner, source)
    centre, radius = scalar(owner, "centre", centre), _radius(owner, radius)
    mass = _mass(coefficients, centre, radius)
    return jnp.where(radius > 0, jnp.clip(mass, 0, 1), jnp.nan)


def density(
    source: AbstractEnsemble | AbstractCoefficients,
    point: ArrayLike,
    *,
    radius: ArrayLike = 0.02,
) -> Float[Array, ""]:
    """The density of eigenvalues per unit of area, its mean over a small disc.

    **Arguments:** `source`: as for `support`; `point`: the complex centre of the disc, of
    this `radius`.

    **Returns:** shape `()`; the integral over the plane is one.

    **Fails:** NaN as `eigenvalue_mass` does.

    **Source:** derived for this package.
    """
    coefficients = _coefficients("density", source)
    point = scalar("density", "point", point, complex_=True)
    radius = _radius("density", radius)
    dense = _around(coefficients, point, radius) / (jnp.pi * radius**2)
    return jnp.where(radius > 0, dense, jnp.nan)


def _radius(verb, radius):
    radius = scalar(verb, "radius", radius)
    check_positive(verb, "radius", radius)
    return radius


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


def _support_of(coefficients, point):
    return support_at(coefficients, point - 1 + coefficients.z, point)


_support = eqx.filter_jit(_support_of)


@functools.singledispatch
def support_at(coefficients, away, point):
    """The support function at a point that lies `away` from what each unit keeps: as an
    argument of its own, which near one keeps digits that the point has not."""
    raise NotImplementedError(type(coefficients))


@support_at.register
def _(coefficients: GRUCoefficients, away, point):
    k = coefficients
    d = 1 / jnp.abs(away)
    z, h = k.weights * (k.g_z * k.a * d) ** 2, k.weights * (k.g_h * k.b * d) ** 2
    top, right = jnp.sum(z), jnp.sum(h)
    left = k.g_r**2 * jnp.sum(k.weights * k.c**2) + jnp.sum(k.r**2 * z)
    bottom = jnp.sum(k.r**2 * h)
    apart = jnp.sqrt((top - bottom) ** 2 + 4 * right * left)
    return (top + bottom + apart) / 2


@support_at.register
def _(coefficients: ColumnCoefficients, away, point):
    return jnp.sum(coefficients.weights * _square(coefficients, away, point))


def _square(k, away, point):
    """V of each unit."""
    # Zero carries the spare eigenvalues only where outputs pass nothing on.
    far = jnp.where(k.output > 0, k.output / jnp.abs(point) ** 2, 0)
    return k.gain / jnp.abs(away) ** 2 + far


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
    away = point - 1 + k.z
    V = _square(k, away, point)
    inside = jnp.sum(k.weights * V) > 1
    rest = lambda s: jnp.sum(k.weights * V / (1 + V * s)) - 1

    def halve(_, ends):
        low, high = ends
        s = (low + high) / 2
        above = rest(s) > 0
        return jnp.where(above, s, low), jnp.where(above, high, s)

    s = sum(jax.lax.fori_loop(0, 50, halve, (0.0, 1.0))) / 2
    program, arrays = hoist(lambda s: rest(s[0])[None], jnp.zeros(1))
    s = attach(program, arrays, jnp.where(inside, s, 0.0)[None], inside)[0]
    near, far = 1 / away, 1 / point
    gain = k.gain / jnp.abs(away) ** 2
    pushed = (gain * near + (V - gain) * far) / (1 + V * s)
    value = k.spare * far + jnp.sum(k.weights * (near - s * pushed))
    return start, value / (1 + k.spare)


@_resolvent.register
def _(coefficients: GRUCoefficients, point, start):
    k = coefficients
    zeta = point - 1 + k.z
    inside = _support_of(coefficients, point) > 1

    def again(x):
        new = _sweep(k, zeta, x)[0]
        # P and 1/S have one common factor that nothing depends on.
        gains = jnp.stack([k.g_z**2, k.g_h**2, k.g_r**2])
        new = (x + new) / 2
        t = jnp.sqrt(jnp.sum(gains * new[2:]) / (new[0] + new[1]))
        return new * jnp.where(jnp.arange(5) < 2, t, 1 / t)

    frozen = jax.lax.stop_gradient
    program, arrays = hoist(lambda x: again(x) - x, start)
    rest = lambda x: program(frozen(arrays), x)
    size = lambda x: jnp.max(jnp.abs(rest(x)))
    busy = lambda state: inside & (state[0] < _SWEEPS) & (size(state[1]) > _ROUGH)
    sweep = lambda state: (state[0] + 1, state[1] + rest(state[1]))
    _, x = jax.lax.while_loop(busy, sweep, (0, frozen(start)))

    def newton(_, x):
        new = x - jnp.linalg.solve(jax.jacfwd(rest)(x), rest(x))
        # All five are positive.
        return jnp.where(new > 0, new, x / 2)

    x = jax.lax.fori_loop(0, jnp.where(inside, _NEWTON, 0), newton, x)
    found = size(x) < _CONVERGED
    x = attach(program, arrays, jnp.where(found, x, 1.0), inside & found)
    solved = jnp.where(found, _sweep(k, zeta, x)[1], jnp.nan)
    value = jnp.where(inside, solved, jnp.sum(k.weights / zeta))
    # Near the boundary all shrink; a next start must not be nothing.
    return jnp.where(inside & found, jnp.maximum(frozen(x), 1e-3), start), value


def _sweep(k, zeta, x):
    """What the five averages make of themselves, and the resolvent that they give."""
    a, b, c, r = k.a**2, k.b**2, k.c**2, k.r**2
    mean = lambda values: jnp.sum(k.weights * values)
    P_u, P_w, S_a, S_b, S_c = x
    X_u = a * k.g_z**2 * P_u + b * k.g_h**2 * P_w
    X_w = c * k.g_r**2 * P_u
    Y_u, Y_w = k.g_z**2 * S_a + k.g_r**2 * S_c, k.g_h**2 * S_b
    A, B = jnp.abs(zeta) ** 2 + Y_u * X_u, 1 + Y_w * X_w
    D = A * B + r * Y_w * X_u
    through = (Y_u * B + r * Y_w) / D
    new = [
        mean(X_u * B / D),
        mean((A * X_w + r * X_u) / D),
        mean(a * through),
        mean(b * through),
        mean(c * A * Y_w / D),
    ]
    return jnp.stack(new), mean(jnp.conj(zeta) * B / D)
