"""Enclosures contain what they must, and say so for every operation."""

from typing import NamedTuple

import equinox as eqx
import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from flint import arb

import cgru_jax as cgru
from cgru_jax import _interval
from cgru_jax._interval import high, low
from cgru_jax._interval._base import ERRORS
from cgru_jax._program import hoist
from cgru_jax._scalars import split

flint.ctx.prec = 160


class Dual:
    """A value and its partial derivatives in arb: the independent program."""

    def __init__(self, value, slopes):
        self.value, self.slopes = arb(value), [arb(s) for s in slopes]

    def lift(self, value, slope):
        return Dual(value, [slope * s for s in self.slopes])

    def __add__(self, other):
        other = self.like(other)
        slopes = [a + b for a, b in zip(self.slopes, other.slopes, strict=True)]
        return Dual(self.value + other.value, slopes)

    def __mul__(self, other):
        other = self.like(other)
        pairs = zip(self.slopes, other.slopes, strict=True)
        slopes = [a * other.value + self.value * b for a, b in pairs]
        return Dual(self.value * other.value, slopes)

    def like(self, other):
        return other if isinstance(other, Dual) else Dual(other, [0] * len(self.slopes))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -self.like(other)

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * self.like(other) ** -1

    def __rtruediv__(self, other):
        return self**-1 * other

    def __pow__(self, k):
        return self.lift(self.value**k, k * self.value ** (k - 1))

    def __abs__(self):
        return self if self.value > 0 else -self


class Arb:
    """The functions, on `Dual`s; `Jax` below has the same on arrays."""

    tanh = staticmethod(lambda x: x.lift(x.value.tanh(), x.value.sech() ** 2))
    exp = staticmethod(lambda x: x.lift(x.value.exp(), x.value.exp()))
    expm1 = staticmethod(lambda x: x.lift(x.value.expm1(), x.value.exp()))
    log = staticmethod(lambda x: x.lift(x.value.log(), 1 / x.value))
    log1p = staticmethod(lambda x: x.lift(x.value.log1p(), 1 / (1 + x.value)))
    sqrt = staticmethod(lambda x: x.lift(x.value.sqrt(), 1 / (2 * x.value.sqrt())))
    sin = staticmethod(lambda x: x.lift(x.value.sin(), x.value.cos()))
    cos = staticmethod(lambda x: x.lift(x.value.cos(), -x.value.sin()))
    maximum = staticmethod(lambda x, y: x if (x - y).value > 0 else x.like(y))
    minimum = staticmethod(lambda x, y: x if (x - y).value < 0 else x.like(y))
    largest, smallest = maximum, minimum
    product = staticmethod(lambda x, y: x * y)

    @staticmethod
    def sigmoid(x):
        s = 1 / (1 + (-x.value).exp())
        return x.lift(s, s / (1 + x.value.exp()))

    @staticmethod
    def softplus(x):
        return x.lift(x.value.exp().log1p(), 1 / (1 + (-x.value).exp()))


class Jax:
    tanh, exp, expm1, log, log1p = jnp.tanh, jnp.exp, jnp.expm1, jnp.log, jnp.log1p
    sqrt, sin, cos, maximum, minimum = jnp.sqrt, jnp.sin, jnp.cos, jnp.maximum, jnp.minimum
    sigmoid, softplus = jax.nn.sigmoid, jax.nn.softplus
    largest = staticmethod(lambda *x: jnp.max(jnp.stack(x)))
    smallest = staticmethod(lambda *x: jnp.min(jnp.stack(x)))
    product = staticmethod(lambda *x: jnp.prod(jnp.stack(x)))


# Functions of two numbers, each around a primitive; `m` is one of the two classes.
ZOO = {
    "add, mul, sub": lambda m, x, y: 0.3 * x * y - (y - 1.7) * 2 + x,
    "sums of literals": lambda m, x, y: 0.1 * x + 0.2 * x + (0.3 * y - 0.1 * y) + 0.1,
    "div": lambda m, x, y: (x - y) / (x * x + 0.2) + 3.0 / (y + 9.5),
    "integer_pow": lambda m, x, y: x**3 - x**4 * y**2 + (y + 9.5) ** -2,
    "tanh": lambda m, x, y: m.tanh(2 * x - y) * x,
    "logistic": lambda m, x, y: m.sigmoid(3 * x + y) - m.sigmoid(-30 * x),
    "exp": lambda m, x, y: m.exp(x * y) - x,
    "expm1": lambda m, x, y: m.expm1(x - y * 0.1),
    "log": lambda m, x, y: m.log(x * x + y * y + 0.1),
    "log1p": lambda m, x, y: m.log1p(y * y) * x,
    "sqrt": lambda m, x, y: m.sqrt(x * x + 0.01) - y,
    "sin": lambda m, x, y: m.sin(5 * x + y) * y,
    "cos": lambda m, x, y: m.cos(x * y - 1.1) + m.cos(9 * x),
    "abs": lambda m, x, y: abs(x - 0.2) * abs(y),
    "max": lambda m, x, y: m.maximum(x * y, y - x),
    "min": lambda m, x, y: m.minimum(x * x, y + 0.3) - x,
    "reductions": lambda m, x, y: (
        m.largest(x, y) - 0.3 * m.smallest(x * x, y) + m.product(x - 0.2, y)
    ),
    "softplus": lambda m, x, y: m.softplus(x + 2 * y) - y,
}


