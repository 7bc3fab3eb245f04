"""Bifurcations of equilibria, against closed forms, on systems moved away from zero."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import EVENTS, RESULTS
from cgru_jax._conditions import _base
from cgru_jax._results import name

ROUND_OFF = dict(rtol=1e-12, atol=1e-12)
# Second-order places of a root: their rounding is the square root of the field's.
TWICE = dict(rtol=1e-10, atol=1e-10)


def close(got, want, **tolerance):
    np.testing.assert_allclose(np.asarray(got), want, **(tolerance or ROUND_OFF))


def succeeded(found):
    assert name(found.result) == "successful"
    return found


def open_gates(a):
    """h' = (tanh(a h + b) − h)/2, a family in b."""
    return lambda b: cgru.Flow(cgru.gru(2 * a, b_h=b))


def rotation(gain):
    """U_h = 3 s R(θ), a family in θ."""

    def family(theta):
        cos, sin = jnp.cos(theta), jnp.sin(theta)
        return cgru.Flow(cgru.gru(3 * gain * jnp.array([[cos, -sin], [sin, cos]])))

    return family


def brusselator(A):
    def family(B):
        def field(u):
            reaction = u[0] ** 2 * u[1]
            return jnp.stack([A - (B + 1) * u[0] + reaction, B * u[0] - reaction])

        return cgru.Flow(field)

    return family


def spiral(p, amplitude):
    """r' = r g(r²), θ' = 1 about (0.3, −0.2), where g = amplitude(p, r²)."""

    def field(x):
        u, v = x[0] - 0.3, x[1] + 0.2
        g = amplitude(p, u * u + v * v)
        return jnp.stack([g * u - v, u + g * v])

    return field


def bent(field):
    """The same dynamics in curved coordinates that touch the old ones at (0.3, −0.2)."""

    def straight(x):
        u, v = x[0] - 0.3, x[1] + 0.2
        bend = [0.3 * u * u - 0.2 * u * v + 0.1 * v * v, 0.15 * u * u + 0.4 * u * v]
        return x + jnp.stack(bend)

    return lambda x: jnp.linalg.solve(jax.jacfwd(straight)(x), field(straight(x)))


def sheared(field):
    """The same dynamics in coordinates that are bent by two shears, and touch likewise."""

    def once(x):
        v = x[1] + 0.2
        f = field(jnp.stack([x[0] + 0.3 * v * v, x[1]]))
        return jnp.stack([f[0] - 0.6 * v * f[1], f[1]])

    def twice(x):
        u = x[0] - 0.3
        f = once(jnp.stack([x[0], x[1] + 0.4 * u * u]))
        return jnp.stack([f[0], f[1] - 0.8 * u * f[0]])

    return twice


# Folds.


def test_a_fold_of_one_unit_and_its_derivatives():
    # b* = artanh h − a h at h = √(1 − 1/a): db/da = −h, d²b/da² = −1/(2 a² h).
    a = 2.3
    h = np.sqrt(1 - 1 / a)
    fold = succeeded(cgru.locate_fold(open_gates(a), [0.6], -0.6))
    close(fold.point, [h])
    close(fold.parameter, np.arctanh(h) - a * h)
    close(fold.null_vector, [1.0])
    # ½ F_hh with F = (tanh(a h + b) − h)/2 and tanh' = 1/a.
    close(fold.coefficient, -h * a / 2)
    close(fold.distance, max(abs(fold.point[0] - 0.6), abs(fold.parameter + 0.6)))

    place = lambda a: cgru.locate_fold(open_gates(a), [0.6], -0.6).parameter
    close(jax.grad(place)(a), -h)
    close(jax.jit(jax.hessian(place))(a), -1 / (2 * a**2 * h))


def test_folds_of_a_batch_keep_their_derivatives():
    place = lambda a: cgru.locate_fold(open_gates(a), [0.6], -0.6).parameter
    a = jnp.linspace(2.0, 2.8, 5)
    slopes = jax.jit(jax.vmap(jax.grad(place)))(a)
    close(slopes, -np.sqrt(1 - 1 / a))


