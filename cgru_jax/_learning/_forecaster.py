"""A cell that forecasts: it sees one observation and is then left to itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from .._cells import GRU, AbstractCell
from .._errors import check_finite, check_whole, concrete, real_array
from .._integrate import integrate
from .._systems import AbstractSystem, Flow, Map


class Forecaster(eqx.Module):
    r"""A gated cell with a linear readout of its units.

    From rest, $h_0 = 0$, the first observation enters as the input of the first step; all
    later inputs are zero. The forecast is $\hat w_k = C h_k + c$, k ≥ 1, with the units of
    the state (of an LSTM: h without its memory c). Read as a `Map`, a step of the cell is a
    sample; as a `Flow`, a sample is one unit of the cell's time, for the first of which the
    observation is held.

    - `cell`: with input weights of shape `(n, q)`; `C`: shape `(q, m)`; `c`: shape `(q,)`;
      `reading`: `Map` or `Flow`.

    **Source:** section 5 and eq. (14) of the ICLR 2019 submission; how the observation
    enters is left open there.
    """

    cell: AbstractCell
    C: Float[Array, "*batch q m"]
    c: Float[Array, "*batch q"]
    reading: type = eqx.field(static=True)

    def __init__(self, cell: AbstractCell, C, c=0, *, reading: type = Map):
        """`c` may be a scalar.

        **Raises:** `ValueError` for arrays that do not fit each other, for a cell without
        input weights, and for another reading.
        """
        if reading not in (Map, Flow):
            raise ValueError(
                f"Forecaster: reading must be cgru.Map or cgru.Flow, got {reading!r}."
            )
        C, c = real_array("Forecaster", "C", C), real_array("Forecaster", "c", c)
        if C.ndim != 2 or C.shape[1] != cell.units:
            raise ValueError(
                f"Forecaster: C has shape {C.shape}; with {cell.units} units it must be "
                f"(q, {cell.units})."
            )
        inputs = {
            getattr(cell, name).shape[1]
            for name in cell._fields()
            if name.startswith("W_") and getattr(cell, name) is not None
        }
        if inputs != {C.shape[0]}:
            has = f"weights for {inputs.pop()} inputs" if inputs else "no input weights"
            raise ValueError(
                f"Forecaster: the observation of {C.shape[0]} quantities enters the cell "
                f"as input, but the cell has {has}."
            )
        if c.shape not in ((), C.shape[:1]):
            raise ValueError(
                f"Forecaster: c has shape {c.shape}; give a scalar or ({C.shape[0]},)."
            )
        self.cell = cell
        self.C = C.astype(jnp.result_type(C, float))
        self.c = jnp.broadcast_to(c, C.shape[:1]).astype(self.C.dtype)
        self.reading = reading

    @classmethod
    def random(
        cls,
        key: PRNGKeyArray,
        *,
        units: int = 2,
        observed: int = 2,
        cell: type = GRU,
        reading: type = Map,
    ) -> "Forecaster":
        """Every entry uniform between ±1/√units, as frameworks begin.

        **Arguments:** `cell`: `GRU`, `ResetAfterGRU` or `LSTM`.
        """
        for name, value in (("units", units), ("observed", observed)):
            check_whole("Forecaster", name, value, 1)
        if not (isinstance(cell, type) and issubclass(cell, AbstractCell)):
            raise ValueError(
                f"Forecaster: cell must be cgru.GRU, cgru.ResetAfterGRU or cgru.LSTM, got "
                f"{cell!r}."
            )
        shapes = {"U": (units, units), "W": (units, observed)}
        names = cell._fields()
        shapes = [shapes.get(name[0], (units,)) for name in names]
        shapes += [(observed, units), (observed,)]
        edge = units**-0.5
        *arrays, C, c = (
            jr.uniform(k, shape, minval=-edge, maxval=edge)
            for k, shape in zip(jr.split(key, len(shapes)), shapes, strict=True)
        )
        return cls(cell(**dict(zip(names, arrays, strict=True))), C, c, reading=reading)

    @property
    def system(self) -> AbstractSystem:
        """The closed loop: the cell under the input zero, in its reading of time."""
        return self.reading(self.cell.with_input(jnp.zeros(self.C.shape[0], self.C.dtype)))

    def enter(self, first: Float[Array, " q"]) -> Float[Array, " n"]:
        """The state after the first step, shape `(n,)`, from an observation."""
        system = self.reading(self.cell.with_input(first))
        rest = jnp.zeros(self.cell.size, self.C.dtype)
        return integrate(system, rest, np.array([0, 1])).states[-1]

    def read(self, state: Float[Array, " n"]) -> Float[Array, " q"]:
        """What is forecast in a state, shape `(q,)`."""
        return jnp.matmul(self.C, state[: self.cell.units], precision="highest") + self.c

    def forecast(self, first: ArrayLike, steps: int) -> Float[Array, "k q"]:
        """The samples that follow an observation of shape `(q,)`; shape `(steps, q)`.

        A `Flow` is integrated by diffrax with steps of its own choice. NaN where the state
        left every bound.
        """
        check_whole("Forecaster.forecast", "steps", steps, 1)
        first = real_array("Forecaster.forecast", "first", first)
        if first.shape != self.c.shape:
            raise ValueError(
                f"Forecaster.forecast: first has shape {first.shape}, but "
                f"{self.c.shape[0]} quantities are observed. A batch goes through "
                "eqx.filter_vmap."
            )
        states = integrate(self.system, self.enter(first), np.arange(steps)).states
        return jax.vmap(self.read)(states)


def check_forecaster(owner: str, model) -> None:
    """Refuse what is no `Forecaster`, and one whose numbers cannot be worked with."""
    if not isinstance(model, Forecaster):
        raise ValueError(
            f"{owner}: model must be a cgru.Forecaster, got {type(model).__name__}."
        )
    for leaf in jax.tree.leaves(model):
        if not concrete(leaf):
            raise ValueError(
                f"{owner}: the model is traced; call {owner} outside jit, grad and vmap."
            )
        check_finite(owner, "the model's array", leaf)
