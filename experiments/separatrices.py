"""Which memory does a state fall into? The separatrices of figures 2 and 3a, and of 4.

The stable manifolds of the saddles are the boundaries of the basins, which the ends of
orbits from a grid must confirm: neighbours on the grid end in the two sinks to which the
unstable manifolds of a saddle lead exactly where its stable manifold passes between them.
Of figure 4, where all has collided, orbits in both directions of time show the regions of
homoclinic orbits.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

import cgru_jax as cgru
from cgru_jax import io, plot

jax.config.update("jax_enable_x64", True)

ROWS = {"quick": ("2",), "default": ("2", "3a"), "full": ("2", "3a")}
REGIONS = {"4a": 1, "4b": 2}  # regions of homoclinic orbits that the paper names
GRID = {"quick": 24, "default": 60, "full": 240}
BOX = (-1.5, -1.5), (1.5, 1.5)
# A sink of these rows attracts at a rate of 0.06 and more; an orbit that starts beside a
# separatrix waits first.
TIME, STEPS = 600.0, 1200
NEAR = 1e-2  # of a sink, where an orbit has ended
# Orbits around a degenerate origin come home like 1/t; nearer than HOLE all of them are.
HOMING, HOME, HOLE = 2000.0, 0.05, 0.15
# Orbits run for longer than they compile, also where all else is compiled in haste.
COMPILE = {"xla_backend_optimization_level": 2}


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    rows = ROWS[size]
    figure = Figure(figsize=(5.6 * len(rows), 5.4), layout="constrained")
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    found, data = {}, {}
    for ax, row in zip(axes, rows, strict=True):
        found[row], data[row] = portrait(row, ax, GRID[size])
    io.save_figure(figure, out / "basins.png", data)
    numbers = {
        "rows": found,
        "claims": [claim(row, numbers) for row, numbers in found.items()],
        "figures": [
            {
                "file": "basins.png",
                "caption": "Basins (shaded, by where orbits from a grid end) and the "
                "stable (solid) and unstable (dashed) manifolds of the saddles, figures "
                + " and ".join(rows)
                + ".",
            }
        ],
    }
    if "2" in found:
        numbers["claims"].append(on_the_axes(data["2"]))
    if size != "quick":
        homes = homoclinic_regions(out / "regions.png", GRID[size])
        for key in ("claims", "figures"):
            numbers[key] += homes.pop(key)
        numbers |= homes
    io.write_json(out / "separatrices.json", numbers)
    return numbers


@eqx.filter_jit(compiler_options=COMPILE)
def ends(cell, starts, time, steps):
    """Where orbits from these starts are after a time, in fixed steps."""
    times = jnp.stack([0.0 * time, time])

    def one(start):
        return cgru.integrate(cgru.Flow(cell), start, times, substeps=steps).states[-1]

    return jax.vmap(one)(starts)


def grid(per_axis):
    # Beside the lines of symmetry, on which orbits end in saddles.
    x, y = ((np.arange(per_axis) + part) / per_axis * 3 - 1.5 for part in (0.31, 0.62))
    return x, y, np.stack(np.meshgrid(x, y), axis=-1)


def portrait(row, ax, per_axis):
    """Basins and separatrices of one row, drawn, and how well they agree."""
    cell = cgru.ATLAS[row].cell()
    equilibria = cgru.find_equilibria(cgru.Flow(cell))
    x, y, starts = grid(per_axis)
    last = np.asarray(ends(cell, starts.reshape(-1, 2), jnp.asarray(TIME), STEPS))
    points = np.asarray(equilibria.points)
    sinks = np.flatnonzero(
        np.asarray(equilibria.valid & (equilibria.kind == cgru.KINDS.sink))
    )
    gaps = np.linalg.norm(last[:, None] - points[sinks], axis=2)
    labels = np.where(gaps.min(axis=1) < NEAR, gaps.argmin(axis=1), -1)
    labels = labels.reshape(per_axis, per_axis)
    plot.basins(x, y, labels, ax)
    drawn = plot.separatrices(cgru.Flow(cell), ax, equilibria, box=BOX)
    ax.set_title(f"figure {row}")
    walls = boundaries(drawn["curves"], points[sinks])
    checked = compare(starts, labels, walls)
    share = np.bincount(labels[labels >= 0], minlength=len(sinks)) / labels.size
    numbers = {
        **checked,
        "unsettled": int(np.sum(labels < 0)),
        "sinks": points[sinks],
        "shares": share,
        "index_sum": int(equilibria.index_sum),
    }
    return numbers, {"x": x, "y": y, "labels": labels, **drawn}


def boundaries(curves, sinks):
    """Stable manifolds, each with the two sinks to which its saddle's orbits lead."""
    walls = []
    for k in sorted({c["saddle"] for c in curves}):
        own = [c for c in curves if c["saddle"] == k]
        leads = [
            int(np.argmin(np.linalg.norm(sinks - c["end"], axis=1)))
            for c in own
            if not c["stable"]
        ]
        line = [c["points"] for c in own if c["stable"]]
        walls.append((np.concatenate([line[0][::-1], line[1][1:]]), frozenset(leads)))
    return walls


