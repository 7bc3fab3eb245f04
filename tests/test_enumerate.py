"""Every equilibrium, each once, or a word about it."""

import contextlib
import functools
import itertools
import os
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import mpmath
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy.optimize import brentq, root

import cgru_jax as cgru
from cgru_jax import KINDS
from cgru_jax._atlas import ATLAS
from cgru_jax._equilibria import _boxes, _worklist
from cgru_jax._equilibria._enumerate import search_report
from cgru_jax._program import hoist
from cgru_jax._results import name
from cgru_jax._scalars import split

BATCH = 64  # one shape for every batch of two-unit GRUs: one compilation


@functools.cache
def compiled(verb):
    """`verb` of a batch of systems, compiled once for the whole session."""
    return eqx.filter_jit(eqx.filter_vmap(verb))


def of_flow(cell):
    return cgru.enumerate_equilibria(cgru.Flow(cell))


def stacked(cells):
    cells = list(cells)
    assert len(cells) <= BATCH
    cells += [cells[-1]] * (BATCH - len(cells))
    return jax.tree.map(lambda *x: jnp.stack(x), *cells)


def random_grus(key, units=2, scale=3.0, size=BATCH):
    def make(key):
        k = jr.split(key, 6)
        matrices = [scale * jr.normal(x, (units, units)) for x in k[:3]]
        return cgru.GRU(*matrices, *[jr.normal(x, (units,)) for x in k[3:]])

    return eqx.filter_vmap(make)(jr.split(key, size))


