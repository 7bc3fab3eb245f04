"""A set of equilibria: padded arrays, one row per equilibrium."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from .._results import KINDS, RESULTS


class Equilibria(eqx.Module):
    """Equilibria of one system, in `k` slots of which `count` are used.

    - `points`: shape `(k, n)`.
    - `eigenvalues`: shape `(k, n)`, of the full Jacobian of the increment.
    - `kind`: `KINDS`, shape `(k,)`; `unknown` in an unused slot.
    - `index`: Poincaré index, shape `(k,)`: sign det(−J), by degree where that vanishes.
    - `multiplicity`: how many equilibria met there, shape `(k,)`: 1 for a simple one, NaN
      where that is not known.
    - `coefficient`: of the normal form on the centre manifold, shape `(k,)`: quadratic at a
      saddle-node, cubic at a cusp, with the null vectors as in `Fold`; otherwise NaN.
    - `residual`: largest component of the increment at the point, shape `(k,)`.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `complete`: whether it is proved that there are no others.
    - `result`: how the search ended.
    """

    points: Float[Array, "*batch k n"]
    eigenvalues: Complex[Array, "*batch k n"]
    kind: KINDS
    index: Float[Array, "*batch k"]
    multiplicity: Float[Array, "*batch k"]
    coefficient: Float[Array, "*batch k"]
    residual: Float[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    complete: Bool[Array, "*batch"]
    result: RESULTS

    @property
    def count(self) -> Int[Array, "*batch"]:
        """How many equilibria there are, shape `()`; a cluster counts once."""
        return jnp.sum(self.valid, axis=-1)

    @property
    def index_sum(self) -> Float[Array, "*batch"]:
        """Sum of the indices, shape `()`: +1 on a box into which the field points
        (Poincaré–Hopf). NaN if the index of one is not known."""
        return jnp.sum(jnp.where(self.valid, self.index, 0.0), axis=-1)

    def tally(self, kind) -> Int[Array, "*batch"]:
        """How many are of this member of `KINDS`, shape `()`."""
        return jnp.sum(self.valid & (self.kind == kind), axis=-1)
