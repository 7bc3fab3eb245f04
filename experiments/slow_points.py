"""Where are the slow points of figures 5C, 6 and 7, how slow, and how many at once?

A slow point is a local minimum of the speed that is no equilibrium. Near a fold its speed
falls like the distance to the fold, and the time to pass it grows like one over the root.
The paper finds four at once (figure 5C) and argues that five, the most that the number of
equilibria would allow, do not occur. Random networks with one equilibrium put that to the
test, and one that was solved for: six folds at once, and a step beyond all of them.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io, plot

jax.config.update("jax_enable_x64", True)

FIGURES = ["5c", "6", "7"]
FOLD = 0.1478220707  # θ below which the rotation network has four more pairs of equilibria
DISTANCES = np.geomspace(1e-6, 1e-2, 9)  # of θ from it
DRAWS = {"quick": 60, "default": 4_000, "full": 500_000}
CHUNK = 512  # networks at once: bounded memory
# Of which there are many: optimised, also where all else is compiled in haste.
COMPILE = {"xla_backend_optimization_level": 2}
# U_h, U_r, b_h, b_r: six collisions solved for at once, from a network with thirteen
# equilibria, and all six passed by one thousandth. The change (x, y) -> (-y, -x) leaves it
# alone.
SIX = (
    [[5.8654, 1.4369], [1.4369, 5.8654]],
    [[-1.8205, 6.1857], [-6.1857, 1.8205]],
    [-0.2892, 0.2892],
    [-2.9275, -2.9275],
)


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    printed = [cgru.ATLAS[name].cell() for name in FIGURES]
    beside = [rotation(FOLD + d) for d in DISTANCES]
    designed = cgru.gru(*SIX)
    cells = jax.tree.map(lambda *x: jnp.stack(x), *printed, *beside, designed)
    drawn = draw(jr.split(jr.key(0), DRAWS[size]))
    cells = jax.tree.map(lambda *x: jnp.concatenate(x), cells, drawn)
    slow, equilibria = look(cells)
    seen = {name: member((slow, equilibria), i) for i, name in enumerate(FIGURES)}
    law = scaling(member(slow, slice(len(FIGURES), len(printed) + len(beside))))
    known = len(printed) + len(beside)
    six = member(slow, known)
    proof = cgru.enumerate_equilibria(cgru.Flow(designed))
    probe = count(*member((slow, equilibria), slice(known + 1, None)))
    numbers = {
        "figures": [
            portraits(out / "portraits.png", seen),
            laws(out / "scaling.png", law),
        ],
        "slow_points": {name: rows(slow) for name, (slow, _) in seen.items()},
        "six": {"parameters": SIX, "slow_points": rows(six), "equilibria": proof},
        "scaling": law,
        "probe": probe,
        "claims": claims(seen, law, probe, six, proof),
        "tables": [
            {
                "title": "Slow points at the printed parameters",
                "columns": ["figure", "x", "y", "speed", "time to pass", "no zero within"],
                "rows": [
                    [name, *(f"{x:.4g}" for x in row)]
                    for name, (slow, _) in seen.items()
                    for row in rows(slow)
                ],
            },
            {
                "title": "Networks by their number of slow points in [−1, 1]²",
                "columns": ["slow points", "all networks", "one equilibrium"],
                "rows": [
                    [str(k), *map(str, pair)]
                    for k, pair in enumerate(
                        zip(probe["networks"], probe["one_equilibrium"], strict=True)
                    )
                ],
            },
        ],
    }
    io.write_json(out / "slow_points.json", numbers)
    return numbers


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]]))


@eqx.filter_jit
@eqx.filter_vmap
def draw(key):
    """A random network; half of them with weights as wide as the paper's."""
    noise = jr.normal(key, (13,))
    scale = jnp.where(noise[12] > 0, 2.0, 0.7)
    return cgru.gru(
        3 / 2 * scale * noise[:4].reshape(2, 2),
        5 * scale * noise[4:8].reshape(2, 2),
        0.3 * noise[8:10],
        2 * scale * noise[10:12],
    )


def look_at(cell):
    flow = cgru.Flow(cell)
    return cgru.find_slow_points(flow), cgru.find_equilibria(flow)


def look(cells):
    """Slow points and equilibria of every network."""
    size = len(cells.U_h)
    if size <= CHUNK:  # compiling for a batch would take longer than to do without
        parts = [look_at(member(cells, i)) for i in range(size)]
        return jax.tree.map(lambda *x: np.stack(x), *parts)
    batched = eqx.filter_jit(eqx.filter_vmap(look_at), compiler_options=COMPILE)
    parts = []
    for start in range(0, size, CHUNK):
        places = np.minimum(np.arange(start, start + CHUNK), size - 1)
        parts.append(jax.tree.map(np.asarray, batched(member(cells, places))))
    return jax.tree.map(lambda *x: np.concatenate(x)[:size], *parts)


def member(tree, which):
    return jax.tree.map(lambda x: x[which], tree)


def rows(slow):
    table = np.column_stack([slow.points, slow.speed, slow.time_constant, slow.clearance])
    return table[np.asarray(slow.valid)]


def scaling(slow):
    """Speed and passage time beside the fold of the rotation network, mean of four."""
    speed, time = np.nanmean(slow.speed, axis=1), np.nanmean(slow.time_constant, axis=1)
    exponents = [np.polyfit(np.log(DISTANCES), np.log(y), 1)[0] for y in (speed, time)]
    return {
        "distance": DISTANCES,
        "speed": speed,
        "time": time,
        "speed_exponent": float(exponents[0]),
        "time_exponent": float(exponents[1]),
        "period_times_root": float(4 * time[0] * np.sqrt(DISTANCES[0])),
    }


