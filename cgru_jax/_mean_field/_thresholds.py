"""At which gain of the candidate a random network stops being silent."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float

from .._implicit import attach
from .._linalg import solve
from .._program import hoist
from .._results import RESULTS, choose
from ._averages import gaussian_mean, on_a_line
from ._ensembles import AbstractEnsemble, LSTMEnsemble
from ._solve import check_ensemble, is_biased, refuse
from ._static import COARSE, FINE, stability_of, variance_map

_NOISE = 1e-11  # of a slope of log F by the fine rules
_POINTS = 48  # six in a decade, for a minimum that is a decade wide


class GainFold(eqx.Module):
    """The least gain at which there are nonzero static states, all of shape `()`."""

    gain: Float[Array, ""]
    variance: Float[Array, ""]
    stability: Float[Array, ""]
    result: RESULTS


def critical_gain(ensemble: AbstractEnsemble) -> Float[Array, ""]:
    r"""The gain of the candidate at which the state zero of large networks loses stability.

    **Arguments:** `ensemble`: its `g_h` (LSTM: `g_c`) is not looked at, and neither is the
    update gate: it moves no state and turns no stability.

    **Returns:** shape `()`: $1/\sigma(m_r)$ for both GRUs, $(1-f_0)/(i_0 o_0)$ for an LSTM
    with $f_0 = \sigma(m_f)$ and so on; root mean squares take the place of the gates where
    their biases have a spread.

    **Fails:** NaN if the candidate has a bias (zero is then no state), or for a number that
    is not finite or a negative spread.

    **Source:** derived for this package; the disc law of the Jacobian at zero.
    """
    check_ensemble("critical_gain", ensemble)
    e = ensemble
    infinite, negative = refuse(with_gain(e, 1.0))
    if isinstance(e, LSTMEnsemble):
        # The mean of (1 + e^x)², with x normal.
        slow = 1 + 2 * jnp.exp(e.m_f + e.s_f**2 / 2) + jnp.exp(2 * (e.m_f + e.s_f**2))
        square = slow * _mean_square(e.m_i, e.s_i) * _mean_square(e.m_o, e.s_o)
    else:
        square = _mean_square(e.m_r, e.s_r)
    return jnp.where(infinite | negative | is_biased(e), jnp.nan, 1 / jnp.sqrt(square))


def onset_curvature(ensemble: AbstractEnsemble) -> Float[Array, ""]:
    r"""Whether activity sets in with a jump: positive if it does.

    At the critical gain $F(q) = q + A q^2 + \dots$ with A of this sign: where it is
    positive, nonzero states exist below the critical gain already and begin in a fold
    (`fold_gain`).

    **Arguments:** `ensemble`: its `g_h` (LSTM: `g_c`) and update gate are not looked at.

    **Returns:** shape `()`. GRU, with $r_0 = \sigma(m_r)$: $g_r^2 (1-r_0)(2-3r_0) - 2$,
    without m_r positive for $g_r > 2\sqrt 2$. LSTM, with $s(x) = (1-x)(2-3x)$:
    $g_o^2 s(o_0) + g_i^2 s(i_0) + g_f^2 f_0(1+f_0) - 2/o_0^2 - 2(1-f_0)^2/(i_0 o_0)^2$.

    **Fails:** NaN if a bias that matters has a spread, or the candidate's a mean.

    **Source:** derived for this package: the second order of the static equation in q.
    """
    check_ensemble("onset_curvature", ensemble)
    e = ensemble
    quick = lambda x: (1 - x) * (2 - 3 * x)
    if isinstance(e, LSTMEnsemble):
        f, i, o = sigmoid(e.m_f), sigmoid(e.m_i), sigmoid(e.m_o)
        gates = e.g_o**2 * quick(o) + e.g_i**2 * quick(i) + e.g_f**2 * f * (1 + f)
        curvature = gates - 2 / o**2 - 2 * (sigmoid(-e.m_f) / (i * o)) ** 2
        spread = (e.s_f != 0) | (e.s_i != 0) | (e.s_o != 0)
    else:
        curvature = e.g_r**2 * quick(sigmoid(e.m_r)) - 2
        spread = e.s_r != 0
    infinite, negative = refuse(with_gain(e, 1.0))
    return jnp.where(infinite | negative | spread | is_biased(e), jnp.nan, curvature)


def fold_gain(ensemble: AbstractEnsemble) -> GainFold:
    r"""The least gain of the candidate at which nonzero static states exist.

    Where activity sets in with a jump (`onset_curvature` positive) two nonzero roots of
    the static equation appear together in a fold below the critical gain.

    **Arguments:** `ensemble`: its `g_h` (LSTM: `g_c`) and update gate are not looked at.

    **Returns:** a `GainFold` with the gain, and variance and stability there; the fold is
    a solution of $F = q$, $\partial_q F = 1$ and differentiable in the ensemble.

    **Fails:** NaN and `result.no_fold` if the transition is continuous; `biased` if the
    candidate has a bias; `nonfinite`, `negative`; `not_converged`.

    **Raises:** `ValueError` in single precision.

    **Source:** derived for this package.
    """
    check_ensemble("fold_gain", ensemble)
    return _fold(with_gain(ensemble, 1.0))


@eqx.filter_jit
def _fold(ensemble):
    infinite, negative = refuse(ensemble)
    biased = is_biased(ensemble)
    frozen = jax.lax.stop_gradient(ensemble)

    def excess(e, t, gain, rules):
        """log F − log q at q = e^t, for the logarithm of a gain."""
        return jnp.log(variance_map(with_gain(e, jnp.exp(gain)), jnp.exp(t), rules)) - t

    def fold_equations(x, e, rules):
        return jnp.stack(jax.jvp(lambda t: excess(e, t, x[1], rules), (x[0],), (1.0,)))

    start = jnp.log(critical_gain(frozen))

    def gain_for(t):
        def step(_, bounds):
            low, high = bounds
            middle = (low + high) / 2
            up = excess(frozen, t, middle, COARSE) < 0
            return jnp.where(up, middle, low), jnp.where(up, high, middle)

        # F grows with the gain, and gates change by no more than a factor e^12.
        return sum(jax.lax.fori_loop(0, 48, step, (start - 12, start + 12))) / 2

    t = jnp.linspace(jnp.log(1e-8), jnp.log(0.98), _POINTS)
    gains = jax.lax.map(gain_for, t)
    lowest = jnp.argmin(gains)
    inside = (lowest > 0) & (lowest < _POINTS - 1)
    guess = jnp.stack([t[lowest], gains[lowest]])

    def newton(_, x):
        residual = lambda x: fold_equations(x, frozen, FINE)
        step = solve(jax.jacfwd(residual)(x), residual(x))
        return x - jnp.clip(step, -0.3, 0.3)

    x = jax.lax.fori_loop(0, 12, newton, guess)
    rest = jnp.max(jnp.abs(fold_equations(x, frozen, FINE)))
    found = inside & (rest < _NOISE) & ~infinite & ~negative & ~biased
    program, arrays = hoist(lambda x: fold_equations(x, ensemble, FINE), guess)
    x = attach(program, arrays, jnp.where(found, x, guess), found)
    gain, variance = jnp.exp(x[1]), jnp.exp(x[0])
    stability = stability_of(with_gain(ensemble, gain), variance, FINE)
    result = choose(
        RESULTS,
        RESULTS.successful,
        (infinite, RESULTS.nonfinite),
        (negative, RESULTS.negative),
        (biased, RESULTS.biased),
        (~inside, RESULTS.no_fold),
        (~found, RESULTS.not_converged),
    )
    shown = lambda value: jnp.where(found, value, jnp.nan)
    return GainFold(shown(gain), shown(variance), shown(stability), result)


def with_gain(ensemble, gain):
    """The ensemble with another gain of its candidate."""
    name = "g_c" if isinstance(ensemble, LSTMEnsemble) else "g_h"
    gain = jnp.asarray(gain, getattr(ensemble, name).dtype)
    return eqx.tree_at(lambda e: getattr(e, name), ensemble, gain)


def _mean_square(mean, spread):
    return gaussian_mean(_square, on_a_line(161), (mean,), (spread**2,))


def _square(x):
    return sigmoid(x) ** 2
