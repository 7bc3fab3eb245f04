"""A function over a large batch: in chunks, on every device there is."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ._errors import check_whole, concrete
from ._program import Program

MEMBERS = "members"  # the name of the mesh's one axis


def sweep(fn: Callable[[Any], Any], batch: Any, *, chunk: int) -> Any:
    """`eqx.filter_vmap(fn)(batch)`, a chunk at a time, shared among all devices.

    Each device works on one chunk at a time, so memory is bounded by the chunk and not by
    the batch. What a member gets depends on `chunk` and on nothing else: one device, four,
    or two hosts give the same bits.

    **Arguments:**

    - `fn`: from one member to a pytree. It may be made anew for each call; what computes
      the same is compiled once.
    - `batch`: a pytree whose arrays all have the same leading axis, of length N. What is no
      array belongs to every member.
    - `chunk`: how many members one device works on at once. Two thousand fill a core with
      `enumerate_equilibria`; too many only take memory.

    **Returns:** the pytree of `fn`, every array with a leading axis of length N, on the
    first local device. Under `jax.distributed` every process calls it with the same batch,
    works on its share, and gets the whole.

    **Fails:** `ValueError` for a `chunk` below 1, and for a batch without arrays or with
    arrays of different length. Inside `jit` the chunks become one program after another,
    which takes long to compile: call it outside.
    """
    members, rest = eqx.partition(batch, eqx.is_array)
    leaves, shape_of_batch = jax.tree.flatten(members)
    size = _length(members)
    check_whole("sweep", "chunk", chunk, 1)

    shape_of_answer = []

    def flat(*leaves):
        answer = fn(eqx.combine(jax.tree.unflatten(shape_of_batch, leaves), rest))
        arrays, other = eqx.partition(answer, eqx.is_array)
        arrays, structure = jax.tree.flatten(arrays)
        shape_of_answer[:] = structure, other
        return arrays

    one = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in leaves]
    closed = jax.make_jaxpr(flat)(*one)
    program, constants = Program(closed.jaxpr), closed.consts
    if size:
        answers = _in_rounds(program, constants, leaves, size, min(chunk, size))
    else:
        answers = [jnp.zeros((0, *x.shape), x.dtype) for x in closed.out_avals]
    structure, other = shape_of_answer
    return eqx.combine(jax.tree.unflatten(structure, answers), other)


def _in_rounds(program, constants, leaves, size, chunk):
    """One chunk per device and round; the last member stands in where members run out."""
    devices = jax.devices()
    at_once = chunk * len(devices)
    mesh = Mesh(np.array(devices), (MEMBERS,))
    traced = not all(map(concrete, (*constants, *leaves)))
    rounds = []
    for start in range(0, size, at_once):
        # The last member of the last chunk, whatever the number of devices.
        which = np.minimum(np.arange(start, start + at_once), size - 1)
        these = [x[which] for x in leaves]
        if not traced:
            these = [_spread(x, mesh) for x in these]
        answers = _round(program, mesh, constants, these)
        rounds.append(answers if traced else [_gather(x) for x in answers])
    return [jnp.concatenate(parts)[:size] for parts in zip(*rounds, strict=True)]


@eqx.filter_jit
def _round(program, mesh, constants, leaves):
    def share(constants, *leaves):
        return jax.vmap(lambda *x: jax.core.eval_jaxpr(program.jaxpr, constants, *x))(
            *leaves
        )

    over = PartitionSpec(MEMBERS)
    specs = (PartitionSpec(), *(over for _ in leaves))
    # Members do not talk to each other, so nothing can be replicated by mistake.
    shared = jax.shard_map(
        share, mesh=mesh, in_specs=specs, out_specs=over, check_vma=False
    )
    return shared(constants, *leaves)


def _spread(array, mesh):
    sharding = NamedSharding(mesh, PartitionSpec(MEMBERS))
    if jax.process_count() == 1:
        return jax.device_put(array, sharding)
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda at: whole[at])


def _gather(array):
    if jax.process_count() > 1:
        array = multihost_utils.process_allgather(array, tiled=True)
    return jax.device_put(array, jax.local_devices()[0])


def _length(members) -> int:
    lengths = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(members):
        name = "batch" + jax.tree_util.keystr(path)
        if not leaf.ndim:
            raise ValueError(
                f"sweep: {name} is a scalar; every array of the batch needs a leading axis."
            )
        lengths.setdefault(leaf.shape[0], f"{name} of length {leaf.shape[0]}")
    if len(lengths) != 1:
        what = " and ".join(list(lengths.values())[:2])
        raise ValueError(
            "sweep: the arrays of batch must have one leading axis in common, got "
            + (f"{what}." if lengths else "no array at all.")
        )
    return next(iter(lengths))
