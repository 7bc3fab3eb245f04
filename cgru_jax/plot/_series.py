"""A trajectory against time."""

import numpy as np
from matplotlib.axes import Axes

# Okabe and Ito without yellow, which a white page swallows; styles repeat the difference.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("solid", "dashed", "dotted", "dashdot")


def time_series(trajectory, ax: Axes) -> dict:
    """Draw every component of a trajectory against time, as in figures 4C, 5 and 7B.

    **Arguments:**

    - `trajectory`: what `integrate` returns; `times` of shape `(t,)` and `states` of shape
      `(t, n)` are used.
    - `ax`: where to draw.

    **Returns:** what was drawn: `times` and `states`, as NumPy arrays.
    """
    times, states = np.asarray(trajectory.times), np.asarray(trajectory.states)
    n = states.shape[1]
    names = {1: ["h"], 2: ["x", "y"]}.get(n) or [f"h_{i + 1}" for i in range(n)]
    for i, component in enumerate(states.T):
        ax.plot(
            times,
            component,
            color=_COLOURS[i % len(_COLOURS)],
            linestyle=_STYLES[i % len(_STYLES)],
            linewidth=1.5,
            label=f"{names[i]}(t)",
        )
    ax.set(xlabel="t", xlim=(times.min(), times.max()))
    if n <= len(_COLOURS):
        ax.legend(loc="best", fontsize=9)
    return {"times": times, "states": states}
