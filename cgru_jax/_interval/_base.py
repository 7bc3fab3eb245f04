"""Interval arithmetic that rounds outwards on hardware that does not.

XLA offers no directed rounding, its elementary functions are off by several units in the
last place, and subnormal numbers are flushed to zero. Every result is therefore widened by
a bound on the error of the operation. An interval is a pair `(low, high)` of arrays; a
number that is known exactly is the bare array.

NaN means "anything": it fails every comparison, so a box with a NaN in it is neither
dropped nor certified.
"""

import jax
import jax.numpy as jnp

EPS = 2.0**-52
# One rounding costs at most EPS / 2; half as much again pays for the widening itself.
ROUNDING = 1.5 * EPS
TINY = 2.3e-308  # just above the smallest normal number: what a flush to zero can hide

# Largest relative error of XLA's elementary functions, in units of EPS. Measured against
# mpmath: tanh 3.5, logistic 1.1, exp 1.0, expm1 2.1, log 0.5, log1p 120 (near −0.41),
# sqrt 0.5, sin and cos 0.5. `tests/test_interval.py` measures again on the backend that
# it runs on.
ERRORS = {
    "tanh": 8.0,
    "logistic": 4.0,
    "exp": 4.0,
    "expm1": 6.0,
    "log": 4.0,
    "log1p": 256.0,
    "sqrt": 2.0,
    "sin": 4.0,
    "cos": 4.0,
}


def is_exact(a) -> bool:
    """Whether `a` is a number that is known exactly rather than a pair of bounds."""
    return not isinstance(a, tuple)


def low(a):
    return a if is_exact(a) else a[0]


def high(a):
    return a if is_exact(a) else a[1]


def down(x, relative=ROUNDING):
    """A number below whatever `x` is the rounded value of."""
    return x - (jnp.abs(x) * relative + TINY)


def up(x, relative=ROUNDING):
    """A number above whatever `x` is the rounded value of."""
    return x + (jnp.abs(x) * relative + TINY)


def magnitude(a):
    """The largest absolute value in `a`."""
    return jnp.abs(a) if is_exact(a) else jnp.maximum(jnp.abs(a[0]), jnp.abs(a[1]))


def negate(a):
    return -a if is_exact(a) else (-a[1], -a[0])


def add(a, b):
    if all(isinstance(x, float) and x.is_integer() and abs(x) < 2**50 for x in (a, b)):
        return a + b
    return down(low(a) + low(b)), up(high(a) + high(b))


def multiply(a, b, a_nonnegative=False, b_nonnegative=False):
    """Product of two intervals; a sign that is known saves half the work."""
    for x, y in ((a, b), (b, a)):
        if isinstance(x, float) and abs(x) == 1:
            return y if x > 0 else negate(y)
    if is_exact(a) and is_exact(b):
        return down(a * b), up(a * b)
    if a_nonnegative and b_nonnegative:
        return down(low(a) * low(b)), up(high(a) * high(b))
    if is_exact(b) or (b_nonnegative and not is_exact(a)):
        a, b, a_nonnegative = b, a, b_nonnegative
    if is_exact(a):
        ends = a * b[0], a * b[1]
        return down(jnp.minimum(*ends)), up(jnp.maximum(*ends))
    if a_nonnegative:
        return (
            down(jnp.minimum(a[0] * b[0], a[1] * b[0])),
            up(jnp.maximum(a[0] * b[1], a[1] * b[1])),
        )
    ends = [x * y for x in a for y in b]
    return (
        down(jnp.minimum(jnp.minimum(*ends[:2]), jnp.minimum(*ends[2:]))),
        up(jnp.maximum(jnp.maximum(*ends[:2]), jnp.maximum(*ends[2:]))),
    )


def square(a):
    """`a * a` for one number, not for two that happen to lie in the same interval."""
    ends = low(a) * low(a), high(a) * high(a)
    inside = (low(a) <= 0) & (high(a) >= 0)
    return (
        jnp.maximum(down(jnp.where(inside, 0.0, jnp.minimum(*ends))), 0.0),
        up(jnp.maximum(*ends)),
    )


def reciprocal(a):
    """`1 / a`; the whole line where `a` may be zero."""
    sound = (low(a) > 0) | (high(a) < 0)
    return (
        jnp.where(sound, down(jnp.divide(1, high(a)), 2 * EPS), -jnp.inf),
        jnp.where(sound, up(jnp.divide(1, low(a)), 2 * EPS), jnp.inf),
    )


def hull(a, b):
    return jnp.minimum(low(a), low(b)), jnp.maximum(high(a), high(b))


def intersect(a, b):
    """What `a` and `b` share; a NaN in `b` leaves `a` as it is."""
    return (
        jnp.where(low(b) > low(a), low(b), low(a)),
        jnp.where(high(b) < high(a), high(b), high(a)),
    )


def choose(condition, a, b):
    """`a` where the condition holds, else `b`; both may be intervals."""
    if is_exact(a) and is_exact(b):
        return jnp.where(condition, a, b)
    return (
        jnp.where(condition, low(a), low(b)),
        jnp.where(condition, high(a), high(b)),
    )


def apart(tree):
    """The same values, computed once and stored.

    XLA fuses cheap arithmetic into each of its consumers and computes it again for every
    one: without this, a box test costs ten times its own operations.
    """
    leaves, structure = jax.tree.flatten(tree)
    stored = iter(once(lambda x: x, [x for x in leaves if jnp.ndim(x)]))
    return jax.tree.unflatten(
        structure, [next(stored) if jnp.ndim(x) else x for x in leaves]
    )


def once(function, values):
    """`function` of each of the arrays, in kernels that share nothing with others.

    XLA would fuse it into every consumer, an elementary function too. What stands in a
    branch stays there, if nobody can tell while compiling that it is always taken.
    """
    if not values:
        return values
    first = values[0].ravel()[0]
    return jax.lax.cond(
        first * 0 != 1,
        lambda values: [function(x) for x in values],
        lambda values: [~x if x.dtype == bool else -x for x in values],
        values,
    )
