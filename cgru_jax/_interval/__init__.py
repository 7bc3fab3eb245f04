from ._base import EPS, TINY, down, high, intersect, low, magnitude, up
from ._enclose import contract, enclose

__all__ = [
    "EPS",
    "TINY",
    "contract",
    "down",
    "enclose",
    "high",
    "intersect",
    "low",
    "magnitude",
    "up",
]
