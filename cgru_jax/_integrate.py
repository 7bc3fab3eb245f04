"""Follow a system through time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int, PRNGKeyArray

from ._cells import AbstractCell
from ._errors import check_whole, concrete, real_array
from ._program import hoist
from ._results import RESULTS
from ._steps import follow_adaptive, follow_fixed, follow_noisy, iterate, joined
from ._systems import AbstractSystem, Flow, Map

MOST_STEPS = 10**9  # of a Map in one call: a slot number for each is held, 4 bytes


class Trajectory(eqx.Module):
    """States of one system at the times that were asked for.

    - `times`: shape `(k,)`.
    - `states`: shape `(k, n)`; NaN from the first time that was not reached.
    - `result`: how the integration ended.
    """

    times: Inexact[Array, "*batch k"] | Int[Array, "*batch k"]
    states: Float[Array, "*batch k n"]
    result: RESULTS


def integrate(
    system: AbstractSystem,
    start,
    times,
    inputs=None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 16_384,
    substeps: int | None = None,
    noise=None,
    key: PRNGKeyArray | None = None,
) -> Trajectory:
    r"""The states of a system at given times, from a given start.

    **Arguments:**

    - `system`: a `Flow` or a `Map`.
    - `start`: shape `(n,)`. Flow: the state at `times[0]`. Map: the state before any step.
    - `times`: shape `(k,)`, strictly monotone. Flow: real, in either direction. Map: counts
      of steps, integers from 0 up, known when the call is traced.
    - `inputs`: enters through the input weights of the cell that `system` reads. Flow: a
      function from a time to an input of shape `(p,)`, right-continuous where it jumps.
      The solver stops at every one of `times`, so put every jump there; between two of
      `times` the input must be smooth. Map: shape `(times[-1], p)`, row i is seen by the
      step from i to i + 1.
    - `rtol`, `atol`: local error per step of a Flow. By default two thirds of the digits
      of the dtype (4e-11 in double precision). At most `max_steps` steps are tried.
    - `substeps`: take this many equal Runge–Kutta steps of order four from each of `times`
      to the next instead of adapting them. Without error control, but in lockstep under
      `vmap`: for portraits, basins and training at graphical accuracy.
    - `noise`: makes a Flow the stochastic equation $dh = f(h)\,dt + s\,dW$ with amplitude
      s of shape `()` or `(n,)`. It needs `key` and `substeps`: steps of Heun's method,
      strong order 1 for additive noise. A doubled `substeps` refines the Brownian path of
      the same `key`, so that it shows the error of each single run.

    **Returns:** a `Trajectory`. It is differentiable in everything that `system`, `start`
    and `inputs` hold: in reverse mode with steps of its own choice, in both modes with
    `substeps` and for a Map.

    **Fails:** `nonfinite` if a parameter, `start`, `times` or an input is not finite, or
    the field at the start is not, or traced `times` are not strictly monotone: every state
    is NaN. `max_steps`: states that were not reached are NaN. `diverged`: states after the
    divergence are NaN. Under `vmap` each member fails alone.

    **Raises:** `ValueError` for shapes, options and visible `times` that do not fit.
    """
    if not isinstance(system, Flow | Map):
        raise ValueError(
            f"integrate: system must be a Flow or a Map, got {type(system).__name__}; "
            "wrap the field, as in cgru.Flow(cell)."
        )
    _check_options(system, substeps, noise, key)
    _check_tolerances(system, substeps, rtol, atol, max_steps)
    start = _checked_start(system, start)
    if isinstance(system, Map):
        return _follow_map(system, start, times, inputs)

    seen, times = times, _checked_times(times).astype(start.dtype)
    if noise is not None and concrete(seen) and np.any(np.diff(seen) < 0):
        raise ValueError("integrate: noise runs forwards; give times that rise.")
    program, arrays = hoist(_driven(system, inputs, len(start)), joined(start, times[:1]))
    if noise is not None:
        noise = real_array("integrate", "noise", noise)
        if noise.shape not in ((), start.shape):
            raise ValueError(
                f"integrate: noise has shape {noise.shape}, but start has {start.shape}; "
                "give one amplitude, or one for each component."
            )
        noise = jnp.broadcast_to(noise, start.shape).astype(start.dtype)
        states, result = follow_noisy(program, substeps, arrays, start, times, noise, key)
    elif substeps is not None:
        states, result = follow_fixed(program, substeps, arrays, start, times)
    else:
        states, result = follow_adaptive(
            program,
            max_steps,
            inputs is not None,
            arrays,
            start,
            times,
            _tolerance(rtol, start.dtype),
            _tolerance(atol, start.dtype),
        )
    return Trajectory(times, states, result)


def _check_tolerances(system, substeps, rtol, atol, max_steps):
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is None:
            continue
        if isinstance(system, Map) or substeps is not None:
            raise ValueError(
                f"integrate: {name} is for the adapted steps of a Flow; leave it out of a "
                "Map and where substeps are given."
            )
        array = real_array("integrate", name, value)
        if array.ndim or (concrete(array) and array < 0):
            raise ValueError(f"integrate: {name} must be a number ≥ 0, got {value!r}.")
    check_whole("integrate", "max_steps", max_steps, 1)


def _tolerance(given, dtype):
    return jnp.asarray(jnp.finfo(dtype).eps ** (2 / 3) if given is None else given, dtype)


def _follow_map(system, start, times, inputs):
    if not concrete(times):
        raise ValueError(
            "integrate: the times of a Map fix how many steps are compiled; pass them as "
            "a NumPy array or a constant, not as a traced argument."
        )
    counts, times = np.asarray(times), _checked_times(times)
    if (counts != np.round(counts)).any() or counts[0] < 0 or (np.diff(counts) < 0).any():
        bad = next(t for t in counts if t != round(float(t)) or t < 0 or t < counts[0])
        raise ValueError(
            f"integrate: times of a Map are counts of steps, integers that rise from 0 or "
            f"more, but they hold {bad}."
        )
    total = int(counts[-1])
    if total > MOST_STEPS:
        raise ValueError(
            f"integrate: times of a Map end at step {total}, beyond {MOST_STEPS}; take "
            "several calls."
        )
    counts = counts.astype(np.int32)
    if inputs is None:
        drive = jnp.zeros((total, 0), start.dtype)
    elif callable(inputs):
        raise ValueError(
            "integrate: a Map takes inputs as an array with one row for each step, got a "
            "function; evaluate it at the steps."
        )
    else:
        drive = real_array("integrate", "inputs", inputs)
        if drive.ndim != 2 or drive.shape[0] != total:
            raise ValueError(
                f"integrate: inputs have shape {drive.shape}, but the last of times is "
                f"{total}: give {total} rows, one for each step."
            )
        drive = drive.astype(start.dtype)
    row = jnp.zeros(drive.shape[1], start.dtype)
    program, arrays = hoist(_driven(system, inputs, len(start)), joined(start, row))
    slots = np.full(total + 1, len(counts), np.int32)
    slots[counts] = np.arange(len(counts), dtype=np.int32)
    states, result = iterate(program, len(counts), arrays, start, drive, slots)
    return Trajectory(times, states, result)


def _driven(system, inputs, n):
    """The field as a function of one vector: the state, then the time or the input."""

    def field(y):
        if inputs is None:
            return system.residual(y[:n])
        x = y[n:] if isinstance(system, Map) else inputs(y[n])
        return type(system)(system.field.with_input(x)).residual(y[:n])

    if inputs is not None and not isinstance(system.field, AbstractCell):
        raise ValueError(
            "integrate: inputs enter through the input weights of a cell, but the field is "
            f"a {type(system.field).__name__}; let the field close over them instead."
        )
    if inputs is not None and isinstance(system, Flow) and not callable(inputs):
        raise ValueError(
            "integrate: a Flow takes inputs as a function of time, got "
            f"{type(inputs).__name__}; pass for example "
            "lambda t: values[jnp.searchsorted(edges, t, side='right')]."
        )
    return field


def _check_options(system, substeps, noise, key):
    if substeps is not None:
        check_whole("integrate", "substeps", substeps, 1)
    if isinstance(system, Map) and not (substeps is noise is None):
        given = "substeps" if noise is None else "noise"
        raise ValueError(f"integrate: {given} is for a Flow; a Map has its own steps.")
    if noise is not None and substeps is None:
        raise ValueError(
            "integrate: noise needs steps of a fixed size; give substeps, the number of "
            "steps from each of times to the next."
        )
    if (noise is None) != (key is None):
        missing = "key, as from jax.random.key(0)" if key is None else "noise"
        raise ValueError(f"integrate: noise and key belong together; give {missing}.")


def _checked_start(system, start):
    start = real_array("integrate", "start", start)
    size = getattr(system.field, "size", None)
    if start.ndim != 1 or (isinstance(size, int) and start.shape != (size,)):
        needed = f"({size},), the state of this cell" if isinstance(size, int) else "(n,)"
        raise ValueError(
            f"integrate: start has shape {start.shape}, but must have shape {needed}. "
            "A batch of starts goes through eqx.filter_vmap."
        )
    start = start.astype(jnp.result_type(start, float))
    out = jax.eval_shape(system.field, start)
    if out.shape != start.shape:
        raise ValueError(
            f"integrate: the field maps start of shape {start.shape} to shape {out.shape}; "
            "it must return one increment for each component."
        )
    return start.astype(jnp.result_type(start, out.dtype))


def _checked_times(times):
    seen, times = times, real_array("integrate", "times", times)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(
            f"integrate: times has shape {times.shape}; give at least one time, shape (k,)."
        )
    if concrete(seen):
        seen = np.asarray(seen)
        steps = np.diff(seen)
        if not ((steps > 0).all() or (steps < 0).all()):
            turn = int(np.argmax(steps * np.sign(steps[0]) <= 0))
            raise ValueError(
                f"integrate: times must be strictly monotone, but times[{turn}] = "
                f"{seen[turn]} is followed by {seen[turn + 1]}."
            )
    return times
