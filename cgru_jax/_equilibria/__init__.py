from ._base import Equilibria
from ._enumerate import enumerate_equilibria
from ._find import find_equilibria, grid
from ._slow import SlowPoints, find_slow_points

__all__ = [
    "Equilibria",
    "SlowPoints",
    "enumerate_equilibria",
    "find_equilibria",
    "find_slow_points",
    "grid",
]
