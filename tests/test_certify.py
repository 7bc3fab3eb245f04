"""What is proved of a floating-point root, against roots that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru


def fold_of_one_unit(u):
    """h' = (tanh(1.8 h + b) − h)/2 and its slope, in (h, b)."""
    field = lambda h: cgru.gru(3.6, b_h=u[1:])(h)
    return jnp.stack([field(u[:1])[0], jax.jacfwd(field)(u[:1])[0, 0]])


H = np.sqrt(1 - 1 / 1.8)
FOLD = np.array([H, np.arctanh(H) - 1.8 * H])


@pytest.mark.parametrize("radius", [1e-6, 1e-9, 1e-12])
def test_a_fold_is_a_simple_root_of_point_and_parameter(radius):
    assert cgru.prove_root(fold_of_one_unit, FOLD, radius)


def test_a_root_outside_of_the_box_is_not_claimed():
    assert not cgru.prove_root(fold_of_one_unit, FOLD + 1e-8, 1e-9)
    assert cgru.prove_root(fold_of_one_unit, FOLD + 1e-8, 1e-7)


@pytest.mark.parametrize("gap", [0.0, -1e-14, 1e-14], ids="gap={}".format)
def test_a_double_root_and_what_looks_like_one_are_refused(gap):
    # (x − 0.3)² = gap has one root, none, or two; the second equation is harmless.
    near = lambda u: jnp.stack([(u[0] - 0.3) ** 2 - gap, u[1] - u[0]])
    assert not cgru.prove_root(near, [0.3, 0.3], 1e-6)


def test_the_equilibrium_of_a_fold_alone_is_refused():
    # At the parameter in floating point: is it two equilibria, or none?
    field = cgru.gru(3.6, b_h=FOLD[1])
    assert not cgru.prove_root(field, FOLD[:1], 1e-6)


def test_of_two_roots_in_the_box_none_is_called_the_only_one():
    pair = lambda u: (u - 0.3) * (u - 0.3 - 1e-8)
    assert not cgru.prove_root(pair, [0.3], 1e-7)
    assert cgru.prove_root(pair, [0.3], 1e-9)


def test_as_many_unknowns_as_it_takes():
    # A linear system: Hilbert's matrix is ill-conditioned, but not at this size.
    n = 5
    matrix = 1 / (1 + jnp.arange(n)[:, None] + jnp.arange(n))
    root = jnp.linspace(-0.3, 0.4, n)
    assert cgru.prove_root(lambda u: matrix @ (u - root), root, 1e-9)
    singular = matrix.at[0].set(matrix[1])
    assert not cgru.prove_root(lambda u: singular @ (u - root), root, 1e-9)


@pytest.mark.parametrize(
    ("residual", "root", "says"),
    [
        (lambda u: u[:1], [0.1, 0.2], "as many equations as unknowns"),
        (lambda u: u, 0.1, r"root must have shape \(N,\)"),
        (lambda u: jax.lax.erf_inv(u), [0.1], "erf_inv"),
        (lambda u: u, [np.nan], "finite"),
    ],
)
def test_bad_input_is_named(residual, root, says):
    with pytest.raises(ValueError, match=says):
        cgru.prove_root(residual, root, 1e-9)


@pytest.mark.parametrize("radius", [0.0, -1e-9, np.inf, np.nan])
def test_a_box_has_a_width(radius):
    with pytest.raises(ValueError, match="radius must be positive"):
        cgru.prove_root(lambda u: u, [0.1], float(radius))
