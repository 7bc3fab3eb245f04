"""Cycles against closed forms, Taylor series of thirty digits, and central differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import KINDS, RESULTS
from cgru_jax._cycles import _find, _moving
from cgru_jax._results import name

CENTRE = np.array([0.3, -0.2])
EXACT = dict(rtol=1e-10, atol=1e-12)


def names(enumeration, item):
    every = list(enumeration._name_to_item)
    return [every[k] for k in np.ravel(item._value)]


def ring(p, w, s):
    """In polar coordinates about CENTRE: r' = r (p + s r²), φ' = w."""

    def field(h):
        x, y = h - CENTRE
        grow = p + s * (x * x + y * y)
        return jnp.stack([grow * x - w * y, grow * y + w * x])

    return cgru.Flow(field)


def van_der_pol(mu):
    def field(h):
        x, y = h - CENTRE
        return jnp.stack([y, mu * (1 - x * x) * y - x])

    return cgru.Flow(field)


def adler(p):
    """In polar coordinates about CENTRE: r' = r (1 − r²), φ' = p − sin φ."""

    def field(h):
        x, y = h - CENTRE
        r = jnp.sqrt(x * x + y * y)
        grow, turn = 1 - r * r, p - y / r
        return jnp.stack([grow * x - turn * y, grow * y + turn * x])

    return cgru.Flow(field)


MIX = np.array([[1.0, 0.3, -0.2], [0.1, 1.0, 0.4], [0.5, -0.2, 1.0]])
MIDDLE = np.array([0.3, -0.2, 0.5])


def mixed(c, sign=1.0):
    """The ring with p = 1/2 and a third direction z' = c z, in oblique coordinates."""
    inverse = np.linalg.inv(MIX)

    def field(h):
        x, y, z = inverse @ (h - MIDDLE)
        grow = 0.5 - (x * x + y * y)
        return sign * MIX @ jnp.stack([grow * x - y, grow * y + x, c * z])

    return cgru.Flow(field)


def at(x, y):
    return CENTRE + np.array([x, y])


@pytest.mark.parametrize(
    ("p", "w", "guess"), [(0.5, 1.0, 6.0), (0.04, 1.7, 3.5), (0.5, 1, 4.5), (0.5, 1, 8.1)]
)
def test_a_ring_is_found_with_period_extremes_and_multiplier(p, w, guess):
    cycle = cgru.find_cycle(ring(p, w, -1.0), at(0.5, 0.1), guess)
    assert name(cycle.result) == "successful"
    assert name(cycle.kind) == "sink"
    np.testing.assert_allclose(cycle.period, 2 * np.pi / w, **EXACT)
    np.testing.assert_allclose(cycle.high, CENTRE + np.sqrt(p), **EXACT)
    np.testing.assert_allclose(cycle.low, CENTRE - np.sqrt(p), **EXACT)
    multiplier = np.exp(-2 * p * 2 * np.pi / w)
    np.testing.assert_allclose(cycle.multipliers, [1, multiplier], **EXACT)
    np.testing.assert_allclose(cycle.exponents, [0, -2 * p], **EXACT)
    radii = np.linalg.norm(cycle.points - CENTRE, axis=1)
    np.testing.assert_allclose(radii, np.sqrt(p), **EXACT)
    # The points lie where the times say.
    turns = np.unwrap(np.arctan2(*(np.asarray(cycle.points) - CENTRE).T[::-1]))
    np.testing.assert_allclose(turns - turns[0], w * cycle.times, **EXACT)
    assert cycle.trivial_error < 1e-12  # a ring is all alike: round-off