def gru_in(m, cell, x, y):
    """The increment of a two-unit GRU, from its definition."""
    U_h, U_r, U_z, b_h, b_r, b_z = cell
    z, r = (
        [m.sigmoid(x * U[i][0] + y * U[i][1] + b[i]) for i in range(2)]
        for U, b in ((U_z, b_z), (U_r, b_r))
    )
    u, v = r[0] * x, r[1] * y
    h = (x, y)
    return [
        z[i] * (m.tanh(u * U_h[i][0] + v * U_h[i][1] + b_h[i]) - h[i]) for i in range(2)
    ]


def random_boxes(rng, size, scale=1.0):
    """Boxes of very different sizes, some with exact faces in common with zero."""
    centre = rng.uniform(-scale, scale, (2, size))
    radii = scale * 10.0 ** rng.uniform(-13, 0, (2, size))
    return centre, radii


def encloses(nodes, centre, radii, rng, exact, points=2):
    """Check `exact`, from a point in arb to `Dual`s, against nodes over blocks of boxes."""
    parts = [
        jax.tree.map(
            np.asarray,
            (n.range, n.tight, (n.centre, 0.0 if n.error is None else n.error), n.gradient),
        )
        for n in nodes
    ]

    def at(x, i):
        return arb(float(np.broadcast_to(x, centre.shape[1:])[i]))

    for i in range(centre.shape[1]):
        shifts = [np.zeros(2), *rng.uniform(-1, 1, (points, 2)), rng.choice([-1, 1], 2)]
        for k, shift in enumerate(shifts):
            place = [
                arb(float(centre[j, i])) + arb(float(shift[j])) * arb(float(radii[j, i]))
                for j in range(2)
            ]
            truth = exact(i, Dual(place[0], (1, 0)), Dual(place[1], (0, 1)))
            for value, (wide, tight, (middle, error), gradient) in zip(
                truth, parts, strict=True
            ):
                for bounds in (wide, tight):
                    assert at(low(bounds), i) <= value.value <= at(high(bounds), i)
                if k == 0:
                    assert abs(value.value - at(middle, i)) <= at(error, i)
                for slope, g in zip(value.slopes, gradient, strict=True):
                    if g is None:
                        assert slope == 0
                    else:
                        assert at(low(g), i) <= slope <= at(high(g), i)


class Seen(NamedTuple):
    """What of a `Node` leaves a compiled function."""

    range: tuple
    tight: tuple
    centre: object
    error: object
    gradient: list


def enclosed(function, centre, radii):
    program, arrays = hoist(function, jnp.zeros(2))

    @jax.jit
    def run(centre, radii):
        nodes = _interval.enclose(program, list(map(split, arrays)), [*centre], [*radii])
        return [(n.range, n.tight, n.centre, n.error, n.gradient) for n in nodes]

    return [Seen(*fields) for fields in run(jnp.asarray(centre), jnp.asarray(radii))]


@pytest.mark.parametrize("name", ZOO)
def test_no_enclosure_of_a_primitive_fails_to_contain_arb(name):
    rng = np.random.default_rng(3)
    centre, radii = random_boxes(rng, 60, scale=2.0)
    function = ZOO[name]
    nodes = enclosed(lambda h: function(Jax, h[0], h[1])[None], centre, radii)
    encloses(nodes, centre, radii, rng, lambda i, x, y: [function(Arb, x, y)])


@pytest.mark.parametrize("scale", [3.0, 1e6], ids="weights {}".format)
def test_no_enclosure_of_a_gru_fails_to_contain_arb(scale):
    audit(scale, 150)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-300, 1.0, 3.0, 10.0, 100.0], ids="weights {}".format)
