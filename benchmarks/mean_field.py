"""The mean field over planes of gains: its speed, and whether any root is missed.

    python benchmarks/mean_field.py             # 64 x 64 GRU, 16 x 16 LSTM ensembles
    python benchmarks/mean_field.py --quick     # completeness only, for CI
    python benchmarks/mean_field.py --out FILE  # write the numbers as JSON

The control is the same equation by another route: tanh² and σ² averaged over 2,401 nodes
of the trapezoidal rule, its sign on 4,000 variances, in NumPy. Every sign change is a root.
"""

import argparse
import json
import os
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

import cgru_jax as cgru
from cgru_jax import RESULTS

X = np.linspace(-9, 9, 2_401)
WEIGHTS = np.exp(-(X**2) / 2) / np.exp(-(X**2) / 2).sum()
VARIANCES = np.geomspace(1e-6, 1, 4_000)


@eqx.filter_jit
def grus(rows):
    """`(g_h, g_r)` each."""
    return eqx.filter_vmap(
        lambda r: cgru.solve_mean_field(cgru.GRUEnsemble(g_h=r[0], g_r=r[1]))
    )(rows)


@eqx.filter_jit
def lstms(rows):
    """`(g_f, g_c)` each, the other gains one."""
    return eqx.filter_vmap(
        lambda r: cgru.solve_mean_field(
            cgru.LSTMEnsemble(g_f=r[0], g_i=1, g_o=1, g_c=r[1], m_f=1)
        )
    )(rows)


def plane(first, second, count):
    axes = np.linspace(*first, count), np.linspace(*second, count)
    return jnp.asarray(np.stack(np.meshgrid(*axes), -1).reshape(-1, 2))


def sign_changes(row):
    """How many roots the control sees above the smallest of its variances."""
    g_h, g_r = map(float, row)
    # In blocks: 4,000 x 2,401 nodes are 77 MB.
    signs = []
    for q in np.split(VARIANCES, 10):
        gate = 1 / (1 + np.exp(-g_r * np.sqrt(q)[:, None] * X))
        delta = g_h**2 * (gate**2 @ WEIGHTS) * q
        signs.append(np.sign(np.tanh(np.sqrt(delta)[:, None] * X) ** 2 @ WEIGHTS - q))
    return int(np.sum(np.diff(np.concatenate(signs)) != 0))


def quality(rows):
    """Where the roots of the verb are not as many as the control's."""
    found = grus(jnp.asarray(rows))
    above = np.asarray(found.valid & (found.variance > VARIANCES[0])).sum(axis=1)
    expected = np.array([sign_changes(row) for row in rows])
    wrong = int((above != expected).sum())
    said = np.asarray(
        (found.result == RESULTS.successful) | (found.result == RESULTS.no_root)
    )
    return {
        "ensembles compared": len(rows),
        "with two roots": int((expected == 2).sum()),
        "with another number of roots": wrong,
        "withheld": int((~np.asarray(said)).sum()),
    }


def cpu_seconds(work):
    jax.block_until_ready(work())  # compiles
    start = time.process_time()
    jax.block_until_ready(work())
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    count = 12 if options.quick else 60
    # Half of them where two roots are: below the critical gain with a broad reset gate.
    rows = np.concatenate(
        [
            random.uniform([1, 0], [6, 20], (count, 2)),
            random.uniform([1.6, 4], [1.999, 30], (count, 2)),
        ]
    )
    report = {"device": jax.default_backend(), "load": os.getloadavg()[0]} | quality(rows)
    if not options.quick:
        gains = plane((0.5, 6), (0, 20), 64)
        report["GRU plane 64 x 64, CPU-s"] = cpu_seconds(lambda: grus(gains))
        gains = plane((0.5, 6), (0.5, 6), 16)
        report["LSTM plane 16 x 16, CPU-s"] = cpu_seconds(lambda: lstms(gains))
    print(json.dumps(report, indent=1))
    assert report["with another number of roots"] == 0, report
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
