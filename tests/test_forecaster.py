"""Forecasts are what the equations say, by every road, and a training is what it is."""

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import RESULTS
from cgru_jax._learning import _fit
from cgru_jax._learning._unroll import errors, feature_first, losses

LINE = cgru.TARGETS["line"]
CELLS = {"gru": cgru.GRU, "reset_after": cgru.ResetAfterGRU, "lstm": cgru.LSTM}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_numpy(model, first, steps):
    """A GRU's forecast, written out."""
    p = {name: np.asarray(getattr(model.cell, name)) for name in model.cell._fields()}
    h, x, rows = np.zeros(model.cell.units), first, []
    for _ in range(steps):
        z = sigmoid(p["U_z"] @ h + p["W_z"] @ x + p["b_z"])
        r = sigmoid(p["U_r"] @ h + p["W_r"] @ x + p["b_r"])
        h = h + z * (np.tanh(p["U_h"] @ (r * h) + p["W_h"] @ x + p["b_h"]) - h)
        x = np.zeros_like(first)
        rows.append(model.C @ h + model.c)
    return np.array(rows)


def test_a_forecast_is_the_recursion_of_the_paper():
    model = cgru.Forecaster.random(jr.key(3), units=3)
    first = np.array([0.4, -0.9])
    got = model.forecast(first, 5)
    np.testing.assert_allclose(got, by_numpy(model, first, 5), rtol=1e-12)  # round-off


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("reading", [cgru.Map, cgru.Flow], ids=["map", "flow"])
def test_errors_in_columns_are_those_of_forecasts_one_by_one(kind, reading):
    if reading is cgru.Flow and kind != "gru":
        pytest.skip("the reading and the cell do not meet")
    model = cgru.Forecaster.random(jr.key(1), cell=CELLS[kind], reading=reading)
    data = jr.normal(jr.key(2), (2, 4, 2))
    wrong = errors(model, feature_first(data))
    for i, one in enumerate(data):
        ahead = model.forecast(one[0], 3) - one[1:]
        # Of a Flow: four steps of Runge–Kutta in a sample against diffrax.
        tolerance = 1e-12 if reading is cgru.Map else 2e-4
        np.testing.assert_allclose(wrong[:, :, i], ahead, atol=tolerance)
    total = np.mean(np.sum(np.asarray(wrong) ** 2, axis=1))
    assert abs(jnp.mean(losses(model, feature_first(data))) - total) < 1e-12


def test_an_unfit_forecaster_is_refused():
    cell = cgru.GRU(jnp.eye(2), W_h=jnp.ones((2, 3)))
    for arguments, message in (
        ((cgru.gru(jnp.eye(2)), jnp.eye(2)), "no input weights"),
        ((cell, jnp.eye(2)), "weights for 3 inputs"),
        ((cell, jnp.ones((3, 5))), r"must be \(q, 2\)"),
        ((cell, jnp.ones((3, 2)), jnp.ones(2)), "give a scalar"),
    ):
        with pytest.raises(ValueError, match=message):
            cgru.Forecaster(*arguments)
    with pytest.raises(ValueError, match="reading"):
        cgru.Forecaster(cell, jnp.ones((3, 2)), reading=dict)


# A small training that has everything: a growing horizon, a falling rate, a polish.
RECIPE = cgru.Recipe(rate=3e-2, epochs=60, cosine=True, ramp=30, shortest=2, polish=6)
DATA = cgru.generate(LINE, trajectories=60, steps=6, seed=2)


def networks(keys):
    return eqx.filter_vmap(cgru.Forecaster.random)(jax.vmap(jr.key)(jnp.asarray(keys)))


@pytest.fixture(scope="module")
def trained():
    seen = []
    done = cgru.fit(networks([0, 1]), DATA, recipe=RECIPE, callback=seen.append)
    return done, seen


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y, equal_nan=True) for x, y in leaves)


def test_training_learns_and_says_what_it_reached(trained):
    done, seen = trained
    assert [p.step for p in seen] == [60, 66]
    assert (done.result == RESULTS.successful).all()
    losses = np.asarray(done.losses)
    assert np.isfinite(losses[:, :61]).all()
    assert (done.train_loss < losses[:, 60]).all()  # the polish gains
    # Eq. (14), one trajectory at a time.
    model = jax.tree.map(lambda x: x[1], done.model)
    wrong = [by_numpy(model, np.asarray(w[0]), 6) - w[1:] for w in DATA.heldout]
    mean = np.mean(np.sum(np.square(wrong), axis=2))
    assert abs(mean / done.heldout_loss[1] - 1) < 1e-12  # round-off


def test_numbers_do_not_depend_on_the_blocks(trained):
    done, _ = trained
    assert same(cgru.fit(networks([0, 1]), DATA, recipe=RECIPE, block=7), done)