@pytest.mark.parametrize(
    ("p", "near", "guess", "why"),
    [
        (0.5, (0, 0), 6.0, "no_cycle"),
        (-0.5, (0.5, 0.1), 6.0, "no_cycle"),
        (0.5, (0.5, 0.1), 4 * np.pi, "multiple"),
        (0.5, (0.5, 0.1), 20.0, "multiple"),
        (0.5, (0.5, 0.1), np.pi, "not_converged elsewhere"),
    ],
    ids=["at an equilibrium", "none there", "two laps", "three laps", "half a lap"],
)
def test_what_is_no_cycle_of_that_period_is_refused(p, near, guess, why):
    cycle = cgru.find_cycle(ring(p, 1.0, -1.0), at(*near), guess)
    assert name(cycle.result) in why.split()
    assert name(cycle.kind) == "unknown"
    for value in (cycle.points, cycle.period, cycle.multipliers, cycle.exponents):
        assert np.isnan(value).all()


def test_fresh_systems_compile_once(monkeypatch):
    count = []
    inner = _find._follow
    monkeypatch.setattr(_find, "_follow", lambda *a: count.append(1) or inner(*a))
    for w in np.linspace(0.9, 1.1, 100):
        cycle = cgru.find_cycle(ring(0.5, w, -1.0), at(0.5, 0.1), 6.0)
        np.testing.assert_allclose(cycle.period, 2 * np.pi / w, **EXACT)
    assert len(count) <= 1  # none, if another test came first


STEP = 1e-4


@pytest.fixture(scope="module")
def relaxing():
    """Van der Pol cycles and their derivatives, compiled once."""
    mus = jnp.array([1.0, 2.0, 1.3, 1.3 + STEP, 1.3 - STEP, jnp.nan])

    def read(mu):
        cycle = cgru.find_cycle(van_der_pol(mu), at(2.0, 0.0), 7.0)
        logs = cycle.exponents[1] * cycle.period
        return jnp.stack([cycle.period, cycle.high[0], cycle.high[1], logs]), cycle

    def with_slope(mu):
        values, slopes, cycle = jax.jvp(read, (mu,), (1.0,), has_aux=True)
        return values, slopes, cycle

    return jax.jit(jax.vmap(with_slope))(mus)


@pytest.mark.parametrize(
    ("row", "period", "multiplier", "amplitude"),
    [
        (0, 6.66328685932313, 0.000859695063603805, 2.00861986087484),
        (1, 7.62987447967484, 1.27384930443941e-8, 2.01989138466714),
    ],
)
def test_van_der_pol_agrees_with_thirty_digits(
    relaxing, row, period, multiplier, amplitude
):
    _, _, cycle = relaxing
    np.testing.assert_allclose(cycle.period[row], period, rtol=1e-10)
    np.testing.assert_allclose(cycle.high[row, 0] - CENTRE[0], amplitude, rtol=1e-10)
    # Relative in the multiplier is absolute in its logarithm, an integral of size 18.
    np.testing.assert_allclose(cycle.multipliers[row, 1], multiplier, rtol=1e-9)
    assert names(RESULTS, cycle.result)[row] == "successful"


def test_derivatives_agree_with_central_differences(relaxing):
    values, slopes, _ = relaxing
    central = (values[3] - values[4]) / (2 * STEP)
    # Their error is a sixth of the third derivative times STEP², 1e-8.
    np.testing.assert_allclose(slopes[2], central, rtol=1e-6)


def test_a_bad_member_fails_alone(relaxing):
    _, _, cycle = relaxing
    assert names(RESULTS, cycle.result) == ["successful"] * 5 + ["nonfinite"]
    assert np.isnan(cycle.period[5])
    assert np.isfinite(cycle.points[:5]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(system=cgru.Map(lambda h: -h)), "k-th iterate"),
        (dict(near=[0.5]), "n ≥ 2"),
        (dict(near=[0.5, np.inf]), "finite"),
        (dict(period=-1.0), "positive"),
        (dict(period=np.array([6.0, 6.0])), "positive"),
        (dict(intervals=31), "even"),
        (dict(laps=-1), "laps"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    given = dict(system=ring(0.5, 1.0, -1.0), near=[0.5, 0.1], period=6.0) | change
    with pytest.raises(ValueError, match=message):
        cgru.find_cycle(**given)


def test_single_precision_is_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="double precision"):
        cgru.find_cycle(ring(0.5, 1.0, -1.0), [0.5, 0.1], 6.0)


