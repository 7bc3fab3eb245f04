"""All static mean-field solutions of an ensemble, with their stability."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._errors import check_x64
from .._implicit import attach
from .._program import hoist
from .._results import RESULTS, choose
from ._ensembles import AbstractEnsemble, LSTMEnsemble
from ._static import COARSE, FINE, stability_of, variance_map

# More than two nonzero roots were never met.
CAPACITY = 4
# A variance below cannot be told from zero near an onset, where F(q)/q − 1 is of its order
# and is found to a few units of rounding.
SMALLEST = 1e-13
NOISE = 1e-13
# Twenty points in a decade; pairs of roots between two of them are looked for.
POINTS = 264
# What log F(q) − log q is known to, and to what relative precision q must follow from it:
# near an onset or a fold it crosses zero ever more slowly.
ROUNDING, PRECISION = 1e-14, 1e-7


class MeanField(eqx.Module):
    """The nonzero variances at which a large random network can rest.

    `variance` and `stability`, shape `(k,)`, ascending in the variance, NaN in unused
    slots; `valid` says which are used.
    """

    variance: Float[Array, " k"]
    stability: Float[Array, " k"]
    valid: Bool[Array, " k"]
    result: RESULTS


def solve_mean_field(ensemble: AbstractEnsemble) -> MeanField:
    r"""The variances $q = \langle h^2 \rangle$ of the fixed points of a large network.

    With N units and N → ∞ the inputs of a unit at a fixed point are independent normal
    numbers, so that $q = F(q)$ is one scalar equation; all of its nonzero roots are
    returned. With all `m_h` and `s_h` (in an LSTM `m_c`, `s_c`) zero there is the root 0
    besides, which `critical_gain` is about.

    **Arguments:** `ensemble`: a `GRUEnsemble` or `ResetAfterGRUEnsemble`, for which
    neither the update gate nor the sign of its mean matters, or an `LSTMEnsemble`.

    **Returns:** a `MeanField` with four slots. `stability` is the squared radius κ (GRU)
    or $\langle V(1) \rangle$ (LSTM): the fixed point is stable as a network in discrete and
    in continuous time where it is below one. Both are differentiable in the ensemble.

    **Fails:** NaN and `result.nonfinite` or `negative` for such numbers in the ensemble;
    `no_root` if zero is the only root; `not_converged` if a root lies so near to zero (an
    onset) or to another one (a fold) that it was not resolved, if a gain is so
    large that its square is no number, or if the inputs of an LSTM's forget gates are so
    broad (a standard deviation beyond 14) that its stability is none, NaN; `capacity` for
    more roots than slots.

    A root with stability above one is no attractor, and without biases not the typical
    fixed point either: compare networks that settle only where the stability is below one.

    **Raises:** `ValueError` in single precision.

    **Source:** derived for this package from the moments of one unit; reproduces the claims
    of the abstract of Can, Krishnamurthy and Schwab, "Gating creates slow modes and
    controls phase-space complexity in GRUs and LSTMs" (2020).
    """
    check_ensemble("solve_mean_field", ensemble)
    return _solve(ensemble)


def check_ensemble(verb, ensemble):
    if not isinstance(ensemble, AbstractEnsemble):
        raise ValueError(f"{verb}: give an ensemble, not a {type(ensemble).__name__}.")
    leaf = jax.tree.leaves(ensemble)[0]
    if leaf.shape != ():
        raise ValueError(
            f"{verb} takes one ensemble; this is a batch of shape {leaf.shape}: use "
            "eqx.filter_vmap."
        )
    check_x64(verb, leaf.dtype)


def scalar(verb, name, value, *, complex_=False):
    """`value` as one number, which may be NaN: it is of one member of a batch."""
    kind = complex if complex_ else float
    try:
        array = jnp.asarray(value)
    except TypeError:
        raise ValueError(f"{verb}: {name} must be a number, got {value!r}.") from None
    if array.shape != ():
        raise ValueError(
            f"{verb}: {name} must be one number, got shape {array.shape}: use jax.vmap."
        )
    if jnp.iscomplexobj(array) and not complex_:
        raise ValueError(f"{verb}: {name} must be real, got {array.dtype}.")
    return array.astype(kind)


def refuse(ensemble) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Whether a number of the ensemble is not finite, and whether one is negative."""
    numbers = {name: getattr(ensemble, name) for name in ensemble.__dataclass_fields__}
    finite = jnp.stack([jnp.isfinite(number) for number in numbers.values()])
    widths = [number < 0 for name, number in numbers.items() if name[0] in "gs"]
    return ~jnp.all(finite), jnp.any(jnp.stack(widths))


@eqx.filter_jit
def _solve(ensemble):
    infinite, negative = refuse(ensemble)
    frozen = jax.lax.stop_gradient(ensemble)
    excess = lambda x, rules: jnp.log(variance_map(frozen, jnp.exp(x), rules)) - x
    coarse = lambda x: excess(x, COARSE)
    low, high, count, hidden = _brackets(coarse, is_biased(frozen))
    refine = lambda a, b: _refined(lambda x: excess(x, FINE), *_between(coarse, a, b))
    roots, error = jax.vmap(refine)(low, high)
    used = jnp.isfinite(low) & ~infinite & ~negative
    converged = used & (error < PRECISION)

    program, arrays = hoist(
        lambda x: jnp.log(variance_map(ensemble, jnp.exp(x[0]), FINE))[None] - x,
        jnp.zeros(1),
    )
    rooted = lambda x, there: attach(program, arrays, x[None], there)[0]
    x = jax.vmap(rooted)(jnp.where(converged, roots, -1.0), converged)
    variance = jnp.exp(x)
    stability = jax.vmap(lambda q: stability_of(ensemble, q, FINE))(variance)
    counted = jnp.isfinite(stability)
    result = choose(
        RESULTS,
        RESULTS.successful,
        (infinite, RESULTS.nonfinite),
        (negative, RESULTS.negative),
        (count > CAPACITY, RESULTS.capacity),
        (hidden | jnp.any(used & ~(converged & counted)), RESULTS.not_converged),
        (count == 0, RESULTS.no_root),
    )
    shown = lambda values: jnp.where(converged, values, jnp.nan)
    stability = jnp.where(counted, stability, jnp.nan)
    return MeanField(shown(variance), shown(stability), converged, result)


