"""The dynamics of infinitely large networks: closed forms, two solvers, and networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

import cgru_jax as cgru

RESULTS = cgru.RESULTS
ALWAYS = 40.0  # a mean at which a gate is one to the last digit
SIZE = {"paths": 3_000, "steps": 80, "transient": 40}  # one shape for the fast tests

# A rule of its own for averages over a normal variable, and over a correlated pair.
X = np.linspace(-8, 8, 401)
WEIGHTS = np.exp(-(X**2) / 2) / np.exp(-(X**2) / 2).sum()


def sigma(x):
    return 1 / (1 + np.exp(-x))


def mean(f, variance, centre=0.0):
    return WEIGHTS @ f(centre + np.sqrt(variance) * X)


def pair(f, covariance, variance, centre=0.0):
    """⟨f(x) f(y)⟩ on a plane of nodes."""
    other = covariance / variance
    y = other * X[:, None] + np.sqrt(1 - other**2) * X
    s = np.sqrt(variance)
    return WEIGHTS @ (f(centre + s * X)[:, None] * f(centre + s * y)) @ WEIGHTS


def static_gain(q, g_r):
    """The g_h at which q is the variance of an equilibrium, unbiased."""
    inner = brentq(lambda d: mean(lambda x: np.tanh(x) ** 2, d) - q, 1e-9, 50)
    return np.sqrt(inner / (mean(lambda x: sigma(x) ** 2, g_r**2 * q) * q))


def static_variance(g_h, g_r):
    return brentq(lambda q: static_gain(q, g_r) - g_h, 0.2, 0.8)


def test_without_memory_in_the_gate_time_falls_apart():
    # With z = 1 the state is the candidate: equal times are static, others independent.
    # The tangent grows by √κ, κ = g_h² (C_r + g_r² q ⟨σ'²⟩) ⟨(1 − tanh²)²⟩.
    ensemble = cgru.GRUEnsemble(g_h=3, g_r=2, m_z=ALWAYS)
    q = static_variance(3, 2)
    slope = lambda x: sigma(x) * (1 - sigma(x))
    reset = mean(lambda x: sigma(x) ** 2, 4 * q)
    moved = reset + 4 * q * mean(lambda x: slope(x) ** 2, 4 * q)
    kappa = 9 * moved * mean(lambda x: np.cosh(x) ** -4, 9 * reset * q)

    solved = cgru.solve_constant_gate(ensemble, lags=64)
    np.testing.assert_allclose(solved.values[0], q, rtol=1e-8)  # of the iteration
    np.testing.assert_allclose(solved.values[1:], 0, atol=1e-8)

    found = cgru.sample_paths(ensemble, jr.key(0), **SIZE)
    sampled = cgru.correlation_function(found.states["h"], 5)
    # 3,000 paths: two per cent of the variance; 80 steps of the logarithm of the growth.
    np.testing.assert_allclose(sampled[0], q, rtol=0.03)
    np.testing.assert_allclose(sampled[1:], 0, atol=0.01)
    np.testing.assert_allclose(found.exponent, np.log(kappa) / 2, rtol=0.05)


def test_a_quiescent_network_shrinks_every_tangent_by_its_gain():
    # At rest r = 1/2, and with z = 1 a step multiplies by g_h / 2.
    ensemble = cgru.GRUEnsemble(g_h=1.2, g_r=2, m_z=ALWAYS)
    found = cgru.sample_paths(ensemble, jr.key(1), **SIZE, start=1e-3)
    # Each step errs by 1/√(2 · 3,000), the mean over 80 by a ninth of that.
    assert abs(found.exponent - np.log(0.6)) < 0.006
    assert jnp.max(jnp.abs(found.states["h"])) < 1e-2


def test_a_tangent_that_is_annihilated_shrinks_without_bound():
    # Without recurrence and with z = 1 no state remembers the one before.
    ensemble = cgru.GRUEnsemble(g_h=0, m_z=ALWAYS)
    assert cgru.sample_paths(ensemble, jr.key(1), **SIZE).exponent == -jnp.inf


def test_paths_at_rest_have_the_disc_of_the_zero_state():
    # z = r = 1/2 and h = 0: eigenvalues fill a disc around 1 − z of radius z r g_h.
    ensemble = cgru.GRUEnsemble(g_h=1.2, g_r=2)
    found = cgru.sample_paths(ensemble, jr.key(1), **SIZE, start=1e-6)
    coefficients = cgru.path_coefficients(ensemble, found)
    # What is left of the state is 1e-6 or less, and enters linearly.
    np.testing.assert_allclose(cgru.support(coefficients, 0.8 + 0j), 1, rtol=1e-5)
    np.testing.assert_allclose(cgru.support(coefficients, 0.5 - 0.15j), 4, rtol=1e-5)
    with pytest.raises(ValueError, match="but a LSTMEnsemble has"):
        cgru.path_coefficients(cgru.LSTMEnsemble(g_f=1, g_i=1, g_o=1, g_c=1), found)


def test_the_correlation_function_solves_its_equations_in_time():
    # h⁺ = k h + z y: z² C_y(τ) = (1 + k²) C_h(τ) − k (C_h(τ + 1) + C_h(τ − 1)), with the
    # averages over pairs on a plane of nodes in place of Mehler's series.
    ensemble = cgru.GRUEnsemble(g_h=3, g_r=2, m_z=-1, m_h=0.3, s_h=0.4, m_r=0.2, s_r=0.3)
    solved = cgru.solve_constant_gate(ensemble, lags=64)
    assert solved.result == RESULTS.successful
    C, z = np.asarray(solved.values), sigma(-1.0)
    reset = [pair(sigma, 4 * c + 0.09, 4 * C[0] + 0.09, 0.2) for c in C]
    inner = 9 * np.array(reset) * C + 0.16
    for lag in (0, 1, 5, 20):
        candidate = pair(np.tanh, inner[lag], inner[0], 0.3)
        back, on = C[abs(lag - 1)], C[lag + 1]
        left = (1 + (1 - z) ** 2) * C[lag] - (1 - z) * (back + on)
        # The iteration stops at 1e-10; what is left of the correlation at the last lag.
        np.testing.assert_allclose(left, z**2 * candidate, atol=1e-8)


def test_sampling_and_solving_agree_where_both_apply():
    ensemble = cgru.GRUEnsemble(g_h=3, g_r=2, m_z=-1)
    solved = cgru.solve_constant_gate(ensemble, lags=64)
    found = cgru.sample_paths(ensemble, jr.key(2), **SIZE)
    sampled = cgru.correlation_function(found.states["h"], 10)
    # 3,000 paths and 80 correlated times; the error grows with the lag.
    np.testing.assert_allclose(sampled[0], solved.values[0], rtol=0.05)
    np.testing.assert_allclose(sampled, solved.values[:11], atol=0.04)
    # The same numbers by an independent program (NumPy, 256 times), to its five digits.
    known = [0.34917, 0.30757, 0.22057, 0.08216]
    wider = cgru.solve_constant_gate(ensemble, lags=128).values
    np.testing.assert_allclose(wider[np.array([0, 5, 10, 20])], known, atol=1e-5)
    # And near the onset, without a reset gate.
    open_ = cgru.solve_constant_gate(cgru.GRUEnsemble(g_h=3), lags=128).values
    known = [0.33228, 0.27963, 0.18470, 0.06330]
    np.testing.assert_allclose(open_[np.array([0, 5, 10, 20])], known, atol=1e-5)


@pytest.mark.parametrize("g_r", [5.0, 20.0])
def test_the_dynamic_threshold_without_memory_is_the_static_fold(g_r):
    fold = minimize_scalar(
        lambda x: static_gain(np.exp(x), g_r), bounds=np.log([0.02, 0.2]), method="bounded"
    )
    ensemble = cgru.GRUEnsemble(g_h=1, g_r=g_r, m_z=ALWAYS)
    found = cgru.dynamic_threshold(ensemble, lags=64)
    np.testing.assert_allclose(found.gain, fold.fun, rtol=1e-8)  # quadratic in the place
    np.testing.assert_allclose(found.variance, np.exp(fold.x), rtol=1e-2)


def test_chaos_begins_at_a_jump_only_beyond_two_root_three():
    def threshold(g_r):
        return cgru.dynamic_threshold(cgru.GRUEnsemble(g_h=1, g_r=g_r), lags=64)

    # Static states jump from 2√2 on; slow chaos where g_r² (1 − r₀)(5 − 8 r₀) > 6.
    continuous = threshold(3.2)
    assert continuous.gain == 2
    assert continuous.variance == 0
    jump = threshold(5.0)
    # Between the last active and the first silent gain of an independent iteration.
    assert 1.96 < jump.gain < 1.98
    assert jump.variance > 0.02
    # Above it the solution that was found is met by iteration, below there is none.
    at = lambda gain: cgru.solve_constant_gate(
        cgru.GRUEnsemble(g_h=gain, g_r=5), lags=64
    ).values[0]
    assert at(float(jump.gain) + 0.004) > float(jump.variance)
    assert at(float(jump.gain) - 0.02) == 0


def test_ensembles_are_batched_and_fail_alone():
    gains = jnp.array([3.0, jnp.nan, -3.0, 3.0])
    means = jnp.array([-1.0, -1.0, -1.0, -1.0])
    widths = jnp.array([0.0, 0.0, 0.0, 2.0])

    @eqx.filter_vmap
    def both(g_h, m_z, g_z):
        ensemble = cgru.GRUEnsemble(g_h=g_h, g_r=2, m_z=m_z, g_z=g_z)
        sampled = cgru.sample_paths(ensemble, jr.key(0), paths=200, steps=20, transient=0)
        return sampled, cgru.solve_constant_gate(ensemble, lags=64)

    sampled, solved = both(gains, means, widths)
    member = lambda tree, i: jax.tree.map(lambda leaf: leaf[i], tree)
    assert member(solved, 0).result == RESULTS.successful
    for found in (sampled, solved):
        assert member(found, 1).result == RESULTS.nonfinite
        assert member(found, 2).result == RESULTS.negative
    assert member(solved, 3).result == RESULTS.inapplicable
    np.testing.assert_array_equal(jnp.isnan(solved.values).all(1), [False, *3 * [True]])
    h = sampled.states["h"]
    unusable = jnp.isnan(h).all((1, 2))
    np.testing.assert_array_equal(unusable, [False, True, True, False])


def test_correlations_of_a_wave_are_a_wave():
    t = np.arange(400)
    phases = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    states = 0.3 + np.cos(0.7 * t[:, None] + phases)
    found = cgru.correlation_function(jnp.asarray(states), 30)
    # All phases once: the average over units is exact at every time.
    np.testing.assert_allclose(found, 0.09 + np.cos(0.7 * t[:31]) / 2, atol=1e-12)


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        (lambda e: cgru.sample_paths(e, jr.key(0), paths=100), "too few"),
        (lambda e: cgru.sample_paths(e, jr.key(0), steps=0), "steps must be"),
        (lambda e: cgru.sample_paths(e, jr.key(0), start=0.0), "positive"),
        (lambda e: cgru.solve_constant_gate(e), "g_z is 1.0"),
        (lambda e: cgru.solve_constant_gate(e, lags=4), "lags must be"),
        (lambda e: cgru.dynamic_threshold(cgru.GRUEnsemble(g_h=1, s_h=0.1)), "s_h is 0.1"),
        (lambda e: cgru.solve_constant_gate(
            cgru.GRUEnsemble(g_h=1), start=jnp.ones(3)), "one value for each lag"),
        (lambda e: cgru.correlation_function(jnp.ones((3, 2)), 3), "from 0 to 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(verb, message):
    with pytest.raises(ValueError, match=message):
        verb(cgru.GRUEnsemble(g_h=1, g_z=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble",
    [
        cgru.GRUEnsemble(g_h=3, g_r=2, g_z=2),
        cgru.ResetAfterGRUEnsemble(g_h=4, g_r=6, g_z=4, m_z=-1),
        cgru.LSTMEnsemble(g_f=2, g_i=2, g_o=2, g_c=4, m_f=1),
    ],
    ids=["GRU", "ResetAfterGRU", "LSTM"],
)
def test_networks_of_500_units_do_what_the_theory_says(ensemble):
    units, steps = 500, 400
    found = cgru.sample_paths(ensemble, jr.key(0))
    theory = cgru.correlation_function(found.states["h"], 10)
    coefficients = cgru.path_coefficients(ensemble, found)
    support = eqx.filter_jit(jax.vmap(cgru.support, (None, 0)))
    variances, later, exponents, outside = [], [], [], []
    for seed in range(2):
        system = cgru.Map(cgru.sample(ensemble, units, jr.key(seed)))
        start = jr.normal(jr.key(10 + seed), (system.field.size,))
        orbit = cgru.integrate(system, start, np.arange(100, 100 + steps)).states
        measured = cgru.correlation_function(orbit[:, :units], 10)
        growth = cgru.lyapunov_exponents(system, orbit[0], steps=steps, transient=50)
        variances.append(measured[0])
        later.append(measured[10])
        exponents.append(growth.exponents[0])
        eigenvalues = 1 + cgru.jacobian_spectra(system, orbit[-1:])[0]
        outside.append(np.mean(support(coefficients, eigenvalues) < 1))
    # Of one network of 500 units a variance errs by about 8 per cent; here are two.
    np.testing.assert_allclose(np.mean(variances), theory[0], rtol=0.1)
    np.testing.assert_allclose(np.mean(later), theory[10], atol=0.04)
    # The theory knows no network: one eigenvalue in twenty may lie beyond its edge.
    assert np.mean(outside) <= 0.05
    # Finite networks sit below the theory, by 7 per cent still at 1,000 units; two of
    # them and 400 steps scatter by another 5.
    np.testing.assert_allclose(np.mean(exponents), found.exponent, rtol=0.2)


@pytest.mark.slow
def test_beyond_the_threshold_the_first_state_decides_between_rest_and_chaos():
    # g_r = 20: threshold 1.77, the origin loses stability at 2.
    ensemble = cgru.GRUEnsemble(g_h=1.9, g_r=20)
    system = cgru.Map(cgru.sample(ensemble, 500, jr.key(0)))
    noise = jr.normal(jr.key(1), (500,))
    wild = cgru.lyapunov_exponents(system, noise, steps=400, transient=100)
    still = cgru.lyapunov_exponents(system, 0.02 * noise, steps=400, transient=100)
    active = cgru.solve_constant_gate(ensemble).values[0]
    # The variance of 500 units wanders between 0.04 and 0.19: the mean over 800 steps, some
    # tens of independent times, is known to a tenth.
    onward = lambda h, _: (h + system.residual(h), jnp.mean(h**2))
    variances = jax.lax.scan(onward, wild.state, length=800)[1]
    np.testing.assert_allclose(jnp.mean(variances), active, rtol=0.2)
    assert wild.exponents[0] > 0.1
    assert still.exponents[0] < 0
    assert jnp.mean(still.state**2) < 1e-6


@pytest.mark.slow
def test_the_threshold_moves_with_the_reset_gain_at_its_derivative():
    at = lambda g_r: cgru.dynamic_threshold(cgru.GRUEnsemble(g_h=1, g_r=g_r), lags=64).gain
    both = jax.jit(lambda g_r: jax.jvp(at, (g_r,), (1.0,)))
    below, above = both(19.95)[0], both(20.05)[0]
    # Central differences of a gain that is found to 1e-9.
    np.testing.assert_allclose(both(20.0)[1], (above - below) / 0.1, rtol=1e-4)
