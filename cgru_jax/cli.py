"""The command line: `cgru-jax`.

Heavy modules are imported inside the commands: help and version answer at once.
"""

import contextlib
import decimal
import errno
import gc
import os
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from . import __version__
from ._files import DamagedFile, write_bytes
from ._theory_cli import app as theory

DONE, INCOMPLETE, BAD_INPUT, DAMAGED, INTERRUPTED = 0, 1, 2, 3, 130

app = cyclopts.App(
    name="cgru-jax",
    version=__version__,
    help="Equilibria, bifurcations and portraits of gated recurrent units.",
    help_epilogue="Add --debug to any command for the traceback of an error. Exit status: "
    "0 done, 1 part of the work is missing, 2 bad input, 3 damaged file, 130 interrupted.",
    help_format="plaintext",
    help_formatter="plain",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(theory)
_Flag = Annotated[bool, Parameter(negative="")]


def _whole(_, tokens) -> int:
    text = tokens[0].value
    with contextlib.suppress(ValueError):
        return int(text)
    # A million is 1e6 to most; what is no whole number must not become one.
    with contextlib.suppress(ArithmeticError):
        number = decimal.Decimal(text)
        if number.adjusted() < 100 and number == number.to_integral_value():
            return int(number)
    raise ValueError(f"{text} is no whole number")


_Whole = Annotated[int, Parameter(converter=_whole, allow_leading_hyphen=True)]


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    **Returns:** the exit status: 0 if the work was done, whatever it found; 1 if part of
    the work is missing; 2 for bad input; 3 for a damaged file; 130 when interrupted.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in argv
    argv = [argument for argument in argv if argument != "--debug"]
    try:
        return app(argv, exit_on_error=False, print_error=False) or DONE
    except KeyboardInterrupt:
        return _fail("interrupted; what was written stays", INTERRUPTED, debug)
    except BrokenPipeError:
        # The reader of our output left (`| head`): nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INCOMPLETE
    except DamagedFile as error:
        return _fail(str(error), DAMAGED, debug)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        what = f"{where}{error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            cure = "what is done stays: make room and run the same command again, with "
            cure += "--resume where it has that option"
            return _fail(f"{what}; {cure}", INCOMPLETE, debug)
        return _fail(what, BAD_INPUT, debug)
    except (cyclopts.CycloptsError, ValueError) as error:
        return _fail(str(error), BAD_INPUT, debug)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        return _fail(f"unexpected {what} (--debug shows where)", INCOMPLETE, debug)


@app.command
def analyse(
    file: Path,
    *,
    out: Path | None = None,
    json: _Flag = False,
) -> int:
    """Print the equilibria of the network in a model file, its inputs held at zero.

    Parameters
    ----------
    file
        A model file, TOML or JSON: cell = "gru", "reset_after" or "lstm", and its arrays.
    out
        A folder for equilibria.json and, in one or two dimensions, portrait.png.
    json
        Print one JSON document instead of a table.
    """
    if out is not None:
        _make_writable(out)
    _use_x64()
    from . import _analyse, io

    cell = io.read_model(file)
    found = _analyse.analyse(cell)
    analysis = {"file": str(file)} | _analyse.document(cell, found)
    if out is not None:
        io.write_json(out / "equilibria.json", analysis)
        if cell.size <= 2:
            _analyse.portrait(cell, found, out / "portrait.png")
    print(io.to_json(analysis) if json else _analyse.as_table(analysis), flush=True)
    # Equilibria for which there was no room were found and are not in the answer.
    return INCOMPLETE if analysis["result"] == "capacity" else DONE


@app.command
def reproduce(
    *,
    out: Path = Path("results"),
    only: Annotated[list[str] | None, Parameter(negative="", consume_multiple=True)] = None,
    quick: _Flag = False,
    full: _Flag = False,
    experiments: Path | None = None,
) -> int:
    """Repeat the papers' experiments and write numbers, figures and a report.

    Open OUT/report.html first. Numbers are in OUT/NAME/numbers.json.

    Parameters
    ----------
    out
        The folder for the results.
    only
        Names of experiments; without it, all of them.
    quick
        Every experiment at its smallest honest size.
    full
        Every experiment at the papers' size.
    experiments
        The folder of experiments; without it, the one in the checkout.
    """
    if quick and full:
        raise ValueError("--quick and --full exclude each other.")
    if only == []:
        raise ValueError("--only needs the name of an experiment.")
    if experiments is None:
        experiments = Path(__file__).parent.parent / "experiments"
    _spend_little(full)
    from . import _reproduce, io

    chosen = _reproduce.find_experiments(experiments, only)
    _make_writable(out)
    _use_x64()
    size = "quick" if quick else "full" if full else "default"
    records = []
    try:
        _run(chosen, out, size, records)
    finally:
        # Also when interrupted: what is done is in the report, and the rest is counted.
        summary = _reproduce.summarise(records, size, len(chosen))
        io.write_json(out / "summary.json", summary)
        io.write_report(out / "report.html", summary, out)
    print(io.tally(summary))
    print(out / "report.html", flush=True)
    return INCOMPLETE if any(record["error"] for record in records) else DONE


@app.command
def census(
    *,
    distribution: str,
    samples: _Whole,
    out: Path,
    seed: _Whole = 0,
    cell: str = "gru",
    units: _Whole = 2,
    gates: _Flag = False,
    keep: str = "signatures",
    shard: str | None = None,
    repair: _Flag = False,
    device: str | None = None,
    json: _Flag = False,
) -> int:
    """Prove how many equilibria of each kind random networks have.

    Stop it at any moment; the same command goes on where it stopped. The answer is in
    OUT/summary.json and OUT/signatures.png once all parts are there.

    Parameters
    ----------
    distribution
        gauss, wide, paper, or a TOML or JSON file with a law for each array:
        U_h = {normal = [mean, deviation]}, {uniform = [low, high]} or {constant = value}.
    samples
        How many networks: 1000000 or 1e6.
    out
        The folder of this survey and of no other.
    seed
        Another seed, other networks.
    cell
        gru, reset_after or lstm.
    units
        1 or 2.
    gates
        Draw the update gate of a GRU as well; without it z = 1/2.
    keep
        signatures, rare (and in full what is rare) or all (every equilibrium).
    shard
        3/16: only the third of sixteen shares. Without it, what SLURM says, or all.
    repair
        Compute damaged parts again.
    device
        cpu, gpu or tpu; without it, what JAX prefers.
    json
        Print one JSON document instead of a table.
    """
    _use_all_cores(device)
    import jax

    from . import _survey, io

    plan = _survey.SurveyPlan(distribution, samples, seed, cell, units, gates, keep)
    share = _survey.parse_shard(shard) if shard else _survey.shard_of_slurm()
    _use_device(device)
    shown = f"; share {share[0]} of {share[1]}" if share else ""
    kind = jax.devices()[0].device_kind
    print(f"devices: {jax.device_count()} ({kind}){shown}", file=sys.stderr)
    with _bar() as callback:
        seen = _survey.survey(
            plan, out, shard=share or (1, 1), repair=repair, callback=callback
        )
    print(io.to_json(seen.document()) if json else _survey.as_table(seen), flush=True)
    if not seen.missing and not json:
        print(out / "signatures.png", flush=True)
    return DONE


@app.command
def train(
    target: str,
    *,
    units: _Whole = 2,
    seeds: _Whole = 20,
    recipe: str = "recommended",
    noise: str | None = None,
    out: Path | None = None,
    resume: _Flag = False,
    json: _Flag = False,
) -> int:
    """Train networks to forecast a flow, and find out what dynamics they have learned.

    Stop it at any moment; with --resume the same command goes on where it stopped.

    Parameters
    ----------
    target
        fitzhugh-nagumo, line, ring, or a file of your own: FILE.csv with the columns
        trajectory, time and what is observed, or FILE.npz with trajectories and times.
    units
        How many units a network has.
    seeds
        How many networks, which differ in where they begin.
    recipe
        recommended, or paper (Adam at a rate of 0.01 for 4,000 epochs).
    noise
        none, observation, process or input; without it, the paper's with the recipe paper
        and none with the other.
    out
        A folder for checkpoint, log, models, figures and report.html.
    resume
        Go on from the checkpoint in OUT.
    json
        Print one JSON document instead of a table.
    """
    if out is not None:
        _make_writable(out)
    _spend_little(True)
    _use_x64()
    from . import _train, io

    job = _train.prepare(target, units, seeds, recipe, noise)
    with _training_bar() as show:
        document = _train.train(job, out, resume, show)[2]
    print(io.to_json(document) if json else _train.as_table(document), flush=True)
    for row in document["seeds"]:
        if row["failed_at"] is not None:
            kept = f"; {out / 'checkpoint.npz'} holds what is good" if out else ""
            what = f"seed {row['seed']}: the loss was lost at step {row['failed_at']}"
            print(f"cgru-jax: {what}{kept}", file=sys.stderr)
    if out is not None and not json:
        print(out / "report.html", flush=True)
    return DONE


@contextlib.contextmanager
def _training_bar():
    """A bar of steps with the loss that the network in the middle has."""
    import numpy as np
    from tqdm import tqdm

    with tqdm(unit=" steps") as bar:

        def show(step, steps, losses):
            bar.total = steps
            bar.set_postfix_str(f"loss {np.median(losses):.4g}")
            bar.update(step - bar.n)

        yield show


@contextlib.contextmanager
def _bar():
    """A bar of networks, with their rate and the time that the rest will take."""
    from tqdm import tqdm

    with contextlib.ExitStack() as stack:
        bars = []

        def callback(done, total):
            if not bars:
                # What is there already has taken no time.
                bar = tqdm(total=total, initial=done, unit=" networks", unit_scale=True)
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].n)

        yield callback


