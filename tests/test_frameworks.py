"""Our cells are the cells of the frameworks, once their arrays are renamed.

`golden/frameworks.json` holds states computed from the frameworks' documented formulas in
30 decimal digits with mpmath, in the frameworks' own array layouts; equinox runs itself.
"""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import cgru_jax as cgru

GOLDEN = json.loads((Path(__file__).parent / "golden" / "frameworks.json").read_text())


def torch_gru(weight_ih, weight_hh, bias_ih, bias_hh):
    """Rows r, z, n; torch's z keeps the state, ours replaces it."""
    W_r, W_z, W_h = np.split(np.asarray(weight_ih), 3)
    U_r, U_z, U_h = np.split(np.asarray(weight_hh), 3)
    b_r, b_z, b_h = np.split(np.asarray(bias_ih), 3)
    c_r, c_z, c_h = np.split(np.asarray(bias_hh), 3)
    return cgru.ResetAfterGRU(
        U_h, U_r, -U_z, b_h, b_r + c_r, -(b_z + c_z), c_h, W_h=W_h, W_r=W_r, W_z=-W_z
    )


def torch_lstm(weight_ih, weight_hh, bias):
    """Rows i, f, g, o."""
    W_i, W_f, W_c, W_o = np.split(np.asarray(weight_ih), 4)
    U_i, U_f, U_c, U_o = np.split(np.asarray(weight_hh), 4)
    b_i, b_f, b_c, b_o = np.split(np.asarray(bias), 4)
    return cgru.LSTM(
        U_f, U_i, U_o, U_c, b_f, b_i, b_o, b_c, W_f=W_f, W_i=W_i, W_o=W_o, W_c=W_c
    )


def keras_gru(kernel, recurrent_kernel, bias):
    """Columns z, r, h; two rows of bias if the reset comes after the matrix."""
    W_z, W_r, W_h = np.split(np.asarray(kernel).T, 3)
    U_z, U_r, U_h = np.split(np.asarray(recurrent_kernel).T, 3)
    b_z, b_r, b_h = np.split(np.atleast_2d(bias).sum(axis=0), 3)
    weights = {"W_h": W_h, "W_r": W_r, "W_z": -W_z}
    if np.ndim(bias) == 1:
        return cgru.GRU(U_h, U_r, -U_z, b_h, b_r, -b_z, **weights)
    first, second = (np.split(np.asarray(row), 3)[2] for row in bias)
    return cgru.ResetAfterGRU(U_h, U_r, -U_z, first, b_r, -b_z, second, **weights)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_framework_cell_gives_its_documented_states(name):
    arrays = dict(GOLDEN[name])
    inputs, start, states = (arrays.pop(key) for key in ("inputs", "start", "states"))
    if name == "torch.nn.LSTMCell":
        bias = np.add(arrays.pop("bias_ih"), arrays.pop("bias_hh"))
        cell = torch_lstm(**arrays, bias=bias)
    else:
        cell = (torch_gru if name.startswith("torch") else keras_gru)(**arrays)
    times = np.arange(1, len(inputs) + 1)
    got = cgru.integrate(cgru.Map(cell), start, times, inputs)
    np.testing.assert_allclose(got.states, states, rtol=0, atol=1e-14)  # six steps


def followed(theirs, state, inputs):
    """A thousand steps of an equinox cell."""

    def step(state, x):
        state = theirs(x, state)
        return state, jnp.concatenate(jax.tree.leaves(state))

    return jax.lax.scan(step, state, inputs)[1]


def biased(cell, key):
    """The cell with all its arrays, biases too, drawn anew and not small."""
    arrays, rest = eqx.partition(cell, eqx.is_array)
    leaves, tree = jax.tree.flatten(arrays)
    drawn = [
        0.7 * jr.normal(k, a.shape)
        for k, a in zip(jr.split(key, len(leaves)), leaves, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(tree, drawn), rest)


# A thousand steps of round-off; contraction keeps them from adding up.
CLOSE = {"rtol": 0, "atol": 1e-12}


def test_a_thousand_steps_of_equinox_gru():
    cell_key, input_key = jr.split(jr.key(3))
    theirs = biased(eqx.nn.GRUCell(3, 4, key=cell_key), cell_key)
    ours = torch_gru(
        theirs.weight_ih,
        theirs.weight_hh,
        theirs.bias,
        jnp.concatenate([jnp.zeros(8), theirs.bias_n]),
    )
    inputs, start = jr.normal(input_key, (1_000, 3)), jnp.array([0.5, -0.3, 0.1, 0.8])
    got = cgru.integrate(cgru.Map(ours), start, np.arange(1, 1_001), inputs)
    np.testing.assert_allclose(got.states, followed(theirs, start, inputs), **CLOSE)


def test_a_thousand_steps_of_equinox_lstm():
    cell_key, input_key = jr.split(jr.key(4))
    theirs = biased(eqx.nn.LSTMCell(3, 2, key=cell_key), cell_key)
    ours = torch_lstm(theirs.weight_ih, theirs.weight_hh, theirs.bias)
    inputs, start = jr.normal(input_key, (1_000, 3)), jnp.array([0.5, -0.3, 0.1, 0.8])
    got = cgru.integrate(cgru.Map(ours), start, np.arange(1, 1_001), inputs)
    states = followed(theirs, (start[:2], start[2:]), inputs)
    np.testing.assert_allclose(got.states, states, **CLOSE)
