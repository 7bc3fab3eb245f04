"""One real number of a program as a function of a box: range, centre and gradient."""

import copy
import functools

import jax.numpy as jnp

from . import _base as iv
from ._base import EPS, TINY


class Node:
    """A number that depends on the position in a box.

    - `centre`, `error`: its value at the midpoint, and how far off that may be (`None`:
      exact).
    - `gradient`: an enclosure of each partial derivative on the box; `None` is zero.
    - `range`: where the value lies on the box. If the gradient is known exactly, the number
      is affine and its range is exact up to rounding, whatever way it was computed.
    - `positive`, `nonnegative`: signs that hold whatever the box.
    - `origin`: how it was made, for the backward sweep.
    """

    def __init__(
        self, radii, centre, error, gradient, natural, *, sign=None, origin=(None, ())
    ):
        self.radii = radii
        self.centre = centre
        self.error = error
        self.gradient = gradient
        self.positive = sign == "positive"
        self.nonnegative = sign in ("positive", "nonnegative")
        self.origin = origin
        self._natural = natural

    @functools.cached_property
    def range(self):
        if self.constant and self.error is None:
            return self.centre
        if self.affine:
            return self._mean_value()
        return self._natural()

    @functools.cached_property
    def tight(self):
        """`range`, intersected with the mean-value form. Where it matters only: before a
        function that bends, and at the end; elsewhere it costs more than it prunes."""
        if self.affine:
            return self.range
        return iv.intersect(self.range, self._mean_value())

    def perhaps_zero(self):
        """The same node, of which it is only known that it is not negative."""
        (node,) = store([self])
        node = copy.copy(node)
        node.positive, node.nonnegative = False, True
        return node

    @property
    def affine(self) -> bool:
        return all(g is None or iv.is_exact(g) for g in self.gradient)

    @property
    def constant(self) -> bool:
        return all(g is None for g in self.gradient)

    def _mean_value(self):
        spread = 0.0 if self.error is None else self.error
        for g, r in zip(self.gradient, self.radii, strict=True):
            if g is not None:
                spread = spread + iv.magnitude(g) * r
        spread = spread * (1 + (len(self.radii) + 4) * EPS) + TINY
        return iv.down(self.centre - spread), iv.up(self.centre + spread)


def store(nodes: list) -> list:
    """The same nodes, with their numbers computed once (`_base.apart` says why)."""
    numbers = [
        None if a.affine else (a.range, a.centre, a.error, a.gradient) for a in nodes
    ]
    stored = []
    for a, known in zip(nodes, iv.apart(numbers), strict=True):
        if known is None:
            stored.append(a)
            continue
        range_, centre, error, gradient = known
        node = Node(a.radii, centre, error, gradient, lambda r=range_: r, origin=a.origin)
        node.positive, node.nonnegative = a.positive, a.nonnegative
        stored.append(node)
    return stored


def constant(radii, value) -> Node:
    """A number that is the same all over the box; a Python float if it is known now."""
    sign = None
    if isinstance(value, float):
        sign = "positive" if value > 0 else "nonnegative" if value == 0 else None
    return Node(radii, value, None, [None] * len(radii), None, sign=sign)


def variable(radii, j, centre) -> Node:
    """The j-th coordinate of the box."""
    gradient = [1.0 if i == j else None for i in range(len(radii))]
    return Node(radii, centre, None, gradient, None, origin=("variable", j))


def negate(a: Node) -> Node:
    gradient = [None if g is None else iv.negate(g) for g in a.gradient]
    return Node(
        a.radii, -a.centre, a.error, gradient, lambda: iv.negate(a.range),
        origin=("negate", (a,)),
    )  # fmt: skip


def add(a: Node, b: Node) -> Node:
    for x, y in ((a, b), (b, a)):
        if is_literal(x, 0.0):
            return y
    centre = a.centre + b.centre
    return Node(
        a.radii,
        centre,
        _error(jnp.abs(centre) * EPS, a.error, b.error),
        [_add_slopes(g, h) for g, h in zip(a.gradient, b.gradient, strict=True)],
        lambda: iv.add(a.range, b.range),
        sign="positive"
        if (a.positive and b.nonnegative) or (b.positive and a.nonnegative)
        else "nonnegative"
        if a.nonnegative and b.nonnegative
        else None,
        origin=("add", (a, b)),
    )


def subtract(a: Node, b: Node) -> Node:
    return add(a, negate(b))


def multiply(a: Node, b: Node) -> Node:
    for x, y in ((a, b), (b, a)):
        if is_literal(x, 1.0):
            return y
        if is_literal(x, -1.0):
            return negate(y)
        if is_literal(x, 0.0) and y.constant:
            return x
    if a is b:
        return square(a)
    centre = a.centre * b.centre
    cross = [
        None if x.error is None else jnp.abs(y.centre) * x.error
        for x, y in ((a, b), (b, a))
    ]
    both = None if a.error is None or b.error is None else a.error * b.error
    return Node(
        a.radii,
        centre,
        _error(jnp.abs(centre) * EPS, *cross, both),
        [
            _add_slopes(_scale(a, h), _scale(b, g))
            for g, h in zip(a.gradient, b.gradient, strict=True)
        ],
        lambda: iv.multiply(a.range, b.range, a.nonnegative, b.nonnegative),
        sign="positive"
        if a.positive and b.positive
        else "nonnegative"
        if a.nonnegative and b.nonnegative
        else None,
        origin=("multiply", (a, b)),
    )


def square(a: Node) -> Node:
    return power(a, 2)


