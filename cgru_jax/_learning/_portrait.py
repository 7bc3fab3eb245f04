"""Train a cell towards dynamics, not towards data."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._cells import AbstractCell
from .._errors import check_whole, check_x64
from .._results import RESULTS

LARGEST = 0.2  # of what is wanted, in one step: the last solution is the next guess
HALVINGS = 6  # of a step after which the dynamics could not be found


class Shaped(NamedTuple):
    """A cell that was shaped.

    - `cell`: the one that lacks least; `memory`: with it. `lack`: shape `(steps + 1, k)`,
      what was wanted less what was there, at the start and after every step.
    - `result`: `successful`, or `not_converged` with the best cell that was reached.
    """

    cell: AbstractCell
    lack: Float[np.ndarray, "s k"]
    memory: Any
    result: RESULTS


def fit_portrait(
    cell: AbstractCell, wanted, memory=None, *, steps: int = 40, tol: float = 1e-10
) -> Shaped:
    """Change a cell as little as possible at each step until its dynamics is as wanted.

    What is wanted is a function of the cell, made of the verbs of this package: the period
    or a multiplier of `find_cycle`, the place or an eigenvalue of an equilibrium, the
    `distance` of `nearest_bifurcation`. Its derivative goes through their solutions.

    **Arguments:**

    - `cell`: where to begin; it must have what is wanted to be otherwise.
    - `wanted`: `wanted(cell, memory)` returns what is lacking, shape `(k,)`, and a new
      memory. Write the lack in parts of what is wanted, `period / 20 - 1`: no step demands
      more than a fifth. Memory is any pytree of arrays, such as the last cycle's first
      point and period, from which the next one is found.
    - `steps`: at most so many. `tol`: how small every lack shall be.

    **Returns:** `Shaped`.

    **Fails:** `not_converged` if steps run out, or where a lack is NaN however small the
    step: what was wanted is not there any more.

    **Raises:** `ValueError` in single precision, and for a `wanted` that returns other
    shapes.

    **Source:** derived here: Newton's method for fewer equations than unknowns, with the
    step of least norm.
    """
    verb = "fit_portrait"
    if not callable(wanted):
        raise ValueError(f"{verb}: wanted must be a function of a cell, got {wanted!r}.")
    check_whole(verb, "steps", steps, 0)
    if not tol >= 0:
        raise ValueError(f"{verb}: tol must be a number that is not negative, got {tol}.")
    theta, build = jax.flatten_util.ravel_pytree(cell)
    check_x64(verb, theta.dtype)

    @eqx.filter_jit
    def demand(theta, memory):
        def lack(theta):
            given = wanted(build(theta), memory)
            if not isinstance(given, tuple) or len(given) != 2:
                raise ValueError(
                    f"{verb}: wanted must return a pair, what is lacking and a memory, got "
                    f"{type(given).__name__}."
                )
            value, following = given
            shape = jnp.shape(value)
            if len(shape) != 1 or 0 in shape:
                raise ValueError(
                    f"{verb}: wanted must return what is lacking, shape (k,), got {shape}."
                )
            return value, (value, following)

        slope, (value, following) = jax.jacfwd(lack, has_aux=True)(theta)
        return value, slope, following

    worst = lambda value: float(jnp.max(jnp.abs(value)))
    value, slope, following = demand(theta, memory)
    rows, good = [np.asarray(value)], bool(jnp.all(jnp.isfinite(slope)))
    best = worst(value), theta, following
    while good and len(rows) <= steps and not worst(value) <= tol:
        part = jnp.minimum(1, LARGEST / jnp.max(jnp.abs(value)))
        move = -jnp.linalg.lstsq(slope, part * value)[0]
        for _ in range(HALVINGS):
            trial = demand(theta + move, following)
            good = bool(jnp.all(jnp.isfinite(trial[0])) & jnp.all(jnp.isfinite(trial[1])))
            if good:
                theta, (value, slope, following) = theta + move, trial
                rows.append(np.asarray(value))
                if not worst(value) >= best[0]:
                    best = worst(value), theta, following
                break
            move = move / 2
    least, theta, following = best
    result = RESULTS.successful if least <= tol else RESULTS.not_converged
    return Shaped(build(theta), np.array(rows), following, result)
