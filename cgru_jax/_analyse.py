"""What a network does, as a document to compute with and a table to read."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from . import plot
from ._cells import LSTM, AbstractCell
from ._equilibria import Equilibria, enumerate_equilibria, find_equilibria
from ._results import RESULTS
from ._systems import Flow
from .io import save_figure, to_json

PROVABLE = 3  # units; the boxes of a proof are exponential in their number


def analyse(cell: AbstractCell) -> Equilibria:
    """The equilibria of the cell's flow: all of them, proved, where that can be done."""
    flow = Flow(cell)
    if cell.units <= PROVABLE:
        found = enumerate_equilibria(flow)
        if found.complete:
            return found
    # Where the proof stays undecided, what Newton's method meets is better than nothing.
    return find_equilibria(flow)


def document(cell: AbstractCell, found: Equilibria) -> dict:
    """The equilibria as plain values, by their first coordinate.

    **Returns:** a dict ready for JSON: `cell`, `size`, `count`, `index_sum` (None if the
    index of one is not known), `complete` (whether it is proved that there are no others),
    `result`, `message`, and `equilibria`, a list of dicts with `point`, `kind`, `index`,
    `eigenvalues` (`re` and `im`), `growth` and `residual`.
    """
    values = np.asarray(found.eigenvalues)
    columns = {
        "point": found.points,
        "kind": found.kind,
        "index": found.index,
        "eigenvalues": [{"re": row.real, "im": row.imag} for row in values],
        "growth": Flow(cell).growth(found.eigenvalues),
        "residual": found.residual,
    }
    plain = {
        "cell": type(cell).__name__,
        "size": cell.size,
        "count": found.count,
        "index_sum": found.index_sum,
        "complete": found.complete,
        "result": found.result,
        "message": RESULTS[found.result],
        "columns": columns,
        "valid": found.valid,
    }
    plain = json.loads(to_json(plain))
    columns, valid = plain.pop("columns"), plain.pop("valid")
    slots = zip(*columns.values(), strict=True)
    rows = [
        dict(zip(columns, r, strict=True)) for r, v in zip(slots, valid, strict=True) if v
    ]
    plain["equilibria"] = sorted(rows, key=lambda row: row["point"])
    return plain


def portrait(cell: AbstractCell, found: Equilibria, path: Path) -> None:
    """Draw a cell of one or two dimensions, with the numbers beside the picture."""
    draw = {1: plot.flow_line, 2: plot.phase_portrait}[cell.size]
    points = np.asarray(found.points)[np.asarray(found.valid)]
    # The paper's frame, and room for the memory of an LSTM, which leaves it.
    lo = np.minimum(-1.5, 1.2 * points.min(axis=0, initial=0))
    hi = np.maximum(1.5, 1.2 * points.max(axis=0, initial=0))
    box = (lo, hi) if cell.size == 2 else (float(lo[0]), float(hi[0]))
    figure = Figure(figsize=(7, 6), layout="constrained")
    ax = figure.subplots()
    data = draw(Flow(cell), ax, box=box, equilibria=found)
    if cell.size == 2:
        plot.speed_bar(ax)
        ax.set_aspect("auto")  # the memory of an LSTM is a long axis
    if isinstance(cell, LSTM):
        ax.set(xlabel="h", ylabel="c")
    plot.legend(figure)
    save_figure(figure, path, data)


def as_table(analysis: dict) -> str:
    """Such a document as text, one line per equilibrium."""
    lines = [("point", "kind", "index", "eigenvalues", "residual")]
    for row in analysis["equilibria"]:
        values = row["eigenvalues"]
        pairs = zip(values["re"], values["im"], strict=True)
        lines.append(
            (
                _vector(f"{round(x, 8) + 0.0:.8f}" for x in row["point"]),  # no −0
                row["kind"],
                _signed(row["index"]),
                _vector(f"{re:.5g}" + (f"{im:+.5g}i" if im else "") for re, im in pairs),
                f"{row['residual']:.1e}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    text.append(
        f"{analysis['cell']}, dimension {analysis['size']}; equilibria: "
        f"{analysis['count']}; index sum: {_signed(analysis['index_sum'])}; "
        f"complete: {'proved' if analysis['complete'] else 'not proved'}"
    )
    if analysis["index_sum"] not in (1, None):
        # The field of a cell points into a box.
        text.append(
            "The index sum must be +1 (Poincaré–Hopf): an equilibrium is missing, or its "
            "stability is beyond the digits."
        )
    if analysis["result"] != "successful":
        text.append(f"{analysis['result']}: {analysis['message']}")
    return "\n".join(text)


def _signed(number: float | None) -> str:
    return "unknown" if number is None else f"{number:+.0f}" if number else "0"


def _vector(entries) -> str:
    shown = list(entries)
    # A line that holds a state of a hundred numbers is read by nobody; JSON has them all.
    return "(" + ", ".join(shown[:6] + ["…"] * (len(shown) > 6)) + ")"
