"""A first guess of an orbit between two saddles: the orbit that leaves one of them."""

import functools

import jax
import jax.numpy as jnp

from .._conditions import as_field
from .._cycles._collocation import spread
from ._base import follow, parabola
from ._pieces import ENDS, tail_into

EARLY, LATE = 128, 1024  # samples: near the saddle by distance, then by arclength
# An orbit that passes the saddle no nearer than this part of its own size does not lead
# there; of several passes the first is meant, if it is not much wider than the closest.
PASSES, FIRST = 0.9, 1.3


def first_guess(program, count, arrays, origin, target, length, back):
    """A polygon from the first saddle to the second with its steps, and whether the orbit
    comes near to there."""
    field = lambda a, x: as_field(program, a[0])(x, a[1])
    here = functools.partial(field, arrays)
    sound = origin.alone & target.alone & (length > 0) & jnp.isfinite(length)
    length = jnp.where(sound, length, 1.0)
    apart = ENDS * length
    # Near the saddle by its distance, then by the length.
    early = jnp.exp(jnp.linspace(jnp.log(apart), jnp.log(length / LATE), EARLY + 1))
    late = length / LATE * jnp.arange(1, LATE + 1)
    lengths = jnp.concatenate([apart[None], early[1:-1], late])
    slowest = jnp.where(sound, 0.1 * apart * origin.rate, jnp.inf)
    everywhere = jnp.array([[-jnp.inf], [jnp.inf]]) * jnp.ones_like(origin.point)
    states, times, *_ = follow(
        field, arrays, parabola(here, origin, apart), apart, lengths, slowest, everywhere
    )
    gaps = jnp.linalg.norm(states - target.point, axis=1)
    reached = jnp.isfinite(gaps)
    falls = jnp.append(False, gaps[1:] < gaps[:-1])
    allowed = reached & (jnp.cumsum(falls) > 0) if back else reached
    ahead = jnp.append(gaps[1:], jnp.inf)
    extent = jax.lax.cummax(jnp.where(reached, gaps, 0))
    least = allowed & falls & (gaps <= ahead) & (gaps <= PASSES * extent)
    closest = jnp.min(jnp.where(least, gaps, jnp.inf))
    # Samples lie up to a spacing from the closest place.
    at = jnp.argmax(least & (gaps <= FIRST * closest + 2 * length / LATE))
    passes = sound & jnp.any(least)

    # From there with the linearised flow, without what would lead away again.
    gap = states[at] - target.point
    gap = gap - target.along * (target.across @ gap)
    late, ahead = tail_into(here, target, gap, apart)
    body = jnp.where((jnp.arange(len(gaps)) <= at)[:, None], states, states[at])
    clock = jnp.where(jnp.arange(len(gaps)) <= at, times, times[at])
    states = jnp.concatenate([body, target.point + ahead])
    times = jnp.concatenate([clock, times[at] + late])
    sides = jnp.linalg.norm(jnp.diff(states, axis=0), axis=1)
    at = spread(sides, times, jnp.linspace(0, 1, count))
    points = jax.vmap(lambda x: jnp.interp(at, times, x), 1, 1)(states)
    return points - origin.point, jnp.append(jnp.diff(at), 0.0), passes
