"""Averages over normal variables that stay exact where a gate is a switch.

Gauss–Hermite rules fail there: at a gain of 20 sixty-one nodes miss the third digit. The
trapezoidal rule in y, with x = x₀ sinh y around zero, sees both the width of a gate (one)
and the width of the normal law, however far apart they are, and converges faster than any
power of the step.
"""

import functools

import jax
import jax.numpy as jnp

# Beyond nine deviations a normal law has 2e-19 of its weight.
REACH = 9.0
# In widths; 1 − tanh² is then 1e-17.
_FAR = 20.0


def line(mean, deviation, count: int, scale=1.0):
    """Nodes and weights (their sum is one) for a normal variable, each of shape `(count,)`.

    `scale` is the width of what is averaged, which lies around zero.
    """
    # A law ten times narrower than the integrand needs nodes of its own width only, also
    # where it has no width at all. Eight deviations away a gate no longer matters.
    wide = jnp.maximum(deviation, scale / 10)
    a, centre = scale / wide, jnp.clip(-mean / wide, -8.0, 8.0)
    low, high = jnp.asinh((-REACH - centre) / a), jnp.asinh((REACH - centre) / a)
    e = jnp.exp(low + (high - low) * jnp.linspace(0, 1, count))
    u = centre + a * (e - 1 / e) / 2
    weights = (e + 1 / e) * jnp.exp(-(u**2) / 2)
    return mean + deviation * u, weights / jnp.sum(weights)


def long_line(mean, deviation, count: int):
    """The same for an integrand that grows like e^x to the end, and has its weight one
    variance higher.

    Out there the steps of `line`, which grow in proportion to x, would be longer than the
    law is wide: the nodes are even in u + asinh(u/a), u in deviations from zero.
    """
    wide = jnp.maximum(deviation, 0.1)
    a, centre = 1 / wide, jnp.clip(-mean / wide, -8.0, 8.0)
    place = lambda u: u + jnp.asinh(u / a)
    low, high = place(-REACH - centre), place(REACH + deviation - centre)
    y = low + (high - low) * jnp.linspace(0, 1, count)
    size = jnp.abs(y)
    # Below the root, from where Newton's steps on a concave function do not overshoot.
    start = jnp.maximum(size / (1 + 1 / a), size - jnp.asinh(size / a))
    density = lambda u: 1 + 1 / jnp.sqrt(a**2 + u**2)
    step = lambda _, u: u - (place(u) - size) / density(u)
    u = jax.lax.fori_loop(0, 8, step, start)
    # Nodes need not be where they should to the last digit, but their weights must fit.
    u, weights = jnp.sign(y) * u + centre, 1 / density(u)
    weights = weights * jnp.exp(-(u**2) / 2)
    return mean + deviation * u, weights / jnp.sum(weights)


def short_line(mean, deviation, count: int, scale):
    """The same for an integrand that changes over a width `scale` around zero and is
    constant beyond, as even functions of a saturated tanh are: the nodes end there.

    **Returns:** nodes, weights (their sum is what of the law lies between the ends), the
    far end of the law, and whether nodes end before it.
    """
    wide = jnp.maximum(deviation, scale / 10)
    a, centre = scale / wide, jnp.clip(-mean / wide, -8.0, 8.0)
    ends = jnp.clip(jnp.array([-_FAR, _FAR]) * a, -REACH - centre, REACH - centre)
    cut = jnp.abs(ends) >= _FAR * a
    low, high = jnp.asinh(ends / a)
    step = (high - low) / (count - 1)
    e = jnp.exp(low + step * jnp.arange(count))
    u = centre + a * (e - 1 / e) / 2
    weights = step * a * (e + 1 / e) / 2 * jnp.exp(-(u**2) / 2) / jnp.sqrt(2 * jnp.pi)
    far = mean + deviation * jnp.where(cut[1], REACH, -REACH)
    return mean + deviation * u, weights, far, jnp.any(cut)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def gaussian_mean(f, rule, means, variances, extra=()):
    r"""The mean of `f(*x, *extra)` over independent normal `x`, differentiable.

    `f` acts on each entry and closes over no arrays; it may return a pytree. `rule(f,
    means, deviations)` sums it over nodes. The derivatives are
    $\partial_m E f = E f'$ and $\partial_v E f = \tfrac12 E f''$: unlike the derivative of
    a deviation they exist where a variance is zero.
    """
    return rule(lambda *x: f(*x, *extra), means, tuple(map(_sqrt, variances)))


@gaussian_mean.defjvp
def _gaussian_mean_jvp(f, rule, primals, tangents):
    means, variances, extra = primals
    n = len(means)

    def derivatives(*inputs):
        """First and second derivatives in each variable, first ones in each number."""
        first = [_slope(f, k)(*inputs) for k in range(len(inputs))]
        return first, [_slope(_slope(f, k), k)(*inputs) for k in range(n)]

    # Itself again, so that derivatives of every order exist.
    first, second = gaussian_mean(derivatives, rule, means, variances, extra)
    steps = (*tangents[0], *tangents[2], *tangents[1])
    slopes = (*first, *(jax.tree.map(lambda value: value / 2, each) for each in second))
    moved = [
        jax.tree.map(lambda value, step=step: value * step, slope)
        for slope, step in zip(slopes, steps, strict=True)
    ]
    return gaussian_mean(f, rule, means, variances, extra), jax.tree.map(
        lambda *parts: sum(parts), *moved
    )


def _slope(f, k):
    """The derivative of `f` in its input `k`, entry by entry."""

    def slope(*inputs):
        along = lambda t: f(*inputs[:k], t, *inputs[k + 1 :])
        return jax.jvp(along, (inputs[k],), (jnp.ones_like(inputs[k]),))[1]

    return slope


def _sqrt(variance):
    # What is differentiated is the variance; nodes are where they are.
    return jnp.sqrt(jax.lax.stop_gradient(variance))


@functools.lru_cache
def on_a_line(count: int):
    """The rule for one variable around which `f` has width one."""

    def rule(f, means, deviations):
        x, weights = line(*means, *deviations, count)
        return jax.tree.map(lambda values: jnp.sum(weights * values), f(x))

    return rule
