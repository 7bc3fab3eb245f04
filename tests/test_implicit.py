"""The implicit derivative in reverse mode, where zeros and NaN meet."""

import jax
import jax.numpy as jnp
import pytest

import cgru_jax as cgru
from cgru_jax._implicit import solve_root


@pytest.mark.parametrize("mode", [jax.grad, jax.jacfwd], ids=["reverse", "forward"])
def test_next_to_a_fold_the_derivative_is_nan_and_not_zero(mode):
    # x' = p − (x − 0.3)² at p = 1e-18: the slope 5e8 is beyond what rounding lets one say.
    def root(p):
        return solve_root(
            lambda x: p - (x - 0.3) ** 2, lambda f, x: 0.3 + jnp.sqrt(p)[None], jnp.ones(1)
        )[0]

    assert jnp.isnan(jax.jit(mode(root))(1e-18))


def test_a_slot_without_a_root_leaves_the_gradient_of_the_others_alone():
    # tanh(x) = p by a solver that fails: a loss that does not use it has its own gradient.
    def loss(p):
        lost = solve_root(lambda x: jnp.tanh(x) - p, lambda f, x: x * jnp.nan, jnp.ones(1))
        return jnp.where(jnp.isnan(lost[0]), p**2, lost[0])

    assert jax.jit(jax.grad(loss))(0.5) == 1.0
    assert jax.jit(jax.hessian(loss))(0.5) == 2.0


def test_unused_slots_leave_the_gradient_of_the_used_ones_alone():
    # One unit, gates open: h = tanh(b + w h / 2), so dh/db = g / (1 − w g / 2), g = 1 − h².
    def point(b):
        found = cgru.find_equilibria(cgru.Flow(cgru.gru(1.2, b_h=b)), capacity=3)
        return jnp.nanmax(found.points)

    h, slope = jax.jit(jax.value_and_grad(point))(0.2)
    gain = 1 - h**2
    assert jnp.allclose(slope, gain / (1 - 0.6 * gain), rtol=1e-12)  # round-off only
