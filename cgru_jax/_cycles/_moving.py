"""The equations of a cycle on a mesh that moves with it, for curves of cycles.

Half of the mesh is spread over time and half over the length of the orbit, so that neither
a fast jump nor a long wait is ever left out. With the sides of the polygon known, this
gives each interval its time in closed form, so the mesh adds no unknowns but the length.

Unknowns: the `N` points, then the logarithms of length and period, then the parameter.
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


def split(unknown: Float[Array, " u"], n: int):
    """Points, times of the intervals, parameter."""
    points = unknown[:-3].reshape(-1, n)
    length, period = jnp.exp(unknown[-3]), jnp.exp(unknown[-2])
    return points, period * (2 / len(points) - _sides(points) / length), unknown[-1]


def equations(program, arrays, view: Float[Array, " n"], unknown: Float[Array, " u"]):
    """One less than there are unknowns. `view`: the direction in which the orbit is seen;
    its first harmonic over the mesh fixes the phase, whatever its shape."""
    n = view.shape[0]
    lack = _lacking(program, arrays, n, unknown)
    return jnp.concatenate([lack.ravel(), _closing(view, unknown)])


def _lacking(program, arrays, n, unknown):
    points, steps, parameter = split(unknown, n)
    return defects(field_at(program, arrays, parameter), points, steps)


def _closing(view, unknown):
    points, length = unknown[:-3].reshape(-1, view.shape[0]), jnp.exp(unknown[-3])
    turn = jnp.sin(2 * jnp.pi * jnp.arange(len(points)) / len(points))
    return jnp.stack(
        [jnp.sum(_sides(points)) / length - 1, turn @ (points @ view) / length]
    )


def slopes(program, arrays, view: Float[Array, " n"], unknown: Float[Array, " u"]):
    """The matrix of derivatives of `equations`, shape `(u − 1, u)`.

    An interval holds its two ends and what is common to all, so a direction may move every
    other point (their number is even): 2n + 3 directions instead of u.
    """
    n = view.shape[0]
    count = (unknown.shape[0] - 3) // n
    nodes = jnp.arange(count)
    parity = jnp.arange(2)[:, None] == nodes % 2
    moved = jnp.einsum("pk,jl->pjkl", parity, jnp.eye(n)).reshape(2 * n, count * n)
    seeds = jnp.eye(2 * n + 3, unknown.shape[0], k=count * n - 2 * n)
    seeds = seeds.at[: 2 * n, : count * n].set(moved)
    lack = lambda u: _lacking(program, arrays, n, u)
    images = jax.vmap(lambda seed: jax.jvp(lack, (unknown,), (seed,))[1])(seeds)
    # Of each interval: the derivatives in its even and in its odd end, by component.
    ends = images[: 2 * n].reshape(2, n, count, n).transpose(2, 0, 3, 1)
    matrix = jnp.zeros((count, n, count, n))
    for shift in (0, 1):
        other = (nodes + shift) % count
        matrix = matrix.at[nodes, :, other].set(ends[nodes, other % 2])
    common = images[2 * n :].reshape(3, count * n).T
    rows = jnp.concatenate([matrix.reshape(count * n, count * n), common], axis=1)
    return jnp.concatenate([rows, jax.jacfwd(lambda u: _closing(view, u))(unknown)])


def _sides(points):
    return jnp.linalg.norm(jnp.roll(points, -1, axis=0) - points, axis=1)


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
