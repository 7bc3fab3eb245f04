"""Can a network be trained towards a portrait, without data?

From the rotation U_h = 3 R(0.8) all weights move, by the least change at each step, until
the source stands at a given place and turns with a given eigenvalue, and the cycle around
it has a given period and forgets a push by a given factor in a lap. SciPy then measures
the period independently, and enumeration proves that there is no other equilibrium.

A cell of one unit moves until it has two attractors, at given places, and a given margin to
the nearest fold, at which one is lost. Enumeration proves how many there are, and the curve
of all folds, written out, measures the margin.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

import cgru_jax as cgru
from cgru_jax import KINDS, RESULTS, io, plot

jax.config.update("jax_enable_x64", True)

ANGLE = 0.8
PLACE = np.array([0.15, -0.1])
GROWTH = 0.12  # per unit of time, of a push away from the source
PERIOD, FORGETS = 20.0, np.exp(-4.0)
SINKS, MARGIN = np.array([[0.9], [-0.8]]), 0.2
FREE = ("U_h", "b_h")  # in which a margin is measured


def start():
    cos, sin = np.cos(ANGLE), np.sin(ANGLE)
    return cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]]))


def equilibrium(cell):
    """How far the increment at the place is from zero, and its growth from the wanted."""
    flow = cgru.Flow(cell)
    place = jnp.asarray(PLACE)
    # The mean of the two eigenvalues is half the trace, whatever they are.
    growth = jnp.trace(flow.jacobian(place)) / 2
    return jnp.append(flow.residual(place), growth / GROWTH - 1)


def of_source(cell, memory):
    return equilibrium(cell), memory


def of_cycle(cell, memory):
    near, guess = memory
    cycle = cgru.find_cycle(cgru.Flow(cell), near, guess)
    log = cycle.exponents[1] * cycle.period
    lack = jnp.stack([cycle.period / PERIOD - 1, log / np.log(FORGETS) - 1])
    memory = jax.lax.stop_gradient((cycle.points[0], cycle.period))
    return jnp.concatenate([equilibrium(cell), lack]), memory


def of_memories(cell, memory):
    flow = cgru.Flow(cell)
    places = jnp.asarray(SINKS)
    # A gate that closes would make every place an equilibrium, or almost.
    gates = [jax.nn.sigmoid(cell.U_z @ place + cell.b_z) for place in places]
    there = [flow.residual(h) / z for h, z in zip(places, gates, strict=True)]
    # Of the sink that is lost first.
    margin = cgru.nearest_bifurcation(cell, places[1:], free=FREE).distance
    return jnp.concatenate([*there, margin[None] / MARGIN - 1]), memory


def by_the_curve_of_folds(cell):
    """The least distance to a fold, on the curve of all folds."""
    U, b, R, c = (float(getattr(cell, n).ravel()[0]) for n in ("U_h", "b_h", "U_r", "b_r"))
    h = np.linspace(-0.999, 0.999, 2_000_001)
    r = 1 / (1 + np.exp(-(R * h + c)))
    # tanh(U r h + b) = h touches: its slope in h is one.
    at_fold = 1 / ((1 - h**2) * (r + R * r * (1 - r) * h))
    return float(np.hypot(at_fold - U, np.arctanh(h) - at_fold * r * h - b).min())


def two_memories():
    """Claims about a cell that was shaped to have them."""
    done = cgru.fit_portrait(cgru.gru([[3.0]], U_r=[[0.2]]), of_memories)
    found = cgru.enumerate_equilibria(cgru.Flow(done.cell))
    kinds = [int(found.tally(kind)) for kind in (KINDS.sink, KINDS.source, KINDS.saddle)]
    places = np.asarray(found.points)[np.asarray(found.valid), 0]
    nearest = [int(np.abs(places - place).argmin()) for place in SINKS[:, 0]]
    off = float(np.abs(places[nearest] - SINKS[:, 0]).max())
    margin = by_the_curve_of_folds(done.cell)
    numbers = {
        "cell": {n: getattr(done.cell, n) for n in done.cell._fields()},
        "lack": done.lack,
        "margin": margin,
    }
    return numbers, [
        {
            "claim": f"two attractors, at {' and '.join(f'{x:g}' for x in SINKS[:, 0])}",
            "paper": "not treated",
            "found": f"{kinds[0]} sinks, {kinds[1]} sources, {kinds[2]} saddles, proved "
            f"complete: {bool(found.complete)}; {off:.0e} from the places",
            "agrees": bool(found.complete) and kinds[0] == len(SINKS) and off < 1e-8,
            "note": f"one unit; {len(done.lack) - 1} steps",
        },
        {
            "claim": f"the nearest fold is {MARGIN:g} away in {' and '.join(FREE)}",
            "paper": "not treated",
            "found": f"{margin:.9f}",
            "agrees": abs(margin - MARGIN) < 1e-8,
            "note": "least distance to the curve of all folds, on two million points",
        },
    ]


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    # What takes time is to compile the derivative of the cycle.
    with_cycle = size != "quick"
    memory = (jnp.array([0.5, 0.1]), jnp.asarray(12.0)) if with_cycle else None
    done = cgru.fit_portrait(start(), of_cycle if with_cycle else of_source, memory)
    flow = cgru.Flow(done.cell)
    found = cgru.enumerate_equilibria(flow) if with_cycle else None
    values = np.linalg.eigvals(np.asarray(flow.jacobian(jnp.asarray(PLACE))))
    speed = float(np.abs(flow.residual(jnp.asarray(PLACE))).max())
    claims = [
        {
            "claim": f"a source at {PLACE.tolist()} that grows at {GROWTH:g}",
            "paper": "not treated",
            "found": f"field {speed:.1e} there; mean real part {values.real.mean():.12f}",
            "agrees": bool(
                done.result == RESULTS.successful
                and speed < 1e-9
                and abs(values.real.mean() - GROWTH) < 1e-9
            ),
            "note": f"{len(done.lack) - 1} steps",
        }
    ]
    numbers = {
        "lack": done.lack,
        "cell": {n: getattr(done.cell, n) for n in done.cell._fields()},
        "eigenvalues": values,
    }
    if with_cycle:
        near, period = done.memory
        measured, forgets = by_scipy(done.cell, np.asarray(near), float(period))
        alone = bool(found.complete) and int(found.tally(KINDS.source)) == 1
        numbers |= {"period": float(period), "measured": measured, "forgets": forgets}
        claims += [
            {
                "claim": f"a cycle of period {PERIOD:g}",
                "paper": "not treated",
                "found": f"{float(period):.12f}; measured independently {measured:.10f}",
                "agrees": abs(measured - PERIOD) < 1e-8,
                "note": "SciPy's DOP853 with tolerance 1e-12, between two crossings",
            },
            {
                "claim": f"a push is forgotten by the factor {FORGETS:.6f} in a lap",
                "paper": "not treated",
                "found": f"{forgets:.10f}",
                "agrees": abs(forgets - FORGETS) < 1e-8,
                "note": "∮ tr J along the orbit, by SciPy",
            },
            {
                "claim": "the source is the only equilibrium",
                "paper": "not treated",
                "found": f"{int(found.count)}, proved complete: {bool(found.complete)}",
                "agrees": alone and int(found.count) == 1,
                "note": "enumeration",
            },
        ]
        numbers["memories"], more = two_memories()
        claims += more
    draw(out, done)
    caption = "The portrait that was asked for, and how what was lacking went to zero."
    return numbers | {
        "claims": claims,
        "figures": [{"file": "portrait_training.png", "caption": caption}],
    }


def draw(out, done):
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    starts = np.array([PLACE + 0.02, [1.2, 1.2], [-1.2, 0.4]])
    data = plot.phase_portrait(cgru.Flow(done.cell), left, starts=starts, time=60)
    lack = np.abs(done.lack).max(axis=1)
    right.semilogy(np.maximum(lack, 1e-17), "o-", color="#0072B2")
    right.set(xlabel="step", ylabel="largest lack, as a part")
    plot.legend(figure)
    io.save_figure(figure, out / "portrait_training.png", data | {"lack": done.lack})


def by_scipy(cell, start, guess):
    """Period and contraction in a lap, of the written-out equations."""
    p = {
        n: np.asarray(getattr(cell, n)) for n in ("U_h", "U_r", "U_z", "b_h", "b_r", "b_z")
    }
    sigmoid = lambda x: 1 / (1 + np.exp(-x))

    def field(h):
        z, r = (sigmoid(p[f"U_{g}"] @ h + p[f"b_{g}"]) for g in "zr")
        return z * (np.tanh(p["U_h"] @ (r * h) + p["b_h"]) - h)

    def trace(h):
        # Central differences of fourth order: 1e-12 with this step.
        total, step = 0.0, 1e-3
        for j in range(2):
            e = np.eye(2)[j] * step
            near = field(h + e)[j] - field(h - e)[j]
            far = field(h + 2 * e)[j] - field(h - 2 * e)[j]
            total += (8 * near - far) / (12 * step)
        return total

    normal = field(start)
    crossing = lambda t, y: (y[:2] - start) @ normal
    crossing.direction = 1
    orbit = solve_ivp(
        lambda t, y: [*field(y[:2]), trace(y[:2])], (0, 2.6 * guess), [*start, 0.0],
        "DOP853", rtol=1e-12, atol=1e-13, events=crossing,
    )  # fmt: skip
    late = orbit.t_events[0] > guess / 2
    times, states = orbit.t_events[0][late], orbit.y_events[0][late]
    return float(times[1] - times[0]), float(np.exp(states[1, 2] - states[0, 2]))


if __name__ == "__main__":
    main(Path("results/portrait_training"))
