"""Lyapunov exponents that are known, and the volume that all of them give together."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cgru_jax as cgru
from cgru_jax import _lyapunov

from . import problems

RESULTS = cgru.RESULTS
PLACE = np.array([0.4, -0.3, 0.7, 0.2, -0.6])


def logistic(r):
    return cgru.Map(lambda x: r * x * (1 - x) - x)


def henon(h):
    x, y = h[0] - 0.4, h[1] + 0.3
    return jnp.stack([0.4 + 1 - 1.4 * x**2 + y, -0.3 + 0.3 * x]) - h


def random_cell(kind, units, key):
    names = [n for n in kind.__dataclass_fields__ if n[0] in "Ub" or n == "c_h"]
    keys = jr.split(key, len(names))
    shapes = {name: (units, units) if name[0] == "U" else (units,) for name in names}
    return kind(
        **{n: 1.5 * jr.normal(k, shapes[n]) for n, k in zip(names, keys, strict=True)}
    )


def test_a_linear_map_has_the_logarithms_of_its_eigenvalues():
    moduli = np.array([1.2, 0.9, 0.7, 0.5, 0.3])
    matrix = np.diag(moduli) + np.triu(np.full((5, 5), 0.1), 1)
    system = cgru.Map(lambda h: matrix @ (h - PLACE) - (h - PLACE))
    got = cgru.lyapunov_exponents(system, PLACE, steps=50, transient=200, count=5)
    # After the transient the directions are in place to (0.9/1.2)^200, which is round-off.
    np.testing.assert_allclose(got.exponents, np.log(moduli), atol=1e-12)
    np.testing.assert_allclose(got.errors, 0, atol=1e-12)


def test_vectors_whose_squares_are_no_numbers_are_measured():
    system = cgru.Map(lambda h: 1e200 * (h - PLACE) - (h - PLACE))
    got = cgru.lyapunov_exponents(system, PLACE, steps=9)
    np.testing.assert_allclose(got.exponents, np.log(1e200), rtol=1e-14)  # round-off


def test_the_logistic_map_doubles_and_its_superstable_orbit_loses_everything():
    run = lambda r, x, steps: cgru.lyapunov_exponents(logistic(r), [x], steps=steps)
    chaotic = run(4.0, 0.3, 40_000)
    # A finite time gives ln 2 plus a coboundary: errors fall like 1/steps.
    assert abs(chaotic.exponents[0] - np.log(2)) < 5e-4
    assert chaotic.errors[0] < 5e-4
    superstable = run(2.0, 0.5, 40)
    assert superstable.exponents[0] == -jnp.inf
    assert superstable.state[0] == 0.5
    away = run(4.5, 0.3, 40)
    assert away.result == RESULTS.diverged
    assert jnp.isnan(away.exponents).all()


def test_the_henon_map_has_its_published_exponent_and_its_constant_volume():
    got = cgru.lyapunov_exponents(
        cgru.Map(henon), PLACE[:2] + 0.1, steps=100_000, transient=1_000, count=2
    )
    # Sprott, Chaos and Time-Series Analysis (2003): 0.41922; three standard errors.
    assert abs(got.exponents[0] - 0.41922) < 3 * got.errors[0] < 0.006
    assert abs(jnp.sum(got.exponents) - np.log(0.3)) < 1e-12  # round-off of the mean


def test_a_limit_cycle_forgets_at_the_mean_divergence_and_keeps_its_phase():
    def van_der_pol(h):
        x, y = h[0] - 0.4, h[1] + 0.3
        return jnp.stack([y, (1 - x**2) * y - x])

    # 6,663 steps of 0.02 are twenty periods, to 5e-5 of one.
    flow, start = cgru.Flow(van_der_pol), PLACE[:2] + 1
    got = cgru.lyapunov_exponents(
        flow, start, steps=6_663, transient=1_500, count=2, step=0.02
    )
    field = lambda t, u: [u[1], (1 - u[0] ** 2) * u[1] - u[0], 1 - u[0] ** 2]
    crossing = lambda t, u: u[1]
    crossing.direction = -1
    orbit = solve_ivp(
        field, (0, 40), [2, 0, 0], "DOP853", rtol=1e-12, atol=1e-12, events=crossing
    )
    (first, *_, last), (a, *_, b) = orbit.t_events[0], orbit.y_events[0]
    divergence = (b[2] - a[2]) / (last - first)
    # What is left of a lap weighs 1/20,000 of rates of the order of ten.
    np.testing.assert_allclose(got.exponents, [0, divergence], atol=1e-3)


@pytest.mark.parametrize("kind", [cgru.GRU, cgru.ResetAfterGRU, cgru.LSTM])
def test_all_exponents_of_a_network_sum_to_the_mean_logarithm_of_the_volume(kind):
    system = cgru.Map(random_cell(kind, 4, jr.key(3)))
    n, steps = system.field.size, 40
    start = jnp.linspace(-0.7, 0.9, n)
    got = cgru.lyapunov_exponents(system, start, steps=steps, count=n)
    orbit = cgru.integrate(system, start, np.arange(steps + 1)).states
    matrices = np.eye(n) + np.asarray(jax.vmap(system.jacobian)(orbit[:-1]))
    _, logs = np.linalg.slogdet(matrices)
    np.testing.assert_allclose(jnp.sum(got.exponents), logs.mean(), atol=1e-10)
    np.testing.assert_allclose(got.state, orbit[-1], atol=1e-12)
    # The same numbers from eigenvalues, as they are listed along the orbit.
    multipliers = 1 + np.asarray(cgru.jacobian_spectra(system, orbit[:-1]))
    np.testing.assert_allclose(np.log(abs(multipliers)).sum(1), logs, atol=1e-10)


def test_networks_are_batched_and_fail_alone():
    size, batch = 6, 3
    cells = eqx.filter_vmap(lambda key: random_cell(cgru.GRU, size, key))(
        jr.split(jr.key(0), batch)
    )
    start = jnp.linspace(-0.5, 0.6, size)

    @eqx.filter_vmap
    def exponents(cell):
        system = cgru.Map(cell)
        return cgru.lyapunov_exponents(system, start, steps=100, transient=30, count=2)

    bad = eqx.tree_at(lambda c: c.b_z, cells, cells.b_z.at[1, 2].set(jnp.nan))
    together, spoilt = exponents(cells), exponents(bad)
    one = jax.tree.map(lambda leaf: leaf[2], cells)
    alone = cgru.lyapunov_exponents(cgru.Map(one), start, steps=100, transient=30, count=2)
    # Not chaotic, or at most weakly, so a hundred steps keep the order of the sums.
    np.testing.assert_allclose(together.exponents[2], alone.exponents, atol=1e-8)
    failed = jax.tree.map(lambda leaf: leaf[1], spoilt)
    assert failed.result == RESULTS.nonfinite
    assert jnp.isnan(failed.exponents).all()
    keep = np.array([0, 2])
    np.testing.assert_array_equal(spoilt.exponents[keep], together.exponents[keep])


def test_fresh_systems_and_other_numbers_of_steps_compile_once(monkeypatch):
    calls, trace = [], _lyapunov._advance
    monkeypatch.setattr(
        _lyapunov, "_advance", lambda *x: (calls.append(None), trace(*x))[1]
    )
    for steps in (10, 20, 30):
        cgru.lyapunov_exponents(logistic(3.0 + steps / 40), [0.31], steps=steps)
    first = len(calls)
    cgru.lyapunov_exponents(logistic(3.9), [0.32], steps=40, transient=7)
    assert len(calls) == first <= 4  # tracings of one compilation


def test_at_an_equilibrium_the_exponent_is_the_growth_of_the_slowest_mode():
    U_h, point = jnp.array([[1.2, 0.3], [-0.4, 0.9]]), jnp.asarray(PLACE[:2])
    bias = jnp.arctanh(point) - U_h @ point / 2  # makes it one: r = 1/2
    cell = cgru.gru(U_h, b_h=bias, U_z=0.5, b_z=1.0)
    for system, step in ((cgru.Map(cell), None), (cgru.Flow(cell), 0.1)):
        growth = system.growth(jnp.linalg.eigvals(system.jacobian(point)))
        # A pair turns its tangent by an irrational angle: the mean over 4,000 steps is
        # off by a bounded part of 1/4,000; Runge–Kutta by 1e-5.
        got = cgru.lyapunov_exponents(system, point, steps=4_000, transient=200, step=step)
        np.testing.assert_allclose(got.exponents[0], growth.max(), atol=1e-3)


def test_a_state_that_is_not_finite_spoils_no_other_spectrum():
    system = cgru.Map(problems.shifted(lambda h: -0.5 * h, PLACE))
    states = jnp.stack([PLACE, jnp.full(5, jnp.nan), PLACE + 1])
    values = cgru.jacobian_spectra(system, states)
    assert jnp.isnan(values[1]).all()
    with pytest.raises(ValueError, match=r"of shape \(k, n\), with at least one state"):
        cgru.jacobian_spectra(system, states[:0])
    with pytest.raises(ValueError, match="one increment for each component"):
        cgru.jacobian_spectra(cgru.Map(lambda h: h[:1]), states)
    np.testing.assert_allclose(values[jnp.array([0, 2])], -0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number ≥ 1"),
        ({"transient": -1}, "transient must be a whole number ≥ 0"),
        ({"count": 3}, "has only 2 exponents"),
        ({"step": 0.1}, "a Map has its own steps"),
        ({"start": jnp.zeros(3)}, "must have shape"),
        ({"start": jnp.array([0.1, jnp.nan])}, "must be finite"),
        ({"system": cgru.Flow(henon)}, "a Flow needs step"),
        ({"system": cgru.Flow(henon), "step": -0.1}, "positive"),
        ({"system": cgru.Map(cgru.gru(jnp.eye(3)))}, r"must have shape \(3,\)"),
        ({"system": cgru.Map(lambda h: h[:1])}, "one increment for each component"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    given = {"system": cgru.Map(cgru.gru(jnp.eye(2))), "start": PLACE[:2], "steps": 10}
    given |= change
    with pytest.raises(ValueError, match=message):
        cgru.lyapunov_exponents(given.pop("system"), given.pop("start"), **given)
