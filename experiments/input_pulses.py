"""Do input pulses switch two bistable GRUs between their four states? (figure 2B)

Figure 2's cell, U_h = 3 I, all else 0, with input weights W_h = I, which the paper leaves
open. Every pulse (±A or 0 on each input, for a time d) is given to each of the four sinks.
A pulse switches a unit exactly if it ends beyond the unstable point at 0, so the least
amplitude for a duration d solves d = ∫ 2 dh / (tanh(1.5 h + A) − h) from the sink to 0: a
quadrature that checks what the simulations find by bisection.
"""

import itertools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.optimize import brentq

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

FLOW = cgru.Flow(cgru.GRU([[3.0, 0.0], [0.0, 3.0]], W_h=[[1.0, 0.0], [0.0, 1.0]]))
A, DURATION, REST = 1.0, 10.0, 60.0  # well above the threshold; rest until e^(−15) is left
NAMES = ["00", "10", "01", "11"]  # figure 2B: first digit x, second y, 1 the positive sink
BITS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
PULSES = np.array([[p, q] for p in (-1, 0, 1) for q in (-1, 0, 1)])
DURATIONS = {"quick": 8, "default": 24, "full": 96}
WALK = [(20, (1, 0)), (60, (0, 1)), (100, (-1, 0)), (140, (0, -1))]


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    sink = brentq(lambda h: np.tanh(1.5 * h) - h, 0.5, 1.0)
    sinks = sink * (2 * BITS - 1)
    ends = np.asarray(
        jax.vmap(jax.vmap(pulsed, (None, 0)), (0, None))(sinks, A * PULSES.astype(float))
    )
    reached = np.array([[nearest(end, sinks) for end in row] for row in ends])
    missed = np.abs(ends - sinks[reached]).max()
    routes = [
        [[p for p, to in zip(PULSES, row, strict=True) if to == j] for j in range(4)]
        for row in reached
    ]
    # A pulse that pushes a unit towards its other state sets it, any other leaves it.
    expected = np.array([[code(np.where(p, p > 0, b)) for p in PULSES] for b in BITS])

    durations = np.geomspace(1.5, 100, DURATIONS[size])
    measured = np.asarray(threshold(jnp.asarray(durations), -sink))
    exact = np.array([exact_threshold(d, sink) for d in durations])
    static = 1.5 / np.sqrt(3) - np.arctanh(1 / np.sqrt(3))
    walk = follow(sinks[0])
    rests = np.asarray(walk.states)[[39, 119, 199, 279, 360]]  # before each pulse, and last
    visited = [NAMES[nearest(h, sinks)] for h in rests]

    numbers = {
        "sink": sink,
        "transitions": {"pulses": PULSES, "from": NAMES, "to": reached},
        "largest_distance_from_a_sink": missed,
        "threshold": {"duration": durations, "measured": measured, "exact": exact},
        "static_threshold": static,
        "least_duration": 2 * np.log(1 + sink),
        "walk": visited,
        "claims": [
            {
                "claim": "a finite state machine with four states and input-driven moves",
                "paper": "4 states, moves between neighbours (figure 2B)",
                "found": f"{sum(bool(r) for row in routes for r in row)} of 16 moves, "
                "diagonal ones included, each by one pulse",
                "agrees": bool((reached == expected).all() and missed < 1e-3),
                "note": f"pulses of amplitude {A} and duration {DURATION}; every run ends "
                f"within {missed:.0e} of a sink",
            },
            {
                "claim": "the units are independent: a pulse on one leaves the other",
                "paper": "two independent bistable GRUs",
                "found": f"{int((reached == expected).sum())} of {reached.size} outcomes "
                "as for separate switches",
                "agrees": bool((reached == expected).all()),
                "note": "",
            },
            {
                "claim": "the least pulse that switches",
                "paper": None,
                "found": f"amplitude {measured[-1]:.4f} at duration {durations[-1]:.0f}, "
                f"{measured[0]:.3f} at {durations[0]}",
                "agrees": bool(np.abs(measured / exact - 1).max() < 1e-4),
                "note": f"quadrature agrees to {np.abs(measured / exact - 1).max():.0e}; "
                f"no pulse below {static:.6f} switches, however long, and none shorter "
                f"than {2 * np.log(1 + sink):.3f}, however strong",
            },
        ],
        "tables": [
            {
                "title": "Pulses (x, y) that move the state from row to column",
                "columns": ["from \\ to", *NAMES],
                "rows": [
                    [name, *(" ".join(map(label, r)) for r in row)]
                    for name, row in zip(NAMES, routes, strict=True)
                ],
            }
        ],
        "figures": [
            {
                "file": "walk.png",
                "caption": "One trajectory through all four states: "
                + " → ".join(visited)
                + ". Left: state and input against time. Right: the same in the plane, "
                "with the sinks.",
            },
            {
                "file": "threshold.png",
                "caption": "The least amplitude that switches one unit, against the "
                "duration of the pulse: bisection on simulations (dots) and quadrature "
                f"(line). Dashed: the amplitude {static:.4f} at which the sink itself "
                "vanishes; dotted: the least duration.",
            },
        ],
    }
    io.write_json(out / "input_pulses.json", numbers)
    draw_walk(out / "walk.png", walk, sinks)
    draw_threshold(out / "threshold.png", durations, measured, exact, static, sink)
    return numbers


