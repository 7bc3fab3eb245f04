"""Does a plateau of the training loss end where the network goes through a bifurcation?

Networks of two units learn the oscillation of FitzHugh and Nagumo by the paper's recipe.
All equilibria are proved every few steps (at the smallest size: searched for), orbits say
whether the network oscillates, and every change of either is located to the step.
"""

import itertools
from pathlib import Path

import jax
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io, plot

jax.config.update("jax_enable_x64", True)

TARGET = cgru.TARGETS["fitzhugh-nagumo"]
SEEDS = {"quick": (1,), "default": (0, 1, 2), "full": tuple(range(20))}
EPOCHS = {"quick": 300, "default": 1_500, "full": 4_000}
TRAJECTORIES = {"quick": 60, "default": 150, "full": 1_000}
DRAW = 1  # of the data; with draw 0 the smallest size ends before an oscillation begins
EVERY = 25
AROUND = 100  # steps before and after a change in which the loss is compared
STEEP = 1 / 3  # of the loss, in so many steps
TURN = "Hopf: a sink turns into a source"


def drop(losses, step):
    """The part of the loss that goes in the steps after, and in as many before."""
    at = lambda k: losses[min(max(k, 0), len(losses) - 1)]
    after = 1 - at(step + AROUND) / at(step)
    return float(after), float(1 - at(step) / at(step - AROUND))


def changes_explain(record):
    """Whether the changes, in order, lead from the counts at every look to the next."""
    for i, (before, after) in enumerate(itertools.pairwise(record.steps)):
        now = record.counts[i].tolist()
        for change in record.changes:
            if before <= change.step < after and min(now) >= 0:
                if list(change.before[:3]) != now:
                    return False
                now = list(change.after[:3])
        if min(*now, *record.counts[i + 1]) >= 0 and now != record.counts[i + 1].tolist():
            return False
    return True


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    data = cgru.generate(TARGET, trajectories=TRAJECTORIES[size], seed=DRAW)
    recipe = cgru.Recipe(epochs=EPOCHS[size])
    rows, records = [], []
    for seed in SEEDS[size]:
        record = cgru.record_bifurcations(
            cgru.Forecaster.random(jr.key(seed)),
            data,
            recipe=recipe,
            every=EVERY,
            prove=size != "quick",
        )
        records.append(record)
        losses = np.asarray(record.fit.losses)
        rows += [
            [
                seed,
                c.step,
                c.what,
                list(c.before),
                list(c.after),
                c.loss,
                *drop(losses, c.step),
            ]
            for c in record.changes
        ]
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    drawn = plot.training(records[-1], *figure.subplots(2, 1, sharex=True))
    io.save_figure(figure, out / "training_bifurcations.png", drawn)

    births = [r for r in rows if "oscillation begins" in r[2]]
    turns = [(r[0], r[1]) for r in rows if r[2].startswith(TURN)]
    # Steps from a beginning to the nearest step at which the sink turned into a source.
    late = [
        min((abs(r[1] - step) for seed, step in turns if seed == r[0]), default=np.inf)
        for r in births
    ]
    falls, fell = (float(np.median([r[i] for r in births] or np.nan)) for i in (6, 7))
    first = sorted({tuple(r.counts[0].tolist()) for r in records})
    explained = sum(map(changes_explain, records))
    columns = [
        "seed",
        "step",
        "what",
        "before",
        "after",
        "loss",
        "falls after",
        "fell before",
    ]
    return {
        "rows": rows,
        "claims": [
            {
                "claim": "the oscillation begins where the sink turns into a source",
                "paper": "not treated",
                "found": f"{sum(x <= AROUND for x in late)} of {len(births)} beginnings "
                f"within {AROUND} steps of it, at most {max(late, default=np.nan):g} away",
                "agrees": all(x <= AROUND for x in late) if births else None,
                "note": "sinks, sources, saddles at the beginning: "
                + ", ".join(map(str, first)),
            },
            {
                "claim": "counts differ across the changes that are logged, nowhere else",
                "paper": "not treated",
                "found": f"in {explained} of {len(records)} trainings",
                "agrees": explained == len(records),
                "note": f"{len(rows)} changes, counts at every {EVERY} steps",
            },
            {
                "claim": "after the oscillation began the loss falls by a third or more",
                "paper": "not treated",
                "found": f"by {falls:.0%} in {AROUND} steps; by {fell:.0%} in as many "
                f"before: the fall had{'' if fell >= STEEP else ' not'} begun (medians)"
                if births
                else "no oscillation began",
                "agrees": falls >= STEEP if births else None,
                "note": f"{len(births)} beginnings",
            },
        ],
        "tables": [
            {
                "title": "Changes (sinks, sources, saddles, oscillates)",
                "columns": columns,
                "rows": rows,
            }
        ],
        "figures": [
            {
                "file": "training_bifurcations.png",
                "caption": f"The loss of seed {SEEDS[size][-1]}, and its sinks, sources "
                f"and saddles; {len(records[-1].changes)} changes, each a dashed line.",
            }
        ],
    }


if __name__ == "__main__":
    main(Path("results/training_bifurcations"))
