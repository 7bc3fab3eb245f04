from ._base import EPS, TINY, apart, down, high, intersect, low, magnitude, up
from ._enclose import contract, enclose

__all__ = [
    "EPS",
    "TINY",
    "apart",
    "contract",
    "down",
    "enclose",
    "high",
    "intersect",
    "low",
    "magnitude",
    "up",
]
