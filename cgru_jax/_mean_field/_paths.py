"""Dynamics of an infinitely large network, by sampling the paths of its units in time.

The covariance of the Gaussian fields up to now is an average over paths up to now, so
that time runs forwards once and nothing has to be iterated until it is consistent.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._errors import check_positive, check_whole, check_x64, real_array
from .._results import RESULTS, choose
from ._coefficients import (
    AbstractCoefficients,
    gru_coefficients,
    lstm_coefficients,
    reset_after_coefficients,
)
from ._ensembles import AbstractEnsemble, GRUEnsemble, LSTMEnsemble
from ._sites import flaw, sigmoid, site_of

BLOCKS = 10  # of time, whose means give the standard error
# Of a variance, added to what a new time has of its own: repeated values, as in a state at
# rest, leave only round-off there, of either sign.
JITTER = 1e-9


class Paths(eqx.Module):
    """Sampled paths of the units of an infinitely large network.

    - `states`: by name (`h`, of an LSTM also `c`), shape `(steps, paths)`.
    - `fields`: by the name of the gate, shape `(steps, paths)`: the pre-activations, biases
      included, that are computed from the state in the same row. Path i of all of them is
      one unit: states and fields are jointly distributed.
    - `exponent`, `error`: shape `()`. Largest Lyapunov exponent per step, and its standard
      error from ten blocks of time (in which the finite number of paths is not seen).
    - `result`: how the computation ended.
    """

    states: dict[str, Float[Array, "*batch t m"]]
    fields: dict[str, Float[Array, "*batch t m"]]
    exponent: Float[Array, "*batch"]
    error: Float[Array, "*batch"]
    result: RESULTS


def sample_paths(
    ensemble: AbstractEnsemble,
    key: PRNGKeyArray,
    *,
    paths: int = 4_000,
    steps: int = 150,
    transient: int = 50,
    start=1.0,
) -> Paths:
    r"""Paths of single units in the limit of many: the dynamics of the random networks.

    A field with gain g, driven by the signal x, is a Gaussian process with covariance
    $g^2 \langle x_t x_{t'} \rangle$. At each step the new row of that matrix is averaged
    over all paths, its Cholesky factor is bordered, and every path draws its next value.
    A tangent vector is carried along in the same way. Exact for many paths; with 4,000 the
    variance of h has an error of about two per cent. Few paths also have a bias: with M of
    them over T steps in all the exponent was found low by about T/(10 M) of itself (five
    per cent at M = 2 T, less than the scatter from 8 T on).

    **Arguments:**

    - `ensemble`: a `GRUEnsemble`, `ResetAfterGRUEnsemble` or `LSTMEnsemble`.
    - `key`: a key of `jax.random`; another key shows how far the answer is from exact.
    - `paths`: how many; at least four times as many as there are steps in all.
    - `steps`: how many are returned, and averaged for the exponent; `transient`: how many
      are taken before. Costs grow as the square of their sum.
    - `start`: standard deviation of the state at the beginning. Where rest and activity
      are both stable (near a discontinuous onset) it decides between them.

    **Returns:** a `Paths`.

    **Fails:** NaN throughout, with `nonfinite` for an ensemble with NaN or infinity, with
    `negative` for one with a negative gain or spread.

    **Raises:** `ValueError` for what does not fit, too few paths, and single precision.

    **Source:** derived for cgru_jax (dynamic mean-field theory, sampled causally).
    """
    owner = "sample_paths"
    site = site_of(owner, ensemble)
    for name, value, least in (("steps", steps, 1), ("transient", transient, 0)):
        check_whole(owner, name, value, least)
    check_whole(owner, "paths", paths, 1)
    if paths < 4 * (steps + transient):
        raise ValueError(
            f"{owner}: {paths} paths are too few for {steps + transient} steps, whose "
            f"covariance would be noise; give at least {4 * (steps + transient)}."
        )
    start = real_array(owner, "start", start)
    check_positive(owner, "start", start)
    check_x64(owner, jnp.result_type(start, *jax.tree.leaves(ensemble)))
    return _sample(site, ensemble, key, paths, steps, transient, start)


@eqx.filter_jit
def _sample(site, ensemble, key, paths, steps, transient, start):
    total = steps + transient
    gains = {gate: getattr(ensemble, f"g_{gate}") for gate in site.gates}
    ends, middle = jr.split(key)
    once = iter(jr.normal(ends, (2 * len(site.state) + len(site.gates), paths)))
    state = {name: start * next(once) for name in site.state}
    tangent = _normalised({name: next(once) for name in site.state})[0]
    biases = {
        gate: getattr(ensemble, f"m_{gate}") + getattr(ensemble, f"s_{gate}") * next(once)
        for gate in site.gates
    }
    both = jr.normal(middle, (2, len(site.gates), total, paths))
    noise, tangent_noise = (dict(zip(site.gates, x, strict=True)) for x in both)
    empty = jnp.zeros((total, paths)), jnp.eye(total)

    def step(carry, t):
        state, tangent, memories = carry
        fields, pushed, later = {}, {}, []
        for (gates, drive), (memory, other) in zip(site.stages, memories, strict=True):
            signal = jax.jvp(drive, (state, fields), (tangent, pushed))
            memory, value = _remember(memory, t, signal[0], noise, gates)
            other, slope = _remember(other, t, signal[1], tangent_noise, gates)
            fields = fields | {k: gains[k] * value[k] + biases[k] for k in gates}
            pushed = pushed | {k: gains[k] * slope[k] for k in gates}
            later.append((memory, other))
        new, tangent = jax.jvp(site.advance, (state, fields), (tangent, pushed))
        tangent, growth = _normalised(tangent)
        return (new, tangent, later), (state, fields, jnp.log(growth))

    begin = state, tangent, [(empty, empty) for _ in site.stages]
    _, (states, fields, logs) = jax.lax.scan(step, begin, jnp.arange(total))
    states, fields, logs = jax.tree.map(lambda x: x[transient:], (states, fields, logs))
    blocks = jnp.stack([jnp.mean(x) for x in jnp.array_split(logs, min(BLOCKS, steps))])
    error = jnp.std(blocks, ddof=1) / jnp.sqrt(len(blocks)) if steps > 1 else jnp.nan

    bad = (*flaw(ensemble), (~(start > 0) | ~jnp.isfinite(start), RESULTS.nonfinite))
    result = choose(RESULTS, RESULTS.successful, *bad)
    answer = states, fields, jnp.mean(logs), jnp.asarray(error)
    fine = result == RESULTS.successful
    return Paths(*jax.tree.map(lambda x: jnp.where(fine, x, jnp.nan), answer), result)


def _remember(memory, t, signal, noise, gates):
    """The Gaussian processes of `gates` at time t, with the covariance of a signal.

    `memory` holds the signal up to now, shape `(T, M)`, and the Cholesky factor of its
    covariance, with the unit matrix where time has not come yet.
    """
    past, lower = memory
    past = past.at[t].set(signal)
    covariance = past @ signal / signal.size  # zero from t + 1 on
    earlier = jnp.where(jnp.arange(len(past)) < t, covariance, 0)
    row = jax.scipy.linalg.solve_triangular(lower, earlier, lower=True)
    own = covariance[t]
    # Truly nothing of its own: a signal that is exactly zero.
    rest = jnp.sqrt(jnp.maximum(own - row @ row, 0) + JITTER * own)
    lower = lower.at[t].set(row.at[t].set(jnp.where(rest > 0, rest, 1)))
    row = row.at[t].set(rest)
    return (past, lower), {gate: row @ noise[gate] for gate in gates}


def _normalised(tangent):
    """A tangent vector of root mean square one, and how long it was.

    One that is annihilated has no direction and stays nothing: −∞ from there on.
    """
    size = jnp.sqrt(sum(jnp.mean(x**2) for x in tangent.values()))
    return {name: x / jnp.where(size > 0, size, 1) for name, x in tangent.items()}, size


def path_coefficients(ensemble: AbstractEnsemble, found: Paths) -> AbstractCoefficients:
    """What the spectrum of the Jacobian depends on, at the last state of sampled paths.

    **Arguments:** `ensemble`, and the `found` of `sample_paths` for it.

    **Returns:** coefficients, one per path: `support`, `eigenvalue_mass` and `density` of
    them foretell the eigenvalues at a state of the activity, with no network. All gates of
    a path are kept together: an update rate is not independent of h − y.

    **Raises:** `ValueError` for the paths of another kind of ensemble.

    **Source:** derived for cgru_jax.
    """
    site = site_of("path_coefficients", ensemble)
    state = {name: x[-1] for name, x in found.states.items()}
    fields = {gate: x[-1] for gate, x in found.fields.items()}
    if set(fields) != set(site.gates) or set(state) != set(site.state):
        raise ValueError(
            f"path_coefficients: found holds paths with the gates {sorted(fields)}, but a "
            f"{type(ensemble).__name__} has {sorted(site.gates)}."
        )
    h = state["h"]
    if isinstance(ensemble, LSTMEnsemble):
        i, o, candidate = sigmoid(fields["i"]), sigmoid(fields["o"]), jnp.tanh(fields["c"])
        return lstm_coefficients(ensemble, state["c"], fields["f"], i, o, candidate)
    z, r, x = sigmoid(fields["z"]), sigmoid(fields["r"]), fields["h"]
    if isinstance(ensemble, GRUEnsemble):
        return gru_coefficients(ensemble, h, z, r, jnp.tanh(x))
    return reset_after_coefficients(ensemble, h, z, r, x, jnp.tanh(r * x))


def correlation_function(states: Float[Array, "t m"], lags: int) -> Float[Array, " k"]:
    r"""$\langle h_t h_{t+\tau} \rangle$ for τ from 0 to `lags`, over times and units.

    **Arguments:**

    - `states`: shape `(t, m)`: paths of `sample_paths`, or the orbit of a network.
    - `lags`: the largest τ, less than the number of times.

    **Returns:** shape `(lags + 1,)`. The mean is not taken off: at τ = 0 this is the mean
    square, the variance of the theory.

    **Raises:** `ValueError` for `states` without two axes, or too many lags.
    """
    states = jnp.asarray(states)
    if states.ndim != 2 or not states.size:
        raise ValueError(
            f"correlation_function: states must have shape (times, units), got "
            f"{states.shape}."
        )
    if isinstance(lags, bool) or not isinstance(lags, int) or not 0 <= lags < len(states):
        raise ValueError(
            f"correlation_function: lags must be an integer from 0 to {len(states) - 1}, "
            f"one less than there are times, got {lags!r}."
        )
    return _correlation(states, lags)


@eqx.filter_jit
def _correlation(states, lags):
    # All at once by FFT, padded so that the end does not meet the beginning.
    count = len(states)
    power = jnp.abs(jnp.fft.rfft(states, n=count + lags, axis=0)) ** 2
    sums = jnp.fft.irfft(jnp.mean(power, axis=1), n=count + lags)[: lags + 1]
    return sums / (count - jnp.arange(lags + 1))
