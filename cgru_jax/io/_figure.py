"""A picture, and the numbers behind it beside it."""

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .._files import write_bytes
from ._json import write_json


def save_figure(figure: Figure, path: Path, data: Mapping) -> Path:
    """Write `figure` as PNG to `path` and `data` as JSON beside it, under the same stem.

    **Arguments:**

    - `figure`: a `matplotlib.figure.Figure`; no window system and no pyplot are needed.
    - `path`: must end in `.png`.
    - `data`: the arrays that were drawn, by name.

    **Returns:** the path of the picture.

    **Raises:** `ValueError` for another ending.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise ValueError(f"save_figure: path must end in .png, got {path.name!r}.")
    write_json(path.with_suffix(".json"), data)
    picture = io.BytesIO()
    # 120 dots per inch: a figure of 8 inches fills half a screen, and the contact sheets
    # inlined in a report stay near 1 MB (pressed harder they take six times as long and
    # are a hundredth smaller). No metadata: equal figures are equal files.
    FigureCanvasAgg(figure)  # attaches itself; the caller's may need a window
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    return write_bytes(path, picture.getvalue())
