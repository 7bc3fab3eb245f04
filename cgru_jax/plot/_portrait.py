"""The portrait of a planar system, in the manner of the paper."""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from .._cells import AbstractCell
from .._equilibria import Equilibria, find_equilibria, grid
from .._integrate import integrate
from .._program import hoist
from .._systems import AbstractSystem, Flow
from ._marks import mark

RESOLUTION = 241  # samples per axis: a nullcline's narrowest fold in the atlas spans ten
ARROWS = 23  # per axis
SLOWEST, FASTEST = -2.5, 0  # log10 of speed; a fixed range makes portraits comparable
TOUCHING = 1e-5  # a field this small, if it curves by 1/4, is zero within half a sample
TIME_STEP = 0.1  # fixed; the error, 1e-4 with weights of ten, is less than a line's width


def phase_portrait(
    system: AbstractSystem,
    ax: Axes,
    *,
    box: tuple = ((-1.5, -1.5), (1.5, 1.5)),
    equilibria: Equilibria | None = None,
    starts: Float[Array, "s 2"] | None = None,
    time: int | float = 30,
) -> dict:
    """Draw a planar system in the manner of the paper's figures 2 to 7 and 9.

    Colour is log10 of speed, arrows show the direction, the solid line is where the first
    component of the field vanishes, the dashed line where the second does, pale lines are
    trajectories, marks are equilibria by kind. `speed_bar` and `legend` explain them.

    **Arguments:**

    - `system`: a `Flow` or a `Map` with a state of shape `(2,)`. Of a `Map`, increments
      are drawn where a `Flow` has its field, and iterates joined by lines.
    - `ax`: where to draw.
    - `box`: lower and upper corner, each of shape `(2,)`.
    - `equilibria`: of this system; `find_equilibria` is asked where it is left out.
    - `starts`: shape `(s, 2)`, where trajectories begin; 8 × 8 over the box where it is
      left out, none for shape `(0, 2)`.
    - `time`: how long to follow them, in units of the system's time; of a `Flow` it may
      be negative.

    **Returns:** what was drawn, as NumPy arrays: `x`, `y` (the samples per axis),
    `log_speed` (rows are y), `nullclines` (for each component a list of polylines),
    `trajectories` of shape `(s, times, 2)`, `points` and `kinds` of the equilibria.

    **Raises:** `ValueError` if the system is not planar or the box is empty.
    """
    lo, hi = (np.asarray(corner, float) for corner in box)
    if lo.shape != (2,) or hi.shape != (2,) or not (lo < hi).all():
        raise ValueError(
            f"phase_portrait: box must be (lower, upper) corner of a rectangle, got {box}."
        )
    size = getattr(system.field, "size", 2)
    if size != 2:
        raise ValueError(f"phase_portrait draws planar systems, got dimension {size}.")
    if equilibria is None:
        equilibria = _equilibria(system, lo, hi)
    if starts is None:
        # On the vertices of a square grid, its border included, as in the paper.
        axes = np.linspace(lo, hi, 8).T
        starts = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    starts = jnp.asarray(starts, float)
    program, arrays = hoist(system.residual, jnp.zeros(2))
    corners = jnp.stack([lo, hi])
    field, trajectories = _sample(program, type(system), time, arrays, corners, starts)
    field, trajectories = np.asarray(field), np.asarray(trajectories)

    x, y = np.linspace(lo, hi, RESOLUTION).T
    with np.errstate(divide="ignore"):
        log_speed = np.log10(np.hypot(*field))
    ax.imshow(
        log_speed,
        extent=(lo[0], hi[0], lo[1], hi[1]),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
        # Bands of a tenth of a decade: speeds can be read off, and files stay small.
        cmap=colormaps["cividis"].resampled(round(10 * (FASTEST - SLOWEST))),
        interpolation_stage="data",
        vmin=SLOWEST,
        vmax=FASTEST,
    )
    ax.add_collection(
        LineCollection(trajectories, colors="#8E24C9", linewidths=0.8, label="trajectory")
    )
    _arrows(ax, x, y, field)
    nullclines = [
        _nullcline(ax, x, y, field[0], "#E69F00", "solid", "ẋ = 0"),
        _nullcline(ax, x, y, field[1], "#F5B5D8", "dashed", "ẏ = 0"),
    ]
    ax.set(xlim=(lo[0], hi[0]), ylim=(lo[1], hi[1]), xlabel="x", ylabel="y")
    ax.set_aspect("equal", adjustable="box")
    return {
        "x": x,
        "y": y,
        "log_speed": log_speed.round(3),
        "nullclines": nullclines,
        "trajectories": trajectories.round(4),
        **mark(equilibria, ax),
    }


