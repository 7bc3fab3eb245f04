from ._base import Cycle
from ._find import find_cycle

__all__ = ["Cycle", "find_cycle"]
