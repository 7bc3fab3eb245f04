from ._base import AbstractCondition, locate, pose
from ._bogdanov_takens import BogdanovTakens, locate_bogdanov_takens
from ._branch_point import BranchPoint, locate_branch_point
from ._cusp import Cusp, locate_cusp
from ._fold import Fold, locate_fold
from ._generalised_hopf import GeneralisedHopf, locate_generalised_hopf
from ._hopf import Hopf, locate_hopf
from ._linear import vanishing
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
    "GeneralisedHopf",
    "Hopf",
    "NeimarkSacker",
    "PeriodDoubling",
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
    "pose",
    "stability_tests",
    "vanishing",
]
