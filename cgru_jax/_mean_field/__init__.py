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
from ._solve import MeanField, solve_mean_field
from ._thresholds import GainFold, critical_gain, fold_gain, onset_curvature

__all__ = [
    "AbstractEnsemble",
    "CorrelationFunction",
    "DynamicThreshold",
    "GRUEnsemble",
    "GainFold",
    "LSTMEnsemble",
    "MeanField",
    "Paths",
    "ResetAfterGRUEnsemble",
    "correlation_function",
    "critical_gain",
    "dynamic_threshold",
    "fold_gain",
    "framework_ensemble",
    "onset_curvature",
    "sample",
    "sample_paths",
    "solve_constant_gate",
    "solve_mean_field",
]
