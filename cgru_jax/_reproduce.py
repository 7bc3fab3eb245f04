"""Run a folder of experiments, each on its own feet."""

import ast
import difflib
import importlib.util
import json
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from . import __version__, io

# The order in which the papers argue; what is not listed follows by name.
_ORDER = (
    "one_unit",
    "atlas",
    "portraits",
    "slow_cycle",
    "input_pulses",
    "noise",
    "slow_point",
    "update_gate",
)


class Experiment(NamedTuple):
    """A file with `main(out, size) -> dict`, known by its stem."""

    name: str
    path: Path
    title: str


def find_experiments(folder: Path, only: Sequence[str] | None = None) -> list[Experiment]:
    """The experiments in a folder in their fixed order, or those of them that are named.

    **Raises:** `ValueError` if there are none, if one cannot be read as Python's grammar
    wants it, or for a name that is not there.
    """
    paths = {path.stem: path for path in folder.glob("[!_]*.py")}
    if not paths:
        raise ValueError(
            f"no experiments in {folder}: run from a checkout, or give --experiments DIR."
        )
    for name in only or ():
        if name not in paths:
            close = difflib.get_close_matches(name, paths, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(
                f"no experiment {name}: {hint}There are {', '.join(sorted(paths))}."
            )
    rank = {name: place for place, name in enumerate(_ORDER)}
    names = sorted(set(only or paths), key=lambda name: (rank.get(name, len(rank)), name))
    return [Experiment(name, paths[name], _title(paths[name])) for name in names]


def run_experiment(experiment: Experiment, out: Path, size: str) -> dict:
    """Run one experiment into `out/NAME` and leave `numbers.json` there.

    **Arguments:** `size`: `"quick"`, `"default"` or `"full"`.

    **Returns:** what the report needs. An experiment that fails, or does not return what it
    must, has `error` (one line) and `traceback`; nothing but an interruption is raised.
    """
    folder = out / experiment.name
    record = {
        "name": experiment.name,
        "title": experiment.title,
        "cpu_seconds": None,
        "error": None,
        "claims": [],
        "tables": [],
        "figures": [],
    }
    started = time.process_time()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Numbers of an earlier run must not stand for one that fails now.
        (folder / "numbers.json").unlink(missing_ok=True)
        numbers = json.loads(io.to_json(load(experiment).main(folder, size)))
        io.write_json(folder / "numbers.json", numbers)
        record |= _shown(numbers, folder)
    except (Exception, SystemExit) as error:
        text = " ".join(traceback.format_exception_only(error)[-1].split())
        record["error"] = text if len(text) <= 300 else text[:300] + " …"
        record["traceback"] = traceback.format_exc()
    record["cpu_seconds"] = time.process_time() - started
    return record


def summarise(records: Sequence[dict], size: str, planned: int) -> dict:
    """What was run, on what, and what came of it, as one table of plain values."""
    return {
        "version": __version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "size": size,
        "planned": planned,
        "cpu_seconds": round(sum(r["cpu_seconds"] for r in records), 1),
        "experiments": list(records),
    }


def _title(path: Path) -> str:
    try:
        text = ast.get_docstring(ast.parse(path.read_bytes()))
    except (SyntaxError, ValueError):
        text = None  # it will fail when its turn comes, and the others will not
    return text.splitlines()[0] if text else path.stem


def load(experiment: Experiment):
    """The module of an experiment, loaded anew."""
    name = f"cgru_experiment_{experiment.name}"
    spec = importlib.util.spec_from_file_location(name, experiment.path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it loads
    spec.loader.exec_module(module)
    return module


def _shown(numbers: dict, folder: Path) -> dict:
    claims = [
        {"claim": c["claim"], "agrees": c["agrees"]}
        | {key: c.get(key) for key in ("paper", "found", "note")}
        for c in numbers["claims"]
    ]
    for claim in claims:
        if claim["agrees"] not in (True, False, None):
            raise ValueError(f"claim {claim['claim']!r}: agrees is {claim['agrees']!r}.")
    tables = [
        {"title": t["title"], "columns": t["columns"], "rows": t["rows"]}
        for t in numbers.get("tables", [])
    ]
    figures = [
        {"file": Path(f["file"]).name, "caption": f["caption"]}
        for f in numbers.get("figures", [])
    ]
    for figure in figures:
        if not (folder / figure["file"]).is_file():
            raise FileNotFoundError(f"figure {figure['file']} was not written")
    return {"claims": claims, "tables": tables, "figures": figures}
