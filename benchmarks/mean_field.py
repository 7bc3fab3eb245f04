"""The theory of large random networks: how fast it is, and what the speed is worth.

Planes of gains (is any root missed?), sampled paths (how far from the solution without
samples?), and one network with its Lyapunov exponent (how far from the theory?).

    python benchmarks/mean_field.py             # all of them, some CPU-minutes
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
import jax.random as jr
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


def paths_and_network():
    """4,000 paths over 200 steps, and 1,500 steps of 1,000 units, with their exponents."""
    constant = cgru.GRUEnsemble(g_h=3, g_r=2, m_z=-1)
    sample = lambda: cgru.sample_paths(constant, jr.key(0), steps=150, transient=50)
    seconds, paths = cpu_seconds(sample)
    exact = cgru.solve_constant_gate(constant)
    off = jnp.mean(paths.states["h"] ** 2) / exact.values[0] - 1
    report = {"paths 4,000 x 200, CPU-s": seconds, "variance of paths off by": float(off)}

    ensemble = cgru.GRUEnsemble(g_h=3, g_r=2, g_z=2)
    system = cgru.Map(cgru.sample(ensemble, 1_000, jr.key(0)))
    start = jr.normal(jr.key(1), (1_000,))
    follow = lambda steps: cgru.lyapunov_exponents(system, start, steps=steps, transient=50)
    # The number of steps is an argument of what is compiled.
    seconds, found = cpu_seconds(lambda: follow(1_450), lambda: follow(10))
    theory = cgru.sample_paths(ensemble, jr.key(0), steps=150, transient=50)
    exponent = "{:.4f} ± {:.4f}".format
    return report | {
        "network of 1,000 units, 1,500 steps, CPU-s": seconds,
        "its exponent": exponent(float(found.exponents[0]), float(found.errors[0])),
        "exponent of the theory": exponent(float(theory.exponent), float(theory.error)),
    }


def cpu_seconds(work, warm=None):
    """What `work` costs once it is compiled (by `warm`, if that does it), and its value."""
    jax.block_until_ready((warm or work)())
    start = time.process_time()
    value = jax.block_until_ready(work())
    return time.process_time() - start, value


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
        report["GRU plane 64 x 64, CPU-s"] = cpu_seconds(lambda: grus(gains))[0]
        gains = plane((0.5, 6), (0.5, 6), 16)
        report["LSTM plane 16 x 16, CPU-s"] = cpu_seconds(lambda: lstms(gains))[0]
        report |= paths_and_network()
    print(json.dumps(report, indent=1, ensure_ascii=False))
    assert report["with another number of roots"] == 0, report
    if options.out:
        options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
