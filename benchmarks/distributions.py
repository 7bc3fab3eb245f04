"""The three distributions of two-unit GRUs that every benchmark here draws from."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

import cgru_jax as cgru
from cgru_jax._atlas import ATLAS

# Table 3 of the paper from its row xvi on, the rows with six equilibria and more: 21 rows
# near folds, the hardest sets that anyone has printed.
HARD_ROWS = slice(15, 36)
NAMES = ("gauss", "wide", "paper")


def draw(name: str, size: int, seed: int = 0) -> cgru.GRU:
    """`size` cells, stacked. `gauss`: weights N(0, 9), biases N(0, 1). `wide`: uniform, U_h
    in ±6, U_r in ±10, b_h in ±1, b_r in ±5. `paper`: a row of table 3 with 5 % relative and
    0.05 absolute noise, both normal. The update gate is open."""
    return _draw(name, size, seed, False)


def draw_gated(name: str, size: int, seed: int = 0) -> cgru.GRU:
    """The same, with an update gate: U_z ~ N(0, 9), b_z ~ N(0, 1)."""
    return _draw(name, size, seed, True)


def _draw(name, size, seed, gated):
    *keys, pick = jr.split(jr.key(seed + 1000 * NAMES.index(name)), 5)
    shapes = ((size, 2, 2), (size, 2, 2), (size, 2), (size, 2))
    if name == "gauss":
        arrays = [
            s * jr.normal(k, d) for s, k, d in zip((3, 3, 1, 1), keys, shapes, strict=True)
        ]
    elif name == "wide":
        arrays = [
            jr.uniform(k, d, minval=-s, maxval=s)
            for s, k, d in zip((6, 10, 1, 5), keys, shapes, strict=True)
        ]
    else:
        rows = [row for row in ATLAS.values() if row.page == 16][HARD_ROWS]
        which = jr.randint(pick, (size,), 0, len(rows))
        arrays = []
        for field, key, shape in zip(
            ("U_h", "U_r", "b_h", "b_r"), keys, shapes, strict=True
        ):
            printed = jnp.array([getattr(row, field) for row in rows], float)[which]
            a, b = jr.normal(key, (2, *shape))
            arrays.append(printed * (1 + 0.05 * a) + 0.05 * b)
    gates = [jnp.zeros((size, 2, 2)), jnp.zeros((size, 2))]
    if gated:
        a, b = jr.split(jr.fold_in(keys[0], 1))
        gates = [3 * jr.normal(a, (size, 2, 2)), jr.normal(b, (size, 2))]
    return eqx.filter_vmap(
        lambda h, r, bh, br, z, bz: cgru.gru(h, r, b_h=bh, b_r=br, U_z=z, b_z=bz)
    )(*arrays, *gates)
