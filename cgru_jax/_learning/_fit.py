"""Train forecasters on time series: in blocks, to be stopped and resumed anywhere."""

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import check_whole, check_x64
from .._results import RESULTS, choose
from . import _engine
from ._data import TimeSeries, as_time_series
from ._forecaster import Forecaster, check_forecaster
from ._recipe import Recipe, recipe_of
from ._unroll import feature_first


class Checkpoint(NamedTuple):
    """Where a training stands: `step`, and what is needed to go on from there.

    - `arrays`: a pytree of arrays; files hold its leaves alone.
    - `key`: which training this is: a digest of recipe, data and networks.
    """

    step: int
    arrays: Any
    key: str


class Progress(NamedTuple):
    """What a training hands to `callback` after each block.

    - `step`: how many steps are done, of `steps`.
    - `loss`: shape `(S,)`, the training loss before the last of them.
    - `models`: the networks as they now stand, stacked.
    - `checkpoint`: to resume from.
    """

    step: int
    steps: int
    loss: Float[Array, " S"]
    models: Forecaster
    checkpoint: Checkpoint


class Fit(eqx.Module):
    """What a training came to; with a leading axis where several networks were trained.

    - `model`: the trained `Forecaster`, the best of all that it was on the way.
    - `train_loss`: eq. (14) on the data it was trained on: the squared error, summed over
      what is observed, averaged over trajectories and samples.
    - `heldout_loss`: the same on the held-out trajectories, free of noise where these are
      known; `noisy_loss`: on those with noise.
    - `losses`: shape `(steps,)`, the training loss before every step.
    - `failed_at`: the step at which the loss was no number any more, else −1.
    - `result`: `successful`, or `loss_lost`: then the model is the best before that; while
      the horizon still grew, and losses of a part were all there was, the last before.
    """

    model: Forecaster
    train_loss: Float[Array, "*batch"]
    heldout_loss: Float[Array, "*batch"]
    noisy_loss: Float[Array, "*batch"]
    losses: Float[Array, "*batch steps"]
    failed_at: Int[Array, "*batch"]
    result: RESULTS


def fit(
    model: Forecaster,
    data,
    *,
    recipe: str | Recipe = "recommended",
    block: int = 100,
    resume: Checkpoint | None = None,
    callback=None,
) -> Fit:
    r"""Train a network, or several, to forecast trajectories from their first sample.

    The loss is eq. (14): from the first sample alone, all later ones are forecast.

    **Arguments:**

    - `model`: a `Forecaster`, where to begin; or several, stacked as `eqx.filter_vmap` of
      `Forecaster.random` over keys gives them. Each is trained as if it were alone.
    - `data`: `TimeSeries`, or an array of shape `(N, t, q)` (see `time_series`).
    - `recipe`: `"paper"` (Adam, rate 1e-2, 4,000 epochs), `"recommended"` (a falling rate,
      a growing horizon, then a polish by Levenberg–Marquardt, which needs double
      precision), or a `Recipe`.
    - `block`: how many steps are taken between two calls of `callback`. The numbers do not
      depend on it, to the last bit.
    - `resume`: the `checkpoint` of a `Progress` of the same training: it goes on from there
      to the same numbers.
    - `callback`: is given a `Progress` after each block; what it raises ends the training.

    **Returns:** a `Fit`.

    **Fails:** `loss_lost` for a network whose loss became NaN or infinite: it stops there,
    and the others go on.

    **Raises:** `ValueError`, before any work, for data that are not finite or do not fit
    the model, for a horizon longer than the data, and for a `resume` of another training.

    **Source:** eq. (14) of the ICLR 2019 submission; growing horizon and polish: derived
    here.
    """
    return _fit(model, data, recipe, block, resume, callback, _engine.abreast())


