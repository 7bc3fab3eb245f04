from ._base import Events
from ._branch import Branch, trace_branch
from ._curves import FoldCurve, HopfCurve, trace_fold_curve, trace_hopf_curve
from ._diagram import Diagram, bifurcation_diagram
from ._nearest import Nearest, nearest_bifurcation
from ._plane import Plane, two_parameter_diagram

__all__ = [
    "Branch",
    "Diagram",
    "Events",
    "FoldCurve",
    "HopfCurve",
    "Nearest",
    "Plane",
    "bifurcation_diagram",
    "nearest_bifurcation",
    "trace_branch",
    "trace_fold_curve",
    "trace_hopf_curve",
    "two_parameter_diagram",
]