def member(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def points(equilibria):
    """The valid points of one member, sorted."""
    found = np.asarray(equilibria.points)[np.asarray(equilibria.valid)]
    return found[np.lexsort(found.T[::-1])]


def agree(found, expected, atol):
    """Whether two lists of points are the same up to their order."""
    expected = np.asarray(expected)
    if found.shape != expected.shape:
        return False
    apart = np.max(np.abs(found[:, None] - expected[None]), axis=-1)
    return bool(np.all(apart.min(axis=0) <= atol) and np.all(apart.min(axis=1) <= atol))


# Rows with an exactly degenerate equilibrium; all others have simple ones only.
DEGENERATE = {"3b", "4a", "4b", "iv", "v", "xv", "xviii"}


@pytest.fixture(scope="session")
def atlas():
    found = compiled(of_flow)(stacked(row.cell() for row in ATLAS.values()))
    return dict(zip(ATLAS, [member(found, i) for i in range(len(ATLAS))], strict=True))


def test_the_paper_s_largest_rows(atlas):
    # Eleven and nine: from the section on figure 3a and from fig. 2, by symmetry.
    for row, counts in {"3a": (5, 1, 5), "xxxvi": (5, 1, 5), "2": (4, 1, 4)}.items():
        tallies = [atlas[row].tally(k) for k in (KINDS.sink, KINDS.source, KINDS.saddle)]
        assert tuple(map(int, tallies)) == counts


@pytest.mark.parametrize("row", sorted(set(ATLAS) - DEGENERATE))
def test_rows_without_a_degenerate_point_are_complete_and_sum_to_one(atlas, row):
    assert bool(atlas[row].complete)
    assert float(atlas[row].index_sum) == 1  # Poincaré–Hopf on a square it points into


@pytest.mark.parametrize("row", sorted(DEGENERATE))
def test_a_degenerate_row_never_passes_for_an_ordinary_one(atlas, row):
    assert name(atlas[row].result) != "successful"


def test_every_point_is_an_equilibrium_to_round_off(atlas):
    for row, found in atlas.items():
        cell = ATLAS[row].cell()
        for point in points(found):
            # A few roundings of numbers below one.
            assert float(jnp.max(jnp.abs(cell(jnp.asarray(point))))) < 2e-15


def test_an_independent_search_finds_no_other_equilibrium():
    # MINPACK from many starts, on definitions written again in NumPy.
    cells = random_grus(jr.key(5))
    found = compiled(of_flow)(cells)
    assert bool(jnp.all(found.complete))
    assert bool(jnp.all(found.index_sum == 1))
    rng = np.random.default_rng(1)
    for i in range(12):
        cell = jax.tree.map(lambda x, i=i: np.asarray(x[i]), cells)

        def field(h, cell=cell):
            r = 1 / (1 + np.exp(-(cell.U_r @ h + cell.b_r)))
            return np.tanh(cell.U_h @ (r * h) + cell.b_h) - h

        listed = points(member(found, i))
        for start in rng.uniform(-1, 1, (40, 2)):
            answer = root(field, start, tol=1e-13)
            if np.max(np.abs(field(answer.x))) < 1e-12:
                # MINPACK's last step, where the Jacobian is not near singular.
                assert np.min(np.max(np.abs(listed - answer.x), axis=1)) < 1e-7


def test_uncoupled_units_have_every_combination_of_their_own_equilibria():
    # U_h diagonal and no recurrent gate: h_i = tanh(a_i h_i + b_i), solved by bisection.
    rng = np.random.default_rng(2)
    slopes, biases = rng.uniform(0.5, 6, (BATCH, 2)), rng.uniform(-0.7, 0.7, (BATCH, 2))
    cells = eqx.filter_vmap(lambda a, b: cgru.gru(2 * jnp.diag(a), b_h=b))(
        jnp.asarray(slopes), jnp.asarray(biases)
    )
    found = compiled(of_flow)(cells)
    assert bool(jnp.all(found.complete))
    for i in range(BATCH):
        one, two = (tanh_roots(slopes[i, j], biases[i, j]) for j in range(2))
        grid = np.array([(x, y) for x in one for y in two])
        # Bisection stops within a few units of the last place.
        assert agree(points(member(found, i)), grid, 1e-12)


def tanh_roots(a, b):
    """All roots of tanh(a h + b) − h, between its turning points."""

    def f(h):
        return np.tanh(a * h + b) - h

    ends = [-2.0, 2.0]  # beyond ±1, where a saturated root lies to the last digit
    if a > 1:
        turn = np.arccosh(np.sqrt(a))
        ends = sorted({-2.0, *np.clip([(-turn - b) / a, (turn - b) / a], -2, 2), 2.0})
    pairs = itertools.pairwise(ends)
    return [brentq(f, u, v, xtol=1e-15) for u, v in pairs if f(u) * f(v) < 0]


def test_the_update_gate_moves_no_equilibrium_but_decides_its_kind():
    # A spiral sink that unequal update rates turn into a source.
    U_h = [[3.0, 4.0], [-4.0, -2.0]]
    cells = stacked([cgru.gru(U_h), cgru.gru(U_h, b_z=[5.0, -5.0])])
    found = compiled(of_flow)(cells)
    open_, closed = member(found, 0), member(found, 1)
    assert int(open_.tally(KINDS.sink)) == int(open_.count) == 1
    assert int(closed.tally(KINDS.source)) == int(closed.count) == 1
    assert float(open_.index[0]) == float(closed.index[0]) == 1


def test_a_hopf_point_is_no_sink_by_rounding():
    # The rotation by arccos(2/3) scaled by 3: eigenvalues ±i sqrt(5)/4 at the origin.
    angle = np.arccos(2 / 3)
    turn = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = member(compiled(of_flow)(stacked([cgru.gru(turn)])), 0)
    assert int(found.tally(KINDS.hopf)) == int(found.count) == 1
    np.testing.assert_allclose(
        np.abs(found.eigenvalues[0].imag), np.sqrt(5) / 4, rtol=1e-12
    )


def test_one_nan_member_disturbs_no_other():
    cells = random_grus(jr.key(5))
    spoiled = eqx.tree_at(lambda c: c.b_h, cells, cells.b_h.at[7, 1].set(jnp.nan))
    good, bad = compiled(of_flow)(cells), compiled(of_flow)(spoiled)
    assert name(member(bad, 7).result) == "nonfinite"
    assert int(bad.count[7]) == 0
    assert not bool(bad.complete[7])
    others = np.arange(BATCH) != 7
    np.testing.assert_array_equal(good.count[others], bad.count[others])
    np.testing.assert_array_equal(good.complete[others], bad.complete[others])
    for i in np.flatnonzero(others):
        # The order in which a list is worked off changes, and with it the last digit.
        assert agree(points(member(good, i)), points(member(bad, i)), 1e-14)


def test_a_batch_is_a_loop_slot_by_slot():
    # Alone, in a batch, or in a batch in another order: another list, the same slots.
    cells = random_grus(jr.key(5))
    verb = compiled(of_flow)
    batch, turned = verb(cells), verb(member(cells, np.s_[::-1]))
    few = np.flatnonzero(np.asarray(batch.count) > 1)[:8]
    assert len(few) == 8
    alone = [cgru.enumerate_equilibria(cgru.Flow(member(cells, i))) for i in few]
    loop = jax.tree.map(lambda *x: jnp.stack(x), *alone)
    for other, these in ((turned, member(batch, np.s_[::-1])), (loop, member(batch, few))):
        np.testing.assert_array_equal(these.valid, other.valid)
        np.testing.assert_array_equal(these.index, other.index)
        np.testing.assert_array_equal(these.kind._value, other.kind._value)
        # Newton's method ends within a few units of the last place, from whatever box.
        np.testing.assert_allclose(these.points, other.points, atol=1e-14)
    x = np.asarray(batch.points)[..., 0]
    assert np.all(np.diff(x, axis=1)[np.asarray(batch.valid)[:, 1:]] > 0)


@pytest.mark.parametrize("size", [1e6, 1e-300], ids="weights {}".format)
def test_extreme_weights(size):
    cells = [
        cgru.gru(size * jnp.eye(2), b_h=jnp.array([0.3, -0.2])),
        cgru.gru(size * jnp.array([[1.0, 0.5], [-0.3, 1.0]]), jnp.eye(2), b_h=0.1),
    ]
    found = compiled(of_flow)(stacked(cells))
    first, second = member(found, 0), member(found, 1)
    assert bool(first.complete)
    assert bool(second.complete)
    if size < 1:
        np.testing.assert_allclose(points(first), [np.tanh([0.3, -0.2])], rtol=1e-14)
        np.testing.assert_allclose(points(second), [np.tanh([0.1, 0.1])], rtol=1e-14)
    else:
        one, two = (tanh_roots(size / 2, b) for b in (0.3, -0.2))
        grid = np.array([(x, y) for x in one for y in two])
        assert agree(points(first), grid, 1e-12)
        assert float(second.index_sum) == 1


# A user's field, in a box; its lambda closes over whatever it is given.


def fold(d):
    """Equilibria at 0.3 ± d, uncoupled from a second coordinate at 0.2."""
    return cgru.Flow(lambda h: jnp.stack([d**2 - (h[0] - 0.3) ** 2, 0.2 - h[1]]))


@pytest.mark.parametrize("apart", [1e-2, 1e-6, 1e-9, 1e-12, 0.0])
def test_two_equilibria_however_near_never_pass_for_none_or_one(apart):
    def pair(d):
        return cgru.enumerate_equilibria(fold(d), box=(-1.0, jnp.ones(2)))

    found = member(compiled(pair)(jnp.full(4, apart / 2)), 0)
    if name(found.result) == "successful":
        assert bool(found.complete)
        np.testing.assert_allclose(
            points(found)[:, 0], [0.3 - apart / 2, 0.3 + apart / 2],
            atol=1e-9 * max(apart, 1e-6),
        )  # fmt: skip
    assert apart < 1e-5 or name(found.result) == "successful"
    assert apart > 1e-7 or name(found.result) != "successful"


def test_a_steep_field_separates_equilibria_a_billionth_apart():
    # Zeros of a sine a billionth apart, in a field with the slope that tells them apart.
    def steep(scale):
        system = cgru.Flow(lambda h: jnp.sin(scale * (h - 0.3)))
        return cgru.enumerate_equilibria(
            system, box=(0.3 - 7 / scale, 0.3 + 8.0 / scale[None])
        )

    found = member(compiled(steep)(jnp.full(2, np.pi * 1e9)), 0)
    assert bool(found.complete)
    assert int(found.count) == 5
    np.testing.assert_allclose(np.diff(points(found)[:, 0]), 1e-9, rtol=1e-5)


def fitzhugh_nagumo(current, a=0.7, b=0.8, slow=0.08):
    def field(h):
        v, w = h
        return jnp.stack([v - v**3 / 3 - w + current, slow * (v + a - b * w)])

    return cgru.Flow(field)


def test_nested_and_partly_batched_maps_are_one_search():
    # Cubic in v: v − v³/3 + I = (v + a)/b, by NumPy's companion matrix.
    currents, shifts = jnp.linspace(-1, 1, 4), jnp.array([0.0, 0.7, 1.1])

    def one(current, a):
        system = fitzhugh_nagumo(current, a, b=1.6)
        return cgru.enumerate_equilibria(system, box=(-4.0, jnp.full(2, 4.0)), capacity=4)

    inner = eqx.filter_vmap(one, in_axes=(None, 0))
    found = eqx.filter_jit(eqx.filter_vmap(inner, in_axes=(0, None)))(currents, shifts)
    assert found.points.shape == (4, 3, 4, 2)
    assert bool(jnp.all(found.complete))
    for i, current in enumerate(np.asarray(currents)):
        for j, a in enumerate(np.asarray(shifts)):
            v = np.roots([-1 / 3, 0, 1 - 1 / 1.6, current - a / 1.6])
            v = np.sort(v[np.abs(v.imag) < 1e-9].real)
            listed = points(member(member(found, i), j))
            np.testing.assert_allclose(listed[:, 0], v, atol=1e-12)
            np.testing.assert_allclose(listed[:, 1], (v + a) / 1.6, atol=1e-12)


def test_a_hundred_fresh_lambdas_compile_once():
    def count(current):
        return cgru.enumerate_equilibria(
            fitzhugh_nagumo(current), box=(-4.0, jnp.full(2, 4.0)), capacity=4
        ).count

    count(jnp.array(0.1))
    begin = time.process_time()
    counts = [int(count(jnp.array(0.01 * k))) for k in range(100)]
    # One more compilation would take seconds by itself; the calls take milliseconds.
    assert time.process_time() - begin < 5
    assert counts == [1] * 100


def test_first_and_second_derivatives_are_those_of_the_implicit_function_theorem():
    # At h = tanh(a h + b): dh/db = s / (1 − a s) with s = 1 − h².
    a = 1.7

    def upper(b):
        system = cgru.Flow(lambda h: jnp.tanh(a * h + b) - h)
        found = cgru.enumerate_equilibria(system, box=(-1.0, jnp.ones(1)), capacity=4)
        return jnp.max(jnp.where(found.valid[:, None], found.points, -jnp.inf))

    b = jnp.array([0.05, 0.1, 0.3])
    h = np.array([tanh_roots(a, float(x))[-1] for x in b])
    slope = (1 - h**2) / (1 - a * (1 - h**2))
    # d²h/db² by differentiating that once more: s' = −2 h dh/db.
    curvature = -2 * h * slope / (1 - a * (1 - h**2)) ** 2

    def twice(b):
        first = jax.grad(upper)(b)
        return first, first

    second, first = jax.jit(jax.vmap(jax.jacfwd(twice, has_aux=True)))(b)
    np.testing.assert_allclose(first, slope, rtol=1e-10)
    np.testing.assert_allclose(second, curvature, rtol=1e-9)


def test_eigenvalues_carry_derivatives():
    # λ = a (1 − h²) − 1 at h = tanh(a h + b), so dλ/db = −2 a h dh/db.
    a = 0.8

    def rate(b):
        system = cgru.Flow(lambda h: jnp.tanh(a * h + b) - h)
        found = cgru.enumerate_equilibria(system, box=(-1.0, jnp.ones(1)), capacity=4)
        return jnp.sum(jnp.where(found.valid[:, None], found.eigenvalues.real, 0))

    (h,) = tanh_roots(a, 0.4)
    slope = (1 - h**2) / (1 - a * (1 - h**2))
    np.testing.assert_allclose(rate(0.4), a * (1 - h**2) - 1, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(rate)(0.4), -2 * a * h * slope, rtol=1e-10)


def test_equilibria_on_the_boundary_of_the_box_are_listed():
    # x (x − 1) (x − 2) in [0, 1]: both ends count, 2 does not.
    system = cgru.Flow(lambda x: x * (x - 1) * (x - 2))
    found = cgru.enumerate_equilibria(system, box=(0.0, jnp.ones(1)), capacity=4)
    assert bool(found.complete)
    np.testing.assert_allclose(points(found)[:, 0], [0, 1], atol=1e-14)


def test_a_box_without_equilibria_is_proved_empty():
    system = cgru.Flow(lambda x: 1.5 + jnp.sin(x))
    # Batched over the box, of which the second is turned around.
    low, high = jnp.array([[-9.0], [11.0]]), jnp.array([[11.0], [-9.0]])
    found = eqx.filter_vmap(
        lambda a, b: cgru.enumerate_equilibria(system, box=(a, b), capacity=4)
    )(low, high)
    assert found.complete.tolist() == [True, False]
    assert found.count.tolist() == [0, 0]
    assert [name(member(found, i).result) for i in (0, 1)] == ["successful", "empty_box"]


def test_a_line_of_equilibria_ends_and_is_not_complete():
    system = cgru.Flow(lambda h: (h[0] - h[1] - 0.1) * jnp.array([1.0, 2.0]))
    report = search_report(system, box=(-1.0, jnp.ones(2)))
    assert int(report.boxes) < 2 * 4_096
    found = cgru.enumerate_equilibria(system, box=(-1.0, jnp.ones(2)))
    assert not bool(found.complete)
    assert name(found.result) != "successful"


def test_more_equilibria_than_slots_are_said():
    found = cgru.enumerate_equilibria(cgru.Flow(jnp.sin), box=(-20.5, jnp.full(1, 21.0)),
                                      capacity=5)  # fmt: skip
    assert name(found.result) == "capacity"
    assert not bool(found.complete)
    assert int(found.count) == 5  # of thirteen multiples of π


def test_flow_and_map_share_points_but_not_kinds():
    # x⁺ = 3.2 x (1 − x): 0 and 1 − 1/3.2; the latter's multiplier is 2 − 3.2 < −1.
    def increment(x):
        return 3.2 * x * (1 - x) - x

    box = (-0.5, jnp.full(1, 1.5))
    flow = cgru.enumerate_equilibria(cgru.Flow(increment), box=box, capacity=3)
    jumps = cgru.enumerate_equilibria(cgru.Map(increment), box=box, capacity=3)
    np.testing.assert_allclose(points(flow), points(jumps), atol=1e-15)
    assert int(flow.tally(KINDS.sink)) == 1
    assert int(jumps.tally(KINDS.source)) == 2


# Other cells.


@pytest.mark.parametrize(
    ("units", "scale"), [(1, 3.0), pytest.param(2, 2.0, marks=pytest.mark.slow)]
)
def test_lstm_equilibria_are_those_of_the_whole_cell(units, scale):
    def make(key):
        keys = jr.split(key, 8)
        shapes = [(units, units)] * 4 + [(units,)] * 4
        arrays = [jr.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
        return cgru.LSTM(*[scale * a for a in arrays[:4]], *arrays[4:])

    cells = eqx.filter_vmap(make)(jr.split(jr.key(3), 32))
    found = compiled(of_flow)(cells)
    assert bool(jnp.all(found.complete))
    assert found.points.shape == (32, 24, 2 * units)
    assert bool(jnp.all(found.index_sum == 1))
    increments = eqx.filter_vmap(lambda c, xs: jax.vmap(c)(xs))(cells, found.points)
    scale = jnp.maximum(1, jnp.abs(found.points))
    # c may be large where the cell never forgets; relative to it, round-off.
    assert bool(
        jnp.all(jnp.where(found.valid[..., None], jnp.abs(increments / scale), 0) < 1e-13)
    )


def test_reset_before_and_after_agree_where_they_must():
    # With a diagonal U_h and c_h = 0 the two resets are the same function.
    def make(kind, key):
        k = jr.split(key, 4)
        U_h = jnp.diag(4 * jr.normal(k[0], (2,)))
        return kind(U_h, 3 * jr.normal(k[1], (2, 2)), b_h=jr.normal(k[2], (2,)),
                    b_r=jr.normal(k[3], (2,)))  # fmt: skip

    keys = jr.split(jr.key(9), BATCH)
    before, after = (
        compiled(of_flow)(eqx.filter_vmap(functools.partial(make, kind))(keys))
        for kind in (cgru.GRU, cgru.ResetAfterGRU)
    )
    assert bool(jnp.all(before.complete & after.complete))
    for i in range(BATCH):
        assert agree(points(member(before, i)), points(member(after, i)), 1e-12)


@pytest.mark.slow
def test_three_units():
    # Uncoupled: 27 combinations of −h*, 0, h*; one unit on its fold, h = tanh(2 h + b) with
    # 2 (1 − h²) = 1, beside two that relax; coupled: index sum one.
    fold = 0.5**0.5
    b = jnp.array([jnp.arctanh(fold) - 2 * fold, 0.2, -0.3])
    three = [cgru.gru(3 * jnp.eye(3)), cgru.gru(jnp.diag(jnp.array([4.0, 1, 1])), b_h=b)]
    more = random_grus(jr.key(1), units=3, scale=2.0, size=BATCH - 2)
    cells = jax.tree.map(lambda a, b: jnp.concatenate([a[:2], b]), stacked(three), more)

    def verb(cell):
        return cgru.enumerate_equilibria(cgru.Flow(cell), capacity=32)

    found = compiled(verb)(cells)
    assert bool(jnp.all(found.complete))
    assert int(found.count[0]) == 27
    assert [int(member(found, 0).tally(k)) for k in (KINDS.sink, KINDS.source)] == [8, 1]
    assert int(found.count[1]) == 2
    assert int(member(found, 1).tally(KINDS.saddle_node_first)) == 1
    assert bool(jnp.all(found.index_sum == 1))


@pytest.mark.slow
def test_theorem_one_as_a_computation():
    # One unit: one, two (on the fold, of measure zero) or three equilibria, never more.
    def census(key):
        k = jr.split(key, 4)
        u, r, b, c = (s * jr.normal(x) for s, x in zip((6, 10, 2, 5), k, strict=True))
        found = cgru.enumerate_equilibria(cgru.Flow(cgru.gru(u, r, b, c)), capacity=8)
        return found.count, found.complete

    counts, complete = np.zeros(9, int), 0
    verb = eqx.filter_jit(eqx.filter_vmap(census))
    for seed in range(50):
        count, done = verb(jr.split(jr.key(seed), 20_000))
        counts += np.bincount(np.asarray(count), minlength=9)
        complete += int(jnp.sum(done))
    assert counts[1] + counts[3] == counts.sum() == 1_000_000
    assert counts[3] > 50_000
    assert complete == 1_000_000


def test_modules_may_be_loaded_for_the_first_time_inside_a_transformation():
    # Public names load their module on first use, which may be under jit: an array made
    # there would be a tracer that outlives its trace.
    script = """
import importlib, pkgutil, sys, jax
jax.config.update("jax_enable_x64", True)
import cgru_jax
def load(x):
    for module in pkgutil.walk_packages(cgru_jax.__path__, "cgru_jax."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    return x
jax.make_jaxpr(load)(1.0)
for name, module in list(sys.modules.items()):
    if name.startswith("cgru_jax"):
        for key, value in vars(module).items():
            assert not isinstance(value, jax.core.Tracer), f"{name}.{key}"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


# What is refused.


def test_single_precision_is_refused_with_the_cure():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        cgru.enumerate_equilibria(cgru.Flow(cgru.gru(2.0)))


@pytest.mark.parametrize(
    ("box", "match"),
    [
        (None, "box can be left out for a cell"),
        ((0.0,), "pair"),
        ((jnp.zeros(2), jnp.array([1.0, 0.0])), "empty"),
        ((jnp.zeros(2), jnp.array([1.0, jnp.inf])), r"box\[1\]\[1\] is inf"),
        ((jnp.zeros((2, 2)), 1.0), "shape"),
        ((0.0, 1.0), "shape"),
        ((jnp.zeros(2), jnp.ones(3)), r"shape \(2,\) and \(3,\)"),
    ],
)
def test_a_box_that_does_not_fit_is_refused(box, match):
    with pytest.raises(ValueError, match=match):
        cgru.enumerate_equilibria(fold(0.1), box=box)


def test_a_field_of_another_shape_is_refused():
    # The type checker of the test session is faster than the check that users meet.
    with pytest.raises((ValueError, TypeCheckError), match=r"shape|type"):
        cgru.enumerate_equilibria(cgru.Flow(lambda h: h[0]), box=(-1.0, jnp.ones(2)))
    with pytest.raises(ValueError, match="capacity"):
        cgru.enumerate_equilibria(cgru.Flow(cgru.gru(2.0)), capacity=0)


def test_a_field_without_an_interval_rule_is_refused_by_the_name_of_the_operation():
    with pytest.raises(ValueError, match="'atan2'"):
        cgru.enumerate_equilibria(
            cgru.Flow(lambda h: jnp.arctan2(h, 2.0) - h), box=(-1.0, jnp.ones(2))
        )


# Speed, in what does not depend on the machine.


@pytest.mark.slow
def test_the_loop_costs_no_more_than_three_box_tests_a_box():
    # XLA likes to compute a box test once per consumer: ten to sixty times slower.
    cells = random_grus(jr.key(0), size=4_000)
    report = eqx.filter_jit(eqx.filter_vmap(lambda c: search_report(cgru.Flow(c))))
    boxes = int(jnp.sum(report(cells).boxes))
    assert boxes / 4_000 < 33

    first = member(cells, 0)
    program, arrays = hoist(first.reduced, jnp.zeros(2))
    lanes, passes = 256, 400

    @jax.jit
    def test_alone(middle, radius):
        def body(_, state):
            middle, radius = state
            constants = [
                jax.tree.map(lambda x: jnp.broadcast_to(x, lanes), s.ravel().tolist())
                for s in map(split, arrays)
            ]
            pools = []
            for array, scalars in zip(arrays, constants, strict=True):
                pool = np.empty(array.size, object)
                for i, scalar in enumerate(scalars):
                    pool[i] = scalar
                pools.append(pool.reshape(array.shape))
            v = _boxes.examine(program, pools, [*(middle - radius)], [*(middle + radius)])
            # Something that depends on everything, and changes nothing to speak of.
            used = sum(v.low) + sum(v.high) + v.empty + v.unique
            return middle, radius + 1e-300 * jnp.where(jnp.isfinite(used), used, 0)

        return jax.lax.fori_loop(0, passes, body, (middle, radius))

    middle = jr.uniform(jr.key(1), (2, lanes), minval=-0.8, maxval=0.8)
    radius = jnp.full((2, lanes), 0.1)
    loop, alone = least_times(lambda: report(cells), lambda: test_alone(middle, radius))
    assert loop / boxes < 3 * alone / (lanes * passes)


def least_times(*works):
    """CPU-seconds of each, the least of nine, in turns: a busy machine is fast at times."""
    times = []
    with on_one_core():
        for _ in range(10):
            row = []
            for work in works:
                begin = time.process_time()
                jax.block_until_ready(work())
                row.append(time.process_time() - begin)
            times.append(row)
    return np.min(times[1:], axis=0)


@contextlib.contextmanager
def on_one_core():
    """Threads that wait for each other on several cores would count as work."""
    before = os.sched_getaffinity(0)

    def keep_to(cores):
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), cores)

    keep_to({min(before)})
    try:
        yield
    finally:
        keep_to(before)


def test_every_undecided_box_is_in_a_group():
    # The pitchfork at the origin, shifted: undecided boxes there and nowhere else.
    system = cgru.Flow(lambda h: -((h - jnp.array([0.3, 0.1])) ** 3))
    report = search_report(system, box=(-1.0, jnp.ones(2)))
    assert int(report.trouble) in (_worklist.UNDECIDED, _worklist.BUDGET, 0)
    if int(report.trouble):
        hulls = np.asarray(report.clusters)[: int(report.groups)]
        assert hulls[:, :2].min() > -0.8
        near = np.all((hulls[:, :2] <= [0.3, 0.1]) & (hulls[:, 2:] >= [0.3, 0.1]), axis=1)
        assert near.any()


def test_a_steep_positive_factor_does_not_keep_the_point_from_its_zero():
    # z varies by e^40 over the box; the zero is that of h = tanh(h/4 − 1/5), whatever z is.
    cell = cgru.gru([[0.5]], b_h=-0.2, U_z=40.0)
    found = cgru.enumerate_equilibria(cgru.Flow(cell), box=(-1.0, 1.0))
    with mpmath.workdps(30):
        exact = mpmath.findroot(lambda h: h - mpmath.tanh(h / 4 - mpmath.mpf(0.2)), -0.25)
    assert found.complete
    assert int(found.count) == 1
    np.testing.assert_allclose(found.points[0, 0], float(exact), rtol=1e-14)


def test_a_power_that_vanishes_hides_no_zero():
    # |x|^1.5 (x − 1/2) vanishes at 0 and at 1/2; at 0 it has no second derivative.
    box = (jnp.array([-1.0]), jnp.array([1.0]))
    field = lambda x: jnp.abs(x) ** 1.5 * (x - 0.5)
    found = cgru.enumerate_equilibria(cgru.Flow(field), box=box)
    assert not found.complete or int(found.count) == 2


def test_three_equilibria_close_together_beside_a_unit_that_does_not_care():
    # h₁ has 0 and two more within ±sqrt(3 d / 2), h₂ only 0: one flagged cluster, or three.
    def cell(d):
        return cgru.gru(jnp.diag(jnp.stack([2 + d, 0.5])))

    gaps = 10.0 ** -np.arange(3, 14)
    found = eqx.filter_jit(
        eqx.filter_vmap(lambda d: cgru.enumerate_equilibria(cgru.Flow(cell(d))))
    )(jnp.asarray(gaps))
    complete = np.asarray(found.complete)
    clusters = np.asarray(jnp.nansum(found.multiplicity, axis=1))
    assert complete[gaps >= 1e-11].all()
    np.testing.assert_array_equal(clusters[complete], 3)
    np.testing.assert_array_equal(np.asarray(found.index_sum)[complete], 1)


def test_a_whole_number_quotient_is_the_whole_number_below():
    box = (jnp.array([-0.12]), jnp.array([0.12]))
    half = lambda x: x - 0.1 * jax.lax.div(jnp.array([3]), jnp.array([2]))
    equilibria = cgru.enumerate_equilibria(cgru.Flow(half), box=box)
    assert equilibria.complete
    np.testing.assert_allclose(equilibria.points[0], 0.1, rtol=1e-15)


def test_equal_eigenvalues_spoil_no_gradient_but_their_own():
    # (a x − x³, −2a y): at x = 0 the eigenvalues a and −2a, at x = ±√a twice −2a.
    box = (jnp.array([-2.0, -1.0]), jnp.array([2.1, 1.1]))

    def eigenvalue(a, slot):
        field = lambda s: jnp.stack([a * s[0] - s[0] ** 3, -2 * a * s[1]])
        found = cgru.enumerate_equilibria(cgru.Flow(field), box=box, capacity=4)
        return jnp.max(found.eigenvalues[slot].real)

    slopes = jax.jit(jax.vmap(jax.grad(eigenvalue), in_axes=(None, 0)))(1.0, jnp.arange(3))
    np.testing.assert_allclose(slopes, [np.nan, 1.0, np.nan], rtol=1e-12)


def test_of_no_networks_there_are_no_equilibria():
    cells = eqx.filter_vmap(lambda a: cgru.gru(a * jnp.eye(2)))(jnp.zeros(0))
    found = eqx.filter_vmap(lambda c: cgru.enumerate_equilibria(cgru.Flow(c)))(cells)
    assert found.points.shape == (0, 24, 2)
    assert found.count.shape == (0,)
