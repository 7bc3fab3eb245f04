"""One unit of an infinitely large network: what its fields are driven by and what it does.

In the limit of many units each pre-activation is a Gaussian process, independent of the
others, whose covariance is the gain squared times that of the signal that drives it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._results import RESULTS
from ._ensembles import (
    AbstractEnsemble,
    GRUEnsemble,
    LSTMEnsemble,
    ResetAfterGRUEnsemble,
)

sigmoid = jax.nn.sigmoid


class Site(NamedTuple):
    """How one unit takes a step.

    - `state`: the names of its variables.
    - `stages`: pairs of the names of fields and of the signal that drives them, a function
      of the state and of the fields of earlier stages.
    - `advance`: from state and fields to the next state.
    """

    state: tuple[str, ...]
    stages: tuple[tuple[tuple[str, ...], Callable], ...]
    advance: Callable

    @property
    def gates(self):
        return tuple(gate for gates, _ in self.stages for gate in gates)


def _gru(state, fields):
    h = state["h"]
    return {"h": h + sigmoid(fields["z"]) * (jnp.tanh(fields["h"]) - h)}


def _reset_after_gru(state, fields):
    h, y = state["h"], jnp.tanh(sigmoid(fields["r"]) * fields["h"])
    return {"h": h + sigmoid(fields["z"]) * (y - h)}


def _lstm(state, fields):
    f, i, o = (sigmoid(fields[gate]) for gate in "fio")
    c = f * state["c"] + i * jnp.tanh(fields["c"])
    return {"h": o * jnp.tanh(c), "c": c}


def _state(state, fields):
    return state["h"]


def _reset_state(state, fields):
    return sigmoid(fields["r"]) * state["h"]


_SITES = {
    GRUEnsemble: Site(("h",), ((("z", "r"), _state), (("h",), _reset_state)), _gru),
    ResetAfterGRUEnsemble: Site(("h",), ((("z", "r", "h"), _state),), _reset_after_gru),
    LSTMEnsemble: Site(("h", "c"), ((("f", "i", "o", "c"), _state),), _lstm),
}


def site_of(owner: str, ensemble: AbstractEnsemble, *only) -> Site:
    """The unit of an ensemble; one of the kinds `only`, if there are any."""
    kinds = only or tuple(_SITES)
    if type(ensemble) not in kinds:
        raise ValueError(
            f"{owner}: ensemble is a {type(ensemble).__name__}; give a "
            + " or ".join(kind.__name__ for kind in kinds)
            + "."
        )
    return _SITES[type(ensemble)]


def flaw(ensemble: AbstractEnsemble):
    """Whether the numbers of an ensemble are an ensemble's: cases for `choose`."""
    numbers = jnp.stack(jax.tree.leaves(ensemble))
    positive = [x for k, x in vars(ensemble).items() if k[0] in "gs"]
    return (
        (~jnp.isfinite(numbers).all(), RESULTS.nonfinite),
        ((jnp.stack(positive) < 0).any(), RESULTS.negative),
    )