def test_no_enclosure_of_many_grus_fails_to_contain_arb(scale):
    audit(scale, 2_000)


def audit(scale, size):
    rng = np.random.default_rng(7)
    shapes = [(size, 2, 2)] * 3 + [(size, 2)] * 3
    arrays = [scale * rng.normal(size=s) for s in shapes]
    centre, radii = random_boxes(rng, size)
    names = ("U_h", "U_r", "U_z", "b_h", "b_r", "b_z")
    cells = eqx.filter_vmap(lambda *a: cgru.GRU(**dict(zip(names, a, strict=True))))(
        *arrays
    )
    # With its update gate: dropped as a factor, so a term is added that hides it.
    first = jax.tree.map(lambda x: x[0], cells)
    program, one = hoist(lambda h: first(h) + 0.0 * h, jnp.zeros(2))
    columns = eqx.filter_vmap(
        lambda c: [a.ravel() for a in hoist(lambda h: c(h) + 0.0 * h, jnp.zeros(2))[1]]
    )(cells)

    @jax.jit
    def run(columns, centre, radii):
        pools = []
        for column, like in zip(columns, one, strict=True):
            pool = np.empty(column.shape[1], object)
            for k in range(pool.size):
                pool[k] = column[:, k]
            pools.append(pool.reshape(like.shape))
        nodes = _interval.enclose(program, pools, [*centre], [*radii])
        return [(n.range, n.tight, n.centre, n.error, n.gradient) for n in nodes]

    nodes = [Seen(*f) for f in run(columns, jnp.asarray(centre), jnp.asarray(radii))]

    def exact(i, x, y):
        return gru_in(Arb, [[[*map(float, r)] for r in a[i]] if a.ndim == 3
                            else [*map(float, a[i])] for a in arrays], x, y)  # fmt: skip

    encloses(nodes, centre, radii, rng, exact, points=1)


REFERENCE = {
    "tanh": (jnp.tanh, mpmath.tanh, "any"),
    "logistic": (jax.nn.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), "any"),
    "exp": (jnp.exp, mpmath.exp, "any"),
    "expm1": (jnp.expm1, mpmath.expm1, "any"),
    "log": (jnp.log, mpmath.log, "positive"),
    "log1p": (jnp.log1p, mpmath.log1p, "above -1"),
    "sqrt": (jnp.sqrt, mpmath.sqrt, "positive"),
    "sin": (jnp.sin, mpmath.sin, "any"),
    "cos": (jnp.cos, mpmath.cos, "any"),
}


def test_every_function_that_is_widened_is_measured():
    assert set(REFERENCE) == set(ERRORS)


@pytest.mark.parametrize("name", REFERENCE)
def test_the_backend_keeps_the_assumed_errors(name):
    function, exact, domain = REFERENCE[name]
    rng = np.random.default_rng(0)
    size = 700
    x = np.concatenate([
        rng.choice([-1, 1], size) * 2.0 ** rng.uniform(-40, 9, size),
        rng.uniform(-3, 3, size),
        1 + 2.0 ** rng.uniform(-50, -2, size),  # where a logarithm vanishes
    ])  # fmt: skip
    if domain == "positive":
        x = np.abs(x)
    if domain == "above -1":
        x = np.concatenate([np.abs(x), rng.uniform(-1, 0, size), [-0.4142113874423279]])
    found = np.asarray(jax.jit(function)(x))
    with mpmath.workprec(160):
        truth = [exact(mpmath.mpf(float(a))) for a in x]
        off = [
            float(
                abs(mpmath.mpf(float(y)) - t) / (abs(t) * 2.0**-52 + mpmath.mpf(2.3e-308))
            )
            for y, t in zip(found, truth, strict=True)
        ]
    # A third is in reserve: a sample of two thousand does not find the worst argument.
    assert max(off) <= ERRORS[name] / 1.5


def test_an_affine_program_has_an_exact_range():
    # x + y − x is y, however it is written: the range is that of y, not three times it.
    centre, radii = np.array([[0.7], [0.2]]), np.array([[0.5], [0.1]])
    (node,) = enclosed(lambda h: (h[0] + h[1] - h[0])[None], centre, radii)
    np.testing.assert_allclose([node.range[0][0], node.range[1][0]], [0.1, 0.3], rtol=1e-14)


