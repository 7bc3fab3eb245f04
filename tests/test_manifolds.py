"""Separatrices and connecting orbits against closed forms, symmetries and asymptotics."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import cgru_jax as cgru
from cgru_jax import RESULTS
from cgru_jax._manifolds import _pieces
from cgru_jax._results import name

CENTRE = np.array([0.3, -0.2])
# Coefficients of x'' = c₀ + c₁ x + c₂ x² + c₃ x³ + (p + d x + q H) x' about CENTRE, where H
# is the energy of Duffing's equation. One program serves all: it is compiled once.
C0, C1, C2, C3, P, D, Q = np.eye(7)
KINK = -2 * C1 + 2 * C3  # at p = 0: x = tanh t from −1 to 1
DUFFING = C1 - C3 + 1.5 * Q  # at p = 0: the loop x = √2 sech t, on which H = 0


def place(x, y):
    return CENTRE + np.array([x, y])


def names(item):
    every = list(RESULTS._name_to_item)
    return [every[k] for k in np.ravel(item._value)]


def oscillator(c):
    c = jnp.asarray(c)

    def field(h):
        x, y = h[0] - CENTRE[0], h[1] - CENTRE[1]
        force = c[0] + x * (c[1] + x * (c[2] + x * c[3]))
        energy = y * y / 2 - x * x / 2 + x**4 / 4
        return jnp.stack([y, force + y * (c[4] + c[5] * x + c[6] * energy)])

    return cgru.Flow(field)


def along(start, *ways):
    """The family that leaves `start` along one direction of coefficients, or two."""
    start, ways = jnp.asarray(start), jnp.stack([jnp.asarray(w) for w in ways])
    return lambda p: oscillator(start + jnp.atleast_1d(p) @ ways)


MIX = np.array([[1.0, 0.3, -0.2], [0.1, 1.0, 0.4], [0.5, -0.2, 1.0]])
MIDDLE = np.array([0.3, -0.2, 0.5])


UNMIX = np.linalg.inv(MIX)


def oblique(h):
    """x' = x (2 − x), y' = −3 y, z' = −z + x² / 4 in oblique coordinates."""
    x, y, z = UNMIX @ (h - MIDDLE)
    return MIX @ jnp.stack([x * (2 - x), -3 * y, -z + x * x / 4])


def in_space(force, b):
    """x'' = force(x, x') + p x' + b z with a third unit that follows x², in oblique
    coordinates."""

    def family(p):
        def field(h):
            x, y, z = UNMIX @ (h - MIDDLE)
            return MIX @ jnp.stack([y, force(x, y) + p * y + b * z, -1.5 * z + x * x])

        return cgru.Flow(field)

    return family


@pytest.mark.parametrize(
    ("stable", "at", "side"), [(False, -1, 1), (True, 1, 1)], ids=["unstable", "stable"]
)
def test_the_kink_is_a_parabola_on_which_points_are_equally_spaced(stable, at, side):
    start = place(at * 1.001, 0.001)  # beside the saddle: it is corrected
    curve = cgru.trace_manifold(
        oscillator(KINK), start, stable=stable, side=side, length=3.0
    )
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
    curve = cgru.trace_manifold(oscillator(DUFFING), CENTRE, length=9.0)
    assert name(curve.result) == "arrived"
    np.testing.assert_allclose(curve.end, CENTRE, atol=1e-12)
    x, y = np.asarray(curve.points)[np.isfinite(curve.points[:, 0])].T - CENTRE[:, None]
    # H = 0 on it; the error of the steps, 1e-12, contracts.
    np.testing.assert_allclose(y * y / 2 - x * x / 2 + x**4 / 4, 0, atol=1e-10)


