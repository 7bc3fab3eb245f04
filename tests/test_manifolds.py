"""Separatrices and connecting orbits against closed forms, symmetries and asymptotics."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import cgru_jax as cgru
from cgru_jax import RESULTS
from cgru_jax._manifolds import _connections
from cgru_jax._results import name

CENTRE = np.array([0.3, -0.2])


def place(x, y):
    return CENTRE + np.array([x, y])


def names(item):
    every = list(RESULTS._name_to_item)
    return [every[k] for k in np.ravel(item._value)]


def kink(p):
    """x'' = −2x(1 − x²) + p x' about CENTRE: at p = 0 the kink x = tanh t."""

    def field(h):
        x, y = h - CENTRE
        return jnp.stack([y, -2 * x * (1 - x * x) + p * y])

    return cgru.Flow(field)


def duffing(p, q):
    """x'' = x − x³ + (p + q H) x' about CENTRE: at p = 0 the loop x = √2 sech t."""

    def field(h):
        x, y = h - CENTRE
        energy = y * y / 2 - x * x / 2 + x**4 / 4
        return jnp.stack([y, x - x**3 + (p + q * energy) * y])

    return cgru.Flow(field)


def bogdanov_takens(p1, p2):
    """The normal form about (5, 2), its double zero at (p1, p2) = (3, −1)."""

    def field(h):
        u, v = h[0] - 5, h[1] - 2
        return jnp.stack([v, (p1 - 3) + (p2 + 1) * u + u * u - u * v])

    return cgru.Flow(field)


def oblique(h):
    """x' = x (2 − x), y' = −3 y, z' = −z + x² / 4 in oblique coordinates."""
    x, y, z = jnp.linalg.solve(MIX, h - MIDDLE)
    return MIX @ jnp.stack([x * (2 - x), -3 * y, -z + x * x / 4])


MIX = np.array([[1.0, 0.3, -0.2], [0.1, 1.0, 0.4], [0.5, -0.2, 1.0]])
MIDDLE = np.array([0.3, -0.2, 0.5])


@pytest.mark.parametrize(
    ("stable", "at", "side"), [(False, -1, 1), (True, 1, 1)], ids=["unstable", "stable"]
)
def test_the_kink_is_a_parabola_on_which_points_are_equally_spaced(stable, at, side):
    start = place(at * 1.001, 0.001)  # beside the saddle: it is corrected
    curve = cgru.trace_manifold(kink(0.0), start, stable=stable, side=side, length=3.0)
    assert name(curve.result) == "arrived"
    np.testing.assert_allclose(curve.saddle, place(at, 0), atol=1e-14)
    np.testing.assert_allclose(curve.end, place(-at, 0), atol=1e-14)
    np.testing.assert_allclose(curve.rate, -2 if stable else 2, atol=1e-13)
    # The arc of y = 1 − x² between −1 and 1; it counts as arrived
    # 3e-5 of the size of the state, 2.3, before the end.
    arc = np.sqrt(5) + np.arcsinh(2) / 2
    assert abs(curve.length - arc) < 7e-5
    known = np.asarray(curve.lengths) < arc - 1e-3
    x, y = np.asarray(curve.points)[known].T - CENTRE[:, None]
    # An error of the steps of 1e-12 grows in proportion to the distance as it nears a
    # saddle, up to 1e-3 from it.
    np.testing.assert_allclose(y, 1 - x * x, atol=1e-9)
    length = lambda x: x * np.sqrt(1 + 4 * x * x) / 2 + np.arcsinh(2 * x) / 4
    np.testing.assert_allclose(
        np.abs(length(x) - length(at)), curve.lengths[known], atol=1e-8
    )


def test_a_loop_comes_back_to_its_saddle_at_zero_energy():
    curve = cgru.trace_manifold(duffing(0.0, 1.5), CENTRE, length=9.0)
    assert name(curve.result) == "arrived"
    np.testing.assert_allclose(curve.end, CENTRE, atol=1e-12)
    x, y = np.asarray(curve.points)[np.isfinite(curve.points[:, 0])].T - CENTRE[:, None]
    # H = 0 on it; the error of the steps, 1e-12, contracts.
    np.testing.assert_allclose(y * y / 2 - x * x / 2 + x**4 / 4, 0, atol=1e-10)


def test_each_member_of_a_batch_ends_in_its_own_way():
    box = (CENTRE - 1.43, CENTRE + 1.43)  # the loop reaches √2
    starts = CENTRE + np.array([[0, 0], [0, 0], [1, 0], [0, 0], [0, 0]])
    p = np.array([-0.5, 0.05, 0.0, np.nan, -0.5])
    lengths = np.array([9.0, 9.0, 9.0, 9.0, 1.0])

    @eqx.filter_vmap
    def trace(start, p, length):
        return cgru.trace_manifold(duffing(p, 0.0), start, length=length, box=box)

    found = trace(starts, p, lengths)
    ends = ["arrived", "outside", "no_saddle", "nonfinite", "successful"]
    assert names(found.result) == ends
    np.testing.assert_allclose(found.end[0], place(1, 0), atol=1e-12)  # the sink
    assert np.isnan(found.points[2:4]).all()
    assert np.isfinite(found.points[4]).all()


