"""Whole files or none: a reader never meets half of one, nor reads what is no text."""

import io
import os
import secrets
import stat
import zipfile
import zlib
from pathlib import Path

# A network of a thousand units in decimal is 60 MB: whatever is larger is no model.
LARGEST = 64 * 2**20


class DamagedFile(ValueError):
    """A file that is not what it claims to be, or that it is not safe to read."""


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, making the folders that lead to it.

    The bytes go to a temporary name in the same folder and reach the disk before they take
    the name, so that an interrupted run leaves the old file or the new one.
    """
    path = Path(path)
    _write(path, data, os.replace)
    return path


def write_new(path: Path, data: bytes) -> bool:
    """The same, but a file that is there stays, also when it appears meanwhile.

    **Returns:** whether `data` was written.
    """
    try:
        _write(Path(path), data, _take_name)
    except FileExistsError:
        return False
    return True


def _take_name(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: an empty file takes the name, which only one
        # can do, and the whole one replaces it. Who was killed in between left it empty.
        try:
            open(path, "xb").close()
        except FileExistsError:
            if path.stat().st_size:
                raise
        os.replace(temporary, path)


def append_line(path: Path, line: str) -> None:
    """Add a line to `path` and see it onto the disk; a reader may meet half of the last."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, data: bytes, give_name) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A random name: two processes may write the same file, and neither may win by halves.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        give_name(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """The text of `path`, which must be a plain file of UTF-8 below 64 MiB.

    **Raises:** `OSError` if it cannot be opened, `DamagedFile` if it is no such file.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{path}: not UTF-8 text (byte {error.start}).") from None


def read_bytes(path: Path, largest: int | None = None) -> bytes:
    """What is in `path`, which must be a plain file of at most so many bytes (64 MiB);
    raises the same."""
    largest = largest or LARGEST
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DamagedFile(f"{path}: not a plain file.")
        data = file.read(largest + 1)
    if len(data) > largest:
        raise DamagedFile(
            f"{path}: larger than {largest // 2**20} MiB; it cannot be what it should be."
        )
    return data


def read_arrays(path: Path, largest: int | None = None) -> dict:
    """The arrays of an NPZ file by name; nothing in it is run, and file and arrays hold at
    most so many bytes (64 MiB).

    **Raises:** `OSError` if it cannot be opened, `DamagedFile` if it is no such file.
    """
    import numpy as np  # the command line answers without it

    largest = largest or LARGEST
    data = io.BytesIO(read_bytes(path, largest))
    try:
        with zipfile.ZipFile(data) as archive:
            # A few bytes can be made to unfold into many.
            if sum(entry.file_size for entry in archive.infolist()) > largest:
                raise DamagedFile(f"{path}: larger than {largest // 2**20} MiB.")
        with np.load(data, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DamagedFile:
        raise
    # A damaged archive brings forth any error of its readers.
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error,
            NotImplementedError, RuntimeError):  # fmt: skip
        raise DamagedFile(f"{path}: damaged; no NPZ file of plain arrays.") from None


def _without_waiting(path, flags):
    # A pipe without a writer would otherwise hold the reader for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
