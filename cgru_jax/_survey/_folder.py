"""A survey's folder: what is there, what is missing, and one part more.

A part is written under another name and renamed when it is on disk, so that a part that has
its name is whole and done. Nothing is locked: who writes a part that is there already
writes the same bytes.
"""

import json
import shutil
import time
from pathlib import Path

from .. import io
from .._files import DamagedFile, read_text, write_bytes, write_new
from ._part import Damaged, decode, encode
from ._plan import SurveyPlan, differences

# No write takes an hour: what is older was left by a process that is dead.
STALE = 3_600.0
# A part is smaller; more is no part, and is not read into memory.
LARGEST = 4 * 2**30
_LEAST_BYTES = {"signatures": 0.2, "rare": 0.2, "all": 8.0}  # of a network, compressed


class Folder:
    """The folder of one survey, made if need be, and refused if it is another's."""

    def __init__(self, plan: SurveyPlan, path: Path):
        self.plan, self.path = plan, Path(path)
        self.digest = plan.digest()
        self.parts = self.path / "parts"
        self.rare = self.path / "rare"

    def claim(self) -> None:
        """Write the plan, or find it there.

        **Raises:** `ValueError` with the difference if the folder holds another plan, or
        if the disk is too small for this one;
        `DamagedFile`; `OSError` if nothing can be written.
        """
        ours = self.plan.document()
        self.parts.mkdir(parents=True, exist_ok=True)
        path = self.path / "plan.json"
        # Found out before the work: the folder may be of someone else.
        write_bytes(self.parts / ".writable", b"").unlink(missing_ok=True)
        if not path.exists() and any(self.parts.glob("*.parquet")):
            raise DamagedFile(
                f"{path} is missing, and there are parts: whose they are cannot be told. "
                "Put the plan back, or choose another folder."
            )
        # Of two who come at once one writes, and both read what is there.
        if not (path.exists() and path.stat().st_size):
            self.check_room(self.plan.parts)  # a plan that is refused takes no folder
            write_new(path, (io.to_json(ours) + "\n").encode())
        try:
            theirs = json.loads(read_text(path))
        except (json.JSONDecodeError, RecursionError):
            theirs = None
        if not isinstance(theirs, dict):
            raise DamagedFile(f"{path}: damaged; it is no plan.")
        other = differences(theirs, json.loads(io.to_json(ours)))
        if other:
            more = f"; and {len(other) - 4} more" if len(other) > 4 else ""
            raise ValueError(
                f"{self.path} holds another survey: {'; '.join(other[:4])}{more}. Choose "
                "another folder, or ask what it was made for."
            )

    def name(self, part: int) -> str:
        return f"{part:0{max(6, len(str(self.plan.parts - 1)))}d}"

    def file(self, part: int) -> Path:
        return self.parts / f"{self.name(part)}.parquet"

    def present(self) -> set[int]:
        """The parts that are there, whatever is in them.

        **Raises:** `DamagedFile` for a Parquet file that is no part of this survey.
        """
        names = {path.name for path in self.parts.glob("*.parquet")}
        found = {
            int(name.split(".")[0]) for name in names if name.split(".")[0].isdecimal()
        }
        known = {part for part in found if part < self.plan.parts}
        strange = names - {self.file(part).name for part in known}
        if strange:
            raise DamagedFile(
                f"{self.parts / min(strange)} is no part of this survey; move it away."
            )
        return known

    def read(self, part: int):
        """The table of a part, proved to be undamaged.

        **Raises:** `DamagedFile` that names it.
        """
        path = self.file(part)
        if path.stat().st_size > LARGEST:
            raise DamagedFile(f"{path}: damaged; it is far too large.")
        try:
            rare = b""
            if self.plan.keep != "signatures":
                # Its absence is damage too: the part says that it was there.
                rare = self._rare(part).read_bytes() if self._rare(part).exists() else b""
            return decode(path.read_bytes(), self.plan, self.digest, part, rare)
        except Damaged as error:
            raise DamagedFile(f"{path}: damaged; {error}.") from None

    def write(self, part: int, columns: dict, rare: list) -> None:
        """Put a part into its place, the rare first: the part says that all is done."""
        text = b""
        if self.plan.keep != "signatures":
            document = {"survey": self.digest, "part": part, "sets": rare}
            text = (io.to_json(document) + "\n").encode()
            write_bytes(self._rare(part), text)
        write_bytes(self.file(part), encode(self.digest, part, columns, text))

    def _rare(self, part: int) -> Path:
        return self.rare / f"{self.name(part)}.json"

    def check_room(self, missing: int) -> None:
        """Refuse what cannot fit on the disk, before the work."""
        least = missing * self.plan.part * _LEAST_BYTES[self.plan.keep]
        free = shutil.disk_usage(self.path).free
        if least > free:
            raise ValueError(
                f"{self.path} has room for {free / 1e9:.3g} GB; samples "
                f"{self.plan.samples} need {least / 1e9:.3g} GB and more."
            )

    def sweep_up(self) -> None:
        """Remove what processes that were killed had begun to write."""
        for folder in (self.path, self.parts, self.rare):
            for path in folder.glob(".*.tmp"):
                try:
                    if time.time() - path.stat().st_mtime > STALE:
                        path.unlink()
                except FileNotFoundError:
                    pass  # another did it
