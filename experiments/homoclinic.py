"""Where does the rotating two-unit GRU have a homoclinic orbit, and how does that end?

U_h = g R(1/2) with a bias b on the first unit, as in `two_parameters`. From a
Bogdanov–Takens point one homoclinic orbit is found by its normal form, with its gradient
in gain and angle; on one side of it, as the saddle quantity says, a stable cycle is born.
The full size also follows the curve of these orbits, next to the folds and the Hopf points
that meet there, to where its saddle meets a node: that takes a minute to compile.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import KINDS, RESULTS, io

jax.config.update("jax_enable_x64", True)

ANGLE = 0.5
BOUNDS = (-2.0, 1.0), (2.0, 6.0)  # low and high corner of (bias, gain)
TAKENS = [-0.1, 0.8], [0.7, 3.4]  # a guess, read off the figure of `two_parameters`
BELOW = 0.05  # of the gain at the point, where the curve is entered
# In the normal form folds, Hopf points and homoclinic orbits lie at 1/4, 0 and −6/25 of the
# square of the distance.
RATIO = -24 / 25
PALETTE = {"folds": "#D55E00", "Hopf points": "#0072B2", "homoclinic orbits": "#009E73"}
STYLES = {"folds": "-", "Hopf points": "--", "homoclinic orbits": "-."}


def family(p, angle=ANGLE):
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.array([[cos, -sin], [sin, cos]])
    return cgru.Flow(cgru.gru(p[1] * rotation, b_h=jnp.stack([p[0], 0.0])))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    # What takes time is to compile the orbit, its derivative and the curve.
    numbers = {"claims": [], "figures": []} if size == "quick" else survey(out, size)
    io.write_json(out / "homoclinic.json", numbers)
    return numbers


def survey(out, size):
    takens = cgru.locate_bogdanov_takens(family, *map(jnp.array, TAKENS))
    gain = takens.parameter[1] - BELOW
    hopf, fold, orbit = enter(gain, takens)
    ratio = float((orbit.parameter - hopf.parameter) / (fold.parameter - hopf.parameter))
    slope, difference = derivatives(orbit, gain)
    born = both_sides(orbit, gain)
    quantity = float(orbit.saddle_quantity)
    flow = family(jnp.stack([orbit.parameter, gain]))
    trace = abs(float(jnp.trace(flow.jacobian(orbit.saddle))) - quantity)
    numbers = {
        "bogdanov_takens": takens.parameter,
        "orbit": [orbit.parameter, gain],
        "gradient": {"implicit": slope, "central_difference": difference},
        "claims": [
            {
                "claim": "a homoclinic orbit near a Bogdanov–Takens point",
                "paper": "not treated",
                "found": f"at g = {float(gain):.6f}: b = {float(orbit.parameter):.10f}",
                "agrees": bool(abs(ratio / RATIO - 1) < 0.05),
                "note": "beside the Hopf point by "
                f"{ratio:.4f} of the way to the fold; normal form, to leading order: "
                f"{RATIO:.4f}",
            },
            {
                "claim": "a stable cycle is born from it: the saddle quantity is negative",
                "paper": "not treated",
                "found": f"{quantity:.6f}; beside the orbit: {born['text']}",
                "agrees": bool(quantity < 0 and born["right"]),
                "note": f"equal to the trace of the Jacobian within {trace:.0e}",
            },
            {
                "claim": "the gradient of where it is, in gain and angle",
                "paper": "not treated",
                "found": ", ".join(f"{x:.9f}" for x in slope),
                "agrees": bool(np.allclose(slope, difference, rtol=1e-5, atol=0)),
                "note": "central differences: " + ", ".join(f"{x:.9f}" for x in difference),
            },
        ],
    }
    if size == "full":
        more = follow(out / "plane.png", takens, hopf, fold, orbit, gain)
        numbers["claims"].append(more.pop("claim"))
        return numbers | more
    return numbers | {"figures": [one_orbit(out / "orbit.png", orbit, born["states"])]}


def follow(path, takens, hopf, fold, orbit, gain):
    """The curve of homoclinic orbits to its end, beside those that it begins with."""
    at = jnp.stack([orbit.parameter, gain])
    ways = [
        cgru.trace_homoclinic_curve(family, orbit, at, bounds=BOUNDS, direction=way)
        for way in (1.0, -1.0)
    ]
    near, far = map(columns, ways)
    curve = {key: np.concatenate([near[key][::-1], far[key][1:]]) for key in near}
    beside = {
        "folds": cgru.trace_fold_curve,
        "Hopf points": cgru.trace_hopf_curve,
    }
    lines = {}
    for label, start in (("folds", fold), ("Hopf points", hopf)):
        place = jnp.stack([start.parameter, gain])
        parts = [
            beside[label](family, start.point, place, bounds=BOUNDS, direction=way)
            for way in (1.0, -1.0)
        ]
        parts = [np.asarray(c.parameters)[np.asarray(c.valid)] for c in parts]
        lines[label] = np.concatenate([parts[0][::-1], parts[1][1:]])
    lines["homoclinic orbits"] = curve["parameters"]
    picture(path, lines, takens, curve)
    gap = distance(curve["parameters"][-1], lines["folds"])
    trace = float(np.max(np.abs(curve["saddle_quantity"] - curve["trace"])))
    negative = bool((curve["saddle_quantity"] < 0).all())
    return {
        "curve": {k: v for k, v in curve.items() if k != "points"},
        "claim": {
            "claim": "its curve in two parameters leads from there to a saddle-node",
            "paper": "not treated",
            "found": f"{len(curve['parameters'])} orbits, ended by "
            + " and ".join(reason(way) for way in ways),
            "agrees": bool(
                ways[1].result == RESULTS.saddle_node and gap < 1e-3 and negative
            ),
            "note": f"the last saddle is left {far['ratio'][-1]:.3f} times as fast as "
            f"entered; the curve of folds is {gap:.1e} away; the saddle quantity falls "
            f"from {max(curve['saddle_quantity']):.2e} to "
            f"{min(curve['saddle_quantity']):.3f}, the trace of the Jacobian within "
            f"{trace:.0e}",
        },
        "figures": [
            {
                "file": "plane.png",
                "caption": "Left: folds, Hopf points and homoclinic orbits of the rotating "
                "GRU, and the Bogdanov–Takens point in which they meet. Right: some of the "
                "orbits, each counted from its saddle (dot).",
            }
        ],
    }


def enter(gain, takens):
    """Hopf point, fold and homoclinic orbit at one gain, the last from the normal form."""
    one = lambda b: family(jnp.stack([b, gain]))
    hopf = cgru.locate_hopf(one, takens.point, takens.parameter[0])
    fold = cgru.locate_fold(one, takens.point, takens.parameter[0])
    guess = hopf.parameter + RATIO * (fold.parameter - hopf.parameter)
    saddle = 2 * fold.point - hopf.point
    size = float(jnp.linalg.norm(saddle - hopf.point))
    return hopf, fold, locate(gain, ANGLE, saddle, guess, 8 * size)


def locate(gain, angle, saddle, guess, length):
    return cgru.locate_homoclinic(
        lambda b: family(jnp.stack([b, gain]), angle), saddle, guess, side=-1, length=length
    )


def derivatives(orbit, gain):
    """Of the bias in gain and angle: implicit, and by central differences."""
    length = float(jnp.sum(jnp.linalg.norm(jnp.diff(orbit.points, axis=0), axis=1))) * 1.5
    place = lambda q: locate(q[0], q[1], orbit.saddle, orbit.parameter, length).parameter
    q, step = jnp.stack([gain, ANGLE]), 1e-5
    central = [
        float(place(q + step * e) - place(q - step * e)) / (2 * step) for e in jnp.eye(2)
    ]
    return np.asarray(jax.grad(place)(q)).tolist(), central


def both_sides(orbit, gain):
    """Whether an orbit from beside the focus ends on a cycle, on each side of the curve:
    seen from its size over the last third."""
    found, kept = {}, {}
    for label, step in (("below", -1e-4), ("above", 1e-4)):
        flow = family(jnp.stack([orbit.parameter + step, gain]))
        every = cgru.find_equilibria(flow)
        focus = every.points[
            np.argmax(np.asarray(every.valid & (every.kind == KINDS.source)))
        ]
        start, times = focus + 1e-3, jnp.linspace(0, 9000.0, 3001)
        states = np.asarray(cgru.integrate(flow, start, times).states)[2000:]
        found[label] = float(np.ptp(states, axis=0).max())
        kept[label] = states[-600:]
    cycles = {k: v > 1e-2 for k, v in found.items()}
    words = {True: "a cycle", False: "none"}
    return {
        "right": sum(cycles.values()) == 1,
        "text": ", ".join(f"{words[v]} {k}" for k, v in cycles.items()),
        "states": kept,
    }


def columns(curve):
    used = np.asarray(curve.valid)
    jacobians = jax.vmap(lambda x, p: family(p).jacobian(x))(
        curve.saddles[used], curve.parameters[used]
    )
    values = np.sort(np.linalg.eigvals(np.asarray(jacobians)).real, axis=1)
    return {
        "parameters": np.asarray(curve.parameters)[used],
        "saddles": np.asarray(curve.saddles)[used],
        "saddle_quantity": np.asarray(curve.saddle_quantity)[used],
        "trace": np.trace(np.asarray(jacobians), axis1=1, axis2=2),
        "ratio": values[:, 1] / -values[:, 0],
        "points": np.asarray(curve.points)[used],
    }


def distance(point, line):
    """From a point to a polygon."""
    start, side = line[:-1], np.diff(line, axis=0)
    part = np.sum((point - start) * side, axis=1) / np.sum(side**2, axis=1)
    foot = start + np.clip(part, 0, 1)[:, None] * side
    return float(np.min(np.linalg.norm(foot - point, axis=1)))


def reason(curve):
    ends = {
        "a saddle-node": RESULTS.saddle_node,
        "the Bogdanov–Takens point": RESULTS.shrunk,
        "the room for orbits": RESULTS.capacity,
        "a bound": RESULTS.bound,
    }
    return next((k for k, v in ends.items() if curve.result == v), "nothing known")


def one_orbit(path, orbit, states):
    """The orbit, and where others are after a long time on either side of it."""
    figure = Figure(figsize=(6.5, 4.8), layout="constrained")
    ax = figure.subplots()
    points = np.asarray(orbit.points)
    ax.plot(*points.T, "-", color="#009E73", linewidth=2, label="homoclinic orbit")
    for side, line in states.items():
        if np.ptp(line, axis=0).max() > 1e-2:
            ax.plot(*line.T, ".", color="#D55E00", markersize=3, label=f"b {side}: a cycle")
    ax.plot(*orbit.saddle, "s", color="white", markeredgecolor="black", label="saddle")
    ax.set(xlabel="h₁", ylabel="h₂")
    ax.legend(fontsize=8)
    io.save_figure(figure, path, {"orbit": points, "saddle": orbit.saddle, **states})
    return {
        "file": path.name,
        "caption": "The homoclinic orbit of the rotating GRU near its Bogdanov–Takens "
        "point, and late states of an orbit from inside it with the bias moved by 1e-4: a "
        "cycle. Moved to the other side, the orbit leaves for a sink.",
    }


def picture(path, lines, takens, curve):
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for label, line in lines.items():
        left.plot(*line.T, STYLES[label], color=PALETTE[label], linewidth=1.6, label=label)
    point = np.asarray(takens.parameter)
    left.plot(*point, "D", color="#F0E442", markeredgecolor="black", markersize=8,
              label="Bogdanov–Takens point", zorder=5)  # fmt: skip
    end = curve["parameters"][-1]
    left.plot(*end, "o", color="white", markeredgecolor="black", markersize=8,
              label="the saddle meets a node", zorder=5)  # fmt: skip
    low, high = curve["parameters"].min(axis=0), point
    margin = 0.25 * (high - low)
    left.set(xlim=(low[0] - margin[0], high[0] + margin[0]))
    left.set(ylim=(low[1] - margin[1], high[1] + margin[1]))
    left.set(xlabel="bias b of the first unit", ylabel="gain g")
    left.legend(fontsize=8)
    sizes = np.ptp(curve["points"][:, :, 0], axis=1)
    shown = [np.argmin(np.abs(sizes - size)) for size in (0.05, 0.15, 0.3, 0.5, 0.7, 9)]
    for k, style in zip(shown, ("-", "--", "-.", ":", "-", "--"), strict=True):
        g = curve["parameters"][k, 1]
        orbit = curve["points"][k] - curve["saddles"][k]
        right.plot(*orbit.T, style, label=f"g = {g:.4f}")
    right.plot(0, 0, "o", color="black")
    right.set(xlabel="h₁ from the saddle", ylabel="h₂ from the saddle")
    right.legend(fontsize=8)
    data = {**lines, "bogdanov_takens": point, "orbits": curve["points"][shown]}
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/homoclinic"))