def divide(a: Node, b: Node) -> Node:
    return multiply(a, reciprocal(b))


def reciprocal(a: Node) -> Node:
    return of_one(
        a,
        iv.reciprocal,
        lambda x: jnp.divide(1, x),
        lambda x, y: iv.negate(iv.square(y)),
        2.0,
        "positive" if a.positive else None,
    )


def power(a: Node, exponent: int) -> Node:
    """`a ** exponent` for a whole number."""
    if exponent == 0:
        return constant(a.radii, 1.0)
    if exponent == 1:
        return a
    if exponent < 0:
        return reciprocal(power(a, -exponent))
    even = exponent % 2 == 0
    return of_one(
        a,
        functools.partial(_power_range, exponent=exponent),
        lambda x: x**exponent,
        lambda x, y: iv.multiply(float(exponent), _power_range(x, exponent - 1)),
        # x**n by repeated multiplication: fewer than n products.
        float(exponent),
        "nonnegative" if even and not a.positive else sign_of(a),
    )


def maximum(a: Node, b: Node) -> Node:
    above, below = iv.low(a.range) > iv.high(b.range), iv.high(a.range) < iv.low(b.range)

    def slope(g, h):
        if g is None and h is None:
            return None
        g, h = (0.0 if s is None else s for s in (g, h))
        return iv.choose(above, _pair(g), iv.choose(below, _pair(h), iv.hull(g, h)))

    return Node(
        a.radii,
        jnp.maximum(a.centre, b.centre),
        _larger(a.error, b.error),
        [slope(g, h) for g, h in zip(a.gradient, b.gradient, strict=True)],
        lambda: (
            jnp.maximum(iv.low(a.range), iv.low(b.range)),
            jnp.maximum(iv.high(a.range), iv.high(b.range)),
        ),
        sign="positive"
        if a.positive or b.positive
        else "nonnegative"
        if a.nonnegative or b.nonnegative
        else None,
    )


def minimum(a: Node, b: Node) -> Node:
    return negate(maximum(negate(a), negate(b)))


def select(condition, a: Node, b: Node) -> Node:
    """`a` where the condition holds, else `b`; the condition must not depend on the box."""

    def slope(g, h):
        if g is None and h is None:
            return None
        return iv.choose(condition, *(0.0 if s is None else s for s in (g, h)))

    error = None
    if a.error is not None or b.error is not None:
        error = jnp.where(condition, *(0.0 if n.error is None else n.error for n in (a, b)))
    return Node(
        a.radii,
        jnp.where(condition, a.centre, b.centre),
        error,
        [slope(g, h) for g, h in zip(a.gradient, b.gradient, strict=True)],
        lambda: iv.choose(condition, a.range, b.range),
        sign="positive"
        if a.positive and b.positive
        else "nonnegative"
        if a.nonnegative and b.nonnegative
        else None,
    )


def is_literal(a: Node, value: float) -> bool:
    """Whether `a` is known now, while tracing, to be this number."""
    return isinstance(a.centre, float) and a.centre == value and a.constant


def of_one(a, value, function, slope, error, sign=None, rising=False):
    """A function of one number, from its action on intervals and that of its slope."""
    inside = inside_of(a)
    outside = value(inside)
    varies = a.error is not None or not a.constant
    slopes = slope(inside, outside) if varies else None
    middle = function(middle_of(a, inside))
    own = jnp.abs(middle) * (error * EPS) if error else None
    grown = None if a.error is None else a.error * iv.magnitude(slopes)
    return Node(
        a.radii,
        middle,
        None if own is None and grown is None else _error(own, grown),
        [None if g is None else iv.multiply(slopes, g, rising) for g in a.gradient],
        lambda: outside,
        sign=sign,
    )


def inside_of(a):
    return a.centre if a.constant and a.error is None else a.tight


def middle_of(a, inside):
    # The true value lies in the range, so moving the centre there takes it no farther
    # away, and the slopes on the range tell how an error grows.
    if a.error is None:
        return a.centre
    return jnp.clip(a.centre, iv.low(inside), iv.high(inside))


def sign_of(a):
    return "positive" if a.positive else "nonnegative" if a.nonnegative else None


def _power_range(x, exponent):
    if exponent == 0:
        return 1.0
    if exponent == 1:
        return x
    if exponent == 2:
        return iv.square(x)
    ends = iv.low(x) ** exponent, iv.high(x) ** exponent
    wide = exponent * EPS
    if exponent % 2:
        return iv.down(ends[0], wide), iv.up(ends[1], wide)
    inside = (iv.low(x) <= 0) & (iv.high(x) >= 0)
    least = jnp.maximum(iv.down(jnp.minimum(*ends), wide), 0.0)
    return jnp.where(inside, 0.0, least), iv.up(jnp.maximum(*ends), wide)


def _error(*parts):
    """Sum of the error bounds that are not None, rounded up."""
    parts = [part for part in parts if part is not None]
    return sum(parts[1:], parts[0]) * (1 + 4 * EPS) + TINY


def _larger(a, b):
    if a is None or b is None:
        return b if a is None else a
    return jnp.maximum(a, b)


def _pair(a):
    return (a, a) if iv.is_exact(a) else a


def _add_slopes(g, h):
    if g is None or h is None:
        return h if g is None else g
    total = iv.add(g, h)
    return None if isinstance(total, float) and total == 0 else total


def _scale(a, slope):
    """A slope times the value of a node."""
    if slope is None:
        return None
    if is_literal(a, 0.0):
        return None
    return iv.multiply(a.range, slope, a.nonnegative)
