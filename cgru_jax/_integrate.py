"""Follow a system through time."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int, PRNGKeyArray

from ._cells import AbstractCell
from ._errors import concrete, real_array
from ._linalg import CLOSED_FORM_SIZE
from ._program import hoist
from ._results import RESULTS, choose
from ._scalars import evaluate, worthwhile
from ._systems import AbstractSystem, Flow, Map


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
    start = _checked_start(system, start)
    if isinstance(system, Map):
        return _follow_map(system, start, times, inputs)

    if noise is not None and concrete(times) and np.any(np.diff(times) < 0):
        raise ValueError("integrate: noise runs forwards; give times that rise.")
    times = _checked_times(times).astype(start.dtype)
    program, arrays = hoist(_driven(system, inputs, len(start)), _with(start, times[:1]))
    if noise is not None:
        noise = real_array("integrate", "noise", noise)
        if noise.shape not in ((), start.shape):
            raise ValueError(
                f"integrate: noise has shape {noise.shape}, but start has {start.shape}; "
                "give one amplitude, or one for each component."
            )
        noise = jnp.broadcast_to(noise, start.shape).astype(start.dtype)
        states, result = _stochastic(program, substeps, arrays, start, times, noise, key)
    elif substeps is not None:
        states, result = _fixed(program, substeps, arrays, start, times)
    else:
        states, result = _adaptive(
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
    counts = counts.astype(np.int32)
    total = int(counts[-1])
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
    program, arrays = hoist(_driven(system, inputs, len(start)), _with(start, row))
    slots = np.full(total + 1, len(counts), np.int32)
    slots[counts] = np.arange(len(counts), dtype=np.int32)
    states, result = _iterate(program, len(counts), arrays, start, drive, slots)
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
    if substeps is not None and (not isinstance(substeps, int) or substeps < 1):
        raise ValueError(f"integrate: substeps must be an integer ≥ 1, got {substeps!r}.")
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


def _with(h, extra):
    return jnp.concatenate([h, extra.astype(h.dtype)])


def _is_clean(program, arrays, start, extras):
    """Whether every number that is needed is there."""
    finite = [jnp.isfinite(array).all() for array in (*arrays, start, extras)]
    if len(extras):
        finite.append(jnp.isfinite(program(arrays, _with(start, extras[0]))).all())
    return jnp.stack(finite).all()


def _is_monotone(times):
    steps = jnp.diff(times)
    return (steps > 0).all() | (steps < 0).all()


def _judged(clean, states):
    """States and result of a fixed number of steps."""
    result = choose(
        RESULTS,
        RESULTS.successful,
        (~clean, RESULTS.nonfinite),
        (~jnp.isfinite(states).all(), RESULTS.diverged),
    )
    # A running sum of finite increments never returns from infinity, so the rows after a
    # failure are marked by their own values.
    alive = clean & jnp.isfinite(states).all(axis=1, keepdims=True)
    return jnp.where(alive, states, jnp.nan), result


def _pieces(program, arrays, n, extra):
    """How to hold a state and evaluate the field: `n` scalars if small, else one vector."""
    if n <= CLOSED_FORM_SIZE and worthwhile(program):

        def field(h, x):
            return evaluate(program, arrays, [*h, *(x[i] for i in range(extra))])

        return lambda h: [h[i] for i in range(n)], field, lambda h: jnp.stack(h, axis=-1)

    def field(h, x):
        return [program(arrays, _with(h[0], x))]

    return lambda h: [h], field, lambda h: h[0]


@eqx.filter_jit
def _iterate(program, kept, arrays, start, drive, slots):
    clean = _is_clean(program, arrays, start, drive)
    split, field, join = _pieces(program, arrays, start.size, drive.shape[1])

    def keep(buffers, h, slot):
        return [b.at[slot].set(x, mode="drop") for b, x in zip(buffers, h, strict=True)]

    def step(carry, now):
        h, buffers = carry
        x, slot = now
        h = _plus(h, 1, field(h, x))
        return (h, keep(buffers, h, slot)), None

    h = split(start)
    buffers = [jnp.full((kept, *x.shape), jnp.nan, x.dtype) for x in h]
    buffers = keep(buffers, h, slots[0])
    (_, buffers), _ = jax.lax.scan(step, (h, buffers), (drive, jnp.asarray(slots[1:])))
    return _judged(clean, join(buffers))


@eqx.filter_jit
def _fixed(program, substeps, arrays, start, times):
    clean = _is_clean(program, arrays, start, times[:, None]) & _is_monotone(times)
    split, field, join = _pieces(program, arrays, start.size, 1)
    # An input that jumps at the end of an interval has its old value inside the interval.
    shy = 64 * jnp.finfo(times.dtype).eps * jnp.max(jnp.abs(times))

    def interval(h, ends):
        dt = (ends[1] - ends[0]) / substeps
        end = ends[1] - jnp.sign(dt) * shy

        def step(h, i):
            at = ends[0] + i * dt
            nearest = jnp.where(i == substeps - 1, end, at + dt)
            k1 = field(h, at[None])
            k2 = field(_plus(h, dt / 2, k1), (at + dt / 2)[None])
            k3 = field(_plus(h, dt / 2, k2), (at + dt / 2)[None])
            k4 = field(_plus(h, dt, k3), nearest[None])
            outer, inner = _plus(k1, 1, k4), _plus(k2, 1, k3)
            return _plus(h, dt / 6, _plus(outer, 2, inner)), None

        h, _ = jax.lax.scan(step, h, jnp.arange(substeps))
        return h, h

    first = split(start)
    _, later = jax.lax.scan(interval, first, (times[:-1], times[1:]))
    states = [jnp.concatenate([a[None], b]) for a, b in zip(first, later, strict=True)]
    return _judged(clean, join(states))


def _plus(h, factor, k):
    return [a + factor * b for a, b in zip(h, k, strict=True)]


@eqx.filter_jit
def _adaptive(program, max_steps, driven, arrays, start, times, rtol, atol):
    clean = _is_clean(program, arrays, start, times[:, None]) & _is_monotone(times)
    if len(times) == 1:
        return _judged(clean, start[None])
    # Given NaN, diffrax returns the start as the answer: let a bad member rest at zero.
    start = jnp.where(clean, start, 0)
    times = jnp.where(clean, times, jnp.arange(len(times), dtype=times.dtype))

    def field(t, h, arrays):
        return jnp.where(clean, program(arrays, _with(h, t[None])), 0)

    controller = diffrax.PIDController(rtol=rtol, atol=atol)
    if driven and len(times) > 2:
        # At rest an adaptive step grows until it skips a whole pulse: stop at every time.
        controller = diffrax.ClipStepSizeController(controller, jump_ts=times[1:-1])
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        times[0],
        times[-1],
        None,
        start,
        args=arrays,
        saveat=diffrax.SaveAt(
            subs=[diffrax.SubSaveAt(ts=times), diffrax.SubSaveAt(t1=True)]
        ),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )
    states, (last,) = solution.ys
    failed = solution.result != diffrax.RESULTS.successful
    # Steps of the size of round-off at a state beyond all digits: it runs off to infinity.
    bound = (1 + jnp.max(jnp.abs(start))) / jnp.finfo(start.dtype).eps ** (3 / 4)
    away = ~(jnp.max(jnp.abs(last)) < bound)
    result = choose(
        RESULTS,
        RESULTS.successful,
        (~clean, RESULTS.nonfinite),
        (failed & away, RESULTS.diverged),
        (failed, RESULTS.max_steps),
    )
    alive = clean & jnp.isfinite(states).all(axis=1, keepdims=True)
    return jnp.where(alive, states, jnp.nan), result


@eqx.filter_jit
def _stochastic(program, substeps, arrays, start, times, noise, key):
    forwards = (jnp.diff(times) > 0).all()
    clean = _is_clean(program, arrays, start, times[:, None]) & forwards
    clean &= jnp.isfinite(noise).all()
    if len(times) == 1:
        return _judged(clean, start[None])
    times = jnp.where(clean, times, jnp.arange(len(times), dtype=times.dtype))
    within = jnp.arange(substeps) / substeps
    grid = times[:-1, None] + within * jnp.diff(times)[:, None]
    grid = jnp.append(grid.ravel(), times[-1])
    path = diffrax.LinearInterpolation(grid, _brownian(key, times, substeps, start))
    drift = diffrax.ODETerm(lambda t, h, args: program(args[0], _with(h, t[None])))
    diffusion = diffrax.ControlTerm(lambda t, h, args: jnp.diag(args[1]), path)
    solution = diffrax.diffeqsolve(
        diffrax.MultiTerm(drift, diffusion),
        diffrax.Heun(),
        times[0],
        times[-1],
        None,
        start,
        args=(arrays, noise),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.StepTo(ts=grid),
        max_steps=len(grid) - 1,
        throw=False,
    )
    return _judged(clean, solution.ys)


def _brownian(key, times, substeps, like):
    """A Brownian path from zero on the grid of `substeps` steps within each of `times`."""
    halvings = (substeps & -substeps).bit_length() - 1
    coarse = substeps >> halvings
    intervals = len(times) - 1
    dt = jnp.repeat(jnp.diff(times) / coarse, coarse)[:, None]

    def draw(level, steps):
        keyed = jax.random.fold_in(key, level)
        return jax.random.normal(keyed, (intervals * steps, *like.shape), like.dtype)

    steps = jnp.sqrt(dt) * draw(0, coarse)
    for level in range(1, halvings + 1):
        # The bridge: given its sum, the two halves of a step differ by sqrt(dt) xi.
        apart = jnp.sqrt(dt) * draw(level, coarse << (level - 1))
        steps = jnp.stack([(steps + apart) / 2, (steps - apart) / 2], axis=1)
        steps = steps.reshape(-1, *like.shape)
        dt = jnp.repeat(dt / 2, 2, axis=0)
    return jnp.concatenate([jnp.zeros_like(steps[:1]), jnp.cumsum(steps, axis=0)])
