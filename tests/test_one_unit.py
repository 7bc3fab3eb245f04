"""One unit: exact counts against theorems, symmetries and high precision."""

import math

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from . import problems


@pytest.fixture(scope="session")
def one_unit():
    return problems.experiment("one_unit")


@pytest.fixture(scope="module")
def units():
    """500 units, half of which have folds."""
    rng = np.random.default_rng(7)
    U_h, U_r, b_r = rng.normal(size=(3, 500)) * np.array([[12.0], [20.0], [6.0]])
    return U_h, U_r, rng.uniform(-2, 2, 500), b_r


def test_the_fold_of_appendix_b_in_high_precision(one_unit):
    found = one_unit.locate_fold(jnp.array([-0.6, -0.7]))
    with mpmath.workdps(30):

        def equations(h, b):
            argument = lambda h: -60 * h / (1 + mpmath.exp(-80 * h - 40)) + b
            slope = mpmath.diff(lambda h: mpmath.tanh(argument(h)), h)
            return mpmath.tanh(argument(h)) - h, slope - 1

        h, b_h = mpmath.findroot(equations, (-0.593, -0.703))
    # Newton's method ends at round-off of a system whose condition is about 100.
    assert abs(found["h"] - float(h)) < 1e-13
    assert abs(found["b_h"] - float(b_h)) < 1e-13
    assert abs(found["b_h"] + 0.70313084) < 5e-9
    assert abs(found["h"] + 0.59372479) < 5e-9


def test_both_ways_to_the_fold_agree(one_unit):
    by_newton = one_unit.locate_fold(jnp.array([-0.6, -0.7]))
    _, biases = one_unit.folds(-60.0, 80.0, 40.0)
    # Bisection stops at neighbouring numbers, and b_h is flat in h there.
    assert abs(biases.max() - by_newton["b_h"]) < 1e-13


@pytest.mark.parametrize("a", [1.5, 2.3, 6.0], ids="a={}".format)
def test_folds_with_a_constant_gate_are_those_of_the_hyperbolic_tangent(one_unit, a):
    # r = 1/2: h = tanh(a h + b) folds at h² = 1 − 1/a, b = artanh h − a h.
    h = math.sqrt(1 - 1 / a)
    b = math.atanh(h) - a * h
    places, biases = one_unit.folds(2 * a, 1e-9, 0.0)
    # A gate this nearly constant moves the folds by about its slope, 1e-9.
    assert np.allclose(places, [-h, h], atol=1e-8)
    assert np.allclose(biases, [-b, b], atol=1e-8)


def test_at_a_fold_value_and_slope_vanish(one_unit, units):
    U_h, U_r, _, b_r = units
    places, _ = one_unit.folds(U_h, U_r, b_r)
    exist = np.isfinite(places[0])
    assert exist.mean() > 0.4
    for h in places[:, exist]:
        slope = (1 - h**2) * one_unit.slope_of_argument(
            U_h[exist], U_r[exist], b_r[exist], h
        )
        # Slopes of up to 12 · 20 multiply the spacing of the numbers h.
        assert np.abs(slope - 1).max() < 1e-10


def test_no_sign_change_contradicts_an_exact_count(one_unit, units):
    U_h, U_r, b_h, b_r = units
    exact = one_unit.count(U_h, U_r, b_h, b_r)
    h = np.tanh(np.linspace(-9, 9, 20_001))
    inside = U_h[:, None] * h / (1 + np.exp(-U_r[:, None] * h - b_r[:, None]))
    positive = np.tanh(inside + b_h[:, None]) > h
    # F > 0 at h = −1 and F < 0 at h = 1, whatever the parameters.
    positive = np.pad(positive, ((0, 0), (1, 0)), constant_values=True)
    positive = np.pad(positive, ((0, 0), (0, 1)), constant_values=False)
    seen = (positive[:, 1:] != positive[:, :-1]).sum(axis=1)
    assert set(exact) == {1, 3}
    # The samples are at most 9e-4 apart; none of these units has so close a pair.
    assert np.array_equal(seen, exact)


def test_a_unit_in_the_mirror_has_as_many_equilibria(one_unit, units):
    U_h, U_r, b_h, b_r = units
    assert np.array_equal(
        one_unit.count(U_h, U_r, b_h, b_r), one_unit.count(U_h, -U_r, -b_h, b_r)
    )


def test_a_unit_without_recurrence_has_one_equilibrium(one_unit):
    assert one_unit.count(0.0, 3.0, 0.4, -1.0) == 1
