"""The nearest bifurcation, against the closed forms of one unit and of the origin."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import cgru_jax as cgru
from cgru_jax._bifurcation import _nearest
from cgru_jax._results import name

ROUND_OFF = dict(rtol=1e-11, atol=1e-12)
GAIN = 1.8


def fold(a):
    """The upper fold of tanh(a h + b) − h: h and b. The lower one is −h, −b."""
    h = np.sqrt(1 - 1 / a)
    return h, np.arctanh(h) - a * h


def unit(b, a=GAIN):
    """h' = (tanh(a h + b) − h)/2: open gates."""
    return cgru.gru(2 * a, b_h=b)


def nearest(cell, points, free=("b_h",), kind="fold"):
    return cgru.nearest_bifurcation(cell, jnp.asarray(points), free=free, kind=kind)


# One unit: the bias alone.


@pytest.mark.parametrize(
    ("point", "side"), [(0.9, 1), (-0.9, -1), (-0.15, -1)], ids=["upper", "lower", "saddle"]
)
def test_an_equilibrium_of_one_unit_is_as_far_from_its_fold_as_the_bias_is(point, side):
    # At b = 0.1 the saddle is below zero: it is the lower pair that it meets first.
    h, b = fold(GAIN)
    found = nearest(unit(0.1), [[point]])
    assert name(found.result) == "successful"
    np.testing.assert_allclose(found.distance, abs(side * b - 0.1), **ROUND_OFF)
    np.testing.assert_allclose(found.cell.b_h, [side * b], **ROUND_OFF)
    np.testing.assert_allclose(found.points, [[side * h]], **ROUND_OFF)


def test_a_ghost_is_brought_back():
    h, b = fold(GAIN)
    found = nearest(unit(b - 0.05), [[0.7]])
    np.testing.assert_allclose(found.distance, 0.05, **ROUND_OFF)
    np.testing.assert_allclose(found.points, [[h]], **ROUND_OFF)


def test_the_distance_has_its_derivatives():
    # distance = 0.1 − b*(a), and db*/da = −h, d²b*/da² = −1/(2 a² h).
    h, _ = fold(GAIN)
    distance = lambda a, b: nearest(unit(b, a), [[0.9]]).distance
    first = jax.jit(jax.value_and_grad(distance, (0, 1)))
    assert abs(first(GAIN, 0.1)[1][0] - h) < 1e-10
    assert abs(first(GAIN, 0.1)[1][1] - 1) < 1e-10
    second = jax.jit(jax.jacfwd(jax.grad(distance)))(GAIN, 0.1)
    assert abs(second - 1 / (2 * GAIN**2 * h)) < 1e-8


def test_a_batch_keeps_failures_to_their_members():
    # Less gain than one: there is no fold, whatever the bias.
    cells = eqx.filter_vmap(lambda a, b: unit(b, a))(
        jnp.array([GAIN, 0.5, GAIN]), jnp.array([0.1, 0.1, jnp.nan])
    )
    found = eqx.filter_jit(eqx.filter_vmap(lambda c: nearest(c, [[0.9]])))(cells)
    wanted = ["successful", "not_converged", "nonfinite"]
    for i, result in enumerate(wanted):
        assert bool((found.result == getattr(cgru.RESULTS, result))[i])
    np.testing.assert_allclose(found.distance[0], 0.1 - fold(GAIN)[1], **ROUND_OFF)
    assert np.isnan(found.distance[1:]).all()
    assert np.isnan(found.cell.b_h[1:]).all()


def test_a_hundred_cells_compile_once(monkeypatch):
    count = []
    inner = _nearest._minimise
    monkeypatch.setattr(_nearest, "_minimise", lambda *a: count.append(1) or inner(*a))
    for b in np.linspace(-0.1, 0.1, 100):
        nearest(unit(b), [[0.9]])
    assert len(count) <= 1


# One unit: gain and bias.


def test_the_least_change_of_gain_and_bias_is_the_foot_on_the_fold_curve():
    # On the fold curve a = 1/(1 − h²) and U_h = 2 a.
    def square(h):
        return (2 / (1 - h * h) - 2 * GAIN) ** 2 + (
            np.arctanh(h) - h / (1 - h * h) - 0.1
        ) ** 2

    foot = scipy.optimize.minimize_scalar(
        square, bounds=(0.3, 0.9), method="bounded", options={"xatol": 1e-12}
    )
    found = nearest(unit(0.1), [[0.9]], free=("U_h", "b_h"))
    np.testing.assert_allclose(found.distance, np.sqrt(foot.fun), rtol=1e-12)
    # A minimum in double precision is known to the root of its rounding.
    np.testing.assert_allclose(found.points, [[foot.x]], rtol=1e-7)


