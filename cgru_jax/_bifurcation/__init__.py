from ._branch import Branch, Events, trace_branch

__all__ = ["Branch", "Events", "trace_branch"]
