"""Curves of folds and of Hopf points in two parameters, against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax._results import name

# Newton's method ends at the rounding of numbers of size ten.
EXACT = dict(rtol=0, atol=1e-10)


def cusp(p):
    u = lambda x: x - 2
    return cgru.Flow(lambda x: (p[0] - 1) + (p[1] + 4) * u(x) - u(x) ** 3)


def bogdanov_takens(p):
    def field(state):
        u, v = state[0] - 5, state[1] - 2
        return jnp.stack([v, (p[0] - 3) + (p[1] + 1) * u + u**2 - u * v])

    return cgru.Flow(field)


def generalised_hopf(p):
    def field(state):
        u, v = state[0] - 0.3, state[1] + 0.2
        r = u**2 + v**2
        grows = (p[0] - 2) + (p[1] + 3) * r - r**2
        return jnp.stack([grows * u - v, u + grows * v])

    return cgru.Flow(field)


PLANE = ((1.0, -4.0), (5.0, 2.0))


def used(curve):
    """The parameters along a curve, and its events as pairs (name, parameters)."""
    happened = np.flatnonzero(curve.events.valid)
    kinds = list(cgru.EVENTS._name_to_item)
    events = [
        (kinds[int(curve.events.kind._value[i])], np.asarray(curve.events.parameters[i]))
        for i in happened
    ]
    return np.asarray(curve.parameters)[np.asarray(curve.valid)], events


def test_two_folds_meet_in_a_cusp():
    # Folds of a + b u − u³: 27 a² = 4 b³. The coefficient −3u changes its sign at the cusp.
    curve = cgru.trace_fold_curve(cusp, [2.5], [0.0, -3.0], bounds=((-4, -6), (6, 0)))
    parameters, ((kind, place),) = used(curve)
    assert (name(curve.result), kind) == ("bound", "cusp")
    np.testing.assert_allclose(place, [1, -4], **EXACT)
    a, b = (parameters - [1, -4]).T
    np.testing.assert_allclose(27 * a**2, 4 * b**3, **EXACT)
    u = np.asarray(curve.points)[np.asarray(curve.valid), 0] - 2
    v = np.asarray(curve.null_vectors)[np.asarray(curve.valid), 0]
    coefficient = np.asarray(curve.coefficient)[np.asarray(curve.valid)]
    np.testing.assert_allclose(coefficient, -3 * u * v, **EXACT)


def test_a_fold_curve_passes_its_bogdanov_takens_point():
    # Folds of a + b u + u² with v = 0: a = b²/4, at u = −b/2; double zero at b = 0.
    for direction in (1, -1):
        curve = cgru.trace_fold_curve(
            bogdanov_takens, [5.3, 2.0], [3.1, -0.5], bounds=PLANE, direction=direction
        )
        parameters, events = used(curve)
        a, b = (parameters - [3, -1]).T
        np.testing.assert_allclose(a, b**2 / 4, **EXACT)
        if direction < 0:
            ((kind, place),) = events
            assert kind == "bogdanov_takens"
            np.testing.assert_allclose(place, [3, -1], **EXACT)
        else:
            assert not events


@pytest.mark.slow
def test_a_hopf_curve_ends_at_its_bogdanov_takens_point():
    # At u = 0: p₁ = 3, ω² = −(p₂ + 1). By hand u'' = −ω² u + u² − u u' has
    # l₁ = −1 / (2 ω³ (1 + ω²)) for |q| = 1.
    curve = cgru.trace_hopf_curve(bogdanov_takens, [5.0, 2.0], [3.0, -2.0], bounds=PLANE)
    parameters, ((kind, place),) = used(curve)
    assert (name(curve.result), kind) == ("bound", "bogdanov_takens")
    np.testing.assert_allclose(place, [3, -1], **EXACT)
    np.testing.assert_allclose(parameters[:, 0], 3, **EXACT)
    valid = np.asarray(curve.valid)
    omega = np.asarray(curve.frequency)[valid]
    np.testing.assert_allclose(omega**2, -(parameters[:, 1] + 1), **EXACT)
    # At the last point, where ω² = 1e-8, solves with the Jacobian leave half the digits.
    l1 = np.asarray(curve.lyapunov)[valid]
    np.testing.assert_allclose(2 * l1 * omega**3 * (1 + omega**2), -1, rtol=1e-6)


@pytest.mark.slow
def test_l1_vanishes_at_a_generalised_hopf_point():
    # r' = r (a + b r² − r⁴): Hopf at a = 0 with l₁ = 2 b (ω = 1).
    curve = cgru.trace_hopf_curve(
        generalised_hopf, [0.3, -0.2], [2.0, -2.5], bounds=PLANE, direction=-1
    )
    parameters, ((kind, place),) = used(curve)
    assert kind == "generalised_hopf"
    np.testing.assert_allclose(place, [2, -3], **EXACT)
    l1 = np.asarray(curve.lyapunov)[np.asarray(curve.valid)]
    np.testing.assert_allclose(l1, 2 * (parameters[:, 1] + 3), **EXACT)


def test_a_start_far_from_any_fold_is_refused():
    curve = cgru.trace_fold_curve(cusp, [2.0], [0.0, -5.5], bounds=((-4, -6), (6, 0)))
    assert name(curve.result) in ("elsewhere", "not_converged", "degenerate")
    assert not curve.valid.any()
    assert jnp.isnan(curve.parameters).all()


def test_a_start_on_a_cusp_is_told_what_it_is():
    # One unit with the gates at rest has its cusp at U_h = 2; a cell takes no NaN, which is
    # what a refused start becomes.
    family = lambda p: cgru.Flow(cgru.gru([[p[0]]], b_h=p[1]))
    curve = cgru.trace_fold_curve(
        family, [0.0], [2.0, 0.0], bounds=((1, -1), (5, 1)), capacity=8
    )
    assert name(curve.result) == "degenerate"
    assert not curve.valid.any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (dict(point=[2.5], parameter=[0.0]), "parameter must have shape \\(2,\\)"),
        (dict(bounds=((-4, 0), (6, -6))), "bounds are empty"),
        (dict(bounds=((2, -6), (6, 0))), "lies outside the bounds"),
        (dict(direction=2), "direction must be 1 or -1"),
        (dict(capacity=1), "capacity must be a whole number"),
    ],
)
def test_bad_input_is_named(call, says):
    good = dict(point=[2.5], parameter=[0.0, -3.0], bounds=((-4, -6), (6, 0)))
    given = {**good, **call}
    with pytest.raises(ValueError, match=says):
        cgru.trace_fold_curve(cusp, given.pop("point"), given.pop("parameter"), **given)


def test_one_dimension_has_no_hopf_curve():
    with pytest.raises(ValueError, match="2 or more dimensions"):
        cgru.trace_hopf_curve(cusp, [2.5], [0.0, -3.0], bounds=((-4, -6), (6, 0)))
