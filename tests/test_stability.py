"""Kinds and indices of equilibria whose linear part, or its failure, is known."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax._program import hoist

from . import problems

KINDS = cgru.KINDS
PLACE = np.array([0.4, -0.3])


def at_place(field, reading=cgru.Flow):
    """Classify the equilibrium of `field` after moving it from the origin to PLACE."""
    system = reading(problems.shifted(field, PLACE))
    return cgru.classify(system, jnp.asarray(PLACE)), system


def linear(*rows):
    return lambda h: jnp.array(rows) @ h


@pytest.mark.parametrize(
    ("field", "kind", "index"),
    [
        (linear([-1.0, 2.0], [-2.0, -1.0]), KINDS.sink, 1),
        (linear([1.0, 2.0], [-2.0, 1.0]), KINDS.source, 1),
        (linear([1.0, 0.5], [0.0, -2.0]), KINDS.saddle, -1),
        (linear([0.0, 3.0], [-3.0, 0.0]), KINDS.hopf, 1),
        (lambda h: jnp.stack([h[0] ** 2, -h[1]]), KINDS.saddle_node_first, 0),
        (lambda h: jnp.stack([h[0] ** 2, h[1]]), KINDS.saddle_node_second, 0),
        (lambda h: jnp.stack([-(h[0] ** 3), -h[1]]), KINDS.codimension_two, 1),
        (lambda h: jnp.stack([h[0] ** 3, -h[1]]), KINDS.codimension_two, -1),
        (lambda h: jnp.stack([h[1], h[0] ** 2]), KINDS.codimension_two, 0),
        # Re and Im of w^2, of its conjugate, and of w^3 (w = x + iy): winding 2, -2, 3.
        (lambda h: jnp.stack([h[0] ** 2 - h[1] ** 2, 2 * h[0] * h[1]]),
         KINDS.codimension_two, 2),
        (lambda h: jnp.stack([h[0] ** 2 - h[1] ** 2, -2 * h[0] * h[1]]),
         KINDS.codimension_two, -2),
        (lambda h: jnp.stack([h[0] ** 3 - 3 * h[0] * h[1] ** 2,
                              3 * h[0] ** 2 * h[1] - h[1] ** 3]),
         KINDS.codimension_two, 3),
    ],
)  # fmt: skip
def test_kind_and_index_of_a_textbook_equilibrium(field, kind, index):
    stability, system = at_place(field)
    assert stability.kind == kind
    regular = kind in (KINDS.sink, KINDS.source, KINDS.saddle, KINDS.hopf)
    assert bool(stability.singular) != regular
    by_degree = cgru.degree(system, jnp.asarray(PLACE), jnp.asarray(0.1))
    assert by_degree == index
    if regular:
        assert stability.index == index
    else:
        assert jnp.isnan(stability.index)


@pytest.mark.parametrize(
    ("multipliers", "kind"),
    [
        ([0.5, -0.9], KINDS.sink),
        ([1.5, -1.2], KINDS.source),
        ([0.5, -1.2], KINDS.saddle),
        ([0.5, -1.0], KINDS.degenerate),
        ([1.0, 0.3], KINDS.codimension_two),  # a linear map has no quadratic term
    ],
)
def test_a_map_is_judged_by_its_multipliers(multipliers, kind):
    field = linear([multipliers[0] - 1, 0.0], [0.0, multipliers[1] - 1])
    assert at_place(field, cgru.Map)[0].kind == kind


def test_a_pair_on_the_unit_circle_is_a_hopf_point_of_the_map():
    turn = 0.7
    field = linear(
        [np.cos(turn) - 1, -np.sin(turn)],
        [np.sin(turn), np.cos(turn) - 1],
    )
    assert at_place(field, cgru.Map)[0].kind == KINDS.hopf
    assert at_place(field, cgru.Flow)[0].kind == KINDS.sink  # cos(0.7) − 1 < 0


def test_the_hopf_point_of_the_rotation_is_no_sink_by_rounding():
    alpha = np.arccos(2 / 3)
    rotation = 3 * np.array(
        [[np.cos(alpha), -np.sin(alpha)], [np.sin(alpha), np.cos(alpha)]]
    )
    stability = cgru.classify(cgru.Flow(cgru.gru(rotation)), jnp.zeros(2))
    assert stability.kind == KINDS.hopf
    # λ = ±i (3/2 sin α) / 2, because z = r = 1/2
    np.testing.assert_allclose(
        np.sort(stability.eigenvalues.imag), [-np.sqrt(5) / 4, np.sqrt(5) / 4], rtol=1e-14
    )


def test_one_dimension_has_its_own_index():
    for power, sign, index in ((1, -1, 1), (1, 1, -1), (2, 1, 0), (3, -1, 1), (3, 1, -1)):
        system = cgru.Flow(lambda x, p=power, s=sign: s * (x - 0.6) ** p)
        place = jnp.array([0.6])
        assert cgru.degree(system, place, jnp.asarray(0.2)) == index
        if power == 1:
            assert cgru.classify(system, place).index == index
    kinds = [
        cgru.classify(cgru.Flow(lambda x, p=p: (x - 0.6) ** p), jnp.array([0.6])).kind
        for p in (2, 3)
    ]
    assert kinds[0] == KINDS.saddle_node_first
    assert kinds[1] == KINDS.codimension_two


@pytest.mark.parametrize("seed", range(5))
def test_closed_form_eigenvalues_are_numpys(seed):
    matrix = np.random.default_rng(seed).normal(size=(2, 2)) * 10.0 ** (3 * seed - 6)
    stability = cgru.classify(cgru.Flow(lambda h: jnp.asarray(matrix) @ h), jnp.zeros(2))
    ours = np.sort_complex(np.asarray(stability.eigenvalues))
    np.testing.assert_allclose(ours, np.sort_complex(np.linalg.eigvals(matrix)), rtol=1e-12)


def test_the_small_one_of_two_real_eigenvalues_has_all_its_digits():
    # Every entry, and the determinant 4, is a floating-point number.
    matrix = [[-(2.0**27), 2.0**27], [1.0, -(1 + 2.0**-25)]]
    ours = np.sort(at_place(linear(*matrix))[0].eigenvalues.real)
    with mpmath.workdps(40):
        exact = sorted(mpmath.eig(mpmath.matrix(matrix), right=False), key=lambda x: x.real)
    np.testing.assert_allclose(ours, [float(x.real) for x in exact], rtol=1e-14)


def test_a_pair_is_on_the_axis_to_the_rounding_of_the_trace():
    # The trace is one unit in the last place of 3, and large beside the frequency 1e-4.
    trace, frequency = np.spacing(3.0), 1e-4
    field = linear([3 + trace, 1.0], [-(9 + frequency**2), -3.0])
    assert at_place(field)[0].kind == KINDS.hopf


def test_three_dimensions_use_the_same_rules():
    for rates, kind in (
        ((-1, -2, -3), KINDS.sink),
        ((1, 2, 3), KINDS.source),
        ((-1, 2, -3), KINDS.saddle),
    ):
        field = lambda h, r=rates: jnp.array(r) * (h - 0.2)
        stability = cgru.classify(cgru.Flow(field), jnp.full(3, 0.2))
        assert stability.kind == kind
        assert stability.index == np.prod(np.sign([-r for r in rates]))
    fold = lambda h: jnp.stack([(h[0] - 0.2) ** 2, -h[1], 2 * h[2]])
    stability = cgru.classify(cgru.Flow(fold), jnp.array([0.2, 0.0, 0.0]))
    assert stability.kind == KINDS.saddle_node_second


def test_a_point_that_is_not_finite_is_unknown():
    stability = jax.jit(lambda p: cgru.classify(cgru.Flow(problems.cubic), p))(
        jnp.array([jnp.nan])
    )
    assert stability.kind == KINDS.unknown
    assert jnp.isnan(stability.eigenvalues).all()


@pytest.mark.parametrize("shape", [(3,), (1, 2), ()])
def test_a_point_that_does_not_fit_is_refused_with_both_shapes(shape):
    flow = cgru.Flow(cgru.gru(jnp.eye(2)))
    with pytest.raises(ValueError, match="point") as caught:
        cgru.classify(flow, jnp.zeros(shape))
    assert str(shape) in str(caught.value)
    assert "(2,)" in str(caught.value)


def test_the_degree_of_a_single_precision_field_is_counted_in_it():
    # z² about its double zero; programs are traced in the precision of the state.
    place = jnp.array([0.3, -0.2], jnp.float32)
    program, arrays = hoist(
        lambda h: jnp.stack(
            [
                (h[0] - place[0]) ** 2 - (h[1] - place[1]) ** 2,
                2 * (h[0] - place[0]) * (h[1] - place[1]),
            ]
        ),
        place,
    )
    system = cgru.Flow(lambda h: program(arrays, h))
    assert cgru.degree(system, place, jnp.float32(0.1)) == 2
