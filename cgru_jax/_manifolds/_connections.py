"""Orbits that lead from a saddle back to it, or on to another one."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._conditions import hoist_field, pose
from .._errors import check_positive, real_array
from .._results import RESULTS
from .._systems import Flow
from ._connect import connect

INTERVALS = 160  # the loop of Duffing's equation to 1e-10


class Homoclinic(eqx.Module):
    """An orbit that leaves a saddle and comes back to it.

    - `points`: shape `(N, n)`, from just after the saddle to just before it (1e-6 of
      `length` away); `times`: shape `(N,)`, from 0.
    - `parameter`: shape `()`; `saddle`: shape `(n,)`.
    - `saddle_quantity`: shape `()`, the positive eigenvalue plus the largest real part
      below zero. Negative: one stable cycle is born; positive: a cycle that is not stable.
    - `distance`: shape `()`, how far saddle and parameter lie from the guess.
    - `result`: how it ended.
    """

    points: Float[Array, "*batch N n"]
    times: Float[Array, "*batch N"]
    parameter: Float[Array, "*batch"]
    saddle: Float[Array, "*batch n"]
    saddle_quantity: Float[Array, "*batch"]
    distance: Float[Array, "*batch"]
    result: RESULTS


class Heteroclinic(eqx.Module):
    """An orbit from one saddle to another: as `Homoclinic`, with `start` and `end`, the two
    saddles, shape `(n,)`."""

    points: Float[Array, "*batch N n"]
    times: Float[Array, "*batch N"]
    parameter: Float[Array, "*batch"]
    start: Float[Array, "*batch n"]
    end: Float[Array, "*batch n"]
    distance: Float[Array, "*batch"]
    result: RESULTS


def locate_homoclinic(
    family: Callable,
    saddle: ArrayLike,
    parameter: ArrayLike,
    *,
    side: int = 1,
    length: ArrayLike = 20.0,
    intervals: int = INTERVALS,
) -> Homoclinic:
    """The parameter at which the orbit that leaves a saddle comes back to it.

    At the guess the orbit is followed to its first pass by the saddle; Newton's method
    then closes what is left open, moving the parameter.

    **Arguments:**

    - `family`: from a parameter, shape `()`, to a `Flow`.
    - `saddle`, `parameter`: a guess. The saddle has exactly one positive eigenvalue; for
      one negative and several positive ones, reverse the time of the family.
    - `side`: 1 for the orbit on the side on which the largest component of the eigenvector
      grows, −1 for the other.
    - `length`: shape `()`, within which arclength the orbit comes back.
    - `intervals`: an even number, of the mesh.

    **Returns:** a `Homoclinic`, with derivatives of every order with respect to everything
    that the family closes over (of the points at frozen times).

    **Fails:** NaN, and `result` is `nonfinite`, `no_saddle`, `no_connection` (the orbit at
    the guess does not come back, or only a part of it was found), `not_converged`,
    `elsewhere` (far from the guess), or `degenerate` (the connection does not break as the
    parameter moves, as in a conservative family). `ValueError` for a `Map`, in single
    precision, and for shapes that do not fit.

    **Source:** see `_pieces.py`; the saddle quantity: Kuznetsov, Elements of Applied
    Bifurcation Theory, chapter 6.
    """
    verb = "locate_homoclinic"
    posed = _pose(verb, family, saddle, None, parameter, side, length, intervals)
    orbit, origin, _ = connect(*posed)
    return Homoclinic(
        **orbit,
        saddle=origin.point,
        saddle_quantity=origin.rate + origin.slowest,
    )


def locate_heteroclinic(
    family: Callable,
    start: ArrayLike,
    end: ArrayLike,
    parameter: ArrayLike,
    *,
    side: int = 1,
    length: ArrayLike = 20.0,
    intervals: int = INTERVALS,
) -> Heteroclinic:
    """The parameter at which the orbit that leaves one saddle comes to another.

    **Arguments:** as `locate_homoclinic`, with guesses of the two saddles, each with
    exactly one positive eigenvalue.

    **Returns:** a `Heteroclinic`.

    **Fails:** as `locate_homoclinic`.
    """
    verb = "locate_heteroclinic"
    posed = _pose(verb, family, start, end, parameter, side, length, intervals)
    orbit, origin, target = connect(*posed)
    return Heteroclinic(**orbit, start=origin.point, end=target.point)


def _pose(verb, family, start, end, parameter, side, length, intervals):
    field, reading, start, parameter = pose(verb, family, start, parameter, 1)
    if not issubclass(reading, Flow):
        raise ValueError(f"{verb}: the family must return a Flow, got {reading.__name__}.")
    if start.shape[0] < 2:
        raise ValueError(f"{verb}: the saddle has shape {start.shape}; it needs n ≥ 2.")
    if end is not None:
        end = real_array(verb, "end", end).astype(start.dtype)
        if end.shape != start.shape:
            raise ValueError(
                f"{verb}: start and end must have the same shape, got {start.shape} and "
                f"{end.shape}."
            )
    if side not in (1, -1):
        raise ValueError(f"{verb}: side must be 1 or -1, got {side!r}.")
    length = real_array(verb, "length", length).astype(start.dtype)
    check_positive(verb, "length", length)
    if not isinstance(intervals, int) or intervals < 16 or intervals % 2:
        raise ValueError(
            f"{verb}: intervals must be an even number ≥ 16, got {intervals!r}."
        )
    program, arrays = hoist_field(field, start, parameter)
    side = jnp.asarray(side, start.dtype)
    return program, intervals, arrays, start, end, parameter, side, length
