"""Where do the equilibria of one and two units appear, meet and change stability?

Figure 1: the saddle-node of one unit, as the fold of a branch, with its closed form and
its derivative. Figure 5: the Hopf point of U_h = 3 R(θ) and the four saddle-nodes that end
its cycle, as events of two branches. Then random units, whose branches have every event.
The branches of the figures start from known equilibria; at the full size all equilibria
are enumerated instead, at several parameters, and every branch is followed from there.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import EVENTS, RESULTS, io, plot

jax.config.update("jax_enable_x64", True)

GAIN = 2.3  # U_h = 2 · GAIN with open gates
RANDOM = {"quick": 0, "default": 200, "full": 2_000}


def one_unit(gain):
    return lambda b: cgru.Flow(cgru.gru(2 * gain, b_h=b))


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return cgru.Flow(cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]])))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    h = float(np.sqrt(1 - 1 / GAIN))
    exact = float(np.arctanh(h) - GAIN * h)
    place = lambda gain: cgru.locate_fold(one_unit(gain), [0.7], -0.7).parameter
    fold, slope = (float(x) for x in jax.value_and_grad(place)(GAIN))
    hopf = cgru.locate_hopf(rotation, [0.01, 0.02], jnp.pi / 3.8)
    theta, l1 = float(hopf.parameter), float(hopf.lyapunov)

    pictures = diagrams(whole=size == "full")
    events = [b.events for b in pictures["rotation.png"].branches]
    folds = [e.parameters[e.valid & (e.kind == EVENTS.fold)] for e in events]
    folds = np.sort(np.abs(np.concatenate(folds)))
    for file, shown in pictures.items():
        figure = Figure(figsize=(6.5, 4), layout="constrained")
        ax = figure.subplots()
        data = plot.diagram(shown, ax)
        ax.set(xlabel="b_h" if file == "one_unit.png" else "θ", ylabel="h₁")
        io.save_figure(figure, out / file, data)

    counted = random_branches(RANDOM[size])
    numbers = {
        "fold": {"found": fold, "exact": exact, "slope": slope, "exact_slope": -h},
        "hopf": {"found": theta, "exact": float(np.arccos(2 / 3)), "lyapunov": l1},
        "end_of_the_cycle": folds,
        "random": counted,
        "claims": [
            {
                "claim": "one unit: a saddle-node where the count changes",
                "paper": "figure 1, between its types A and C",
                "found": f"b_h = {fold:.12f}, db_h/da = {slope:.12f}",
                "agrees": abs(fold - exact) < 1e-10 and abs(slope + h) < 1e-8,
                "note": "closed form artanh h − a h at h = √(1 − 1/a), derivative −h",
            },
            {
                "claim": "Hopf bifurcation of the origin",
                "paper": "approximately π/3.8 = 0.8267",
                "found": f"θ = {theta:.12f}, first Lyapunov coefficient {l1:.9f}",
                "agrees": abs(theta / (np.pi / 3.8) - 1) < 0.02 and l1 < 0,
                "note": "exactly arccos(2/3) and −9/(4√5): the cycle is born stable",
            },
            {
                "claim": "the slow cycle ends where four saddle-nodes appear at once",
                "paper": "the period grows without bound",
                "found": f"{len(folds)} folds on one closed branch, all at |θ| = "
                f"{folds[0]:.12f}",
                "agrees": bool(np.ptp(folds) < 1e-10),
                "note": "four for θ > 0 and four for θ < 0; a quarter turn maps the "
                "branch into itself",
            },
            {
                "claim": "random two-unit networks: every branch followed from end to end",
                "paper": "not treated",
                "found": f"{counted['whole']} of {counted['branches']} branches whole, "
                f"with {counted['folds']} folds and {counted['hopf']} Hopf points",
                "agrees": counted["whole"] == counted["branches"]
                if counted["branches"]
                else None,
                "note": "U_h, U_r of variance 9, b_h1 from −4 to 4; missed events are "
                "counted by benchmarks/branches.py",
            },
        ],
        "figures": [
            {
                "file": "one_unit.png",
                "caption": "One unit with open gates and U_h = 4.6: all equilibria against "
                "its bias. Solid: stable, dashed: unstable; the two folds are where "
                "figure 1 has its saddle-nodes.",
            },
            {
                "file": "rotation.png",
                "caption": "U_h = 3 R(θ): the origin with its Hopf point, and the closed "
                "branch of the other eight equilibria, whose folds end the slow cycle of "
                "figure 5.",
            },
        ],
    }
    io.write_json(out / "branches.json", numbers)
    return numbers


def diagrams(whole):
    """All branches of both families: enumerated and followed, or (which compiles in a
    fraction of the time) followed from starts that are known."""
    if whole:
        return {
            "one_unit.png": cgru.bifurcation_diagram(one_unit(GAIN), (-2.0, 2.0)),
            "rotation.png": cgru.bifurcation_diagram(rotation, (-0.5, 1.5)),
        }
    unit = cgru.trace_branch(one_unit(GAIN), [-0.9996], -2.0, bounds=(-2.0, 2.0))
    starts = [([0.0, 0.0], -0.5), ([0.8586, 0.0], 0.0)]
    both = [cgru.trace_branch(rotation, *s, bounds=(-0.5, 1.5)) for s in starts]
    none = np.zeros(0)
    return {
        "one_unit.png": cgru.Diagram((unit,), none, none, False),
        "rotation.png": cgru.Diagram(tuple(both), none, none, False),
    }


def random_branches(count):
    if not count:
        return {"branches": 0, "folds": 0, "hopf": 0, "whole": 0}
    a, b = jr.split(jr.key(0))
    U, R = 3 * jr.normal(a, (count, 2, 2)), 3 * jr.normal(b, (count, 2, 2))

    def one(U, R):
        family = lambda b: cgru.Flow(cgru.gru(U, R, b_h=jnp.stack([b, 0.0])))
        start = cgru.find_equilibria(family(-4.0), capacity=8).points[0]
        return cgru.trace_branch(family, start, -4.0, bounds=(-4.0, 4.0))

    many = eqx.filter_jit(eqx.filter_vmap(one))(U, R)
    whole = (many.result == RESULTS.bound) | (many.result == RESULTS.closed)
    return {
        "branches": count,
        "folds": int(jnp.sum(many.events.tally(EVENTS.fold))),
        "hopf": int(jnp.sum(many.events.tally(EVENTS.hopf))),
        "whole": int(jnp.sum(whole)),
    }


if __name__ == "__main__":
    main(Path("results/branches"))