def test_both_folds_of_the_cubic():
    # x' = p + x − x³/3, moved by 2: folds at x = 2 ∓ 1 with p = ±2/3 and a = ±1.
    family = lambda p: cgru.Flow(lambda x: p + (x - 2) - (x - 2) ** 3 / 3)
    left = succeeded(cgru.locate_fold(family, [0.8], 0.5))
    right = succeeded(cgru.locate_fold(family, [3.3], -0.5))
    close([left.point[0], left.parameter, left.coefficient], [1, 2 / 3, 1])
    close([right.point[0], right.parameter, right.coefficient], [3, -2 / 3, -1])


def test_the_four_folds_that_end_the_slow_cycle():
    # θ_c and the place to 15 digits, by mpmath.
    fold = succeeded(cgru.locate_fold(rotation(1.0), [0.88, -0.55], 0.2))
    close(fold.parameter, 0.147822070679066)
    close(fold.point, [0.896755619545687, -0.565513954535515])
    assert fold.null_vector[jnp.argmax(jnp.abs(fold.null_vector))] > 0
    close(jnp.linalg.norm(fold.null_vector), 1)


def test_a_fold_in_many_dimensions_is_found_like_one_in_one():
    # Five uncoupled units of which one folds, seen through a fixed rotation.
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(3), (5, 5)))[0]
    gains = jnp.array([2.3, 0.5, 0.4, 0.3, 0.2])

    def family(b):
        def field(x):
            y = turn.T @ (x - 0.1)
            return turn @ (jnp.tanh(gains * y + b * (jnp.arange(5) == 0)) - y)

        return cgru.Flow(field)

    h = np.sqrt(1 - 1 / 2.3)
    start = turn @ jnp.array([0.6, 0.05, 0, 0, 0]) + 0.1
    fold = succeeded(cgru.locate_fold(family, start, -0.6))
    close(fold.point, turn[:, 0] * h + 0.1)
    close(jnp.abs(fold.null_vector), jnp.abs(turn[:, 0]))
    close(jnp.abs(fold.coefficient), h * 2.3)


# Hopf bifurcations.


def test_the_rotation_oscillates_from_arccos_two_thirds():
    # 3 s cos θ = 2 at the origin, so θ = arccos(2/(3s)); l₁ = −9/(4√5) by (3.20).
    def place(s):
        hopf = cgru.locate_hopf(rotation(s), [0.01, 0.02], np.pi / 3.8)
        return hopf.parameter, hopf

    def slope(s):
        slope, hopf = jax.grad(place, has_aux=True)(s)
        return slope, (slope, hopf)

    bend, (slope, hopf) = jax.jit(jax.jacfwd(slope, has_aux=True))(1.0)  # compiled once
    succeeded(hopf)
    close(hopf.parameter, np.arccos(2 / 3))
    close(hopf.frequency, np.sqrt(5) / 4)
    close(hopf.lyapunov, -9 / (4 * np.sqrt(5)))
    want = lambda s: jnp.arccos(2 / (3 * s))
    close(slope, jax.grad(want)(1.0))
    close(bend, jax.hessian(want)(1.0), **TWICE)


def test_the_brusselator_as_prigogine_knew_it():
    # B = 1 + A², ω = A, so dB/dA = 2A and d²B/dA² = 2; l₁ = −1/2 at A = 1, by mpmath.
    def reading(A):
        found = cgru.locate_hopf(brusselator(A), [1.05, 1.9], 1.9)
        return jnp.stack([found.parameter, found.frequency]), found

    A = jnp.array([0.9, 1.0, 1.1])
    slopes, found = jax.jit(jax.vmap(jax.jacfwd(reading, has_aux=True)))(A)
    close(slopes, np.stack([2 * A, 1 + 0 * A], -1))
    hopf = succeeded(jax.tree.map(lambda x: x[1], found))
    close(hopf.point, [1, 2])
    close([hopf.parameter, hopf.frequency, hopf.lyapunov], [2, 1, -0.5])


