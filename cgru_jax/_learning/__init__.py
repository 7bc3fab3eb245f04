from ._data import TimeSeries, generate, time_series
from ._fit import Checkpoint, Fit, Progress, fit
from ._forecaster import Forecaster
from ._portrait import Shaped, fit_portrait
from ._recipe import RECIPES, Recipe
from ._recorder import Change, Record, record_bifurcations
from ._reverse import Dynamics, reverse_engineer

__all__ = [
    "RECIPES",
    "Change",
    "Checkpoint",
    "Dynamics",
    "Fit",
    "Forecaster",
    "Progress",
    "Recipe",
    "Record",
    "Shaped",
    "TimeSeries",
    "fit",
    "fit_portrait",
    "generate",
    "record_bifurcations",
    "reverse_engineer",
    "time_series",
]
