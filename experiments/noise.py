"""Which way does noise leave the codimension-2 point? (figure 3B)

U_h = 2 I, U_r = −I, all else 0: two units that do not see each other, each with a
half-stable origin, x' ≈ −x²/4. White noise of amplitude s is added to both. The paper: from
the first quadrant the state flows to the origin, and noise sends it to the sink either
directly or first into one of the two saddle-nodes of the first kind, where only one unit
has left. Each unit's mean time of passage is a double integral that needs no simulation
(the first-passage formula of a one-dimensional diffusion), and the two sides are mirror
images: both check the runs.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import brentq

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

FLOW = cgru.Flow(cgru.gru([[2.0, 0.0], [0.0, 2.0]], -jnp.eye(2)))
START, STRENGTH = np.array([0.5, 0.5]), 0.1
# Steps of 1/8, recorded every 1/2. One unit in 10⁷ takes longer to leave.
SPAN, EVERY, SUBSTEPS = 600.0, 0.5, 4
GONE = -0.4  # half way to the sink, where the drift outweighs the noise
RUNS = {"quick": 250, "default": 1_000, "full": 20_000}
# Runs take longer than to compile them, also where all else is compiled in haste.
COMPILE = {"xla_backend_optimization_level": 2}
SEED, GROUP = 0, 250  # runs in one block, which bounds the memory
WAYS = ("directly", "through (s, 0)", "through (0, s)")
COLOURS = ("#8E24C9", "#0072B2", "#D55E00")


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    sink = brentq(lambda h: np.tanh(2 * h / (1 + np.exp(h))) - h, -0.95, -0.5)
    keys = jr.split(jr.key(SEED), RUNS[size])
    still = calm()
    states = runs(keys, SUBSTEPS)
    left, way, dwell, between = read(states, sink)
    # Records every 0.5 miss brief excursions beyond a line, as if it lay further off by
    # −ζ(1/2) / √(2π) standard deviations of one interval (Broadie, Glasserman, Kou 1997).
    exact = passage_time(START[0], GONE - 0.5826 * STRENGTH * np.sqrt(EVERY))

    n = len(states)
    shares = {name: share(np.sum(way == i), n) for i, name in enumerate(WAYS)}
    times = {
        "at the origin, until the first unit leaves": average(dwell),
        "at a saddle-node, until the second follows": average(between[way > 0]),
        "until a given unit leaves": average(left.ravel()),
    }
    first, second = np.sum(way == 1), np.sum(way == 2)
    sigmas = (first - second) / np.sqrt(max(first + second, 1))
    passage = times["until a given unit leaves"]
    numbers = {
        "sink": [sink, sink],
        "noise": STRENGTH,
        "runs": n,
        "start": START,
        "shares": shares,
        "dwell": times,
        "exact_passage_time": exact,
        "side_difference_in_sigmas": sigmas,
        "not_gone": int(np.isnan(left).sum()),
    }
    control = None
    if size != "quick":
        # The same Brownian paths with half the step.
        other = read(runs(keys, 2 * SUBSTEPS), sink)
        control = {
            "same_way": np.mean(other[1] == way),
            "shares": {
                name: share(np.sum(other[1] == i), n) for i, name in enumerate(WAYS)
            },
            "dwell": average(other[2]),
            "median_change_of_dwell": np.median(np.abs(other[2] - dwell)),
        }
    numbers |= {
        "half_the_step": control,
        "claims": [
            {
                "claim": "from the first quadrant the state flows to the origin",
                "paper": "will flow towards the codimension-2 point at the origin",
                "found": f"without noise |h| = {still[-1]:.4f} at t = 1,000; 4 √2 / t is "
                f"{4 * np.sqrt(2) / 1_000:.4f}",
                "agrees": bool(still[-1] < 0.01 and np.all(np.diff(still) < 0)),
                "note": "algebraic, not exponential: x' ≈ −x²/4",
            },
            {
                "claim": "noise sends it to the sink directly or through a saddle-node",
                "paper": "either directly, or by first flowing into one of the two",
                "found": "; ".join(f"{k} {text(v)}" for k, v in shares.items()),
                "agrees": bool(all(np.sum(way == i) for i in range(3))),
                "note": f"{n} runs, noise {STRENGTH}, 95 % intervals; through: one unit "
                "is within 0.1 of its sink while the other is still above −0.2; sink at "
                f"({sink:.4f}, {sink:.4f}), the paper says (−1, −1)",
            },
            {
                "claim": "the two sides are alike",
                "paper": None,
                "found": f"{first} and {second} runs",
                "agrees": bool(abs(sigmas) < 4),
                "note": f"{sigmas:+.1f} standard deviations; x ↔ y is a symmetry",
            },
            {
                "claim": "mean time until a unit leaves",
                "paper": None,
                "found": f"{text(passage, 'mean')} simulated, {exact:.3f} by quadrature",
                "agrees": bool(abs(passage["mean"] - exact) < 2 * passage["half_width"]),
                "note": "by quadrature for a line that is shifted as records every 0.5 ask",
            },
        ],
        "tables": [
            {
                "title": "Dwell times, with 95 % intervals",
                "columns": ["time", "mean"],
                "rows": [[name, text(value, "mean")] for name, value in times.items()],
            }
        ],
        "figures": [
            {
                "file": "ways.png",
                "caption": "Runs from (0.5, 0.5), up to four for each of the ways "
                "from the origin (star) to the sink (circle); triangles are the two "
                f"saddle-nodes, (s, 0) and (0, s) with s = {sink:.3f}. Right: how long one "
                "unit stays before it leaves; the dashed line is the exact mean, "
                f"{exact:.2f}.",
            }
        ],
    }  # fmt: skip
    io.write_json(out / "noise.json", numbers)
    draw(out / "ways.png", states, way, left, sink, exact)
    return numbers


def calm():
    """The distance from the origin at four times, without noise."""
    times = np.array([0.0, 10.0, 100.0, 1_000.0])
    run = cgru.integrate(FLOW, START, times, substeps=2_000)
    return np.linalg.norm(np.asarray(run.states), axis=1)


@eqx.filter_jit(compiler_options=COMPILE)
def runs(keys, substeps):
    times = np.arange(0, SPAN + EVERY, EVERY)

    def run(key):
        return cgru.integrate(
            FLOW, START, times, substeps=substeps, noise=STRENGTH, key=key
        ).states

    return jax.lax.map(run, keys, batch_size=GROUP)


def read(states, sink):
    """When each unit leaves, the way of each run, and the two dwell times."""
    states = np.asarray(states)
    below = states < GONE
    steps = np.argmax(below, axis=1)
    left = np.where(below.any(axis=1), steps * EVERY, np.nan)
    leader = (
        np.nanargmin(np.append(left, np.full((len(left), 1), SPAN), axis=1), axis=1) % 2
    )
    rows = np.arange(len(states))
    # It passes a saddle-node if one unit comes to the sink while the other still waits;
    # later the other may well return, but that is no way out of the origin.
    first = np.arange(states.shape[1]) <= steps.max(axis=1)[:, None]
    near = np.abs(states[rows, :, leader] - sink) < 0.1
    waiting = states[rows, :, 1 - leader] > GONE / 2
    through = (first & near & waiting).any(axis=1)
    way = np.where(np.isnan(left).any(axis=1), -1, np.where(through, 1 + leader, 0))
    return left, way, left.min(axis=1), np.abs(left[:, 0] - left[:, 1])


def passage_time(start, end):
    """Mean time from `start` to `end` of dx = f dt + s dW: (2/s²) ∫ e^Φ ∫ e^(−Φ), with
    Φ = −(2/s²) ∫ f, the inner integral from above, where the drift returns every state."""
    x = np.linspace(end, 3, 200_001)
    f = (np.tanh(2 * x / (1 + np.exp(x))) - x) / 2
    potential = -2 / STRENGTH**2 * cumulative_trapezoid(f, x, initial=0)
    potential -= potential.min()
    inside = np.exp(-potential)
    total = cumulative_trapezoid(inside, x, initial=0)
    outside = np.exp(potential[x <= start]) * (total[-1] - total[x <= start])
    return 2 / STRENGTH**2 * np.trapezoid(outside, x[x <= start])


def share(count, n):
    """A fraction with Wilson's 95 % interval."""
    z, p = 1.96, count / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return {"share": p, "low": centre - half, "high": centre + half}


