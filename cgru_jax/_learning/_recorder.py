"""Which bifurcations a network goes through while it is trained."""

import contextlib
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._equilibria import enumerate_equilibria, find_equilibria
from .._errors import check_whole, check_x64
from .._results import KINDS, RESULTS
from .._sweep import sweep
from . import _measure
from ._data import as_time_series
from ._fit import Fit, fit
from ._forecaster import Forecaster, check_forecaster
from ._recipe import Recipe

STARTS = 8  # orbits that are followed to see whether a network oscillates
APPROACH = 1_500  # samples of them, where that is enough
CAPACITY = 24


class Change(NamedTuple):
    """Between the parameters before `step` and after it the dynamics changed.

    - `what`: in words. `before`, `after`: sinks, sources, saddles, and whether it
      oscillates. `loss`: the training loss there. Where the proof stayed undecided for
      some steps, as at a fold, `step` is the last one before them.
    """

    step: int
    what: str
    before: tuple
    after: tuple
    loss: float


class Record(NamedTuple):
    """A training and the dynamics along it.

    - `fit`: the training. `steps`: shape `(k,)`, where the network was looked at.
    - `counts`: shape `(k, 3)`, proved numbers of sinks, sources and saddles; −1 where the
      proof stayed undecided. `period`: shape `(k,)` in samples; NaN where all orbits come
      to rest, infinite where some neither rest nor repeat.
    - `changes`: in order, each located to the step.
    """

    fit: Fit
    steps: np.ndarray
    counts: np.ndarray
    period: np.ndarray
    changes: tuple[Change, ...]


class _EnoughError(Exception):
    """A training is followed no further."""


def record_bifurcations(
    model: Forecaster,
    data,
    *,
    recipe: str | Recipe = "paper",
    every: int = 20,
    prove: bool = True,
) -> Record:
    """Train a network and say at which step equilibria or an oscillation came and went.

    The parameters are looked at every few steps: all equilibria, proved, and orbits from
    eight held-out starts. Where two looks in a row differ, the steps between are taken
    again, to the same bits, and every one of them is looked at.

    **Arguments:**

    - `model`: one `Forecaster` of one or two units.
    - `data`, `recipe`: what `fit` takes.
    - `every`: steps between two looks. What comes and goes again between them is missed.
    - `prove`: False searches for equilibria only, which is quicker to compile.

    **Returns:** a `Record`. The counts on both sides of each of its `changes` are proved to
    differ, but for changes that are of the oscillation alone.

    **Raises:** `ValueError` for what `fit` refuses, for a stack of models, for more units,
    and in single precision.

    **Source:** derived here.
    """
    verb = "record_bifurcations"
    check_forecaster(verb, model)
    check_x64(verb, model.C.dtype)
    if model.C.ndim != 2 or model.cell.units > 2:
        raise ValueError(f"{verb}: give one model of one or two units.")
    check_whole(verb, "every", every, 1)
    data = as_time_series(verb, data)
    starts = data.heldout if data.clean is None else data.clean
    starts = starts[:STARTS, 0].T.astype(model.C.dtype)
    looks = []
    fitted = fit(model, data, recipe=recipe, block=every, callback=looks.append)
    steps = np.array([0] + [look.step for look in looks])
    models = [jax.tree.map(lambda x: x[None], model)] + [look.models for look in looks]
    # The epochs are single precision: what they lead to is read in that of the model.
    models = [_read_as(model, each) for each in models]
    seen = _look(_stack(models), starts, every, prove)

    losses = np.asarray(fitted.losses)
    changes = []
    for i, following in _differences(seen):
        between = _between(model, data, recipe, looks, i, steps[following])
        between = [_read_as(model, each) for each in between]
        one_by_one = _look(_stack([models[i], *between]), starts, every, prove)
        for k, after in _differences(one_by_one):
            step = int(steps[i]) + k
            pair = one_by_one[k], one_by_one[after]
            shown = [(*map(int, s[:3]), bool(np.isfinite(s[3]))) for s in pair]
            what = _name(*shown)
            changes.append(Change(step, what, *shown, float(losses[step])))
    return Record(fitted, steps, seen[:, :3].astype(int), seen[:, 3], tuple(changes))


