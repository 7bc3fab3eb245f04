from ._branch import Branch, Events, trace_branch
from ._diagram import Diagram, bifurcation_diagram

__all__ = ["Branch", "Diagram", "Events", "bifurcation_diagram", "trace_branch"]