@pytest.mark.slow
def test_a_cycle_near_its_saddle_node_and_how_its_period_moves():
    p = np.array([1.01, 1.0001])
    find = lambda p, guess: cgru.find_cycle(adler(p), at(1.1, 0.0), guess)
    slope = jax.value_and_grad(lambda *a: (lambda c: (c.period, c))(find(*a)), has_aux=True)
    (period, cycle), slope = jax.jit(jax.vmap(slope))(p, np.array([40.0, 400.0]))
    exact = 2 * np.pi / np.sqrt(p**2 - 1)
    np.testing.assert_allclose(period, exact, rtol=1e-9)
    np.testing.assert_allclose(slope, -exact * p / (p**2 - 1), rtol=1e-8)
    np.testing.assert_allclose(cycle.exponents[:, 1], -2, rtol=1e-9)
    assert cycle.multipliers[1, 1] == 0  # e^(−889) is no number, its logarithm is
    assert names(KINDS, cycle.kind) == ["sink"] * 2


@pytest.mark.slow
def test_three_dimensions_with_multipliers_of_every_size():
    # The third direction decays, decays beyond all digits, or grows: a saddle, near which
    # a point must lie.
    c = np.array([-0.2, -20.0, 0.3])
    near = MIDDLE + MIX @ [np.sqrt(0.5), 0, 0] + 1e-3
    find = lambda c: cgru.find_cycle(mixed(c), near, 6.0, laps=0)
    cycle = eqx.filter_jit(eqx.filter_vmap(find))(c)
    np.testing.assert_allclose(cycle.period, 2 * np.pi, **EXACT)
    exact = [[0, -0.2, -1.0], [0, -1.0, -20.0], [0, 0.3, -1.0]]
    np.testing.assert_allclose(cycle.exponents, exact, **EXACT)
    np.testing.assert_allclose(cycle.multipliers[:, 0], 1)
    assert names(KINDS, cycle.kind) == ["sink", "sink", "saddle"]


@pytest.mark.slow
def test_backwards_and_on_a_coarse_mesh():
    # Time runs backwards: the same cycle repels.
    def find(mu, guess):
        flow = cgru.Flow(lambda h: -van_der_pol(mu).field(h))
        return cgru.find_cycle(flow, at(2.0, 0.0), guess, stable=False, intervals=32)

    cycle = find(1.0, 6.0)
    assert name(cycle.kind) == "source"
    # What 32 intervals can give.
    np.testing.assert_allclose(cycle.period, 6.66328685932313, rtol=1e-6)
    np.testing.assert_allclose(cycle.multipliers[1], 1 / 0.000859695063603805, rtol=1e-5)
    # The jumps of a relaxation oscillation need more: no verdict, and no wrong one.
    coarse = find(5.0, 12.0)
    assert name(coarse.result) == "coarse"
    assert name(coarse.kind) == "unknown"
    np.testing.assert_allclose(coarse.period, 11.612230668, rtol=1e-3)


def bautin(p2):
    """In polar coordinates about CENTRE: r' = r ((p₁ − 2) + (p₂ + 3) r² − r⁴), φ' = 1."""

    def family(p1):
        def field(h):
            x, y = h - CENTRE
            r2 = x * x + y * y
            grow = (p1 - 2) + (p2 + 3) * r2 - r2 * r2
            return jnp.stack([grow * x - y, grow * y + x])

        return cgru.Flow(field)

    return family


def test_the_sparse_derivative_of_a_cycle_is_the_whole_one():
    # At a place that is no cycle, in three dimensions, where every entry counts.
    weights = jnp.cos(jnp.arange(12.0)).reshape(3, 4)
    view = jnp.array([0.6, 0.0, 0.8])
    field = lambda _, u: jnp.tanh(weights @ u)
    unknown = jnp.sin(jnp.arange(8 * 3 + 3) ** 2 + 0.3)

    @jax.jit
    def both(u):
        equations = lambda u: _moving.equations(field, None, view, u)
        whole = jnp.append(jax.jacfwd(equations)(u), equations(u)[:, None], axis=1)
        return _moving.linear(field, None, view, u), whole

    sparse, whole = both(unknown)
    np.testing.assert_allclose(sparse, whole, rtol=1e-12, atol=1e-12)  # round-off