def test_each_manifold_ends_in_its_own_way():
    box = (CENTRE - 1.43, CENTRE + 1.43)  # the loop reaches √2

    def trace(start, p, length):
        flow = oscillator(C1 - C3 + p * P)
        return cgru.trace_manifold(flow, CENTRE + start, length=length, box=box)

    sink = trace(np.zeros(2), -0.5, 9.0)
    assert name(sink.result) == "arrived"
    np.testing.assert_allclose(sink.end, place(1, 0), atol=1e-12)
    assert name(trace(np.zeros(2), 0.05, 9.0).result) == "outside"
    lost = trace(np.array([1.0, 0.0]), 0.0, 9.0)
    assert name(lost.result) == "no_saddle"
    assert np.isnan(lost.points).all()
    lost = trace(np.zeros(2), np.nan, 9.0)
    assert name(lost.result) == "nonfinite"
    assert np.isnan(lost.points).all()
    short = trace(np.zeros(2), -0.5, 1.0)
    assert name(short.result) == "successful"
    assert np.isfinite(short.points).all()


@pytest.mark.slow
def test_members_of_a_batch_end_apart():
    def trace(p):
        return cgru.trace_manifold(oscillator(C1 - C3 + p * P), CENTRE, length=9.0)

    p = jnp.array([-0.5, jnp.nan, 0.0])
    found = eqx.filter_vmap(trace)(p)
    assert names(found.result) == ["arrived", "nonfinite", "arrived"]
    for k in (0, 2):
        # The step sizes are those of each member: only rounding differs.
        alone = trace(p[k])
        np.testing.assert_allclose(found.points[k], alone.points, atol=1e-9)


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
    def end(b, length=1.0):
        flow = oscillator(KINK + 0.3 * P + b * C0)
        return cgru.trace_manifold(flow, place(-1, 0), length=length).end[0]

    b, step = 0.1, 1e-4
    want = (end(b + step) - end(b - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(end)(b), want, rtol=1e-6)  # of the difference


def loop(p, q=1.5, guess=0.05, **options):
    start = DUFFING + (q - 1.5) * Q + p * P
    guess = guess - jax.lax.stop_gradient(p)
    return cgru.locate_homoclinic(along(start, P), place(0.0, 0.01), guess, **options)


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


def test_what_is_no_connection_is_refused():
    assert name(loop(0.0, guess=-1.5).result) in ("no_connection", "not_converged")
    for orbit, why in (
        (cgru.locate_homoclinic(along(DUFFING, P), place(1, 0), 0.02), "no_saddle"),
        (loop(0.0, np.nan), "nonfinite"),
    ):
        assert name(orbit.result) == why
        for value in (orbit.parameter, orbit.points, orbit.saddle, orbit.saddle_quantity):
            assert np.isnan(value).all()


def test_near_bogdanov_takens_the_loops_lie_on_the_known_parabola():
    # u'' = β₁ + β₂ u + u² − u u': the orbit that leaves downwards and to the left is back
    # where β₁ = −(6/25) β₂², to leading order.
    downs, found = np.array([0.05, 0.2]), []
    for down in downs:
        start = -down * C1 + C2 - D
        guess = -6 / 25 * down**2
        u = (down + np.sqrt(down**2 - 4 * guess)) / 2  # the saddle: u² − down u + β₁ = 0
        found.append(
            cgru.locate_homoclinic(
                along(start, C0), place(u, 0.0), guess, side=-1, length=10 * down
            )
        )
    assert [name(f.result) for f in found] == ["successful"] * 2
    off = np.array([f.parameter for f in found]) / downs**2 + 6 / 25
    # The next term of the ratio −6/25 is of order √down or smaller.
    assert (np.abs(off) < 0.2 * np.sqrt(downs)).all()
    assert abs(off[0]) < abs(off[1])
    # tr J = −u at the saddle: the cycle that is born is stable.
    u = [float(f.saddle[0]) - CENTRE[0] for f in found]
    np.testing.assert_allclose([f.saddle_quantity for f in found], -np.array(u), atol=1e-10)


def test_the_loop_does_not_move_with_the_damping_of_other_orbits():
    at = lambda a, q: loop(a**2, q).parameter
    # p + a² = 0, whatever q: forwards, which is a third of the compiling of backwards.
    _, change = jax.jvp(at, (0.3, 1.5), (1.0, 0.7))
    np.testing.assert_allclose(change, -0.6, atol=1e-10)


@pytest.mark.slow
def test_connections_in_space_move_as_melnikov_and_differences_say():
    start, end = (MIDDLE + MIX @ np.array([x, 0.01 * (1 - x), 2 / 3]) for x in (-1, 1))
    # The eigenvector (1, 2, −4/7) of the first saddle has its largest component positive
    # in these coordinates as well.
    step = 1e-3

    def both(b):
        cubic = lambda x, y: 2 * x * (x * x - 1)
        kink = cgru.locate_heteroclinic(in_space(cubic, b), start, end, 0.02)
        # As DUFFING: energy that is gained outside the loop decides where it lies.
        energy = lambda x, y: y * y / 2 - x * x / 2 + x**4 / 4
        duffing = lambda x, y: x - x**3 + 1.5 * energy(x, y) * y
        loop = cgru.locate_homoclinic(in_space(duffing, b), MIDDLE, 0.02)
        return jnp.stack([kink.parameter, loop.parameter]), (kink, loop)

    slope = lambda b: jax.jvp(both, (b,), (1.0,), has_aux=True)
    b = jnp.array([0.0, 0.05, 0.05 + step, 0.05 - step, jnp.nan])
    values, slopes, orbits = eqx.filter_jit(eqx.filter_vmap(slope))(b)
    for orbit in orbits:
        # The last member fails alone.
        assert names(orbit.result) == ["successful"] * 4 + ["nonfinite"]
        assert np.isnan(orbit.points[4]).all()
        assert np.isfinite(orbit.points[:4]).all()
    assert np.isnan(values[4]).all()

    # Without the push both are those of the plane.
    np.testing.assert_allclose(values[0], 0, atol=1e-10)
    x, y, z = np.linalg.solve(MIX, (np.asarray(orbits[0].points[0]) - MIDDLE).T)
    k = np.argmin(np.abs(x))
    t = np.asarray(orbits[0].times[0]) - orbits[0].times[0, k] + np.arctanh(x[k])
    # The ends are wrong by the square of their distance, 1e-5, times the curvature.
    np.testing.assert_allclose(x, np.tanh(t), atol=1e-9)
    np.testing.assert_allclose(y, np.cosh(t) ** -2.0, atol=1e-9)
    assert np.ptp(z) > 0.1

    # Melnikov: p ∫ y² + b ∫ y z vanishes to first order, and ∫ y² = 4/3.
    pushed = scipy.integrate.solve_ivp(
        lambda t, u: [-1.5 * u[0] + np.tanh(t) ** 2, u[0] / np.cosh(t) ** 2],
        (-15, 15), [2 / 3, 0.0], method="DOP853", rtol=1e-11, atol=1e-13,
    ).y[1, -1]  # fmt: skip
    np.testing.assert_allclose(slopes[0, 0], -0.75 * pushed, rtol=1e-8)
    # Their error is a sixth of the third derivative times step², 1e-6.
    central = (values[2] - values[3]) / (2 * step)
    np.testing.assert_allclose(slopes[1], central, rtol=1e-5)


@pytest.mark.slow
def test_a_curve_of_loops_is_the_parabola_that_it_must_be():
    # With p = s − 0.3 q² in the place of p the loops lie at s = 0.3 q², round a turn.
    start, p, q = (jnp.asarray(c) for c in (C1 - C3, P, Q))

    def family(u):
        return oscillator(start + (u[0] - 0.3 * u[1] ** 2) * p + u[1] * q)

    parameter = jnp.array([0.3 * 1.5**2, 1.5])
    orbit = loop(0.0)  # p = 0: the same orbit
    bounds = [-1.0, -2.0], [1.0, 2.0]
    curve = cgru.trace_homoclinic_curve(
        family, orbit, parameter, bounds=bounds, direction=-1
    )
    assert name(curve.result) == "bound"
    s, damping = np.asarray(curve.parameters)[np.asarray(curve.valid)].T
    # Bounds are met exactly; loops are wrong by the square of the ends' distance.
    np.testing.assert_allclose(s, 0.3 * damping**2, atol=1e-9)
    np.testing.assert_allclose([s[-1], damping[-1]], [1, -np.sqrt(1 / 0.3)], atol=1e-9)
    assert (np.diff(damping) < 0).all()
    np.testing.assert_allclose(curve.saddle_quantity[curve.valid], 0, atol=1e-8)
    lost = cgru.trace_homoclinic_curve(
        family,
        orbit,
        parameter + jnp.array([0.3, 0.0]),
        bounds=([-1.0, -2.0], [1.0, 2.0]),
        direction=-1,
    )
    assert name(lost.result) in ("elsewhere", "not_converged")
    assert not lost.valid.any()


def adler(p):
    """r' = r (1 − r²), θ' = p − sin θ about CENTRE."""

    def field(h):
        x, y = h[0] - CENTRE[0], h[1] - CENTRE[1]
        square = x * x + y * y
        turn = p - y / jnp.sqrt(square)
        return jnp.stack([x * (1 - square) - turn * y, y * (1 - square) + turn * x])

    return cgru.Flow(field)


def slow_circle(p, count=128):
    """The cycle of Adler's equation in closed form: tan(θ/2) = (1 + w tan(w t/2)) / p."""
    w = np.sqrt(p * p - 1)
    period = 2 * np.pi / w
    t = (np.arange(count) / count - 0.5) * period
    angle = 2 * np.arctan((1 + w * np.tan(w * t / 2)) / p)
    points = CENTRE + np.stack([np.cos(angle), np.sin(angle)], axis=1)
    nan = jnp.full(2, jnp.nan)
    return cgru.Cycle(
        points=jnp.asarray(points),
        times=jnp.asarray(t - t[0]),
        period=jnp.asarray(period),
        low=nan,
        high=nan,
        multipliers=nan + 0j,
        exponents=nan,
        trivial_error=jnp.zeros(()),
        kind=cgru.KINDS.sink,
        result=RESULTS.successful,
    )


def test_the_end_of_adlers_cycle_is_recognised():
    found = cgru.locate_snic(adler, slow_circle(1.01), 1.01)
    assert name(found.result) == "successful"
    assert int(found.valid.sum()) == 1
    np.testing.assert_allclose(found.parameter, 1, atol=1e-12)
    # A double root: its place has half of the digits.
    np.testing.assert_allclose(found.points[found.valid], [place(0, 1)], atol=1e-7)
    # 2π/√(p² − 1) is π √2/√δ to leading order.
    np.testing.assert_allclose(found.passage, np.pi * np.sqrt(2), rtol=1e-6)
    # Nothing is slow about a circle that is passed at an even speed.
    fast = cgru.locate_snic(adler, slow_circle(3.0), 3.0)
    assert name(fast.result) == "no_saddle_node"
    assert not fast.valid.any()


def test_a_cycle_beside_a_homoclinic_orbit_is_not_taken_for_one():
    # An orbit of Duffing's equation at H = −1e-6 takes long beside its saddle.
    energy = 1e-6
    x = np.sqrt(1 + np.sqrt(1 - 4 * energy) * np.cos(2 * np.pi * np.arange(128) / 128))
    y = np.sqrt(np.maximum(-2 * energy + x * x - x**4 / 2, 0))
    y = np.where(np.arange(128) < 64, -y, y)
    period = 2 * np.log(64 / energy)
    loop = eqx.tree_at(
        lambda c: (c.points, c.period),
        slow_circle(1.01),
        tuple(map(jnp.asarray, (CENTRE + np.stack([x, y], axis=1), period))),
    )
    found = cgru.locate_snic(along(DUFFING, C0), loop, 0.0)
    assert name(found.result) == "no_saddle_node"
    assert np.isnan(found.parameter)


def test_fresh_families_compile_once(monkeypatch):
    count = []
    whole = _pieces.equations
    monkeypatch.setattr(_pieces, "equations", lambda *a: count.append(1) or whole(*a))
    loop(0.1)
    before = len(count)
    for a in (0.11, 0.12, 0.13):
        loop(a, 1.4 + a)
    assert len(count) == before


def test_wrong_questions_are_refused_with_the_cure():
    flow = oscillator(KINK)
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
        cgru.locate_homoclinic(lambda p: cgru.Map(flow.field), CENTRE, 0.0)
    with pytest.raises(ValueError, match="intervals must be an even"):
        loop(0.1, intervals=33)
    with pytest.raises(ValueError, match="same shape"):
        cgru.locate_heteroclinic(along(KINK, P), CENTRE, np.zeros(3), 0.0)
