"""Sectors: normal forms with known ones, the paper's degenerate origins, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import cgru_jax as cgru
from cgru_jax._rodas import rodas

RESULTS = cgru.RESULTS
CENTRE = np.array([0.3, -0.2])
SKEW = np.array([[1.0, 0.6], [-0.2, 0.8]])

# Normal forms by their terms coefficient · x^i y^j of both components, with what textbooks
# say of them: elliptic, hyperbolic, parabolic sectors.
FORMS = {
    "saddle": ({(1, 0): 1}, {(0, 1): -1}, (0, 4, 0)),
    "saddle with rates 1 and 5": ({(1, 0): 1}, {(0, 1): -5}, (0, 4, 0)),
    "node": ({(1, 0): -1}, {(0, 1): -2}, (0, 0, 1)),
    "star": ({(1, 0): 1}, {(0, 1): 1}, (0, 0, 1)),
    "focus": ({(1, 0): -0.2, (0, 1): -1}, {(1, 0): 1, (0, 1): -0.2}, (0, 0, 0)),
    "centre": ({(0, 1): -1}, {(1, 0): 1}, (0, 0, 0)),
    "saddle-node, first kind": ({(2, 0): 1}, {(0, 1): -1}, (0, 2, 1)),
    "saddle-node, second kind": ({(2, 0): 1}, {(0, 1): 1}, (0, 2, 1)),
    "semi-hyperbolic saddle": ({(3, 0): 1}, {(0, 1): -1}, (0, 4, 0)),
    "cusp": ({(0, 1): 1}, {(2, 0): 1}, (0, 2, 0)),
    "nilpotent saddle": ({(0, 1): 1}, {(3, 0): 1}, (0, 4, 0)),
    "nilpotent centre": ({(0, 1): 1}, {(3, 0): -1}, (0, 0, 0)),
    # y'' = −x³ + b x y has an elliptic sector if b² > 8 and turns around if b² < 8.
    "nilpotent, b = 4": ({(0, 1): 1}, {(3, 0): -1, (1, 1): 4}, (1, 1, 0)),
    "nilpotent, b = 1": ({(0, 1): 1}, {(3, 0): -1, (1, 1): 1}, (0, 0, 0)),
    "two saddle-nodes": ({(2, 0): 1}, {(0, 2): 1}, (0, 2, 2)),
    # w = x + i y: w² is a dipole, w³ has four loops, conj(w)² is the monkey saddle.
    "w²": ({(2, 0): 1, (0, 2): -1}, {(1, 1): 2}, (2, 0, 0)),
    "w³": ({(3, 0): 1, (1, 2): -3}, {(2, 1): 3, (0, 3): -1}, (4, 0, 0)),
    "conj(w)²": ({(2, 0): 1, (0, 2): -1}, {(1, 1): -2}, (0, 6, 0)),
    "conj(w)³": ({(3, 0): 1, (1, 2): -3}, {(2, 1): -3, (0, 3): 1}, (0, 8, 0)),
}


def system(name, axes, backwards=False):
    """A normal form with its origin at `CENTRE`, in the given coordinates."""
    terms = np.zeros((2, 4, 4))
    for row, component in zip(terms, FORMS[name][:2], strict=True):
        for place, coefficient in component.items():
            row[place] = -coefficient if backwards else coefficient
    # Arrays, so that every form is one program and is compiled once.
    return build(jnp.asarray(terms), jnp.asarray(axes), jnp.asarray(np.linalg.inv(axes)))


def build(terms, axes, inverse):
    def field(h):
        x, y = inverse @ (h - CENTRE)
        powers = lambda t: jnp.stack([jnp.ones(()), t, t * t, t * t * t])
        return axes @ jnp.stack([powers(x) @ form @ powers(y) for form in terms])

    return cgru.Flow(field)


def counts(found):
    return tuple(float(x) for x in (found.elliptic, found.hyperbolic, found.parabolic))


@pytest.mark.parametrize("name", FORMS)
def test_a_normal_form_has_its_sectors_in_any_coordinates(name):
    for axes in (np.eye(2), SKEW):
        found = cgru.sectors(system(name, axes), CENTRE)
        assert counts(found) == FORMS[name][2]
        assert found.result == RESULTS.successful
        elliptic, hyperbolic, _ = FORMS[name][2]
        assert found.index == 1 + (elliptic - hyperbolic) / 2  # Bendixson


@pytest.mark.parametrize("name", ["saddle-node, first kind", "nilpotent, b = 4", "w³"])
def test_time_that_runs_backwards_changes_no_sector(name):
    found = cgru.sectors(system(name, SKEW, backwards=True), CENTRE)
    assert counts(found) == FORMS[name][2]


@pytest.mark.parametrize("name", ["w²", "cusp", "conj(w)³", "semi-hyperbolic saddle"])
def test_the_index_is_the_degree(name):
    assert degree_of(*arrays_of(name)) == cgru.sectors(system(name, SKEW), CENTRE).index


def arrays_of(name):
    terms = np.zeros((2, 4, 4))
    for row, component in zip(terms, FORMS[name][:2], strict=True):
        for place, coefficient in component.items():
            row[place] = coefficient
    return terms, SKEW, np.linalg.inv(SKEW)


@jax.jit
def degree_of(*arrays):
    return cgru.degree(build(*arrays), jnp.asarray(CENTRE), jnp.asarray(0.1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # One and two regions of homoclinic orbits (figures 4A and 4B of the paper).
        ("4a", (1, 1, 0)),
        ("4b", (2, 0, 0)),
        # Two touching saddle-nodes to leading order, as x' = x², y' = y² is.
        ("3b", (0, 2, 2)),
        ("iv", (0, 2, 2)),
        ("v", (0, 2, 2)),
        ("xviii", (0, 2, 2)),
    ],
)
def test_the_papers_degenerate_origins(name, expected):
    flow = cgru.Flow(cgru.ATLAS[name].cell())
    found = cgru.sectors(flow, np.zeros(2))
    assert counts(found) == expected
    equilibria = cgru.find_equilibria(flow)
    (origin,) = np.flatnonzero(np.linalg.norm(equilibria.points, axis=1) < 1e-6)
    assert found.index == equilibria.index[origin]


def test_hyperbolic_equilibria_of_a_network_have_the_sectors_of_their_kind():
    flow = cgru.Flow(cgru.ATLAS["xxiii"].cell())
    equilibria = cgru.find_equilibria(flow)
    used = np.flatnonzero(equilibria.valid)
    for i in used:
        saddle = equilibria.index[i] == -1
        found = cgru.sectors(flow, equilibria.points[i], 0.02)
        assert counts(found) == ((0, 4, 0) if saddle else (0, 0, 1))


def test_a_place_that_is_a_little_off_does_no_harm():
    # A triple root is found to the third root of round-off.
    found = cgru.sectors(system("w²", SKEW), CENTRE + np.array([4e-6, -3e-6]))
    assert counts(found) == FORMS["w²"][2]


def test_what_is_not_settled_is_not_given():
    # Another equilibrium of fig. 2, 0.86 away, lies within.
    flow = cgru.Flow(cgru.ATLAS["2"].cell())
    assert counts(cgru.sectors(flow, np.zeros(2))) == (0, 0, 1)
    wide = cgru.sectors(flow, np.zeros(2), 1.2)
    assert wide.result == RESULTS.undecided
    assert np.isnan(counts(wide)).all()
    assert np.isnan(wide.index)
    nowhere = cgru.sectors(flow, np.array([0.3, 0.2]))
    assert nowhere.result == RESULTS.not_converged
    assert np.isnan(nowhere.index)
    # So near to a point that is not zero that only rounding is left.
    points = cgru.find_equilibria(flow).points
    lost = cgru.sectors(flow, points[jnp.nanargmax(points[:, 0])], 1e-12)
    assert lost.result != RESULTS.successful
    assert np.isnan(counts(lost)).all()


def test_a_bad_member_of_a_batch_stays_alone():
    rows = [np.eye(2) * 3, np.eye(2) * np.nan, np.eye(2) * 0.5]

    def one(U):
        return cgru.sectors(cgru.Flow(lambda h: jnp.tanh(U @ h) - h), jnp.zeros(2))

    many = jax.vmap(one)(jnp.array(rows))
    np.testing.assert_array_equal(many.parabolic, [1, np.nan, 1])
    results = [jax.tree.map(lambda x, i=i: x[i], many).result for i in range(3)]
    assert results[0] == RESULTS.successful
    assert results[1] == RESULTS.nonfinite
    assert results[2] == RESULTS.successful


def test_a_step_of_the_integrator_is_of_order_four_and_stable():
    # h'' = (1 − h²) h' − h against a program of order eight; twice the steps, 1/16.
    field = lambda h: jnp.stack([h[1], (1 - h[0] ** 2) * h[1] - h[0]])
    exact = integrate.solve_ivp(
        lambda t, h: [h[1], (1 - h[0] ** 2) * h[1] - h[0]],
        (0, 1), [1.0, 0.5], method="DOP853", rtol=1e-13, atol=1e-14,
    ).y[:, -1]  # fmt: skip
    step = jax.jit(lambda h, dt: rodas(field, h, dt)[0])
    errors = []
    for n in (20, 40):
        h = jnp.array([1.0, 0.5])
        for _ in range(n):
            h = step(h, jnp.asarray(1 / n))
        errors.append(np.abs(h - exact).max())
    assert 12 < errors[0] / errors[1] < 22
    # λ dt = −10⁸: what is exactly exp(−10⁸) must not be amplified.
    stiff, _ = rodas(lambda h: -1e8 * h, jnp.ones(1), jnp.asarray(1.0))
    assert abs(stiff[0]) < 1e-6


def test_bad_input_is_refused():
    flow = cgru.Flow(cgru.gru(jnp.eye(2)))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        cgru.sectors(flow, np.zeros(3))
    with pytest.raises(ValueError, match="radius must be positive"):
        cgru.sectors(flow, np.zeros(2), 0.0)
    with jax.enable_x64(False), pytest.raises(ValueError, match="double precision"):
        cgru.sectors(flow, np.zeros(2, "f4"))
