"""All branches of a family, counted against theorems and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import EVENTS, plot
from cgru_jax._results import name


@pytest.fixture(scope="module")
def rotation():
    def family(theta):
        cos, sin = jnp.cos(theta), jnp.sin(theta)
        return cgru.Flow(cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]])))

    return cgru.bifurcation_diagram(family, (-0.5, 1.5))


def test_the_rotation_has_the_origin_and_one_closed_branch(rotation):
    # U_h = 3 R(θ): nine equilibria for |θ| < θ_c = 0.1478, the origin alone beyond.
    assert rotation.complete
    near = np.abs(rotation.parameters) < 0.147822070679066
    np.testing.assert_array_equal(rotation.counts, np.where(near, 9, 1))
    origin, ring = sorted(rotation.branches, key=lambda b: len(b.events.parameters))
    assert [name(b.result) for b in (origin, ring)] == ["bound", "closed"]
    assert int(origin.events.tally(EVENTS.hopf)) == 1
    assert int(ring.events.tally(EVENTS.fold)) == 8
    assert np.all(np.diff(origin.parameters) > 0)


def test_an_isola_is_on_the_diagram():
    # x = −2 and the circle (x − 0.3)² + (p − 0.7)² = 1.
    family = lambda p: cgru.Flow(lambda x: (1 - (p - 0.7) ** 2 - (x - 0.3) ** 2) * (x + 2))
    shown = cgru.bifurcation_diagram(family, (-1.0, 2.5), box=(-3 * np.ones(1), 3.0))
    assert shown.complete
    line, circle = sorted(shown.branches, key=lambda b: name(b.result))
    np.testing.assert_allclose(line.points[:, 0], -2, atol=1e-12)
    radius = np.hypot(circle.points[:, 0] - 0.3, circle.parameters - 0.7)
    np.testing.assert_allclose(radius, 1, atol=1e-10)
    np.testing.assert_allclose(np.sort(circle.events.parameters), [-0.3, 1.7], atol=1e-10)


def test_stable_is_drawn_solid_and_unstable_dashed(rotation):
    ax = Figure().subplots()
    drawn = plot.diagram(rotation, ax)
    assert len(drawn["branches"]) == 2
    styles = {line.get_label(): line.get_linestyle() for line in ax.lines}
    assert styles["stable"] == "-"
    assert styles["unstable"] == "--"
    # The origin is unstable up to arccos(2/3) and stable beyond.
    for line in ax.lines:
        p, x = line.get_data()
        if np.all(np.asarray(x) == 0) and len(p) > 2:
            assert (line.get_linestyle() == "-") == (np.mean(p) > np.arccos(2 / 3))
