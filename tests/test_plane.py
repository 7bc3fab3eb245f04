"""The plane of two parameters, for one unit, where everything is known."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import EVENTS, plot


def one_unit(p):
    """Open gates: h' = (tanh(a h + b) − h) / 2, with its origin moved to b = 0.2."""
    return cgru.Flow(cgru.gru(2 * p[1], b_h=p[0] - 0.2))


@pytest.fixture(scope="module")
def plane():
    return cgru.two_parameter_diagram(one_unit, ((-1.0, 0.5), (1.5, 2.5)))


def folds(a):
    """b = ±(artanh h − a h) with h = √(1 − 1/a), moved."""
    h = np.sqrt(1 - 1 / a)
    return np.arctanh(h) - a * h


@pytest.mark.slow
def test_the_regions_of_one_unit(plane):
    b, a = np.meshgrid(plane.first, plane.second, indexing="ij")
    inside = (a > 1) & (np.abs(b - 0.2) < -folds(np.maximum(a, 1)))
    assert plane.complete.all()
    np.testing.assert_array_equal(plane.sinks, np.where(inside, 2, 1))
    np.testing.assert_array_equal(plane.sources, np.where(inside, 1, 0))
    assert not plane.hopfs


@pytest.mark.slow
def test_one_curve_of_folds_with_one_cusp(plane):
    p = np.concatenate([np.asarray(curve.parameters) for curve in plane.folds])
    # Newton's method ends at the rounding of numbers of size one; beside the cusp the
    # closed form loses half of them.
    gap = np.abs(np.abs(p[:, 0] - 0.2) + folds(np.maximum(p[:, 1], 1)))
    assert np.max(gap[p[:, 1] > 1.001]) < 1e-12
    cusps = np.concatenate([np.asarray(c.events.parameters) for c in plane.folds])
    np.testing.assert_allclose(cusps, [[0.2, 1.0]], rtol=0, atol=1e-10)
    kinds = np.concatenate([np.asarray(c.events.kind._value) for c in plane.folds])
    assert kinds.tolist() == [int(EVENTS.cusp._value)]
    # The curve reaches both sides of the rectangle.
    ends = np.array([np.asarray(c.parameters)[-1] for c in plane.folds])
    np.testing.assert_allclose(np.sort(ends[:, 1]), 2.5, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_the_figure_shows_what_it_saves(plane):
    ax = Figure().subplots()
    data = plot.plane(plane, ax)
    assert [t.get_text() for t in ax.texts] == ["1 | 0 | 0", "2 | 1 | 0"]
    assert len(data["folds"]) == len(plane.folds)
    assert [kind for kind, *_ in data["points"]] == ["cusp"]


def test_bounds_that_are_empty_are_named():
    with pytest.raises(ValueError, match="two_parameter_diagram: bounds are empty"):
        cgru.two_parameter_diagram(one_unit, ((1.0, 0.5), (-1.0, 2.5)))


def test_bounds_of_one_parameter_are_refused():
    with pytest.raises(ValueError, match="low bound has shape"):
        cgru.two_parameter_diagram(one_unit, (jnp.array(0.5), jnp.array(2.5)))