def test_numbers_do_not_depend_on_the_company(trained):
    done, _ = trained
    other = cgru.fit(networks([1, 7]), DATA, recipe=RECIPE, block=13)
    pick = lambda tree, i: jax.tree.map(lambda x: x[i], tree)
    assert same(pick(other, 0), pick(done, 1))


def test_side_by_side_networks_learn_what_they_learn_one_after_the_other(trained):
    # As on a GPU. Sums are taken in another order: single precision, which 60 epochs have
    # amplified a hundredfold.
    done, _ = trained
    got = _fit._fit(networks([0, 1]), DATA, RECIPE, 100, None, None, True)
    np.testing.assert_allclose(got.losses, done.losses, rtol=1e-4)
    np.testing.assert_allclose(got.heldout_loss, done.heldout_loss, rtol=1e-3)


def test_a_resumed_training_ends_with_the_same_numbers(trained):
    done, _ = trained
    seen = []
    cgru.fit(networks([0, 1]), DATA, recipe=RECIPE, block=32, callback=seen.append)
    for progress in (seen[0], seen[2]):  # amidst the epochs, amidst the polish
        again = cgru.fit(networks([0, 1]), DATA, recipe=RECIPE, resume=progress.checkpoint)
        assert same(again, done)
    with pytest.raises(ValueError, match="another training"):
        cgru.fit(networks([0, 2]), DATA, recipe=RECIPE, resume=seen[0].checkpoint)


def test_a_network_whose_loss_is_lost_disturbs_no_other(trained):
    done, _ = trained
    models = networks([0, 1])
    # tanh(1e38·…) is finite, the square of a forecast of 1e30 is not in single precision.
    models = eqx.tree_at(lambda m: m.C, models, models.C.at[0].set(1e30))
    got = cgru.fit(models, DATA, recipe=RECIPE)
    assert got.failed_at.tolist() == [0, -1]
    assert (got.result == RESULTS.loss_lost).tolist() == [True, False]
    pick = lambda tree: jax.tree.map(lambda x: x[1], tree)
    assert same(pick(got), pick(done))


def test_a_network_that_is_lost_while_its_horizon_grows_is_where_it_was_before(trained):
    seen = []
    cgru.fit(networks([0, 1]), DATA, recipe=RECIPE, block=14, callback=seen.append)
    since = seen[0].checkpoint  # after 14 of 30 epochs of the ramp
    lost = eqx.tree_at(lambda s: s.theta, since.arrays, since.arrays.theta.at[0].set(1e38))
    seen = []
    got = cgru.fit(
        networks([0, 1]), DATA, recipe=RECIPE, resume=since._replace(arrays=lost),
        callback=seen.append,
    )  # fmt: skip
    assert got.failed_at.tolist() == [14, -1]
    assert (got.result == RESULTS.loss_lost).tolist() == [True, False]
    reached = jax.flatten_util.ravel_pytree(jax.tree.map(lambda x: x[0], got.model))[0]
    assert (reached == since.arrays.good[0]).all()
    assert got.train_loss[0] < got.losses[0, 0]
    kept = seen[0].checkpoint.arrays
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves((kept.theta, kept.moments)))


def test_what_does_not_fit_is_named_before_the_work():
    model = cgru.Forecaster.random(jr.key(0))
    fails = lambda message: pytest.raises(ValueError, match=message)
    with fails("1 observed quantities"):
        cgru.fit(model, jnp.zeros((4, 5, 1)))
    with fails("longer than the data"):
        cgru.fit(model, jnp.zeros((4, 3, 2)))
    with fails("one of paper"):
        cgru.fit(model, DATA, recipe="best")
    with fails("outside jit"):
        jax.eval_shape(lambda x: cgru.fit(model, x).train_loss, DATA.train)
    with fails("an optax transformation"):
        cgru.fit(model, DATA, recipe=cgru.Recipe(optimiser=float))
    with fails("block"):
        cgru.fit(model, DATA, block=0)
    with fails("is nan"):
        cgru.fit(
            model, eqx.tree_at(lambda d: d.train, DATA, DATA.train.at[3, 2, 1].set(jnp.nan))
        )
    clean = lambda array: eqx.tree_at(lambda d: d.clean, DATA, array)
    with fails(r"data.clean\[1, 0, 1\] is inf"):
        cgru.fit(model, clean(DATA.clean.at[1, 0, 1].set(jnp.inf)))
    with fails("without noise and with"):
        cgru.fit(model, clean(DATA.clean[:3]))
    for large in (1e20, 1e308):
        with fails(r"data.train\[0, 3, 1\] is .*: scale"):
            cgru.fit(model, jnp.ones((9, 5, 2)).at[:, 3, 1].set(large))
    with fails("epochs"):
        cgru.Recipe(epochs=-1)
    with fails("rate"):
        cgru.Recipe(rate=np.inf)
