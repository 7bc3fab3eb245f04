"""What is followed, by which numbers, and what comes of it."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from .._program import Program

# Why a curve ended.
RUNNING, BOUND, CLOSED, STEP, CAPACITY, LOST, ELSEWHERE, NONFINITE = range(8)
# What may happen on the way.
TURNS, CROSSES, FIRST_TEST = range(3)

LANES = 128  # rows that stay in the cache of one core
EVENTS = 16  # steps with an event, per curve
# A crossing of two curves persists at any step, a jump between two that only come near
# does not: follow what looks like a crossing this closely before believing it.
CROSSING = 1e-4


class Curve(eqx.Module):
    """What is followed: programs of one vector of unknowns, the parameters last.

    - `equations`: to one value less than there are unknowns, or `None`.
    - `tests`: to values whose changes of sign are events, or `None`.
    - `parameters`: how many of the last unknowns have bounds.
    - `turns`: whether it is an event that the last unknown turns round.
    - `crossings`: whether it is one that another curve crosses. They are the most to
      compile; without them a curve is followed through, with no word of it.
    - `linear`: in place of `equations`, where their derivatives are so sparse that one
      direction for each unknown is a waste: to their matrix, and the values after it as a
      last column.
    """

    equations: Program | None = eqx.field(static=True)
    tests: Program | None = eqx.field(static=True)
    parameters: int = eqx.field(static=True)
    turns: bool = eqx.field(static=True)
    crossings: bool = eqx.field(static=True, default=True)
    linear: Program | None = eqx.field(static=True, default=None)


class Path(eqx.Module):
    """A followed curve, in `k` slots of which the first `count` are used.

    - `points`: shape `(k, N)`.
    - `places`: shape `(EVENTS, N)`, where events happen, in order along the curve; `kinds`,
      shape `(EVENTS,)`: TURNS (the last unknown), CROSSES (another curve), FIRST_TEST plus
      the number of the test that changes its sign, or −1 in an unused slot; `steps`,
      shape `(EVENTS,)`: the number of the point that comes next.
    - `status`: why it ended. `moved`: how far the start was moved onto the curve, in units
      of the scale. `crowded`: whether there were more events than slots.
    - `unresolved`: whether a test almost vanished without a change of sign, or two events
      lie too close together.
    """

    points: Float[Array, "*batch k N"]
    places: Float[Array, "*batch e N"]
    kinds: Int[Array, "*batch e"]
    steps: Int[Array, "*batch e"]
    count: Int[Array, "*batch"]
    status: Int[Array, "*batch"]
    moved: Float[Array, "*batch"]
    crowded: Bool[Array, "*batch"]
    unresolved: Bool[Array, "*batch"]


class Setting(eqx.Module):
    """One curve's own numbers: `start` and `scale` (the size of each unknown) of shape
    `(N,)`; `along` `(N,)`, the way to set out; `low`, `high` `(p,)`; `crossed`: whether
    the start is a crossing, to be left exactly along `along`."""

    start: Float[Array, "*batch N"]
    scale: Float[Array, "*batch N"]
    along: Float[Array, "*batch N"]
    low: Float[Array, "*batch p"]
    high: Float[Array, "*batch p"]
    crossed: Bool[Array, "*batch"]
