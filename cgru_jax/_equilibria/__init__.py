from ._base import Equilibria
from ._find import find_equilibria, grid

__all__ = ["Equilibria", "find_equilibria", "grid"]
