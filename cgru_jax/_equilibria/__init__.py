from ._base import Equilibria
from ._enumerate import enumerate_equilibria
from ._find import find_equilibria, grid

__all__ = ["Equilibria", "enumerate_equilibria", "find_equilibria", "grid"]
