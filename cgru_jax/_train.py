"""Train networks on a target or on a file, and say what they learned."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from . import io, plot
from ._files import append_line, read_text, write_bytes
from ._learning import (
    RECIPES,
    Checkpoint,
    Dynamics,
    Fit,
    Forecaster,
    TimeSeries,
    fit,
    generate,
    reverse_engineer,
)
from ._targets import TARGETS, Target


class Job(NamedTuple):
    """What is to be trained on what; `target` is None for a user's own data."""

    name: str
    target: Target | None
    data: TimeSeries
    recipe: str
    noise: str
    units: int
    seeds: int

    @property
    def models(self) -> Forecaster:
        """The networks as they begin, stacked: the seed alone tells one from another."""
        observed = self.data.train.shape[2]
        draw = lambda key: Forecaster.random(key, units=self.units, observed=observed)
        return eqx.filter_vmap(draw)(jax.vmap(jax.random.key)(jnp.arange(self.seeds)))


def prepare(target: str, units: int, seeds: int, recipe: str, noise: str | None) -> Job:
    """The job that the command line asks for, with its data, all checked.

    **Raises:** `ValueError` that names the culprit; `DamagedFile`; `OSError`.
    """
    if recipe not in RECIPES:
        raise ValueError(f"--recipe must be one of {', '.join(RECIPES)}, got {recipe}.")
    for option, value in (("--units", units), ("--seeds", seeds)):
        if value < 1:
            raise ValueError(f"{option} must be 1 or more, got {value}.")
    if target in TARGETS:
        known = TARGETS[target]
        noise = noise or (known.paper_noise if recipe == "paper" else "none")
        data = generate(known, noise=noise)  # one draw for all networks, as in the paper
        return Job(target, known, data, recipe, noise, units, seeds)
    path = Path(target)
    if path.suffix not in (".csv", ".npz"):
        raise ValueError(
            f"no target {target}: there are {', '.join(TARGETS)}, or a file FILE.csv or "
            "FILE.npz of your own."
        )
    if noise not in (None, "none"):
        raise ValueError(
            f"--noise {noise} is for a target that is generated; {path} has its own noise."
        )
    data = io.read_trajectories(path)
    least = RECIPES[recipe].shortest + 1
    if RECIPES[recipe].ramp and data.train.shape[1] < least:
        raise ValueError(
            f"{path}: a trajectory has {data.train.shape[1]} samples, but --recipe "
            f"{recipe} begins with {least}. Give longer ones, or --recipe paper."
        )
    return Job(path.stem, None, data, recipe, "none", units, seeds)


def train(
    job: Job, out: Path | None, resume: bool, show: Callable
) -> tuple[Fit, list[Dynamics], dict]:
    """Train all networks of a job and look into each.

    **Arguments:**

    - `out`: a folder for checkpoint, log, figures and report; None leaves no traces.
    - `resume`: go on from the checkpoint that is there.
    - `show`: is called with step, steps and the losses, after each block.

    **Returns:** what was fitted, the dynamics of each network, and the document.
    """
    since = None
    if resume:
        if out is None:
            raise ValueError("--resume needs --out, the folder that holds the checkpoint.")
        since = io.read_checkpoint(out / "checkpoint.npz")
    elif out is not None and (out / "checkpoint.npz").exists():
        raise ValueError(
            f"{out} holds the checkpoint of a training. Go on from it with --resume, or "
            "give another --out."
        )
    fitted = fit(
        job.models,
        job.data,
        recipe=job.recipe,
        resume=since,
        callback=_keeper(out, since, show),
    )
    starts = job.data.heldout[:, 0] if job.data.clean is None else job.data.clean[:, 0]
    seen = [
        reverse_engineer(
            jax.tree.map(lambda x, i=i: x[i], fitted.model),
            job.target,
            starts=starts,
            step=float(job.data.step),
        )
        for i in range(job.seeds)
    ]
    document = _document(job, fitted, seen)
    if out is not None:
        _write(out, job, fitted, seen, document)
    return fitted, seen, document


def _keeper(out, since: Checkpoint | None, show):
    """What is done after each block: checkpoint, log, bar."""
    began = time.monotonic()
    if out is not None:
        began -= _cut_back(out / "log.jsonl", since.step if since else 0)

    def keep(progress):
        if out is not None:
            io.write_checkpoint(out / "checkpoint.npz", progress.checkpoint)
            line = {
                "step": progress.step,
                "loss": [x if np.isfinite(x) else None for x in progress.loss.tolist()],
                "seconds": round(time.monotonic() - began, 3),
            }
            append_line(out / "log.jsonl", json.dumps(line))
        show(progress.step, progress.steps, progress.loss)

    return keep


