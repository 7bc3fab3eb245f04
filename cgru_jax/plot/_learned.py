"""A flow, what a network made of it, and a forecast: the rows of figure 8."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from .._equilibria import find_equilibria
from .._learning import Dynamics, Forecaster, TimeSeries
from .._systems import Flow
from .._targets import Target
from ._forecast import forecast, orbits
from ._portrait import phase_portrait

ORBITS, AHEAD = 24, 300  # forecasts drawn where there is no plane to draw, and their length
TIME = 100  # samples that the trajectories of the learned portrait are followed


def learned(
    model: Forecaster,
    found: Dynamics,
    data: TimeSeries,
    axes,
    target: Target | None = None,
) -> dict:
    """Draw figure 8 for one network: the true portrait, the learned one, a forecast.

    The learned portrait is drawn where the cell has two dimensions, the true one where the
    target is known; otherwise observed and forecast orbits take their places.

    **Arguments:** `model` and what `reverse_engineer` found of it; `data` that it was
    trained on, of which a held-out trajectory is shown; `axes`: three, where to draw.

    **Returns:** what was drawn: `true`, `learned` and `forecast`.
    """
    top, middle, bottom = axes
    unseen = np.asarray(data.heldout if data.clean is None else data.clean)
    drawn = {"true": _true(target, unseen, top)}
    top.set_title("the flow" if target else "held-out data")
    if model.cell.size == 2:
        drawn["learned"] = phase_portrait(
            model.system, middle, equilibria=found.equilibria, time=TIME
        )
        middle.set(xlabel="h₁", ylabel="h₂")
    else:
        drawn["learned"] = orbits(_ahead(model, unseen, AHEAD), middle)
    middle.set_title("what was learned")
    truth = unseen[0]
    ahead = _ahead(model, unseen[:1], len(truth) - 1)[0]
    drawn["forecast"] = forecast(float(data.step), truth, ahead, bottom)
    return drawn


def _true(target: Target | None, unseen: np.ndarray, ax: Axes) -> dict:
    if target is None or unseen.shape[2] != 2:
        return orbits(unseen, ax)
    field, drive = target.field, target.drive
    flow = Flow(field if drive is None else lambda w: field(w, drive[0]))
    equilibria = None
    if target.attractor in ("line", "ring"):
        # A line that rests has no equilibria to mark; a ring has its centre.
        found = find_equilibria(flow, jnp.zeros((1, 2)))
        marked = found.valid & (target.attractor == "ring")
        equilibria = eqx.tree_at(lambda e: e.valid, found, marked)
    return phase_portrait(flow, ax, box=target.box, equilibria=equilibria)


def _ahead(model, unseen, steps):
    """Forecasts from the first observations, and these, shape `(N, steps + 1, q)`."""
    first = jnp.asarray(unseen[:ORBITS, 0], model.C.dtype)
    later = eqx.filter_jit(jax.vmap(lambda w: model.forecast(w, steps)))(first)
    return np.concatenate([np.asarray(first)[:, None], np.asarray(later)], axis=1)