def test_a_manifold_in_space_is_the_one_of_closed_form():
    curve = cgru.trace_manifold(cgru.Flow(oblique), MIDDLE + 0.01, length=3.0, count=201)
    assert name(curve.result) == "arrived"
    x, y, z = np.linalg.solve(MIX, (np.asarray(curve.points) - MIDDLE).T)
    known = np.abs(x) < 1.5  # beyond, the quadrature below is singular
    x, y, z = x[known], y[known], z[known]
    assert x.max() > 1.4
    np.testing.assert_allclose(y, 0, atol=1e-12)
    # z x^(1/2) (2 − x)^(-1/2) = ∫ x²/4 · x^(-1/2) (2 − x)^(-3/2) dx, by quadrature.
    nodes, weights = np.polynomial.legendre.leggauss(40)
    u = (nodes + 1) / 2  # x = X u²
    X = np.abs(x)[:, None]
    s = X * u**2
    integral = np.sum(weights / 2 * s**1.5 / 4 * (2 - s) ** -1.5 * 2 * X * u, axis=1)
    exact = integral * np.sqrt(2 - x) / np.sqrt(np.where(x > 0, x, 1))
    np.testing.assert_allclose(z, exact, atol=1e-9)  # as above


@pytest.mark.slow
def test_the_derivative_of_an_end_is_its_central_difference():
    def end(b):
        field = kink(0.3).field
        curve = cgru.trace_manifold(
            cgru.Flow(lambda h: field(h) + jnp.stack([0 * b, b])),
            place(-1, 0),
            length=1.0,
        )
        return curve.end[1]

    b, step = 0.1, 1e-4
    want = (end(b + step) - end(b - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(end)(b), want, rtol=1e-6)  # of the difference


def test_a_symmetric_pair_is_separated_by_the_diagonal():
    # Two units that inhibit each other: equal states stay equal, whatever the gates.
    U = np.array([[1.0, -4.0], [-4.0, 1.0]])
    cell = cgru.gru(U, b_h=0.3, U_r=np.array([[1.0, 0.5], [0.5, 1.0]]))
    x = scipy.optimize.brentq(lambda x: cell(jnp.array([x, x]))[0], -1, 1)
    saddle = np.array([x + 0.001, x - 0.002])
    for side in (-1, 1):
        curve = cgru.trace_manifold(
            cgru.Flow(cell), saddle, stable=True, side=side, length=2.0
        )
        x, y = np.asarray(curve.points).T
        # Backwards in time what lies beside the diagonal is drawn to it.
        np.testing.assert_allclose(x, y, atol=1e-10)


def loop(p, q=1.5, **options):
    guess = 0.05 - jax.lax.stop_gradient(p)
    return cgru.locate_homoclinic(
        lambda x: duffing(x + p, q), place(0.0, 0.01), guess, **options
    )


@pytest.mark.parametrize("side", [1, -1])
def test_the_loop_of_duffing_is_a_hyperbolic_secant(side):
    orbit = loop(0.1, side=side)
    assert name(orbit.result) == "successful"
    np.testing.assert_allclose(orbit.parameter, -0.1, atol=1e-10)
    np.testing.assert_allclose(orbit.saddle, CENTRE, atol=1e-12)
    np.testing.assert_allclose(orbit.saddle_quantity, 0, atol=1e-10)
    x, y = (np.asarray(orbit.points) - CENTRE).T * side
    rising = np.arange(len(x)) < np.argmax(x)
    k = np.argmin(np.abs(x - 1) + ~rising)
    t = np.asarray(orbit.times) - orbit.times[k] - np.arccosh(np.sqrt(2) / x[k])
    sech = np.sqrt(2) / np.cosh(t)
    # The ends are wrong by the square of their distance, 1e-5.
    np.testing.assert_allclose(x, sech, atol=1e-10)
    np.testing.assert_allclose(y, -sech * np.tanh(t), atol=1e-10)


def test_the_loop_does_not_move_with_the_damping_of_other_orbits():
    at = lambda a, q: loop(a**2, q).parameter
    by_a, by_q = jax.grad(at, (0, 1))(0.3, 1.5)
    np.testing.assert_allclose(by_a, -0.6, atol=1e-10)  # p + a² = 0
    np.testing.assert_allclose(by_q, 0, atol=1e-10)


@pytest.mark.slow
def test_the_kink_is_found_with_both_saddles():
    orbit = cgru.locate_heteroclinic(kink, place(-1, 0.01), place(1, 0), 0.05)
    assert name(orbit.result) == "successful"
    np.testing.assert_allclose(orbit.parameter, 0, atol=1e-10)
    np.testing.assert_allclose(orbit.start, place(-1, 0), atol=1e-12)
    np.testing.assert_allclose(orbit.end, place(1, 0), atol=1e-12)
    x, y = (np.asarray(orbit.points) - CENTRE).T
    k = np.argmin(np.abs(x))
    t = np.asarray(orbit.times) - orbit.times[k] + np.arctanh(x[k])
    # The ends are wrong by the square of their distance, 1e-5, times the curvature.
    np.testing.assert_allclose(x, np.tanh(t), atol=4e-10)
    np.testing.assert_allclose(y, np.cosh(t) ** -2.0, atol=4e-10)


def homoclinic_of_bogdanov_takens(p2):
    down = -(p2 + 1)
    # Where the asymptotics say, and the saddle there: u² − down u + (p1 − 3) = 0, u > 0.
    p1 = 3 - 6 / 25 * down**2
    u = (down + np.sqrt(down**2 - 4 * (p1 - 3))) / 2
    # The orbit that leaves downwards and to the left comes back.
    return cgru.locate_homoclinic(
        lambda p: bogdanov_takens(p, p2),
        np.array([5 + u, 2.0]),
        p1,
        side=-1,
        length=10 * down,
    )


@pytest.mark.slow
def test_near_bogdanov_takens_the_loops_lie_on_the_known_parabola():
    downs = np.array([0.05, 0.2])
    found = [homoclinic_of_bogdanov_takens(-1 - d) for d in downs]
    assert [name(f.result) for f in found] == ["successful"] * 2
    off = np.array(
        [(float(f.parameter) - 3) / d**2 for f, d in zip(found, downs, strict=True)]
    )
    # The next term of the ratio −6/25 is of order √down or smaller.
    assert (np.abs(off + 6 / 25) < 0.2 * np.sqrt(downs)).all()
    assert abs(off[0] + 6 / 25) < abs(off[1] + 6 / 25)
    # tr J = −u at the saddle: the cycle that is born is stable.
    u = [float(f.saddle[0]) - 5 for f in found]
    np.testing.assert_allclose([f.saddle_quantity for f in found], -np.array(u), atol=1e-10)


@pytest.mark.slow
def test_what_is_no_connection_is_refused_member_by_member():
    saddles = CENTRE + np.array([[0, 0.01], [1, 0], [0, 0], [0, 0]])
    p = np.array([0.02, 0.0, np.nan, -1.5])  # −1.5: straight into a sink

    @eqx.filter_vmap
    def locate(saddle, p):
        return cgru.locate_homoclinic(lambda x: duffing(x + p, 1.5), saddle, 0.02)

    found = locate(saddles, p)
    assert names(found.result)[:3] == ["successful", "no_saddle", "nonfinite"]
    assert names(found.result)[3] in ("no_connection", "not_converged")
    np.testing.assert_allclose(found.parameter[0], -0.02, atol=1e-10)
    for value in (found.parameter, found.points, found.saddle, found.saddle_quantity):
        assert np.isnan(value[1:]).all()


def test_fresh_families_compile_once(monkeypatch):
    count = []
    whole = _connections._equations
    monkeypatch.setattr(_connections, "_equations", lambda *a: count.append(1) or whole(*a))
    loop(0.1)
    before = len(count)
    for a in (0.11, 0.12, 0.13):
        loop(a, 1.4 + a)
    assert len(count) == before


def test_wrong_questions_are_refused_with_the_cure():
    flow = kink(0.0)
    with pytest.raises(ValueError, match="must be a Flow"):
        cgru.trace_manifold(cgru.Map(flow.field), CENTRE)
    with pytest.raises(ValueError, match="side must be 1 or -1"):
        cgru.trace_manifold(flow, CENTRE, side=0)
    with pytest.raises(ValueError, match="saddle must have shape"):
        cgru.trace_manifold(flow, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="box is empty"):
        cgru.trace_manifold(flow, CENTRE, box=(CENTRE, CENTRE))
    with pytest.raises(ValueError, match="length must be one positive"):
        cgru.trace_manifold(flow, CENTRE, length=-1.0)
    with pytest.raises(ValueError, match="must return a Flow"):
        cgru.locate_homoclinic(lambda p: cgru.Map(kink(p).field), CENTRE, 0.0)
    with pytest.raises(ValueError, match="intervals must be an even"):
        loop(0.1, intervals=33)
    with pytest.raises(ValueError, match="same shape"):
        cgru.locate_heteroclinic(kink, CENTRE, np.zeros(3), 0.0)
