"""Where separatrices lead: portraits with equal counts, told apart or found equal."""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cgru_jax as cgru
from cgru_jax._atlas import ATLAS
from cgru_jax._manifolds._graph import NONE, _signature

NARROW = 0.3  # of a well, squared
DISTANCE = 1.1


def wells(centres):
    """Downhill in a bowl around (0.1, 0.1) with a well at each centre."""
    centres = jnp.asarray(centres) + 0.1

    def field(h):
        slope = [-0.1 * (x - 0.1) for x in h]
        for centre in centres:
            aside = [x - c for x, c in zip(h, centre, strict=True)]
            depth = jnp.exp(-(aside[0] ** 2 + aside[1] ** 2) / NARROW)
            slope = [s - 2 / NARROW * a * depth for s, a in zip(slope, aside, strict=True)]
        return jnp.stack(slope)

    return cgru.Flow(field)


def graph(centres, **options):
    system = wells(centres)
    found = cgru.enumerate_equilibria(system, box=(jnp.full(2, -2.5), jnp.full(2, 2.6)))
    assert found.complete
    counts = [int(found.tally(k)) for k in (cgru.KINDS.sink, cgru.KINDS.saddle)]
    assert counts == [4, 3]
    assert found.count == 7
    return cgru.separatrix_graph(system, found, **options)


ANGLES = 0.3 + 2 * np.pi / 3 * np.arange(3)
STAR = DISTANCE * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
STAR = np.concatenate([np.zeros((1, 2)), STAR])
CHAIN = DISTANCE * np.outer([-1.5, -0.5, 0.5, 1.5], [np.cos(0.3), np.sin(0.3)])


def test_four_sinks_in_a_chain_are_not_four_in_a_star():
    star, chain = graph(STAR), graph(CHAIN)
    assert star.resolved
    assert chain.resolved
    # The middle one of the star is reached from all saddles, no sink of a chain is.
    visits = [np.bincount(g.ends[g.ends >= 0]) for g in (star, chain)]
    assert sorted(visits[0][visits[0] > 0]) == [1, 1, 1, 3]
    assert sorted(visits[1][visits[1] > 0]) == [1, 1, 2, 2]
    assert star.signature != chain.signature
    # Mirrored, and with the wells in another order, so that every slot is another.
    assert graph(STAR[::-1] * [1, -1]).signature == star.signature
    assert graph(CHAIN[::-1] * [1, -1]).signature == chain.signature


def test_a_branch_that_is_not_followed_far_enough_is_open():
    short = graph(STAR, length=0.2)
    assert not short.resolved
    assert short.connections == []
    assert (np.asarray(short.ends)[np.array(short.kinds) == "saddle"] == -2).all()


def hill(level, turns=1.0):
    """Down or up to a level of H = y²/2 − x²/2 + x⁴/4, round the way that `turns` says:
    the level set is where every orbit that comes near ends."""

    def field(h):
        x, y = h[0] - 0.1, h[1] + 0.2
        slope, height = (x**3 - x, y), y**2 / 2 - x**2 / 2 + x**4 / 4
        pull = height - level
        return jnp.stack(
            [turns * slope[1] - pull * slope[0], -turns * slope[0] - pull * slope[1]]
        )

    return cgru.Flow(field)


@pytest.mark.slow
def test_a_branch_ends_on_the_cycle_onto_which_it_winds():
    # A saddle at H = 0 between two pits: one cycle around both, or one in each.
    starts = jnp.array([[0.1, -0.2], [1.1, -0.2], [-0.9, -0.2]]) + 1e-3
    seen = {}
    for level in (0.2, -0.15):
        system = hill(level)
        found = cgru.find_equilibria(system, starts, capacity=3)
        seen[level] = graph = cgru.separatrix_graph(system, found)
        assert graph.resolved
        assert graph.connections == []
        for cycle in graph.cycles:
            x, y = (np.asarray(cycle.points) - [0.1, -0.2]).T
            assert abs(y**2 / 2 - x**2 / 2 + x**4 / 4 - level).max() < 1e-9  # of the mesh
    both, apart = seen.values()
    assert len(both.cycles) == 1
    assert len(apart.cycles) == 2
    saddle = both.kinds.index("saddle")
    assert both.ends[saddle].tolist() == [3, 3]
    assert sorted(apart.ends[saddle].tolist()) == [3, 4]
    # Which pit is which is no matter of the signature.
    assert both.signature == "cycle, saddle(0 0), source, source"
    assert apart.signature == "cycle, cycle, saddle(0 1), source, source"


