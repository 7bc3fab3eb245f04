"""Which attractor each separatrix of a plane system leads to, as a graph."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int

from .._cycles import Cycle, find_cycle
from .._equilibria import Equilibria
from .._results import KINDS, RESULTS
from .._systems import AbstractSystem
from ._separatrix import trace_manifold

NONE, OPEN = -1, -2  # no branch of a saddle; a branch whose end is not known
SAME = 1e-6  # of the size of a state: the end of a branch is corrected to round-off
PLACES = 1_001  # of a branch: fifty in a unit of length, to see it return
RETURNED = 0.1  # of the size of a lap: how far from its begin it may end


class SeparatrixGraph(eqx.Module):
    """Equilibria, and where the unstable branches of the saddles end.

    - `kinds`: the names of the `k` equilibria, and a `cycle` for each of the cycles.
    - `ends`: shape `(k, 2)`, where either branch of a saddle leads: the number of an
      equilibrium, or `k` and more for the cycle onto which it winds; `NONE` (−1) for what
      is no saddle, `OPEN` (−2) for a branch whose end was not found.
    - `cycles`: the cycles that are reached, each once.
    - `signature`: the graph as text, the same for graphs that differ in the order of their
      equilibria or by a reflection, and for no others.
    """

    kinds: tuple[str, ...] = eqx.field(static=True)
    ends: Int[Array, "k 2"]
    cycles: tuple[Cycle, ...]
    signature: str = eqx.field(static=True)

    @property
    def connections(self) -> list[tuple[int, int]]:
        """Pairs of a saddle and what a branch of it reaches that does not attract: another
        saddle, or a degenerate point. Such an orbit breaks under small changes."""
        return [
            (i, j)
            for i, pair in enumerate(self.ends.tolist())
            for j in pair
            if j >= 0 and self.kinds[j] not in ("sink", "cycle")
        ]

    @property
    def resolved(self) -> bool:
        """Whether every branch is known to end in a sink or on a cycle."""
        return not self.connections and not bool(jnp.any(self.ends == OPEN))


def separatrix_graph(
    system: AbstractSystem, equilibria: Equilibria, *, length: ArrayLike = 20.0
) -> SeparatrixGraph:
    """The graph that the unstable manifolds of the saddles make of the equilibria.

    Two portraits with equal numbers of sinks, saddles and sources may differ in it; equal
    graphs do not make portraits equal, since neither the order around a point nor the
    stable manifolds are in it.

    **Arguments:**

    - `system`: a `Flow` of two dimensions.
    - `equilibria`: of this one system, from `enumerate_equilibria` or `find_equilibria`;
      what is missing there cannot be reached.
    - `length`: shape `()`, the arclength to which each branch is followed.

    **Returns:** a `SeparatrixGraph` of the equilibria in use, in their order. Nothing in it
    has a derivative: it changes at bifurcations only.

    A branch that comes within about 3e-5 of a saddle is a connection: rounding could not
    tell on which side it passes. One that has not arrived anywhere, but came back to where
    it was, is handed to `find_cycle`, which compiles another program.

    **Fails:** a branch that could not be followed, or not far enough, is `OPEN`; so is one
    whose cycle `find_cycle` does not find. `ValueError` for what
    `trace_manifold` refuses, and for equilibria that are a batch or of another dimension.
    """
    points = np.asarray(equilibria.points)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            "separatrix_graph: equilibria must be those of one system of two dimensions, "
            f"with points of shape (k, 2); got {points.shape}."
        )
    used = np.flatnonzero(equilibria.valid)
    names = np.array(list(KINDS._name_to_item))[np.asarray(equilibria.kind._value)]
    saddles = jnp.where((names == "saddle")[:, None], points, jnp.nan)
    sides = [
        eqx.filter_vmap(
            lambda x, s=side: trace_manifold(system, x, side=s, length=length, count=PLACES)
        )(saddles)
        for side in (1, -1)
    ]
    ends, cycles = np.full((len(used), 2), NONE), []
    for i, slot in enumerate(used):
        if names[slot] == "saddle":
            ends[i] = [_reached(branch, slot, points[used]) for branch in sides]
        for k in np.flatnonzero(ends[i] == OPEN):
            cycle = _cycle(system, jax.tree.map(lambda x, j=slot: x[j], sides[k]))
            if cycle is not None:
                ends[i, k] = len(used) + _place(cycle, cycles)
    kinds = (*names[used].tolist(), *["cycle"] * len(cycles))
    signature = _signature(kinds, [*ends.tolist(), *[[NONE, NONE]] * len(cycles)])
    return SeparatrixGraph(kinds, jnp.asarray(ends), tuple(cycles), signature)


def _reached(branch, slot, points):
    if branch.result._value[slot] != RESULTS.arrived._value:
        return OPEN
    end = np.asarray(branch.end)[slot]
    apart = np.max(np.abs(points - end), axis=1)
    near = apart <= SAME * (1 + np.max(np.abs(end)))
    return int(np.argmin(apart)) if near.any() else OPEN


def _cycle(system, branch):
    """The cycle onto which a branch winds, or `None`."""
    if not bool(branch.result == RESULTS.successful):
        return None
    lap = _last_lap(np.asarray(branch.points))
    if lap is None:
        return None
    speeds = np.linalg.norm(jax.vmap(system.residual)(jnp.asarray(lap)), axis=1)
    sides = np.linalg.norm(np.diff(lap, axis=0), axis=1)
    period = np.sum(sides * (1 / speeds[1:] + 1 / speeds[:-1]) / 2)
    cycle = find_cycle(system, branch.end, period)
    return cycle if bool(cycle.result == RESULTS.successful) else None


def _last_lap(points):
    """From where an orbit last passed its end, or `None` if it never did."""
    end, before = points[-1], points[-2]
    ahead = (points - end) @ (end - before)
    passes = np.flatnonzero((ahead[:-2] < 0) & (ahead[1:-1] >= 0))
    for i in passes[::-1]:
        lap = points[i + 1 :]
        if np.linalg.norm(lap[0] - end) <= RETURNED * np.max(np.ptp(lap, axis=0)):
            return lap
    return None


def _place(cycle, known) -> int:
    """The number of a cycle in a list, to which it is added if it is new."""
    for i, other in enumerate(known):
        near = SAME * (1 + jnp.max(jnp.abs(other.high)))
        apart = jnp.maximum(abs(cycle.low - other.low), abs(cycle.high - other.high))
        if bool(jnp.all(apart <= near)):
            return i
    known.append(cycle)
    return len(known) - 1


def _signature(kinds, ends) -> str:
    """The least text among all orders that the graph itself cannot rule out."""
    out = [[j for j in pair if j != NONE] for pair in ends]
    into = [[i for i, pair in enumerate(out) if j in pair] for j in range(len(kinds))]
    rank = {kind: i for i, kind in enumerate(sorted(set(kinds)))}
    return min(_texts(kinds, out, into, [rank[kind] for kind in kinds]), default="")


def _texts(kinds, out, into, colours):
    colours = _refined(out, into, colours)
    classes = [[i for i, c in enumerate(colours) if c == x] for x in sorted(set(colours))]
    several = next((group for group in classes if len(group) > 1), None)
    if several is None:
        place = dict(enumerate(colours))
        order = sorted(place, key=place.get)
        yield ", ".join(_text(kinds[i], [place.get(j) for j in out[i]]) for i in order)
        return
    tried = set()
    for one in several:
        # Of points with the same neighbours any will do.
        twins = tuple(sorted(out[one])), tuple(sorted(into[one]))
        if twins not in tried:
            tried.add(twins)
            apart = [2 * c + (i != one) for i, c in enumerate(colours)]
            yield from _texts(kinds, out, into, apart)


def _refined(out, into, colours):
    """Colours that tell apart what the colours of the neighbours tell apart."""
    while True:
        seen = dict(enumerate(colours)) | {OPEN: -1}
        keys = [
            (c, sorted(seen[j] for j in out[i]), sorted(seen[j] for j in into[i]))
            for i, c in enumerate(colours)
        ]
        steps = sorted({repr(k): k for k in keys}.values())
        finer = [steps.index(k) for k in keys]
        if len(set(finer)) == len(set(colours)):
            return finer
        colours = finer


def _text(kind, reached) -> str:
    ends = sorted("?" if j is None else f"{j}" for j in reached)
    return f"{kind}({' '.join(ends)})" if reached else kind