def test_a_positive_factor_is_dropped():
    # The zeros of z (h − 0.3) are those of h − 0.3, and so is then the gradient.
    centre, radii = np.array([[0.7], [0.2]]), np.array([[0.5], [0.1]])
    (node,) = enclosed(
        lambda h: (-(jax.nn.sigmoid(h[1]) * jnp.exp(h[0]) * (h[0] - 0.3)))[None],
        centre,
        radii,
    )
    assert node.gradient[0] == -1.0
    assert node.gradient[1] is None


def test_the_backward_sweep_knows_that_a_state_is_a_tanh():
    program, _ = hoist(lambda h: jnp.tanh(0.5 * h) - h + 0.1, jnp.zeros(1))
    (node,) = _interval.enclose(program, [], [0.0], [1.0])
    ((lowest, highest),) = _interval.contract(node, [(-1.0, 1.0)])
    # h = tanh(h/2) + 0.1 with |h| ≤ 1.
    np.testing.assert_allclose([lowest, highest], 0.1 + np.tanh([-0.5, 0.5]), rtol=1e-14)


def test_of_nothing_the_sum_is_zero_and_the_product_one():
    centre, radii = np.array([[0.7], [0.2]]), np.array([[0.5], [0.1]])
    (node,) = enclosed(
        lambda h: (jnp.sum(h[:0]) + jnp.prod(h[2:]) + h[1])[None], centre, radii
    )
    np.testing.assert_allclose([node.range[0][0], node.range[1][0]], [1.1, 1.3], rtol=1e-14)


@pytest.mark.parametrize("exponent", [jnp.inf, -jnp.inf, jnp.nan])
def test_a_power_without_end_has_no_bounds(exponent):
    centre, radii = np.array([[0.7], [0.2]]), np.array([[0.5], [0.1]])
    (node,) = enclosed(lambda h: (h[0] ** exponent)[None], centre, radii)
    assert not node.range[0][0] > 0
    assert not node.range[1][0] < 1e300


def test_division_by_an_interval_around_zero_gives_no_bounds():
    centre, radii = np.array([[0.1], [0.2]]), np.array([[0.5], [0.1]])
    (node,) = enclosed(lambda h: (h[1] / h[0])[None], centre, radii)
    assert not node.range[0][0] > 0  # where it is: from −∞ to ∞, or NaN


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("atan2", lambda h: jnp.arctan2(h, 2.0)),
        ("sort", lambda h: jnp.sort(h)),
        ("scatter", lambda h: jnp.zeros(2).at[0].set(h[1])),
        ("gt", lambda h: jnp.where(h > 0, h, 2 * h)),
        ("while", lambda h: jax.lax.while_loop(lambda x: x[0] < 1, lambda x: x + 1, h)),
        ("convert_element_type", lambda h: h.astype(jnp.float32).astype(float)),
        ("convert_element_type", lambda h: jnp.abs(h[:1] + 1j * h[1:])),
        ("reduce_precision", lambda h: jax.lax.reduce_precision(h, 8, 7)),
    ],
)
def test_an_operation_without_a_rule_is_named(name, field):
    program, _ = hoist(field, jnp.zeros(2))
    with pytest.raises(ValueError, match=f"'{name}'.*find_equilibria"):
        _interval.enclose(program, [], [0.1, 0.2], [0.1, 0.1])


def test_an_array_for_an_index_is_named_with_its_cure():
    which = jnp.array([1, 0])
    program, arrays = hoist(lambda h: h[which], jnp.zeros(2))
    with pytest.raises(ValueError, match=r"'gather' with an array for an index .*h\[1\]"):
        jax.eval_shape(
            lambda *a: _interval.enclose(program, a, [0.1, 0.2], [0.1, 0.1]), *arrays
        )


def test_whole_and_narrow_constants_wrap_and_round_as_they_do():
    whole, narrow = jnp.array([100, 100], jnp.int8), jnp.array([0.1, 0.1], jnp.float32)
    program, arrays = hoist(
        lambda h: h + (whole + whole) + (narrow * narrow).astype(float), jnp.zeros(2)
    )
    constants = [np.asarray(a) for a in arrays]
    nodes = _interval.enclose(program, constants, [0.0, 0.0], [0.0, 0.0])
    expected = -56 + float(np.float32(0.1) * np.float32(0.1))
    for node in nodes:
        low, high = node.tight
        assert low <= expected <= high
        assert high - low < 1e-13


def test_programs_whose_inner_calls_close_over_other_numbers_are_other_programs():
    def shifted(target):
        inner = jax.jit(lambda x: jnp.asarray([target]) - x)
        return hoist(lambda h: inner(h), jnp.zeros(1))[0]

    assert shifted(0.3) == shifted(0.3)
    assert shifted(0.3) != shifted(0.7)
