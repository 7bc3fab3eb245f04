"""Which starts are held up at the slow point of figure 7, and for how long?

U_h = 2 and U_r = 100 everywhere, b_h = (0.01, 0). The reset gates are σ(100 (x + y)), a
switch on the line y = −x: below it the field points straight at (tanh 0.01, 0), a point
just above the line, and above it to the sink near (1, 1). So a trajectory from below comes
to the line near the origin, and only then, slowly at first, leaves for the sink. Where the
starts that are held up end is found by bisection, for several x.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io, plot

jax.config.update("jax_enable_x64", True)

FLOW = cgru.Flow(cgru.gru(2 * jnp.ones((2, 2)), 100 * jnp.ones((2, 2)), b_h=[0.01, 0.0]))
RADIUS = 0.1  # of the neighbourhood of the origin in which time is counted
# The gate switches while x + y moves by 0.01, at a speed of 0.01 to 0.5: steps of 1/80.
SPAN, EVERY, SUBSTEPS = 60.0, 0.05, 4
PER_AXIS = {"quick": 24, "default": 48, "full": 200}
SHOWN = np.array([-1.2, 0.4])


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    axis = np.linspace(-1.5, 1.5, PER_AXIS[size] + 1)
    axis = (axis[1:] + axis[:-1]) / 2
    starts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    dwell, ends, shown = follow(jnp.asarray(starts), jnp.asarray(SHOWN))
    dwell, ends = np.asarray(dwell), np.asarray(ends)
    near, slowest = slow_point()
    rows = np.array([-1.5, -1.0, -0.5, 0.5, 1.0, 1.5])
    boundary = np.asarray(edge(jnp.asarray(rows)))

    total = starts.sum(axis=1)
    below = total < 0
    held = dwell > 0
    inside = np.linalg.norm(starts, axis=1) < RADIUS
    spread = np.abs(ends - ends[0]).max()
    through = below & held
    numbers = {
        "slow_point": {"point": near, "speed": slowest},
        "sink": ends[0],
        "starts": len(starts),
        "radius": RADIUS,
        "held": {
            "below": np.mean(held[below]),
            "above": np.mean(held[~below]),
            "above_and_not_inside": np.mean(held[~below & ~inside]),
        },
        "dwell": {
            "below": quantiles(dwell[through]),
            "above": quantiles(dwell[~below & held]),
        },
        "boundary": {"x": rows, "x_plus_y": boundary},
        "claims": [
            {
                "claim": "starts with y < −x are attracted to the origin first",
                "paper": "initial conditions satisfying y < −x",
                "found": f"{np.mean(held[below]):.1%} of them pass within {RADIUS} of it, "
                f"of the others {np.mean(held[~below & ~inside]):.1%}",
                "agrees": bool(
                    np.mean(held[below]) > 0.99 and np.mean(held[~below]) < 0.02
                ),
                "note": f"starts inside that circle not counted; held are starts with "
                f"y < −x + d, with d from {boundary.min():.4f} to {boundary.max():.4f} "
                f"for x from {rows[0]} to {rows[-1]}",
            },
            {
                "claim": "they are slow there",
                "paper": "passing through slow point (figure 7B)",
                "found": f"they stay {np.median(dwell[through]):.1f} (median), "
                f"{dwell[through].min():.1f} to {dwell[through].max():.1f}",
                "agrees": bool(np.median(dwell[through]) > 3),
                "note": f"the least speed is {slowest:.4f}, at the origin; a state that "
                f"went on at 0.3, the speed at which it set out, would stay "
                f"{2 * RADIUS / 0.3:.1f}",
            },
            {
                "claim": "then a secondary attraction to the sink",
                "paper": "a single sink",
                "found": f"all {len(starts)} starts end at ({ends[0, 0]:.4f}, "
                f"{ends[0, 1]:.4f}), within {spread:.0e}",
                "agrees": bool(spread < 1e-6),
                "note": "",
            },
        ],
        "figures": [
            {
                "file": "dwell.png",
                "caption": f"Left: time within {RADIUS} of the origin (circle) against the "
                "start; the dashed line is y = −x, the curve the trajectory on the right. "
                f"Right: the state against time from ({SHOWN[0]}, {SHOWN[1]}), as in "
                "figure 7B; grey while it is near the origin.",
            }
        ],
    }
    io.write_json(out / "slow_point.json", numbers)
    draw(out / "dwell.png", axis, dwell, shown)
    return numbers


@jax.jit
def follow(starts, shown):
    dwell, ends = jax.lax.map(stay, starts, batch_size=256)
    return dwell, ends, run(shown)


def run(start):
    times = np.arange(0, SPAN + EVERY, EVERY)
    return cgru.integrate(FLOW, start, times, substeps=SUBSTEPS)


def stay(start):
    """Time near the origin, and the last state."""
    states = run(start).states
    near = jnp.linalg.norm(states, axis=1) < RADIUS
    return EVERY * jnp.sum(near), states[-1]


@jax.jit
@jax.vmap
def edge(x):
    """The x + y beyond which a start with this x is not held up."""

    def halve(bounds, _):
        middle = (bounds[0] + bounds[1]) / 2
        held = stay(jnp.stack([x, middle - x]))[0] > 0
        low, high = bounds
        return (jnp.where(held, middle, low), jnp.where(held, high, middle)), None

    return jax.lax.scan(halve, (-0.5, 0.5), None, length=20)[0][1]


@jax.jit
def slow_point():
    """The least speed on a fine grid around the origin: a ghost, not an equilibrium."""
    axis = jnp.linspace(-RADIUS / 2, RADIUS / 2, 401)
    points = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    speeds = jnp.linalg.norm(jax.vmap(FLOW.residual)(points), axis=1)
    return points[jnp.argmin(speeds)], jnp.min(speeds)


def quantiles(values):
    if not len(values):
        return {}
    return {str(q): np.quantile(values, q) for q in (0.0, 0.05, 0.5, 0.95, 1.0)}


def draw(path, axis, dwell, shown):
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    plane, series = figure.subplots(1, 2)
    times, states = np.asarray(shown.times), np.asarray(shown.states)
    grid = dwell.reshape(len(axis), len(axis))
    image = plane.pcolormesh(axis, axis, grid, cmap="cividis")
    figure.colorbar(image, ax=plane, label=f"time within {RADIUS} of the origin")
    plane.plot([-1.5, 1.5], [1.5, -1.5], color="white", linestyle="dashed")
    plane.plot(*states.T, color="#D55E00", linewidth=1.5)
    angle = np.linspace(0, 2 * np.pi, 100)
    plane.plot(RADIUS * np.cos(angle), RADIUS * np.sin(angle), color="black")
    plane.set(xlabel="x of the start", ylabel="y of the start", xlim=(-1.5, 1.5))
    plane.set(ylim=(-1.5, 1.5))
    plane.set_aspect("equal")
    near = np.linalg.norm(states, axis=1) < RADIUS
    series.fill_between(times, -1.5, 1.2, where=near, color="#BBBBBB", linewidth=0)
    drawn = plot.time_series(shown, series)
    series.set(xlim=(0, 30), ylim=(-1.5, 1.2))
    io.save_figure(figure, path, {"axis": axis, "dwell": grid, **drawn})


if __name__ == "__main__":
    main(Path("results/slow_point"))
