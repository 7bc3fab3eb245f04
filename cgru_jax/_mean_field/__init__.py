from ._constant_gate import (
    CorrelationFunction,
    DynamicThreshold,
    dynamic_threshold,
    solve_constant_gate,
)
from ._ensembles import (
    AbstractEnsemble,
    GRUEnsemble,
    LSTMEnsemble,
    ResetAfterGRUEnsemble,
    framework_ensemble,
    sample,
)
from ._paths import Paths, correlation_function, sample_paths

__all__ = [
    "AbstractEnsemble",
    "CorrelationFunction",
    "DynamicThreshold",
    "GRUEnsemble",
    "LSTMEnsemble",
    "Paths",
    "ResetAfterGRUEnsemble",
    "correlation_function",
    "dynamic_threshold",
    "framework_ensemble",
    "sample",
    "sample_paths",
    "solve_constant_gate",
]
