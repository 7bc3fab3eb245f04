from ._base import AbstractCondition, as_field, hoist_field, locate, newton, pose
from ._bogdanov_takens import BogdanovTakens, locate_bogdanov_takens
from ._branch_point import BranchPoint, locate_branch_point
from ._cusp import Cusp, locate_cusp
from ._fold import Fold, FoldCondition, locate_fold
from ._generalised_hopf import GeneralisedHopf, locate_generalised_hopf
from ._hopf import (
    Hopf,
    HopfCondition,
    first_lyapunov,
    frequency,
    locate_hopf,
    squared_frequency,
)
from ._linear import additive_compound, form, null_vectors, signed_distance, vanishing
from ._maps import (
    NeimarkSacker,
    PeriodDoubling,
    locate_neimark_sacker,
    locate_period_doubling,
)
from ._stability_tests import is_oscillation, stability_tests

__all__ = [
    "AbstractCondition",
    "BogdanovTakens",
    "BranchPoint",
    "Cusp",
    "Fold",
    "FoldCondition",
    "GeneralisedHopf",
    "Hopf",
    "HopfCondition",
    "NeimarkSacker",
    "PeriodDoubling",
    "additive_compound",
    "as_field",
    "first_lyapunov",
    "form",
    "frequency",
    "hoist_field",
    "is_oscillation",
    "locate",
    "locate_bogdanov_takens",
    "locate_branch_point",
    "locate_cusp",
    "locate_fold",
    "locate_generalised_hopf",
    "locate_hopf",
    "locate_neimark_sacker",
    "locate_period_doubling",
    "newton",
    "null_vectors",
    "pose",
    "signed_distance",
    "squared_frequency",
    "stability_tests",
    "vanishing",
]