# Two units.

BIAS = np.array([0.3, -0.1])
GAINS = np.array([1.8, 2.1])


def pair(order=(0, 1)):
    """Two units that know nothing of each other, and both upper and both lower sinks."""
    order = list(order)
    cell = cgru.gru(jnp.diag(2 * GAINS[order]), b_h=BIAS[order])
    return cell, np.array([[0.9, 0.95], [-0.85, -0.95]])[:, order]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["as_is", "swapped"])
def test_two_collisions_at_once_are_the_better_of_two_ways(order):
    # One sink must lose its first unit, the other its second: each bias goes one way only.
    reach = np.array([-fold(a)[1] for a in GAINS])
    ways = [
        np.hypot(reach[0] + BIAS[0], reach[1] - BIAS[1]),
        np.hypot(reach[0] - BIAS[0], reach[1] + BIAS[1]),
    ]
    found = nearest(*pair(order))
    assert name(found.result) == "successful"
    np.testing.assert_allclose(found.distance, min(ways), **ROUND_OFF)


def test_the_same_point_twice_is_refused():
    cell, points = pair()
    found = nearest(cell, points[[0, 0]] + [[0.0], [0.01]])
    assert name(found.result) == "merged"
    assert np.isnan(found.distance)


class Shifted(eqx.Module):
    """A two-unit network in coordinates whose origin is elsewhere."""

    U_h: jax.Array
    origin: jax.Array

    def __call__(self, x):
        return cgru.gru(self.U_h)(x - self.origin)


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return Shifted(3 * jnp.array([[cos, -sin], [sin, cos]]), jnp.array([0.3, -0.2]))


def test_the_rotation_is_as_far_from_its_hopf_point_as_from_a_plane():
    # The trace of the Jacobian at the zero is (U_h11 + U_h22)/4 − 1.
    found = nearest(rotation(1.0), [[0.32, -0.24]], free=("U_h",), kind="hopf")
    assert name(found.result) == "successful"
    np.testing.assert_allclose(
        found.distance, abs(6 * np.cos(1) - 4) / np.sqrt(2), **ROUND_OFF
    )
    np.testing.assert_allclose(found.points, [[0.3, -0.2]], **ROUND_OFF)
    np.testing.assert_allclose(
        found.cell.U_h - rotation(1.0).U_h, (2 - 3 * np.cos(1)) * np.eye(2), **ROUND_OFF
    )


def test_a_pair_of_real_eigenvalues_is_no_oscillation():
    # U_h = diag(3, 0.5): trace zero makes the origin a neutral saddle.
    cell = Shifted(jnp.diag(jnp.array([3.0, 0.5])), jnp.array([0.3, -0.2]))
    found = nearest(cell, [[0.3, -0.2]], free=("U_h",), kind="hopf")
    assert name(found.result) == "wrong_kind"
    assert np.isnan(found.distance)


# Bad input.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(free=("U_q",)), "free names U_q; the arrays .* U_h, U_r, U_z, b_h, b_r, b_z"),
        (dict(free=()), "free names nothing"),
        (dict(free="b_h"), r'as in \("b_h",\)'),
        (dict(points=[0.9]), r"shape \(k, 1\), got \(1,\); one point is points\[None\]"),
        (dict(points=[[0.9, 0.1]]), r"shape \(k, 1\), got \(1, 2\)"),
        (dict(points=[[0.9], [0.1]]), "2 points cannot .* with 1 free entry"),
        (dict(points=[[np.inf]]), "points"),
        (dict(kind="cusp"), 'kind must be "fold" or "hopf"'),
        (dict(kind="hopf"), "in two dimensions or more"),
        (dict(cell=cgru.Flow(unit(0.1))), "of a Flow give its field"),
        (dict(cell=np.tanh), "must be a cell"),
    ],
)
def test_bad_input_is_named_with_its_cure(arguments, says):
    given = dict(cell=unit(0.1), points=[[0.9]], free=("b_h",), kind="fold") | arguments
    with pytest.raises(ValueError, match=says):
        cgru.nearest_bifurcation(given.pop("cell"), given.pop("points"), **given)


def test_single_precision_is_refused():
    cell = jax.tree.map(lambda x: x.astype(jnp.float32), unit(0.1))
    with pytest.raises(ValueError, match="double precision"):
        nearest(cell, [[0.9]])
