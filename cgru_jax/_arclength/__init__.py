from ._base import (
    BOUND,
    CAPACITY,
    CLOSED,
    CROSSES,
    ELSEWHERE,
    FIRST_TEST,
    LOST,
    NONFINITE,
    TURNS,
    Curve,
    Path,
    Setting,
)
from ._trace import trace

__all__ = [
    "BOUND",
    "CAPACITY",
    "CLOSED",
    "CROSSES",
    "ELSEWHERE",
    "FIRST_TEST",
    "LOST",
    "NONFINITE",
    "TURNS",
    "Curve",
    "Path",
    "Setting",
    "trace",
]
