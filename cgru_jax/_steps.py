"""Follow a program through time: compiled once for what it computes, whatever it holds.

Every engine returns the states, shape `(k, n)`, and a `RESULTS` member. The program takes
one vector: the state followed by the time or the input.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from ._linalg import CLOSED_FORM_SIZE
from ._results import RESULTS, choose
from ._scalars import evaluate, worthwhile


def joined(h, extra):
    return jnp.concatenate([h, extra.astype(h.dtype)])


def _is_clean(program, arrays, start, extras):
    """Whether every number that is needed is there."""
    finite = [jnp.isfinite(array).all() for array in (*arrays, start, extras)]
    if len(extras):
        finite.append(jnp.isfinite(program(arrays, joined(start, extras[0]))).all())
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
        return [program(arrays, joined(h[0], x))]

    return lambda h: [h], field, lambda h: h[0]


@eqx.filter_jit
def iterate(program, kept, arrays, start, drive, slots):
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
def follow_fixed(program, substeps, arrays, start, times):
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
def follow_adaptive(program, max_steps, driven, arrays, start, times, rtol, atol):
    clean = _is_clean(program, arrays, start, times[:, None]) & _is_monotone(times)
    if len(times) == 1:
        return _judged(clean, start[None])
    # Given NaN, diffrax returns the start as the answer: let a bad member rest at zero.
    start = jnp.where(clean, start, 0)
    times = jnp.where(clean, times, jnp.arange(len(times), dtype=times.dtype))

    def field(t, h, arrays):
        return jnp.where(clean, program(arrays, joined(h, t[None])), 0)

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
def follow_noisy(program, substeps, arrays, start, times, noise, key):
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
    drift = diffrax.ODETerm(lambda t, h, args: program(args[0], joined(h, t[None])))
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