def average(values):
    values = values[np.isfinite(values)]
    half = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))
    return {"mean": np.mean(values), "half_width": half, "runs": len(values)}


def text(value, kind="share"):
    if kind == "mean":
        return f"{value['mean']:.2f} ± {value['half_width']:.2f}"
    return f"{value['share']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def draw(path, states, way, left, sink, exact):
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    *planes, histogram = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.2))
    data = {"way": way, "left": left}
    for i, ax in enumerate(planes):
        data[WAYS[i]] = []
        for run in np.flatnonzero(way == i)[:4]:
            last = int(np.max(left[run]) / EVERY) + 20
            data[WAYS[i]].append(np.asarray(states[run, :last]).round(4))
            ax.plot(*data[WAYS[i]][-1].T, color=COLOURS[i], linewidth=0.6, alpha=0.8)
        ax.plot(sink, sink, "o", color="#009E73", markersize=9, markeredgecolor="black")
        ax.plot([sink, 0], [0, sink], "^", color="#E69F00", markersize=9,
                markeredgecolor="black")  # fmt: skip
        ax.plot(0, 0, "*", color="white", markersize=13, markeredgecolor="black")
        ax.set(xlabel="x", ylabel="y", xlim=(-1.3, 0.8), ylim=(-1.3, 0.8), title=WAYS[i])
        ax.set_aspect("equal")
    histogram.hist(left[np.isfinite(left)], bins=40, color="#56B4E9", edgecolor="white")
    histogram.axvline(exact, color="black", linestyle="dashed", label="exact mean")
    histogram.set(xlabel="time until a unit leaves", ylabel="units")
    histogram.legend(fontsize=9)
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/noise"))
