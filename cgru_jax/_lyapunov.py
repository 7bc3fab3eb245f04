"""How fast neighbouring orbits of a system part: Lyapunov exponents along a trajectory."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float

from ._errors import check_positive, check_whole, real_array
from ._linalg import CLOSED_FORM_SIZE, eigenvalues
from ._program import hoist, hoist_numbers
from ._results import RESULTS, choose
from ._scalars import evaluate, worthwhile
from ._systems import AbstractSystem, Flow, Map

BLOCKS = 10  # of time, whose means give the standard error


class Lyapunov(eqx.Module):
    """Lyapunov exponents of one orbit.

    - `exponents`: shape `(count,)`, the largest ones, per unit of the system's time (per
      step of a `Map`). In the order of the directions, which is descending once these have
      turned into place.
    - `errors`: shape `(count,)`, standard errors: the orbit is cut into ten blocks of time,
      and their means are taken as independent. Too small where the orbit remembers longer
      than a block; too large on a cycle, where one block lacks what the one before has too
      much of, and the mean over all is off by the part of the last lap only.
    - `state`: shape `(n,)`, where the orbit ended: the start of a longer run.
    - `result`: how the computation ended.
    """

    exponents: Float[Array, "*batch k"]
    errors: Float[Array, "*batch k"]
    state: Float[Array, "*batch n"]
    result: RESULTS


def lyapunov_exponents(
    system: AbstractSystem,
    start,
    *,
    steps: int,
    transient: int = 0,
    count: int = 1,
    step=None,
) -> Lyapunov:
    r"""The largest Lyapunov exponents of the orbit that begins at `start`.

    A tangent vector is carried along with the orbit and brought back to length one after
    every step; the exponent is the mean logarithm of how much it grew. Several vectors are
    kept orthonormal by a QR decomposition at each step. No Jacobian is formed: a step
    costs one product of the linearised field with each vector.

    **Arguments:**

    - `system`: a `Map`, or a `Flow` together with `step`.
    - `start`: shape `(n,)`.
    - `steps`: how many steps are averaged. Another number compiles nothing anew.
    - `transient`: steps before, in which orbit and vectors move and nothing is counted.
    - `count`: how many exponents, from the largest; n gives the spectrum, whose sum is the
      mean rate at which volume grows.
    - `step`: the time step of a `Flow`, by which a Runge–Kutta method of order four
      advances it; what is returned belongs to this discrete orbit. Left out for a `Map`.

    **Returns:** a `Lyapunov`. An exponent is −∞ where a direction is lost for good (a
    singular Jacobian on the orbit); its error is NaN.

    **Fails:** NaN throughout with `nonfinite` for a start, a step or a parameter that is
    not finite (or a step that is not positive), with `diverged` if the orbit left every
    bound. There are no derivatives: a chaotic orbit has none that converge.

    **Raises:** `ValueError` for shapes, counts and options that do not fit.

    **Source:** Benettin, Galgani, Giorgilli and Strelcyn, Meccanica 15 (1980), 9–30.
    """
    owner = "lyapunov_exponents"
    step = _checked_step(owner, system, step)
    start = real_array(owner, "start", start)
    size = getattr(system.field, "size", None)
    if start.ndim != 1 or size not in (None, *start.shape) or not start.size:
        needed = "(n,)" if size is None else f"({size},)"
        raise ValueError(
            f"{owner}: start has shape {start.shape}, but must have shape {needed}. A "
            "batch goes through eqx.filter_vmap."
        )
    counts = (("steps", steps, 1), ("transient", transient, 0), ("count", count, 1))
    for name, value, least in counts:
        check_whole(owner, name, value, least)
    if count > start.size:
        raise ValueError(
            f"{owner}: count is {count}, but a state of shape {start.shape} has only "
            f"{start.size} exponents."
        )
    start = start.astype(jnp.result_type(start, float))
    given = jax.eval_shape(system.field, start)
    if getattr(given, "shape", None) != start.shape:
        raise ValueError(
            f"{owner}: the field maps start of shape {start.shape} to {given}; it must "
            "return one increment for each component."
        )
    start = start.astype(jnp.result_type(start, given.dtype))
    program, arrays = hoist_numbers(system.residual, start)
    flow, step = isinstance(system, Flow), step.astype(start.dtype)
    # As arrays they are traced, and another number of steps is the same program.
    steps, transient = jnp.asarray(steps), jnp.asarray(transient)
    return _exponents(program, flow, count, arrays, start, step, steps, transient)


def _checked_step(owner, system, step):
    if isinstance(system, Map):
        if step is not None:
            raise ValueError(f"{owner}: step is for a Flow; a Map has its own steps.")
        return jnp.ones(())
    if not isinstance(system, Flow):
        raise ValueError(
            f"{owner}: system must be a Flow or a Map, got {type(system).__name__}; wrap "
            "the field, as in cgru.Map(cell)."
        )
    if step is None:
        raise ValueError(
            f"{owner}: a Flow needs step, the time step of its Runge–Kutta method; a "
            "hundredth of the fastest time scale is far more than enough."
        )
    step = real_array(owner, "step", step)
    check_positive(owner, "step", step)
    return step


@eqx.filter_jit
def _exponents(program, flow, count, arrays, start, step, steps, transient):
    finite = [jnp.isfinite(array).all() for array in (*arrays, start, step)]
    clean = jnp.stack([*finite, step > 0]).all()
    advance = functools.partial(_advance, _field(program, arrays, start.size), flow, step)

    # Any vectors do that favour no direction; the same ones at each call.
    vectors = jr.normal(jr.key(0), (start.size, count), start.dtype)
    vectors = jnp.linalg.qr(vectors)[0]

    def push(h, vectors):
        h, tangent = jax.linearize(advance, h)
        if count == 1:
            pushed = tangent(vectors[:, 0])
            # In two steps, as the square of a long or a short vector is no number.
            largest = jnp.max(jnp.abs(pushed))
            scaled = pushed / jnp.where(largest > 0, largest, 1)
            growth = largest * jnp.sqrt(jnp.sum(scaled**2))
            # A vector that is annihilated has no direction any more; keep the old one.
            alive = growth > 0
            pushed = pushed / jnp.where(alive, growth, 1)
            return h, jnp.where(alive, pushed[:, None], vectors), growth[None]
        pushed = jax.vmap(tangent, in_axes=1, out_axes=1)(vectors)
        vectors, triangle = jnp.linalg.qr(pushed)
        return h, vectors, jnp.abs(jnp.diagonal(triangle))

    def approach(_, carry):
        return push(*carry)[:2]

    def count_in(i, carry):
        h, vectors, sums, lengths = carry
        h, vectors, growth = push(h, vectors)
        block = i * BLOCKS // steps
        return h, vectors, sums.at[block].add(jnp.log(growth)), lengths.at[block].add(1)

    carry = jax.lax.fori_loop(0, transient, approach, (start, vectors))
    sums = jnp.zeros((BLOCKS, count), start.dtype)
    h, _, sums, lengths = jax.lax.fori_loop(
        0, steps, count_in, (*carry, sums, jnp.zeros(BLOCKS, start.dtype))
    )
    time = steps * step
    exponents = jnp.sum(sums, axis=0) / time
    # Blocks differ by one step in length where ten does not divide the number of steps.
    used = jnp.maximum(jnp.sum(lengths > 0), 2)
    apart = sums - exponents * lengths[:, None] * step
    errors = jnp.sqrt(jnp.sum(apart**2, axis=0) * used / (used - 1)) / time

    diverged = ~jnp.isfinite(h).all() | jnp.isnan(exponents).any()
    result = choose(
        RESULTS,
        RESULTS.successful,
        (~clean, RESULTS.nonfinite),
        (diverged, RESULTS.diverged),
    )
    good = clean & ~diverged
    errors = jnp.where(good & (steps >= BLOCKS), errors, jnp.nan)
    return Lyapunov(
        jnp.where(good, exponents, jnp.nan), errors, jnp.where(good, h, jnp.nan), result
    )


def _field(program, arrays, n):
    """The field of a state of shape `(n,)`; of few units, written out in scalars."""
    if n <= CLOSED_FORM_SIZE and worthwhile(program):
        return lambda h: jnp.stack(evaluate(program, arrays, [h[i] for i in range(n)]))
    return lambda h: program(arrays, h)


def _advance(field, flow, step, h):
    """The state one step later."""
    if not flow:
        return h + field(h)
    k1 = field(h)
    k2 = field(h + step / 2 * k1)
    k3 = field(h + step / 2 * k2)
    k4 = field(h + step * k3)
    return h + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def jacobian_spectra(
    system: AbstractSystem, states: Float[Array, "k n"]
) -> Complex[Array, "k n"]:
    """Eigenvalues of the Jacobian at every state of a trajectory, one state at a time.

    **Arguments:**

    - `system`: a `Flow` or a `Map`.
    - `states`: shape `(k, n)`, as in `Trajectory.states`; k dense Jacobians are formed, one
      after another.

    **Returns:** shape `(k, n)`, complex, in no order: eigenvalues of `system.jacobian`, the
    derivative of the increment, as everywhere. The multipliers of a `Map` are 1 more.

    **Fails:** NaN for a state that is not finite.

    **Raises:** `ValueError` for another system and for states that are no list of states
    of it.
    """
    owner = "jacobian_spectra"
    if not isinstance(system, Flow | Map):
        raise ValueError(
            f"{owner}: system must be a Flow or a Map, got {type(system).__name__}; wrap "
            "the field, as in cgru.Map(cell)."
        )
    states = jnp.asarray(states)
    size = getattr(system.field, "size", None)
    fits = states.ndim == 2 and states.size and size in (None, states.shape[1])
    if not fits or jnp.iscomplexobj(states):
        needed = "(k, n)" if size is None else f"(k, {size})"
        raise ValueError(
            f"{owner}: states has shape {states.shape} of {states.dtype}, but must be "
            f"real, of shape {needed}, with at least one state."
        )
    states = states.astype(jnp.result_type(states, float))
    given = jax.eval_shape(system.field, states[0])
    if getattr(given, "shape", None) != states.shape[1:]:
        raise ValueError(
            f"{owner}: the field maps a state of shape {states.shape[1:]} to {given}; it "
            "must return one increment for each component."
        )
    program, arrays = hoist(system.residual, states[0])
    return _spectra(program, arrays, states)


@eqx.filter_jit
def _spectra(program, arrays, states):
    jacobian = jax.jacfwd(lambda h: program(arrays, h))

    def at(h):
        # LAPACK never returns from some matrices that hold a NaN.
        matrix = jacobian(h)
        fine = jnp.isfinite(h).all() & jnp.isfinite(matrix).all()
        values = eigenvalues(jnp.where(fine, matrix, 0))
        return jnp.where(fine, values, jnp.nan)

    return jax.lax.map(at, states)
