from ._connections import Heteroclinic, Homoclinic, locate_heteroclinic, locate_homoclinic
from ._curve import HomoclinicCurve, trace_homoclinic_curve
from ._graph import SeparatrixGraph, separatrix_graph
from ._separatrix import Manifold, trace_manifold
from ._snic import SNIC, locate_snic

__all__ = [
    "SNIC",
    "Heteroclinic",
    "Homoclinic",
    "HomoclinicCurve",
    "Manifold",
    "SeparatrixGraph",
    "locate_heteroclinic",
    "locate_homoclinic",
    "locate_snic",
    "separatrix_graph",
    "trace_homoclinic_curve",
    "trace_manifold",
]
