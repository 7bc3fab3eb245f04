"""The flow of one unit on its line."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from .._cells import AbstractCell
from .._equilibria import Equilibria, find_equilibria, grid
from .._program import hoist
from .._systems import AbstractSystem
from ._marks import used

RESOLUTION = 1_001
# Which half of the circle is filled: the sides from which the flow comes in.
_NODES = {
    "sink": ("full", "stable"),
    "source": ("none", "unstable"),
    "saddle_node_first": ("half", "half-stable"),
}


def flow_line(
    system: AbstractSystem,
    ax: Axes,
    *,
    box: tuple = (-1.5, 1.5),
    equilibria: Equilibria | None = None,
) -> dict:
    """Draw a system with one dimension in the manner of the paper's figure 1.

    The curve is the increment. Arrows on the axis point to the right where it is positive;
    a filled circle is a stable equilibrium, an open one unstable, and a half-stable one
    is filled on the side that is attracted.

    **Arguments:**

    - `system`: a `Flow` or a `Map` with a state of shape `(1,)`.
    - `ax`: where to draw.
    - `box`: the ends of the line.
    - `equilibria`: of this system; `find_equilibria` is asked where it is left out.

    **Returns:** what was drawn, as NumPy arrays: `h`, `increment`, `points`, `kinds`.

    **Raises:** `ValueError` if the system is not one-dimensional or the box is empty.
    """
    lo, hi = map(float, box)
    if not lo < hi:
        raise ValueError(f"flow_line: box must be (lower, upper) end, got {box}.")
    size = getattr(system.field, "size", 1)
    if size != 1:
        raise ValueError(f"flow_line draws one-dimensional systems, got dimension {size}.")
    if equilibria is None:
        cell = isinstance(system.field, AbstractCell)
        starts = None if cell else (lo + hi) / 2 + (hi - lo) / 2 * grid(1, 64)
        equilibria = find_equilibria(system, starts)
    program, arrays = hoist(system.residual, jnp.zeros(1))
    h = np.linspace(lo, hi, RESOLUTION)
    increment = np.asarray(_sample(program, arrays, h))
    points, kinds = used(equilibria)

    ax.axhline(0, color="black", linewidth=1)
    ax.plot(h, increment, color="#0072B2", linewidth=1.5)
    _arrows(ax, h, increment, points[:, 0])
    for (place,), kind in zip(points, kinds, strict=True):
        fill, label = _NODES.get(kind, ("full", kind))
        if fill == "half":
            below = np.interp(place - 1e-3 * (hi - lo), h, increment)
            fill = "left" if below > 0 else "right"
        ax.plot(
            place,
            0,
            "o",
            markersize=9,
            color="black",
            fillstyle=fill,
            markerfacecolor="white" if fill == "none" else "black",
            markerfacecoloralt="white",
            label=label,
            zorder=3,
        )
    ax.set(xlim=(lo, hi), xlabel="h", ylabel="ḣ")
    return {"h": h, "increment": increment, "points": points, "kinds": kinds}


@eqx.filter_jit
def _sample(program, arrays, h):
    return jax.vmap(functools.partial(program, arrays))(h[:, None])[:, 0]


def _arrows(ax, h, increment, points):
    """One arrow in the middle of each stretch between equilibria, by the sign there."""
    ends = np.sort(np.concatenate([[h[0], h[-1]], points]))
    for left, right in itertools.pairwise(ends):
        middle, length = (left + right) / 2, min((right - left) / 2, 0.3)
        if length < 0.04 * (h[-1] - h[0]):
            continue  # no room between two circles
        way = np.sign(np.interp(middle, h, increment)) * length / 2
        ax.annotate(
            "",
            (middle + way, 0),
            (middle - way, 0),
            arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.5},
        )
