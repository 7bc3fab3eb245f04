"""Where in a step an event happens, to round-off."""

import functools

import jax
import jax.numpy as jnp

from ._base import CROSSES, CROSSING, EVENTS, FIRST_TEST, LANES, TURNS
from ._space import dot, move, signed, where

BRACKET = 14  # of the Illinois rule, to round-off on a smooth test


def refine_all(space, rows, track, noted):
    """Every noted event, refined: kinds, places and the numbers of the next points, in
    order along each curve, and whether one of a curve's events turned out to be none."""
    batch = track.shape[0]
    kinds = FIRST_TEST + space.tests
    if kinds == FIRST_TEST and not (space.curve.turns or space.curve.crossings):
        none = jnp.full((batch, EVENTS), -1)
        places = jnp.full((batch, EVENTS, space.size), jnp.nan)
        return none, places, none, jnp.zeros(batch, bool)
    bits = (noted[:, :, 0, None] >> jnp.arange(kinds)) & 1
    # A pitchfork met along its bent branch is a turn and a crossing: one event.
    bits = bits.at[:, :, TURNS].min(1 - bits[:, :, CROSSES])
    items = batch * EVENTS * kinds
    total = jnp.sum(bits)
    order = jnp.nonzero(bits.reshape(-1), size=items, fill_value=items)[0]
    width = min(LANES, items)
    order = jnp.concatenate([order, jnp.full(width, items)])

    def block(state):
        at, out = state
        which = jax.lax.dynamic_slice(order, (at,), (width,))
        used = which < items
        safe = jnp.where(used, which, 0)
        member, event, kind = jnp.unravel_index(safe, (batch, EVENTS, kinds))
        step = jnp.where(used, noted[member, event, 1], 1)
        args = rows[member], track[member, step - 1], track[member, step], kind
        place, part = jax.vmap(functools.partial(_refine, space))(*args)
        true = jnp.ones(width, bool)
        if space.curve.crossings:
            crossing = used & (kind == CROSSES)
            place, true = jax.lax.cond(
                jnp.any(crossing),
                lambda place: _cross(space, args[0], place, crossing),
                lambda place: (place, true),
                place,
            )
        key = jnp.where(true, step + part, jnp.inf)
        row = jnp.concatenate([place, key[:, None], kind[:, None].astype(float)], axis=1)
        return at + width, out.at[jnp.where(used, which, items)].set(row)

    empty = jnp.full((items + 1, space.size + 2), jnp.nan)
    _, out = jax.lax.while_loop(lambda s: s[0] < total, block, (0, empty))
    out = out[:-1].reshape(batch, EVENTS * kinds, -1)
    key = out[:, :, space.size]
    rank = jnp.argsort(key, axis=1)[:, :EVENTS]
    out = jnp.take_along_axis(out, rank[:, :, None], axis=1)
    key = out[:, :, space.size]
    found = jnp.isfinite(key)
    return (
        jnp.where(found, out[:, :, -1], -1).astype(int),
        jnp.where(found[:, :, None], out[:, :, : space.size], jnp.nan),
        jnp.where(found, key, 0).astype(int),
        jnp.any(jnp.isposinf(key), axis=1),
    )


def _refine(space, row, begin, end, kind):
    """Where in one step a test changes its sign: the place, and the part of the step.

    The root of a smooth function in a bracket, by the Illinois rule; every trial is first
    corrected onto the curve, so it cannot leave it.
    """
    n = space.size
    a, t = space.unpack(begin[:n]), space.unpack(begin[n:])
    b, ahead = space.unpack(end[:n]), space.unpack(end[n:])
    length = dot(t, move(b, -1, a))
    onward = tuple(x / dot(t, ahead) for x in ahead)  # per unit of the distance along t

    def at(part):
        # The cubic through both ends, corrected; the test there.
        s = part
        h = (
            (1 + 2 * s) * (1 - s) ** 2,
            s * (1 - s) ** 2,
            s**2 * (3 - 2 * s),
            s**2 * (s - 1),
        )
        x = tuple(
            h[0] * p + h[1] * length * u + h[2] * q + h[3] * length * v
            for p, u, q, v in zip(a, t, b, onward, strict=True)
        )

        x, _, _, (tangent, values, _) = space.settle(
            row, x, move(a, part * length, t), t, t, 2, slopes=False
        )
        sigma = jnp.where(dot(tangent, t) < 0, -1.0, 1.0)
        values = signed(sigma, values)
        return x, sum(jnp.where(kind == k, v, 0.0) for k, v in enumerate(values))

    def narrow(i, state):
        low, f_low, high, f_high, side, best, least = state
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        middle = jnp.where((middle > low) & (middle < high), middle, (low + high) / 2)
        # The first two trials are the ends.
        middle = jnp.select([i == 0, i == 1], [0.0, 1.0], middle)
        x, f = at(middle)
        left = ((f < 0) == (f_low < 0)) & (i > 1) | (i == 0)
        # Illinois: an end that stays twice counts half, so that both move.
        again = (i > 1) & (left == side)
        weight = jnp.where(again, 0.5, 1.0)
        return (
            jnp.where(left, middle, low),
            jnp.where(left, f, weight * f_low),
            jnp.where(left, high, middle),
            jnp.where(left, weight * f_high, f),
            jnp.where(i > 1, left, side),
            # The last trial need not be the best one.
            where(jnp.abs(f) < least, (x, middle), best),
            jnp.minimum(jnp.abs(f), least),
        )

    zero, one = jnp.zeros(()), jnp.ones(())
    state = (zero, zero, one, zero, jnp.zeros((), bool), (a, zero), jnp.inf * one)
    *_, (x, part), _ = jax.lax.fori_loop(0, BRACKET, narrow, state)
    return space.pack(x), part


def _cross(space, rows, places, chosen):
    """Crossings to round-off, and whether they are any: near one the curve itself is badly
    determined, so the place solves equations of its own (G. Moore's).

    At a crossing the equations G have a left null vector w of their whole Jacobian:
    G + μ w = 0, w G' = 0, |w| = 1, and two curves that only come near have μ ≠ 0.
    """
    n = space.size

    def equations(row, unknown):
        arrays, setting = space.restore(row)
        g = lambda x: space.curve.equations(arrays[0], x * setting.scale)
        x, w, mu = unknown[:n], unknown[n:-1], unknown[-1]
        value, pull = jax.vjp(g, x)
        return jnp.concatenate([value + mu * w, pull(w)[0], (w @ w - 1)[None]])

    def solve(row, place):
        arrays, setting = space.restore(row)
        jacobian = jax.jacfwd(lambda x: space.curve.equations(arrays[0], x * setting.scale))
        w = jnp.linalg.svd(jacobian(place))[0][:, -1]
        start = jnp.concatenate([place, w, jnp.zeros(1)])

        def newton(_, state):
            x, _ = state
            f = functools.partial(equations, row)
            step = jnp.linalg.solve(jax.jacfwd(f)(x), f(x))
            return x - step, jnp.linalg.norm(step)

        found, error = jax.lax.fori_loop(0, 5, newton, (start, jnp.zeros(())))
        near = jnp.linalg.norm(found[:n] - place) < 10 * CROSSING
        return found[:n], near & (error < 1e-9) & (jnp.abs(found[-1]) < 1e-10)

    found, true = jax.vmap(solve)(rows, places)
    places = jnp.where((chosen & true)[:, None], found, places)
    return places, true | ~chosen
