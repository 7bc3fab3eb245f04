"""Forecasts beside what happened."""

import numpy as np
from matplotlib.axes import Axes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def forecast(step: float, truth: np.ndarray, ahead: np.ndarray, ax: Axes) -> dict:
    """Draw a trajectory and its forecast against time.

    **Arguments:** `step`: time between samples; `truth`, `ahead`: shape `(t, q)`, the truth
    drawn as a line and the forecast as marks; `ax`: where to draw.

    **Returns:** what was drawn.
    """
    times = step * np.arange(len(truth))
    names = (
        ["x", "y"] if truth.shape[1] == 2 else [f"w_{i + 1}" for i in range(truth.shape[1])]
    )
    for i, label in enumerate(names[: len(_COLOURS)]):
        colour = _COLOURS[i]
        style = ("solid", "dashed", "dotted", "dashdot")[i]
        ax.plot(times, truth[:, i], color=colour, linestyle=style, label=f"{label}, true")
        ax.plot(
            times, ahead[:, i], "os^D"[i], color=colour, markersize=4,
            markerfacecolor="none", label=f"{label}, forecast",
        )  # fmt: skip
    ax.set(xlabel="t", xlim=(0, times[-1]))
    ax.legend(loc="best", fontsize=8)
    return {"times": times, "truth": truth, "forecast": ahead}


def orbits(trajectories: np.ndarray, ax: Axes) -> dict:
    """Draw trajectories of shape `(N, t, q)` in the plane of the first two quantities, or
    against the sample where there is but one."""
    for one in trajectories[:24]:
        if one.shape[1] == 1:
            ax.plot(one[:, 0], color="#0072B2", linewidth=0.8)
        else:
            ax.plot(one[:, 0], one[:, 1], color="#0072B2", linewidth=0.8)
            ax.plot(*one[0, :2], "o", color="#0072B2", markersize=3)
    alone = trajectories.shape[2] == 1
    ax.set(xlabel="sample" if alone else "w₁", ylabel="w₁" if alone else "w₂")
    return {"trajectories": trajectories[:24]}
