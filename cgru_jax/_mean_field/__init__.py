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
from ._solve import MeanField, solve_mean_field
from ._spectrum import density, eigenvalue_mass, support
from ._thresholds import GainFold, critical_gain, fold_gain, onset_curvature

__all__ = [
    "AbstractCoefficients",
    "AbstractEnsemble",
    "ColumnCoefficients",
    "Complexity",
    "Disc",
    "GRUCoefficients",
    "GRUEnsemble",
    "GainFold",
    "LSTMEnsemble",
    "MeanField",
    "ResetAfterGRUEnsemble",
    "SpectralEdge",
    "TopologyThreshold",
    "complexity",
    "critical_gain",
    "density",
    "eigenvalue_mass",
    "fold_gain",
    "framework_ensemble",
    "gru_coefficients",
    "lstm_coefficients",
    "measure_coefficients",
    "onset_curvature",
    "reset_after_coefficients",
    "resting_coefficients",
    "sample",
    "solve_mean_field",
    "spectral_edge",
    "support",
    "topology_threshold",
    "zero_state_disc",
]
