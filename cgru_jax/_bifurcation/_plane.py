"""A family of two parameters: regions of equal equilibria, and the curves between them."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._equilibria import enumerate_equilibria
from .._errors import concrete
from .._results import EVENTS, KINDS, RESULTS
from ._base import check_bounds, member
from ._branch import trace_branch
from ._curves import trace_fold_curve, trace_hopf_curve

POINTS = 33  # per parameter, of the grid on which equilibria are enumerated
LINES = 5  # per parameter, along which branches are followed in search of curves
# Off the middle of each interval, where symmetric families have their special points.
OFF_CENTRE = 0.537
# A start this near to a curve (as parts of the bounds and of the size of the state) lies on
# it: the chords of a curve of steps of 1/80 are nearer than this.
NEAR = 5e-3


class Plane(eqx.Module):
    """Two parameters, cut into regions by curves of folds and of Hopf points.

    - `folds`: `FoldCurve`s, `hopfs`: `HopfCurve`s, without unused slots; each curve once,
      in one piece where it closes, else in two: both ways from where it was met.
    - `first`, `second`: shape `(m,)`, the values of the parameters on the grid.
    - `sinks`, `sources`, `saddles`: shape `(m, m)`, how many there are at
      `(first[i], second[j])`; −1 where the enumeration is not complete.
    - `complete`: shape `(m, m)`, whether every equilibrium was found, with proof.
    """

    folds: tuple
    hopfs: tuple
    first: np.ndarray
    second: np.ndarray
    sinks: np.ndarray
    sources: np.ndarray
    saddles: np.ndarray
    complete: np.ndarray


def two_parameter_diagram(
    family: Callable, bounds: tuple | list, *, box: tuple | None = None
) -> Plane:
    """Which equilibria a family has where in a rectangle of two parameters, and the curves
    of folds and Hopf points on which that changes.

    The equilibria are enumerated, with proof, on a grid. Curves are started from the events
    of the branches along a few lines of either parameter, and followed to both ends.

    **Arguments:**

    - `family`: from a parameter, shape `(2,)`, to a system that can be enumerated.
    - `bounds`: `(low, high)`, each of shape `(2,)`.
    - `box`: where to enumerate, as for `enumerate_equilibria`; a cell knows its own.

    **Returns:** a `Plane`, a value of the host: it cannot be batched or differentiated.

    **Fails:** a curve that no line meets is missing: then the grid shows two regions
    without a curve between them. `ValueError` as for `trace_fold_curve` and
    `enumerate_equilibria`, and under a transformation.

    **Source:** derived here.
    """
    verb = "two_parameter_diagram"
    low, high = check_bounds(verb, bounds, jnp.full(2, jnp.nan))
    if not (concrete(low) and concrete(high)):
        raise ValueError(f"{verb} assembles curves on the host: give concrete bounds.")
    axes = [np.linspace(float(low[k]), float(high[k]), POINTS) for k in range(2)]
    nodes = jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2))
    enumerate_at = eqx.filter_jit(
        eqx.filter_vmap(lambda p: enumerate_equilibria(family(p), box=box))
    )
    found = enumerate_at(nodes)
    complete = np.asarray(found.complete).reshape(POINTS, POINTS)

    def tally(kind):
        count = jnp.sum(found.valid & (found.kind == kind), axis=1)
        return np.where(complete, np.asarray(count).reshape(POINTS, POINTS), -1)

    starts = _starts(family, nodes, found, (low, high))
    bounds = (low, high)
    n = found.points.shape[-1]
    folds = _curves(trace_fold_curve, family, starts["fold"], bounds)
    hopfs = _curves(trace_hopf_curve, family, starts["hopf"], bounds) if n > 1 else ()
    kinds = [tally(k) for k in (KINDS.sink, KINDS.source, KINDS.saddle)]
    return Plane(folds, hopfs, *axes, *kinds, complete)


def _starts(family, nodes, found, bounds):
    """Folds and Hopf points on lines of constant second and of constant first parameter:
    for either kind the pairs (point, parameter)."""
    low, high = bounds
    places = np.rint((np.arange(LINES) + OFF_CENTRE) / LINES * (POINTS - 1)).astype(int)
    seeds = np.rint(np.array([0.0, 0.313, 0.687, 1.0]) * (POINTS - 1)).astype(int)
    i, j = (x.ravel() for x in np.meshgrid(seeds, places, indexing="ij"))
    # The node (i, j) of a line along the first parameter, (j, i) of one along the second.
    cells = np.concatenate([i * POINTS + j, j * POINTS + i])
    axis = jnp.asarray(np.eye(2)[np.repeat([0, 1], len(i))])

    def follow(point, node, axis, direction):
        one = lambda p: family(node + (p - node @ axis) * axis)
        ends = low @ axis, high @ axis
        branch = trace_branch(one, point, node @ axis, bounds=ends, direction=direction)
        events = branch.events
        where = node + (events.parameters - node @ axis)[:, None] * axis
        return events.kind._value, events.points, where

    over_slots = eqx.filter_vmap(follow, in_axes=(0, None, None, None))
    over_cells = eqx.filter_vmap(over_slots, in_axes=(0, 0, 0, None))
    # Slots that no node of the grid uses are left out.
    used = int(jnp.max(jnp.sum(found.valid, axis=1)))
    points = jnp.asarray(np.asarray(found.points)[cells][:, :used])
    args = points, nodes[cells], axis
    ways = [over_cells(*args, jnp.asarray(way)) for way in (-1.0, 1.0)]
    kind, point, where = (
        np.concatenate([np.asarray(w[k]).reshape(-1, *w[k].shape[3:]) for w in ways])
        for k in range(3)
    )
    return {
        "fold": _distinct(point, where, kind == EVENTS.fold._value, bounds),
        "hopf": _distinct(point, where, kind == EVENTS.hopf._value, bounds),
    }


def _distinct(points, parameters, chosen, bounds):
    """The chosen events, each once."""
    width = np.asarray(bounds[1] - bounds[0])
    kept = []
    for x, p in zip(points[chosen], parameters[chosen], strict=True):
        row = np.concatenate([x, p / width])
        if all(np.max(np.abs(row - other)) > 1e-6 for other, _, _ in kept):
            kept.append((row, x, p))
    return [(x, p) for _, x, p in kept]


def _curves(trace, family, starts, bounds):
    """The curves through the starts, each once, both ways from its first start."""
    if not starts:
        return ()
    # Few shapes, few compilations.
    padded = starts + [starts[0]] * (-len(starts) % 32)
    points, parameters = (jnp.asarray(np.stack(x)) for x in zip(*padded, strict=True))
    way = lambda x, p, d: trace(family, x, p, bounds=bounds, direction=d)
    many = eqx.filter_jit(eqx.filter_vmap(way, in_axes=(0, 0, None)))
    ahead, back = (many(points, parameters, jnp.asarray(d)) for d in (1.0, -1.0))
    width = np.asarray(bounds[1] - bounds[0])
    lines, curves = [], []
    for k, (x, p) in enumerate(starts):
        if any(_distance(line, np.concatenate([x, p / width])) < NEAR for line in lines):
            continue
        for half in (ahead, back):
            curve = member(half, k)
            points, parameters = np.asarray(curve.points), np.asarray(curve.parameters)
            if len(points) < 2:
                continue
            lines.append(np.concatenate([points, parameters / width], axis=1))
            curves.append(curve)
            if bool(curve.result == RESULTS.closed):
                break
    return tuple(curves)


def _distance(line, place):
    """How far a place lies from a line of chords, in its largest coordinate."""
    begin, step = line[:-1], np.diff(line, axis=0)
    part = np.sum((place - begin) * step, axis=1) / np.sum(step**2, axis=1)
    nearest = begin + np.clip(part, 0, 1)[:, None] * step
    return np.min(np.max(np.abs(place - nearest), axis=1))
