"""Numbers as JSON that any reader accepts."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from .._files import write_bytes
from .._results import RESULTS

_EnumerationItem = type(RESULTS.successful)


def write_json(path: Path, value) -> Path:
    """Write `value` to `path` as JSON, whole or not at all.

    **Arguments:** `value`: what `to_json` takes; folders on the way to `path` are made.

    **Returns:** the path.
    """
    return write_bytes(path, (to_json(value) + "\n").encode())


def to_json(value) -> str:
    """`value` as JSON text, one line per entry, lists of plain values on one line.

    **Arguments:** `value`: numbers, text, paths, NumPy and JAX arrays, members of `RESULTS`
    and `KINDS` (by name), and dicts, sequences and pytree classes of these. JSON knows no
    NaN and no infinity: both become null. A complex number is `{"re": …, "im": …}`, an
    array of them two arrays.

    **Raises:** `TypeError` for anything else, naming where it stands.
    """
    return _text(_plain(value, "value"), "")


def _plain(value, place: str):
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, _EnumerationItem):
        names = np.array(list(value._enumeration._name_to_item))
        return names[np.asarray(value._value)].tolist()
    if isinstance(value, complex):
        return {"re": _plain(value.real, place), "im": _plain(value.imag, place)}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        if np.iscomplexobj(array):
            return {"re": _plain(array.real, place), "im": _plain(array.imag, place)}
        if array.dtype.kind in "biu":
            return array.tolist()
        if array.dtype.kind == "f":
            # At once: number by number this took as long as drawing the figure.
            plain = array.astype(object)
            plain[~np.isfinite(array)] = None
            return plain.tolist()
        return _plain(array.tolist(), place)
    if isinstance(value, Mapping):
        return {str(key): _plain(v, f"{place}[{key!r}]") for key, v in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict(), place)
    if isinstance(value, list | tuple):
        return [_plain(v, f"{place}[{i}]") for i, v in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value))
        return {name: _plain(getattr(value, name), f"{place}.{name}") for name in fields}
    raise TypeError(f"{place} cannot be written as JSON: it is a {type(value).__name__}.")


def _text(value, indent: str) -> str:
    # json.dumps(indent=1) puts every number on a line of its own: an array of 10⁵ numbers
    # would be a file that nobody can page through.
    inner = indent + " "
    if isinstance(value, dict) and value:
        lines = (f"{inner}{_dump(k)}: {_text(v, inner)}" for k, v in value.items())
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(inner + _text(v, inner) for v in value) + f"\n{indent}]"
    return _dump(value)


_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