@eqx.filter_jit
def pulsed(start, pulse, duration=DURATION):
    """The state long after a pulse of the given height and duration."""
    times = jnp.stack([0.0, duration, duration + REST])
    # Steps of 0.1 for the longest pulse: errors of 1e-6, far from deciding anything.
    run = cgru.integrate(FLOW, start, times, lambda t: pulse * (t < duration), substeps=600)
    return run.states[-1]


@jax.jit
def threshold(durations, sink):
    def one(duration):
        def halve(bounds, _):
            middle = (bounds[0] + bounds[1]) / 2
            end = pulsed(jnp.stack([sink, sink]), jnp.stack([middle, 0.0]), duration)
            switched = end[0] > 0
            low = jnp.where(switched, bounds[0], middle)
            return (low, jnp.where(switched, middle, bounds[1])), None

        return jax.lax.scan(halve, (0.0, 8.0), None, length=30)[0][1]

    return jax.vmap(one)(durations)


def exact_threshold(duration, sink):
    def late(amplitude):
        speed = lambda h: 2 / (np.tanh(1.5 * h + amplitude) - h)
        # Where the flow is slowest the integrand is a narrow peak.
        slowest = -np.sqrt(1 / 3) - (amplitude - static) / 1.5
        peak = [slowest] if -sink < slowest < 0 else None
        return quad(speed, -sink, 0, points=peak, limit=500)[0] - duration

    static = 1.5 / np.sqrt(3) - np.arctanh(1 / np.sqrt(3))
    return brentq(late, static + 1e-7, 20, xtol=1e-10)


def follow(start):
    edges = jnp.array([t for begin, _ in WALK for t in (begin, begin + DURATION)])
    heights = np.zeros((2 * len(WALK) + 1, 2))
    heights[1::2] = A * np.array([pulse for _, pulse in WALK])
    heights = jnp.asarray(heights)
    return cgru.integrate(
        FLOW,
        start,
        np.arange(0, 180.5, 0.5),
        lambda t: heights[jnp.searchsorted(edges, t, side="right")],
        substeps=10,
    )


def nearest(h, sinks):
    return int(np.argmin(np.linalg.norm(sinks - np.asarray(h), axis=1)))


def code(bits):
    return int(bits[0]) + 2 * int(bits[1])


def label(pulse):
    return "(" + ", ".join({-1: "−", 0: "0", 1: "+"}[int(p)] for p in pulse) + ")"


def draw_walk(path, walk, sinks):
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplot_mosaic(
        [["state", "plane"], ["input", "plane"]],
        width_ratios=(2, 1), height_ratios=(3, 1),
    )  # fmt: skip
    above, below, ax = axes["state"], axes["input"], axes["plane"]
    times, states = np.asarray(walk.times), np.asarray(walk.states)
    looks = [("x", "#0072B2", "solid"), ("y", "#D55E00", "dashed")]
    for i, (name, colour, style) in enumerate(looks):
        look = {"color": colour, "linestyle": style}
        above.plot(times, states[:, i], label=f"{name}(t)", **look)
        given = sum(
            A * pulse[i] * ((times >= t) & (times < t + DURATION)) for t, pulse in WALK
        )
        below.step(times, given, where="post", label=f"input to {name}", **look)
    above.set(ylabel="state", xlim=(0, 180), xticklabels=[], yticks=[-1, 0, 1])
    below.set(xlabel="t", ylabel="input", xlim=(0, 180))
    above.legend(loc="center right", fontsize=8)
    below.legend(loc="center right", fontsize=8)

    ax.plot(*states.T, color="#8E24C9", linewidth=1.2)
    arrow = {"arrowstyle": "-|>", "color": "#8E24C9", "mutation_scale": 18}
    corners = sinks[[0, 1, 3, 2, 0]]
    for begin, end in itertools.pairwise(corners):
        ax.annotate("", begin + 0.56 * (end - begin), begin + 0.5 * (end - begin),
                    arrowprops=arrow)  # fmt: skip
    ax.plot(*sinks.T, "o", color="#D55E00", markersize=8, markeredgecolor="black")
    for name, (x, y) in zip(NAMES, sinks, strict=True):
        ax.text(x * 1.25, y * 1.25, name, ha="center", va="center", fontsize=12)
    ax.set(xlabel="x", ylabel="y", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    ax.set_aspect("equal")
    io.save_figure(figure, path, {"times": times, "states": states, "sinks": sinks})


def draw_threshold(path, durations, measured, exact, static, sink):
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    ax.loglog(durations, exact, color="black", label="quadrature")
    ax.loglog(durations, measured, "o", color="#D55E00", label="simulated")
    ax.axhline(static, color="#0072B2", linestyle="dashed", label="sink vanishes")
    ax.axvline(
        2 * np.log(1 + sink), color="#009E73", linestyle="dotted", label="least duration"
    )
    ax.set(xlabel="duration of the pulse", ylabel="least amplitude that switches")
    ax.legend(fontsize=9)
    data = {"duration": durations, "measured": measured, "exact": exact}
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/input_pulses"))
