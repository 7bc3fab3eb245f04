"""What all followed curves share: how far they go, what happens, and how they ended."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .. import _arclength
from .._errors import check_whole, concrete, real_array
from .._results import EVENTS, RESULTS, choose


class Events(eqx.Module):
    """What happens along a branch, in order, in `e` slots of which some are used.

    - `kind`: `EVENTS`, shape `(e,)`; `none` in an unused slot.
    - `points`: shape `(e, n)`; `parameters`: shape `(e,)`, along a curve in two parameters
      `(e, 2)`; NaN in an unused slot.
    - `valid`: which slots are used, shape `(e,)`.
    """

    kind: EVENTS
    points: Float[Array, "*batch e n"]
    parameters: Float[Array, "..."]
    valid: Bool[Array, "*batch e"]

    @property
    def count(self) -> Int[Array, "*batch"]:
        """How many events there are, shape `()`."""
        return jnp.sum(self.valid, axis=-1)

    def tally(self, kind) -> Int[Array, "*batch"]:
        """How many are of this member of `EVENTS`, shape `()`."""
        return jnp.sum(self.valid & (self.kind == kind), axis=-1)


def check_extent(verb, bounds, direction, capacity, start):
    """The checked bounds `(low, high)` and direction of a curve from `start`."""
    check_whole(verb, "capacity", capacity, 2)
    low, high = check_bounds(verb, bounds, start)
    direction = real_array(verb, "direction", direction)
    if direction.shape != () or (concrete(direction) and float(direction) not in (1, -1)):
        raise ValueError(f"{verb}: direction must be 1 or -1, got {direction}.")
    return low, high, direction


def check_bounds(verb, bounds, start):
    """Bounds `(low, high)` as arrays of the shape of `start`, which lies between them; NaN
    lies anywhere."""
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"{verb}: bounds must be a pair (low, high).")
    low, high = (
        real_array(verb, f"bounds[{i}]", end).astype(float) for i, end in enumerate(bounds)
    )
    for name, end in (("low", low), ("high", high)):
        if end.shape != start.shape:
            raise ValueError(
                f"{verb}: the {name} bound has shape {end.shape}, the parameter "
                f"{start.shape}."
            )
    # NumPy: inside a transformation JAX would trace a comparison of two numbers too.
    if concrete(low) and concrete(high) and not np.all(np.less(low, high)):
        raise ValueError(f"{verb}: bounds are empty: {low} is not below {high}.")
    if all(map(concrete, (low, high, start))) and (
        np.any(np.less(start, low)) or np.any(np.less(high, start))
    ):
        raise ValueError(
            f"{verb}: the start {start} lies outside the bounds ({low}, {high})."
        )
    return low, high


def why_ended(path, unresolved, *, invalid=RESULTS.nonfinite, troubles=(), bounds=()):
    """How a path ended, as a member of `RESULTS`.

    **Arguments:** `unresolved`: whether the events do not explain what was seen; `invalid`:
    what a start that is not finite means; `troubles` and `bounds`: pairs (condition,
    member) that come before `unresolved`, and before the bound of the parameter.
    """
    status = path.status
    return choose(
        RESULTS,
        RESULTS.step,
        (status == _arclength.NONFINITE, invalid),
        (status == _arclength.LOST, RESULTS.not_converged),
        (status == _arclength.ELSEWHERE, RESULTS.elsewhere),
        ((status == _arclength.CAPACITY) | path.crowded, RESULTS.capacity),
        *troubles,
        (unresolved, RESULTS.unresolved),
        *(((status == _arclength.BOUND) & at, member) for at, member in bounds),
        (status == _arclength.BOUND, RESULTS.bound),
        (status == _arclength.CLOSED, RESULTS.closed),
    )


def explained(events, steps, unstable, sure):
    """Whether the number of growing modes changes by what the events of each step say."""
    size = unstable.shape[0]
    double = (events.kind == EVENTS.hopf) | (events.kind == EVENTS.neimark_sacker)
    crossing = events.kind == EVENTS.branch_point
    slot = jnp.where(events.valid, steps, size)
    change = jnp.zeros(size, int).at[slot].add(jnp.where(double, 2, 1), mode="drop")
    count = jnp.zeros(size, int).at[slot].add(1, mode="drop")
    # At a branch point it depends on the branch.
    free = jnp.zeros(size, bool).at[slot].max(crossing, mode="drop")
    actual = jnp.abs(unstable[1:] - unstable[:-1])
    change, count, free = change[1:], count[1:], free[1:]
    single = actual == change
    several = (actual <= change) & ((actual - change) % 2 == 0)
    right = free | jnp.where(count <= 1, single, several)
    return jnp.all(right | ~(sure[1:] & sure[:-1]))


def blank(valid, x):
    """`x` with NaN in the rows that are not valid."""
    return jnp.where(valid.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.nan)


def member(batch, *place):
    """One curve of a batch of them, without its unused slots: not under a transformation,
    where their number is not known."""
    curve = jax.tree.map(lambda x: np.asarray(x)[place], batch)
    apart = lambda c: (c.events, c.result)
    slots = jax.tree.map(lambda x: x[curve.valid], eqx.tree_at(apart, curve, (None, None)))
    events = jax.tree.map(lambda x: x[curve.events.valid], curve.events)
    whole = eqx.tree_at(apart, slots, (events, curve.result), is_leaf=lambda x: x is None)
    return jax.tree.map(jnp.asarray, whole)