@pytest.fixture(scope="module")
def outer():
    return cgru.find_cycle(bautin(-2.0)(1.8), at(1.2, 0.0), 6.0)


@pytest.mark.slow
def test_a_fold_of_cycles_and_how_it_moves(outer):
    # p₁ = 2 − (p₂ + 3)²/4 at r² = (p₂ + 3)/2.
    def place(p2):
        fold = cgru.locate_cycle_fold(bautin(p2), outer, 1.8, intervals=16)
        return fold.parameter, fold

    slope = lambda p2: jax.jvp(place, (p2,), (1.0,), has_aux=True)
    value, slope, fold = eqx.filter_jit(slope)(-2.0)
    assert name(fold.result) == "successful"
    np.testing.assert_allclose(value, 1.75, **EXACT)
    np.testing.assert_allclose(slope, -0.5, rtol=1e-8)
    np.testing.assert_allclose(fold.period, 2 * np.pi, **EXACT)
    np.testing.assert_allclose(fold.high - CENTRE, np.sqrt(0.5), **EXACT)


@pytest.mark.slow
def test_a_branch_of_cycles_round_its_fold_to_its_birth(outer):
    branch = cgru.trace_cycles(
        bautin(-2.0), outer, 1.8, bounds=(1.5, 2.2), direction=-1, intervals=16
    )
    # Born at p₁ = 2, unstable; what is left of the length is 1 % of the start's.
    assert name(branch.result) == "shrunk"
    p, cycles = branch.parameters[branch.valid], branch.cycles
    r = cycles.high[branch.valid, 0] - CENTRE[0]
    np.testing.assert_allclose((p - 2) + r**2 - r**4, 0, atol=1e-10)
    assert abs(p[-1] - 2) < 1e-3  # r²
    logs = (cycles.exponents[:, 1] * cycles.period)[branch.valid]
    np.testing.assert_allclose(logs, 2 * np.pi * (2 * r**2 - 4 * r**4), atol=1e-9)
    np.testing.assert_array_equal(branch.unstable[branch.valid], r < np.sqrt(0.5))
    # One event on the way, the fold.
    assert names(cgru.EVENTS, branch.events.kind)[:2] == ["fold", "none"]
    np.testing.assert_allclose(branch.events.parameters[0], 1.75, **EXACT)
    np.testing.assert_allclose(branch.at_events.period[0], 2 * np.pi, **EXACT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(bounds=(2.0, 3.0)), "outside the bounds"),
        (dict(bounds=(2.0, 1.0)), "empty"),
        (dict(intervals=15), "even"),
        (dict(longest=1.0), "has period"),
        (dict(family=lambda p: cgru.Map(bautin(-2.0)(p).field)), "not a Flow"),
    ],
)
def test_what_does_not_fit_a_branch_is_named(change, message):
    cycle = cgru.find_cycle(ring(0.5, 1.0, -1.0), at(0.5, 0.1), 6.0)
    given = dict(family=bautin(-2.0), cycle=cycle, parameter=1.8, bounds=(1.5, 2.2))
    with pytest.raises(ValueError, match=message):
        cgru.trace_cycles(**(given | change))


PLANE = np.linalg.norm(MIX[:, :2], axis=1)


def layered(middle, cubic, quartic):
    """In oblique polar coordinates about MIDDLE, with x = r² − middle, and beside it:
    r' = r (p₁ + p₂ x − cubic x³ − quartic r⁴), φ' = 1 + p₁ / 5, z' = −0.3 z."""
    middle, cubic, quartic = map(jnp.asarray, (middle, cubic, quartic))

    def family(p):
        def field(h):
            x, y, z = np.linalg.inv(MIX) @ (h - MIDDLE)
            q = x * x + y * y
            off = q - middle
            grow = p[0] + p[1] * off - cubic * off**3 - quartic * q * q
            turn = 1 + p[0] / 5
            return MIX @ jnp.stack([grow * x - turn * y, grow * y + turn * x, -0.3 * z])

        return cgru.Flow(field)

    return family


