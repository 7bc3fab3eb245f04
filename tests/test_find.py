"""Multistart Newton: known sets, invariants, derivatives, and failures of one member."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize

import cgru_jax as cgru
from cgru_jax._equilibria import _find as engine

from . import problems

KINDS, RESULTS = cgru.KINDS, cgru.RESULTS
weights = arrays(float, (4, 2, 2), elements=st.floats(-6, 6).map(lambda x: round(x, 3)))


@jax.jit
def find_gru(U_h, U_r, U_z, b):
    cell = cgru.gru(U_h, U_r, b[0], b[1], U_z)
    return cgru.find_equilibria(cgru.Flow(cell))


def found(equilibria):
    """Valid points in lexicographic order, rounded so that ties do not flip."""
    points = np.asarray(equilibria.points)[np.asarray(equilibria.valid)]
    return points[np.lexsort(np.round(points, 6).T[::-1])]


@pytest.mark.parametrize("name", problems.HYPERBOLIC)
def test_the_printed_sets_are_found(name):
    row, (sinks, saddles, sources) = problems.HYPERBOLIC[name]
    equilibria = cgru.find_equilibria(cgru.Flow(problems.from_table(row)))
    tallies = [int(equilibria.tally(k)) for k in (KINDS.sink, KINDS.saddle, KINDS.source)]
    assert tallies == [sinks, saddles, sources]
    assert equilibria.count == sinks + saddles + sources
    assert equilibria.index_sum == 1
    assert (equilibria.residual[equilibria.valid] < 1e-15).all()  # round-off of the field
    assert not equilibria.complete
    assert equilibria.result == RESULTS.successful


@pytest.mark.parametrize("name", problems.DEGENERATE_ORIGIN)
def test_a_degenerate_origin_is_named_and_has_its_index_by_winding(name):
    row, index = problems.DEGENERATE_ORIGIN[name]
    equilibria = cgru.find_equilibria(cgru.Flow(problems.from_table(row)))
    (origin,) = np.flatnonzero(np.linalg.norm(equilibria.points, axis=1) < 1e-6)
    assert equilibria.index[origin] == index
    kind = jax.tree.map(lambda k: k[origin], equilibria.kind)
    assert kind == KINDS.codimension_two
    assert equilibria.index_sum == 1
    assert equilibria.result == RESULTS.singular


def test_three_triple_roots_are_three_equilibria():
    # Row xv: the second unit has a triple root at 0, whatever the first does.
    row = [6, 0, 0, 2, -1, 0, 0, 0, 0, 0, 0, 0]
    equilibria = cgru.find_equilibria(cgru.Flow(problems.from_table(row)))
    first = np.sort(found(equilibria)[:, 0])
    cell = lambda h: np.tanh(6 / (1 + np.exp(h)) * h) - h
    expected = [optimize.brentq(cell, -1, -0.5), 0, optimize.brentq(cell, 0.5, 1)]
    # The triple root lies in the other coordinate and spoils these by its square only.
    np.testing.assert_allclose(first, expected, atol=1e-8)
    assert equilibria.index_sum == 1


def test_the_roots_of_a_polynomial_are_its_roots():
    equilibria = cgru.find_equilibria(
        cgru.Flow(problems.cubic), cgru.grid(1, 16), capacity=5
    )
    np.testing.assert_allclose(found(equilibria)[:, 0], problems.CUBIC_ROOTS, atol=1e-15)
    assert equilibria.index[equilibria.valid].sum() == 1
    assert np.isnan(equilibria.points[~equilibria.valid]).all()
    assert np.isnan(equilibria.index[~equilibria.valid]).all()


def test_scipy_finds_nothing_else():
    # An independent solver from 200 places; shifted biases keep the set off the origin.
    cell = cgru.gru([[4, -3], [2, 5]], [[1, 6], [-5, 2]], [0.4, -0.3], [1, -2])
    ours = found(cgru.find_equilibria(cgru.Flow(cell)))
    field = eqx.filter_jit(cell)
    for start in np.random.default_rng(0).uniform(-1, 1, (200, 2)):
        theirs = optimize.root(lambda h: np.asarray(field(h)), start, tol=1e-13)
        if theirs.success and np.abs(theirs.fun).max() < 1e-12:
            assert np.abs(ours - theirs.x).max(axis=1).min() < 1e-8  # hybr's own error


@settings(max_examples=40, deadline=None)
@given(weights)
def test_the_indices_of_a_gru_sum_to_one(w):
    equilibria = find_gru(w[0], w[1], w[2], w[3] / 3)
    if not (equilibria.result == RESULTS.successful):
        return  # exactly degenerate draws (zero weights) have no regular index
    assert equilibria.index_sum == 1


@settings(max_examples=25, deadline=None)
@given(weights)
def test_permuting_the_units_permutes_the_equilibria(w):
    a = find_gru(w[0], w[1], w[2], w[3])
    swapped = [x[::-1, ::-1] for x in w[:3]]
    b = find_gru(*swapped, w[3][:, ::-1])
    if not (a.result == RESULTS.successful) or a.index_sum != 1:
        return
    mirrored = found(b)[:, ::-1]
    mirrored = mirrored[np.lexsort(np.round(mirrored, 6).T[::-1])]
    # Roots with a small Jacobian are known to round-off over that Jacobian.
    np.testing.assert_allclose(found(a), mirrored, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(weights)
def test_the_update_gate_moves_no_equilibrium(w):
    b_z = jnp.asarray(w[3][0])

    def both(sign):
        cell = cgru.gru(w[0], w[1], w[3][1], 0, sign * w[2], sign * b_z)
        return cgru.find_equilibria(cgru.Flow(cell))

    a, b = both(1), both(-1)
    if not (a.result == RESULTS.successful) or a.index_sum != 1 or b.index_sum != 1:
        return
    np.testing.assert_allclose(found(a), found(b), atol=1e-7)


def test_independent_blocks_multiply():
    # Two one-unit cells with 3 equilibria each, biased off the origin: 9, and the points
    # are the pairs.
    one = [cgru.gru(a, b_h=b) for a, b in ((5.0, 0.1), (7.0, -0.2))]
    axes = [found(cgru.find_equilibria(cgru.Flow(cell)))[:, 0] for cell in one]
    pair = cgru.gru(np.diag([5.0, 7.0]), b_h=[0.1, -0.2])
    expected = np.array([(x, y) for x in axes[0] for y in axes[1]])
    np.testing.assert_allclose(
        found(cgru.find_equilibria(cgru.Flow(pair))), expected, atol=1e-14
    )


def test_map_and_flow_share_equilibria_and_index_but_not_stability():
    # A fast rotation: the flow's spiral sink, the map's source (|1 + λ| > 1).
    cell = cgru.gru([[-1.0, -6.0], [6.0, -1.0]], b_h=[0.1, 0.0], b_z=4.0)
    flow, step = (cgru.find_equilibria(r(cell)) for r in (cgru.Flow, cgru.Map))
    np.testing.assert_array_equal(flow.points, step.points)
    np.testing.assert_array_equal(flow.index, step.index)
    assert flow.count == 1
    assert flow.tally(KINDS.sink) == 1
    assert step.tally(KINDS.source) == 1


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(1)
    draws = [rng.normal(0, 3, (1000, 2, 2)) for _ in range(2)]
    return eqx.filter_vmap(lambda a, b: cgru.gru(a, b, b_h=0.1))(*map(jnp.asarray, draws))


@eqx.filter_jit
def find_many(cells):
    starts = cgru.grid(2, 6)
    return eqx.filter_vmap(
        lambda cell: cgru.find_equilibria(cgru.Flow(cell), starts, capacity=12)
    )(cells)


def test_one_bad_member_leaves_the_others_bit_for_bit(batch):
    bad = eqx.tree_at(lambda c: c.U_r, batch, batch.U_r.at[17, 0, 1].set(jnp.nan))
    good, hurt = find_many(batch), find_many(bad)
    others = np.arange(1000) != 17
    for a, b in zip(jax.tree.leaves(good), jax.tree.leaves(hurt), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[others], np.asarray(b)[others])
    member = jax.tree.map(lambda x: x[17], hurt)
    assert member.result == RESULTS.nonfinite
    assert member.count == 0
    assert np.isnan(member.points).all()


def test_a_batch_is_a_loop(batch):
    many = find_many(batch)
    for i in (0, 123, 999):
        cell = jax.tree.map(lambda x, i=i: x[i], batch)
        one = cgru.find_equilibria(cgru.Flow(cell), cgru.grid(2, 6), capacity=12)
        ours = jax.tree.map(lambda x, i=i: x[i], many)
        # The compiler orders sums differently for a batch; the roots are round-off apart.
        np.testing.assert_allclose(found(one), found(ours), atol=1e-12)


def test_fresh_lambdas_compile_once():
    starts = cgru.grid(1, 7)
    before = engine._find._cached._cache_size()
    for i in range(100):
        a = jnp.asarray(1 + 0.01 * i)
        cgru.find_equilibria(cgru.Flow(lambda x, a=a: jnp.cos(a * x) - x), starts)
    assert engine._find._cached._cache_size() - before == 1


def rightmost(b):
    """The rightmost equilibrium of a family that closes over a traced value."""
    family = cgru.Flow(lambda x: jnp.tanh(2.3 * x + b) - x)
    points = cgru.find_equilibria(family, cgru.grid(1, 16), capacity=4).points
    return jnp.max(jnp.where(jnp.isnan(points), -jnp.inf, points))


def test_derivatives_of_a_root_match_the_implicit_function_theorem():
    b = 0.2
    h = float(rightmost(b))
    s = 1 - h**2  # derivative of tanh at the root
    first = s / (1 - 2.3 * s)
    second = -2 * h * s * (1 + 2.3 * first) ** 2 / (1 - 2.3 * s)
    assert jax.grad(rightmost)(b) == pytest.approx(first, rel=1e-12)
    assert jax.jacfwd(rightmost)(b) == pytest.approx(first, rel=1e-12)
    assert jax.hessian(rightmost)(b) == pytest.approx(second, rel=1e-11)
    batch = jax.jit(jax.vmap(jax.grad(rightmost)))(jnp.array([b, 0.5]))
    assert batch[0] == pytest.approx(first, rel=1e-12)


def test_at_a_fold_the_derivative_is_nan_and_the_other_root_keeps_its_own():
    h, b = problems.tanh_fold(2.3)

    def roots(b):
        family = cgru.Flow(lambda x: jnp.tanh(2.3 * x + b) - x)
        return cgru.find_equilibria(family, cgru.grid(1, 16), capacity=4)

    equilibria = roots(b)
    assert equilibria.result == RESULTS.singular
    assert equilibria.tally(KINDS.saddle_node_first) == 1
    slopes = jax.jacfwd(lambda b: roots(b).points[:, 0])(b)
    at_fold = np.abs(equilibria.points[:, 0] - h) < 1e-6
    assert np.isnan(slopes[at_fold]).all()
    other = equilibria.valid & ~at_fold

    def lowest(b):
        points = roots(b).points[:, 0]
        return jnp.min(jnp.where(jnp.isnan(points), jnp.inf, points))

    s = 1 - float(equilibria.points[other][0, 0]) ** 2
    expected = s / (1 - 2.3 * s)
    assert slopes[other][0] == pytest.approx(expected, rel=1e-9)
    assert jax.grad(lowest)(b) == pytest.approx(expected, rel=1e-9)


def test_many_units_are_searched_from_trajectories():
    rng = np.random.default_rng(4)
    cell = cgru.gru(5 * rng.normal(size=(12, 12)) / np.sqrt(12), b_h=0.2)
    equilibria = cgru.find_equilibria(cgru.Flow(cell))
    assert equilibria.count >= 1
    for point in np.asarray(equilibria.points)[np.asarray(equilibria.valid)]:
        assert np.abs(cell(jnp.asarray(point))).max() < 1e-13  # twelve terms of round-off


def test_more_equilibria_than_slots_are_reported():
    cell = problems.from_table(problems.HYPERBOLIC["fig. 3a"][0])
    equilibria = cgru.find_equilibria(cgru.Flow(cell), capacity=5)
    assert equilibria.result == RESULTS.capacity
    assert equilibria.count == 5


@pytest.mark.parametrize("b_z", [-30.0, -800.0])
def test_a_gate_that_is_almost_shut_makes_no_bifurcation(b_z):
    # z = e^-30, and 0 in float64: the slow unit has no eigenvalue, the root is plain.
    arrays = {"U_h": [[0.5, 0.3], [0.2, 0.5]], "b_h": [0.1, 0.2]}
    shut = cgru.find_equilibria(cgru.Flow(cgru.gru(**arrays, b_z=[0, b_z])))
    open_ = cgru.find_equilibria(cgru.Flow(cgru.gru(**arrays)))
    assert shut.result == RESULTS.successful
    assert shut.index_sum == 1
    np.testing.assert_array_equal(found(shut), found(open_))
    # At e^-30 it is a sink; at 0 nobody can say, and nobody does.
    assert shut.tally(KINDS.sink if b_z == -30 else KINDS.unknown) == 1


def test_an_index_sum_that_cannot_be_is_reported():
    # tanh(1e6 h) − h has three roots; Newton's basin of the middle one is a millionth wide.
    equilibria = cgru.find_equilibria(cgru.Flow(cgru.gru(1e6, b_h=0.3)))
    assert equilibria.index_sum == 1 or equilibria.result == RESULTS.missed


def test_starts_outside_of_the_domain_do_not_spoil_the_others():
    equilibria = cgru.find_equilibria(cgru.Flow(jnp.log), cgru.grid(1, 16), capacity=2)
    np.testing.assert_allclose(found(equilibria), [[1.0]], rtol=1e-14)
    assert equilibria.tally(KINDS.source) == 1


def test_a_field_of_a_wrong_shape_is_refused_by_its_shape():
    for field in (lambda h: h[0], lambda h: jnp.ones(3), lambda h: (h, h)):
        with pytest.raises(ValueError, match=r"shape \(2,\)"):
            cgru.find_equilibria(cgru.Flow(field), cgru.grid(2, 3))


def test_bad_starts_are_refused():
    flow = cgru.Flow(cgru.gru(jnp.eye(2)))
    with pytest.raises(ValueError, match=r"\(2,\)"):
        cgru.find_equilibria(flow, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"\(4, 3\).*dimension 2"):
        cgru.find_equilibria(flow, jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"starts\[1, 0\] is nan"):
        cgru.find_equilibria(flow, jnp.array([[0, 0], [jnp.nan, 0]]))
    with pytest.raises(ValueError, match="capacity"):
        cgru.find_equilibria(flow, capacity=0)
    with pytest.raises(ValueError, match="starts"):
        cgru.find_equilibria(cgru.Flow(problems.cubic))
    with pytest.raises(ValueError, match="per_axis"):
        cgru.grid(2, 0)