def _use_device(device: str | None) -> None:
    import jax

    if device is not None:
        jax.config.update("jax_platforms", device)
        try:
            jax.devices()
        except RuntimeError as error:
            raise ValueError(f"--device {device}: there is none ({error}).") from None


def _use_all_cores(device: str | None) -> None:
    """One device of JAX for each core: a proof of its own keeps one busy, and no more."""
    if device in (None, "cpu"):
        ours = getattr(os, "sched_getaffinity", None)  # Linux alone has it
        cores = min(len(ours(0)) if ours else os.cpu_count() or 1, 8)  # batches of a part
        flags = f"--xla_force_host_platform_device_count={cores}"
        os.environ["XLA_FLAGS"] = f"{flags} {os.environ.get('XLA_FLAGS', '')}".strip()


def _run(chosen, out: Path, size: str, records: list) -> None:
    from tqdm import tqdm

    from . import _reproduce

    # What an experiment prints is a message, not a result.
    with contextlib.redirect_stdout(sys.stderr), tqdm(chosen, unit="experiment") as bar:
        for experiment in bar:
            bar.set_postfix_str(experiment.name)
            record = _reproduce.run_experiment(experiment, out, size)
            records.append(record)
            if record["error"]:
                bar.write(f"{experiment.name} failed: {record['error']}", file=sys.stderr)


def _spend_little(full: bool) -> None:
    """Ask XLA to compile in a third (for the papers' sizes, which have more to compute: a
    half) of its time, which is most of what experiments cost; OpenBLAS not to keep every
    core spinning between the small matrices of a cycle, which costs as much again; and
    Python to look for waste less often. What the user has set counts more."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(100_000)  # tracing makes many objects and little waste
    # XLA aborts on a flag that it does not know: ask only the releases that know these.
    if not version("jaxlib").startswith("0.10."):
        return
    flags = "--xla_cpu_use_fusion_emitters=false"
    if not full:
        # And not to cut each module in parts for threads that one core has no use for.
        flags += " --xla_backend_optimization_level=0"
        flags += " --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{flags} {os.environ.get('XLA_FLAGS', '')}".strip()


def _use_x64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _make_writable(folder: Path) -> None:
    """Find out before the work, not after it, that nothing can be written."""
    write_bytes(folder / ".cgru-jax", b"").unlink()


def _fail(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print("cgru-jax: " + " ".join(message.split()), file=sys.stderr)
    return status
