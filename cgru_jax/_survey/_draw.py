"""Random networks: any of them again, from a seed and the number of its block."""

import difflib
import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .._atlas import ATLAS
from .._cells import GRU, LSTM, ResetAfterGRU
from ..io import read_entries

CELLS = {"gru": GRU, "reset_after": ResetAfterGRU, "lstm": LSTM}
# What each array of a cell is drawn as: the candidate's like h, the gates' like r.
_ROLES = {
    "gru": "U_h:U_h U_r:U_r b_h:b_h b_r:b_r U_z:U_r b_z:b_r",
    "reset_after": "U_h:U_h U_r:U_r b_h:b_h c_h:b_h b_r:b_r U_z:U_r b_z:b_r",
    "lstm": "U_f:U_r U_i:U_r U_o:U_r U_c:U_h b_f:b_r b_i:b_r b_o:b_r b_c:b_h",
}
_UPDATE_GATE = ("U_z", "b_z")
_NOISE = [0.05, 0.05]  # of `paper`: relative, and added to it
NAMED = {
    "gauss": {
        "U_h": {"normal": [0.0, 3.0]},
        "U_r": {"normal": [0.0, 3.0]},
        "b_h": {"normal": [0.0, 1.0]},
        "b_r": {"normal": [0.0, 1.0]},
    },
    "wide": {
        "U_h": {"uniform": [-6.0, 6.0]},
        "U_r": {"uniform": [-10.0, 10.0]},
        "b_h": {"uniform": [-1.0, 1.0]},
        "b_r": {"uniform": [-5.0, 5.0]},
    },
    "paper": {
        name: {"table_3": name, "noise": _NOISE} for name in "U_h U_r b_h b_r".split()
    },
}
_LAWS = ("normal", "uniform", "constant")
# Beyond this every gate is a step to double precision, and sums may overflow.
LARGEST = 1e100


def resolve(distribution: str, cell: str, units: int, gates: bool) -> dict:
    """The law of every array that is drawn, as plain values.

    `distribution` is one of `NAMED`, or a TOML or JSON file in which every array has
    `normal = [mean, deviation]`, `uniform = [low, high]` or `constant = value`; what is
    missing there is zero.

    **Raises:** `ValueError` that names the culprit; `OSError` for a file that cannot be
    read.
    """
    if distribution in NAMED:
        if distribution == "paper" and units != 2:
            raise ValueError(
                "the distribution paper has two units: its table has no other."
            )
        roles = dict(pair.split(":") for pair in _ROLES[cell].split())
        left_out = () if gates else _UPDATE_GATE
        laws = NAMED[distribution]
        return {a: laws[role] for a, role in roles.items() if a not in left_out}
    path = Path(distribution)
    if path.suffix not in (".toml", ".json"):
        close = difflib.get_close_matches(distribution, NAMED, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(
            f"no distribution {distribution!r}: {hint}There are {', '.join(NAMED)}, or a "
            "file that ends in .toml or .json."
        )
    if gates:
        raise ValueError(f"{path}: a file says itself how U_z and b_z are drawn; no gates.")
    return _from_file(path, cell, units)


def draw(laws: Mapping, units: int, seed: int, block: int, size: int) -> dict:
    """The arrays of `size` networks, stacked: the same whenever and wherever it is called.

    NumPy and not JAX: its normal numbers do not depend on how the machine's compiler fuses
    a product and a sum.
    """
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(block,)))
    rows = [row for row in ATLAS.values() if row.page == 16]
    which = random.integers(len(rows), size=size)
    arrays = {}
    for name in sorted(laws):
        shape = (size, units, units) if name[0] == "U" else (size, units)
        law = laws[name]
        if "table_3" in law:
            printed = np.array([getattr(row, law["table_3"]) for row in rows])[which]
            relative, added = law["noise"]
            first, second = random.standard_normal((2, *shape))
            arrays[name] = printed * (1 + relative * first) + added * second
        elif "normal" in law:
            mean, deviation = map(np.asarray, law["normal"])
            arrays[name] = mean + deviation * random.standard_normal(shape)
        elif "uniform" in law:
            low, high = map(np.asarray, law["uniform"])
            arrays[name] = low + (high - low) * random.random(shape)
        else:
            arrays[name] = np.broadcast_to(np.asarray(law["constant"], float), shape)
    return arrays


def _from_file(path: Path, cell: str, units: int) -> dict:
    entries = read_entries(path)
    names = inspect.signature(CELLS[cell].__init__).parameters
    known = [name for name in names if name[0] in "Ubc"]
    for name in entries:
        if name not in known:
            raise ValueError(
                f"{path}: {name} is no array of cell {cell!r}; there are "
                f"{', '.join(known)}."
            )
    # The number of units comes with the plan, but this matrix must not be forgotten.
    if not any(name[0] == "U" for name in entries):
        raise ValueError(f"{path}: no recurrent matrix U_… is drawn.")
    laws = {
        name: _law(f"{path}: {name}", name, law, units) for name, law in entries.items()
    }
    # The cells want their leading matrix.
    return {known[0]: {"constant": 0.0}, **laws}


def _law(where: str, name: str, law, units: int) -> dict:
    if not isinstance(law, dict) or len(law) != 1 or next(iter(law)) not in _LAWS:
        raise ValueError(
            f"{where} must be {{normal = [mean, deviation]}}, {{uniform = [low, high]}} or "
            "{constant = value}."
        )
    ((kind, values),) = law.items()
    shape = (units, units) if name[0] == "U" else (units,)
    numbers = [values] if kind == "constant" else values
    if not isinstance(numbers, list) or len(numbers) != (1 if kind == "constant" else 2):
        raise ValueError(f"{where}.{kind} must be a pair of numbers or of arrays.")
    arrays = []
    for number in numbers:
        try:
            array = np.asarray(number)
        except ValueError:
            raise ValueError(f"{where}.{kind} is not rectangular.") from None
        if array.dtype.kind not in "iuf":
            raise ValueError(f"{where}.{kind} must hold numbers.")
        if array.ndim and array.shape != shape:
            raise ValueError(
                f"{where}.{kind} has shape {array.shape}; it must be a number or of shape "
                f"{shape}."
            )
        if not np.all(np.abs(array) < LARGEST):
            raise ValueError(f"{where}.{kind} must be below {LARGEST:g} in size.")
        arrays.append(array.astype(float))
    if kind == "uniform" and not np.all(arrays[0] <= arrays[1]):
        raise ValueError(f"{where}.uniform: low must not be above high.")
    if kind == "normal" and np.any(arrays[1] < 0):
        raise ValueError(f"{where}.normal: the deviation must not be negative.")
    plain = [array.tolist() for array in arrays]
    return {kind: plain[0] if kind == "constant" else plain}
