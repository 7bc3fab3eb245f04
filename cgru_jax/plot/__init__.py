"""Pictures on axes that the caller made. Never loaded by `import cgru_jax`."""

from ._diagram import diagram
from ._forecast import forecast, orbits
from ._learned import learned
from ._line import flow_line
from ._manifolds import basins, separatrices
from ._marks import legend, mark
from ._plane import plane
from ._portrait import phase_portrait, speed_bar
from ._series import time_series
from ._training import training

__all__ = [
    "basins",
    "diagram",
    "flow_line",
    "forecast",
    "learned",
    "legend",
    "mark",
    "orbits",
    "phase_portrait",
    "plane",
    "separatrices",
    "speed_bar",
    "time_series",
    "training",
]