def _fit(model, data, recipe, block, resume, callback, abreast):
    """The same, with the networks trained one after the other or side by side."""
    recipe = recipe_of(recipe)
    check_forecaster("fit", model)
    data = as_time_series("fit", data)
    alone = model.C.ndim == 2
    models = jax.tree.map(lambda x: x[None], model) if alone else model
    _check(models, data, recipe, block)
    shape = _engine.shape_of(jax.tree.map(lambda x: x[0], models))
    double = feature_first(data.train).astype(models.C.dtype)
    single = double.astype(jnp.float32)

    key = _key(models, data, recipe)
    step = 0
    states = jax.vmap(lambda m: _engine.begin(recipe, m))(models)
    if resume is not None:
        step, states = _resumed(resume, key, states)
    while step < recipe.steps and bool(jnp.any(states.failed < 0)):
        # Blocks end at multiples of their length, and where the polish begins.
        end = min(block * (step // block + 1), recipe.steps)
        first = jnp.asarray(step, jnp.int32)
        if step < recipe.epochs:
            end = min(end, recipe.epochs)
            last = jnp.asarray(end, jnp.int32)
            states = _engine.descend(recipe, shape, abreast, states, single, first, last)
            if end == recipe.epochs:
                states = _engine.settle(shape, abreast, states, double, single)
        else:
            if step == 0:  # a polish alone
                states = _engine.settle(shape, abreast, states, double, single)
            last = jnp.asarray(end, jnp.int32)
            states = _engine.polish(shape, abreast, states, double, first, last)
        step = end
        if callback is not None:
            now = states.theta if step < recipe.epochs else states.polished
            loss = states.losses[:, step - 1]
            models = _engine.assembled(shape, now)
            checkpoint = Checkpoint(step, states, key)
            callback(Progress(step, recipe.steps, loss, models, checkpoint))
    if step < recipe.epochs:  # all were lost
        states = _engine.settle(shape, abreast, states, double, single)
    return _result(shape, abreast, states, data, alone)


def _resumed(resume, key, fresh):
    """Step and states of a checkpoint, whose arrays may have come from a file."""
    if not isinstance(resume, Checkpoint):
        raise ValueError(
            "fit: resume must be the checkpoint of a Progress, or what io.read_checkpoint "
            f"returns, got {type(resume).__name__}."
        )
    if resume.key != key:
        raise ValueError(
            "fit: resume is of another training: the recipe, the data or the networks "
            "differ. Give what it was begun with, or begin anew."
        )
    leaves, structure = jax.tree.flatten(fresh)
    given = jax.tree.leaves(resume.arrays)
    kinds = lambda arrays: [(x.shape, x.dtype) for x in arrays]
    if kinds(leaves) != kinds(given):
        raise ValueError("fit: resume holds other arrays than this training has.")
    return int(resume.step), jax.tree.unflatten(structure, map(jnp.asarray, given))


def _result(shape, abreast, states, data, alone):
    models = _engine.assembled(shape, states.polished)
    heldout = data.heldout if data.clean is None else data.clean
    sets = (data.train, heldout, data.heldout)
    dtype = states.polished.dtype
    train, clean, noisy = (
        _engine.judge(models, abreast, feature_first(x).astype(dtype)) for x in sets
    )
    result = eqx.filter_vmap(
        lambda f: choose(RESULTS, RESULTS.successful, (f >= 0, RESULTS.loss_lost))
    )(states.failed)
    whole = Fit(models, train, clean, noisy, states.losses, states.failed, result)
    return jax.tree.map(lambda x: x[0], whole) if alone else whole


def _check(models, data: TimeSeries, recipe, block):
    check_whole("fit", "block", block, 1)
    observed = models.C.shape[1]
    if data.train.shape[2] != observed:
        raise ValueError(
            f"fit: the data hold {data.train.shape[2]} observed quantities, but the model "
            f"forecasts {observed}."
        )
    samples = data.train.shape[1] - 1
    if samples < 1:
        raise ValueError("fit: a trajectory needs at least two samples, got one.")
    if recipe.ramp and recipe.shortest > samples:
        raise ValueError(
            f"fit: the horizon begins with {recipe.shortest} samples, longer than the "
            f"data, where {samples} follow the first: lower the recipe's shortest."
        )
    if recipe.polish:
        check_x64("fit with a polish", models.C.dtype)


def _key(models, data, recipe) -> str:
    """Which training this is, as a digest."""
    what = [(f.name, _stable(getattr(recipe, f.name))) for f in dataclasses.fields(recipe)]
    digest = hashlib.sha256(repr((what, jax.tree.structure(models))).encode())
    for leaf in jax.tree.leaves((models, data.train)):
        array = np.asarray(leaf)
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _stable(value):
    """What names a value in every process, as the address of a function does not."""
    if isinstance(value, functools.partial):
        return _stable(value.func), *map(repr, (value.args, sorted(value.keywords.items())))
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)
