"""How many fixed points random GRUs have: against an independent program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import RESULTS

# (g_h, g_r, m_r): q*, Σ*, by an independent solver on a uniform grid of 101 x 61 nodes;
# at gains of 10 and more these miss the fourth digit of q*, which is from 301 x 1,501.
REFERENCE = {
    (2.1, 0, 0): (0.03281, 2.09e-5),
    (2.5, 0, 0): (0.14786, 1.524e-3),
    (3, 0, 0): (0.25418, 7.143e-3),
    (4, 0, 0): (0.38490, 0.024825),
    (8, 0, 0): (0.55754, 0.089908),
    (10, 0, 0): (0.586952, 0.111425),
    (3, 2, 0): (0.28386, 0.026445),
    (1.95, 5, 0): (0.12519, 0.009904),
    (1.8, 20, 0): (0.129795, 0.058866),
    (4, 5, -2): (0.36389, 0.065430),
}
SILENT, NEGATIVE_RATE, BIASED = (1.9, 0, 0, 0), (1.4, 20, 0, 0), (3, 2, 0, 0.1)
NEAR_ONSET = [(2.001, 2, 0, 0), (2.0005, 1, 0, 0)]
HARD = [(2.02, 0, 0, 0), (200, 20, -5, 0), (1.2, 1_000, 0, 0)]


def random_gru(row):
    return cgru.GRUEnsemble(g_h=row[0], g_r=row[1], m_r=row[2], s_h=row[3])


def together(verb, rows):
    """One after the other: some are followed much farther than others, and the program is
    that of the command line, compiled once for both."""
    found = [verb(random_gru(row)) for row in rows]
    return jax.tree.map(lambda *x: jnp.stack(x), *found)


def test_the_complexity_and_the_typical_variance_are_what_they_should_be():
    rows = [(*row, 0) for row in REFERENCE] + [SILENT, NEGATIVE_RATE, BIASED]
    found = together(cgru.complexity, rows + NEAR_ONSET + HARD)
    variances, rates = map(np.array, zip(*REFERENCE.values(), strict=True))
    n = len(REFERENCE)
    np.testing.assert_allclose(found.variance[:n], variances, atol=2e-5)  # printed digits
    np.testing.assert_allclose(found.rate[:n], rates, atol=2e-5)
    # And to the printed digits where rates are small.
    np.testing.assert_allclose(found.rate[:3], rates[:3], rtol=2e-3)
    member = lambda i: jax.tree.map(lambda x: x[i], found)
    ends = [member(i) for i in range(n, n + 3)]
    assert ends[0].result == RESULTS.no_root
    assert ends[1].result == RESULTS.successful
    assert ends[1].rate < 0
    assert ends[2].result == RESULTS.biased
    assert np.isnan(ends[0].rate)
    assert np.isnan(ends[2].rate)
    # Just beyond a continuous onset the law is known by hand: with r₀ = 1/2 and
    # μ = g_h²/4 − 1, q* = μ / (4 − 3 g_r²/4) and Σ* = g_r² μ q* / 16, to first order in μ.
    for i, (g_h, g_r, *_) in enumerate(NEAR_ONSET):
        mu = g_h**2 / 4 - 1
        q = mu / (4 - 0.75 * g_r**2)
        np.testing.assert_allclose(found.variance[n + 3 + i], q, rtol=20 * mu)
        rate = g_r**2 * mu * q / 16
        np.testing.assert_allclose(found.rate[n + 3 + i], rate, rtol=20 * mu)
    # Near an onset, far beyond it, and for a gate that is a switch something is found.
    for i in range(n + 5, n + 8):
        assert member(i).result == RESULTS.successful, HARD[i - n - 5]


@pytest.mark.slow
def test_fixed_points_become_many_before_there_is_a_static_solution():
    rows = [(1, 5, 0, 0), (1, 20, 0, 0), (1, 2.7, 0, 0), (1, 1_000, 0, 0), (1, 20, -5, 0)]
    # On either side of 4/√3, from where on fixed points become many with a jump.
    rows += [(1, 2.3, 0, 0), (1, 2.35, 0, 0)]
    found = together(cgru.topology_threshold, rows)
    np.testing.assert_allclose(found.gain[:2], [1.811, 1.421], atol=6e-4)  # printed digits
    folds = np.array([1.917143, 1.627833])
    assert (found.gain[:2] < folds).all()
    # Between 4/√3 and 2√2 static states begin at the critical gain, fixed points before:
    # Σ* = 0 there also for another program, on 301 x 1,501 nodes.
    np.testing.assert_allclose(found.gain[2], 1.98664213156, rtol=1e-10)
    results = [jax.tree.map(lambda x, i=i: x[i], found.result) for i in range(len(rows))]
    known = [result == RESULTS.successful for result in results]
    assert list(map(bool, known)) == [True] * 5 + [False, True]
    assert results[5] == RESULTS.no_fold
    # A gate that switches costs nothing: still, |h| ≤ 2 g_h |h| at a fixed point.
    assert 0.5 < found.gain[3] < 1.1


def test_only_what_the_theory_is_made_for_is_taken():
    with pytest.raises(ValueError, match="GRUEnsemble only"):
        cgru.complexity(cgru.ResetAfterGRUEnsemble(g_h=3))
