"""The certified enumeration: its speed, and the quality that it buys, beside its peers.

    python benchmarks/enumeration.py             # 20,000 sets of each distribution
    python benchmarks/enumeration.py --quick     # counts and completeness only, for CI
    python benchmarks/enumeration.py --out FILE  # write the numbers as JSON

Subject and naive control alternate in one process; ratios are medians over alternations of
the process's CPU time, on one core. The reference is `reference.c`, another program.
"""

import argparse
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from distributions import NAMES, draw, draw_gated

import cgru_jax as cgru
from cgru_jax._equilibria._boxes import examine
from cgru_jax._equilibria._enumerate import search_report
from cgru_jax._program import hoist
from cgru_jax._scalars import split

jax.config.update("jax_enable_x64", True)

# Boxes per set, the gate that does not depend on the machine.
MOST_BOXES = {"gauss": 33, "wide": 62, "paper": 165}
MOST_UNDECIDED = {"gauss": 1e-4, "wide": 1e-4, "paper": 1e-3}


@eqx.filter_jit
def certified(cells):
    return eqx.filter_vmap(lambda c: cgru.enumerate_equilibria(cgru.Flow(c)))(cells)


@eqx.filter_jit
def boxes(cells):
    return eqx.filter_vmap(lambda c: search_report(cgru.Flow(c)).boxes)(cells)


def starts():
    return cgru.grid(2, 8)


@eqx.filter_jit
def naive(cells):
    """What one writes first: 64 starts, 20 steps of `jnp.linalg.solve` on `jax.jacfwd`."""

    def one(cell, x):
        def step(_, x):
            return x - jnp.linalg.solve(jax.jacfwd(cell)(x), cell(x))

        return jax.lax.fori_loop(0, 20, step, x)

    return eqx.filter_vmap(lambda c: jax.vmap(lambda x: one(c, x))(starts()))(cells)


@eqx.filter_jit
def clipped(cells):
    """Newton's method at its best: scalars, two forward derivatives, bounded steps."""

    def one(cell, start):
        def field(x, y):
            def gate(a):
                return 1 / (1 + jnp.exp(-a))

            U, R, b, c = cell.U_h, cell.U_r, cell.b_h, cell.b_r
            u = gate(R[0, 0] * x + R[0, 1] * y + c[0]) * x
            v = gate(R[1, 0] * x + R[1, 1] * y + c[1]) * y
            return (
                jnp.tanh(U[0, 0] * u + U[0, 1] * v + b[0]) - x,
                jnp.tanh(U[1, 0] * u + U[1, 1] * v + b[1]) - y,
            )

        def step(_, state):
            x, y = state
            one, zero = jnp.ones(()), jnp.zeros(())
            f, (a, c) = jax.jvp(field, (x, y), (one, zero))
            _, (b, d) = jax.jvp(field, (x, y), (zero, one))
            det = a * d - b * c
            dx, dy = (d * f[0] - b * f[1]) / det, (a * f[1] - c * f[0]) / det
            long = jnp.maximum(jnp.abs(dx), jnp.abs(dy))
            scale = jnp.where(long > 0.1, 0.1 / long, 1.0)
            return x - scale * dx, y - scale * dy

        return jnp.stack(jax.lax.fori_loop(0, 20, step, (start[0], start[1])))

    return eqx.filter_vmap(lambda c: jax.vmap(lambda x: one(c, x))(starts()))(cells)


@eqx.filter_jit
def with_optimistix(cells):
    import optimistix

    solver = optimistix.Newton(rtol=1e-10, atol=1e-12)

    def one(cell, x):
        answer = optimistix.root_find(
            lambda h, c: c(h), solver, x, cell, max_steps=20, throw=False
        )
        return answer.value

    return eqx.filter_vmap(lambda c: jax.vmap(lambda x: one(c, x))(starts()))(cells)


def with_scipy(cells):
    from scipy.optimize import root

    U, R, b, c = (np.asarray(a) for a in (cells.U_h, cells.U_r, cells.b_h, cells.b_r))
    found = []
    for i in range(len(U)):

        def field(h, i=i):
            r = 1 / (1 + np.exp(-(R[i] @ h + c[i])))
            return np.tanh(U[i] @ (r * h) + b[i]) - h

        found.append([root(field, x).x for x in np.asarray(starts())])
    return np.array(found)


def missed(points, cells, counts) -> int:
    """In how many sets an unproved method found another number of equilibria."""
    wrong = 0
    residual = eqx.filter_vmap(lambda c, xs: jax.vmap(c)(xs))(cells, jnp.asarray(points))
    good = np.asarray(jnp.max(jnp.abs(residual), -1) < 1e-9)
    for these, fine, count in zip(
        np.asarray(points), good, np.asarray(counts), strict=True
    ):
        kept = []
        for point in these[fine]:
            if all(np.max(np.abs(point - other)) > 1e-7 for other in kept):
                kept.append(point)
        wrong += len(kept) != int(count)
    return wrong


