from ._connections import Heteroclinic, Homoclinic, locate_heteroclinic, locate_homoclinic
from ._curves import Manifold, trace_manifold

__all__ = [
    "Heteroclinic",
    "Homoclinic",
    "Manifold",
    "locate_heteroclinic",
    "locate_homoclinic",
    "trace_manifold",
]
