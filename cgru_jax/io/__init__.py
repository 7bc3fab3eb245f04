"""Results to files, model files to cells. Never loaded by `import cgru_jax`."""

from ._figure import save_figure
from ._json import to_json, write_json
from ._model import read_entries, read_model
from ._report import tally, write_report

__all__ = [
    "read_entries",
    "read_model",
    "save_figure",
    "tally",
    "to_json",
    "write_json",
    "write_report",
]
