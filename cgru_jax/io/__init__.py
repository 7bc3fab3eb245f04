"""Results to files, model files to cells. Never loaded by `import cgru_jax`."""

from ._checkpoint import read_checkpoint, write_checkpoint
from ._figure import save_figure
from ._json import to_json, write_json
from ._model import read_entries, read_model
from ._report import tally, write_report
from ._trajectories import read_trajectories

__all__ = [
    "read_checkpoint",
    "read_entries",
    "read_model",
    "read_trajectories",
    "save_figure",
    "tally",
    "to_json",
    "write_checkpoint",
    "write_json",
    "write_report",
]
