"""Two parameters: regions of equal equilibria, curves of folds and of Hopf points."""

import numpy as np
from matplotlib.axes import Axes

from .._bifurcation import Plane
from .._results import EVENTS
from ._marks import own_legend

# Shape and colour of the special points; the colours of Okabe and Ito.
_POINTS = {
    "cusp": ("^", "#D55E00"),
    "bogdanov_takens": ("D", "#009E73"),
    "generalised_hopf": ("*", "#CC79A7"),
    "zero_hopf": ("v", "#56B4E9"),
}
_REGIONS = 0.93, 0.62  # lightest and darkest grey of a region


def plane(shown: Plane, ax: Axes) -> dict:
    """Draw regions in grey with their counts, folds solid, Hopf curves dashed.

    A label `2 | 1 | 1` says two sinks, one source, one saddle.

    **Arguments:** `shown`: a `Plane`; `ax`: where to draw.

    **Returns:** what was drawn: the grid (`first`, `second`, and on it `sinks`, `sources`,
    `saddles`), `folds` and `hopfs` (lists of pairs of parameters), `points` (name, first,
    second).
    """
    counts = np.stack([shown.sinks, shown.sources, shown.saddles], axis=-1)
    _shade(shown, counts, ax)
    data = {"folds": [], "hopfs": [], "points": []}
    for label, curves in (("folds", shown.folds), ("hopfs", shown.hopfs)):
        fold = label == "folds"
        for curve in curves:
            p = np.asarray(curve.parameters)
            style = "-" if fold else "--"
            colour = "#D55E00" if fold else "#0072B2"
            label_ = "fold" if fold else "Hopf"
            ax.plot(p[:, 0], p[:, 1], style, color=colour, linewidth=1.6, label=label_)
            data[label].append(p)
            data["points"] += _special(curve, ax)
    ax.set(xlabel="first parameter", ylabel="second parameter")
    ax.set(xlim=shown.first[[0, -1]], ylim=shown.second[[0, -1]])
    own_legend(ax, loc="lower left")
    names = ("first", "second", "sinks", "sources", "saddles")
    return {**{k: getattr(shown, k) for k in names}, **data}


def _shade(shown, counts, ax):
    """Each kind of region in its grey, with its counts where it is widest."""
    kinds, which = np.unique(counts.reshape(-1, 3), axis=0, return_inverse=True)
    which = which.reshape(counts.shape[:2])
    greys = np.linspace(*_REGIONS, len(kinds)) if len(kinds) > 1 else np.array([0.93])
    ax.pcolormesh(
        shown.first, shown.second, greys[which].T, cmap="gray", vmin=0, vmax=1,
        shading="nearest", rasterized=True,
    )  # fmt: skip
    for k, kind in enumerate(kinds):
        depth = _depth(which == k)
        i, j = np.unravel_index(np.argmax(depth), depth.shape)
        text = "?" if kind[0] < 0 else " | ".join(str(c) for c in kind)
        ax.text(shown.first[i], shown.second[j], text, ha="center", va="center", fontsize=8)


def _depth(inside):
    """How many steps each node lies from the edge of its region, or of the rectangle."""
    depth, left = np.zeros(inside.shape, int), inside
    while left.any():
        depth += left
        wide = np.pad(left, 1)
        left = left & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return depth


def _special(curve, ax):
    names = list(EVENTS._name_to_item)
    kinds = [names[k] for k in np.asarray(curve.events.kind._value)]
    drawn = []
    for kind, p in zip(kinds, np.asarray(curve.events.parameters), strict=True):
        shape, colour = _POINTS[kind]
        ax.plot(
            *p, shape, color=colour, markersize=8, markeredgecolor="black", zorder=5,
            label=EVENTS[getattr(EVENTS, kind)],
        )  # fmt: skip
        drawn.append((kind, float(p[0]), float(p[1])))
    return drawn
