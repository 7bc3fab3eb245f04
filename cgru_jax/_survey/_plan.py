"""What a survey asks, complete enough to answer it again."""

import dataclasses
import difflib
import hashlib
import importlib.metadata
import json

import numpy as np

from .. import __version__
from . import _draw

# Networks are drawn a block at a time, so that number i does not depend on how many follow.
BLOCK = 1_000
PARTS, FEWEST = 1_000, 8  # files: not more than a folder takes, enough to resume by
SMALL_PART, LARGEST_PART = 20_000, 1_000_000  # a second and a minute of one core
MOST = 10**12  # a year of a thousand cores
KEEPS = ("signatures", "rare", "all")
FORMAT = 1
_SOFTWARE = ("jax", "jaxlib", "numpy", "pyarrow")


@dataclasses.dataclass(frozen=True)
class SurveyPlan:
    """A number of random networks, and what to keep of each.

    **Arguments:**

    - `distribution`: `"gauss"` (matrices N(0, 9), biases N(0, 1)), `"wide"` (uniform: U_h
      in ±6, U_r in ±10, b_h in ±1, b_r in ±5), `"paper"` (a row of Table 3, each entry
      times 1 + 0.05 N(0, 1) and plus 0.05 N(0, 1)), or a TOML or JSON file with a law for
      each array: `U_h = {normal = [0, 3]}`, `{uniform = [-1, 1]}`, `{constant = 2}`.
    - `samples`: how many networks.
    - `seed`: a whole number ≥ 0. Network i depends on it and on the distribution alone,
      not on how many there are.
    - `cell`: `"gru"`, `"reset_after"` or `"lstm"`. Every recurrent matrix and bias is drawn
      like that of the candidate (U_h, b_h) or like that of a gate (U_r, b_r).
    - `units`: 1 or 2.
    - `gates`: draw the update gate of a GRU as well; without it z = 1/2.
    - `keep`: `"signatures"` (how many equilibria of each kind), `"rare"` (the same, and
      what is rare in full), or `"all"` (every equilibrium).

    **Fails:** `ValueError` that names the culprit.
    """

    distribution: str
    samples: int
    seed: int = 0
    cell: str = "gru"
    units: int = 2
    gates: bool = False
    keep: str = "signatures"
    laws: dict = dataclasses.field(init=False)

    def __post_init__(self):
        _member("cell", self.cell, tuple(_draw.CELLS))
        _member("keep", self.keep, KEEPS)
        if self.units not in (1, 2):
            raise ValueError(f"units must be 1 or 2, got {self.units}.")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}.")
        if self.samples > MOST:
            raise ValueError(f"samples must be at most 10^12, got {self.samples}.")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be from 0 to 2^64 − 1, got {self.seed}.")
        if self.gates and self.cell == "lstm":
            raise ValueError("gates is for the GRUs: those of an LSTM are always drawn.")
        laws = _draw.resolve(self.distribution, self.cell, self.units, self.gates)
        object.__setattr__(self, "laws", laws)

    @property
    def part(self) -> int:
        """How many networks a part holds; the last one may hold fewer."""
        if self.samples < BLOCK:
            return self.samples
        few = min(SMALL_PART, self.samples // FEWEST)
        many = min(LARGEST_PART, self.samples // PARTS)
        return max(1, max(few, many) // BLOCK) * BLOCK

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.samples // self.part)

    def span(self, part: int) -> tuple[int, int]:
        """The first network of a part and the one after its last."""
        return part * self.part, min((part + 1) * self.part, self.samples)

    def draw(self, start: int, stop: int) -> dict:
        """The arrays of the networks `start` to `stop − 1`, by name, each with a leading
        axis. A network is the same in every range, and in every plan that differs in
        `samples` or `keep` alone."""
        blocks = [
            _draw.draw(self.laws, self.units, self.seed, block, BLOCK)
            for block in range(start // BLOCK, -(-stop // BLOCK))
        ]
        first = start // BLOCK * BLOCK
        return {
            name: np.concatenate([b[name] for b in blocks])[start - first : stop - first]
            for name in self.laws
        }

    def document(self) -> dict:
        """The plan as it stands in `plan.json`: what must agree for results to be equal."""
        software = {name: importlib.metadata.version(name) for name in _SOFTWARE}
        first = hashlib.sha256()
        for name, array in sorted(self.draw(0, min(BLOCK, self.samples)).items()):
            first.update(name.encode() + array.tobytes())
        named = self.distribution in _draw.NAMED
        return {
            "format": FORMAT,
            "software": {"cgru_jax": __version__, **software},
            "distribution": self.distribution if named else "file",
            "laws": self.laws,
            "samples": self.samples,
            "seed": self.seed,
            "cell": self.cell,
            "units": self.units,
            "gates": self.gates,
            "keep": self.keep,
            "part": self.part,
            "first_networks": first.hexdigest(),
        }

    def digest(self) -> str:
        """A short name of the plan that stands in every part."""
        text = json.dumps(self.document(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def differences(theirs: dict, ours: dict) -> list[str]:
    """Where two plans differ, in words."""
    theirs, ours = dict(_flat(theirs)), dict(_flat(ours))
    return [
        f"{place} is {theirs.get(place, 'absent')} there, {ours.get(place, 'absent')} here"
        for place in ours | theirs
        if theirs.get(place) != ours.get(place)
    ]


def _flat(value, place=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, json.dumps(value)


def _member(name: str, value: str, known: tuple) -> None:
    if value not in known:
        close = difflib.get_close_matches(str(value), known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"no {name} {value!r}: {hint}There are {', '.join(known)}.")
