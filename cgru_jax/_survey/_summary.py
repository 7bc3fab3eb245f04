"""What a survey has found, read from its parts alone."""

import csv
import io as text
from collections import Counter
from typing import NamedTuple

import numpy as np

from .. import io
from .._files import write_bytes
from ._part import COUNTS

SHOWN = 25  # signatures in a figure
# Half a per cent of all intervals is wrong: a table has hundreds of rows.
DEVIATIONS = 2.8


class Survey(NamedTuple):
    """What is there of a survey.

    - `samples`: networks in the parts that are there; `missing`: parts that are not.
    - `signatures`: `(sinks, saddles, sources, others)` → how many networks have it, the
      commonest first; only networks with a complete proof.
    - `results`: result → how many.
    - `index_sums_off`: complete networks whose index sum is not +1, which no cell can have.
    - `bytes`: of the parts.
    """

    samples: int
    missing: int
    signatures: dict
    results: dict
    index_sums_off: int
    bytes: int

    @property
    def complete(self) -> int:
        """Networks all of whose equilibria are proved to be listed."""
        return sum(self.signatures.values())

    def document(self) -> dict:
        """The same as plain values, with the share of each signature among the complete
        and an interval that holds the true share (Wilson, 99.5 %)."""
        rows = []
        for signature, count in self.signatures.items():
            low, high = _wilson(count, self.complete)
            rows.append(
                dict(zip(COUNTS, signature, strict=True))
                | {
                    "equilibria": sum(signature),
                    "networks": count,
                    "share": count / self.complete,
                    "share_low": low,
                    "share_high": high,
                }
            )
        return {
            "samples": self.samples,
            "missing_parts": self.missing,
            "complete": self.complete,
            "index_sums_off": self.index_sums_off,
            "bytes": self.bytes,
            "bytes_per_sample": self.bytes / self.samples if self.samples else None,
            "results": self.results,
            "most_equilibria": max(map(sum, self.signatures), default=None),
            "signatures": rows,
        }


def read(home) -> Survey:
    """All parts that are there, one at a time.

    **Raises:** `DamagedFile` for a damaged one.
    """
    signatures, results = Counter(), Counter()
    samples = off = size = 0
    parts = sorted(home.present())
    for part in parts:
        table = home.read(part)
        size += home.file(part).stat().st_size
        samples += table.num_rows
        counts = np.stack([table[name].to_numpy() for name in COUNTS], axis=1)
        complete = table["complete"].to_numpy()
        sums = table["index_sum"].to_numpy()
        off += int(np.sum(complete & (sums != 1)))
        distinct, times = np.unique(counts[complete], axis=0, return_counts=True)
        for signature, count in zip(distinct.tolist(), times.tolist(), strict=True):
            signatures[tuple(signature)] += count
        for entry in table["result"].value_counts().to_pylist():
            results[entry["values"]] += entry["counts"]
    # By number, and equal numbers in an order of their own: parts may come in any order.
    ordered = dict(sorted(signatures.items(), key=lambda item: (-item[1], item[0])))
    results = dict(sorted(results.items(), key=lambda item: (-item[1], item[0])))
    missing = home.plan.parts - len(parts)
    return Survey(samples, missing, ordered, results, off, size)


def write(home, seen: Survey) -> None:
    """`summary.json`, `summary.csv` and `signatures.png`, of the parts and nothing else."""
    document = seen.document()
    io.write_json(home.path / "summary.json", document)
    table = text.StringIO()
    rows = document["signatures"]
    names = [*COUNTS, "equilibria", "networks", "share", "share_low", "share_high"]
    writer = csv.DictWriter(table, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(home.path / "summary.csv", table.getvalue().encode())
    if rows:
        from matplotlib.figure import Figure

        figure = Figure(
            figsize=(7, 1.6 + 0.24 * min(len(rows), SHOWN)), layout="constrained"
        )
        data = frequencies(rows, figure.subplots())
        io.save_figure(figure, home.path / "signatures.png", data)


def as_table(seen: Survey) -> str:
    """The summary as lines to read."""
    document = seen.document()
    lines = ["sinks saddles sources others   networks      share"]
    for row in document["signatures"]:
        counts = "".join(f"{row[n]:{w}}" for n, w in zip(COUNTS, (5, 8, 8, 7), strict=True))
        lines.append(f"{counts} {row['networks']:10}  {row['share']:9.3g}")
    lines.append(
        f"networks: {seen.samples}; complete proofs: {seen.complete}; index sum off: "
        f"{seen.index_sums_off}; most equilibria: {document['most_equilibria']}; "
        f"parts missing: {seen.missing}; {document['bytes_per_sample'] or 0:.2f} bytes each"
    )
    return "\n".join(lines)


def frequencies(rows, ax) -> dict:
    """Draw how often the commonest signatures are, with their intervals."""
    shown = rows[:SHOWN]
    place = np.arange(len(shown))
    names = ("share", "share_low", "share_high")
    share, low, high = (np.array([row[name] for row in shown]) for name in names)
    error = np.clip([share - low, high - share], 0, None)
    ax.errorbar(
        share, place, xerr=error, fmt="o", color="#0072B2", ecolor="#777777", capsize=2
    )
    labels = [
        f"{row['sinks']} · {row['saddles']} · {row['sources']}"
        + (f" · {row['others']}" if row["others"] else "")
        for row in shown
    ]
    ax.set(
        xscale="log",
        xlabel="share of the networks, with 99.5 % intervals",
        ylabel="sinks · saddles · sources (· others)",
        yticks=place,
        yticklabels=labels,
    )
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.4)
    if len(rows) > len(shown):
        ax.set_title(f"the {len(shown)} commonest of {len(rows)} signatures", fontsize=10)
    return {"labels": labels, "share": share, "share_low": low, "share_high": high}


def _wilson(count: int, total: int) -> tuple[float, float]:
    z = DEVIATIONS
    share, wide = count / total, z**2 / total
    middle = (share + wide / 2) / (1 + wide)
    half = z / (1 + wide) * np.sqrt(share * (1 - share) / total + wide / (4 * total))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
