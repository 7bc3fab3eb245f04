"""How an equilibrium of each kind is drawn: a shape and a colour, either enough alone."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._equilibria import Equilibria
from .._results import KINDS

# Shape, colour and size. Colours of Okabe and Ito, which stay apart for every common
# colour blindness. A saddle is the smallest: it lies on top of the sink or source that it
# is about to meet, and must not hide it.
_MARKS = {
    "sink": ("o", "#56B4E9", 9),
    "source": ("s", "#D55E00", 9),
    "saddle": ("D", "#F0E442", 6),
    "saddle_node_first": ("^", "#009E73", 9),
    "saddle_node_second": ("v", "#CC79A7", 9),
    "hopf": ("p", "#E69F00", 10),
    "codimension_two": ("*", "#FFFFFF", 13),
    "degenerate": ("X", "#FFFFFF", 9),
    "unknown": ("P", "#999999", 9),
}


def mark(equilibria: Equilibria, ax: Axes) -> dict:
    """Draw equilibria in the plane, each kind in its shape and colour.

    **Arguments:** `equilibria`: of one two-dimensional system.

    **Returns:** what was drawn: `points`, shape `(k, 2)`, and `kinds`, `k` names.
    """
    points, kinds = used(equilibria)
    for kind, (shape, colour, size) in _MARKS.items():
        of_kind = points[[k == kind for k in kinds]]
        if len(of_kind):
            ax.plot(
                *of_kind.T,
                shape,
                color=colour,
                markersize=size,
                markeredgecolor="black",
                markeredgewidth=1,
                label=_label(kind),
                zorder=6,
            )
    return {"points": points, "kinds": kinds}


def used(equilibria: Equilibria) -> tuple[np.ndarray, list[str]]:
    """The points and the names of the kinds of the slots that are used."""
    valid = np.asarray(equilibria.valid)
    names = np.array(list(KINDS._name_to_item))
    kinds = names[np.asarray(equilibria.kind._value)[valid]].tolist()
    return np.asarray(equilibria.points)[valid], kinds


def own_legend(ax: Axes, **options) -> None:
    """Explain on the axes what is drawn there, once each."""
    handles, labels = ax.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    if entries:
        ax.legend(entries.values(), entries.keys(), fontsize=8, **options)


def legend(figure: Figure, *, columns: int = 5) -> None:
    """Explain, below a figure, everything that is drawn on any of its axes, once each.

    Axes that have a legend of their own are left out. The figure needs
    `layout="constrained"`, which keeps the room for it.
    """
    entries = {}
    for ax in (ax for ax in figure.axes if ax.get_legend() is None):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    kinds = [_label(kind) for kind in _MARKS]
    labels = sorted(entries, key=lambda x: kinds.index(x) if x in kinds else len(kinds))
    figure.legend(
        [entries[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=min(columns, max(len(labels), 1)),
        fontsize=9,
        # White marks and pale lines must be seen in the key as well.
        facecolor="#b0b0b0",
    )


def _label(kind: str) -> str:
    # The message of a member of KINDS is its name in words.
    return KINDS[getattr(KINDS, kind)]
