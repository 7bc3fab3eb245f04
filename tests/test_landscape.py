"""How many fixed points random GRUs have: against an independent program."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import RESULTS

# (g_h, g_r, m_r): q*, Σ*, from a solver on a uniform grid of 101 x 61 nodes
REFERENCE = {
    (2.1, 0, 0): (0.03281, 2.09e-5),
    (2.5, 0, 0): (0.14786, 1.524e-3),
    (3, 0, 0): (0.25418, 7.143e-3),
    (4, 0, 0): (0.38490, 0.024825),
    (8, 0, 0): (0.55754, 0.089908),
    (10, 0, 0): (0.58686, 0.111425),
    (3, 2, 0): (0.28386, 0.026445),
    (1.95, 5, 0): (0.12519, 0.009904),
    (1.8, 20, 0): (0.12959, 0.058951),
    (4, 5, -2): (0.36389, 0.065430),
}
SILENT, NEGATIVE_RATE, BIASED = (1.9, 0, 0, 0), (1.4, 20, 0, 0), (3, 2, 0, 0.1)


def random_gru(row):
    return cgru.GRUEnsemble(g_h=row[0], g_r=row[1], m_r=row[2], s_h=row[3])


def test_the_complexity_and_the_typical_variance_are_what_they_should_be():
    rows = [(*row, 0) for row in REFERENCE] + [SILENT, NEGATIVE_RATE, BIASED]
    found = eqx.filter_vmap(lambda row: cgru.complexity(random_gru(row)))(
        jnp.array(rows, float)
    )
    variances, rates = map(np.array, zip(*REFERENCE.values(), strict=True))
    # That grid resolves a gate of gain 20 to three digits; ours has eleven, by doubling.
    sharp = np.array([row[1] == 20 for row in REFERENCE])
    n = len(REFERENCE)
    np.testing.assert_array_less(
        np.abs(found.variance[:n] - variances), np.where(sharp, 3e-4, 1e-4)
    )
    np.testing.assert_allclose(found.rate[:n], rates, atol=1e-4)
    # And to the printed digits where rates are small.
    np.testing.assert_allclose(found.rate[:3], rates[:3], rtol=2e-3)
    ends = [jax.tree.map(lambda x, i=i: x[i], found) for i in range(n, n + 3)]
    assert ends[0].result == RESULTS.no_root
    assert ends[1].result == RESULTS.successful
    assert ends[1].rate < 0
    assert ends[2].result == RESULTS.biased
    assert np.isnan(ends[0].rate)
    assert np.isnan(ends[2].rate)


@pytest.mark.slow
def test_fixed_points_become_many_before_there_is_a_static_solution():
    rows = [(1, 5, 0, 0), (1, 20, 0, 0), (1, 2, 0, 0)]
    found = eqx.filter_vmap(lambda row: cgru.topology_threshold(random_gru(row)))(
        jnp.array(rows, float)
    )
    np.testing.assert_allclose(found.gain[:2], [1.811, 1.421], atol=6e-4)  # printed digits
    folds = np.array([1.917143, 1.627833])
    assert (found.gain[:2] < folds).all()
    assert jax.tree.map(lambda x: x[2], found.result) == RESULTS.no_fold


def test_only_what_the_theory_is_made_for_is_taken():
    with pytest.raises(ValueError, match="GRUEnsemble only"):
        cgru.complexity(cgru.ResetAfterGRUEnsemble(g_h=3))
