"""The two compiled loops of a training: a gradient method, and Levenberg–Marquardt.

Both take the first and the last step as arguments and write the losses into a buffer for
the whole training, so that one program serves blocks of every length: the numbers cannot
depend on where a training is cut.
"""

import functools
import math
from importlib.metadata import version

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import lineax
import optax
from jaxtyping import Array, Float, Int

from ._recipe import Recipe
from ._unroll import errors, losses

# A training computes for minutes what is compiled in seconds: it is compiled with care even
# where the process asks XLA to compile lightly. Only releases that know the option get it.
_CARE = {"xla_backend_optimization_level": 3}
_OPTIONS = _CARE if version("jaxlib").startswith("0.10.") else None

# Damping of Levenberg–Marquardt: where it begins, what is tried around it in each step,
# and where it is given up.
FIRST, FACTORS, LEAST, MOST = 1e-2, (0.03, 0.2, 1.0, 4.0, 30.0), 1e-12, 1e9
ENOUGH = 1e-10  # a step that gains less, as a part of the loss, is the last one
BENT = 0.75  # the acceleration is left out where it is this large beside the step


class State(eqx.Module):
    """Where the training of one network stands; a checkpoint is this for all of them.

    - `theta`: its parameters, shape `(p,)`, single precision; `moments`: of the optimiser.
    - `good`: those of the last finite loss, to which one that is lost goes back.
    - `best`, `best_loss`: those of the least loss, and that.
    - `polished`: the parameters in double precision while they are polished; `damping`.
    - `losses`: shape `(steps,)`, the training loss before each step; NaN where there was
      none. A horizon that grows makes its beginning a loss on fewer samples.
    - `failed`: the step at which the loss was no number any more, or −1.
    """

    theta: Float[Array, "*batch p"]
    moments: optax.OptState
    good: Float[Array, "*batch p"]
    best: Float[Array, "*batch p"]
    best_loss: Float[Array, "*batch"]
    polished: Float[Array, "*batch p"]
    damping: Float[Array, "*batch"]
    losses: Float[Array, "*batch steps"]
    failed: Int[Array, "*batch"]


def begin(recipe: Recipe, model) -> State:
    """The state of a network that has not been trained."""
    theta, _ = jax.flatten_util.ravel_pytree(model)
    single = theta.astype(jnp.float32)
    return State(
        theta=single,
        moments=recipe.transformation().init(single),
        good=single,
        best=single,
        best_loss=jnp.asarray(jnp.inf, jnp.float32),
        polished=theta,
        damping=jnp.asarray(FIRST, theta.dtype),
        losses=jnp.full(recipe.steps, jnp.nan, theta.dtype),
        failed=jnp.asarray(-1, jnp.int32),
    )


def shape_of(model) -> tuple:
    """What the vector of parameters leaves out; hashable."""
    leaves, structure = jax.tree.flatten(model)
    return structure, tuple(leaf.shape for leaf in leaves)


def _assemble(shape, theta):
    structure, shapes = shape
    leaves, place = [], 0
    for each in shapes:
        size = math.prod(each)
        leaves.append(theta[place : place + size].reshape(each))
        place += size
    return jax.tree.unflatten(structure, leaves)


@functools.partial(jax.jit, static_argnums=0)
def assembled(shape, thetas: Float[Array, "S p"]):
    """The networks with these parameters, stacked."""
    return jax.vmap(lambda theta: _assemble(shape, theta))(thetas)


def abreast() -> bool:
    """Whether networks are trained side by side: on a CPU one after the other costs no
    more, and keeps each in the nearest memory."""
    return jax.default_backend() != "cpu"


def _each(function, states, side_by_side):
    return jax.vmap(function)(states) if side_by_side else jax.lax.map(function, states)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=_OPTIONS)
def descend(recipe, shape, side_by_side, states, data, first, last):
    """Epochs `first` to `last` of the gradient method, for all networks."""
    transformation = recipe.transformation()
    samples = data.shape[0] - 1
    growth = max(samples - recipe.shortest, 0)
    order = jnp.arange(samples)

    def horizon(epoch):
        if recipe.ramp == 0:
            return jnp.asarray(samples)
        grown = recipe.shortest + growth * epoch // recipe.ramp
        return jnp.minimum(grown, samples)

    def loss(theta, epoch):
        seen = order < horizon(epoch)
        each = losses(_assemble(shape, theta), data)
        return jnp.sum(jnp.where(seen, each, 0)) / jnp.sum(seen)

    def epoch(i, state):
        value, slope = jax.value_and_grad(loss)(state.theta, i)
        change, moments = transformation.update(slope, state.moments, state.theta)
        moved = optax.apply_updates(state.theta, change)
        finite = [
            jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves((slope, moved, moments))
        ]
        known = jnp.isfinite(value) & (state.failed < 0)
        good = known & jnp.stack(finite).all()
        better = good & (value < state.best_loss) & (horizon(i) == samples)
        keep = lambda new, old: jnp.where(good, new, old)
        last_good = jnp.where(known, state.theta, state.good)
        return State(
            theta=keep(moved, last_good),
            moments=jax.tree.map(keep, moments, state.moments),
            good=last_good,
            best=jnp.where(better, state.theta, state.best),
            best_loss=jnp.where(better, value, state.best_loss),
            polished=state.polished,
            damping=state.damping,
            losses=state.losses.at[i].set(jnp.where(good, value, jnp.nan)),
            failed=jnp.where(good | (state.failed >= 0), state.failed, i),
        )

    run = lambda state: jax.lax.fori_loop(first, last, epoch, state)
    return _each(run, states, side_by_side)