def reference_counts(cells):
    """What `reference.c` counts, and its seconds."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("enumeration.py: counts cannot be checked without a C compiler (cc, gcc).")
    parameters = np.concatenate(
        [
            np.asarray(a).reshape(len(a), -1)
            for a in (cells.U_h, cells.U_r, cells.b_h, cells.b_r)
        ],
        axis=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/reference"
        source = Path(__file__).with_name("reference.c")
        subprocess.run([compiler, "-O2", "-o", program, source, "-lm"], check=True)
        begin = time.perf_counter()
        answer = subprocess.run(
            [program, str(len(parameters))],
            input=parameters.tobytes(),
            capture_output=True,
            check=True,
        )
        return np.frombuffer(answer.stdout, np.int32), time.perf_counter() - begin


def cpu_seconds(work):
    begin = time.process_time()
    jax.block_until_ready(work())
    return time.process_time() - begin


def compare(subject, control, size, control_size, rounds):
    """Sets per CPU-second of both, and the median and range of their ratios."""
    pairs = [(cpu_seconds(subject), cpu_seconds(control)) for _ in range(rounds)]
    rates = [(size / a, control_size / b) for a, b in pairs]
    ratios = sorted(a / b for a, b in rates)
    middle = [float(np.median(column)) for column in zip(*rates, strict=True)]
    return *middle, float(np.median(ratios)), (ratios[0], ratios[-1])


def part(cells, size):
    return jax.tree.map(lambda x: x[:size], cells)


def quality(name, size, seed=0):
    """What is proved, how much work it took, and whether another program agrees."""
    row = {"distribution": name, "sets": size}
    for label, make in (("", draw), ("gated ", draw_gated)):
        cells = make(name, size, seed)
        compile_and_run = cpu_seconds(lambda cells=cells: certified(cells))
        found = certified(cells)
        taken = np.asarray(boxes(cells))
        counts, complete = np.asarray(found.count), np.asarray(found.complete)
        row |= {
            label + "boxes per set": float(taken.mean()),
            label + "boxes p99": float(np.percentile(taken, 99)),
            label + "undecided": int((~complete).sum()),
            label + "index sums off": int(((found.index_sum != 1) & found.complete).sum()),
        }
        if not label and name == NAMES[0]:  # one program serves all distributions
            again = cpu_seconds(lambda cells=cells: certified(cells))
            row["compile, CPU-s"] = compile_and_run - again
        reference, seconds = reference_counts(cells)
        decided = reference >= 0
        row[label + "wrong"] = int(((counts != reference) & complete & decided).sum())
        row[label + "undecided by the reference"] = int((~decided).sum())
        if not label:
            row["reference.c, sets/s"] = size / seconds
    return row


def speed(name, size, rounds=5):
    cells = draw(name, size)
    few = part(cells, 1_000)
    for work in (lambda: certified(cells), lambda: naive(few), lambda: clipped(few)):
        jax.block_until_ready(work())
    ours, control, ratio, span = compare(
        lambda: certified(cells), lambda: naive(few), size, 1_000, rounds
    )
    _, newton, over_newton, _ = compare(
        lambda: certified(cells), lambda: clipped(few), size, 1_000, rounds
    )
    # The loop beside the box test alone, in turns: XLA likes to compute a test many times.
    total = int(np.asarray(boxes(cells)).sum())
    alone, tests = box_test_alone(cells)
    jax.block_until_ready(alone())
    pairs = [(cpu_seconds(lambda: boxes(cells)), cpu_seconds(alone)) for _ in range(rounds)]
    search, test = (float(np.median(column)) for column in zip(*pairs, strict=True))
    tiny, ten = part(cells, 100), part(cells, 10)
    jax.block_until_ready(with_optimistix(tiny))
    with_scipy(part(cells, 1))  # loads SciPy
    counts = np.asarray(certified(few).count)
    return {
        "sets/CPU-s": ours,
        "search alone, sets/CPU-s": size / search,
        "ns per box in the loop": 1e9 * search / total,
        "loop over the box test alone": search / total / (test / tests),
        "naive, sets/CPU-s": control,
        "over naive": ratio,
        "over naive, range": span,
        "naive, sets with another count, of 1,000": missed(naive(few), few, counts),
        "clipped Newton, sets/CPU-s": newton,
        "over clipped Newton": over_newton,
        "clipped Newton, sets with another count, of 1,000": missed(
            clipped(few), few, counts
        ),
        "optimistix, sets/CPU-s": 100 / cpu_seconds(lambda: with_optimistix(tiny)),
        "SciPy, sets/CPU-s": 10 / cpu_seconds(lambda: with_scipy(ten)),
        "numba, sets/CPU-s": None,  # not a dependency, not measured
    }


def over_naive(name, size, rounds=5):
    cells, few = draw(name, size), draw(name, 500)
    jax.block_until_ready((certified(cells), naive(few)))
    return compare(lambda: certified(cells), lambda: naive(few), size, 500, rounds)[2]


def box_test_alone(cells, lanes=256, passes=400):
    """The box test without the list, again and again, and how many tests that is."""
    cell = jax.tree.map(lambda x: x[0], cells)
    program, arrays = hoist(cell.reduced, jnp.zeros(2))

    def spread(scalar):
        return jnp.broadcast_to(scalar, lanes)

    @jax.jit
    def run(middle, radius):
        def body(_, radius):
            pools = [np.vectorize(spread, otypes=[object])(split(a)) for a in arrays]
            v = examine(program, pools, [*(middle - radius)], [*(middle + radius)])
            # Something that depends on everything, and changes nothing to speak of.
            used = sum(v.low) + sum(v.high) + v.empty + v.unique
            return radius + 1e-300 * jnp.where(jnp.isfinite(used), used, 0)

        return jax.lax.fori_loop(0, passes, body, radius)

    middle = jr.uniform(jr.key(1), (2, lanes), minval=-0.8, maxval=0.8)
    radius = jnp.full((2, lanes), 0.1)
    return lambda: run(middle, radius), lanes * passes


def others():
    """Other cells and a field of one's own: sets per CPU-second, and what is undecided."""

    def lstm(units, scale, size):
        def make(key):
            keys = jr.split(key, 8)
            matrices = [scale * jr.normal(k, (units, units)) for k in keys[:4]]
            return cgru.LSTM(*matrices, *[jr.normal(k, (units,)) for k in keys[4:]])

        return eqx.filter_vmap(make)(jr.split(jr.key(1), size))

    def fitzhugh_nagumo(current):
        def field(h):
            v, w = h
            return jnp.stack([v - v**3 / 3 - w + current, 0.08 * (v + 0.7 - 1.6 * w)])

        return cgru.enumerate_equilibria(
            cgru.Flow(field), box=(-4.0, jnp.full(2, 4.0)), capacity=4
        )

    def reset_after(key):
        keys = jr.split(key, 7)
        matrices = [3 * jr.normal(k, (2, 2)) for k in keys[:3]]
        return cgru.ResetAfterGRU(*matrices, *[jr.normal(k, (2,)) for k in keys[3:]])

    cases = {
        "gated GRU, 2 units, gauss": (certified, draw_gated("gauss", 2_000)),
        "reset-after GRU, 2 units": (
            certified,
            eqx.filter_vmap(reset_after)(jr.split(jr.key(2), 2_000)),
        ),
        "LSTM, 1 unit": (certified, lstm(1, 3.0, 2_000)),
        "LSTM, 2 units": (certified, lstm(2, 2.0, 2_000)),
        "FitzHugh-Nagumo in a box": (
            eqx.filter_jit(eqx.filter_vmap(fitzhugh_nagumo)),
            jnp.linspace(-1.0, 1.0, 2_000),
        ),
    }
    rows = []
    for name, (verb, batch) in cases.items():
        found = jax.block_until_ready(verb(batch))
        seconds = np.median([cpu_seconds(functools.partial(verb, batch)) for _ in range(5)])
        rows.append({
            "system": name,
            "sets/CPU-s": 2_000 / float(seconds),
            "undecided of 2,000": int((~found.complete).sum()),
            "index sums off": int(((found.index_sum != 1) & found.complete).sum()),
        })  # fmt: skip
    return rows


