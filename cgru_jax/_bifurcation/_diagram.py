"""All branches between two values of a parameter, the closed ones included."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._equilibria import enumerate_equilibria
from .._errors import concrete
from .._linalg import solve
from .._results import RESULTS
from ._base import check_bounds, member
from ._branch import Branch, trace_branch

SAMPLES = 15  # values of the parameter between the bounds
# Off the middle of each interval, where symmetric families have their special points.
OFF_CENTRE = 0.537


class Diagram(eqx.Module):
    """Every branch of equilibria that meets one of the sampled parameter values.

    - `branches`: `Branch`es without unused slots, each once, from end to end.
    - `parameters`: shape `(m,)`, where all equilibria were enumerated.
    - `counts`: shape `(m,)`, how many there are.
    - `complete`: whether every enumeration is a proof, and every equilibrium of it lies on
      exactly one of the branches, none of which has lost its way. A closed branch between
      two neighbouring samples is not excluded by that.
    """

    branches: tuple
    parameters: np.ndarray
    counts: np.ndarray
    complete: bool


def bifurcation_diagram(
    family: Callable, bounds: tuple | list, *, box: tuple | None = None
) -> Diagram:
    """All branches of equilibria of a family between two values of its parameter.

    The equilibria are enumerated, with proof, at several values; each is followed both
    ways to the ends of its branch; branches that were met twice are told apart by the
    enumerated equilibria that they pass through.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a system that can be enumerated.
    - `bounds`: `(low, high)`, two numbers.
    - `box`: where to enumerate, as for `enumerate_equilibria`; a cell knows its own.

    **Returns:** a `Diagram`, a value of the host: it cannot be batched or differentiated
    (`trace_branch` can).

    **Fails:** `complete` is False if something is not proved or was lost. `ValueError` as
    for `trace_branch` and `enumerate_equilibria`, and under a transformation.
    """
    verb = "bifurcation_diagram"
    low, high = check_bounds(verb, bounds, jnp.zeros(()) + jnp.nan)
    if not (concrete(low) and concrete(high)):
        raise ValueError(f"{verb} assembles branches on the host: give concrete bounds.")
    low, high = float(low), float(high)
    inner = low + (high - low) * (np.arange(SAMPLES) + OFF_CENTRE) / SAMPLES
    parameters = np.array([low, *inner, high])
    enumerate_at = lambda p: enumerate_equilibria(family(p), box=box)
    found = eqx.filter_vmap(enumerate_at)(jnp.asarray(parameters))
    sample, slot = np.nonzero(np.asarray(found.valid))
    roots = np.asarray(found.points)[sample, slot]
    ways = _both_ways(family, found, parameters, (low, high))

    owner = np.full(len(roots), -1)
    branches, sound = [], bool(jnp.all(found.complete))
    for i in range(len(roots)):
        if owner[i] >= 0:
            continue
        branch = _joined(*(member(way, sample[i], slot[i]) for way in ways))
        passed = _passes(family, branch, parameters)
        for at, place in passed:
            here = np.flatnonzero(sample == at)
            far = np.max(np.abs(roots[here] - place), axis=1) if len(here) else [np.inf]
            nearest = int(np.argmin(far))
            if not far[nearest] < 1e-6 * max(1.0, np.max(np.abs(place))):
                sound = False
            elif owner[here[nearest]] in (-1, len(branches)):
                owner[here[nearest]] = len(branches)
            else:
                sound = False
        sound &= owner[i] == len(branches)
        sound &= bool((branch.result == RESULTS.bound) | (branch.result == RESULTS.closed))
        owner[i] = len(branches)
        branches.append(branch)
    return Diagram(tuple(branches), parameters, np.asarray(found.count), bool(sound))


def _both_ways(family, found, parameters, bounds):
    """Every enumerated equilibrium followed forwards and backwards; unused slots hold NaN
    and end at once."""

    def one(point, parameter, direction):
        return trace_branch(family, point, parameter, bounds=bounds, direction=direction)

    over_slots = eqx.filter_vmap(one, in_axes=(0, None, None))
    over_samples = eqx.filter_vmap(over_slots, in_axes=(0, 0, None))
    values = jnp.asarray(parameters)
    # One compilation: the direction is an argument like any other.
    return [over_samples(found.points, values, jnp.asarray(way)) for way in (-1.0, 1.0)]


def _arrays(branch):
    names = ("points", "parameters", "eigenvalues", "unstable", "valid")
    return [getattr(branch, name) for name in names]


def _joined(back, ahead):
    """One branch from the two ways to follow it."""
    if bool(ahead.result == RESULTS.closed):
        return ahead
    ends = [back.result, ahead.result]
    worst = next((r for r in ends if not bool(r == RESULTS.bound)), RESULTS.bound)
    glue = lambda a, b, skip: jnp.concatenate([a[::-1], b[skip:]])
    pairs = zip(_arrays(back), _arrays(ahead), strict=True)
    main = [glue(a, b, 1) for a, b in pairs]  # the start is in both
    events = jax.tree.map(lambda a, b: glue(a, b, 0), back.events, ahead.events)
    return Branch(*main, events, worst)


def _passes(family, branch, parameters):
    """Where a branch passes the sampled parameter values: pairs of the number of the
    sample and the point, corrected by Newton's method."""
    p, x = np.asarray(branch.parameters), np.asarray(branch.points)
    samples, guesses = [], []
    for at, value in enumerate(parameters):
        above = p >= value if at else p > value
        crosses = np.flatnonzero(above[1:] != above[:-1])
        for i in crosses:
            part = (value - p[i]) / (p[i + 1] - p[i])
            samples.append(at)
            guesses.append(x[i] + part * (x[i + 1] - x[i]))
    if not samples:
        return []
    room = -len(samples) % 32  # few shapes, few compilations
    points = np.array(guesses + [guesses[0]] * room)
    values = parameters[np.array(samples + [samples[0]] * room)]

    def correct(point, value):
        f = family(value).residual
        step = lambda _, x: x - solve(jax.jacfwd(f)(x), f(x))
        return jax.lax.fori_loop(0, 8, step, point)

    places = eqx.filter_jit(eqx.filter_vmap(correct))(points, values)
    return list(zip(samples, np.asarray(places)[: len(samples)], strict=True))