def speed_bar(axes: Axes | Sequence[Axes] | np.ndarray) -> None:
    """Add one colour bar, for one portrait or several (as `subplots` returns them)."""
    axes = np.atleast_1d(axes).ravel().tolist()
    (image,) = axes[0].images
    bar = axes[0].figure.colorbar(image, ax=axes, extend="min", shrink=0.8, pad=0.02)
    bar.set_label("log₁₀ speed")


def _equilibria(system, lo, hi):
    if isinstance(system.field, AbstractCell):
        return find_equilibria(system)
    starts = (lo + hi) / 2 + (hi - lo) / 2 * grid(2, 12)
    return find_equilibria(system, starts)


@eqx.filter_jit
def _sample(program, reading, time, arrays, corners, starts):
    """The field on the grid, shape `(2, y, x)`, and the trajectories."""
    system = reading(functools.partial(program, arrays))
    x, y = jnp.linspace(*corners, RESOLUTION).T
    plane = jnp.stack(jnp.meshgrid(x, y), axis=-1)
    field = jnp.moveaxis(jax.vmap(jax.vmap(system.residual))(plane), -1, 0)
    if reading is Flow:
        times, fixed = np.linspace(0, time, round(abs(time) / TIME_STEP) + 1), 1
    else:
        times, fixed = np.arange(round(time) + 1), None

    def follow(start):
        return integrate(system, start, times, substeps=fixed).states

    return field, jax.vmap(follow)(starts)


def _arrows(ax, x, y, field):
    places = np.linspace(0, RESOLUTION - 1, 2 * ARROWS + 1).round().astype(int)[1::2]
    u, v = field[:, places[:, None], places]
    speed = np.hypot(u, v)
    speed = np.where(speed > 0, speed, np.inf)
    ax.quiver(
        x[places],
        y[places],
        u / speed,
        v / speed,
        angles="xy",
        scale=1.6 * ARROWS,
        width=0.003,
        headwidth=4,
        pivot="middle",
        zorder=3,
    )


def _nullcline(ax, x, y, component, colour, style, label):
    look = {"colors": [colour], "linestyles": [style], "linewidths": 1.8, "zorder": 4}
    contours = [ax.contour(x, y, component, levels=[0.0], **look)]
    touching = np.ma.masked_where(~_near_touching(component), component)
    if touching.count():
        contours.append(ax.contour(x, y, touching, levels=[-TOUCHING, TOUCHING], **look))
    # A dark edge keeps the lines visible on the bright end of the colours.
    edge = [patheffects.withStroke(linewidth=2.8, foreground="black", alpha=0.6)]
    for contour in contours:
        contour.set_path_effects(edge)
    ax.plot([], [], color=colour, linestyle=style, linewidth=1.8, label=label)
    segments = [line for contour in contours for level in contour.allsegs for line in level]
    return [line.round(4) for line in segments if len(line)]


def _near_touching(component):
    """Samples beside a branch on which the component vanishes without a change of sign.

    Such a branch has no contour at zero; either side of it has one at a small value, at
    less than the width of a line.
    """
    size = np.abs(component)
    far = np.pad(size, 2, constant_values=-1.0)
    least_in_x = size < np.minimum(far[2:-2, :-4], far[2:-2, 4:])
    least_in_y = size < np.minimum(far[:-4, 2:-2], far[4:, 2:-2])
    sign = _around(component > 0, 2)
    one_sign = sign.all(axis=(2, 3)) | ~sign.any(axis=(2, 3))
    on_branch = (size < TOUCHING) & one_sign & (least_in_x | least_in_y)
    return _around(on_branch, 1).any(axis=(2, 3))


def _around(samples, reach):
    padded = np.pad(samples, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
