from ._connections import Heteroclinic, Homoclinic, locate_heteroclinic, locate_homoclinic
from ._curve import HomoclinicCurve, trace_homoclinic_curve
from ._separatrix import Manifold, trace_manifold

__all__ = [
    "Heteroclinic",
    "Homoclinic",
    "HomoclinicCurve",
    "Manifold",
    "locate_heteroclinic",
    "locate_homoclinic",
    "trace_homoclinic_curve",
    "trace_manifold",
]