@pytest.mark.parametrize("sign", [-1, 1], ids=["soft", "hard"])
def test_lyapunov_coefficient_of_the_normal_form_does_not_see_the_coordinates(sign):
    # r' = r (p − 0.7 + s r²), θ' = 1: l₁ = 2 s for |q| = 1, and p = 0.7.
    amplitude = lambda p, r2: p - 0.7 + sign * r2
    family = lambda p: cgru.Flow(bent(spiral(p, amplitude)))
    hopf = succeeded(cgru.locate_hopf(family, [0.35, -0.1], 0.6))
    close(hopf.point, [0.3, -0.2])
    close([hopf.parameter, hopf.frequency, hopf.lyapunov], [0.7, 1, 2 * sign])


@pytest.mark.parametrize("n", [3, 5])
def test_a_hopf_point_beside_decaying_modes(n):
    # The normal form with ω = 1.7 and −1, −2, … beside it, seen through a fixed matrix.
    mix = jax.random.normal(jax.random.key(n), (n, n)) + 2 * jnp.eye(n)
    rates = -1.0 - jnp.arange(n - 2)

    def family(p, w):
        def field(x):
            y = jnp.linalg.solve(mix, x - 0.5)
            u, v = y[0], y[1]
            r2 = u * u + v * v
            plane = [(p - 0.7 - r2) * u - w * v, w * u + (p - 0.7 - r2) * v]
            return mix @ jnp.concatenate([jnp.stack(plane), rates * y[2:]])

        return cgru.Flow(field)

    def omega(w):
        hopf = cgru.locate_hopf(lambda p: family(p, w), jnp.full(n, 0.52), 0.65)
        return hopf.frequency, hopf

    slope, hopf = jax.grad(omega, has_aux=True)(1.7)
    succeeded(hopf)
    close(hopf.point, np.full(n, 0.5))
    close([hopf.parameter, hopf.frequency], [0.7, 1.7])
    close(slope, 1.0)  # needs the derivative of an eigenvalue


def test_the_van_der_pol_hopf_point_is_degenerate():
    # The cycle is born at full size, so l₁ = 0: neither soft nor hard.
    def family(p):
        return cgru.Flow(
            lambda x: jnp.stack(
                [x[1] + 0.1, p * (1 - (x[0] - 0.4) ** 2) * (x[1] + 0.1) - (x[0] - 0.4)]
            )
        )

    hopf = cgru.locate_hopf(family, [0.45, -0.05], 0.1)
    assert name(hopf.result) == "degenerate"
    close([hopf.parameter, hopf.frequency], [0, 1])
    close(hopf.lyapunov, 0)


# Branch points.


@pytest.mark.parametrize("sign", [-1, 1], ids=["super", "sub"])
def test_a_pitchfork_is_a_branch_point_and_no_fold(sign):
    family = lambda p: cgru.Flow(lambda x: (p - 0.7) * (x - 0.3) + sign * (x - 0.3) ** 3)
    found = succeeded(cgru.locate_branch_point(family, [0.4], 0.6))
    close([found.point[0], found.parameter], [0.3, 0.7])
    close([found.quadratic, found.cubic], [0, sign])
    close(jnp.abs(found.tangents), [[0, 1], [1, 0]])
    assert name(cgru.locate_fold(family, [0.4], 0.6).result) == "degenerate"


def test_a_transcritical_point_has_two_slanted_branches():
    # x = 0.3 and x = p − 0.4 cross at p = 0.7.
    family = lambda p: cgru.Flow(lambda x: (p - 0.7) * (x - 0.3) - (x - 0.3) ** 2)
    found = succeeded(cgru.locate_branch_point(family, [0.4], 0.6))
    close([found.point[0], found.parameter, found.quadratic], [0.3, 0.7, -1])
    close(jnp.abs(found.tangents), [[0, 1], [np.sqrt(0.5), np.sqrt(0.5)]])


def test_an_imperfect_pitchfork_is_no_branch_point():
    family = lambda p: cgru.Flow(lambda x: 1e-6 + (p - 0.7) * (x - 0.3) - (x - 0.3) ** 3)
    assert name(cgru.locate_branch_point(family, [0.4], 0.6).result) == "wrong_kind"


def test_the_origin_of_two_units_splits_where_the_gain_says():
    # h' = (tanh(U h/2) − h)/2 with U = p diag(2, 1): a pitchfork at p = 1, along the first
    # axis; c = −1/6 of tanh''' = −2, halved.
    family = lambda p: cgru.Flow(cgru.gru(p * jnp.diag(jnp.array([2.0, 1.0]))))
    found = succeeded(cgru.locate_branch_point(family, [0.1, 0.05], 0.9))
    close(found.parameter, 1)
    close([found.quadratic, found.cubic], [0, -1 / 6])
    close(jnp.abs(found.tangents), [[0, 0, 1], [1, 0, 0]])


