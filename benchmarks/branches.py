"""Branches of random two-unit GRUs: their speed, and the events missed beside it.

    python benchmarks/branches.py             # 200 branches checked, 4,096 timed
    python benchmarks/branches.py --quick     # 60 branches checked, no times, for CI
    python benchmarks/branches.py --out FILE  # write the numbers as JSON

U_h, U_r ~ N(0, 3²), all else 0 but b_h1, which goes from −4 to 4. The check is a
continuation of its own in NumPy: other formulas, steps of 2e-3, its own refinement; and
the certified number of equilibria on both sides of every fold. Peers follow the same
branches in the same process: a NumPy loop with steps of our own size, and jaxcont.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

jax.config.update("jax_enable_x64", True)

import cgru_jax as cgru
from cgru_jax import EVENTS, RESULTS

LOW, HIGH = -4.0, 4.0
FINE, COARSE = 2e-3, 0.1
SAME = 1e-8
ROUNDS, FEW = 5, 20


def draw(size, seed=0):
    a, b = jr.split(jr.key(seed))
    return 3 * jr.normal(a, (size, 2, 2)), 3 * jr.normal(b, (size, 2, 2))


def family(U, R):
    return lambda b: cgru.Flow(cgru.gru(U, R, b_h=jnp.stack([b, 0.0])))


@eqx.filter_jit
def cells(U, R, b):
    return eqx.filter_vmap(lambda U, R, b: family(U, R)(b).field)(U, R, b)


def certified(cells):
    return eqx.filter_vmap(lambda c: cgru.enumerate_equilibria(cgru.Flow(c)))(cells)


def starts(U, R):
    """One equilibrium of each at b_h1 = −4: the first of its certified list."""
    found = certified(cells(U, R, jnp.full(len(U), LOW)))
    return found.points[:, 0], found.complete


@eqx.filter_jit
def traced(U, R, points):
    one = lambda U, R, x: cgru.trace_branch(family(U, R), x, LOW, bounds=(LOW, HIGH))
    return eqx.filter_vmap(one)(U, R, points)


# The reference: the same equations written anew, one row per branch.


def field(U, R, u):
    """Value and Jacobian of the increment in (x, y, b), shapes (N, 2) and (N, 2, 3)."""
    x, b = u[:, :2], u[:, 2]
    gate = 1 / (1 + np.exp(-np.einsum("nij,nj->ni", R, x)))
    slope = (gate * (1 - gate))[:, :, None] * R
    inner = gate[:, :, None] * np.eye(2) + x[:, :, None] * slope
    drive = np.einsum("nij,nj->ni", U, gate * x)
    drive[:, 0] += b
    t = np.tanh(drive)
    gain = (1 - t**2) / 2
    J = np.zeros((len(u), 2, 3))
    J[:, :, :2] = gain[:, :, None] * (U @ inner) - np.eye(2) / 2
    J[:, 0, 2] = gain[:, 0]
    return (t - x) / 2, J


def corrected(U, R, u, normal, gap_point, steps):
    for _ in range(steps):
        F, J = field(U, R, u)
        matrix = np.concatenate([J, normal[:, None, :]], axis=1)
        gap = np.einsum("ni,ni->n", normal, u - gap_point)
        u = (
            u
            - np.linalg.solve(matrix, np.append(F, gap[:, None], axis=1)[..., None])[..., 0]
        )
    return u


def tangent(J, towards):
    t = np.cross(J[:, 0], J[:, 1])
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    return t * np.sign(np.einsum("ni,ni->n", t, towards))[:, None]


def reference(U, R, points, step, most):
    """Branches with fixed steps: their events `[kind, x, y, b]`, how each ended, and the
    number of points that were computed."""
    U, R = np.asarray(U), np.asarray(R)
    u = np.append(np.asarray(points), np.full((len(points), 1), LOW), axis=1)
    e = np.tile([0.0, 0.0, 1.0], (len(u), 1))
    u = corrected(U, R, u, e, u, 5)
    _, J = field(U, R, u)
    t = tangent(J, e)
    begin = u.copy()
    events, ends = [[] for _ in u], [""] * len(u)
    live, total, far = np.ones(len(u), bool), 0, np.zeros(len(u), bool)
    for _ in range(most):
        rows = np.flatnonzero(live)
        if not len(rows):
            break
        total += len(rows)
        guess = u[rows] + step * t[rows]
        v = corrected(U[rows], R[rows], guess, t[rows], guess, 3)
        _, K = field(U[rows], R[rows], v)
        s = tangent(K, t[rows])
        _, J = field(U[rows], R[rows], u[rows])
        turn = (t[rows, 2] < 0) != (s[:, 2] < 0)
        trace = lambda J: J[:, 0, 0] + J[:, 1, 1]
        det = lambda J: J[:, 0, 0] * J[:, 1, 1] - J[:, 0, 1] * J[:, 1, 0]
        hopf = ((trace(J) < 0) != (trace(K) < 0)) & (det(J) + det(K) > 0)
        for i in np.flatnonzero(turn | hopf):
            inside = LOW <= v[i, 2] <= HIGH and LOW <= u[rows[i], 2] <= HIGH
            if inside:
                n = rows[i]
                for kind, there in (("fold", turn[i]), ("hopf", hopf[i])):
                    if there:
                        found = polished(U[n], R[n], (u[n] + v[i]) / 2, kind)
                        events[n].append((kind, *found))
        away = np.linalg.norm(v - begin[rows], axis=1)
        far[rows] |= away > 3 * step
        closed = far[rows] & (away < 0.6 * step)
        out = (v[:, 2] < LOW) | (v[:, 2] > HIGH)
        u[rows], t[rows] = v, s
        for i in np.flatnonzero(closed | out):
            ends[rows[i]] = "closed" if closed[i] else "bound"
            live[rows[i]] = False
    return events, ends, total


def polished(U, R, u, kind):
    """An event to round-off: Newton's method on the equations and trace or determinant,
    with a central difference for the gradient of the last."""

    def test(u):
        J = field(U[None], R[None], u[None])[1][0]
        return J[0, 0] + J[1, 1] if kind == "hopf" else np.linalg.det(J[:, :2])

    for _ in range(6):
        F, J = field(U[None], R[None], u[None])
        h = 1e-5
        gradient = [(test(u + h * d) - test(u - h * d)) / (2 * h) for d in np.eye(3)]
        u = u - np.linalg.solve(np.vstack([J[0], gradient]), np.append(F[0], test(u)))
    return u


def compare(branches, events, ends):
    """Missed, spurious and displaced events, and branches that ended elsewhere."""
    names = {"fold": EVENTS.fold._value, "hopf": EVENTS.hopf._value}
    kinds = np.asarray(branches.events.kind._value)
    places = np.asarray(
        jnp.concatenate(
            [branches.events.points, branches.events.parameters[..., None]], axis=-1
        )
    )
    missed = spurious = 0
    worst, jumps, bad = 0.0, 0, []
    for n, expected in enumerate(events):
        valid = np.asarray(branches.events.valid[n])
        ours = list(zip(kinds[n][valid], places[n][valid], strict=True))
        before = (missed, spurious, jumps)
        for kind, *place in expected:
            near = [np.max(np.abs(p - place)) for k, p in ours if k == int(names[kind])]
            if near and min(near) < 1e-4:
                worst = max(worst, min(near))
            else:
                missed += 1
        for k, p in ours:
            match = [
                np.max(np.abs(p - place))
                for kind, *place in expected
                if k == int(names[kind])
            ]
            spurious += not (match and min(match) < 1e-4)
        ended = str(ends[n])
        same = bool((branches.result == getattr(RESULTS, ended or "capacity"))[n])
        jumps += not same
        if before != (missed, spurious, jumps):
            bad.append(n)
    return {"missed": missed, "spurious": spurious, "ended_elsewhere": jumps,
            "largest_distance": worst, "branches": bad}  # fmt: skip


def check_counts(U, R, branches, size, offset=1e-4):
    """Folds on whose two sides the certified numbers do not differ by two."""
    places = branches.events.parameters
    fold = np.asarray(branches.events.valid & (branches.events.kind == EVENTS.fold))
    n, e = np.nonzero(fold)
    b = np.asarray(places)[n, e]
    # Padded to the shape that is compiled already.
    room = np.resize(np.arange(len(n)), max(size, len(n)))
    at = lambda s: cells(U[n][room], R[n][room], jnp.asarray(b + s * offset)[room])
    sides = [jax.tree.map(lambda x: x[: len(n)], certified(at(s))) for s in (-1, 1)]
    proved = np.asarray(sides[0].complete & sides[1].complete)
    jump = np.abs(np.asarray(sides[1].count) - np.asarray(sides[0].count))
    # Two folds within the offset may cancel; none are that near here.
    return {"folds": len(n), "proved": int(proved.sum()),
            "unexplained": int(np.sum(proved & (jump != 2)))}  # fmt: skip


def cpu_seconds(run):
    begin = time.process_time()
    jax.block_until_ready(jax.tree.leaves(run()))
    return time.process_time() - begin


def peer_jaxcont(U, R, points):
    """jaxcont's compiled engine, one branch after another, compiled once; no events."""
    try:
        from jaxcont.core.scan_continuation import pseudo_arclength_scan
    except ImportError:
        return None

    @jax.jit
    def run(U, R, x):
        return pseudo_arclength_scan(
            lambda u, p: family(U, R)(p).residual(u),
            x, LOW, HIGH, 0.01, 1e-5, COARSE, 1e-9, 1000, 20,
        )  # fmt: skip

    every = lambda: [run(*branch) for branch in zip(U, R, points, strict=True)]
    jax.block_until_ready(every())
    return every


