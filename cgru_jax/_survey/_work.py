"""From the number of a part to what is in it."""

from collections import Counter

import jax
import numpy as np

from .._equilibria import enumerate_equilibria
from .._sweep import sweep
from .._systems import Flow
from ._draw import CELLS
from ._part import COUNTS, KIND_NAMES, RESULT_NAMES
from ._plan import SurveyPlan

# Networks per batch of the proof: enough to fill a core, few enough for its cache.
BATCH = 2_500
AT_ONCE = 20_000  # networks whose equilibria are held in memory: 40 MB
# A signature that so few of a part have is rare; what is kept in full stays small.
RARE = 3


def examine(plan: SurveyPlan, part: int) -> tuple[dict, list]:
    """The columns of a part, and what it holds of the rare in full."""
    start, stop = plan.span(part)
    columns, in_full = [], []
    for first in range(start, stop, AT_ONCE):
        last = min(first + AT_ONCE, stop)
        arrays = plan.draw(first, last)
        found = _prove(plan, arrays, min(BATCH, plan.part))
        columns.append(_columns(found, plan.keep))
        if plan.keep != "signatures":
            # More than will be kept, but no more than a few of each from here.
            in_full += _in_full(_rare(columns[-1]), first, arrays, found, columns[-1])
    columns = {
        name: [row for some in columns for row in some[name]]
        if isinstance(columns[0][name], list)
        else np.concatenate([some[name] for some in columns])
        for name in columns[0]
    }
    rare = {start + i for i in _rare(columns)}
    return columns, [one for one in in_full if one["sample"] in rare]


def _prove(plan, arrays, batch):
    """The equilibria of these networks, as NumPy arrays."""
    size = len(next(iter(arrays.values())))
    if size < batch:
        # The end of a survey fills its batch, lest it be a program of its own.
        arrays = {
            name: np.concatenate([a, np.repeat(a[-1:], batch - size, axis=0)])
            for name, a in arrays.items()
        }

    def prove(arrays):
        found = enumerate_equilibria(Flow(CELLS[plan.cell](**arrays)))
        return {
            "kind": found.kind._value,
            "valid": found.valid,
            "points": found.points,
            "index": found.index,
            "index_sum": found.index_sum,
            "complete": found.complete,
            "result": found.result._value,
        }

    # A proof needs double precision, whatever the program that asks for it uses.
    with jax.enable_x64(True):
        found = sweep(prove, arrays, chunk=batch)
    return {name: np.asarray(x)[:size] for name, x in found.items()}


def _columns(found, keep):
    names = np.where(found["valid"], KIND_NAMES[found["kind"]], "")
    plain = [np.sum(names == kind, axis=1) for kind in ("sink", "saddle", "source")]
    others = np.sum(found["valid"], axis=1) - sum(plain)
    columns = {
        name: x.astype(np.uint8) for name, x in zip(COUNTS, [*plain, others], strict=True)
    }
    columns["index_sum"] = [
        None if np.isnan(x) else int(x) for x in found["index_sum"].tolist()
    ]
    columns["complete"] = found["complete"]
    columns["result"] = RESULT_NAMES[found["result"]].tolist()
    if keep == "all":
        counts = found["valid"].sum(axis=1)
        columns["kinds"] = [row[:k].tolist() for row, k in zip(names, counts, strict=True)]
        columns["points"] = [
            row[:k].ravel().tolist() for row, k in zip(found["points"], counts, strict=True)
        ]
    return columns


def _rare(columns) -> list[int]:
    """Rows whose signature at most `RARE` rows have, and those without a complete proof."""
    signatures = list(zip(*(columns[name].tolist() for name in COUNTS), strict=True))
    tally = Counter(signatures)
    complete = columns["complete"]
    return [i for i, s in enumerate(signatures) if tally[s] <= RARE or not complete[i]]


def _in_full(rows, first, arrays, found, columns):
    for i in rows:
        valid = found["valid"][i]
        yield {
            "sample": first + i,
            "signature": {name: columns[name][i] for name in COUNTS},
            "complete": found["complete"][i],
            "result": columns["result"][i],
            "parameters": {name: array[i] for name, array in arrays.items()},
            "equilibria": [
                {"kind": KIND_NAMES[kind], "point": point, "index": index}
                for kind, point, index in zip(
                    found["kind"][i][valid],
                    found["points"][i][valid],
                    found["index"][i][valid],
                    strict=True,
                )
            ],
        }
