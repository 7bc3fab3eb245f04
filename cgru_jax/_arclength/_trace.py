"""Follow a curve of solutions by its arclength: any equations with one unknown to spare.

Many curves are followed at once, in lanes: a lane whose curve has ended takes the next one
from a queue, so no curve waits for the longest, and all arithmetic is on rows of scalars.
"""

import functools

import jax
import jax.numpy as jnp

from ._base import EVENTS, LANES, RUNNING, Curve, Path, Setting
from ._refine import refine_all
from ._space import Space
from ._step import advance, begin


def trace(curve: Curve, arrays: tuple, setting: Setting, capacity: int) -> Path:
    """Follow one curve; under `vmap`, a batch of them in lanes.

    **Arguments:** `arrays`: two lists, what `equations` (or `linear`) and `tests` close
    over. No derivatives flow through: attach them to the answer.
    """
    flat, restore = _raveler(jax.lax.stop_gradient((arrays, setting)))

    @jax.custom_batching.custom_vmap
    def many(rows):
        return _trace_all(curve, restore, rows, capacity)

    @many.def_vmap
    def _(size, batched, rows):
        del batched  # there is only one operand
        paths = many(rows.reshape(-1, rows.shape[-1]))
        paths = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), paths)
        return paths, jax.tree.map(lambda _: True, paths)

    return jax.tree.map(lambda x: x[0], many(flat[None]))


def _raveler(tree):
    """All numbers of a tree in one real row, and the way back."""
    leaves, structure = jax.tree.flatten(tree)
    # A complex leaf is two real ones.
    split = [[x.real, x.imag] if jnp.iscomplexobj(x) else [x] for x in leaves]
    flat = jnp.concatenate([jnp.ravel(x).astype(float) for part in split for x in part])

    def restore(row):
        whole, at = [], 0
        for leaf, part in zip(leaves, split, strict=True):
            pieces = []
            for _ in part:
                pieces.append(row[at : at + leaf.size].reshape(leaf.shape))
                at += leaf.size
            value = jax.lax.complex(*pieces) if len(pieces) == 2 else pieces[0]
            whole.append(value.astype(leaf.dtype))
        return jax.tree.unflatten(structure, whole)

    return flat, restore


def _trace_all(curve, restore, rows, capacity):
    batch = rows.shape[0]
    size = jax.eval_shape(restore, rows[0])[1].start.shape[0]
    space = Space(curve, restore, size)
    width = min(LANES, batch)
    # The starts of all curves at once; a lane then only copies its own.
    waiting = jax.vmap(functools.partial(begin, space))(rows)
    onward = jax.vmap(functools.partial(advance, space, capacity))

    def mix(chosen, new, old):
        pick = lambda a, b: jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        return jax.tree.map(pick, new, old)

    def unfinished(state):
        return jnp.any(state[1] < batch)

    def body(state):
        lanes, ids, following, track, noted, ends = state
        # Recorded before the step, from numbers that are in memory: XLA would otherwise
        # compute the whole step again for every one of them.
        live = ids < batch
        slot = jnp.where(
            live & lanes.fresh, ids * capacity + lanes.count - 1, batch * capacity
        )
        record = [space.pack(lanes.point), space.pack(lanes.tangent)]
        track = track.at[slot].set(jnp.concatenate(record, axis=-1))
        event = live & lanes.fresh & (lanes.flag > 0) & (lanes.events <= EVENTS)
        slot = jnp.where(event, ids * EVENTS + lanes.events - 1, batch * EVENTS)
        noted = noted.at[slot].set(jnp.stack([lanes.flag, lanes.count - 1], -1))
        done = live & (lanes.status != RUNNING)
        end = [lanes.count, lanes.events, lanes.status, lanes.moved, lanes.unresolved]
        end = jnp.stack([x.astype(float) for x in end], -1)
        ends = ends.at[jnp.where(done, ids, batch)].set(end)

        def refill(state):
            lanes, ids, following = state
            ids = jnp.where(done, following + jnp.cumsum(done) - 1, ids)
            chosen = jnp.where(ids < batch, ids, 0)
            lanes = mix(done, jax.tree.map(lambda x: x[chosen], waiting), lanes)
            return lanes, ids, following + jnp.sum(done)

        stepped = onward(lanes)
        # A lane that is refilled now records its start before it steps.
        lanes, ids, following = jax.lax.cond(
            jnp.any(done), refill, lambda s: s, (mix(~done, stepped, lanes), ids, following)
        )
        return lanes, ids, following, track, noted, ends

    state = (
        jax.tree.map(lambda x: x[:width], waiting),
        jnp.arange(width),
        jnp.asarray(width),
        jnp.full((batch * capacity + 1, 2 * size), jnp.nan),
        jnp.zeros((batch * EVENTS + 1, 2), int),
        jnp.zeros((batch + 1, 5)),
    )
    *_, track, noted, ends = jax.lax.while_loop(unfinished, body, state)
    track = track[:-1].reshape(batch, capacity, 2 * size)
    noted = noted[:-1].reshape(batch, EVENTS, 2)
    kinds, places, steps, false = refine_all(space, rows, track, noted)
    scale = jax.vmap(lambda row: restore(row)[1].scale)(rows)
    whole = ends[:-1].astype(int)
    return Path(
        points=track[:, :, :size] * scale[:, None],
        places=places * scale[:, None],
        kinds=kinds,
        steps=steps,
        count=whole[:, 0],
        status=whole[:, 2],
        moved=ends[:-1, 3],
        crowded=whole[:, 1] > EVENTS,
        unresolved=(whole[:, 4] > 0) | false,
    )