# Two parameters.


def test_a_cusp():
    family = lambda p: cgru.Flow(lambda x: p[0] - 1 + (p[1] + 4) * (x - 2) - (x - 2) ** 3)
    cusp = succeeded(cgru.locate_cusp(family, [2.1], [1.1, -3.8]))
    close(cusp.point, [2])
    close(cusp.parameter, [1, -4])
    close(cusp.coefficient, -1)


def test_the_cusp_of_one_unit():
    # h' = (tanh(a h + b) − h)/2: a = 1, b = 0, c = −1/6.
    family = lambda p: cgru.Flow(cgru.gru(2 * p[0], b_h=p[1]))
    cusp = succeeded(cgru.locate_cusp(family, [0.1], [1.2, -0.1]))
    close(cusp.parameter, [1, 0])
    close(cusp.coefficient, -1 / 6)


def test_a_bogdanov_takens_point():
    def family(p, a=1.0):
        def field(x):
            u, v = x[0] - 5, x[1] - 2
            return jnp.stack([v, p[0] - 3 + (p[1] + 1) * u + a * u * u - u * v])

        return cgru.Flow(field)

    found = succeeded(cgru.locate_bogdanov_takens(family, [5.1, 2.1], [3.1, -0.9]))
    close(found.point, [5, 2])
    close(found.parameter, [3, -1])
    close([found.a, found.b], [1, -1])
    slope = jax.grad(
        lambda a: (
            cgru.locate_bogdanov_takens(lambda p: family(p, a), [5.1, 2.1], [3.1, -0.9]).a
        )
    )
    close(slope(1.0), 1.0)


@pytest.mark.slow  # the fifth derivative of a bent field takes long to compile
def test_a_generalised_hopf_point_does_not_see_the_coordinates():
    # r' = r (p₁ − 2 + (p₂ + 3) r² − r⁴): with |q| = 1, r⁴ = 4 |z|⁴, so l₂ = −4.
    amplitude = lambda p, r2: p[0] - 2 + (p[1] + 3) * r2 - r2**2
    family = lambda p: cgru.Flow(sheared(spiral(p, amplitude)))
    found = succeeded(cgru.locate_generalised_hopf(family, [0.35, -0.1], [2.1, -2.8]))
    close(found.point, [0.3, -0.2])
    close(found.parameter, [2, -3])
    close([found.frequency, found.lyapunov], [1, -4])


# Maps.


def test_the_logistic_map_doubles_its_period_at_three():
    # x⁺ = p x (1 − x): the multiplier is 2 − p. b = ¼ (f_xx)²·… = 9 at p = 3, f_xx = −6.
    family = lambda p: cgru.Map(lambda x: p * (x - 1) * (2 - x) - (x - 1))
    found = succeeded(cgru.locate_period_doubling(family, [1.6], 2.8))
    close(found.point, [1 + 2 / 3])
    close([found.parameter, found.coefficient], [3, 9])


def test_the_second_iterate_doubles_at_one_plus_root_six():
    once = lambda p, x: p * x * (1 - x)
    family = lambda p: cgru.Map(lambda x: once(p, once(p, x)) - x)
    found = succeeded(cgru.locate_period_doubling(family, [0.43], 3.4))
    close(found.parameter, 1 + np.sqrt(6))


def test_the_delayed_logistic_map_turns_at_two():
    # x⁺ = p x (1 − y), y⁺ = x: θ = π/3 and d = −1, by mpmath.
    family = lambda p: cgru.Map(lambda x: jnp.stack([p * x[0] * (1 - x[1]), x[0]]) - x)
    found = succeeded(cgru.locate_neimark_sacker(family, [0.45, 0.55], 1.9))
    close(found.point, [0.5, 0.5])
    close([found.parameter, found.angle, found.coefficient], [2, np.pi / 3, -1])


# What is refused.


