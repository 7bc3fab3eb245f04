"""Checkpoints of a training: arrays that need no pickle, with a checksum."""

import hashlib
import io
import json
from pathlib import Path

import jax
import numpy as np

from .._files import DamagedFile, read_arrays, write_bytes
from .._learning import Checkpoint

SCHEMA, VERSION = "cgru-jax training", 2
LARGEST = 2**30  # bytes: 30,000 small networks, and what a reader may hold in memory


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> Path:
    """Write `checkpoint` as an NPZ file with a header of JSON, whole or not at all.

    **Returns:** the path.

    **Raises:** `ValueError` for more than 1 GiB, which `read_checkpoint` would refuse.
    """
    arrays = {
        f"array_{i}": np.asarray(leaf)
        for i, leaf in enumerate(jax.tree.leaves(checkpoint.arrays))
    }
    header = {
        "schema": SCHEMA,
        "version": VERSION,
        "step": int(checkpoint.step),
        "key": checkpoint.key,
        "arrays": len(arrays),
    }
    header["sha256"] = _digest(header, arrays.values())
    data = io.BytesIO()
    np.savez(data, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
    if data.tell() > LARGEST:
        raise ValueError(
            f"{path}: a checkpoint of {data.tell() // 2**20} MiB, more than the "
            f"{LARGEST // 2**20} MiB that are read again: train fewer networks at once."
        )
    return write_bytes(path, data.getvalue())


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, proved to be undamaged.

    **Raises:** `OSError` if it cannot be opened, `DamagedFile` if it is no checkpoint, is
    damaged, or is of a later version.
    """
    held = read_arrays(path, LARGEST)
    try:
        header = json.loads(str(held["header"]))
        schema, version = header["schema"], header["version"]
        stated = header.pop("sha256")
        step, key = int(header["step"]), str(header["key"])
        arrays = [held[f"array_{i}"] for i in range(int(header["arrays"]))]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedFile(f"{path}: damaged; it is no checkpoint.") from None
    if schema != SCHEMA:
        raise DamagedFile(f"{path}: this is no checkpoint of a training.")
    if version != VERSION:
        raise DamagedFile(
            f"{path}: a checkpoint of version {version}; this program reads {VERSION}."
        )
    if stated != _digest(header, arrays):
        raise DamagedFile(f"{path}: damaged; its checksum is another.")
    return Checkpoint(step, arrays, key)


def _digest(header, arrays) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for array in arrays:
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
