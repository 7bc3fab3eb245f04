"""Which way do orbits go at the degenerate equilibria of figure 4, rows iv, v and xviii?

Where the Jacobian vanishes, eigenvalues say nothing; the sectors do: elliptic ones hold
homoclinic orbits, parabolic ones are attracted or repelled, hyperbolic ones pass by. The
counts are found from orbits between two circles; the index that follows from them must be
the winding number of the field.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

ORIGIN = np.zeros(2)
# What the paper says of a row, and the number of elliptic sectors or the index it means.
ROWS = {
    "4a": ("single region of homoclinic orbits", "elliptic", 1),
    "4b": ("double region of homoclinic orbits", "elliptic", 2),
    "iv": ("fused from a sink, a source and two saddles", "index", 0),
    "v": ("fused from a sink, a source and two saddles", "index", 0),
    "xviii": ("fused from a sink, a source and two saddles", "index", 0),
}
RADIUS = 0.3  # of the disc that is drawn
# Whether an orbit comes to the origin forwards (1) and backwards (2): words and colours.
LOOKS = {
    3: ("home both ways", "#009E73"),
    1: ("home forwards", "#0072B2"),
    2: ("home backwards", "#E69F00"),
    0: ("past the origin", "#CC79A7"),
}
STARTS = {"quick": 32, "default": 64, "full": 160}  # per axis of a portrait
LINES = 24  # orbits that are drawn
# Orbits run for longer than they compile, also where all else is compiled in haste.
COMPILE = {"xla_backend_optimization_level": 2}
TIME, STEPS = 400.0, 800  # the origin attracts and repels like 1/t; rates are below 1


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    found = {name: cgru.sectors(flow(name), ORIGIN) for name in ROWS}
    degrees = {name: float(wind(flow(name).field)) for name in ROWS}
    numbers = {
        "sectors": {name: describe(s) for name, s in found.items()},
        "degrees": degrees,
        "claims": [claim(name, found[name], degrees[name]) for name in ROWS],
        "figures": [draw(out / "orbits.png", found, STARTS[size])],
        "tables": [
            {
                "title": "Sectors of the origin",
                "columns": ["row", *describe(found["4a"]), "degree"],
                "rows": [
                    [name, *(f"{x:.0f}" for x in (*describe(s).values(), degrees[name]))]
                    for name, s in found.items()
                ],
            }
        ],
    }
    io.write_json(out / "sectors.json", numbers)
    return numbers


def flow(name):
    return cgru.Flow(cgru.ATLAS[name].cell())


@jax.jit
def wind(cell):
    return cgru.degree(cgru.Flow(cell), jnp.zeros(2), jnp.asarray(0.1))


def describe(found):
    names = ("elliptic", "hyperbolic", "parabolic", "index")
    return {name: float(getattr(found, name)) for name in names}


def claim(name, found, degree):
    printed, what, number = ROWS[name]
    counts = describe(found)
    sectors = [f"{counts[kind]:.0f} {kind}" for kind in list(counts)[:3]]
    return {
        "claim": f"{'Figure' if name[0] == '4' else 'Row'} {name}: the origin",
        "paper": f"{printed} ({what} {number})",
        "found": ", ".join(sectors) + f"; index {counts['index']:.0f}",
        "agrees": counts[what] == number,
        "note": f"1 + (elliptic − hyperbolic) / 2 = {counts['index']:.0f}; the winding "
        f"number of the field, found without any orbit, is {degree:.0f}",
    }


@eqx.filter_jit(compiler_options=COMPILE)
def follow(cell, starts):
    """Orbits both ways in time, and whether each end comes home without a detour."""

    def way(start, sign):
        times = sign * jnp.linspace(0, TIME, STEPS + 1)
        path = cgru.integrate(cgru.Flow(cell), start, times, substeps=1).states
        radius = jnp.linalg.norm(path, axis=1)
        home = (radius[-1] < 0.04) & jnp.all(radius < 2 * RADIUS)
        return home, path[:: STEPS // 400]

    def one(start):
        return jax.vmap(way, (None, 0))(start, jnp.array([1.0, -1.0]))

    return jax.lax.map(one, starts, batch_size=64)


def draw(path, found, per_axis):
    picture = Figure(figsize=(15, 3.9), layout="constrained")
    axes, data = picture.subplots(1, len(found)), {}
    axis = (np.arange(per_axis) + 0.5) / per_axis * 2 * RADIUS - RADIUS
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    angles = 2 * np.pi * (np.arange(LINES) + 0.5) / LINES
    ring = 0.6 * RADIUS * np.column_stack([np.cos(angles), np.sin(angles)])
    for ax, name in zip(axes, found, strict=True):
        home, states = follow(flow(name).field, jnp.asarray(np.vstack([plane, ring])))
        kinds = np.asarray(home @ jnp.array([1, 2]))[: len(plane)]
        kinds = np.where(np.linalg.norm(plane, axis=1) < RADIUS, kinds, -1)
        shade(ax, axis, kinds.reshape(per_axis, per_axis))
        lines = np.asarray(states)[len(plane) :]
        for both in lines:
            for line, style in zip(both, ("solid", "dotted"), strict=True):
                ax.plot(*line.T, color="black", linewidth=0.7, linestyle=style)
        counts = describe(found[name])
        ax.set_title(
            f"{name.upper() if name[0] == '4' else name}: "
            + ", ".join(f"{counts[kind]:.0f} {kind[0]}" for kind in list(counts)[:3])
        )
        ax.set(xlim=(-RADIUS, RADIUS), ylim=(-RADIUS, RADIUS), xlabel="x", ylabel="y")
        ax.set_aspect("equal")
        ax.label_outer()
        data[name] = {"axis": axis, "kinds": kinds, "orbits": lines[:, :, ::8].round(4)}
    for words, colour in LOOKS.values():
        axes[0].fill([], [], color=colour, alpha=0.6, label=words)
    axes[0].plot([], [], color="black", linewidth=0.7, label="forwards")
    axes[0].plot([], [], color="black", linewidth=0.7, ls="dotted", label="backwards")
    picture.legend(loc="outside lower center", ncols=6, fontsize=9)
    io.save_figure(picture, path, data)
    return {
        "file": path.name,
        "caption": "Orbits around the degenerate origin, by where they go: to it both ways "
        "in time (elliptic), to it in one direction of time only (parabolic), or past it "
        f"(hyperbolic). Orbits are followed for a time of {TIME:.0f} each way and count as "
        f"coming home within {2 * RADIUS}. Titles: elliptic, hyperbolic, parabolic sectors "
        "counted; a parabolic part beside an elliptic sector belongs to that.",
    }


def shade(ax, axis, kinds):
    for value, (_, colour) in LOOKS.items():
        mask = kinds == value
        ax.contourf(axis, axis, mask, levels=[0.5, 1.5], colors=[colour], alpha=0.6)


if __name__ == "__main__":
    main(Path("results/sectors"))