# Rows xii and xiii where their collisions are exact (experiments/atlas_repair.py).
REPAIRED = {
    "xii": [
        1.9999605775425116, 0.00021633307176722712, -3.038903005611756e-05,
        2.00015912177264, 0.9999897695189597, -2.000011348207431, 2.9999874620079123,
        1.000079272424091, -0.054422380582139725, 0.0004209841628016513,
        -0.10004026295046858, -0.019863388741948016,
    ],
    "xiii": [
        2.0005040735875754, -8.469261237691252e-08, 0.0001493291005448624,
        4.000000330259304, 1.0002233722332443, -2.000000018496726, 2.9999996964148288,
        0.9999999940407813, -0.0586063464557705, 9.330025377446832e-05,
        -0.08461984974200636, -0.21999897338033111,
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def found():
    system = {name: cgru.Flow(ATLAS[name].cell()) for name in ("2", "x", "xi")}
    for name, row in REPAIRED.items():
        U_h, U_r, b_h, b_r = np.split(np.array(row), [4, 8, 10])
        cell = cgru.gru(U_h.reshape(2, 2), U_r.reshape(2, 2), b_h, b_r)
        system[name] = cgru.Flow(cell)
    return {name: (s, cgru.enumerate_equilibria(s)) for name, s in system.items()}


@pytest.fixture(scope="module")
def rows(found):
    return {name: cgru.separatrix_graph(*pair) for name, pair in found.items()}


@pytest.mark.slow
def test_the_four_sinks_of_figure_2_and_their_saddles_are_a_ring(rows):
    ring = rows["2"]
    assert ring.resolved
    ends = np.asarray(ring.ends)
    reached = ends[np.array(ring.kinds) == "saddle"]
    assert len(reached) == 4
    assert {ring.kinds[j] for j in reached.ravel()} == {"sink"}
    assert sorted(np.bincount(reached.ravel())[np.array(ring.kinds) == "sink"]) == [2] * 4


@pytest.mark.slow
def test_mirror_images_in_the_table_have_one_signature(rows):
    # Rows x and xi as printed. The axis that carries both saddles is invariant, so one of
    # them runs into the other.
    assert rows["x"].signature == rows["xi"].signature
    assert len(rows["x"].connections) == len(rows["xi"].connections) == 1
    assert not rows["x"].resolved


@pytest.mark.slow
def test_rows_of_equal_counts_differ_in_where_the_saddle_leads(found, rows):
    kinds = [sorted(rows[name].kinds) for name in ("xii", "xiii")]
    assert kinds[0] == kinds[1]
    assert found["xii"][1].complete
    assert found["xiii"][1].complete
    assert rows["xii"].connections == []
    ((_, there),) = rows["xiii"].connections
    assert rows["xiii"].kinds[there] == "saddle_node_first"
    assert rows["xii"].signature != rows["xiii"].signature


@st.composite
def graphs(draw):
    kinds = draw(st.lists(st.sampled_from(["sink", "saddle", "source"]), max_size=6))
    anything = st.integers(0, max(len(kinds) - 1, 0))
    pair = lambda k: [draw(anything), draw(anything)] if k == "saddle" else [NONE, NONE]
    return kinds, [pair(k) for k in kinds]


def reordered(graph, order):
    kinds, ends = graph
    place = {old: new for new, old in enumerate(order)} | {NONE: NONE}
    return [kinds[i] for i in order], [[place[j] for j in ends[i]] for i in order]


def plain(graph):
    return [(k, *sorted(pair)) for k, pair in zip(*graph, strict=True)]


@settings(max_examples=60, deadline=None)
@given(graphs(), graphs(), st.randoms(use_true_random=False))
def test_signatures_are_equal_exactly_for_graphs_of_one_form(first, second, random):
    order = list(range(len(first[0])))
    random.shuffle(order)
    moved = reordered(first, order)
    assert _signature(*moved) == _signature(*first)
    # By trying every order.
    equal = len(first[0]) == len(second[0]) and any(
        plain(reordered(first, order)) == plain(second)
        for order in itertools.permutations(range(len(first[0])))
    )
    assert (_signature(*first) == _signature(*second)) == equal


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2,), (3, 3), (5, 4, 2)])
def test_equilibria_that_do_not_fit_are_refused(found, shape):
    system, equilibria = found["2"]
    other = eqx.tree_at(lambda e: e.points, equilibria, jnp.zeros(shape))
    with pytest.raises(ValueError, match="separatrix_graph: equilibria must be those of"):
        cgru.separatrix_graph(system, other)
