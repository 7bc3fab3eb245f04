"""Branches of equilibria: solid where stable, dashed where not, events marked."""

import numpy as np
from matplotlib.axes import Axes

from .._bifurcation import Branch, Diagram
from .._results import EVENTS
from ._marks import own_legend

# Shape and colour of each event; the colours of Okabe and Ito.
_EVENTS = {
    "fold": ("o", "#D55E00"),
    "hopf": ("s", "#E69F00"),
    "branch_point": ("D", "#009E73"),
    "period_doubling": ("^", "#CC79A7"),
    "neimark_sacker": ("v", "#56B4E9"),
}


def diagram(shown: Diagram | Branch, ax: Axes, *, coordinate: int = 0) -> dict:
    """Draw branches against their parameter.

    **Arguments:** `shown`: a `Diagram`, or one `Branch`; `coordinate`: which coordinate of
    the points is drawn.

    **Returns:** what was drawn: for each branch `parameters`, `values`, `unstable`, and
    `events`, a list of (name, parameter, value).
    """
    branches = [shown] if isinstance(shown, Branch) else shown.branches
    data = {"branches": [_draw(branch, ax, coordinate) for branch in branches]}
    ax.set_xlabel("parameter")
    ax.set_ylabel(f"coordinate {coordinate}")
    own_legend(ax)
    return data


def _draw(branch, ax, coordinate):
    valid = np.asarray(branch.valid)
    p = np.asarray(branch.parameters)[valid]
    x = np.asarray(branch.points)[valid, coordinate]
    unstable = np.asarray(branch.unstable)[valid]
    # A piece belongs to its first point; an event lies inside the piece that changes.
    stable = unstable[:-1] == 0
    ends = np.flatnonzero(np.diff(stable)) + 1
    for piece in np.split(np.arange(len(stable)), ends):
        if not len(piece):
            continue
        rows = slice(piece[0], piece[-1] + 2)
        solid = stable[piece[0]]
        ax.plot(
            p[rows],
            x[rows],
            "-" if solid else "--",
            color="#0072B2" if solid else "#666666",
            linewidth=1.8 if solid else 1.2,
            label="stable" if solid else "unstable",
        )
    names = np.array(list(EVENTS._name_to_item))
    used = np.asarray(branch.events.valid)
    kinds = names[np.asarray(branch.events.kind._value)[used]]
    at = np.asarray(branch.events.parameters)[used]
    value = np.asarray(branch.events.points)[used, coordinate]
    for kind, (shape, colour) in _EVENTS.items():
        chosen = kinds == kind
        if chosen.any():
            ax.plot(
                at[chosen], value[chosen], shape, color=colour, markersize=6,
                markeredgecolor="black", label=EVENTS[getattr(EVENTS, kind)], zorder=5,
            )  # fmt: skip
    events = list(zip(kinds.tolist(), at.tolist(), value.tolist(), strict=True))
    return {"parameters": p, "values": x, "unstable": unstable, "events": events}
