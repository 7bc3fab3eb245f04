"""Elementary functions of a number that depends on the position in a box."""

import jax
import jax.numpy as jnp
import numpy as np

from . import _base as iv
from ._base import EPS, ERRORS
from ._nodes import Node, inside_of, middle_of, of_one, sign_of, store


def increasing(name: str, nodes: list[Node]) -> list[Node]:
    """An increasing function of several numbers, all of them computed in one kernel."""
    function, slope, least, most, sign = INCREASING[name]
    error = ERRORS[name] * EPS
    nodes = store(nodes)
    arguments = []
    for a in nodes:
        inside = inside_of(a)
        arguments += [iv.low(inside), iv.high(inside), middle_of(a, inside)]
    values = _together(function, arguments)
    results = []
    for i, a in enumerate(nodes):
        begin, end, middle = values[3 * i : 3 * i + 3]
        ends = (
            jnp.maximum(iv.down(begin, error), least),
            jnp.minimum(iv.up(end, error), most),
        )
        results.append(
            of_one(
                a, lambda _, ends=ends: ends, lambda _, middle=middle: middle, slope,
                ERRORS[name], sign(a), rising=True,
            )
        )  # fmt: skip
    return results


def sin(a: Node) -> Node:
    return of_one(a, _sin_range, jnp.sin, lambda x, y: _cos_range(x), ERRORS["sin"])


def cos(a: Node) -> Node:
    return of_one(
        a, _cos_range, jnp.cos, lambda x, y: iv.negate(_sin_range(x)), ERRORS["cos"]
    )


def absolute(a: Node) -> Node:
    """`|a|`: at the kink the slope lies between −1 and 1, which mean values may use."""
    if a.nonnegative:
        return a

    def value(x):
        inside = (iv.low(x) <= 0) & (iv.high(x) >= 0)
        ends = jnp.abs(iv.low(x)), jnp.abs(iv.high(x))
        return jnp.where(inside, 0.0, jnp.minimum(*ends)), jnp.maximum(*ends)

    def slope(x, _):
        return jnp.where(iv.low(x) > 0, 1.0, -1.0), jnp.where(iv.high(x) < 0, -1.0, 1.0)

    return of_one(a, value, jnp.abs, slope, 0.0, "nonnegative")


def _together(function, values):
    """`function` of every value; over a block of boxes, in one kernel."""
    shape = jnp.broadcast_shapes(*map(jnp.shape, values))
    if not shape:
        return [function(x) for x in values]
    stack = jnp.stack([jnp.broadcast_to(x, shape) for x in values])
    return list(*iv.once(function, [stack]))


def _tanh_slope(_, y):
    squares = iv.square(y)
    return (
        jnp.maximum(iv.down(1 - iv.high(squares)), 0.0),
        jnp.minimum(iv.up(1 - iv.low(squares)), 1.0),
    )


def _logistic_slope(_, y):
    ends = [s * (1 - s) for s in (iv.low(y), iv.high(y))]
    centred = (iv.low(y) <= 0.5) & (iv.high(y) >= 0.5)
    # Two roundings, and 1 - s loses nothing above s = 1/2.
    return (
        jnp.maximum(iv.down(jnp.minimum(*ends), 2 * EPS), 0.0),
        jnp.where(centred, 0.25, jnp.minimum(iv.up(jnp.maximum(*ends), 2 * EPS), 0.25)),
    )


def _sin_range(x):
    return _wave(x, jnp.sin, 0.25)


def _cos_range(x):
    return _wave(x, jnp.cos, 0.0)


def _wave(x, function, crest):
    """Range of a sine whose maxima lie at `crest` plus whole numbers of turns."""
    turns = [end / (2 * np.pi) for end in (iv.low(x), iv.high(x))]
    # A crest or a trough that may be inside counts as inside.
    slack = 8 * EPS * (1 + jnp.maximum(*map(jnp.abs, turns)))
    start, stop = turns[0] - slack, turns[1] + slack

    def passes(phase):
        # Written so that NaN, and infinite ends, count as passing.
        return ~(jnp.ceil(start - phase) > jnp.floor(stop - phase))

    ends = [function(end) for end in (iv.low(x), iv.high(x))]
    error = ERRORS["sin"] * EPS
    least = jnp.maximum(iv.down(jnp.minimum(*ends), error), -1.0)
    most = jnp.minimum(iv.up(jnp.maximum(*ends), error), 1.0)
    return (
        jnp.where(passes(crest + 0.5), -1.0, least),
        jnp.where(passes(crest), 1.0, most),
    )


def _positive(_):
    return "positive"


# By primitive: the function, its slope from an interval and its image, the least and the
# greatest value, and the sign of the value.
INCREASING = {
    "tanh": (jnp.tanh, _tanh_slope, -1.0, 1.0, sign_of),
    "logistic": (jax.nn.sigmoid, _logistic_slope, 0.0, 1.0, _positive),
    "exp": (jnp.exp, lambda x, y: y, 0.0, np.inf, _positive),
    "expm1": (jnp.expm1, lambda x, y: iv.add(y, 1.0), -1.0, np.inf, sign_of),
    "log": (jnp.log, lambda x, y: iv.reciprocal(x), -np.inf, np.inf, lambda a: None),
    "log1p": (
        jnp.log1p, lambda x, y: iv.reciprocal(iv.add(x, 1.0)), -np.inf, np.inf, sign_of
    ),
    "sqrt": (
        jnp.sqrt, lambda x, y: iv.multiply(0.5, iv.reciprocal(y)), 0.0, np.inf,
        lambda a: sign_of(a) or "nonnegative",
    ),
}  # fmt: skip