def rates(U, R, points):
    """Medians over rounds in which all run one after another, so that what else the
    machine does slows them alike; ratios are taken in each round."""
    many, few = len(U), [x[:FEW] for x in (U, R, points)]
    jax.block_until_ready(traced(U, R, points).points)
    peer = peer_jaxcont(*few)
    rounds = []
    for _ in range(ROUNDS):
        ours = cpu_seconds(lambda: traced(U, R, points)) / many
        loop = cpu_seconds(
            lambda: [reference(*(x[i : i + 1] for x in few), COARSE, 1_000)[2]
                     for i in range(FEW)]
        ) / FEW  # fmt: skip
        other = peer and cpu_seconds(peer) / FEW
        rounds.append([1 / ours, 1 / loop, loop / ours, other and 1 / other,
                       other and other / ours])  # fmt: skip
    names = ["ours_branches_per_cpu_second", "numpy_loop_branches_per_cpu_second",
             "ratio_to_numpy_loop", "jaxcont_branches_per_cpu_second",
             "ratio_to_jaxcont"]  # fmt: skip
    medians = [
        None if None in x else float(np.median(x)) for x in zip(*rounds, strict=True)
    ]
    load = {"load_of_the_machine": os.getloadavg()[0]}
    return {"batch": many, "rounds": ROUNDS} | load | dict(zip(names, medians, strict=True))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    size, many = (60, 60) if options.quick else (200, 4_096)
    U4, R4 = draw(many)
    points4, _ = starts(U4, R4)
    U, R, points = U4[:size], R4[:size], points4[:size]
    begin = time.process_time()
    branches = jax.block_until_ready(traced(U, R, points))
    compiling = time.process_time() - begin
    events, ends, _ = reference(U, R, points, FINE, 40_000)
    numbers = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(),
                    "jax": jax.__version__, "device": jax.default_backend()},
        "branches": size,
        "points": float(branches.valid.sum() / size),
        "events": int(sum(map(len, events))),
        "compile_and_first_run_cpu_seconds": compiling,
        "quality": compare(branches, events, ends),
        "certified": check_counts(U, R, branches, many),
    }  # fmt: skip
    if not options.quick:
        numbers["rates"] = rates(U4, R4, points4)
    print(json.dumps(numbers, indent=1, default=float))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(numbers, indent=1, default=float))
    quality = numbers["quality"]
    wrong = quality["missed"] + quality["spurious"] + quality["ended_elsewhere"]
    wrong += numbers["certified"]["unexplained"] + (quality["largest_distance"] > SAME)
    raise SystemExit(int(wrong > 0))


if __name__ == "__main__":
    main()
