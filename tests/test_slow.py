"""Slow points: ghosts in closed form, the paper's figures, symmetries, derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

import cgru_jax as cgru
from cgru_jax._equilibria import _slow as engine

RESULTS = cgru.RESULTS
LINE = cgru.grid(1, 16)


def ghost(epsilon):
    """x' = ε + (x − 0.3)²: least speed ε at 0.3; from −∞ to ∞ in π/√ε."""
    return cgru.Flow(lambda x: epsilon + (x - 0.3) ** 2)


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return cgru.Flow(cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]])))


def found(slow, what="points"):
    """Values of the used slots, in the lexicographic order of the points."""
    points = np.asarray(slow.points)[np.asarray(slow.valid)]
    order = np.lexsort(np.round(points, 6).T[::-1])
    return np.asarray(getattr(slow, what))[np.asarray(slow.valid)][order]


@pytest.mark.parametrize("epsilon", [1e-2, 1e-6, 1e-12])
def test_the_ghost_of_a_saddle_node_has_its_speed_and_its_passage_time(epsilon):
    slow = cgru.find_slow_points(ghost(jnp.asarray(epsilon)), LINE)
    assert slow.count == 1
    np.testing.assert_allclose(found(slow), [[0.3]], atol=1e-15)  # round-off
    # The value of the field at the ghost is ε to the round-off of 0.3².
    np.testing.assert_allclose(found(slow, "speed"), epsilon, rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(
        found(slow, "time_constant"), np.pi / np.sqrt(epsilon), rtol=1e-12
    )
    assert slow.result == RESULTS.successful
    # Proved: nothing within a quarter of √(2 ε) at least, where the field has doubled.
    assert found(slow, "clearance")[0] > min(0.25 * np.sqrt(epsilon), 1e-3)


@pytest.mark.parametrize("epsilon", [0.0, -1e-12, -1e-6, -1e-2])
def test_at_and_past_the_saddle_node_there_are_equilibria_and_no_slow_point(epsilon):
    slow = cgru.find_slow_points(ghost(jnp.asarray(epsilon)), LINE)
    assert slow.count == 0
    assert slow.result == RESULTS.successful
    assert np.isnan(slow.points).all()
    assert np.isnan(slow.time_constant).all()


def test_a_flat_bottom_is_flagged_and_an_inflexion_is_no_minimum():
    flat = cgru.find_slow_points(cgru.Flow(lambda x: 0.1 + (x - 0.3) ** 4), LINE)
    assert flat.count == 1
    # The equations see the fourth power's derivative: a third root of round-off.
    np.testing.assert_allclose(found(flat), [[0.3]], atol=1e-5)
    np.testing.assert_allclose(found(flat, "speed"), 0.1, rtol=1e-15)
    assert flat.result == RESULTS.singular
    assert np.isnan(flat.time_constant).all()
    bent = cgru.find_slow_points(cgru.Flow(lambda x: 0.1 + (x - 0.3) ** 3), LINE)
    # Its only least speed is the zero at 0.3 − 0.1^(1/3), an equilibrium.
    assert bent.count == 0


@pytest.mark.parametrize("epsilon", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize(
    ("centre", "along"), [([0.2, -0.1], [1.0, 2.0]), ([-0.4, 0.3], [2.0, -1.0])]
)
def test_an_oblique_ghost_moves_with_its_system_and_keeps_its_time(epsilon, centre, along):
    # ξ' = ε + a ξ², η' = −λ η, with ξ and η along skew axes; once through in π/√(a ε).
    a, rate = 0.7, 3.0
    epsilon, centre, axes = (
        jnp.array(epsilon),
        jnp.array(centre),
        jnp.array([along, [-1.0, 1.0]]).T,
    )
    inverse = jnp.linalg.inv(axes)

    def field(x):
        xi, eta = inverse @ (x - centre)
        return axes @ jnp.stack([epsilon + a * xi**2, -rate * eta])

    slow = cgru.find_slow_points(cgru.Flow(field), cgru.grid(2, 6))
    assert slow.count == 1
    # |F| is least beside η = 0, by O(ε), where only the part of ε axis_ξ that lies across
    # the fast axis is left.
    np.testing.assert_allclose(found(slow)[0], centre, atol=2 * epsilon)
    fast = axes[:, 1] / jnp.linalg.norm(axes[:, 1])
    across = axes[:, 0] - (axes[:, 0] @ fast) * fast
    np.testing.assert_allclose(
        found(slow, "speed"), epsilon * jnp.linalg.norm(across), rtol=1e-10
    )
    # The reduced flow is ε + a ξ² at the minimum too; round-off counts against ε.
    np.testing.assert_allclose(
        found(slow, "time_constant"), np.pi / np.sqrt(a * epsilon), rtol=1e-15 / epsilon
    )
    assert (found(slow, "clearance") > 0.01 * np.sqrt(epsilon)).all()


def test_figure_7_has_one_slow_point_near_the_origin():
    slow = cgru.find_slow_points(cgru.Flow(cgru.ATLAS["7"].cell()))
    assert slow.count == 1
    assert np.linalg.norm(found(slow)[0]) < 0.01
    assert found(slow, "clearance")[0] > 1e-3

    def speed(h):
        h = np.asarray(h)
        r = 1 / (1 + np.exp(-100 * h.sum()))
        return np.hypot(*(np.tanh(2 * r * h.sum() + [0.01, 0]) - h)) / 2

    # An independent minimiser without derivatives; its tolerance on a quadratic bottom.
    options = {"xatol": 1e-10, "fatol": 1e-16}
    least = optimize.minimize(speed, [0, 0], method="Nelder-Mead", options=options)
    np.testing.assert_allclose(found(slow, "speed"), least.fun, rtol=1e-10)
    np.testing.assert_allclose(found(slow)[0], least.x, atol=1e-7)


def test_figure_5c_has_four_slow_points_at_once_a_quarter_turn_apart():
    slow = cgru.find_slow_points(rotation(jnp.pi / 21))
    assert slow.count == 4
    points = found(slow)
    turned = points @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = turned[np.lexsort(np.round(turned, 6).T[::-1])]
    # Equal by symmetry, to the round-off of a point over its curvature.
    np.testing.assert_allclose(points, turned, atol=1e-13)
    for what in ("speed", "time_constant"):
        np.testing.assert_allclose(
            found(slow, what), found(slow, what).mean(), rtol=1e-10, err_msg=what
        )
    assert (found(slow, "clearance") > 1e-3).all()


def test_four_passages_make_a_period_as_the_cycle_ends():
    # Four equal saddle-nodes at θ_c, h: period · √(θ − θ_c) → 4 π / √(a b), with a and b
    # the coefficients of the normal form, here by hand from U = 3 R(θ), z = r = 1/2.
    def turned(theta):
        return 1.5 * np.array(
            [[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]]
        )

    def at_fold(unknown):
        h, U = unknown[:2], turned(unknown[2])
        t = np.tanh(U @ h)
        jacobian = (1 - t**2)[:, None] * U - np.eye(2)
        return [*(t - h), np.linalg.det(jacobian)]

    *h, theta_c = optimize.fsolve(at_fold, [0.55, 0.85, 0.15], xtol=1e-13)
    h, U = np.array(h), turned(theta_c)
    u, _, v = np.linalg.svd((1 - h**2)[:, None] * U - np.eye(2))
    right, left = v[1], u[:, 1] / (u[:, 1] @ v[1])
    a = left @ ((1 - h**2) * (turned(theta_c + np.pi / 2) @ h)) / 2
    b = left @ (-2 * h * (1 - h**2) * (U @ right) ** 2) / 4
    for d in (1e-5, 1e-4):
        slow = cgru.find_slow_points(rotation(theta_c + d))
        lap = 4 * found(slow, "time_constant").mean()
        # What is left of the normal form's law is linear in the distance.
        np.testing.assert_allclose(lap * np.sqrt(d), 4 * np.pi / np.sqrt(a * b), rtol=d)


def test_as_printed_figure_6_has_no_slow_point():
    assert cgru.find_slow_points(cgru.Flow(cgru.ATLAS["6"].cell())).count == 0


def test_equilibria_are_never_among_the_slow_points():
    for name in ("2", "3a", "3b", "4a", "4b", "iv", "xv", "xviii", "xxxiii", "3c"):
        system = cgru.Flow(cgru.ATLAS[name].cell())
        equilibria = np.asarray(cgru.find_equilibria(system).points)
        for point in found(cgru.find_slow_points(system)):
            assert np.nanmin(np.abs(equilibria - point).max(axis=1)) > 1e-3


def test_permuting_the_units_permutes_the_slow_points():
    plain = cgru.ATLAS["xxi"].cell()
    swapped = jax.tree.map(lambda x: x[::-1, ::-1] if x.ndim == 2 else x[::-1], plain)
    a, b = (cgru.find_slow_points(cgru.Flow(cell)) for cell in (plain, swapped))
    assert a.count == 1
    # Round-off over the curvature of a speed of 1e-3.
    np.testing.assert_allclose(found(b), found(a)[:, ::-1], atol=1e-12)


def test_the_update_gate_counts():
    # With equal gates ½ → z the speed is scaled and the time too; nothing moves.
    U = rotation(jnp.pi / 21).field.U_h
    half, slower = (cgru.find_slow_points(cgru.Flow(cgru.gru(U, b_z=b))) for b in (0, -2))
    factor = 2 / (1 + np.exp(2))
    np.testing.assert_allclose(found(slower), found(half), atol=1e-12)
    np.testing.assert_allclose(found(slower, "speed"), factor * found(half, "speed"))
    np.testing.assert_allclose(
        found(slower, "time_constant"), found(half, "time_constant") / factor, rtol=1e-9
    )


def test_derivatives_of_a_ghost_match_its_closed_form():
    # x' = ε + x² + b x, moved: least speed ε − b²/4 at −b/2, time π over its root.
    def ghost(p):
        field = lambda x: p[0] + (x - 0.3) ** 2 + p[1] * (x - 0.3)
        slow = cgru.find_slow_points(cgru.Flow(field), LINE, capacity=4)
        columns = jnp.stack([slow.points[:, 0], slow.speed, slow.time_constant])
        return jnp.sum(jnp.where(slow.valid, columns, 0), axis=1)

    p, d = jnp.array([0.04, 0.1]), 0.04 - 0.1**2 / 4
    np.testing.assert_allclose(ghost(p), [0.25, d, np.pi / d**0.5], rtol=1e-12)
    slopes = [
        [0, -1 / 2],
        [1, -0.1 / 2],
        [-np.pi / 2 / d**1.5, np.pi / 4 * 0.1 / d**1.5],
    ]
    np.testing.assert_allclose(jax.jacrev(ghost)(p), slopes, rtol=1e-11, atol=1e-13)
    curved = jax.grad(lambda e: jax.jacfwd(ghost)(p.at[0].set(e))[2, 0])(p[0])
    np.testing.assert_allclose(curved, 3 * np.pi / 4 / d**2.5, rtol=1e-10)


def test_the_derivative_of_figure_7s_speed_is_the_explicit_one():
    # At a minimum of the speed it moves with the parameter only: d|F|/db = w · ∂F/∂b.
    def system(b):
        ones = jnp.ones((2, 2))
        return cgru.Flow(cgru.gru(2 * ones, 100 * ones, b_h=jnp.stack([b, 0.0])))

    def speed(b):
        return jnp.nansum(cgru.find_slow_points(system(b)).speed)

    point = jnp.asarray(found(cgru.find_slow_points(system(0.01)))[0])
    value, explicit = jax.jvp(lambda b: system(b).residual(point), (0.01,), (1.0,))
    expected = jnp.vdot(value, explicit) / jnp.linalg.norm(value)
    np.testing.assert_allclose(jax.grad(speed)(0.01), expected, rtol=1e-10)


def test_a_batch_is_a_loop_and_a_bad_member_stays_alone():
    epsilons = jnp.array([1e-2, -1e-2, jnp.nan, 1e-4])
    many = eqx.filter_vmap(lambda e: cgru.find_slow_points(ghost(e), LINE))(epsilons)
    np.testing.assert_array_equal(many.count, [1, 0, 0, 1])
    names = [RESULTS.successful, RESULTS.successful, RESULTS.nonfinite, RESULTS.successful]
    for i, expected in enumerate(names):
        member = jax.tree.map(lambda x, i=i: x[i], many)
        assert member.result == expected
        if i != 2:
            alone = cgru.find_slow_points(ghost(epsilons[i]), LINE)
            np.testing.assert_allclose(member.points, alone.points, rtol=1e-14)


def test_fresh_lambdas_compile_once():
    before = engine._find._cached._cache_size()
    for i in range(20):
        e = jnp.asarray(0.01 + 0.001 * i)
        cgru.find_slow_points(cgru.Flow(lambda x, e=e: e + jnp.cos(3 * x) ** 2), LINE)
    assert engine._find._cached._cache_size() - before == 1


def test_a_field_without_interval_rules_is_searched_and_nothing_is_proved():
    slow = cgru.find_slow_points(cgru.Flow(lambda x: 0.1 + jnp.arctan(x - 0.3) ** 2), LINE)
    assert slow.count == 1
    np.testing.assert_allclose(found(slow), [[0.3]], atol=1e-15)
    assert found(slow, "clearance") == 0


def test_single_precision_is_searched_and_nothing_is_proved():
    epsilon = jnp.asarray(1e-2, jnp.float32)
    field = cgru.Flow(lambda x: epsilon + (x - jnp.float32(0.3)) ** 2)
    with jax.enable_x64(False):
        slow = cgru.find_slow_points(field, np.linspace(-1, 1, 16, dtype="f4")[:, None])
    assert slow.count == 1
    np.testing.assert_allclose(found(slow, "time_constant"), 10 * np.pi, rtol=1e-5)
    assert found(slow, "clearance") == 0


def test_more_slow_points_than_slots_are_reported():
    wave = cgru.Flow(lambda x: 0.1 + jnp.cos(9 * x - 1) ** 2)  # six within [−1, 1]
    slow = cgru.find_slow_points(wave, LINE, capacity=3)
    assert slow.count == 3
    assert slow.result == RESULTS.capacity


def test_bad_input_is_refused():
    flow = cgru.Flow(cgru.gru(jnp.eye(2)))
    with pytest.raises(ValueError, match=r"\(2,\)"):
        cgru.find_slow_points(flow, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"\(s, 2\).*\(4, 3\)"):
        cgru.find_slow_points(flow, jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="capacity"):
        cgru.find_slow_points(flow, capacity=0)
    with pytest.raises(ValueError, match="starts"):
        cgru.find_slow_points(ghost(0.1))
