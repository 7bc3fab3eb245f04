"""Branches and their events, against closed forms and theorems."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import EVENTS
from cgru_jax._bifurcation import _branch
from cgru_jax._results import name

EXACT = dict(rtol=1e-10, atol=1e-10)


def what(events):
    """The events of one branch as pairs (name, parameter)."""
    names = list(EVENTS._name_to_item)
    kinds = [names[k] for k in np.asarray(events.kind._value)]
    rows = zip(kinds, np.asarray(events.parameters), np.asarray(events.valid), strict=True)
    return [(kind, float(p)) for kind, p, valid in rows if valid]


def assert_events(branch, want):
    got = what(branch.events)
    assert [kind for kind, _ in got] == [kind for kind, _ in want]
    np.testing.assert_allclose([p for _, p in got], [p for _, p in want], **EXACT)


def used(branch):
    return np.asarray(branch.points)[branch.valid], np.asarray(branch.parameters)[
        branch.valid
    ]


def scalar(f):
    """A family of one dimension with its origin at x = 0.3, p = 0.7."""
    return lambda p: cgru.Flow(lambda x: f(x - 0.3, p - 0.7))


def open_gates(a):
    return lambda b: cgru.Flow(cgru.gru(2 * a, b_h=b))


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return cgru.Flow(cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]])))


def test_a_parabola_is_followed_round_its_fold():
    branch = cgru.trace_branch(
        scalar(lambda u, q: q - u**2),
        [0.3 + np.sqrt(0.3)],
        1.0,
        bounds=(-1, 2),
        direction=-1,
    )
    assert name(branch.result) == "bound"
    assert_events(branch, [("fold", 0.7)])
    x, p = used(branch)
    np.testing.assert_allclose((x[:, 0] - 0.3) ** 2, p - 0.7, **EXACT)
    np.testing.assert_allclose(
        branch.eigenvalues[branch.valid][:, 0], -2 * (x[:, 0] - 0.3), **EXACT
    )
    assert p[-1] == 2.0  # it ends on the bound, not near it
    np.testing.assert_allclose(x[-1, 0], 0.3 - np.sqrt(1.3), **EXACT)
    assert not np.asarray(branch.valid)[len(x) :].any()
    assert np.isnan(np.asarray(branch.points)[len(x) :]).all()
    # Stable above the fold, unstable below.
    assert (np.asarray(branch.unstable)[: len(x)] == (x[:, 0] < 0.3)).all()


def test_one_unit_has_the_hysteresis_of_theorem_one():
    a = 2.3
    h = np.sqrt(1 - 1 / a)
    b = np.arctanh(h) - a * h
    branch = cgru.trace_branch(open_gates(a), [-0.999], -3.0, bounds=(-3, 3))
    assert name(branch.result) == "bound"
    assert_events(branch, [("fold", -b), ("fold", b)])
    np.testing.assert_allclose(branch.events.points[:2, 0], [-h, h], **EXACT)


def test_events_and_points_carry_derivatives():
    # A fold moves with the gain by db/da = −h; dh/da at fixed b is h/(cosh² − a).
    def reading(a):
        branch = cgru.trace_branch(open_gates(a), [-0.999], -3.0, bounds=(-3, 3))
        return branch.events.parameters[1], branch.points[0, 0], branch.parameters[5]

    a = 2.3
    h = np.sqrt(1 - 1 / a)
    fold, point, parameter = jax.jit(jax.jacfwd(reading))(a)
    x = float(reading(a)[1])
    np.testing.assert_allclose(fold, -h, **EXACT)
    np.testing.assert_allclose(point, x / (np.cosh(a * x - 3) ** 2 - a), rtol=1e-9)
    assert parameter == 0


@pytest.mark.parametrize(
    ("field", "start", "direction"),
    [
        (lambda u, q: q * u - u**3, 0.3, 1),
        (lambda u, q: q * u + u**3, 0.3, 1),
        (lambda u, q: q * u - u**2, 0.3, 1),
        # Along the bent branch of a pitchfork the parameter turns, and it is no fold.
        (lambda u, q: q * u - u**3, 0.3 + np.sqrt(0.3), -1),
    ],
    ids=["super", "sub", "trans", "bent"],
)
def test_a_branch_point_is_one_event_and_no_fold(field, start, direction):
    p = 1.0 if direction < 0 else 0.0
    branch = cgru.trace_branch(
        scalar(field), [start], p, bounds=(-1, 2), direction=direction
    )
    assert name(branch.result) == "bound"
    assert_events(branch, [("branch_point", 0.7)])


def test_both_branches_leave_a_branch_point():
    family = scalar(lambda u, q: q * u - u**3)
    cross = cgru.locate_branch_point(family, [0.4], 0.6)
    for sense in (1, -1):
        branch = cgru.trace_branch(
            family, cross.point, cross.parameter, bounds=(-1, 2), direction=sense,
            along=cross.tangents[1],
        )  # fmt: skip
        x, p = used(branch)
        np.testing.assert_allclose((x[1:, 0] - 0.3) ** 2, p[1:] - 0.7, **EXACT)
        assert name(branch.result) == "bound"


def test_an_isola_is_closed():
    branch = cgru.trace_branch(
        scalar(lambda u, q: 1 - q**2 - u**2), [1.3], 0.7, bounds=(-4, 4)
    )
    assert name(branch.result) == "closed"
    assert_events(branch, [("fold", 1.7), ("fold", -0.3)])
    x, p = used(branch)
    np.testing.assert_allclose([x[0, 0], p[0]], [x[-1, 0], p[-1]], atol=1e-9)


def test_branches_that_only_come_near_are_not_mistaken_for_each_other():
    branch = cgru.trace_branch(
        scalar(lambda u, q: 1e-8 + q * u - u**3), [0.3], 0.0, bounds=(-1, 2)
    )
    x, p = used(branch)
    u, q = x[:, 0] - 0.3, p - 0.7
    np.testing.assert_allclose(1e-8 + q * u - u**3, 0, atol=1e-14)
    assert what(branch.events) == []
    assert u[-1] > 1  # the upper branch: the imperfection is positive


@pytest.mark.parametrize("gap", [1e-5, 1e-14])
def test_two_close_folds_are_both_found_or_reported(gap):
    # p = u³ − gap u: folds at u² = gap/3, apart by 4 (gap/3)^(3/2) in p.
    branch = cgru.trace_branch(
        scalar(lambda u, q: q + gap * u - u**3), [0.3 - np.cbrt(0.7)], 0.0, bounds=(-0.3, 2)
    )
    if name(branch.result) != "unresolved":
        half = 2 * (gap / 3) ** 1.5
        assert_events(branch, [("fold", 0.7 + half), ("fold", 0.7 - half)])
        assert name(branch.result) == "bound"
    else:
        assert gap < 1e-7


def test_the_origin_of_the_rotation_meets_its_hopf_point():
    branch = cgru.trace_branch(rotation, [0.0, 0.0], 0.0, bounds=(0.0, 1.5))
    assert_events(branch, [("hopf", np.arccos(2 / 3))])
    assert np.asarray(branch.unstable)[0] == 2


def test_the_eight_folds_of_the_rotation_lie_on_one_closed_branch():
    # A quarter turn maps the branch into itself; θ_c by mpmath.
    branch = cgru.trace_branch(rotation, [0.8586, 0.0], 0.0, bounds=(-1.0, 1.5))
    assert name(branch.result) == "closed"
    assert {kind for kind, _ in what(branch.events)} == {"fold"}
    got = [p for _, p in what(branch.events)]
    np.testing.assert_allclose(np.abs(got), np.full(8, 0.147822070679066), **EXACT)


def test_a_map_doubles_its_period_and_turns():
    logistic = lambda p: cgru.Map(lambda x: p * x * (1 - x) - x)
    branch = cgru.trace_branch(logistic, [0.5], 2.0, bounds=(0.5, 3.5))
    assert_events(branch, [("period_doubling", 3.0)])
    back = cgru.trace_branch(logistic, [0.5], 2.0, bounds=(0.5, 3.5), direction=-1)
    assert_events(back, [("branch_point", 1.0)])

    delayed = lambda p: cgru.Map(lambda x: jnp.stack([p * x[0] * (1 - x[1]), x[0]]) - x)
    branch = cgru.trace_branch(delayed, [1 / 3, 1 / 3], 1.5, bounds=(1.2, 2.4))
    assert_events(branch, [("neimark_sacker", 2.0)])


def test_more_dimensions_than_are_written_out():
    # The one-unit fold beside four decaying modes, seen through a fixed rotation.
    turn = jnp.linalg.qr(jr.normal(jr.key(3), (5, 5)))[0]
    gains = jnp.array([2.3, 0.5, 0.4, 0.3, 0.2])

    def family(b):
        def field(x):
            y = turn.T @ (x - 0.1)
            return turn @ (jnp.tanh(gains * y + b * (jnp.arange(5) == 0)) - y)

        return cgru.Flow(field)

    x = -0.9979  # tanh(2.3 x − 1) = x, to four digits
    branch = cgru.trace_branch(family, turn[:, 0] * x + 0.1, -1.0, bounds=(-1.5, 1.5))
    h = np.sqrt(1 - 1 / 2.3)
    b = np.arctanh(h) - 2.3 * h
    assert_events(branch, [("fold", -b), ("fold", b)])


def test_the_count_of_equilibria_changes_at_the_folds_alone():
    # Poincaré–Hopf: along a branch from bound to bound of a family whose field points
    # inwards, folds come in pairs, and the ends are stable or the counts are odd.
    a, b = jr.split(jr.key(7))
    U, R = 3 * jr.normal(a, (16, 2, 2)), 3 * jr.normal(b, (16, 2, 2))

    def one(U, R):
        family = lambda b: cgru.Flow(cgru.gru(U, R, b_h=jnp.stack([b, 0.0])))
        start = cgru.find_equilibria(family(-6.0), capacity=8).points[0]
        return cgru.trace_branch(family, start, -6.0, bounds=(-6.0, 6.0))

    branches = eqx.filter_jit(eqx.filter_vmap(one))(U, R)
    for i in range(16):
        member = jax.tree.map(lambda x, i=i: x[i], branches)
        folds = int(member.events.tally(EVENTS.fold))
        _, p = used(member)
        assert folds % 2 == (p[-1] < 6.0)
        changes = np.abs(np.diff(np.asarray(member.unstable)[: len(p)])).sum()
        assert changes == folds + 2 * int(member.events.tally(EVENTS.hopf))


def test_one_bad_member_of_a_batch_is_alone():
    trace = lambda a: cgru.trace_branch(open_gates(a), [-0.999], -3.0, bounds=(-3, 3))
    run = eqx.filter_jit(eqx.filter_vmap(trace))
    good, mixed = run(jnp.array([2.3, 2.4, 2.5])), run(jnp.array([2.3, jnp.nan, 2.5]))
    assert bool((mixed.result == cgru.RESULTS.nonfinite)[1])
    assert not mixed.valid[1].any()
    for a, b in zip(jax.tree.leaves(good), jax.tree.leaves(mixed), strict=True):
        np.testing.assert_array_equal(a[::2], b[::2])


def test_a_hundred_fresh_families_compile_once(monkeypatch):
    count = []
    inner = _branch.explained
    monkeypatch.setattr(_branch, "explained", lambda *a: count.append(1) or inner(*a))
    for a in np.linspace(2, 3, 100):
        cgru.trace_branch(
            lambda b, a=a: open_gates(a)(b - 0.125), [-0.999], -3.0, bounds=(-3, 3)
        )
    assert len(count) <= 1


def test_a_start_that_is_no_equilibrium_is_refused():
    family = open_gates(2.3)
    branch = cgru.trace_branch(family, [0.9], -3.0, bounds=(-3, 3))
    assert name(branch.result) in ("elsewhere", "not_converged")
    assert not branch.valid.any()


def test_what_does_not_fit_is_capacity():
    branch = cgru.trace_branch(open_gates(2.3), [-0.999], -3.0, bounds=(-3, 3), capacity=10)
    assert name(branch.result) == "capacity"
    assert branch.valid.all()


def test_a_branch_that_starts_on_its_last_bound_is_one_point():
    branch = cgru.trace_branch(
        open_gates(2.3), [-0.999], -3.0, bounds=(-3, 3), direction=-1
    )
    assert name(branch.result) == "bound"
    assert int(branch.valid.sum()) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(bounds=(-1, -2)), "bounds are empty"),
        (dict(bounds=(-1, -1)), "bounds are empty"),
        (dict(bounds=(0, 1)), "lies outside the bounds"),
        (dict(bounds=(-4, np.inf)), r"bounds\[1\] is inf"),
        (dict(bounds=(-4, 4), direction=2), "direction must be 1 or -1"),
        (dict(bounds=(-4, 4), capacity=1), "capacity must be"),
        (dict(bounds=(-4, 4), along=np.ones(3)), r"along must have shape \(2,\)"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        cgru.trace_branch(open_gates(2.3), [-0.999], -3.0, **options)


def test_single_precision_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="needs double precision"):
        cgru.trace_branch(
            lambda p: cgru.Flow(lambda x: p - x**2), [0.1], 0.1, bounds=(0, 1)
        )
