"""A training loss, and the dynamics beside it."""

import numpy as np
from matplotlib.axes import Axes

from .._learning import Record

_KINDS = (
    ("sinks", "o", "#0072B2"),
    ("sources", "s", "#D55E00"),
    ("saddles", "D", "#009E73"),
)
# Labels of changes stand above the loss, in rows of two lines: parts of the axes' height.
_ROWS, _ROW, _MARGIN = 3, 0.15, 0.04


def training(record: Record, top: Axes, bottom: Axes) -> dict:
    """Draw the loss of a training above its proved counts of equilibria.

    **Arguments:** `record`: of `record_bifurcations`; `top`, `bottom`: where to draw.

    **Returns:** what was drawn: `losses`, `steps`, `counts`, `period` and `changes`.
    """
    losses = np.asarray(record.fit.losses)
    top.semilogy(losses, color="black", linewidth=1)
    top.set(ylabel="training loss")
    room = _MARGIN + _ROW * min(len(record.changes), _ROWS)
    finite = losses[np.isfinite(losses)]
    if finite.size:
        low, high = np.log10([finite.min(), finite.max()])
        span = max(high - low, 0.1)
        top.set_ylim(10 ** (low - _MARGIN * span), 10 ** (high + span * room / (1 - room)))
    for i, (label, shape, colour) in enumerate(_KINDS):
        # Counts that are equal lie beside each other.
        shown = np.where(
            record.counts[:, i] < 0, np.nan, record.counts[:, i] + 0.06 * (i - 1)
        )
        bottom.step(record.steps, shown, where="post", color=colour, linewidth=1.2)
        bottom.plot(record.steps, shown, shape, color=colour, markersize=3, label=label)
    bottom.set(xlabel="step", ylabel="equilibria", xlim=(0, len(losses)))
    bottom.yaxis.get_major_locator().set_params(integer=True)
    end = max(record.steps[-1], 1)
    for k, change in enumerate(record.changes):
        # To the side of the line on which there is more room.
        late = change.step > end / 2
        for ax in (top, bottom):
            ax.axvline(change.step, color="#CC79A7", linestyle="--", linewidth=1)
        top.annotate(
            change.what.replace("; ", "\n"),
            (change.step, 1 - _MARGIN - _ROW * (k % _ROWS)),
            xycoords=("data", "axes fraction"),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
            fontsize=8,
        )
    bottom.legend(loc="best", fontsize=8)
    return {
        "losses": losses,
        "steps": record.steps,
        "counts": record.counts,
        "period": record.period,
        "changes": [change._asdict() for change in record.changes],
    }
