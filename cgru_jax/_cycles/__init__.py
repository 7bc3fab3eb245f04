from ._base import Cycle
from ._branch import CycleBranch, trace_cycles
from ._curve import (
    CycleCurve,
    trace_cycle_doubling_curve,
    trace_cycle_fold_curve,
    trace_cycle_torus_curve,
)
from ._find import find_cycle
from ._fold import CycleFold, locate_cycle_fold

__all__ = [
    "Cycle",
    "CycleBranch",
    "CycleCurve",
    "CycleFold",
    "find_cycle",
    "locate_cycle_fold",
    "trace_cycle_doubling_curve",
    "trace_cycle_fold_curve",
    "trace_cycle_torus_curve",
    "trace_cycles",
]
