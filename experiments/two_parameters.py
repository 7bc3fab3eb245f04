"""Where in the plane of bias and gain does a rotating two-unit GRU change its portrait?

U_h = g R(θ) with θ = 1/2, open gates, and a bias b on the first unit: curves of folds and
Hopf points between regions of certified counts, with cusps and Bogdanov–Takens points.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import EVENTS, io, plot

jax.config.update("jax_enable_x64", True)

ANGLE = 0.5
BOUNDS = (-2.0, 1.0), (2.0, 6.0)  # of (bias, gain)
# Guesses to a digit, read off the figure; the mirror images at −b follow by symmetry.
CUSP = [0.25, 0.85], [0.5, 2.9]
TAKENS = [-0.1, 0.8], [0.7, 3.4]
FOLD = [0.0, 0.8], [0.6, 3.2]


def family(p):
    cos, sin = jnp.cos(ANGLE), jnp.sin(ANGLE)
    rotation = jnp.array([[cos, -sin], [sin, cos]])
    return cgru.Flow(cgru.gru(p[1] * rotation, b_h=jnp.stack([p[0], 0.0])))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    cusp = cgru.locate_cusp(family, *map(jnp.array, CUSP))
    takens = cgru.locate_bogdanov_takens(family, *map(jnp.array, TAKENS))
    special = {
        "cusp": [*cusp.parameter.tolist(), float(cusp.coefficient)],
        "bogdanov_takens": [*takens.parameter.tolist(), float(takens.a), float(takens.b)],
    }
    numbers = {"special": special, "claims": [], "figures": [], "tables": []}
    numbers |= glimpse(out, cusp, takens) if size == "quick" else survey(out, takens)
    rows = [[kind, *(f"{x:.12f}" for x in row[:2])] for kind, row in special.items()]
    numbers["tables"] = [
        {
            "title": "Special points for b > 0",
            "columns": ["kind", "bias", "gain"],
            "rows": rows,
        }
    ]
    io.write_json(out / "two_parameters.json", numbers)
    return numbers


def glimpse(out, cusp, takens):
    """The curve of folds through both special points. What the rest of the plane takes is
    to compile enumerations, branches and Hopf curves."""
    bounds = tuple(jnp.array(ends) for ends in zip(*BOUNDS, strict=True))
    start = [jnp.array(x) for x in FOLD]
    ways = [
        cgru.trace_fold_curve(family, *start, bounds=bounds, direction=way)
        for way in (-1.0, 1.0)
    ]
    back, ahead = (np.asarray(c.parameters)[np.asarray(c.valid)] for c in ways)
    line = np.concatenate([back[::-1], ahead[1:]])
    figure = Figure(figsize=(6.5, 4.8), layout="constrained")
    ax = figure.subplots()
    ax.plot(*line.T, "-", color="#D55E00", label="fold")
    located = {"cusp": (cusp, EVENTS.cusp, "^", "#D55E00")}
    located["Bogdanov–Takens point"] = takens, EVENTS.bogdanov_takens, "D", "#009E73"
    apart = []
    for label, (point, kind, shape, colour) in located.items():
        style = dict(color=colour, markeredgecolor="black", linestyle="none", zorder=5)
        ax.plot(*point.parameter, shape, markersize=8, label=label, **style)
        met = [np.asarray(c.events.parameters[c.events.kind == kind]) for c in ways]
        off = np.max(np.abs(np.concatenate(met) - point.parameter), axis=1, initial=0)
        apart.append(np.min(off, initial=np.inf))
    ax.set(xlim=BOUNDS[0], ylim=BOUNDS[1])
    ax.set(xlabel="bias b of the first unit", ylabel="gain g")
    ax.legend(loc="lower left")
    special = {"cusp": cusp.parameter, "bogdanov_takens": takens.parameter}
    io.save_figure(figure, out / "plane.png", {"folds": line} | special)
    return {
        "claims": [
            {
                "claim": "the curve of folds has a cusp and a Bogdanov–Takens point",
                "paper": "not treated",
                "found": f"met within {max(apart):.1e} of the points located by themselves",
                "agrees": bool(max(apart) < 1e-10),
                "note": "the regions between the curves are for the default size",
            }
        ],
        "figures": [
            {
                "file": "plane.png",
                "caption": "U_h = g R(1/2) with a bias b on the first unit: the curve of "
                "folds through the two special points for b > 0.",
            }
        ],
    }


def survey(out, takens):
    shown = cgru.two_parameter_diagram(family, BOUNDS)
    figure = Figure(figsize=(6.5, 4.8), layout="constrained")
    ax = figure.subplots()
    data = plot.plane(shown, ax)
    ax.set(xlabel="bias b of the first unit", ylabel="gain g")
    io.save_figure(figure, out / "plane.png", data)

    # At b = 0 the origin has the eigenvalues (g e^{±iθ}/2 − 1)/2.
    lines = [np.asarray(c.parameters) for c in shown.hopfs]
    ends = [line[np.argmin(np.abs(line[:, 0]))] for line in lines]
    b, g = min(ends, key=lambda p: abs(p[0]))
    there = cgru.locate_hopf(lambda g: family(jnp.stack([0.0, g])), [0.0, 0.0], g)
    gain, exact = float(there.parameter), 2 / np.cos(ANGLE)
    met = [
        np.asarray(c.events.parameters)[np.asarray(c.events.kind._value) == code]
        for c in (*shown.folds, *shown.hopfs)
        for code in [int(EVENTS.bogdanov_takens._value)]
    ]
    met = np.concatenate(met)
    apart = np.max(np.abs(np.abs(met) - np.abs(np.asarray(takens.parameter))))
    changes, unexplained, idle = crossings(shown)
    return {
        "regions": {"edges_that_change": changes, "without_a_curve": unexplained},
        "claims": [
            {
                "claim": "the origin starts to oscillate at g = 2 / cos θ",
                "paper": "not treated",
                "found": f"g = {gain:.12f}, nearest point of the curve b = {b:.3g}",
                "agrees": bool(abs(gain - exact) < 1e-12),
                "note": f"closed form {exact:.12f}",
            },
            {
                "claim": "fold curves and Hopf curves meet in Bogdanov–Takens points",
                "paper": "not treated",
                "found": f"met {len(met)} times on the curves, within {apart:.1e} of the "
                "point located by itself or its mirror image",
                "agrees": len(met) == 4 and bool(apart < 1e-10),
                "note": "two points, each met by a fold curve and by a Hopf curve",
            },
            {
                "claim": "certified counts change where a curve passes, and nowhere else",
                "paper": "not treated",
                "found": f"{changes} edges of the grid change, {unexplained} of them "
                f"without a curve; {idle} are crossed once and do not change",
                "agrees": unexplained == 0 and idle == 0,
                "note": "edges between neighbours of a 33 × 33 grid of proofs",
            },
        ],
        "figures": [
            {
                "file": "plane.png",
                "caption": "U_h = g R(1/2) with a bias b on the first unit. Grey: regions "
                "of equal certified counts (sinks | sources | saddles). Solid: folds; "
                "dashed: Hopf points.",
            }
        ],
    }


def crossings(shown):
    """Edges of the grid whose ends differ; those of them that no curve crosses; edges
    crossed exactly once whose ends do not differ."""
    counts = np.stack([shown.sinks, shown.sources, shown.saddles], axis=-1)
    nodes = np.stack(np.meshgrid(shown.first, shown.second, indexing="ij"), axis=-1)
    lines = [np.asarray(c.parameters) for c in (*shown.folds, *shown.hopfs)]
    begin = np.concatenate([line[:-1] for line in lines])
    end = np.concatenate([line[1:] for line in lines])
    # Curves start and end on lines of the grid, to rounding: let them reach over.
    begin, end = begin - 1e-9 * (end - begin), end + 1e-9 * (end - begin)
    changed = missing = idle = 0
    for axis in (0, 1):
        here, there = (
            np.moveaxis(nodes, axis, 0)[part].reshape(-1, 2)
            for part in (slice(None, -1), slice(1, None))
        )
        a, b = (
            np.moveaxis(counts, axis, 0)[part].reshape(-1, 3)
            for part in (slice(None, -1), slice(1, None))
        )
        differ = np.any(a != b, axis=1)
        times = np.array([met(p, q, begin, end) for p, q in zip(here, there, strict=True)])
        changed += int(differ.sum())
        missing += int((differ & (times == 0)).sum())
        idle += int((~differ & (times == 1)).sum())
    return changed, missing, idle


def met(p, q, begin, end):
    """How many of the chords cross the segment from p to q."""
    cross = lambda u, v: u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    left, right = cross(q - p, begin - p), cross(q - p, end - p)
    over, under = cross(end - begin, p - begin), cross(end - begin, q - begin)
    return int(np.sum((left * right < 0) & (over * under < 0)))


if __name__ == "__main__":
    main(Path("results/two_parameters"))
