from ._enclose import contract, enclose

__all__ = ["contract", "enclose"]