def growth():
    """CPU microseconds per set, for batches of very different size."""
    costs = {}
    for size in (2_000, 20_000, 200_000):
        cells = draw("gauss", size)
        jax.block_until_ready(certified(cells))
        seconds = min(cpu_seconds(functools.partial(certified, cells)) for _ in range(3))
        costs[f"{size:,} sets"] = 1e6 * seconds / size
    return costs


def processor():
    """What this runs on, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def check(row):
    name = row["distribution"]
    assert row["boxes per set"] <= MOST_BOXES[name], row
    assert row["undecided"] <= max(1, MOST_UNDECIDED[name] * row["sets"]), row
    for key in ("wrong", "gated wrong", "index sums off", "gated index sums off"):
        assert row[key] == 0, row
    # A reference that decides nothing contradicts nothing.
    for key in ("undecided by the reference", "gated undecided by the reference"):
        assert row[key] <= max(1, 1e-3 * row["sets"]), row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sets", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    size = options.sets or (2_000 if options.quick else 20_000)
    if hasattr(os, "sched_setaffinity") and not options.quick:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # rates are per core
    report = {
        "device": f"{jax.default_backend()}, one core of {processor()}",
        "jax": jax.__version__,
        "load average": os.getloadavg()[0],
        "rows": [],
    }
    for name in NAMES:
        row = quality(name, size)
        if not options.quick:
            row |= speed(name, size)
            row["over naive, batch of 2,000"] = over_naive(name, 2_000)
        report["rows"].append(row)
        print(json.dumps(row, indent=1), flush=True)
        check(row)
    if not options.quick:
        report["others"] = others()
        report["growth, CPU-us per set"] = growth()
        print(json.dumps([report["others"], report["growth, CPU-us per set"]], indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
