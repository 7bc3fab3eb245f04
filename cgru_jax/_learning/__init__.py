from ._data import TimeSeries, generate, time_series
from ._fit import Checkpoint, Fit, Progress, fit
from ._forecaster import Forecaster
from ._recipe import RECIPES, Recipe
from ._reverse import Dynamics, reverse_engineer

__all__ = [
    "RECIPES",
    "Checkpoint",
    "Dynamics",
    "Fit",
    "Forecaster",
    "Progress",
    "Recipe",
    "TimeSeries",
    "fit",
    "generate",
    "reverse_engineer",
    "time_series",
]