def ellipse(radius, period, multipliers=(1, 1, 1)):
    angle = 2 * np.pi * np.arange(100) / 100
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = jnp.asarray(MIDDLE + circle @ MIX[:, :2].T)
    multipliers = jnp.asarray(multipliers, complex)
    return cgru.Cycle(
        points=points,
        times=jnp.arange(100) / 100 * period,
        period=jnp.asarray(period),
        low=jnp.min(points, axis=0),
        high=jnp.max(points, axis=0),
        multipliers=multipliers,
        exponents=jnp.log(jnp.abs(multipliers)) / period,
        trivial_error=jnp.zeros(()),
        kind=KINDS.unknown,
        result=RESULTS.successful,
    )


@pytest.mark.slow
def test_curves_of_cycle_folds_run_through_a_cusp_and_end_at_a_generalised_hopf_point():
    # x³ − p₂ x − p₁ has a double zero c where p₂ = 3c² and p₁ = −2c³.
    c = -0.18
    p = [-2 * c**3, 3 * c * c]
    cycle = ellipse(np.sqrt(1 + c), 2 * np.pi / (1 + p[0] / 5))
    limits = [-0.06, -0.6], [0.06, 0.12]
    setting = dict(bounds=limits, direction=-1, capacity=80, intervals=16)
    curve = cgru.trace_cycle_fold_curve(layered(1.0, 1.0, 0.0), cycle, p, **setting)
    assert name(curve.result) == "bound"
    used = np.asarray(curve.valid)
    first, second = np.asarray(curve.parameters)[used].T
    along = -np.cbrt(first / 2)
    # Round-off, of the parameters and of a root that is taken three times.
    np.testing.assert_allclose(second, 3 * along**2, atol=1e-9)
    assert along[0] < -0.17
    assert along[-1] > 0.19
    sizes = np.asarray(curve.cycles.high - curve.cycles.low)[used]
    np.testing.assert_allclose(sizes, 2 * PLANE * np.sqrt(1 + along)[:, None], rtol=1e-9)
    # The three cycles meet once.
    bent = np.asarray(curve.coefficient)[used]
    assert np.all(np.sign(bent) == np.sign(bent[-1]) * np.sign(along))
    assert np.all(np.asarray(curve.angle)[used] == 0)

    # r⁴ − p₂ r² − p₁ has a double zero where p₁ = −p₂² / 4, down to r = 0.
    cycle = ellipse(np.sqrt(0.05), 2 * np.pi / (1 - 0.0025 / 5))
    curve = cgru.trace_cycle_fold_curve(
        layered(0.0, 0.0, 1.0), cycle, [-0.0025, 0.1], **setting | {"direction": 1}
    )
    assert name(curve.result) == "shrunk"
    first, second = np.asarray(curve.parameters)[np.asarray(curve.valid)].T
    np.testing.assert_allclose(first, -(second**2) / 4, atol=1e-12)
    assert second[-1] < 2e-3

    # A cycle that was not found, and one that is no fold.
    lost = jax.tree.map(lambda x: x * np.nan if eqx.is_inexact_array(x) else x, cycle)
    for start, why in ((lost, "nonfinite"), (ellipse(0.3, 7.0), "not_converged")):
        curve = cgru.trace_cycle_fold_curve(
            layered(0.0, 0.0, 1.0), start, [-0.0025, 0.1], **setting
        )
        assert name(curve.result) == why
        assert np.isnan(curve.parameters).all()