def compare(starts, labels, walls):
    """Edges of the grid whose ends end apart; of those, how many no wall explains; and
    edges that a wall crosses once where its two sinks are not the two ends."""
    changed = unexplained = wrong = crossed = 0
    for axis in (0, 1):
        cut = lambda x, part, axis=axis: np.moveaxis(x, axis, 0)[part]
        p, q = (cut(starts, part).reshape(-1, 2) for part in (slice(-1), slice(1, None)))
        a, b = (cut(labels, part).ravel() for part in (slice(-1), slice(1, None)))
        edges = zip(p, q, strict=True)
        times = np.array([[crossings(u, v, line) for line, _ in walls] for u, v in edges])
        differ = (a != b) & (a >= 0) & (b >= 0)
        total = times.sum(axis=1)
        changed += int(differ.sum())
        unexplained += int((differ & (total == 0)).sum())
        for i in np.flatnonzero((total == 1) & (a >= 0) & (b >= 0)):
            crossed += 1
            pair = walls[int(np.argmax(times[i]))][1]
            wrong += {int(a[i]), int(b[i])} != set(pair)
    return {
        "edges_that_change": changed,
        "without_a_separatrix": unexplained,
        "crossed_once": crossed,
        "with_other_sinks": int(wrong),
    }


def crossings(p, q, line):
    """How often a polygon crosses the segment from p to q."""
    low, high = np.minimum(p, q) - 0.05, np.maximum(p, q) + 0.05
    near = np.all((line >= low) & (line <= high), axis=1)
    if not near.any():
        return 0
    begin, end = line[:-1], line[1:]
    close = near[:-1] | near[1:]
    begin, end = begin[close], end[close]
    cross = lambda u, v: u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    left, right = cross(q - p, begin - p), cross(q - p, end - p)
    over, under = cross(end - begin, p - begin), cross(end - begin, q - begin)
    return int(np.sum((left * right < 0) & (over * under < 0)))


def claim(row, numbers):
    bad = numbers["without_a_separatrix"] + numbers["with_other_sinks"]
    return {
        "claim": f"figure {row}: the stable manifolds of the saddles bound the basins",
        "paper": f"{len(numbers['sinks'])} basins, shown by orbits",
        "found": f"{numbers['edges_that_change']} edges of the grid change their sink, "
        f"{numbers['without_a_separatrix']} of them without a separatrix; of "
        f"{numbers['crossed_once']} edges crossed once {numbers['with_other_sinks']} do "
        "not lead to its two sinks",
        "agrees": bad == 0 and numbers["unsettled"] == 0 and numbers["index_sum"] == 1,
        "note": "shares of the square: " + ", ".join(f"{x:.4f}" for x in numbers["shares"]),
    }


