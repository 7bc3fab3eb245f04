"""What a cycle is, and what can be read off its points."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from .._conditions import vanishing
from .._linalg import beside, eigenvalues
from .._results import KINDS, RESULTS, choose
from ._collocation import (
    average,
    coefficients,
    defects,
    derivatives,
    interpolate,
    pieces_through,
)
from ._cyclic import Factors, factor

# A stability verdict is refused where the trivial multiplier is this far from one.
TRIVIAL = 1e-4
# A multiplier is on the circle if its logarithm is found off it by no more than this.
MARGINAL = 1e-8
MULTIPLES = 9  # of the period that are recognised


class Cycle(eqx.Module):
    """A periodic orbit of a `Flow`.

    - `points`: shape `(N, n)`, states in order along the orbit; it closes from the last to
      the first. `times`: shape `(N,)`, when they are passed, from 0.
    - `period`: shape `()`.
    - `low`, `high`: shape `(n,)`, the extremes of each component over the whole orbit.
    - `multipliers`: shape `(n,)`, complex (Floquet), largest first, the trivial one put at
      exactly 1 and left out of the ordering: it is the first.
    - `exponents`: shape `(n,)`, log|multiplier| / period in the same order, with digits
      where the multiplier itself is smaller than any number.
    - `trivial_error`: shape `()`, how far the orbit's own direction is from being mapped
      to itself in a lap: the error of the discretisation.
    - `kind`: `KINDS.sink` (stable), `source`, `saddle`, `degenerate` (another multiplier on
      the circle), or `unknown` where `trivial_error` is too large for a verdict.
    - `result`: how it ended.
    """

    points: Float[Array, "*batch N n"]
    times: Float[Array, "*batch N"]
    period: Float[Array, "*batch"]
    low: Float[Array, "*batch n"]
    high: Float[Array, "*batch n"]
    multipliers: Complex[Array, "*batch n"]
    exponents: Float[Array, "*batch n"]
    trivial_error: Float[Array, "*batch"]
    kind: KINDS
    result: RESULTS


def chain(field, parts, anchor, flow):
    """The equations of points and period on a frozen mesh of these parts of the period; the
    first point stays in the plane across `flow` at `anchor`."""

    def equations(unknown):
        points = unknown[:-1].reshape(-1, anchor.shape[0])
        lack = defects(field, points, unknown[-1] * parts)
        return jnp.append(lack.ravel(), (points[0] - anchor) @ flow)

    return equations


def factors_at(field, points, steps) -> Factors:
    """The eliminated equations of a cycle through these points."""
    period = jnp.sum(steps)
    equations = chain(field, steps / period, points[0], field(points[0]))
    return factor(equations, jnp.append(points.ravel(), period), points.shape[1])


def read(field, points, steps, result: RESULTS) -> Cycle:
    """The cycle through these points, which solve its equations."""
    period = jnp.sum(steps)
    factors = factors_at(field, points, steps)
    towers = jax.vmap(lambda x: derivatives(field, x))(points)
    pieces = coefficients(points, towers, steps)
    low, high = extremes(pieces, points, towers[:, 0])
    logs, turns = floquet(field, pieces, steps, factors, points[0])
    start = field(points[0])
    misfit = (factors.open_first + factors.open_last) @ start
    error = jnp.linalg.norm(misfit) / jnp.linalg.norm(factors.open_last @ start)
    error = jax.lax.stop_gradient(error)
    others = logs[1:]
    kind = choose(
        KINDS,
        KINDS.saddle,
        (~(error <= TRIVIAL), KINDS.unknown),
        (jnp.any(jnp.abs(others) <= MARGINAL), KINDS.degenerate),
        (jnp.all(others < 0), KINDS.sink),
        (jnp.all(others > 0), KINDS.source),
    )
    return Cycle(
        points=points,
        times=jnp.cumsum(steps) - steps,
        period=period,
        low=low,
        high=high,
        multipliers=jnp.exp(logs + 1j * turns),
        exponents=logs / period,
        trivial_error=error,
        kind=kind,
        result=choose(
            RESULTS,
            result,
            (result != RESULTS.successful, result),
            (is_multiple(pieces, points, steps), RESULTS.multiple),
            (~(error <= TRIVIAL), RESULTS.coarse),
        ),
    )


def at_times(pieces, steps, times):
    """States at these times, shape `(k, n)`."""
    starts = jnp.cumsum(steps) - steps
    index = jnp.clip(jnp.searchsorted(starts, times, side="right") - 1, 0)
    part = (times - starts[index]) / steps[index]
    return jax.vmap(interpolate)(pieces[index], part)


def is_multiple(pieces, points, steps):
    """Whether the orbit is back at its first point after a whole part of the period."""
    divisors = jnp.arange(2, MULTIPLES + 1)
    back = at_times(pieces, steps, jnp.sum(steps) / divisors) - points[0]
    extent = jnp.max(jnp.max(points, axis=0) - jnp.min(points, axis=0))
    # Two laps that differ by less are not told apart by Newton's method.
    return jnp.any(jnp.max(jnp.abs(back), axis=1) <= 1e-6 * extent)


def extremes(pieces, points, slopes):
    """The least and the greatest value of each component along the orbit, shape `(n,)`."""
    slopes = jax.lax.stop_gradient(slopes)

    def one(j, sign):
        best = jnp.argmax(sign * points[:, j])
        # Uphill to the right: the top is in the next interval, else in the last one.
        piece = jnp.where(sign * slopes[best, j] > 0, best, best - 1)
        polynomial = pieces[piece, :, j]
        slope = jnp.polyder(polynomial)
        frozen = jax.lax.stop_gradient(slope)

        def halve(_, ends):
            a, b = ends
            middle = (a + b) / 2
            up = sign * jnp.polyval(frozen, middle) > 0
            return jnp.where(up, middle, a), jnp.where(up, b, middle)

        a, b = jax.lax.fori_loop(0, 50, halve, (jnp.asarray(-0.5), jnp.asarray(0.5)))
        at = (a + b) / 2
        # One step of Newton's method carries the derivatives of the place.
        bend = jnp.polyval(jnp.polyder(slope), at)
        at = at - jnp.polyval(slope, at) / jnp.where(bend == 0, 1, bend)
        return jnp.polyval(polynomial, at)

    every = jnp.arange(points.shape[1])
    return tuple(jax.vmap(lambda j, s=s: one(j, s))(every) for s in (-1.0, 1.0))


def floquet(field, pieces, steps, factors, start):
    """Logarithms and arguments of the multipliers, shape `(n,)` each, the trivial one
    first (exactly zero), the others from the largest to the smallest."""
    n = start.shape[0]
    trace = lambda x: jnp.trace(jax.jacfwd(field)(x))
    # Liouville: the sum of all logarithms, however small the multipliers are.
    total = average(trace, pieces, steps)
    if n == 2:
        logs, turns = jnp.stack([jnp.zeros(()), total]), jnp.zeros(2)
        return logs, turns
    values = eigenvalues(return_map(factors, field(start)))
    order = jnp.argsort(-jnp.abs(jax.lax.stop_gradient(values)))
    values = values[order]
    size = jnp.abs(values)
    logs = jnp.log(jnp.where(size > 0, size, 1))
    # The smallest one, or two if they are a pair, are what the others leave of the sum.
    last = jnp.where(jnp.imag(values[-1]) == 0, 1, 2)
    least = jnp.arange(n - 1) >= n - 1 - last
    rest = total - jnp.sum(jnp.where(least, 0, logs))
    logs = jnp.where(least, rest / last, logs)
    return jnp.append(0.0, logs), jnp.append(0.0, jnp.angle(values))


def return_map(factors: Factors, flow: Float[Array, " n"]) -> Float[Array, "m m"]:
    """The derivative of the return map on the plane across the flow, m = n − 1."""
    lap = -jnp.linalg.solve(factors.open_last, factors.open_first)
    across = beside(flow / jnp.linalg.norm(flow))
    return across.T @ lap @ across


def push(field, points, steps) -> Float[Array, "m m"]:
    """The Jacobian of the increment of the return map of a cycle, m = n − 1."""
    lap = return_map(factors_at(field, points, steps), field(points[0]))
    return lap - jnp.eye(lap.shape[0])


def fold_test(field, points, steps) -> Float[Array, ""]:
    """Smooth, and zero where a second multiplier of a cycle is 1."""
    if points.shape[1] > 2:
        return vanishing(push(field, points, steps))
    divergence = lambda x: jnp.trace(jax.jacfwd(field)(x))
    return average(divergence, pieces_through(field, points, steps), steps)
