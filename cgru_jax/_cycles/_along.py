"""What branches and curves of cycles share: how they are posed, scaled and described."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._arclength import Setting
from .._bifurcation._base import blank
from .._conditions import pose
from .._errors import concrete, real_array
from .._results import RESULTS
from .._systems import Flow
from ._base import Cycle, read
from ._moving import field_at, split

INTERVALS = 64
LONGEST = 100.0  # periods of the start
REAL = 1e-4  # an angle smaller than this is that of two real multipliers
FAR = 30.0  # nothing grows e^FAR times larger, nor shorter in time


def pose_cycle(verb, family, cycle, parameter, intervals, *, kinds=(Cycle,), free=1):
    """A family of `free` parameters as a field of (point, parameter), with a cycle of it,
    which is of one of these `kinds`."""
    if not isinstance(cycle, kinds):
        wanted = " or a ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{verb}: cycle must be a {wanted}, as find_cycle returns, got "
            f"{type(cycle).__name__}."
        )
    if cycle.points.ndim != 2:
        raise ValueError(
            f"{verb}: cycle.points has shape {cycle.points.shape}; a batch of cycles goes "
            "through eqx.filter_vmap."
        )
    if not isinstance(intervals, int) or intervals < 8 or intervals % 2:
        raise ValueError(
            f"{verb}: intervals must be an even number ≥ 8, got {intervals!r}."
        )
    # A cycle that was not found is NaN, and the result will say so.
    anywhere = jnp.zeros_like(cycle.points[0])
    field, reading, point, parameter = pose(verb, family, anywhere, parameter, free)
    if not issubclass(reading, Flow):
        raise ValueError(f"{verb}: the family returns a {reading.__name__}, not a Flow.")
    return field, point, parameter


def longest_period(verb, longest, cycle):
    """The checked period at which a curve from this cycle ends."""
    if longest is None:
        return LONGEST * cycle.period  # NaN if the cycle was not found: see the result
    longest = real_array(verb, "longest", longest)
    if all(map(concrete, (longest, cycle.period))) and longest <= cycle.period:
        raise ValueError(
            f"{verb}: longest is {longest}, but the cycle has period {cycle.period}."
        )
    return longest


def setting(start, cycle, smallest, longest, low, high, direction, between=()) -> Setting:
    """How a curve of cycles is followed from `start`, until its length is a part `smallest`
    of what it is there. `between`: bounds of unknowns that come after the points."""
    low, high = jnp.atleast_1d(low), jnp.atleast_1d(high)
    free, others = len(low), len(between)
    points = cycle.points
    radius = jnp.sqrt(jnp.mean(jnp.sum((points - jnp.mean(points, axis=0)) ** 2, axis=1)))
    size = len(start) - free - 2 - others
    # All points together count as much as one, however fine the mesh.
    across = jnp.full(size, radius * jnp.sqrt(size / points.shape[1]))
    length, period = start[-2 - free], start[-1 - free]
    floor = jnp.stack([length + jnp.log(smallest), period - FAR])
    ceiling = jnp.stack([length + FAR, jnp.log(longest)])
    first, last = jnp.asarray(between).reshape(others, 2).T
    # The first parameter sets the way, the second one where the first is constant.
    way = jnp.array([1, 1e-6])[:free] * direction
    return Setting(
        start=start,
        scale=jnp.concatenate([across, jnp.ones(2 + others), (high - low) / 8]),
        along=jnp.zeros_like(start).at[-free:].set(way),
        low=jnp.concatenate([first, floor, low]),
        high=jnp.concatenate([last, ceiling, high]),
        crossed=jnp.asarray(False),
    )


def ends(setting, path, free):
    """Pairs (condition, `RESULTS`) of why a followed path reached a bound that is none of
    the parameters."""
    last = path.points[jnp.maximum(path.count - 1, 0)]
    least, most = setting.low[-2 - free], setting.high[-1 - free]
    return [
        (last[-2 - free] <= least + 1e-6, RESULTS.shrunk),
        (last[-1 - free] >= most - 1e-6, RESULTS.slow),
    ]


def describe(program, arrays, n, free, unknowns, valid) -> Cycle:
    """The cycles of these rows of unknowns; NaN where they are not valid."""

    def one(unknown):
        points, steps, parameter = split(unknown, n, free)
        return read(field_at(program, arrays, parameter), points, steps, RESULTS.successful)

    numbers, rest = eqx.partition(jax.vmap(one)(unknowns), eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda x: blank(valid, x), numbers), rest)


def circle_angle(cycle: Cycle):
    """The angle, in (0, π), of the pair of multipliers that is on the circle or nearest to
    it; NaN where none are a pair."""
    angles = jnp.abs(jnp.angle(cycle.multipliers))
    pair = (angles > REAL) & (angles < jnp.pi - REAL)
    off = jnp.where(pair, jnp.abs(cycle.exponents), jnp.inf)
    return jnp.where(jnp.any(pair), angles[jnp.argmin(off)], jnp.nan)