def on_the_axes(drawn):
    """Figure 2's two units do not see each other: its separatrices are the axes."""
    stable = [c["points"] for c in drawn["curves"] if c["stable"]]
    off = max(float(np.abs(line).min(axis=1).max()) for line in stable)
    return {
        "claim": "figure 2: the separatrices are the axes",
        "paper": "four basins, one in each quadrant",
        "found": f"within {off:.1e} of them",
        # Steps of 1e-12, and a separatrix draws nearer backwards in time.
        "agrees": off < 1e-10,
        "note": "uncoupled units: each keeps its sign",
    }


def homoclinic_regions(path, per_axis):
    """Starts of figure 4 that come home to the origin both ways in time."""
    x, y, starts = grid(per_axis)
    figure = Figure(figsize=(10.4, 5), layout="constrained")
    numbers, claims, data = {}, [], {}
    radius = np.linalg.norm(starts, axis=2)
    for ax, (row, printed) in zip(figure.subplots(1, 2), REGIONS.items(), strict=True):
        cell = cgru.ATLAS[row].cell()
        both = [
            np.asarray(ends(cell, starts.reshape(-1, 2), jnp.asarray(way), 4 * STEPS))
            for way in (HOMING, -HOMING)
        ]
        home = [distance(end).reshape(radius.shape) < HOME for end in both]
        inside = home[0] & home[1]
        pieces, count = ndimage.label(inside & (radius > HOLE))
        sizes = ndimage.sum_labels(inside, pieces, range(1, count + 1))
        # A piece of fewer points than a hundredth of the largest is the rim of the hole.
        regions = int(np.sum(sizes > 0.01 * max(sizes, default=0)))
        area = float(inside.mean() * 9)
        elliptic = float(cgru.sectors(cgru.Flow(cell), np.zeros(2)).elliptic)
        plot.basins(x, y, np.where(inside, 0, np.where(home[0], 4, -1)), ax)
        lines(cell, ax, starts[inside])
        ax.plot(0, 0, "*", color="white", markeredgecolor="black", markersize=13, zorder=6)
        ax.set(title=f"figure {row}: area {area:.4f}", xlabel="x", ylabel="y")
        ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
        numbers[row] = {"regions": regions, "area": area, "elliptic_sectors": elliptic}
        data[row] = {"x": x, "y": y, "forwards": home[0], "backwards": home[1]}
        claims.append(
            {
                "claim": f"figure {row}: regions of homoclinic orbits",
                "paper": str(printed),
                "found": f"{regions}, of the area {area:.4f} together",
                "agrees": regions == printed == elliptic,
                "note": f"from orbits both ways in time; elliptic sectors: {elliptic:.0f}",
            }
        )
    io.save_figure(figure, path, data)
    caption = (
        "Starts whose orbits come home to the origin both ways in time (blue), and only "
        "forwards (grey), figures 4a and 4b; some of the orbits, forwards solid, backwards "
        "dotted."
    )
    return {
        "homoclinic": numbers,
        "claims": claims,
        "figures": [{"file": path.name, "caption": caption}],
    }


def distance(ends):
    # What left for infinity overflowed on the way.
    return np.linalg.norm(np.clip(ends, -9, 9), axis=1)


def lines(cell, ax, starts):
    """A few orbits through a region, both ways in time."""
    some = starts[np.linspace(0, len(starts) - 1, 14).astype(int)]
    times = jnp.linspace(0, 200.0, 801)
    for way, style in ((1.0, "solid"), (-1.0, "dotted")):
        one = lambda s, way=way: cgru.integrate(cgru.Flow(cell), s, way * times, substeps=1)
        for line in np.asarray(eqx.filter_vmap(one)(jnp.asarray(some)).states):
            ax.plot(*line.T, color="black", linewidth=0.7, linestyle=style)


if __name__ == "__main__":
    main(Path("results/separatrices"))
