"""A user's own time series: CSV and NPZ."""

import csv
import io
from pathlib import Path

import numpy as np

from .._files import read_arrays, read_text
from .._learning import TimeSeries, time_series
from .._learning._data import equal_step


def read_trajectories(path: Path, *, seed: int = 0) -> TimeSeries:
    """Trajectories from a file, a third of them held out.

    A CSV file has a header `trajectory,time,…`; the columns that follow are what is
    observed, and each trajectory has the same, equally spaced times. An NPZ file has
    `trajectories` of shape `(N, t, q)` and `times` of shape `(t,)`, a number `step`, or
    both, which must agree.

    **Raises:** `ValueError` that names the culprit; `DamagedFile` for what is no such file.
    """
    path = Path(path)
    readers = {".csv": _from_csv, ".npz": _from_npz}
    if path.suffix not in readers:
        raise ValueError(f"{path}: time series end in .csv or .npz.")
    trajectories, step = readers[path.suffix](path)
    try:
        return time_series(trajectories, step=step, seed=seed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _from_csv(path):
    try:
        reader = csv.reader(io.StringIO(read_text(path)))
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{path}: not valid CSV: {error}.") from None
    header = [name.strip() for name in rows[0][1]] if rows else []
    if header[:2] != ["trajectory", "time"] or len(header) < 3:
        raise ValueError(
            f"{path}: the columns must be trajectory, time and what is observed, got "
            f"{', '.join(header) or 'none'}."
        )
    twice = [name for i, name in enumerate(header) if name in header[:i]]
    if twice:
        raise ValueError(f"{path}: there are two columns {twice[0]!r}; rename one.")
    groups = {}
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"{path}: line {number} has {len(row)} columns, the header {len(header)}."
            )
        try:
            values = [float(entry) for entry in row[1:]]
        except ValueError:
            raise ValueError(f"{path}: line {number} holds what is no number.") from None
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: line {number} holds NaN or infinity.")
        groups.setdefault(row[0].strip(), []).append(values)
    if not groups:
        raise ValueError(f"{path}: there are no rows below the header.")
    lengths = {name: len(group) for name, group in groups.items()}
    (first, length), *others = lengths.items()
    for name, other in others:
        if other != length:
            raise ValueError(
                f"{path}: trajectory {name} has {other} samples, trajectory {first} has "
                f"{length}; cut them to one length."
            )
    table = np.array(list(groups.values()))
    steps = []
    for name, times in zip(groups, table[:, :, 0], strict=True):
        if length > 1:
            steps.append(equal_step(f"{path}: trajectory {name}", times, length))
    if steps and np.ptp(steps) > 1e-5 * max(steps):
        raise ValueError(f"{path}: the trajectories have different steps of time.")
    return table[:, :, 1:], steps[0] if steps else 1.0


def _from_npz(path):
    held = read_arrays(path)
    if "trajectories" not in held or not {"times", "step"} & held.keys():
        raise ValueError(
            f"{path}: must hold trajectories, shape (N, t, q), and times or step; it holds "
            f"{', '.join(held) or 'nothing'}."
        )
    trajectories = held["trajectories"]
    if "times" not in held:
        return trajectories, held["step"]
    samples = trajectories.shape[1] if trajectories.ndim == 3 else 0
    step = equal_step(str(path), held["times"], samples)
    if "step" in held and not np.allclose(held["step"], step, rtol=1e-5):
        raise ValueError(
            f"{path}: step is {held['step']}, but the times are {step:g} apart; leave one "
            "of them out."
        )
    return trajectories, step