def ribbon(apart, twist):
    """About a circle in oblique coordinates, with u = ((r² − 1) / 2, z) and φ' = 1:
    u' = (p₁ + p₂² / 2 − |u|²) u + apart M(φ) u + (twist + p₂ / 2 if apart is 0) J u, where
    M mirrors at an axis that turns half as fast as φ, and J turns.

    In a frame with that axis, for twist = 1/2, u is multiplied in each lap by −e^{2π(p₁ +
    p₂²/2 ± apart)}; without the mirror by e^{2π(p₁ + p₂²/2)} and turned by 2π (twist + …).
    """
    bend = 0.5 * (apart == 0)
    apart, twist, bend = map(jnp.asarray, (apart, twist, bend))

    def family(p):
        def field(h):
            x, y, z = np.linalg.inv(MIX) @ (h - MIDDLE)
            # A polynomial, which is quick to compile: r² times u' differs by u² only, and
            # so does r from 1.
            u = (x * x + y * y - 1) / 2
            grow = p[0] + p[1] ** 2 / 2 - u * u - z * z
            turn = twist + bend * p[1]
            out = (grow + apart * x) * u + (apart * y - turn) * z
            up = (apart * y + turn) * u + (grow - apart * x) * z
            return MIX @ jnp.stack([out * x - y, out * y + x, up])

        return cgru.Flow(field)

    return family


@pytest.mark.slow
def test_curves_of_doublings_and_tori_are_where_the_multipliers_say():
    limits = dict(bounds=([-0.5, -0.45], [1.0, 0.45]), capacity=100, intervals=16)
    curve = cgru.trace_cycle_doubling_curve(
        ribbon(0.3, 0.5), ellipse(1.0, 2 * np.pi), [-0.3, 0.0], **limits
    )
    assert name(curve.result) == "bound"
    first, second = np.asarray(curve.parameters)[np.asarray(curve.valid)].T
    np.testing.assert_allclose(first + second**2 / 2, -0.3, atol=1e-10)
    assert np.abs(second[-1]) == 0.45

    # The angle falls to where the pair meets at 1.
    pair = np.exp(0.3j * np.pi * np.array([1, -1]))
    curve = cgru.trace_cycle_torus_curve(
        ribbon(0.0, 0.2), ellipse(1.0, 2 * np.pi, [1, *pair]), [-0.005, -0.1],
        direction=-1, **limits,
    )  # fmt: skip
    assert name(curve.result) == "resonance"
    used = np.asarray(curve.valid)
    first, second = np.asarray(curve.parameters)[used].T
    np.testing.assert_allclose(first + second**2 / 2, 0, atol=1e-10)
    angle = np.asarray(curve.angle)[used]
    # Two of its equations differ by its sine, down to 0.02.
    np.testing.assert_allclose(angle, 2 * np.pi * (0.2 + second / 2), atol=1e-8)
    assert angle[-1] == 0.02
    np.testing.assert_allclose(curve.cycles.period[used], 2 * np.pi, **EXACT)
    real = cgru.trace_cycle_torus_curve(
        ribbon(0.0, 0.2), ellipse(1.0, 2 * np.pi), [0.0, 0.0], direction=-1, **limits
    )
    assert name(real.result) == "wrong_kind"


@pytest.mark.slow
def test_a_branch_in_space_doubles_its_period_twice_and_has_no_torus_between():
    # Multipliers −e^{2π(p ± 0.3)}: where their product is 1 they are real.
    family = lambda p: ribbon(0.3, 0.5)(jnp.stack([p, 0.0]))
    branch = cgru.trace_cycles(
        family,
        ellipse(1.0, 2 * np.pi),
        -0.5,
        bounds=(-0.6, 0.4),
        capacity=100,
        intervals=16,
    )
    assert name(branch.result) == "bound"
    events = np.asarray(branch.events.valid)
    found = np.asarray(names(cgru.EVENTS, branch.events.kind))[events]
    assert found.tolist() == ["period_doubling"] * 2
    np.testing.assert_allclose(branch.events.parameters[events], [-0.3, 0.3], **EXACT)


def test_no_cycle_in_the_plane_doubles_its_period():
    cycle = cgru.find_cycle(ring(0.5, 1.0, -1.0), at(0.5, 0.1), 6.0)
    family = lambda p: bautin(p[0])(p[1])
    with pytest.raises(ValueError, match="three dimensions"):
        cgru.trace_cycle_doubling_curve(
            family, cycle, [0.0, 0.0], bounds=([-1, -1], [1, 1])
        )
