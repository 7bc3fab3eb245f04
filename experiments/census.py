"""Which equilibria have random two-unit GRUs, and how often?

Networks of three distributions, each proved: how many sinks, saddles and sources they have
as a flow and as a map (stability by |1 + λ|); and the GRU whose reset gate stands after the
matrix. They are the networks of `cgru-jax census --seed 0`. How many equilibria there can
be is another question: `most_equilibria`.
"""

from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import KINDS, io, plot

jax.config.update("jax_enable_x64", True)

CELLS = {"gru": cgru.GRU, "reset_after": cgru.ResetAfterGRU}
DISTRIBUTIONS = ("gauss", "wide", "paper")
DRAWS = {"quick": 20, "default": 5_000, "full": 1_000_000}
CHUNK = 250
SHOWN = 24  # signatures in the figure


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    frequencies = {name: count(name, "gru", DRAWS[size]) for name in DISTRIBUTIONS}
    if size != "quick":  # another program to compile
        reset = "wide, reset after"
        frequencies[reset] = count("wide", "reset_after", DRAWS[size])
    return {
        "frequencies": frequencies,
        "claims": claims(frequencies),
        "tables": [table(frequencies)],
        "figures": [draw_frequencies(out / "frequencies.png", frequencies)],
    }


def count(name, cell, samples) -> dict:
    """How many networks of a distribution have which signature."""
    plan = cgru.SurveyPlan(name, samples, seed=0, cell=cell)
    tally = {"flow": Counter(), "map": Counter()}
    off = complete = 0
    for start in range(0, samples, 50_000):
        seen = look(cell, plan.draw(start, min(start + 50_000, samples)))
        complete += int(seen["complete"].sum())
        off += int((seen["complete"] & (seen["index_sum"] != 1)).sum())
        for reading, counter in tally.items():
            counter.update(map(tuple, seen[reading][seen["complete"]].tolist()))
    return {
        "samples": samples,
        "complete": complete,
        "index_sums_off": off,
        **{r: [[*s, n] for s, n in c.most_common()] for r, c in tally.items()},
    }


def look(cell, arrays) -> dict:
    """Of many networks, with a proof: `flow` and `map`, the sinks, saddles and sources of
    both readings of time, `complete`, `index_sum`."""

    def prove(arrays):
        return cgru.enumerate_equilibria(cgru.Flow(CELLS[cell](**arrays)))

    size = len(arrays["U_h"])
    if size < CHUNK:  # one by one: the program for one network is compiled already
        each = [prove({k: a[i] for k, a in arrays.items()}) for i in range(size)]
        found = jax.tree.map(lambda *x: jnp.stack(x), *each)
    else:
        found = cgru.sweep(prove, arrays, chunk=CHUNK)
    valid, values = np.asarray(found.valid), np.asarray(found.eigenvalues)
    kinds = (KINDS.sink, KINDS.saddle, KINDS.source)
    flow = np.stack([np.asarray(found.tally(kind)) for kind in kinds], axis=-1)
    grows = np.sum(np.abs(1 + values) > 1, axis=-1)  # multipliers outside the circle
    times = np.stack([np.sum(valid & (grows == k), axis=-1) for k in range(3)], axis=-1)
    return {
        "flow": flow,
        "map": times,
        "complete": np.asarray(found.complete) & (flow.sum(axis=-1) == valid.sum(axis=-1)),
        "index_sum": np.asarray(found.index_sum),
    }


def claims(frequencies):
    seen = {tuple(s[:3]) for f in frequencies.values() for s in f["flow"]}
    none = {n: sum(s[3] for s in f["flow"] if s[0] == 0) for n, f in frequencies.items()}
    off = sum(f["index_sums_off"] for f in frequencies.values())
    complete = sum(f["complete"] for f in frequencies.values())
    samples = sum(f["samples"] for f in frequencies.values())
    words = lambda signatures: ", ".join(" · ".join(map(str, s)) for s in signatures)
    return [
        {
            "claim": "a network has a sink",
            "paper": "in every row but xiv",
            "found": ", ".join(
                f"{n} of {f['samples']} ({name})"
                for (name, f), n in zip(frequencies.items(), none.values(), strict=True)
            )
            + " have none",
            "agrees": None,
            "note": "of networks with several equilibria: `most_equilibria`",
        },
        {
            "claim": "the indices of a network sum to +1",
            "paper": "implied (Poincaré–Hopf)",
            "found": f"{complete - off} of {complete} complete proofs ({samples} networks)",
            "agrees": off == 0 and complete > 0,
            "note": f"signatures met at random: {words(sorted(seen))}",
        },
    ]


def table(frequencies):
    shares = {
        (name, reading): {tuple(s[:3]): s[3] / f["complete"] for s in f[reading]}
        for name, f in frequencies.items()
        for reading in ("flow", "map")
    }
    signatures = sorted(
        {s for column in shares.values() for s in column}, key=lambda s: (sum(s), s)
    )
    return {
        "title": "Share of random networks (z = 1/2), as a flow and as a map",
        "columns": ["sinks · saddles · sources", *(f"{n}, {r}" for n, r in shares)],
        "rows": [
            [
                " · ".join(map(str, s)),
                *(f"{c[s]:.3g}" if s in c else "" for c in shares.values()),
            ]
            for s in signatures
        ],
    }


def draw_frequencies(path, frequencies):
    columns = {
        (name, reading): {tuple(s[:3]): s[3] / f["complete"] for s in f[reading]}
        for name, f in frequencies.items()
        for reading in ("flow", "map")
    }
    largest = Counter()
    for column in columns.values():
        for s, share in column.items():
            largest[s] = max(largest[s], share)
    shown = [s for s, _ in largest.most_common(SHOWN)]
    figure = Figure(figsize=(9, 1.8 + 0.25 * len(shown)), layout="constrained")
    axes = figure.subplots(1, len(frequencies), sharey=True)
    looks = {"flow": ("o", "#0072B2", 7), "map": ("x", "#D55E00", 6)}
    for ax, name in zip(axes, frequencies, strict=True):
        for reading, (shape, colour, width) in looks.items():
            column = columns[name, reading]
            place = [i for i, s in enumerate(shown) if s in column]
            share = [column[shown[i]] for i in place]
            ax.plot(share, place, shape, color=colour, markersize=width, label=reading,
                    fillstyle="none", markeredgewidth=1.6)  # fmt: skip
        ax.set(xscale="log", title=name, xlabel="share of the networks")
        ax.grid(alpha=0.3)
    axes[0].set(
        yticks=range(len(shown)),
        yticklabels=[" · ".join(map(str, s)) for s in shown],
        ylabel="sinks · saddles · sources",
    )
    axes[0].invert_yaxis()
    plot.legend(figure)
    data = {"signatures": shown, "shares": {f"{n}, {r}": [c.get(s) for s in shown]
            for (n, r), c in columns.items()}}  # fmt: skip
    io.save_figure(figure, path, data)
    caption = (
        "How often random two-unit GRUs have which equilibria, read as a flow (circles) "
        "and as a map (crosses); z = 1/2."
    )
    return {"file": path.name, "caption": caption}
