"""Doing a survey: what is missing of it, here or on any executor."""

import concurrent.futures
import importlib.util
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

from .._files import DamagedFile
from . import _summary, _work
from ._folder import Folder
from ._plan import SurveyPlan
from ._summary import Survey

# Parts handed out at a time: enough for a thousand workers, few enough to keep track of.
IN_FLIGHT = 2_000


def survey(
    plan: SurveyPlan,
    folder: str | Path,
    *,
    executor: concurrent.futures.Executor | None = None,
    shard: tuple[int, int] = (1, 1),
    repair: bool = False,
    callback: Callable[[int, int], object] | None = None,
) -> Survey:
    """Prove the equilibria of many random networks and keep what the plan says.

    Stop it at any moment and call it again: parts that are there stay, and the result is
    that of an uninterrupted survey, bit for bit. Several processes may work on one folder.

    **Arguments:**

    - `folder`: holds `plan.json`, `parts/*.parquet` (one row per network, in order: how
      many sinks, saddles, sources and others, index sum, completeness, result), `rare/`
      where the plan keeps it, and `summary.json`, `summary.csv` and `signatures.png` once
      all parts are there.
    - `executor`: any of `concurrent.futures`' kind whose workers see `folder` under the
      same name; `None` works here, on all devices of JAX.
    - `shard`: `(k, n)`: only every n-th part from the k-th on, counting from 1, for
      independent jobs.
    - `repair`: do damaged parts again.
    - `callback`: called with the number of networks of this shard that are done, and of
      all of them, at the start and after each part.

    **Returns:** `Survey`, of all parts that are there, whoever made them.

    **Fails:** `ValueError` if the folder holds another plan (the difference is named), the
    disk is too small, or a package has to be installed; `DamagedFile` that names damaged
    parts; `OSError` from the disk, where what is done stays.
    """
    _check_extra()
    index, of = shard
    if not 1 <= index <= of:
        raise ValueError(f"shard must be k/n with 1 ≤ k ≤ n, got {index}/{of}.")
    home = Folder(plan, Path(folder))
    home.claim()
    home.sweep_up()
    ours = range(index - 1, plan.parts, of)
    present = home.present()
    done = [part for part in ours if part in present]
    damaged = _damaged(home, done)
    if damaged and not repair:
        more = f"; and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        raise DamagedFile(
            "; ".join(list(damaged.values())[:3]) + f"{more}. Add --repair (repair=True) "
            "to compute what is damaged again."
        )
    missing = [part for part in ours if part not in present or part in damaged]
    home.check_room(len(missing))
    # Another process may be at the same work: begin where it probably does not.
    turn = random.SystemRandom().randrange(len(missing)) if missing else 0
    missing = missing[turn:] + missing[:turn]

    sizes = {part: stop - start for part in ours for start, stop in [plan.span(part)]}
    total = sum(sizes.values())
    so_far = total - sum(sizes[part] for part in missing)
    if callback:
        callback(so_far, total)
    redo = frozenset(damaged)
    works = _here if executor is None else _away
    for part in works(executor, plan, str(home.path), missing, redo):
        so_far += sizes[part]
        if callback:
            callback(so_far, total)
    seen = _summary.read(home)
    if not seen.missing:
        _summary.write(home, seen)
    return seen


def work(plan: SurveyPlan, folder: str, part: int, redo: bool = False) -> int:
    """Make one part, unless it is there: what each worker does."""
    home = Folder(plan, Path(folder))
    if redo or not home.file(part).exists():
        columns, rare = _work.examine(plan, part)
        home.write(part, columns, rare)
    return part


def _here(_, plan, folder, missing, redo):
    for part in missing:
        yield work(plan, folder, part, part in redo)


def _away(executor, plan, folder, missing, redo):
    waiting = iter(missing)
    flying = set()
    try:
        while True:
            for part in waiting:
                flying.add(executor.submit(work, plan, folder, part, part in redo))
                if len(flying) >= IN_FLIGHT:
                    break
            if not flying:
                return
            first = concurrent.futures.FIRST_COMPLETED
            ended, flying = concurrent.futures.wait(flying, return_when=first)
            for future in ended:
                yield future.result()
    finally:
        for future in flying:
            future.cancel()


def _damaged(home, parts) -> dict[int, str]:
    messages = {}
    for part in parts:
        try:
            home.read(part)
        except DamagedFile as error:
            messages[part] = str(error).rstrip(".")
    return messages


def _check_extra() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            "a survey is kept in Parquet, which needs one more package: "
            "pip install 'cgru-jax[sweep]'"
        )


def parse_shard(text: str) -> tuple[int, int]:
    """`3/16` as two numbers."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    shard = tuple(map(int, match.groups())) if match else (0, 0)
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard must be k/n with 1 ≤ k ≤ n, like 3/16; got {text!r}.")
    return shard


def shard_of_slurm(environment=os.environ) -> tuple[int, int] | None:
    """Which share of the work a job of SLURM is to do, from its variables.

    Element of a job array, task of a step, or task of a step of an element; `None` outside
    of SLURM.

    **Raises:** `ValueError` for variables that are not what SLURM sets.
    """

    def number(name, otherwise=None):
        text = environment.get(name, otherwise)
        if text is None or not text.isdecimal():
            raise ValueError(
                f"{name} is {text or 'not set'}, which SLURM does not do; say --shard k/n."
            )
        return int(text)

    index, of = 0, 1
    if "SLURM_ARRAY_TASK_ID" in environment:
        of = number("SLURM_ARRAY_TASK_COUNT")
        from_first = number("SLURM_ARRAY_TASK_ID") - number("SLURM_ARRAY_TASK_MIN", "0")
        index = from_first // max(1, number("SLURM_ARRAY_TASK_STEP", "1"))
        if not 0 <= index < of:
            raise ValueError(
                f"SLURM's array has {of} elements with gaps between their numbers; number "
                "them from 1 on, or say --shard k/n."
            )
    # A batch script has SLURM_PROCID and SLURM_NTASKS too, but only srun starts the tasks.
    if "SLURM_STEP_NUM_TASKS" in environment:
        tasks = number("SLURM_STEP_NUM_TASKS")
        index, of = index * tasks + number("SLURM_PROCID"), of * tasks
    return None if of == 1 else (index + 1, of)