def _cut_back(log: Path, step: int) -> float:
    """Leave of a log what was written up to a step; the seconds that this had taken.

    A kill may have left half a line.
    """
    kept, seconds = [], 0.0
    for line in read_text(log).splitlines() if step and log.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if entry["step"] > step:
            break
        kept.append(line)
        seconds = entry["seconds"]
    write_bytes(log, "".join(f"{line}\n" for line in kept).encode())
    return seconds


def _document(job, fitted, seen):
    failed = np.asarray(fitted.failed_at)
    rows = []
    for i, found in enumerate(seen):
        row = {
            "seed": i,
            "train_loss": fitted.train_loss[i],
            "heldout_loss": fitted.heldout_loss[i],
            "heldout_loss_with_noise": fitted.noisy_loss[i],
            "failed_at": None if failed[i] < 0 else int(failed[i]),
            **found.document(),
        }
        rows.append(row)
    truth = dict(job.target.truth) if job.target else {}
    document = {
        "target": job.name,
        "recipe": job.recipe,
        "noise": job.noise,
        "units": job.units,
        "step": job.data.step,
        "truth": truth,
        "seeds": rows,
    }
    return json.loads(io.to_json(document))


def _write(out, job, fitted, seen, document):
    io.write_json(out / "training.json", document)
    for i in range(job.seeds):
        model = jax.tree.map(lambda x, i=i: x[i], fitted.model)
        arrays = {n: getattr(model.cell, n) for n in model.cell._fields()}
        io.write_json(out / "models" / f"seed_{i}.json", {"cell": "gru"} | arrays)
        io.write_json(out / "models" / f"readout_{i}.json", {"C": model.C, "c": model.c})
    best = int(np.nanargmin(np.asarray(fitted.train_loss)))
    folder = out / job.name
    figure, data = picture(job, jax.tree.map(lambda x: x[best], fitted.model), seen[best])
    io.save_figure(figure, folder / "figure_8.png", data)
    figure, data = curves(fitted)
    io.save_figure(figure, folder / "losses.png", data)
    columns = ["seed", "train_loss", "heldout_loss", "period", "signature", "index_sum"]
    record = {
        "name": job.name,
        "title": f"{job.seeds} networks of {job.units} units, recipe {job.recipe}, noise "
        f"{job.noise}",
        "cpu_seconds": None,
        "error": None,
        "claims": [],
        "tables": [
            {
                "title": "What each network learned (signature: sinks, sources, saddles)",
                "columns": [*columns, "verdict"],
                "rows": [[r[k] for k in (*columns, "verdict")] for r in document["seeds"]],
            }
        ],
        "figures": [
            {
                "file": "figure_8.png",
                "caption": f"The flow, what seed {best} made of it, and its forecast of a "
                "trajectory that it has not seen.",
            },
            {"file": "losses.png", "caption": "Training losses, one line for each seed."},
        ],
    }
    summary = {"experiments": [record], "planned": 1, "target": job.name}
    io.write_report(out / "report.html", summary, out, "What the networks learned")


def picture(job: Job, model: Forecaster, found: Dynamics) -> tuple[Figure, dict]:
    """Figure 8 for one network: three rows."""
    figure = Figure(figsize=(5, 12), layout="constrained")
    data = plot.learned(model, found, job.data, figure.subplots(3, 1), job.target)
    plot.legend(figure, columns=3)
    return figure, data


def curves(fitted: Fit) -> tuple[Figure, dict]:
    """The training loss against the step, one line for each network."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    losses = np.asarray(fitted.losses)
    ax.semilogy(losses.T, linewidth=0.8, color="#0072B2", alpha=0.6)
    ax.set(xlabel="step", ylabel="training loss, eq. (14)")
    return figure, {"losses": losses}


def as_table(document: dict) -> str:
    """The document as text, one line per network."""
    lines = [("seed", "train loss", "held-out loss", "period", "sinks, sources, saddles")]
    for row in document["seeds"]:
        losses = [row["train_loss"], row["heldout_loss"], row["period"]]
        shown = ["none" if x is None else f"{x:.5g}" for x in losses]
        lines.append((str(row["seed"]), *shown, ", ".join(map(str, row["signature"]))))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    best = min(document["seeds"], key=lambda r: (r["train_loss"] is None, r["train_loss"]))
    return "\n".join([*text, f"seed {best['seed']}: {best['verdict']}"])
