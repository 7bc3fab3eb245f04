from ._ensembles import (
    AbstractEnsemble,
    GRUEnsemble,
    LSTMEnsemble,
    ResetAfterGRUEnsemble,
    framework_ensemble,
    sample,
)

__all__ = [
    "AbstractEnsemble",
    "GRUEnsemble",
    "LSTMEnsemble",
    "ResetAfterGRUEnsemble",
    "framework_ensemble",
    "sample",
]