def count(slow, equilibria):
    """How many networks have how many slow points in the box that orbits end in."""
    inside = slow.valid & np.all(np.abs(slow.points) < 1, axis=2)
    numbers = np.sum(inside, axis=1)
    single = numbers[np.sum(equilibria.valid, axis=1) == 1]
    length = max(6, numbers.max() + 1)
    return {
        "draws": len(numbers),
        "networks": np.bincount(numbers, minlength=length),
        "one_equilibrium": np.bincount(single, minlength=length),
        "most": int(numbers.max()),
        "most_beside_one_equilibrium": int(single.max()),
    }


def claims(seen, law, probe, six, proof):
    counts = {name: int(np.sum(slow.valid)) for name, (slow, _) in seen.items()}
    seven, four = (rows(seen[name][0]) for name in ("7", "5c"))
    spread = float(np.ptp(four[:, 2]) / four[:, 2].mean())
    most = probe["most_beside_one_equilibrium"]
    speeds = rows(six)[:, 2]
    alone = bool(proof.complete) and int(proof.count) == 1
    return [
        {
            "claim": "Figure 7: a slow point about the origin",
            "paper": "one",
            "found": f"{counts['7']}, at ({seven[0, 0]:.4f}, {seven[0, 1]:.4f}), speed "
            f"{seven[0, 2]:.5f}",
            "agrees": bool(counts["7"] == 1 and np.hypot(*seven[0, :2]) < 0.05),
            "note": f"proved: no equilibrium within {seven[0, 4]:.4f} of it",
        },
        {
            "claim": "Figure 5C: four slow points at once",
            "paper": "four",
            "found": f"{counts['5c']}, speed {four[:, 2].mean():.3e}, time to pass "
            f"{four[:, 3].mean():.1f} each",
            "agrees": counts["5c"] == 4,
            "note": f"equal by symmetry; the speeds differ by {spread:.0e} of themselves",
        },
        {
            "claim": "Figure 6: a slow manifold, that mimics a line attractor",
            "paper": "a pseudo-line attractor",
            "found": f"{counts['6']} slow points besides the sink",
            "agrees": counts["6"] > 0,
            "note": "at the printed parameters the speed has no least value but zero",
        },
        {
            "claim": "near a fold the flow can be arbitrarily slow",
            "paper": "arbitrarily slow flow",
            "found": f"speed ~ distance^{law['speed_exponent']:.3f}, time to pass ~ "
            f"distance^{law['time_exponent']:.3f}",
            "agrees": abs(law["speed_exponent"] - 1) < 0.02
            and abs(law["time_exponent"] + 0.5) < 0.01,
            "note": "a saddle-node's normal form says 1 and −1/2; four times to pass, "
            f"times the root of the distance, make {law['period_times_root']:.3f}, the "
            "constant of the period of figure 5C's cycle",
        },
        {
            "claim": "five slow points beside one equilibrium do not occur",
            "paper": "four obtainable, five not observed",
            "found": f"{len(speeds)} in a network that was solved for, of speeds "
            f"{speeds.min():.1e} to {speeds.max():.1e}",
            "agrees": not alone or max(len(speeds), most) < 5,
            "note": f"one equilibrium, proved. In {probe['draws']} random networks, and "
            f"counting minima of any speed: at most {most} beside one equilibrium, at most "
            f"{probe['most']} beside any number",
        },
    ]


def portraits(path, seen):
    picture = Figure(figsize=(15, 5.1), layout="constrained")
    axes, data = picture.subplots(1, len(seen)), {}
    for ax, (name, (slow, equilibria)) in zip(axes, seen.items(), strict=True):
        flow = cgru.Flow(cgru.ATLAS[name].cell())
        drawn = plot.phase_portrait(flow, ax, equilibria=equilibria)
        places = rows(slow)[:, :2]
        ax.plot(
            *places.T, "H", color="#FFFFFF", markersize=11, markeredgecolor="black",
            markeredgewidth=1.5, linestyle="none", label="slow point", zorder=7,
        )  # fmt: skip
        ax.set_title(f"{name.upper()}: {len(places)} slow point" + "s" * (len(places) != 1))
        kept = ("nullclines", "points", "kinds")
        data[name] = {key: drawn[key] for key in kept} | {"slow_points": places}
    plot.speed_bar(axes)
    plot.legend(picture, columns=8)
    io.save_figure(picture, path, data)
    return {
        "file": path.name,
        "caption": "Slow points (white hexagons): local minima of the speed that are no "
        "equilibria. Figure 5C has four, a quarter turn apart; figure 6 none as printed; "
        "figure 7 one near the origin.",
    }


def laws(path, law):
    picture = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = picture.subplots(1, 2)
    d = law["distance"]
    left.loglog(d, law["speed"], "o", color="#0072B2", label="found")
    left.loglog(d, law["speed"][0] * d / d[0], "--", color="black", label="distance")
    left.set(xlabel="θ − θ_c", ylabel="speed at a slow point")
    right.loglog(d, law["time"], "o", color="#D55E00", label="found")
    right.loglog(
        d, law["time"][0] * (d / d[0]) ** -0.5, "--", color="black", label="1/√distance"
    )
    right.set(xlabel="θ − θ_c", ylabel="time to pass")
    for ax in (left, right):
        ax.legend()
    io.save_figure(picture, path, law)
    return {
        "file": path.name,
        "caption": "The four slow points of the rotation network beside the fold at θ_c = "
        f"{FOLD}: their speed falls like the distance, the time to pass one grows like one "
        "over its root (dashed, through the first point).",
    }


if __name__ == "__main__":
    main(Path("results/slow_points"))
