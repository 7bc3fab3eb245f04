"""Spectra of large random Jacobians: against tables of an independent program, disc laws,
and the eigenvalues of matrices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import norm

import cgru_jax as cgru
from cgru_jax import RESULTS

GATES = [0, 1, 3, 10, 100]  # g_z
SHARP, VARIANCE = 3_000, 0.42797067  # a root at g_h = 3, g_r = 2
LOG_EXCESS = {
    (3, 2): [-2.2372, -2.3123, -2.7261, -4.4171, -31.4344],
    (3, 0): [-3.3904, -3.4711, -4.0841, -8.1461, -70.1194],
}
EDGES = {(6, 2): [1.32299, 1.30416, 1.25636, 1.20436, 1.16890]}


def test_a_broad_update_gate_pinches_the_edge_onto_one():
    gains = [*LOG_EXCESS, *EDGES]
    rows = [(*pair, g_z, 0.0) for pair in gains for g_z in GATES]
    # A stable state, with gates that differ, and with one gate for all.
    rows += [(1.5, 1, 1, 0.3), (1.5, 1, 0, 0.3), (3, 2, SHARP, 0)]
    edge = eqx.filter_vmap(
        lambda r: cgru.spectral_edge(
            cgru.GRUEnsemble(g_h=r[0], g_r=r[1], g_z=r[2], s_h=r[3])
        )
    )
    found = edge(jnp.array(rows, float))
    excess = np.concatenate(list(LOG_EXCESS.values()))
    np.testing.assert_allclose(found.log_excess[:10], excess, atol=6e-5)  # printed digits
    np.testing.assert_allclose(found.edge[10:15], EDGES[6, 2], atol=6e-6)
    # Stable: κ = 0.467905, so that constant gates 1/2 give a disc of radius √κ / 2.
    assert found.edge[15] == 1
    assert found.log_excess[15] == -jnp.inf
    np.testing.assert_allclose(found.edge[16], 0.5 + np.sqrt(0.467905) / 2, atol=1e-6)
    # The limit of gates that are switches: −S Φ⁻¹(1/κ) − 1, off by 0.008 at g_z = 100 and
    # by less and less; as a number the edge is one.
    limit = -SHARP * np.sqrt(VARIANCE) * norm.ppf(1 / 1.472605) - 1
    np.testing.assert_allclose(found.log_excess[17], limit, atol=2e-3)
    assert found.edge[17] == 1


def test_coefficients_keep_gates_that_let_next_to_nothing_go():
    # 4,096 units in place of integrals; the radius converges the most slowly, like their
    # number: κ is off by 5 %, and the logarithm of the excess by a few hundredths.
    for g_z, excess in [(20, -7.162189), (100, -31.4344)]:
        ensemble = cgru.GRUEnsemble(g_h=3, g_r=2, g_z=g_z)
        state = cgru.resting_coefficients(ensemble, VARIANCE)
        np.testing.assert_allclose(cgru.spectral_edge(state).log_excess, excess, atol=0.07)
        np.testing.assert_allclose(cgru.support(state, 1.0), 1.4, atol=0.01)
    unknown = cgru.spectral_edge(cgru.resting_coefficients(ensemble, jnp.nan))
    assert unknown.result == RESULTS.nonfinite
    assert jnp.isnan(unknown.edge)


@pytest.mark.slow
def test_the_edges_of_lstms_are_where_they_should_be():
    rows = [(1, 1, 1, 3, 0), (2, 2, 2, 4, 1), (4.8, 0, 0, 1.998, 0), (20, 1, 1, 4, 0)]
    variances = [0.05022411, 0.17260319, 0.02439730, 0.135]
    edge = eqx.filter_vmap(
        lambda r, q: cgru.spectral_edge(
            cgru.LSTMEnsemble(g_f=r[0], g_i=r[1], g_o=r[2], g_c=r[3], m_f=r[4]), q
        )
    )
    found = edge(jnp.array(rows, float), jnp.array(variances))
    np.testing.assert_allclose(found.edge[:3], [1.04137, 1.15885, 1.02774], atol=6e-6)
    # Where the mean is made by rare units, by another program: 601 x 121 x 141 nodes that
    # follow e^−f, in NumPy.
    np.testing.assert_allclose(found.stability[3], 397321619011.1876, rtol=1e-9)


def test_eigenvalues_gather_near_one():
    # Printed by a theory with independent samples; our nodes are good to a thousandth.
    slow = cgru.GRUEnsemble(g_h=3, g_r=2, g_z=10)
    state = cgru.resting_coefficients(slow, 0.42797067)
    for radius, mass in [(0.01, 0.2405), (0.05, 0.3268)]:
        found = cgru.eigenvalue_mass(state, 1.0, radius)
        np.testing.assert_allclose(found, mass, atol=1e-3)
    other = cgru.resting_coefficients(cgru.GRUEnsemble(g_h=6, g_r=2, g_z=10), 0.74511530)
    mass = cgru.eigenvalue_mass(other, 1.0, 0.01)
    np.testing.assert_allclose(mass, 0.2948, atol=1e-3)
    # Backwards, against a difference of what is solved to 1e-9.
    near = lambda r: cgru.eigenvalue_mass(state, 1.0, r)
    slope = jax.grad(near)(0.05)
    difference = (near(0.0501) - near(0.0499)) / 2e-4
    np.testing.assert_allclose(slope, difference, rtol=1e-4)
    # All of them lie in a disc that holds the support, and none beyond it.
    np.testing.assert_allclose(cgru.eigenvalue_mass(state, 0.5, 1.5), 1, atol=1e-9)
    np.testing.assert_allclose(cgru.eigenvalue_mass(state, 3.0, 0.5), 0, atol=1e-9)


@pytest.mark.slow
def test_the_derivative_of_the_edge_is_that_of_its_equation():
    # At a given variance and without update gate spread: ε = z₀ (√κ − 1) in closed form.
    def excess(m_z):
        ensemble = cgru.GRUEnsemble(g_h=3, g_r=2, m_z=m_z)
        return cgru.spectral_edge(ensemble, 0.42797067).log_excess

    # The derivative of log σ(m) is σ(−m).
    slope = jax.grad(excess)(0.7)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(0.7)), rtol=1e-10)


def multipliers(cell, state):
    return np.linalg.eigvals(np.eye(cell.size) + np.asarray(jax.jacfwd(cell)(state)))


def settled(cell, steps):
    start = jnp.asarray(np.random.default_rng(0).normal(size=cell.size) / 2)
    return jax.lax.fori_loop(0, steps, lambda _, h: h + cell(h), start)


def test_the_silent_networks_eigenvalues_fill_a_disc():
    ensemble = cgru.GRUEnsemble(g_h=1.6, g_r=3, m_r=0.5, m_z=-0.4)
    disc = cgru.zero_state_disc(ensemble)
    cell = cgru.sample(ensemble, 300, jr.key(1))
    found = multipliers(cell, jnp.zeros(300))
    # The radius of the circular law is off by 2 %, as its table is.
    assert abs(np.abs(found - disc.centre).max() / disc.radius - 1) < 0.05
    # Uniformly: within half of the radius lies a quarter.
    inner = np.mean(np.abs(found - disc.centre) < disc.radius / 2)
    assert abs(inner - 0.25) < 0.03
    silent = cgru.resting_coefficients(ensemble, 0.0)
    mass = cgru.eigenvalue_mass(silent, disc.centre, disc.radius / 2)
    np.testing.assert_allclose(mass, 0.25, atol=1e-6)


@pytest.mark.slow
def test_a_silent_lstm_has_as_many_zeros_as_units():
    ensemble = cgru.LSTMEnsemble(g_f=1, g_i=2, g_o=1, g_c=3, m_f=1, m_i=-0.5)
    disc = cgru.zero_state_disc(ensemble)
    cell = cgru.sample(ensemble, 150, jr.key(2))
    found = multipliers(cell, jnp.zeros(300))
    assert np.sum(np.abs(found) < 1e-12) == 150
    others = found[np.abs(found) >= 1e-12]
    assert abs(np.abs(others - disc.centre).max() / disc.radius - 1) < 0.07


MOVING = {
    "gru": cgru.GRUEnsemble(g_h=3, g_r=2, g_z=2),
    "reset_after": cgru.ResetAfterGRUEnsemble(g_h=4, g_r=6, g_z=4, m_z=-1),
    "lstm": cgru.LSTMEnsemble(g_f=2, g_i=2, g_o=2, g_c=4, m_f=1),
}


@pytest.mark.parametrize(
    "name",
    [
        "gru",
        pytest.param("reset_after", marks=pytest.mark.slow),
        pytest.param("lstm", marks=pytest.mark.slow),
    ],
)
def test_a_moving_networks_eigenvalues_are_foretold_by_its_own_coefficients(name):
    units = 200 if name == "lstm" else 300
    cell = cgru.sample(MOVING[name], units, jr.key(3))
    state = settled(cell, 200)
    found = multipliers(cell, state)
    coefficients = cgru.measure_coefficients(cell, state)
    inside = jax.vmap(lambda p: cgru.support(coefficients, p))(jnp.asarray(found))
    # 3 % may lie outside of the boundary at these sizes, and none far outside.
    assert np.mean(inside < 1) < 0.03
    assert np.mean(inside < 0.8) < 0.01
    # Radii of single networks of 800 units (500 of an LSTM) are known to scatter by 6 %
    # (8 %); smaller ones by the root of the ratio more.
    scatter = 0.08 * np.sqrt(500 / units) if name == "lstm" else 0.06 * np.sqrt(800 / units)
    edge = cgru.spectral_edge(coefficients).edge
    assert abs(np.abs(found).max() / edge - 1) < scatter
    for centre, radius in [(1, 0.3), (0.6, 0.2), (0, 0.5)]:
        mass = cgru.eigenvalue_mass(coefficients, centre, radius)
        # One network: a fiftieth.
        assert abs(mass - np.mean(np.abs(found - centre) < radius)) < 0.02
    dense = cgru.density(coefficients, 0.8 + 0.1j, radius=0.15) * np.pi * 0.15**2
    assert abs(dense - np.mean(np.abs(found - 0.8 - 0.1j) < 0.15)) < 0.02


def test_what_has_no_spectrum_is_refused():
    cell = cgru.gru(np.eye(3))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        cgru.measure_coefficients(cell, jnp.zeros(2))
    with pytest.raises(ValueError, match="GRU or LSTM"):
        cgru.measure_coefficients(Nothing(), jnp.zeros(2))
    ensemble = cgru.GRUEnsemble(g_h=1)
    silent = cgru.resting_coefficients(ensemble, 0.0, 8)
    for verb, message in [
        (lambda: cgru.eigenvalue_mass(silent, 1.0, -0.1), "radius must be one positive"),
        (lambda: cgru.eigenvalue_mass(silent, 1j, 0.1), "centre must be real"),
        (lambda: cgru.support(silent, jnp.ones(2)), r"point must be one number, got shape"),
        (
            lambda: cgru.resting_coefficients(cgru.GRUEnsemble(g_h=1), 0.1, 1),
            "count must be",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            verb()
    bad = jax.jit(lambda g: cgru.spectral_edge(cgru.GRUEnsemble(g_h=g), 0.1))(-1.0)
    assert bad.result == RESULTS.negative
    assert jnp.isnan(bad.edge)


class Nothing(cgru.AbstractCell):
    units = size = 2

    def __call__(self, h):
        return h


def test_what_has_no_static_state_has_no_spectrum():
    # A negative gain, NaN, and a gain at which the state is not told from zero.
    look = lambda g_h: cgru.support(cgru.GRUEnsemble(g_h=g_h, g_z=3.0), 0.9)
    support = jax.vmap(look)(jnp.array([3.0, -3.0, jnp.nan, 2.0000000002]))
    np.testing.assert_array_equal(np.isfinite(support), [True, False, False, False])
    unknown = cgru.resting_coefficients(cgru.GRUEnsemble(g_h=3), jnp.nan)
    assert jnp.isnan(cgru.eigenvalue_mass(unknown, 1.0, 0.3))