@eqx.filter_jit
def settle(shape, side_by_side, states, data, single):
    """What a training starts to polish, or returns without a polish.

    The last update is judged as well: its loss is known before no epoch. So is where a
    network stood that was lost while its horizon grew: until then all were of a part.
    """

    def one(state):
        value = jnp.mean(losses(_assemble(shape, state.theta), single))
        better = value < state.best_loss
        best = jnp.where(better, state.theta, state.best)
        least = jnp.where(better, value, state.best_loss)
        polished = best.astype(data.dtype)
        return eqx.tree_at(
            lambda s: (s.best, s.best_loss, s.polished), state, (best, least, polished)
        )

    return _each(one, states, side_by_side)


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=_OPTIONS)
def polish(shape, side_by_side, states, data, first, last):
    """Steps `first` to `last` of Levenberg–Marquardt, for all networks.

    Each takes the Jacobian of all errors once, tries several dampings and keeps the best.
    The losses have long narrow valleys that bend; a step that bends with them is several
    times as long. Where no damping helps, or nothing is gained any more, the network stays
    as it is.

    **Source:** Levenberg 1944, Marquardt 1963, with his scaling by the diagonal; the
    geodesic acceleration is that of M. K. Transtrum and J. P. Sethna 2012.
    """
    count = data[1:].size / data.shape[1]  # errors are summed over what is observed

    def wrong(theta):
        return errors(_assemble(shape, theta), data).ravel() / jnp.sqrt(count)

    def step(i, state):
        theta = state.polished
        value = wrong(theta)
        jacobian = jax.jacfwd(wrong)(theta)
        loss, slope = value @ value, jacobian.T @ value
        square = jacobian.T @ jacobian
        # A parameter without effect has no scale of its own.
        scale = jnp.diag(square) + jnp.finfo(theta.dtype).eps * jnp.max(jnp.diag(square))

        def attempt(damping):
            matrix = square + damping * jnp.diag(scale)
            operator = lineax.MatrixLinearOperator(matrix, lineax.positive_semidefinite_tag)
            solve = lambda b: (
                lineax.linear_solve(operator, b, lineax.Cholesky(), throw=False).value
            )
            move = solve(-slope)
            along = lambda x: jax.jvp(wrong, (x,), (move,))[1]
            _, bend = jax.jvp(along, (theta,), (move,))
            turn = -solve(jacobian.T @ bend) / 2
            straight = 4 * (scale @ turn**2) < BENT**2 * (scale @ move**2)
            move = move + jnp.where(straight, turn, 0)
            there = wrong(theta + move)
            there = there @ there
            return jnp.where(jnp.isfinite(there), there, jnp.inf), move

        dampings = state.damping * jnp.asarray(FACTORS, theta.dtype)
        found, moves = jax.lax.map(attempt, dampings)
        best = jnp.argmin(found)
        there, good = found[best], found[best] < loss
        sound = jnp.isfinite(loss) & jnp.all(jnp.isfinite(slope)) & (state.failed < 0)
        damping = jnp.where(good, dampings[best], dampings[-1])
        done = (good & (loss - there <= ENOUGH * loss)) | (damping > MOST)
        return eqx.tree_at(
            lambda s: (s.polished, s.damping, s.losses, s.failed),
            state,
            (
                jnp.where(good & sound, theta + moves[best], theta),
                jnp.where(done, jnp.inf, jnp.maximum(damping, LEAST)),
                state.losses.at[i].set(jnp.where(sound, loss, jnp.nan)),
                jnp.where(sound | (state.failed >= 0), state.failed, i),
            ),
        )

    def rest(i, state):
        before = state.losses[jnp.maximum(i - 1, 0)]
        return eqx.tree_at(lambda s: s.losses, state, state.losses.at[i].set(before))

    def guarded(i, state):
        # An infinite damping says that this one is done.
        waiting = jnp.isfinite(state.damping) & (state.failed < 0)
        return jax.lax.cond(waiting, lambda: step(i, state), lambda: rest(i, state))

    run = lambda state: jax.lax.fori_loop(first, last, guarded, state)
    return _each(run, states, side_by_side)


@eqx.filter_jit
def judge(models, side_by_side, data):
    """Eq. (14) for every network, shape `(S,)`."""
    return _each(lambda model: jnp.mean(losses(model, data)), models, side_by_side)