def _between(model, data, recipe, looks, i, end):
    """The models after every step from look i to the next, trained once more."""
    models = []

    def collect(progress):
        models.append(progress.models)
        if progress.step >= end:
            raise _EnoughError

    since = looks[i - 1].checkpoint if i else None
    with contextlib.suppress(_EnoughError):
        fit(model, data, recipe=recipe, block=1, resume=since, callback=collect)
    return models


def _read_as(model, other):
    return jax.tree.map(lambda x, like: x.astype(like.dtype), other, model)


def _stack(models):
    return jax.tree.map(lambda *x: jnp.concatenate(x), *models)


def _look(models, starts, chunk, prove):
    """Sinks, sources, saddles (−1: undecided) and period of every model, `(k, 4)`."""

    def one(model):
        if prove:
            found = enumerate_equilibria(model.system, capacity=CAPACITY)
        else:
            found = find_equilibria(model.system, capacity=CAPACITY)
        tally = [found.tally(kind) for kind in (KINDS.sink, KINDS.source, KINDS.saddle)]
        counts = jnp.stack(tally)
        # A point on the verge is none of the three: no verdict there.
        sure = (found.complete | (not prove)) & (found.index_sum == 1)
        sure &= jnp.sum(counts) == found.count
        return jnp.where(sure, counts, -1)

    size = models.C.shape[0]
    # One shape for all calls: the last model stands in for those that are missing.
    padded = -(-size // chunk) * chunk
    filled = jax.tree.map(
        lambda x: jnp.concatenate([x, jnp.repeat(x[-1:], padded - size, axis=0)]), models
    )
    counts = np.asarray(sweep(one, filled, chunk=chunk))[:size]
    periods = np.full(size, np.nan)
    for k in range(size):
        member = jax.tree.map(lambda x, k=k: x[k], models)
        states, outputs = map(np.asarray, _measure.run(member, starts, APPROACH))
        further = functools.partial(_measure.run_on, member)
        cycle = _measure.cycle_of(states, outputs, further)
        if cycle["period"] is not None:
            periods[k] = cycle["period"]
        elif cycle["result"] == RESULTS.no_period:
            periods[k] = np.inf
    return np.column_stack([counts, periods])


def _differences(seen):
    """Pairs of looks that differ, of which those between them are undecided, if any."""
    last = None
    for k, look in enumerate(seen):
        if look[0] < 0 or np.isinf(look[3]):
            continue
        if last is not None:
            before = seen[last]
            oscillates = np.isfinite(before[3]), np.isfinite(look[3])
            if (before[:3] != look[:3]).any() or oscillates[0] != oscillates[1]:
                yield last, k
        last = k


def _name(before, after):
    sinks, sources, saddles, cycle = (
        int(b) - int(a) for a, b in zip(before, after, strict=True)
    )
    total = sinks + sources + saddles
    oscillation = {1: "an oscillation begins", -1: "an oscillation ends"}.get(cycle)
    if abs(total) == 2 and abs(saddles) == 1:
        born = "appear" if total > 0 else "vanish"
        node = "sink" if sinks else "source"
        what = f"saddle-node: a saddle and a {node} {born}"
    elif total == 0 and sinks == -sources and abs(sinks) == 1:
        turn = ("sink", "source") if sources > 0 else ("source", "sink")
        what = "Hopf: a {} turns into a {}".format(*turn)
    elif total == 0 and abs(saddles) == 1:
        what = "period doubling"
    elif total or sinks or sources or saddles:
        what = "several at once"
    else:
        return oscillation
    return what if oscillation is None else f"{what}; {oscillation}"
