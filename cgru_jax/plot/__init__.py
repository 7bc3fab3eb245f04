"""Pictures on axes that the caller made. Never loaded by `import cgru_jax`."""

from ._diagram import diagram
from ._line import flow_line
from ._marks import legend, mark
from ._plane import plane
from ._portrait import phase_portrait, speed_bar
from ._series import time_series

__all__ = [
    "diagram",
    "flow_line",
    "legend",
    "mark",
    "phase_portrait",
    "plane",
    "speed_bar",
    "time_series",
]
