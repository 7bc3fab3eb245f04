"""Cells: their formulas, their shapes, and what they refuse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import cgru_jax as cgru


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random_arrays(cell, units, inputs, seed):
    shapes = {"U": (units, units), "W": (units, inputs), "b": (units,), "c": (units,)}
    rng = np.random.default_rng(seed)
    names = cell.__dataclass_fields__
    return {name: rng.normal(size=shapes[name[0]]) for name in names}


@pytest.mark.parametrize("units", [1, 2, 5])
def test_the_increment_of_a_gru_is_the_papers_formula(units):
    a = random_arrays(cgru.GRU, units, 3, seed=units)
    rng = np.random.default_rng(7)
    h, x = rng.normal(size=units), rng.normal(size=3)
    z = sigmoid(a["W_z"] @ x + a["U_z"] @ h + a["b_z"])
    r = sigmoid(a["W_r"] @ x + a["U_r"] @ h + a["b_r"])
    expected = z * (np.tanh(a["W_h"] @ x + a["U_h"] @ (r * h) + a["b_h"]) - h)
    got = cgru.GRU(**a).with_input(x)(jnp.asarray(h))
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15)  # round-off


@pytest.mark.parametrize("units", [1, 2, 5])
def test_the_two_places_of_the_reset_gate_agree_only_for_a_diagonal_matrix(units):
    a = random_arrays(cgru.GRU, units, 1, seed=units)
    a = {name: array for name, array in a.items() if name[0] != "W"}
    h = jnp.asarray(np.random.default_rng(3).normal(size=units))
    before, after = cgru.GRU(**a)(h), cgru.ResetAfterGRU(**a)(h)
    assert jnp.allclose(before, after, rtol=1e-12) == (units == 1)
    a["U_h"] = np.diag(np.diag(a["U_h"]))
    np.testing.assert_allclose(
        cgru.GRU(**a)(h), cgru.ResetAfterGRU(**a)(h), rtol=1e-12, atol=1e-15
    )  # r (u h) and u (r h) differ by rounding


@pytest.mark.parametrize("cell", [cgru.GRU, cgru.ResetAfterGRU, cgru.LSTM])
def test_a_constant_input_is_a_bias(cell):
    arrays = random_arrays(cell, 2, 3, seed=5)
    x = np.array([0.3, -1.2, 0.8])
    with_weights = cell(**arrays)
    biased = dict(arrays)
    for name in arrays:
        if name[0] == "W":
            biased["b" + name[1:]] = arrays["b" + name[1:]] + arrays[name] @ x
            biased[name] = None
    h = jnp.linspace(-0.7, 0.4, with_weights.size)
    np.testing.assert_allclose(
        with_weights.with_input(x)(h), cell(**biased)(h), rtol=1e-13, atol=1e-15
    )
    np.testing.assert_array_equal(with_weights(h), with_weights.with_input(0 * x)(h))


def test_the_short_constructor_broadcasts_scalars_and_takes_its_size_from_U_h():
    cell = cgru.gru([[2, 0], [0, 2]], [[5, 8], [8, 5]], b_r=5)
    assert cell.size == cell.units == 2
    assert cell.b_r.tolist() == [5, 5]
    assert cell.U_z.tolist() == [[0, 0], [0, 0]]
    assert cell.U_h.dtype == jnp.float64
    assert cgru.gru(3).size == 1
    assert cgru.gru(jnp.eye(2, dtype=jnp.float32)).b_h.dtype == jnp.float32


def test_the_state_of_an_lstm_holds_both_hidden_state_and_cell():
    cell = cgru.LSTM(jnp.eye(3))
    assert (cell.units, cell.size) == (3, 6)
    # f = i = o = 1/2 at h = 0 and g = 0: c halves, h becomes tanh(c / 2) / 2.
    state = jnp.concatenate([jnp.zeros(3), jnp.array([0.4, -0.2, 1.0])])
    half = state[3:] / 2
    expected = jnp.concatenate([jnp.tanh(half) / 2, half - state[3:]])
    np.testing.assert_allclose(cell(state), expected, rtol=1e-14)


def test_cells_are_built_in_batches_under_vmap():
    keys = jr.split(jr.key(0), 5)
    cells = eqx.filter_vmap(lambda key: cgru.gru(jr.normal(key, (2, 2))))(keys)
    assert cells.U_h.shape == (5, 2, 2)
    out = eqx.filter_vmap(lambda cell: cell(jnp.array([0.3, 0.1])))(cells)
    one = jax.tree.map(lambda x: x[3], cells)(jnp.array([0.3, 0.1]))
    np.testing.assert_allclose(out[3], one, rtol=1e-15)


@pytest.mark.parametrize("size", [1e6, 1e-300])
def test_extreme_weights_give_finite_increments_and_jacobians(size):
    flow = cgru.Flow(cgru.gru(size * jnp.array([[1, 2], [-3, 1]]), U_r=size, U_z=size))
    for h in jnp.array([[0.3, -0.2], [0.0, 0.0], [-1.0, 1.0]]):
        assert jnp.isfinite(flow.residual(h)).all()
        assert jnp.isfinite(flow.jacobian(h)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"U_h": [[1, np.nan], [0, 1]]}, ["U_h[0, 1]", "nan"]),
        ({"U_h": np.eye(2), "b_r": [np.inf, 0]}, ["b_r[0]", "inf"]),
        ({"U_h": np.eye(2), "b_h": [1, 2, 3]}, ["b_h", "(3,)", "(2, 2)"]),
        ({"U_h": np.eye(2), "U_r": [1, 2]}, ["U_r", "(2,)", "(2, 2)"]),
        ({"U_h": np.eye(3)[:2]}, ["U_h", "(2, 3)", "square"]),
        ({"U_h": np.zeros((4, 2, 2))}, ["U_h", "(4, 2, 2)", "filter_vmap"]),
        ({"U_h": np.zeros((0, 0))}, ["U_h", "(0, 0)"]),
        ({"U_h": "two"}, ["U_h", "text"]),
        ({"U_h": np.eye(2) * 1j}, ["U_h", "complex"]),
        ({"U_h": [[1, 2], [3]]}, ["U_h", "rectangular"]),
        ({"U_h": None}, ["U_h", "missing"]),
        ({"U_h": 1.0, "b_h": None}, ["b_h", "None"]),
    ],
)
def test_a_bad_array_is_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match="GRU") as caught:
        cgru.gru(**arguments)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_an_input_that_does_not_fit_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match="no input weights"):
        cgru.gru(jnp.eye(2)).with_input(jnp.ones(1))
    cell = cgru.GRU(jnp.eye(2), W_h=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\(4,\).*\(2, 3\)"):
        cell.with_input(jnp.ones(4))
    with pytest.raises(ValueError, match="W_r"):
        cgru.GRU(jnp.eye(2), W_h=jnp.ones((2, 3)), W_r=jnp.ones((2, 4)))


def test_a_list_of_traced_numbers_is_a_matrix():
    # The reset gate at rest halves U_h: h' = (tanh(a h / 2) − h) / 2 has the slope
    # a (1 − tanh²) / 4 − 1 / 2 in h, and ∂h'/∂a = h (1 − tanh²) / 4.
    increment = lambda a: cgru.gru([[a]])(jnp.array([0.4]))[0]
    slope = 0.1 * (1 - np.tanh(0.5) ** 2)
    np.testing.assert_allclose(jax.grad(increment)(2.5), slope, rtol=1e-14)
    with pytest.raises(ValueError, match="GRU: U_h is not a rectangular array"):
        jax.grad(lambda a: cgru.gru([[a, 1.0], [a]])(jnp.zeros(2))[0])(2.5)