def test_a_neutral_saddle_is_no_hopf_point():
    # Eigenvalues −1 and 1 + p: their sum vanishes at p = 0, and they are real.
    family = lambda p: cgru.Flow(lambda x: jnp.array([-1.0, 1.0 + p]) * (x - 0.3))
    found = cgru.locate_hopf(family, [0.35, 0.3], 0.1)
    assert name(found.result) == "wrong_kind"
    assert jnp.isnan(found.parameter)
    assert jnp.isnan(found.frequency)


def test_a_double_zero_is_no_hopf_point():
    # The Bogdanov–Takens family at p₂ = −1: on its Hopf curve ω² = −(p₂ + 1) = 0.
    def family(p):
        def field(x):
            u, v = x[0] - 5, x[1] - 2
            return jnp.stack([v, p - 3 + u * u - u * v])

        return cgru.Flow(field)

    found = cgru.locate_hopf(family, [5.0, 2.0], 3.0)
    assert name(found.result) == "degenerate"
    assert jnp.isnan(found.frequency)


def test_an_answer_far_from_the_guess_is_refused_with_its_distance():
    family = lambda p: cgru.Flow(lambda x: p - 0.7 - (x - 3.0) ** 2)
    found = cgru.locate_fold(family, [0.1], 0.6)
    assert name(found.result) == "elsewhere"
    close(found.distance, 2.9)
    assert jnp.isnan(found.parameter)


def test_where_there_is_no_fold_none_is_found():
    found = cgru.locate_fold(lambda p: cgru.Flow(lambda x: p - jnp.sinh(x)), [0.1], 0.6)
    assert name(found.result) in ("not_converged", "elsewhere", "degenerate")
    assert jnp.isnan(found.parameter)


def test_one_bad_member_of_a_batch_is_alone():
    fold = lambda a: cgru.locate_fold(open_gates(a), [0.6], -0.6)
    good = eqx.filter_jit(eqx.filter_vmap(fold))(jnp.array([2.3, 2.3, 2.5]))
    found = eqx.filter_jit(eqx.filter_vmap(fold))(jnp.array([2.3, jnp.nan, 2.5]))
    assert bool((found.result == RESULTS.nonfinite)[1])
    assert jnp.isnan(found.parameter[1])
    assert jnp.array_equal(found.parameter[::2], good.parameter[::2])


def test_a_hundred_fresh_families_compile_once(monkeypatch):
    count = []
    inner = _base.newton
    monkeypatch.setattr(_base, "newton", lambda *a: count.append(1) or inner(*a))
    for a in np.linspace(2, 3, 100):
        cgru.locate_fold(lambda b, a=a: open_gates(a)(b - 0.125), [0.6], -0.6)
    assert len(count) <= 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cgru.locate_fold(lambda p: p, [0.1], 0.1), "must return a Flow or a Map"),
        (
            lambda: cgru.locate_fold(open_gates(2.0), [0.1, 0.2], 0.1),
            r"shape \(2,\), but .* dimension 1",
        ),
        (lambda: cgru.locate_fold(open_gates(2.0), 0.1, 0.1), r"point must have shape"),
        (lambda: cgru.locate_fold(open_gates(2.0), [0.1], [0.1]), r"parameter must have"),
        (lambda: cgru.locate_fold(open_gates(2.0), [np.nan], 0.1), r"point\[0\] is nan"),
        (lambda: cgru.locate_fold(open_gates(2.0), ["a"], 0.1), "must hold real numbers"),
        (lambda: cgru.locate_hopf(open_gates(2.0), [0.1], 0.1), "needs 2 dimensions"),
        (
            lambda: cgru.locate_hopf(lambda p: cgru.Map(lambda x: p * x), [0.1, 0.1], 0.1),
            "returns a Map; this bifurcation is one of a Flow",
        ),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_single_precision_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="needs double precision"):
        cgru.locate_fold(lambda p: cgru.Flow(lambda x: p - x**2), [0.1], 0.1)


def test_events_are_named():
    assert set(EVENTS._name_to_item) == {
        "none",
        "fold",
        "hopf",
        "branch_point",
        "period_doubling",
        "neimark_sacker",
        "cusp",
        "bogdanov_takens",
        "generalised_hopf",
        "zero_hopf",
    }
