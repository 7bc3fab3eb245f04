"""Static states of large random networks: against numbers of an independent program
(SciPy's root finder on 2,401-node trapezoids, deterministic) and closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

import cgru_jax as cgru
from cgru_jax import RESULTS

# (g_h, g_r, g_z, m_r, m_z, s_h), roots q, κ at each
REFERENCE = [
    ((3, 0, 0, 0, 0, 0), [0.35260180], [1.139323]),
    ((3, 2, 0, 0, 0, 0), [0.42797067], [1.472605]),
    ((4, 2, 0, 0, 0, 0), [0.59474704], [1.882571]),
    ((4, 2, 0, -1, 0, 0), [0.35840460], [1.531003]),
    ((1.95, 5, 0, 0, 0, 0), [0.01690300, 0.11649557], [1.082214, 1.304365]),
    ((1.8, 20, 0, 0, 0, 0), [0.00416821, 0.18305430], [1.209724, 2.324808]),
    ((1.5, 1, 1, 0, 0, 0.3), [0.12550430], [0.467905]),
    ((1.5, 1, 5, 0, -1, 0.5), [0.23431753], [0.397452]),
]
# and what has no root, or none that can be told from zero
EDGE = {
    "quiescent": (1.5, 0, 0, 0, 0, 0),
    "critical": (2, 0, 0, 0, 0, 0),
    "below the fold": (1.917143, 5, 0, 0, 0, 0),
    "just above it": (1.917144, 5, 0, 0, 0, 0),
    "negative": (-3, 1, 0, 0, 0, 0),
    "not a number": (np.nan, 1, 0, 0, 0, 0),
    "at the onset": (2 + 1e-10, 0, 0, 0, 0, 0),
    "a trace of bias": (1.5, 0, 0, 0, 0, 1e-9),
    "beyond all numbers": (1e300, 0, 0, 0, 0, 0),
    "the least trace": (1.5, 0, 0, 0, 0, 1e-15),
}


def random_gru(row):
    g_h, g_r, g_z, m_r, m_z, s_h = row
    return cgru.GRUEnsemble(g_h=g_h, g_r=g_r, g_z=g_z, m_r=m_r, m_z=m_z, s_h=s_h)


def member(found, i):
    return jax.tree.map(lambda x: x[i], found)


def each(verb, rows):
    """One after the other, stacked: without a batch axis a verb compiles in less time."""
    return jax.tree.map(lambda *x: jnp.stack(x), *(verb(*map(float, r)) for r in rows))


@pytest.fixture(scope="module")
def solved():
    """All of them in one compilation."""
    rows = [row for row, _, _ in REFERENCE] + list(EDGE.values())
    solve = eqx.filter_vmap(lambda row: cgru.solve_mean_field(random_gru(row)))
    both = solve(jnp.array(rows, float))
    members = [member(both, i) for i in range(len(rows))]
    return members[: len(REFERENCE)], dict(
        zip(EDGE, members[len(REFERENCE) :], strict=True)
    )


def test_all_roots_of_random_grus_are_found_with_their_stability(solved):
    for found, (row, variances, radii) in zip(solved[0], REFERENCE, strict=True):
        assert found.result == RESULTS.successful, row
        assert int(found.valid.sum()) == len(variances)
        k = len(variances)
        # To the printed digits.
        np.testing.assert_allclose(found.variance[:k], variances, atol=6e-9)
        np.testing.assert_allclose(found.stability[:k], radii, atol=6e-7)
        assert np.isnan(found.variance[k:]).all()


def test_without_activity_the_only_root_is_zero_and_that_is_said(solved):
    for name in ("quiescent", "critical", "below the fold"):
        found = solved[1][name]
        assert found.result == RESULTS.no_root, name
        assert not found.valid.any()
        assert np.isnan(found.stability).all()


def test_two_roots_that_are_nearer_than_points_of_the_scan_are_both_found(solved):
    # The fold is at 1.9171432: 4e-7 beyond it they are a hundredth apart.
    found = solved[1]["just above it"]
    assert found.result == RESULTS.successful
    low, high = found.variance[:2]
    assert 0 < high - low < 0.01 * low


def test_a_bad_number_spoils_its_own_member_of_a_batch_only(solved):
    assert solved[1]["negative"].result == RESULTS.negative
    assert solved[1]["not a number"].result == RESULTS.nonfinite
    # Its square is infinite: that no root is seen does not mean that there is none.
    assert solved[1]["beyond all numbers"].result == RESULTS.not_converged
    for name in ("negative", "not a number", "beyond all numbers"):
        assert np.isnan(solved[1][name].variance).all()


@pytest.mark.parametrize("name", ["at the onset", "a trace of bias", "the least trace"])
def test_a_root_that_cannot_be_told_from_zero_is_withheld(solved, name):
    assert solved[1][name].result == RESULTS.not_converged
    assert not solved[1][name].valid.any()


def test_zero_loses_its_stability_at_the_critical_gain():
    gain = cgru.critical_gain(cgru.GRUEnsemble(g_h=1, m_r=-1, g_r=7, g_z=3))
    np.testing.assert_allclose(gain, 1 + np.e, rtol=1e-14)  # 1 / σ(−1); round-off
    lstm = cgru.LSTMEnsemble(g_f=2, g_i=1, g_o=3, g_c=1, m_f=0.5, m_i=-1, m_o=2)
    sigma = lambda x: 1 / (1 + np.exp(-x))
    expected = sigma(-0.5) / (sigma(-1) * sigma(2))
    np.testing.assert_allclose(cgru.critical_gain(lstm), expected, rtol=1e-14)
    assert jnp.isnan(cgru.critical_gain(cgru.GRUEnsemble(g_h=1, s_h=0.1)))


def test_activity_sets_in_with_a_jump_beyond_a_gain_in_closed_form():
    for mean, gain in [(0, 2 * np.sqrt(2)), (-1, 1.51421), (-2, 1.17581)]:
        bend = lambda g, m=mean: cgru.onset_curvature(cgru.GRUEnsemble(g_h=1, g_r=g, m_r=m))
        assert bend(gain * (1 - 5e-6)) < 0 < bend(gain * (1 + 5e-6))  # six digits
    # Never where the reset gate is open by two thirds.
    assert cgru.onset_curvature(cgru.GRUEnsemble(g_h=1, g_r=50, m_r=np.log(2) + 0.01)) < 0
    forget = lambda g: cgru.LSTMEnsemble(g_f=g, g_i=0, g_o=0, g_c=1)
    assert cgru.onset_curvature(forget(4.6188)) < 0 < cgru.onset_curvature(forget(4.6189))
    assert jnp.isnan(cgru.onset_curvature(cgru.GRUEnsemble(g_h=1, s_r=0.1)))


FOLDS = {
    0: [1.999763, 1.984927, 1.917143, 1.804556, 1.627833, 1.527268],
    -1: [3.164120, 2.942794, 2.569071, 2.199991, 1.791340, 1.603033],
    -2: [4.943543, 4.293797, 3.380143, 2.636994, 1.949598, 1.671676],
}
RESET_GAINS = [2.9, 3.5, 5, 8, 20, 50]


@pytest.mark.slow
def test_folds_of_static_states_lie_where_they_should():
    rows = [(m, g) for m in FOLDS for g in RESET_GAINS] + [(0, 2.83), (0, 2.7), (1, 30)]
    found = each(lambda m, g: cgru.fold_gain(cgru.GRUEnsemble(g_h=9.0, m_r=m, g_r=g)), rows)
    expected = np.concatenate(list(FOLDS.values()))
    np.testing.assert_allclose(found.gain[:-3], expected, atol=6e-7)  # printed digits
    # Just beyond 2√2, by thirty digits: 2 − 1.196e-7.
    np.testing.assert_allclose(2 - found.gain[18], 1.196e-7, rtol=1e-3)
    # At m_r = 0, g_r = 20 also printed: q and κ.
    np.testing.assert_allclose(found.variance[4], 0.04429, atol=6e-6)
    np.testing.assert_allclose(found.stability[4], 1.659, atol=6e-4)
    assert (found.result == RESULTS.successful).tolist() == [True] * 19 + [False] * 2
    # A continuous transition has none.
    assert member(found.result, -1) == RESULTS.no_fold
    assert np.isnan(found.gain[-2:]).all()


@pytest.mark.slow
def test_the_derivative_of_a_variance_is_the_implicit_one():
    def both(gains):
        found = cgru.solve_mean_field(cgru.GRUEnsemble(g_h=gains[0], g_r=gains[1]))
        return jnp.stack([found.variance[0], found.stability[0]])

    # Backwards, one row after the other.
    row = jax.jit(lambda gains, which: jax.vjp(both, gains)[1](which)[0])
    got = jnp.stack([row(jnp.array([3.0, 0.0]), which) for which in jnp.eye(2)])
    # Only g_r² matters: at g_r = 0 the slope vanishes, and is not NaN.
    np.testing.assert_allclose(got[:, 1], 0, atol=1e-14)
    # With open gates q = V(g²q/4): implicit differentiation by hand, by quadrature.
    q, g = 0.3526018, 3.0
    density = lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    V = lambda v: scipy.integrate.quad(
        lambda x: np.tanh(np.sqrt(v) * x) ** 2 * density(x), -9, 9, epsabs=1e-13
    )[0]
    slope = (V(g * g * q / 4 + 1e-4) - V(g * g * q / 4 - 1e-4)) / 2e-4
    expected = slope * g * q / 2 / (1 - slope * g * g / 4)
    # The difference quotient has eight digits, q seven.
    np.testing.assert_allclose(got[0, 0], expected, rtol=1e-6)


@pytest.mark.slow
def test_all_roots_of_random_lstms_are_found_with_their_stability():
    rows = [(1, 1, 1, 3, 0), (2, 2, 2, 4, 1), (4.8, 0, 0, 1.998, 0), (4.4, 0, 0, 1.998, 0)]
    rows += [(60, 1, 1, 4, 0)]
    random_lstm = lambda f, i, o, c, m: cgru.LSTMEnsemble(g_f=f, g_i=i, g_o=o, g_c=c, m_f=m)
    found = each(lambda *row: cgru.solve_mean_field(random_lstm(*row)), rows)
    printed = [[0.0502241], [0.1726032], [0.0014045, 0.0243973], []]
    for i, variances in enumerate(printed):
        assert int(found.valid[i].sum()) == len(variances)
        k = len(variances)
        np.testing.assert_allclose(found.variance[i, :k], variances, atol=6e-8)
    radii = found.stability[jnp.arange(3), jnp.array([0, 0, 1])]
    np.testing.assert_allclose(radii, [1.17716, 3.41443, 1.18635], atol=6e-6)
    # A forget gain below 4.6188 has a continuous onset, at g_c = 2.
    assert member(found.result, 3) == RESULTS.no_root
    # Inputs of the forget gate with a deviation of 22: ⟨V(1)⟩ is beyond all numbers.
    assert member(found.result, 4) == RESULTS.not_converged
    assert np.isnan(found.stability[4]).all()


@pytest.mark.slow
def test_where_the_reset_gate_comes_last_the_roots_differ():
    random_gru = lambda h, r: cgru.ResetAfterGRUEnsemble(g_h=h, g_r=r)
    found = each(lambda *row: cgru.solve_mean_field(random_gru(*row)), [(3, 2), (1.95, 5)])
    # The same average by SciPy: tanh² of an even integrand, over the two normal numbers.
    density = lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)

    def average(q):
        s, t = 3 * np.sqrt(q), 2 * np.sqrt(q)
        integrand = lambda x, y: (
            np.tanh(s * x / (1 + np.exp(-t * y))) ** 2 * density(x) * density(y)
        )
        return scipy.integrate.dblquad(integrand, -9, 9, 0, 9, epsabs=1e-10)[0] * 2

    root = scipy.optimize.brentq(lambda q: average(q) - q, 0.3135, 0.3137, xtol=1e-9)
    np.testing.assert_allclose(found.variance[0, 0], root, atol=1e-8)
    # At g_r = 5 there is none below the critical gain of 2, unlike with the reset first.
    assert member(found.result, 1) == RESULTS.no_root


def test_what_is_no_ensemble_is_refused():
    with pytest.raises(ValueError, match="filter_vmap"):
        cgru.solve_mean_field(
            eqx.filter_vmap(lambda g: cgru.GRUEnsemble(g_h=g))(jnp.ones(3))
        )
    single = cgru.GRUEnsemble(g_h=jnp.float32(1), **dict.fromkeys(GRU_REST, jnp.float32(0)))
    with pytest.raises(ValueError, match="double precision"):
        cgru.solve_mean_field(single)


GRU_REST = ["g_r", "g_z", "m_h", "m_r", "m_z", "s_h", "s_r", "s_z"]
