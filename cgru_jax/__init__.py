"""A differentiable dynamics toolkit for gated recurrent units.

Importing this package imports no JAX and changes no configuration: each public name
loads the module that holds it on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._atlas import ATLAS as ATLAS
    from ._atlas import AtlasRow as AtlasRow
    from ._atlas import Counts as Counts
    from ._bifurcation import Branch as Branch
    from ._bifurcation import Diagram as Diagram
    from ._bifurcation import Events as Events
    from ._bifurcation import FoldCurve as FoldCurve
    from ._bifurcation import HopfCurve as HopfCurve
    from ._bifurcation import Nearest as Nearest
    from ._bifurcation import Plane as Plane
    from ._bifurcation import bifurcation_diagram as bifurcation_diagram
    from ._bifurcation import nearest_bifurcation as nearest_bifurcation
    from ._bifurcation import trace_branch as trace_branch
    from ._bifurcation import trace_fold_curve as trace_fold_curve
    from ._bifurcation import trace_hopf_curve as trace_hopf_curve
    from ._bifurcation import two_parameter_diagram as two_parameter_diagram
    from ._cells import GRU as GRU
    from ._cells import LSTM as LSTM
    from ._cells import AbstractCell as AbstractCell
    from ._cells import ResetAfterGRU as ResetAfterGRU
    from ._cells import gru as gru
    from ._certify import prove_root as prove_root
    from ._conditions import BogdanovTakens as BogdanovTakens
    from ._conditions import BranchPoint as BranchPoint
    from ._conditions import Cusp as Cusp
    from ._conditions import Fold as Fold
    from ._conditions import GeneralisedHopf as GeneralisedHopf
    from ._conditions import Hopf as Hopf
    from ._conditions import NeimarkSacker as NeimarkSacker
    from ._conditions import PeriodDoubling as PeriodDoubling
    from ._conditions import locate_bogdanov_takens as locate_bogdanov_takens
    from ._conditions import locate_branch_point as locate_branch_point
    from ._conditions import locate_cusp as locate_cusp
    from ._conditions import locate_fold as locate_fold
    from ._conditions import locate_generalised_hopf as locate_generalised_hopf
    from ._conditions import locate_hopf as locate_hopf
    from ._conditions import locate_neimark_sacker as locate_neimark_sacker
    from ._conditions import locate_period_doubling as locate_period_doubling
    from ._cycles import Cycle as Cycle
    from ._cycles import CycleBranch as CycleBranch
    from ._cycles import CycleCurve as CycleCurve
    from ._cycles import CycleFold as CycleFold
    from ._cycles import find_cycle as find_cycle
    from ._cycles import locate_cycle_fold as locate_cycle_fold
    from ._cycles import trace_cycle_doubling_curve as trace_cycle_doubling_curve
    from ._cycles import trace_cycle_fold_curve as trace_cycle_fold_curve
    from ._cycles import trace_cycle_torus_curve as trace_cycle_torus_curve
    from ._cycles import trace_cycles as trace_cycles
    from ._equilibria import Equilibria as Equilibria
    from ._equilibria import SlowPoints as SlowPoints
    from ._equilibria import enumerate_equilibria as enumerate_equilibria
    from ._equilibria import find_equilibria as find_equilibria
    from ._equilibria import find_slow_points as find_slow_points
    from ._equilibria import grid as grid
    from ._integrate import Trajectory as Trajectory
    from ._integrate import integrate as integrate
    from ._learning import RECIPES as RECIPES
    from ._learning import Change as Change
    from ._learning import Checkpoint as Checkpoint
    from ._learning import Dynamics as Dynamics
    from ._learning import Fit as Fit
    from ._learning import Forecaster as Forecaster
    from ._learning import Progress as Progress
    from ._learning import Recipe as Recipe
    from ._learning import Record as Record
    from ._learning import Shaped as Shaped
    from ._learning import TimeSeries as TimeSeries
    from ._learning import fit as fit
    from ._learning import fit_portrait as fit_portrait
    from ._learning import generate as generate
    from ._learning import record_bifurcations as record_bifurcations
    from ._learning import reverse_engineer as reverse_engineer
    from ._learning import time_series as time_series
    from ._lyapunov import Lyapunov as Lyapunov
    from ._lyapunov import jacobian_spectra as jacobian_spectra
    from ._lyapunov import lyapunov_exponents as lyapunov_exponents
    from ._manifolds import SNIC as SNIC
    from ._manifolds import Heteroclinic as Heteroclinic
    from ._manifolds import Homoclinic as Homoclinic
    from ._manifolds import HomoclinicCurve as HomoclinicCurve
    from ._manifolds import Manifold as Manifold
    from ._manifolds import SeparatrixGraph as SeparatrixGraph
    from ._manifolds import locate_heteroclinic as locate_heteroclinic
    from ._manifolds import locate_homoclinic as locate_homoclinic
    from ._manifolds import locate_snic as locate_snic
    from ._manifolds import separatrix_graph as separatrix_graph
    from ._manifolds import trace_homoclinic_curve as trace_homoclinic_curve
    from ._manifolds import trace_manifold as trace_manifold
    from ._mean_field import AbstractCoefficients as AbstractCoefficients
    from ._mean_field import AbstractEnsemble as AbstractEnsemble
    from ._mean_field import ColumnCoefficients as ColumnCoefficients
    from ._mean_field import Complexity as Complexity
    from ._mean_field import CorrelationFunction as CorrelationFunction
    from ._mean_field import Disc as Disc
    from ._mean_field import DynamicThreshold as DynamicThreshold
    from ._mean_field import GainFold as GainFold
    from ._mean_field import GRUCoefficients as GRUCoefficients
    from ._mean_field import GRUEnsemble as GRUEnsemble
    from ._mean_field import LSTMEnsemble as LSTMEnsemble
    from ._mean_field import MeanField as MeanField
    from ._mean_field import Paths as Paths
    from ._mean_field import ResetAfterGRUEnsemble as ResetAfterGRUEnsemble
    from ._mean_field import SpectralEdge as SpectralEdge
    from ._mean_field import TopologyThreshold as TopologyThreshold
    from ._mean_field import complexity as complexity
    from ._mean_field import correlation_function as correlation_function
    from ._mean_field import critical_gain as critical_gain
    from ._mean_field import density as density
    from ._mean_field import dynamic_threshold as dynamic_threshold
    from ._mean_field import eigenvalue_mass as eigenvalue_mass
    from ._mean_field import fold_gain as fold_gain
    from ._mean_field import framework_ensemble as framework_ensemble
    from ._mean_field import gru_coefficients as gru_coefficients
    from ._mean_field import lstm_coefficients as lstm_coefficients
    from ._mean_field import measure_coefficients as measure_coefficients
    from ._mean_field import onset_curvature as onset_curvature
    from ._mean_field import path_coefficients as path_coefficients
    from ._mean_field import reset_after_coefficients as reset_after_coefficients
    from ._mean_field import resting_coefficients as resting_coefficients
    from ._mean_field import sample as sample
    from ._mean_field import sample_paths as sample_paths
    from ._mean_field import solve_constant_gate as solve_constant_gate
    from ._mean_field import solve_mean_field as solve_mean_field
    from ._mean_field import spectral_edge as spectral_edge
    from ._mean_field import support as support
    from ._mean_field import topology_threshold as topology_threshold
    from ._mean_field import zero_state_disc as zero_state_disc
    from ._results import EVENTS as EVENTS
    from ._results import KINDS as KINDS
    from ._results import RESULTS as RESULTS
    from ._sectors import Sectors as Sectors
    from ._sectors import sectors as sectors
    from ._stability import Stability as Stability
    from ._stability import classify as classify
    from ._stability import degree as degree
    from ._survey import Survey as Survey
    from ._survey import SurveyPlan as SurveyPlan
    from ._survey import survey as survey
    from ._sweep import sweep as sweep
    from ._systems import AbstractSystem as AbstractSystem
    from ._systems import Flow as Flow
    from ._systems import Map as Map
    from ._targets import TARGETS as TARGETS
    from ._targets import Target as Target
    from ._targets import fitzhugh_nagumo as fitzhugh_nagumo

__version__ = "0.1.0"

_HOMES = {
    "ATLAS": "_atlas",
    "AtlasRow": "_atlas",
    "Counts": "_atlas",
    "Branch": "_bifurcation",
    "Diagram": "_bifurcation",
    "bifurcation_diagram": "_bifurcation",
    "Events": "_bifurcation",
    "Nearest": "_bifurcation",
    "nearest_bifurcation": "_bifurcation",
    "trace_branch": "_bifurcation",
    "FoldCurve": "_bifurcation",
    "HopfCurve": "_bifurcation",
    "trace_fold_curve": "_bifurcation",
    "trace_hopf_curve": "_bifurcation",
    "Plane": "_bifurcation",
    "two_parameter_diagram": "_bifurcation",
    "AbstractCell": "_cells",
    "GRU": "_cells",
    "LSTM": "_cells",
    "ResetAfterGRU": "_cells",
    "gru": "_cells",
    "prove_root": "_certify",
    "BogdanovTakens": "_conditions",
    "BranchPoint": "_conditions",
    "Cusp": "_conditions",
    "Fold": "_conditions",
    "GeneralisedHopf": "_conditions",
    "Hopf": "_conditions",
    "NeimarkSacker": "_conditions",
    "PeriodDoubling": "_conditions",
    "locate_bogdanov_takens": "_conditions",
    "locate_branch_point": "_conditions",
    "locate_cusp": "_conditions",
    "locate_fold": "_conditions",
    "locate_generalised_hopf": "_conditions",
    "locate_hopf": "_conditions",
    "locate_neimark_sacker": "_conditions",
    "locate_period_doubling": "_conditions",
    "Cycle": "_cycles",
    "find_cycle": "_cycles",
    "CycleBranch": "_cycles",
    "CycleFold": "_cycles",
    "locate_cycle_fold": "_cycles",
    "trace_cycles": "_cycles",
    "CycleCurve": "_cycles",
    "trace_cycle_doubling_curve": "_cycles",
    "trace_cycle_fold_curve": "_cycles",
    "trace_cycle_torus_curve": "_cycles",
    "Equilibria": "_equilibria",
    "SlowPoints": "_equilibria",
    "enumerate_equilibria": "_equilibria",
    "find_equilibria": "_equilibria",
    "find_slow_points": "_equilibria",
    "grid": "_equilibria",
    "Trajectory": "_integrate",
    "integrate": "_integrate",
    "Lyapunov": "_lyapunov",
    "jacobian_spectra": "_lyapunov",
    "lyapunov_exponents": "_lyapunov",
    "Checkpoint": "_learning",
    "Dynamics": "_learning",
    "reverse_engineer": "_learning",
    "Change": "_learning",
    "Record": "_learning",
    "Shaped": "_learning",
    "fit_portrait": "_learning",
    "record_bifurcations": "_learning",
    "Fit": "_learning",
    "Forecaster": "_learning",
    "Progress": "_learning",
    "RECIPES": "_learning",
    "Recipe": "_learning",
    "TimeSeries": "_learning",
    "fit": "_learning",
    "generate": "_learning",
    "time_series": "_learning",
    "SNIC": "_manifolds",
    "Heteroclinic": "_manifolds",
    "Homoclinic": "_manifolds",
    "HomoclinicCurve": "_manifolds",
    "Manifold": "_manifolds",
    "locate_heteroclinic": "_manifolds",
    "locate_homoclinic": "_manifolds",
    "locate_snic": "_manifolds",
    "trace_homoclinic_curve": "_manifolds",
    "trace_manifold": "_manifolds",
    "SeparatrixGraph": "_manifolds",
    "separatrix_graph": "_manifolds",
    "AbstractCoefficients": "_mean_field",
    "AbstractEnsemble": "_mean_field",
    "ColumnCoefficients": "_mean_field",
    "Complexity": "_mean_field",
    "Disc": "_mean_field",
    "GRUCoefficients": "_mean_field",
    "GRUEnsemble": "_mean_field",
    "GainFold": "_mean_field",
    "LSTMEnsemble": "_mean_field",
    "MeanField": "_mean_field",
    "ResetAfterGRUEnsemble": "_mean_field",
    "SpectralEdge": "_mean_field",
    "TopologyThreshold": "_mean_field",
    "complexity": "_mean_field",
    "critical_gain": "_mean_field",
    "density": "_mean_field",
    "eigenvalue_mass": "_mean_field",
    "fold_gain": "_mean_field",
    "framework_ensemble": "_mean_field",
    "gru_coefficients": "_mean_field",
    "lstm_coefficients": "_mean_field",
    "measure_coefficients": "_mean_field",
    "onset_curvature": "_mean_field",
    "reset_after_coefficients": "_mean_field",
    "resting_coefficients": "_mean_field",
    "sample": "_mean_field",
    "solve_mean_field": "_mean_field",
    "spectral_edge": "_mean_field",
    "support": "_mean_field",
    "topology_threshold": "_mean_field",
    "zero_state_disc": "_mean_field",
    "CorrelationFunction": "_mean_field",
    "DynamicThreshold": "_mean_field",
    "dynamic_threshold": "_mean_field",
    "solve_constant_gate": "_mean_field",
    "Paths": "_mean_field",
    "correlation_function": "_mean_field",
    "path_coefficients": "_mean_field",
    "sample_paths": "_mean_field",
    "EVENTS": "_results",
    "KINDS": "_results",
    "RESULTS": "_results",
    "Sectors": "_sectors",
    "sectors": "_sectors",
    "Stability": "_stability",
    "classify": "_stability",
    "degree": "_stability",
    "Survey": "_survey",
    "SurveyPlan": "_survey",
    "survey": "_survey",
    "sweep": "_sweep",
    "AbstractSystem": "_systems",
    "Flow": "_systems",
    "Map": "_systems",
    "TARGETS": "_targets",
    "Target": "_targets",
    "fitzhugh_nagumo": "_targets",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'cgru_jax' has no attribute '{name}'")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
