"""Random networks have the laws that their ensembles say."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import cgru_jax as cgru

UNITS = 400
# Of n independent normal numbers the mean is off by 1/√n and the spread by 1/√(2n), both
# relative to the spread: five times that never happens.
ENTRIES, BIASES = 5 / UNITS, 5 / np.sqrt(UNITS)

ENSEMBLES = {
    "gru": cgru.GRUEnsemble(
        g_h=3, g_r=2, g_z=0.7, m_h=0.3, m_r=-1, m_z=2, s_h=0.5, s_r=0.2, s_z=1.5
    ),
    "reset_after": cgru.ResetAfterGRUEnsemble(
        g_h=3, g_r=2, g_z=0.7, m_h=0.3, m_r=-1, m_z=2, s_h=0.5, s_r=0.2, s_z=1.5
    ),
    "lstm": cgru.LSTMEnsemble(
        g_f=1, g_i=2, g_o=0.7, g_c=3, m_f=0.3, m_i=-1, m_o=2, m_c=0.1,
        s_f=0.5, s_i=0.2, s_o=1.5, s_c=0.4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENSEMBLES)
def test_a_network_has_the_gains_means_and_spreads_of_its_ensemble(name):
    ensemble = ENSEMBLES[name]
    cell = cgru.sample(ensemble, UNITS, jr.key(3))
    gates = "fioc" if name == "lstm" else "hrz"
    arrays = []
    for k in gates:
        matrix, gain = getattr(cell, f"U_{k}"), getattr(ensemble, f"g_{k}")
        inside = "c_h" if (name, k) == ("reset_after", "h") else f"b_{k}"
        bias = getattr(cell, inside)
        mean, spread = getattr(ensemble, f"m_{k}"), getattr(ensemble, f"s_{k}")
        scale = gain / np.sqrt(UNITS)
        assert abs(jnp.std(matrix) / scale - 1) < ENTRIES
        assert abs(jnp.mean(matrix)) < ENTRIES * scale
        assert abs(jnp.mean(bias) - mean) < BIASES * spread
        assert abs(jnp.std(bias) / spread - 1) < BIASES
        arrays.append(matrix.ravel() / scale)
    # Independent of each other.
    correlations = np.corrcoef(arrays) - np.eye(len(gates))
    assert np.abs(correlations).max() < ENTRIES
    if name == "reset_after":
        assert not jnp.any(cell.b_h)


def test_a_positive_mean_of_the_update_gate_makes_a_fast_network():
    # z is the update rate: near saturation the increment is the whole way to the target.
    fast = cgru.sample(cgru.GRUEnsemble(g_h=2, m_z=30), 5, jr.key(0))
    h = jnp.linspace(-0.5, 0.7, 5)
    np.testing.assert_allclose(fast(h) + h, jnp.tanh(fast.U_h @ h / 2), rtol=1e-12)


def test_a_batch_of_ensembles_and_keys_is_a_batch_of_networks():
    gains = jnp.array([0.5, 2.0, 3.5])
    many = eqx.filter_vmap(lambda g: cgru.GRUEnsemble(g_h=g, s_r=1))(gains)
    cells = eqx.filter_vmap(lambda e, k: cgru.sample(e, 6, k))(many, jr.split(jr.key(1), 3))
    assert cells.U_h.shape == (3, 6, 6)
    alone = cgru.sample(cgru.GRUEnsemble(g_h=2.0, s_r=1), 6, jr.split(jr.key(1), 3)[1])
    np.testing.assert_allclose(cells.U_h[1], alone.U_h, rtol=1e-14)  # round-off
    np.testing.assert_allclose(cells.b_r[1], alone.b_r, rtol=1e-14)


def test_a_network_is_differentiable_in_its_gains():
    size = lambda g: jnp.sum(cgru.sample(cgru.GRUEnsemble(g_h=g), 4, jr.key(2)).U_h ** 2)
    # The sum is a multiple of g².
    np.testing.assert_allclose(jax.grad(size)(1.7), 2 * size(1.7) / 1.7, rtol=1e-13)


@pytest.mark.parametrize("layer", ["GRUCell", "LSTMCell"])
def test_a_layer_of_equinox_is_drawn_from_its_named_ensemble(layer):
    theirs = getattr(eqx.nn, layer)(1, 200, key=jr.key(5)).weight_hh
    ensemble = cgru.framework_ensemble(f"equinox.nn.{layer}")
    for name in ("g_h", "g_r", "g_z") if layer == "GRUCell" else ("g_f", "g_i", "g_c"):
        # Of the uniform law the spread is known even better than of the normal one.
        gain = np.sqrt(200) * np.std(theirs)
        assert abs(gain / getattr(ensemble, name) - 1) < 5 / 200


def test_keras_opens_the_forget_gate():
    assert cgru.framework_ensemble("keras.layers.LSTM").m_f == 1


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"g_h": -1}, "gain g_h"),
        ({"g_h": 1, "s_z": -0.1}, "spread s_z"),
        ({"g_h": float("nan")}, "g_h is nan"),
        ({"g_h": 1, "m_r": float("inf")}, "m_r is inf"),
        ({"g_h": [1, 2]}, "must be a scalar"),
        ({"g_h": "three"}, "real numbers"),
    ],
)
@pytest.mark.parametrize("kind", [cgru.GRUEnsemble, cgru.ResetAfterGRUEnsemble])
def test_an_ensemble_refuses_what_is_no_law(kind, arguments, culprit):
    with pytest.raises(ValueError, match=culprit):
        kind(**arguments)


def test_what_is_no_network_is_refused():
    ensemble = cgru.GRUEnsemble(g_h=1)
    for size in (1, 0, True):
        with pytest.raises(ValueError, match="whole number ≥ 2"):
            cgru.sample(ensemble, size, jr.key(0))
    with pytest.raises(ValueError, match=r"did you mean torch\.nn\.GRU"):
        cgru.framework_ensemble("torch.nn.GRUs")
