"""The equations of a cycle on a mesh that moves with it, for curves of cycles.

Half of the mesh is spread over time and half over the length of the orbit, so that neither
a fast jump nor a long wait is ever left out. With the sides of the polygon known, this
gives each interval its time in closed form, so the mesh adds no unknowns but the length.

Unknowns: the `N` points, then the logarithms of length and period, then the parameters
that are free.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import at_times
from ._collocation import coefficients, defects, derivatives

FINE = 16  # places in an interval, to measure the length of an orbit


def field_at(program, arrays, parameter):
    """The field at one parameter, of a program of (point, parameter)."""
    return lambda x: program(arrays, jnp.append(x, parameter))


def split(unknown: Float[Array, " u"], n: int, free: int = 1, end=None):
    """Points, times of the intervals, parameter (a vector where several are `free`)."""
    points, (length, period) = _parts(unknown, n, free)
    times = period * (2 / len(points) - _sides(points, end) / length)
    return points, times, unknown[-1] if free == 1 else unknown[-free:]


def _parts(unknown, n, free):
    last = len(unknown) - free
    return unknown[: last - 2].reshape(-1, n), jnp.exp(unknown[last - 2 : last])


def equations(program, arrays, view: Float[Array, " n"], unknown: Float[Array, " u"]):
    """One less than there are unknowns. `view`: the direction in which the orbit is seen;
    its first harmonic over the mesh fixes the phase, whatever its shape."""
    lack = _lacking(program, arrays, view.shape[0], 1, unknown)
    return jnp.concatenate([lack.ravel(), _closing(view, 1, unknown)])


def _lacking(program, arrays, n, free, unknown, jump=None):
    end = None if jump is None else unknown[:n] + jump
    points, steps, parameter = split(unknown, n, free, end)
    return defects(field_at(program, arrays, parameter), points, steps, end)


def _closing(view, free, unknown):
    points, (length, _) = _parts(unknown, view.shape[0], free)
    turn = jnp.sin(2 * jnp.pi * jnp.arange(len(points)) / len(points))
    return jnp.stack(
        [jnp.sum(_sides(points)) / length - 1, turn @ (points @ view) / length]
    )


def linear(program, arrays, view: Float[Array, " n"], unknown, *, free=1, jump=None):
    """The matrix of derivatives of `equations`, and their values as a last column.

    An interval holds its two ends and what is common to all, so a direction may move every
    other point (their number is even): 2n + 2 + `free` directions instead of one for each
    unknown. `jump`: how far beyond the first point the last interval ends.
    """
    n = view.shape[0]
    shared = 2 + free
    count = (unknown.shape[0] - shared) // n
    nodes = jnp.arange(count)
    parity = jnp.arange(2)[:, None] == nodes % 2
    moved = jnp.einsum("pk,jl->pjkl", parity, jnp.eye(n)).reshape(2 * n, count * n)
    seeds = jnp.eye(2 * n + shared, unknown.shape[0], k=count * n - 2 * n)
    seeds = seeds.at[: 2 * n, : count * n].set(moved)
    lack = lambda u: _lacking(program, arrays, n, free, u, jump)
    push = jax.vmap(lambda seed: jax.jvp(lack, (unknown,), (seed,)), out_axes=(None, 0))
    value, images = push(seeds)
    # Of each interval: the derivatives in its even and in its odd end, by component.
    ends = images[: 2 * n].reshape(2, n, count, n).transpose(2, 0, 3, 1)
    matrix = jnp.zeros((count, n, count, n))
    for shift in (0, 1):
        other = (nodes + shift) % count
        matrix = matrix.at[nodes, :, other].set(ends[nodes, other % 2])
    common = images[2 * n :].reshape(shared, count * n).T
    rows = [matrix.reshape(count * n, count * n), common, value.reshape(-1, 1)]
    closing = lambda u: _closing(view, free, u)
    last = [jax.jacfwd(closing)(unknown), closing(unknown)[:, None]]
    return jnp.concatenate([jnp.concatenate(part, axis=1) for part in (rows, last)])


def _sides(points, end=None):
    after = jnp.roll(points, -1, axis=0)
    after = after if end is None else after.at[-1].set(end)
    return jnp.linalg.norm(after - points, axis=1)


def begin(field, cycle, intervals: int):
    """The unknowns without the parameter, nearly, and the view, of a cycle on any mesh: of
    anything that has points, times and period."""
    steps = jnp.diff(cycle.times, append=cycle.period)
    towers = jax.vmap(functools.partial(derivatives, field))(cycle.points)
    pieces = coefficients(cycle.points, towers, steps)
    parts = jnp.arange(FINE) / FINE
    times = (cycle.times[:, None] + steps[:, None] * parts).reshape(-1)
    fine = at_times(pieces, steps, times)
    sides = _sides(fine)
    length = jnp.sum(sides)
    amount = jnp.append(0.0, jnp.cumsum(sides)) / length
    times = jnp.append(times, cycle.period)
    amount = (amount + times / cycle.period) / 2

    def cut(first):
        """Points and times from the place `first` (0 to 1) of the mesh on."""
        places = (first + jnp.arange(intervals) / intervals) % 1
        return at_times(pieces, steps, jnp.interp(places, amount, times))

    extent = jnp.max(fine, axis=0) - jnp.min(fine, axis=0)
    view = jax.nn.one_hot(jnp.argmax(extent), fine.shape[1])
    seen = cut(0.0) @ view
    wave = seen @ jnp.exp(-2j * jnp.pi * jnp.arange(intervals) / intervals)
    points = cut(-jnp.angle(wave) / (2 * jnp.pi))
    logs = jnp.log(jnp.stack([jnp.sum(_sides(points)), cycle.period]))
    return jnp.concatenate([points.ravel(), logs]), view