def is_biased(ensemble) -> Bool[Array, ""]:
    """Whether the candidate has a bias, so that zero is no state."""
    name = "c" if isinstance(ensemble, LSTMEnsemble) else "h"
    mean, spread = getattr(ensemble, f"m_{name}"), getattr(ensemble, f"s_{name}")
    return (mean != 0) | (spread != 0)


def _brackets(excess, biased):
    """Between which logarithms of q the roots lie, padded with NaN; how many there are; and
    whether there is one below the smallest q."""
    x = jnp.linspace(jnp.log(SMALLEST), 0.0, POINTS)
    # Far below, F(q)/q tells whether zero is unstable, or no root at all.
    values = jax.lax.map(excess, jnp.append(x, 2.2 * jnp.log(SMALLEST)))
    # With a bias F is positive at zero, however small it may be.
    values, far = values[:-1], jnp.where(biased, 1.0, values[-1])
    # Where neighbours agree in sign but the middle is nearest to zero, two roots may lie
    # between: one more point, at the extremum, tells.
    middle = jnp.abs(values[1:-1])
    nearest = (middle < jnp.abs(values[:-2])) & (middle < jnp.abs(values[2:]))
    same = (values[:-2] * values[2:] > 0) & (values[1:-1] * values[2:] > 0)
    i = jnp.argmin(jnp.where(nearest & same & (middle > NOISE), middle, jnp.inf)) + 1
    best, value = _extremum(excess, jnp.sign(values[i]), x[i - 1], x[i + 1])
    order = jnp.argsort(jnp.append(x, best))
    x, values = jnp.append(x, best)[order], jnp.append(values, value)[order]
    # Zero within rounding, as exactly at an onset, is no sign: it takes the next one's.
    signs = jnp.where(jnp.abs(values) > NOISE, jnp.sign(values), 0.0)
    follow = lambda after, sign: (jnp.where(sign == 0, after, sign),) * 2
    _, signs = jax.lax.scan(follow, -1.0, signs, reverse=True)
    changes = signs[1:] != signs[:-1]
    (slots,) = jnp.nonzero(changes, size=CAPACITY, fill_value=len(x))
    ends = [x.at[slots + i].get(mode="fill", fill_value=jnp.nan) for i in (0, 1)]
    hidden = (jnp.abs(far) > NOISE) & (jnp.sign(far) != signs[0])
    # A gain whose square is no number leaves nothing to see.
    hidden |= jnp.any(jnp.isnan(values))
    return *ends, jnp.sum(changes), hidden


def _extremum(f, sign, low, high):
    """Where between `low` and `high` `sign * f` is least, and `f` there."""

    def zoom(_, state):
        low, high, _, _ = state
        x = low + (high - low) * jnp.linspace(0, 1, 7)
        values = jax.lax.map(f, x)
        i = jnp.argmin(sign * values)
        at = lambda j: x[jnp.clip(j, 0, 6)]
        return at(i - 1), at(i + 1), x[i], values[i]

    # A parabola is flat within rounding after 1e-8 of its width.
    state = jax.lax.fori_loop(0, 17, zoom, (low, high, low, low))
    return state[2:]


def _between(f, low, high):
    """A root between `low` and `high` by Illinois' rule, and the slope of `f` there."""

    def unfinished(state):
        step, _, _, _, fb, _ = state
        return (step < 60) & ((step < 2) | (jnp.abs(fb) > ROUNDING))

    def advance(state):
        step, a, fa, b, fb, _ = state
        flat = fb == fa
        c = jnp.where(flat, (a + b) / 2, b - fb * (b - a) / jnp.where(flat, 1, fb - fa))
        c = jnp.where(step == 0, low, jnp.where(step == 1, high, c))
        fc = f(c)
        across = (jnp.sign(fc) != jnp.sign(fb)) | (step < 2)
        # An end that stays is believed half as much, or the other would creep.
        a, fa = jnp.where(across, b, a), jnp.where(across, fb, fa / 2)
        return step + 1, a, fa, c, fc, fb

    state = (jnp.asarray(0), low, low, low, low, low)
    root = jax.lax.while_loop(unfinished, advance, state)[3]
    # A central difference has the slope also of the parabola near a fold.
    step = 1e-4
    below, above = jax.lax.map(f, root + step * jnp.array([-1.0, 1.0]))
    return root, (above - below) / (2 * step)


def _refined(f, root, slope):
    """The root of `f` beside that of a coarser rule, whose `slope` it borrows, and how well
    it is known."""

    def unfinished(state):
        step, _, rest = state
        return (step < 30) & (jnp.abs(rest) > ROUNDING)

    def advance(state):
        step, x, rest = state
        moved = x - jnp.where(step == 0, 0.0, rest / slope)
        return step + 1, moved, f(moved)

    _, x, rest = jax.lax.while_loop(unfinished, advance, (0, root, jnp.ones(())))
    return x, jnp.maximum(jnp.abs(rest), ROUNDING) / jnp.abs(slope)
