"""A program written out in scalars computes what the program computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import _scalars
from cgru_jax._program import hoist

MATRIX = jnp.array([[1.2, -0.7], [0.4, 2.1]])


def readout(h):
    hidden = jax.nn.softplus(jnp.arange(1.0, 7.0).reshape(3, 2) @ h)
    return jnp.array([[0.1, -0.2, 0.3], [0.2, 0.1, -0.1]]) @ hidden - h


FIELDS = {
    "gru": cgru.gru(MATRIX, MATRIX.T, 0.3, [0.1, 0.2], -MATRIX, 0.5),
    "reset after": cgru.ResetAfterGRU(MATRIX, MATRIX.T, b_h=0.3, c_h=[0.1, -0.4]),
    "lstm of one unit": cgru.LSTM(1.5, -0.3, 0.2, 2.0, 0.1, 0.2, 0.3, 0.4),
    "softplus keeps its rule": readout,
    "indexing": lambda h: jnp.stack([h[::-1][0] ** 3, jnp.concatenate([h, h])[2] * h[1]]),
    "reductions": lambda h: jnp.stack([jnp.sum(h**2), jnp.max(h) - jnp.prod(h)]),
    "a loop": lambda h: jax.lax.fori_loop(0, 3, lambda i, x: jnp.sin(x + i), h),
    "choice": lambda h: jnp.where(h > 0, jnp.exp(h), h[0] * jnp.ones(2)),
    "outer": lambda h: jnp.einsum("i,ij,j->j", h, MATRIX, jnp.tanh(h)),
}


@pytest.mark.parametrize("name", FIELDS)
def test_scalars_equal_arrays(name):
    field = FIELDS[name]
    h = jnp.array([0.37, -0.81])
    program, arrays = hoist(field, h)
    got = jnp.stack(_scalars.evaluate(program, arrays, [h[0], h[1]]))
    np.testing.assert_allclose(got, field(h), rtol=1e-14)  # sums in another order
    column = jax.jvp(
        lambda x: jnp.stack(_scalars.evaluate(program, arrays, [x[0], x[1]])),
        (h,),
        (jnp.array([0.2, -0.5]),),
    )[1]
    np.testing.assert_allclose(
        column, jax.jvp(field, (h,), (jnp.array([0.2, -0.5]),))[1], rtol=1e-13
    )


def test_split_and_join_are_inverse():
    array = jnp.arange(12.0).reshape(3, 2, 2)
    np.testing.assert_array_equal(_scalars.join(_scalars.split(array)), array)


def test_programs_are_equal_by_what_they_compute():
    h = jnp.zeros(2)
    one, _ = hoist(lambda x: jnp.tanh(MATRIX @ x), h)
    another = 2 * MATRIX
    other, _ = hoist(lambda y: jnp.tanh(another @ y), h)
    different, _ = hoist(lambda x: jnp.sin(MATRIX @ x), h)
    longer, _ = hoist(lambda x: jnp.tanh(x), jnp.zeros(3))
    assert one == other  # another matrix is another argument, not another program
    assert hash(one) == hash(other)
    assert one != different
    assert one != longer


def test_a_program_that_is_long_in_scalars_is_left_alone():
    wide, _ = hoist(
        lambda h: jnp.ones((2, 500)) @ jnp.tanh(jnp.ones((500, 2)) @ h), jnp.ones(2)
    )
    assert not _scalars.worthwhile(wide)
    assert _scalars.worthwhile(hoist(FIELDS["gru"], jnp.ones(2))[0])
