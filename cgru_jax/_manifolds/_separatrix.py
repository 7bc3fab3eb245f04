"""The curves that separate: one-dimensional manifolds of a saddle."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._conditions import newton
from .._errors import check_positive, check_whole, check_x64, concrete, real_array
from .._implicit import attach
from .._program import hoist_numbers
from .._results import RESULTS, choose
from .._systems import AbstractSystem, Flow, check_orbit_state
from ._base import ARRIVED, BEGIN, follow, leaving, parabola, size_of


class Manifold(eqx.Module):
    """One side of a one-dimensional stable or unstable manifold of a saddle.

    - `points`: shape `(k, n)`, from the saddle on, equally spaced in arclength; NaN beyond
      the end.
    - `lengths`: shape `(k,)`, their arclengths.
    - `length`: shape `()`, where it ends; `end`: shape `(n,)`, the last state, an
      equilibrium where `result` is `arrived`.
    - `saddle`: shape `(n,)`; `rate`: shape `()`, the eigenvalue that belongs to it.
    - `result`: how it ended: `successful` at the length that was asked for.
    """

    points: Float[Array, "*batch k n"]
    lengths: Float[Array, "*batch k"]
    length: Float[Array, "*batch"]
    end: Float[Array, "*batch n"]
    saddle: Float[Array, "*batch n"]
    rate: Float[Array, "*batch"]
    result: RESULTS


def trace_manifold(
    system: AbstractSystem,
    saddle: ArrayLike,
    *,
    stable: bool = False,
    side: int = 1,
    length: ArrayLike = 10.0,
    count: int = 401,
    box: tuple | None = None,
) -> Manifold:
    r"""The orbit that leaves a saddle along its only unstable direction, or comes to it
    along its only stable one: in the plane, a separatrix.

    It is followed by its arclength, $dh/ds = F/|F|$, from a parabola that it touches at the
    saddle to second order; the waiting near the saddle costs nothing.

    **Arguments:**

    - `system`: a `Flow`.
    - `saddle`: shape `(n,)`, near a saddle with exactly one eigenvalue of that sign; it is
      corrected.
    - `stable`: follow the stable manifold, backwards in time.
    - `side`: 1 for the side on which the largest component of the eigenvector grows, −1
      for the other.
    - `length`: shape `()`, the arclength to follow.
    - `count`: how many points.
    - `box`: lower and upper corner, beyond which it is not followed.

    **Returns:** a `Manifold`, differentiable in reverse mode in everything that `system`
    closes over: points and `end` at fixed lengths, an equilibrium that was reached, saddle
    and rate. `length` has no derivative.

    **Fails:** `no_saddle` or `nonfinite`: all is NaN. `max_steps`, `diverged`: the points
    that were not reached are NaN. `arrived` (an equilibrium lies within about 3e-5 of the
    size of the state, 1 + max|saddle|) and `outside` (of the box) say why it is shorter
    than was asked for. `ValueError` for a `Map`, in single precision, and for shapes that
    do not fit.

    **Source:** B. Krauskopf et al., A survey of methods for computing (un)stable manifolds
    of vector fields, 2005, section 1.
    """
    verb = "trace_manifold"
    if not isinstance(system, Flow):
        raise ValueError(
            f"{verb}: system must be a Flow, got {type(system).__name__}; the manifolds of "
            "a Map are no orbits."
        )
    saddle, length = (
        real_array(verb, label, value)
        for label, value in (("saddle", saddle), ("length", length))
    )
    saddle, length = (x.astype(jnp.result_type(x, float)) for x in (saddle, length))
    check_x64(verb, saddle.dtype)
    check_orbit_state(verb, "saddle", system, saddle)
    if side not in (1, -1):
        raise ValueError(f"{verb}: side must be 1 or -1, got {side!r}.")
    check_positive(verb, "length", length)
    check_whole(verb, "count", count, 2)
    corners = _corners(verb, box, saddle.shape[0])
    sign = -1.0 if stable else 1.0
    program, arrays = hoist_numbers(lambda h: sign * system.residual(h), saddle)
    side = jnp.asarray(side, saddle.dtype)
    found = _trace(program, count, arrays, saddle, side, length, corners)
    return eqx.tree_at(lambda m: m.rate, found, sign * found.rate)


def _corners(verb, box, n):
    if box is None:
        return jnp.array([[-jnp.inf], [jnp.inf]]) * jnp.ones(n)
    corners = [real_array(verb, "box", corner) for corner in box]
    if len(corners) != 2 or any(c.shape != (n,) for c in corners):
        raise ValueError(
            f"{verb}: box must be its lower and upper corner, of shape ({n},) each."
        )
    if all(map(concrete, corners)) and not (corners[0] < corners[1]).all():
        raise ValueError(f"{verb}: box is empty: {box}.")
    return jnp.stack(corners).astype(float)


@eqx.filter_jit
def _trace(program, count, arrays, guess, side, length, corners):
    field = functools.partial(program, arrays)
    finite = jnp.all(jnp.isfinite(guess)) & jnp.isfinite(length) & (length > 0)
    for array in arrays:
        finite &= jnp.all(jnp.isfinite(array))
    saddle = leaving(field, jax.lax.stop_gradient(guess), side)
    size = size_of(saddle.point)
    begin = jnp.minimum(BEGIN * size, 1e-3 * length)
    sound = finite & saddle.alone
    # Where there is nothing to follow, a length that costs nothing.
    begin = jnp.where(sound, begin, 1e-4)
    length = jnp.where(sound, length, 2e-4)
    lengths = length * jnp.linspace(0, 1, count)
    early = lengths < begin
    slowest = ARRIVED / BEGIN * begin * jax.lax.stop_gradient(saddle.rate)
    slowest = jnp.where(sound, slowest, jnp.inf)
    states, _, last, ended, rests, outside, stuck = follow(
        program,
        arrays,
        parabola(field, saddle, begin),
        begin,
        jnp.where(early, begin, lengths),
        slowest,
        corners,
    )
    near = jax.vmap(functools.partial(parabola, field, saddle))(lengths)
    states = jnp.where(early[:, None], near, states)
    still = functools.partial(program, jax.lax.stop_gradient(arrays))
    rest, converged = newton(still, jax.lax.stop_gradient(last))
    rest = attach(program, arrays, rest)
    # Something slow without an equilibrium beside it is where the steps end.
    arrived = rests & converged & (jnp.max(jnp.abs(rest - last)) <= 1e-2 * size)
    fine = jnp.all(jnp.isfinite(last))
    result = choose(
        RESULTS,
        RESULTS.diverged,
        (~finite, RESULTS.nonfinite),
        (~sound, RESULTS.no_saddle),
        (arrived, RESULTS.arrived),
        (rests | (stuck & fine), RESULTS.max_steps),
        (outside, RESULTS.outside),
        (fine, RESULTS.successful),
    )
    there = sound & jnp.isfinite(states).all(axis=1, keepdims=True)
    nan = lambda x: jnp.where(sound, x, jnp.nan)
    return Manifold(
        points=jnp.where(there, states, jnp.nan),
        lengths=nan(lengths),
        length=jax.lax.stop_gradient(nan(ended)),
        end=nan(jnp.where(arrived, rest, last)),
        saddle=nan(saddle.point),
        rate=nan(saddle.rate),
        result=result,
    )
