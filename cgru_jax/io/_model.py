"""A model file: TOML or JSON with the name of a cell and its arrays by name."""

import difflib
import inspect
import json
import tomllib
from pathlib import Path

import numpy as np

from .._cells import GRU, LSTM, AbstractCell, ResetAfterGRU
from .._files import read_text

_CELLS = {"gru": GRU, "reset_after": ResetAfterGRU, "lstm": LSTM}


def read_model(path: Path) -> AbstractCell:
    """The cell that a file describes.

    **Arguments:** `path`: a file that ends in `.toml` or `.json`. `cell` is `"gru"` (arrays
    `U_h U_r U_z b_h b_r b_z`), `"reset_after"` (the same and `c_h`) or `"lstm"`
    (`U_f U_i U_o U_c b_f b_i b_o b_c`); input weights `W_*` go with each `U_*`. What is
    missing is zero (but the GRUs need `U_h`); scalars broadcast.

    **Raises:** `OSError` if the file cannot be opened; `ValueError` in one line that names
    the file, the entry and what is wrong with it; its subclass `DamagedFile` for what is no
    text at all.
    """
    path = Path(path)
    model = read_entries(path)
    kind = model.pop("cell", None)
    if kind is None:
        raise ValueError(f'{path}: the entry cell is missing; write cell = "gru".')
    if not isinstance(kind, str) or kind not in _CELLS:
        raise ValueError(f"{path}: cell is {kind!r}; {_suggest(kind, _CELLS)}.")
    cell = _CELLS[kind]
    names = [name for name in inspect.signature(cell.__init__).parameters if name != "self"]
    for name in model:
        if name not in names:
            raise ValueError(
                f"{path}: {name} is no entry of cell {kind!r}; {_suggest(name, names)}."
            )
    arrays = {name: _numbers(path, name, value) for name, value in model.items()}
    leader = names[0]
    if leader not in arrays and kind == "lstm":
        # Any of its four matrices tells the size; a GRU without U_h has no dynamics.
        others = [name for name in arrays if name.startswith("U_")]
        if others:
            arrays[leader] = np.zeros_like(arrays[others[0]])
    if leader not in arrays:
        raise ValueError(f"{path}: {leader} is missing; it fixes the number of units.")
    try:
        return cell(**arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def read_entries(path: Path) -> dict:
    """The entries of a TOML or JSON file as they are; it raises what `read_model` does."""
    path = Path(path)
    if path.suffix not in (".toml", ".json") and not path.is_dir():
        raise ValueError(f"{path}: a model file ends in .toml or .json.")
    text = read_text(path)
    try:
        if path.suffix == ".toml":
            return tomllib.loads(text)
        model = json.loads(text, object_pairs_hook=_once_each)
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply.") from None
    except ValueError as error:
        what = path.suffix[1:].upper()
        raise ValueError(f"{path}: not valid {what}: {error}.") from None
    if not isinstance(model, dict):
        raise ValueError(f"{path}: must hold one JSON object, got {type(model).__name__}.")
    return model


def _once_each(pairs):
    # JSON lets a name come twice, and the last would win in silence; TOML refuses it.
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)} comes twice")
    return table


def _numbers(path: Path, name: str, value) -> np.ndarray:
    for leaf in _leaves(value):
        if isinstance(leaf, bool) or not isinstance(leaf, int | float):
            raise ValueError(
                f"{path}: {name} must hold numbers only, got {_short(leaf)} "
                f"({type(leaf).__name__})."
            )
    try:
        return np.array(value, dtype=float)
    except OverflowError:
        raise ValueError(
            f"{path}: {name} holds a number beyond double precision."
        ) from None
    except ValueError:
        raise ValueError(
            f"{path}: {name} is not rectangular; its rows differ in length or depth."
        ) from None


def _leaves(value):
    # A stack of our own: a file may nest deeper than Python recurses.
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        else:
            yield item


def _suggest(word, known) -> str:
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), names, 1)
    listing = "known are " + ", ".join(known)
    return f"did you mean {names[close[0]]}? ({listing})" if close else listing


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
