"""What do the paper's phase portraits look like at its printed parameters? (figs. 2–9)"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io, plot

jax.config.update("jax_enable_x64", True)

# Starts per axis for the homoclinic regions: 41 resolves both lobes of figure 4B.
SCAN = {"quick": 41, "default": 81, "full": 161}
# Orbits run for longer than they compile, also where all else is compiled in haste.
COMPILE = {"xla_backend_optimization_level": 2}
REACH, NEAR = 250.0, 0.1  # as long as figures 4C and 4D; the origin attracts like 1/t
CASES = [name for name, row in cgru.ATLAS.items() if row.figure.startswith("9")]


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    found = {name: cgru.enumerate_equilibria(flow(name)) for name in cgru.ATLAS}
    loops = {name: homoclinic(name, SCAN[size]) for name in ("4a", "4b")}
    line = spectrum_of_six(found["6"])
    numbers = {
        "homoclinic": loops,
        "figure_6": line,
        "equilibria": {name: int(e.count) for name, e in found.items()},
        "claims": claims(found, loops, line),
        "figures": [
            figure_2(out, found),
            figure_3(out, found),
            figure_4(out, found, loops),
            figure_5(out, found),
            figure_6(out, found, line),
            figure_7(out, found),
            *(figure_9(out, found, sheet) for sheet in range(3)),
        ],
    }
    io.write_json(out / "portraits.json", numbers)
    return numbers


def flow(name):
    return cgru.Flow(cgru.ATLAS[name].cell())


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0, None))
def follow(system, start, times):
    """The trajectory by fixed steps: more than enough for a line in a picture."""
    return cgru.integrate(system, start, times, substeps=4)


@eqx.filter_jit(compiler_options=COMPILE)
@eqx.filter_vmap(in_axes=(None, 0, None))
def end(system, start, time):
    times = jnp.array([0.0, 1.0]) * time
    return cgru.integrate(system, start, times, substeps=1_000).states[-1]


def homoclinic(name, per_axis):
    """Which starts come to the origin in both directions of time, and in how many lobes."""
    axis = np.linspace(-1.2, 1.2, per_axis)
    starts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    ends = [np.asarray(end(flow(name), starts, time)) for time in (REACH, -REACH)]
    home = [np.linalg.norm(e, axis=1) < NEAR for e in ends]
    # The origin itself, where the lobes touch, belongs to none.
    away = np.linalg.norm(starts, axis=1) > NEAR
    inside = (home[0] & home[1] & away).reshape(per_axis, per_axis)
    lobes = components(inside)
    return {
        "axis": axis,
        "inside": inside,
        "regions": len(lobes),
        "shares_of_the_box": [
            round(len(lobe) / inside.size * (2.4 / 2) ** 2, 4) for lobe in lobes
        ],
        "hearts": [heart(lobe, axis) for lobe in lobes],
    }


def components(mask):
    """Connected components of a mask, each a list of (row, column); largest first."""
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        waiting, lobe = [left.pop()], []
        while waiting:
            i, j = waiting.pop()
            lobe.append((i, j))
            beside = {(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)} & left
            left -= beside
            waiting.extend(beside)
        found.append(lobe)
    return sorted(found, key=len, reverse=True)


def heart(lobe, axis):
    """The start that lies deepest in a lobe, measured from the starts outside."""
    cells = np.array(lobe)
    rows, columns = np.indices((len(axis), len(axis)))
    outside = np.ones((len(axis), len(axis)), bool)
    outside[cells[:, 0], cells[:, 1]] = False
    others = np.stack([rows[outside], columns[outside]], axis=-1)
    depth = [np.min(np.sum((others - cell) ** 2, axis=1)) for cell in cells]
    i, j = cells[int(np.argmax(depth))]
    return [float(axis[j]), float(axis[i])]


def spectrum_of_six(equilibria):
    rates = np.sort(
        -np.asarray(equilibria.eigenvalues)[np.asarray(equilibria.valid)][0].real
    )
    return {"rates": rates, "ratio_of_time_scales": float(rates[1] / rates[0])}


def claims(found, loops, line):
    rates = [f"{rate:.3f}" for rate in line["rates"]]
    eleven, nine = (int(found[name].count) for name in ("3a", "2"))
    return [
        {
            "claim": "Figure 2A: nine fixed points, four of them stable",
            "paper": "9",
            "found": f"{nine}, {int(found['2'].tally(cgru.KINDS.sink))} stable",
            "agrees": nine == 9 and int(found["2"].tally(cgru.KINDS.sink)) == 4,
            "note": "the text calls all nine stable; four sinks are meant",
        },
        {
            "claim": "Figure 3A: eleven fixed points",
            "paper": "11",
            "found": str(eleven),
            "agrees": eleven == 11,
            "note": "",
        },
        *(
            {
                "claim": f"Figure {name.upper()}: {word} of homoclinic orbits",
                "paper": str(number),
                "found": str(loops[name]["regions"]),
                "agrees": loops[name]["regions"] == number,
                "note": f"starts within {NEAR} of the origin at both t = ±{REACH:.0f}; "
                f"shares of the box [−1, 1]²: {loops[name]['shares_of_the_box']}",
            }
            for name, word, number in (
                ("4a", "one region", 1),
                ("4b", "two regions", 2),
            )
        ),
        {
            "claim": "Figure 6: a pseudo-line attractor",
            "paper": "nullclines close enough to mimic a line attractor",
            "found": f"one sink with rates {' and '.join(rates)}",
            "agrees": line["ratio_of_time_scales"] > 10,
            "note": "the printed parameters give no slow direction: the two rates differ "
            f"by a factor {line['ratio_of_time_scales']:.2f} only",
        },
    ]


def draw(axes, names, found, titles):
    """Portraits side by side under one colour bar."""
    data = {}
    for ax, name, title in zip(np.ravel(axes), names, titles, strict=True):
        data[name] = lean(plot.phase_portrait(flow(name), ax, equilibria=found[name]))
        ax.set_title(title)
    plot.speed_bar(axes)
    return data


def lean(drawn):
    """Every third sample of what was drawn: enough to draw it again, in less text."""
    thinned = {key: drawn[key][::3] for key in ("x", "y")}
    thinned["log_speed"] = drawn["log_speed"][::3, ::3]
    thinned["trajectories"] = drawn["trajectories"][:, ::3]
    return drawn | thinned


def figure_2(out, found):
    figure = Figure(figsize=(7, 6.6), layout="constrained")
    data = draw(figure.subplots(), ["2"], found, ["2A"])
    plot.legend(figure)
    io.save_figure(figure, out / "figure_2.png", data)
    return {
        "file": "figure_2.png",
        "caption": "Figure 2A: two independent bistable units. Four sinks, one in each "
        "quadrant, which is its basin; four saddles on the axes; a source at the origin.",
    }


def figure_3(out, found):
    figure = Figure(figsize=(15, 5.1), layout="constrained")
    data = draw(figure.subplots(1, 3), ["3a", "3b", "3c"], found, ["3A", "3B", "3C"])
    plot.legend(figure, columns=8)
    io.save_figure(figure, out / "figure_3.png", data)
    return {
        "file": "figure_3.png",
        "caption": "Figure 3. A: eleven equilibria. B: a sink, two saddle-nodes of the "
        "first kind and, at the origin, a codimension-two point: there the two branches "
        "cross on which ẋ and ẏ vanish without a change of sign. C: the saddle-node of the "
        "second kind is not exact at the printed decimals: a source and a saddle lie 0.003 "
        "apart.",
    }


def figure_4(out, found, loops):
    figure = Figure(figsize=(11.5, 8), layout="constrained")
    axes = figure.subplots(2, 2, height_ratios=[3, 1])
    data = draw(axes[0], ["4a", "4b"], found, ["4A", "4B"])
    for ax, below, name in zip(*axes, ("4a", "4b"), strict=True):
        loop = loops[name]
        ax.contourf(
            loop["axis"], loop["axis"], loop["inside"], levels=[0.5, 1], colors=["#56B4E9"],
            alpha=0.45,
        )  # fmt: skip
        ax.fill([], [], color="#56B4E9", alpha=0.45, label="homoclinic region")
        both = []
        for sign in (-1.0, 1.0):
            times = jnp.linspace(0, sign * REACH, 1_001)
            orbit = follow(flow(name), jnp.array(loop["hearts"][:1]), times)
            states = orbit.states[0]
            both.append((times, states))
            label = "one orbit" if sign > 0 else None
            ax.plot(
                *np.asarray(states).T, color="black", linewidth=2, label=label, zorder=5
            )
        (before, past), (after, future) = both
        whole = cgru.Trajectory(
            jnp.concatenate([before[:0:-1], after]),
            jnp.concatenate([past[:0:-1], future]),
            orbit.result,
        )
        data[f"series_{name}"] = plot.time_series(whole, below)
        below.set_title({"4a": "4C", "4b": "4D"}[name])
    plot.legend(figure, columns=8)
    io.save_figure(figure, out / "figure_4.png", data)
    return {
        "file": "figure_4.png",
        "caption": "Figure 4: bounded regions of homoclinic orbits (blue). Every start in "
        f"them is within {NEAR} of the origin at both t = −{REACH:.0f} and t = "
        f"{REACH:.0f}; the Jacobian at the origin vanishes. A: one region. B: two regions, "
        "mirror images in the line y = x. The black orbit is followed in both directions "
        "of time; C and D show it against time, one spike between two long rests.",
    }


def figure_5(out, found):
    figure = Figure(figsize=(15, 5.1), layout="constrained")
    axes = figure.subplots(1, 3)
    names = ["5a", "5b", "5c"]
    data = draw(axes, names, found, ["5A  θ = π/3", "5B  θ = π/5", "5C"])
    for ax, name, time in zip(axes, names, (50.0, 50.0, 800.0), strict=True):
        orbit = follow(flow(name), jnp.array([[0.2, 0.2]]), jnp.linspace(0, time, 1_001))
        states = np.asarray(orbit.states[0])
        ax.plot(*states.T, color="black", linewidth=1.5, label="one trajectory", zorder=5)
        data[f"trajectory_{name}"] = states.round(5)
    plot.legend(figure, columns=8)
    io.save_figure(figure, out / "figure_5.png", data)
    return {
        "file": "figure_5.png",
        "caption": "Figure 5: past the Hopf bifurcation. A: a stable spiral. B: a source "
        "inside a limit cycle. C: the cycle passes four slow points, where the nullclines "
        "almost touch, and takes long. The black trajectories begin at (0.2, 0.2).",
    }


def figure_6(out, found, line):
    figure = Figure(figsize=(11.5, 5.7), layout="constrained")
    wide, narrow = figure.subplots(1, 2)
    data = draw([wide], ["6"], found, ["6A"])
    box = ((-0.2, -0.2), (0.2, 0.2))
    zoomed = plot.phase_portrait(flow("6"), narrow, box=box, equilibria=found["6"])
    data["6_zoomed"] = lean(zoomed)
    narrow.set_title("6B")
    narrow.locator_params(nbins=5)
    plot.speed_bar(narrow)
    plot.legend(figure, columns=8)
    io.save_figure(figure, out / "figure_6.png", data)
    return {
        "file": "figure_6.png",
        "caption": "Figure 6, which the paper shows as a pseudo-line attractor. At the "
        "printed parameters the nullclines cross at a wide angle at one plain sink with "
        f"rates {line['rates'][0]:.3f} and {line['rates'][1]:.3f}: there is no slow "
        "manifold, in the whole (A) or in the zoom (B).",
    }


def figure_7(out, found):
    figure = Figure(figsize=(7, 6.6), layout="constrained")
    ax = figure.subplots()
    data = draw(ax, ["7"], found, ["7A"])
    orbit = follow(flow("7"), jnp.array([[-1.2, -0.6]]), jnp.linspace(0, 50, 1_001))
    states = np.asarray(orbit.states[0])
    ax.plot(*states.T, color="black", linewidth=2, label="through the slow point", zorder=5)
    data["trajectory"] = states.round(5)
    plot.legend(figure)
    io.save_figure(figure, out / "figure_7.png", data)
    return {
        "file": "figure_7.png",
        "caption": "Figure 7A: one sink, and a slow point near the origin where the "
        "nullclines almost touch. Trajectories from the lower left come to the slow point "
        "first (black, from (−1.2, −0.6)), then to the sink.",
    }


def figure_9(out, found, sheet):
    names = CASES[12 * sheet : 12 * (sheet + 1)]
    figure = Figure(figsize=(11.5, 8.7), layout="constrained")
    axes = figure.subplots(3, 4, sharex=True, sharey=True)
    titles = [
        f"({name})  {int(found[name].count)} found, {printed} printed"
        for name, printed in ((name, cgru.ATLAS[name].printed.total) for name in names)
    ]
    data = draw(axes, names, found, titles)
    for ax in axes.flat:
        ax.label_outer()
    plot.legend(figure, columns=9)
    # Speed and trajectories of 36 panels would be 30 MB of text; a row's name gives them.
    kept = ("nullclines", "points", "kinds")
    file = f"figure_9_{sheet + 1}.png"
    io.save_figure(
        figure, out / file, {name: {k: data[name][k] for k in kept} for name in names}
    )
    return {
        "file": file,
        "caption": f"Figure 9, ({names[0]}) to ({names[-1]}), at the parameters of table "
        "3. Where fewer or more equilibria are found than printed, the atlas says why.",
    }


if __name__ == "__main__":
    main(Path("results/portraits"))
