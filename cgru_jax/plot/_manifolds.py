"""The curves that separate, and the regions between them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from .._equilibria import Equilibria
from .._manifolds import trace_manifold
from .._results import name
from .._systems import Flow
from ._marks import mark, own_legend, used

_STYLES = {True: ("-", "#000000", 1.8), False: ("--", "#D55E00", 1.2)}
_LABELS = {True: "stable manifold", False: "unstable manifold"}
# Light, and apart for every common colour blindness; hatched when they run out.
_BASINS = ("#A6CEE3", "#FDDFA5", "#B2DFB2", "#E5C3DD", "#DDDDDD", "#F5B7A0", "#CFC8EE")


def separatrices(
    system: Flow,
    ax: Axes,
    equilibria: Equilibria,
    *,
    box: tuple = ((-1.5, -1.5), (1.5, 1.5)),
    length: int | float = 8.0,
) -> dict:
    """Draw the manifolds of every saddle of a planar `Flow`, stable ones solid, unstable
    ones dashed, and the equilibria.

    **Arguments:** `equilibria`: of the system; `box`: lower and upper corner, beyond which
    nothing is followed; `length`: the longest arc that is followed.

    **Returns:** what was drawn: `points`, `kinds`, and `curves`, for each manifold a dict
    of `saddle` (the number of its point), `stable`, `side`, `points`, `end`, `result`.
    """
    points, kinds = used(equilibria)
    box = tuple(np.asarray(corner, float) for corner in box)
    curves = []
    for k, kind in enumerate(kinds):
        if kind != "saddle":
            continue
        for stable in (True, False):
            style, colour, width = _STYLES[stable]
            for side in (1, -1):
                found = trace_manifold(
                    system, points[k], stable=stable, side=side, length=length, box=box
                )
                line = np.asarray(found.points)
                line = line[np.isfinite(line).all(axis=1)]
                # The last stretch is shorter than the spacing.
                line = np.concatenate([line, np.asarray(found.end)[None]])
                ax.plot(*line.T, style, color=colour, linewidth=width,
                        label=_LABELS[stable])  # fmt: skip
                curves.append(
                    {
                        "saddle": k,
                        "stable": stable,
                        "side": side,
                        "points": line,
                        "end": np.asarray(found.end),
                        "result": name(found.result),
                    }
                )
    drawn = mark(equilibria, ax)
    ax.set(xlim=(box[0][0], box[1][0]), ylim=(box[0][1], box[1][1]), xlabel="x", ylabel="y")
    ax.set_aspect("equal", adjustable="box")
    own_legend(ax)
    return {**drawn, "curves": curves}


def basins(x, y, labels, ax: Axes) -> None:
    """Shade a grid by a number at each of its points; nothing where it is negative.

    **Arguments:** `x`, shape `(k,)`, and `y`, shape `(m,)`: the grid; `labels`: shape
    `(m, k)`, whole numbers, as of the sink in which an orbit ends.
    """
    labels = np.asarray(labels)
    shown = np.ma.masked_less(labels, 0) % len(_BASINS)
    ax.pcolormesh(
        x, y, shown, cmap=ListedColormap(_BASINS), vmin=-0.5, vmax=len(_BASINS) - 0.5,
        shading="nearest", rasterized=True,
    )  # fmt: skip
