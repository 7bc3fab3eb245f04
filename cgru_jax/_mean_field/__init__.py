from ._ensembles import (
    AbstractEnsemble,
    GRUEnsemble,
    LSTMEnsemble,
    ResetAfterGRUEnsemble,
    framework_ensemble,
    sample,
)
from ._solve import MeanField, solve_mean_field
from ._thresholds import GainFold, critical_gain, fold_gain, onset_curvature

__all__ = [
    "AbstractEnsemble",
    "GRUEnsemble",
    "GainFold",
    "LSTMEnsemble",
    "MeanField",
    "ResetAfterGRUEnsemble",
    "critical_gain",
    "fold_gain",
    "framework_ensemble",
    "onset_curvature",
    "sample",
    "solve_mean_field",
]
