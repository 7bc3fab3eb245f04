"""What is said of the targets is found again by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru

FHN, LINE, RING = (cgru.TARGETS[name] for name in ("fitzhugh-nagumo", "line", "ring"))


@pytest.mark.slow
def test_the_cycle_of_fitzhugh_and_nagumo_is_as_tabulated():
    truth = FHN.truth
    # From a point that is not on it.
    cycle = cgru.find_cycle(cgru.Flow(FHN.field), [0.3, 0.2], 33.0)
    assert cycle.kind == cgru.KINDS.sink
    # The table has ten digits, the extremes eight, the logarithm five.
    assert abs(cycle.period - truth["period"]) < 1e-9
    np.testing.assert_allclose(cycle.low, truth["low"], atol=1e-7)
    np.testing.assert_allclose(cycle.high, truth["high"], atol=1e-7)
    log = cycle.exponents[1] * cycle.period
    assert abs(log - truth["log_multiplier"]) < 1e-3
    distance = jnp.linalg.norm(cycle.points - jnp.asarray(truth["point"]), axis=1)
    assert distance.min() < 0.2  # between two of the points of the mesh


def test_its_equilibrium_is_one_unstable_node():
    # x = 0 of a cubic with one real root; NumPy finds it by a companion matrix.
    roots = np.roots([-1 / 3, 0, 1 - 1 / 0.8, 0.7 - 0.7 / 0.8])
    x = roots[np.abs(roots.imag) < 1e-9].real
    point = jnp.asarray(FHN.truth["equilibrium"])
    np.testing.assert_allclose(point, [x[0], (x[0] + 0.7) / 0.8], atol=1e-10)
    values = np.linalg.eigvals(jax.jacfwd(FHN.field)(point))
    np.testing.assert_allclose(
        np.sort(values.real)[::-1], FHN.truth["eigenvalues"], atol=1e-5
    )
    assert not values.imag.any()


def test_line_and_ring_rest_on_their_attractors_and_draw_at_their_rates():
    for s in (0.3, 1.7):
        np.testing.assert_allclose(LINE.field(jnp.array([0.0, s])), 0, atol=1e-15)
        on_ring = jnp.array([np.cos(s), np.sin(s)])
        np.testing.assert_allclose(RING.field(on_ring), 0, atol=1e-15)
        rates = [
            np.sort(np.linalg.eigvals(jax.jacfwd(target.field)(point)).real)
            for target, point in ((LINE, jnp.array([0.0, s])), (RING, on_ring))
        ]
        wanted = [[-LINE.truth["rate"], 0], [-RING.truth["rate"], 0]]
        np.testing.assert_allclose(rates, wanted, atol=1e-14)
