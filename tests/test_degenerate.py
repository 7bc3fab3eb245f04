"""Degenerate equilibria: named, counted once, their index proved."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru

from . import problems

KINDS, RESULTS = cgru.KINDS, cgru.RESULTS
SQUARE = (-jnp.ones(2), jnp.ones(2))


def only(equilibria):
    """The one slot in use, as scalars."""
    assert equilibria.count == 1, equilibria.points
    slot = int(np.argmax(equilibria.valid))
    return jax.tree.map(lambda x: x[slot] if jnp.ndim(x) else x, equilibria)


def planar(*terms):
    """A plane field as the coefficients of its monomials in u = x − 0.31, v = y + 0.22.

    The coefficients are arrays, so that all these fields are one program.
    """
    powers = [(0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (3, 0)]
    table = jnp.array([[dict(term).get(p, 0.0) for p in powers] for term in terms])

    def field(h):
        u, v = h[0] - 0.31, h[1] + 0.22
        return table @ jnp.stack([v, u, u**2, u * v, v**2, u**3])

    return cgru.Flow(field)


V, U, UU, UV, VV, UUU = (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (3, 0)
PLACE = [0.31, -0.22]

# Both components, and what the textbooks say: kind, multiplicity, index, coefficient.
PLANAR = {
    "saddle-node, first kind":
        ({UU: 2, UUU: 1}, {V: -1}, KINDS.saddle_node_first, 2, 0, 2),
    "saddle-node, second kind":
        ({UU: 1, UV: 1}, {V: 1}, KINDS.saddle_node_second, 2, 0, 1),
    "stable cusp": ({UUU: -3}, {V: -1}, KINDS.codimension_two, 3, 1, -3),
    "unstable cusp": ({UUU: 3}, {V: -1}, KINDS.codimension_two, 3, -1, 3),
    # The centre manifold is v = u², so u' = u v has the cubic coefficient one.
    "cusp by the centre manifold":
        ({UV: 1}, {V: -1, UU: 1}, KINDS.codimension_two, 3, -1, 1),
    "Bogdanov-Takens": ({V: 1}, {UU: 1, UV: -1}, KINDS.codimension_two, 2, 0, None),
    "w squared": ({UU: 1, VV: -1}, {UV: 2}, KINDS.codimension_two, 4, 2, None),
    "w squared, conjugated":
        ({UU: 1, VV: -1}, {UV: -2}, KINDS.codimension_two, 4, -2, None),
    "two folds at once": ({UU: 1}, {VV: 1}, KINDS.codimension_two, 4, 0, None),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANAR)
def test_a_textbook_point_has_its_kind_multiplicity_index_and_coefficient(name):
    first, second, kind, multiplicity, index, coefficient = PLANAR[name]
    equilibria = cgru.enumerate_equilibria(planar(first, second), box=SQUARE)
    assert equilibria.complete
    assert equilibria.result == RESULTS.singular
    found = only(equilibria)
    np.testing.assert_allclose(found.points, PLACE, atol=1e-12)
    assert found.kind == kind
    assert found.multiplicity == multiplicity
    assert found.index == index
    if coefficient is None:
        assert jnp.isnan(found.coefficient)
    else:
        # Derivatives of a polynomial with coefficients of a few units: round-off.
        np.testing.assert_allclose(found.coefficient, coefficient, rtol=1e-9)


@pytest.mark.parametrize(
    ("power", "sign", "kind", "index"),
    [
        (2, 1, KINDS.saddle_node_first, 0),
        (3, -1, KINDS.codimension_two, 1),
        (3, 1, KINDS.codimension_two, -1),
        (4, 1, KINDS.degenerate, 0),
    ],
)
def test_a_multiple_root_on_the_line(power, sign, kind, index):
    weights = jnp.where(jnp.arange(2, 5) == power, sign, 0)
    system = cgru.Flow(lambda h: weights @ jnp.stack([(h - 0.31) ** p for p in (2, 3, 4)]))
    equilibria = cgru.enumerate_equilibria(system, box=(-1.0 * jnp.ones(1), jnp.ones(1)))
    assert equilibria.complete
    found = only(equilibria)
    assert found.kind == kind
    assert found.index == index
    if power < 4:
        assert found.multiplicity == power
        np.testing.assert_allclose(found.coefficient, sign, rtol=1e-9)


@pytest.mark.parametrize("name", problems.DEGENERATE_ORIGIN)
def test_a_degenerate_row_of_the_tables_is_complete(name):
    row, index = problems.DEGENERATE_ORIGIN[name]
    equilibria = cgru.enumerate_equilibria(cgru.Flow(problems.from_table(row)))
    assert equilibria.complete
    assert equilibria.index_sum == 1
    (origin,) = np.flatnonzero(np.linalg.norm(equilibria.points, axis=1) < 1e-9)
    assert equilibria.index[origin] == index
    assert jax.tree.map(lambda k: k[origin], equilibria.kind) == KINDS.codimension_two


def test_the_three_triple_roots_of_row_xv():
    equilibria = cgru.enumerate_equilibria(
        cgru.Flow(problems.from_table([6, 0, 0, 2, -1, 0, 0, 0, 0, 0, 0, 0]))
    )
    assert equilibria.complete
    assert equilibria.tally(KINDS.codimension_two) == equilibria.count == 3
    assert sorted(equilibria.index[equilibria.valid].tolist()) == [-1, 1, 1]
    # y' = (tanh(y) − y) / 2 with the gate at rest: −y³/6; the reduced y' has −1/3.
    np.testing.assert_allclose(equilibria.multiplicity[equilibria.valid], 3)


@pytest.mark.parametrize("apart", [1e-6, 1e-9, 1e-11, 1e-12, 1e-13, 1e-15, 0.0])
def test_two_roots_this_close_are_two_or_one_cluster_of_both(apart):
    quarter = jnp.asarray(apart**2 / 4)
    system = cgru.Flow(lambda h: jnp.stack([(h[0] - 0.31) ** 2 - quarter, -(h[1] + 0.22)]))
    equilibria = cgru.enumerate_equilibria(system, box=SQUARE)
    assert equilibria.index_sum == 0
    if equilibria.count == 2:
        gap = np.ptp(np.asarray(equilibria.points)[np.asarray(equilibria.valid), 0])
        assert gap == pytest.approx(apart, rel=1e-3)
        assert equilibria.tally(KINDS.sink) == equilibria.tally(KINDS.saddle) == 1
    else:
        assert only(equilibria).multiplicity == 2
        assert equilibria.tally(KINDS.saddle_node_first) == 1


def test_two_gates_at_their_pitchforks_at_once():
    # The product of two triple roots: nine equilibria met, and their indices sum to one.
    equilibria = cgru.enumerate_equilibria(cgru.Flow(cgru.gru(2 * jnp.eye(2))))
    if equilibria.complete:
        assert only(equilibria).index == 1
        assert only(equilibria).kind in (KINDS.codimension_two, KINDS.degenerate)
    else:
        assert equilibria.result != RESULTS.successful
        assert equilibria.count <= 1


def test_a_line_of_equilibria_ends_and_says_so():
    def field(h):
        s = h[0] - 0.3 * h[1] - 0.07
        return jnp.stack([s * (1 + h[1]), -s])

    equilibria = cgru.enumerate_equilibria(cgru.Flow(field), box=SQUARE)
    assert not equilibria.complete
    assert equilibria.result == RESULTS.not_isolated


# Two units without coupling, the first on its fold, the second with two roots `GAPS` apart.
GAPS = [0.03, 0.018, 5e-3, 1e-3, 5e-4, 2e-4, 1e-4, 3e-5, 1e-5]
# Two units alike, each with a third root and two roots 4 √b apart or less.
PAIRS = np.geomspace(1e-20, 1e-16, 60)


@pytest.fixture(scope="module")
def many():
    rows = [row for row, _ in problems.HYPERBOLIC.values()]
    rows = [*rows, problems.DEGENERATE_ORIGIN["4b"][0], problems.DEGENERATE_ORIGIN["v"][0]]
    cells = [problems.from_table(row) for row in rows]
    h = np.sqrt(1 / 2)
    fold = np.arctanh(h) - 2 * h
    none = jnp.zeros((2, 2))
    for gap in GAPS:
        # Where arctanh h − 2 h has the curvature 2 h / (1 − h²)², twice that of a parabola.
        beside = fold + (gap / 2) ** 2 * h / (1 - h * h) ** 2
        biases = jnp.array([fold, beside])
        cells.append(cgru.gru(4 * jnp.eye(2), none, b_h=biases))
    cells += [cgru.gru(2 * jnp.eye(2), -jnp.eye(2), b_h=jnp.full(2, b)) for b in PAIRS]
    cells = jax.tree.map(lambda *x: jnp.stack(x), *cells)
    return eqx.filter_vmap(lambda cell: cgru.enumerate_equilibria(cgru.Flow(cell)))(cells)


def test_a_degenerate_member_leaves_its_batch_alone(many):
    assert many.complete[:7].all()
    np.testing.assert_array_equal(many.index_sum[:7], 1)
    expected = [sum(tally) for _, tally in problems.HYPERBOLIC.values()]
    assert many.count[:5].tolist() == expected
    assert (many.multiplicity[:5][many.valid[:5]] == 1).all()


def test_two_degenerate_points_are_never_one(many):
    """Roots of the first unit: a sink and the double one; of the second: a sink and two."""
    complete = np.asarray(many.complete)
    fold = slice(7, 7 + len(GAPS))
    for i in np.flatnonzero(complete[fold]) + 7:
        used = np.asarray(many.valid[i])
        assert np.sum(np.asarray(many.multiplicity[i])[used]) == 9
    # Wide enough apart, or as good as one of multiplicity four, each is found.
    assert complete[7]
    assert many.count[7] == 6


def test_no_point_is_named_beside_the_roots_that_it_is_made_of(many):
    pairs = slice(7 + len(GAPS), None)
    complete, used = np.asarray(many.complete)[pairs], np.asarray(many.valid)[pairs]
    total = np.nansum(np.where(used, np.asarray(many.multiplicity)[pairs], 0), axis=1)
    assert complete.any()
    assert (total[complete] <= 9).all()


def test_the_derivative_of_a_degenerate_root_is_nan_and_of_a_simple_one_is_not():
    def points(b):
        cell = cgru.gru(2 * jnp.eye(2), -jnp.eye(2), b_h=jnp.stack([b, b]))
        return cgru.enumerate_equilibria(cgru.Flow(cell)).points[:, 0]

    found, slopes = points(0.0), jax.jacfwd(points)(0.0)
    # Case iv: the sink in the corner is simple, the origin and the two folds are not.
    simple = np.abs(found + 0.804929) < 1e-5
    assert np.isfinite(slopes[simple]).any()
    assert np.isnan(slopes[np.abs(found) < 1e-9]).all()
