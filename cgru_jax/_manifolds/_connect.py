"""Solve for an orbit between two saddles, and give the answer its derivatives."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp

from .._conditions import as_field
from .._conditions._base import NEAR, REACH
from .._cycles._cyclic import Chain, is_degenerate
from .._implicit import attach
from .._program import hoist
from .._results import RESULTS, choose
from ._base import leaving
from ._first import first_guess
from ._pieces import ENDS, close, equations, saddles

MESHES = 4


def connect(program, count, arrays, start, end, guess, side, length):
    """The orbit as a dict, and the two saddles with their directions, or NaN."""
    frozen = jax.lax.stop_gradient((arrays, start, end, guess, side, length))
    found = _search(program, count, *frozen)
    return _settle(program, count, end is None, arrays, start, guess, found)


@eqx.filter_jit
def _search(program, count, arrays, start, end, guess, side, length):
    field = as_field(program, arrays)
    here = lambda x: field(x, guess)
    origin = leaving(here, start, side)
    target = origin if end is None else leaving(here, end, side)
    apart = ENDS * length
    points, steps, passes = first_guess(
        program, count, (arrays, guess), origin, target, length, end is None
    )
    first = points, guess, steps
    points, parameter, steps, converged, (factors, _) = close(
        field, first, origin, target, apart, MESHES, False
    )
    finite = jnp.isfinite(guess) & jnp.all(jnp.isfinite(start)) & jnp.isfinite(length)
    for array in arrays:
        finite &= jnp.all(jnp.isfinite(array))
    result = choose(
        RESULTS,
        RESULTS.successful,
        (~finite, RESULTS.nonfinite),
        (~(origin.alone & target.alone), RESULTS.no_saddle),
        (~passes, RESULTS.no_connection),
        (~converged, RESULTS.not_converged),
        (is_degenerate(factors), RESULTS.degenerate),
    )
    # Where nothing was found, numbers with which the rest can be computed.
    unknown = jnp.append(points.ravel(), parameter)
    spare = jnp.append(jnp.cos(jnp.arange(points.size)), guess)
    good = result == RESULTS.successful
    unknown = jnp.where(good, unknown, spare)
    steps = jnp.where(good, steps, 1 / count)
    return unknown, steps, result, origin, target, apart


@eqx.filter_jit
def _settle(program, count, back, arrays, start, guess, found):
    """What was found with its derivatives. The search is compiled apart from this, so that
    a derivative does not compile it again."""
    unknown, steps, result, origin, target, apart = found
    target = origin if back else target
    n = start.shape[0]
    field = as_field(program, arrays)
    ends = functools.partial(saddles, field, origin, target)
    posed = functools.partial(equations, field, ends, apart, steps)
    question, constants = hoist(posed, unknown)
    good = result == RESULTS.successful
    unknown = attach(question, constants, unknown, good, Chain(n))
    points, parameter = unknown[:-1].reshape(count, n), unknown[-1]
    here = lambda x: field(x, parameter)
    out = leaving(here, origin.point, 1, origin.frame)
    into = out if back else leaving(here, target.point, 1, target.frame)
    moved = jnp.maximum(jnp.max(jnp.abs(out.point - start)), jnp.abs(parameter - guess))
    reach = REACH * jnp.maximum(jnp.max(jnp.abs(start)), jnp.abs(guess))
    short = jnp.linalg.norm(points[-1] + out.point - into.point) > 1e2 * apart
    flat = jnp.max(jnp.abs(points)) < 1e2 * apart
    result = choose(
        RESULTS,
        result,
        (~good, result),
        (~(out.alone & into.alone), RESULTS.no_saddle),
        (moved > jnp.maximum(NEAR, reach), RESULTS.elsewhere),
        (short | flat, RESULTS.no_connection),
    )
    orbit = {
        "points": points + out.point,
        "times": jnp.cumsum(steps) - steps,
        "parameter": parameter,
        "distance": jax.lax.stop_gradient(moved),
    }
    good = result == RESULTS.successful
    orbit, out, into = jax.tree.map(
        lambda x: jnp.where(good, x, jnp.nan) if eqx.is_inexact_array(x) else x,
        (orbit, out, into),
    )
    return orbit | {"result": result}, out, into
