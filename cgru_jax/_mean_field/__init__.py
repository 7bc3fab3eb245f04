from ._coefficients import (
    AbstractCoefficients,
    ColumnCoefficients,
    GRUCoefficients,
    gru_coefficients,
    lstm_coefficients,
    measure_coefficients,
    reset_after_coefficients,
    resting_coefficients,
)
from ._constant_gate import (
    CorrelationFunction,
    DynamicThreshold,
    dynamic_threshold,
    solve_constant_gate,
)
from ._edge import Disc, SpectralEdge, spectral_edge, zero_state_disc
from ._ensembles import (
    AbstractEnsemble,
    GRUEnsemble,
    LSTMEnsemble,
    ResetAfterGRUEnsemble,
    framework_ensemble,
    sample,
)
from ._landscape import (
    Complexity,
    TopologyThreshold,
    complexity,
    topology_threshold,
)
from ._paths import Paths, correlation_function, path_coefficients, sample_paths
from ._solve import MeanField, solve_mean_field
from ._spectrum import density, eigenvalue_mass, support
from ._thresholds import GainFold, critical_gain, fold_gain, onset_curvature

__all__ = [
    "AbstractCoefficients",
    "AbstractEnsemble",
    "ColumnCoefficients",
    "Complexity",
    "CorrelationFunction",
    "Disc",
    "DynamicThreshold",
    "GRUCoefficients",
    "GRUEnsemble",
    "GainFold",
    "LSTMEnsemble",
    "MeanField",
    "Paths",
    "ResetAfterGRUEnsemble",
    "SpectralEdge",
    "TopologyThreshold",
    "complexity",
    "correlation_function",
    "critical_gain",
    "density",
    "dynamic_threshold",
    "eigenvalue_mass",
    "fold_gain",
    "framework_ensemble",
    "gru_coefficients",
    "lstm_coefficients",
    "measure_coefficients",
    "onset_curvature",
    "path_coefficients",
    "reset_after_coefficients",
    "resting_coefficients",
    "sample",
    "sample_paths",
    "solve_constant_gate",
    "solve_mean_field",
    "spectral_edge",
    "support",
    "topology_threshold",
    "zero_state_disc",
]
