"""What a trained network does beyond the samples that it was trained on."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._forecaster import Forecaster
from ._unroll import advance_once, entered, readout

LONG, WINDOW = 3_000, 1_000  # samples: until transients are over, and of the attractor
STILL = 1e-2  # an orbit that moves less, as a part of what it went through, is at rest
LASTS = 0.9  # of its range early in the window is left late in it, on a cycle
LAPS = 4  # crossings that make a cycle
AGREE = 0.02  # starts of one cycle have its period, as far as this
WRONG = 0.4  # an error of this many standard deviations ends the valid time
DIRECTIONS = 32  # of the sliced Wasserstein distance


@eqx.filter_jit
def run(model: Forecaster, first: Float[Array, "q N"], steps: int):
    """States, shape `(steps, n, N)`, and forecasts, shape `(steps, q, N)`, of the samples
    that follow the first, by the steps that the network was trained with."""

    def sample(h, _):
        return advance_once(model, h), (h, readout(model, h))

    return jax.lax.scan(sample, entered(model, first), None, length=steps)[1]


def increment(model: Forecaster, h: Float[Array, " n"]):
    """What one sample adds to a state, shape `(n,)`."""
    return advance_once(model, h[:, None])[:, 0] - h


@eqx.filter_jit
def multipliers_at(model: Forecaster, states: Float[Array, "n N"]):
    """Eigenvalues of the derivative of one sample at states; absolute values, sorted from
    the largest, shape `(N, n)`."""

    slopes = jax.vmap(jax.jacfwd(functools.partial(increment, model)), in_axes=1)(states)
    values = jnp.linalg.eigvals(jnp.eye(states.shape[0]) + slopes)
    return -jnp.sort(-jnp.abs(values), axis=-1)


def periods(orbits: np.ndarray) -> np.ndarray:
    """The period of each orbit in samples, shape `(N,)`; NaN of one that does not repeat.

    **Arguments:** `orbits`: shape `(t, q, N)`, once transients are over. The crossings of
    the mean of the quantity that varies most are interpolated; the mean over all laps
    leaves an error of a hundredth of a sample or less.
    """
    found = np.full(orbits.shape[2], np.nan)
    for i in range(orbits.shape[2]):
        series = orbits[:, np.argmax(np.ptp(orbits[:, :, i], axis=0)), i]
        if not np.isfinite(series).all():
            continue
        level = series - (series.max() + series.min()) / 2
        up = np.flatnonzero((level[:-1] < 0) & (level[1:] >= 0))
        if len(up) < LAPS:
            continue
        times = up - level[up] / (level[up + 1] - level[up])
        laps = np.diff(times)
        # An orbit that creeps to rest crosses with a shrinking range; chaos, unevenly.
        if laps.std() < 0.2 * laps.mean():
            found[i] = (times[-1] - times[0]) / len(laps)
    return found


def cycle_of(outputs: np.ndarray) -> dict:
    """What the last samples of orbits from several starts have in common.

    **Arguments:** `outputs`: shape `(t, q, N)`, from the first sample on.

    **Returns:** `period` in samples, or None; `fraction` of the starts that come to that
    cycle; `spread` of their periods, as a part; `low`, `high` of each quantity; `orbit`,
    shape `(t, q)`, of one of them.
    """
    window = outputs[-WINDOW:]
    whole = np.ptp(outputs.reshape(-1, outputs.shape[1], outputs.shape[2]), axis=0)
    early, late = (
        np.ptp(x, axis=0) for x in (window[: WINDOW // 3], window[-WINDOW // 3 :])
    )
    alive = (late > STILL * whole.max()).any(axis=0)
    # What fades within the window is on its way to rest, however slow.
    alive &= (late >= LASTS * early).all(axis=0)
    each = np.where(alive, periods(window), np.nan)
    if np.isnan(each).all():
        return {"period": None, "fraction": 0.0}
    # Where there are several cycles, that of a start in the middle.
    period = float(np.nanquantile(each, 0.5, method="lower"))
    same = np.abs(each / period - 1) < AGREE
    orbit = window[:, :, np.flatnonzero(same)[0]]
    return {
        "period": period,
        "fraction": float(same.mean()),
        "spread": float(np.ptp(each[same]) / period),
        "low": orbit.min(axis=0).tolist(),
        "high": orbit.max(axis=0).tolist(),
        "orbit": orbit,
    }


def distances(found: np.ndarray, true: np.ndarray) -> dict:
    """How far two cycles are apart, in standard deviations of the true one.

    **Arguments:** two arrays of shape `(t, q)`, sampled at equal times.

    **Returns:** `sliced_wasserstein` (first order, mean over 32 directions: sees shape and
    speed) and `hausdorff` (sees shape alone).
    """
    scale = true.std(axis=0)
    a, b = found / scale, true / scale
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    if a.shape[1] == 2:
        slices = np.stack([np.cos(angles), np.sin(angles)])
    else:
        slices = np.random.default_rng(0).normal(size=(a.shape[1], DIRECTIONS))
        slices /= np.linalg.norm(slices, axis=0)
    levels = (np.arange(500) + 0.5) / 500
    quantiles = [np.quantile(x @ slices, levels, axis=0) for x in (a, b)]
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)
    return {
        "sliced_wasserstein": float(np.mean(np.abs(quantiles[0] - quantiles[1]))),
        "hausdorff": float(max(apart.min(axis=0).max(), apart.min(axis=1).max())),
    }


def valid_samples(forecast: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many samples pass until the error exceeds 0.4 standard deviations; `(N,)`.

    **Arguments:** two arrays of shape `(t, q, N)`.
    """
    scale = truth.std(axis=(0, 2))[:, None]
    error = np.sqrt(np.mean(((forecast - truth) / scale) ** 2, axis=1))
    wrong = ~(error <= WRONG)
    return np.where(wrong.any(axis=0), wrong.argmax(axis=0), len(wrong))


def usable_length(forecast: np.ndarray, places: np.ndarray) -> list[float]:
    """The longest stretch of a line on which forecasts still stand within 0.1.

    **Arguments:** `forecast`: shape `(k, 2, N)` at k times, from the places (0, y) with
    the equally spaced y of `places`.
    """
    found = []
    for row in forecast:
        near = np.hypot(row[0], row[1] - places) < 0.1
        best = run_ = 0
        for one in near:
            run_ = run_ + 1 if one else 0
            best = max(best, run_)
        found.append(float(max(best - 1, 0) * (places[1] - places[0])))
    return found


def radius_errors(forecast: np.ndarray) -> list[float]:
    """Root mean square of how far forecasts have left the unit circle; of shape
    `(k, 2, N)` at k times."""
    radii = np.hypot(forecast[:, 0], forecast[:, 1])
    return np.sqrt(np.mean((radii - 1) ** 2, axis=1)).tolist()


def angle_errors(forecast: np.ndarray, angles: np.ndarray) -> list[float]:
    """Root mean square of how far forecasts have turned from their angle, in radians; of
    shape `(k, 2, N)` at k times. A full loss of memory is about 1.8."""
    turned = np.arctan2(forecast[:, 1], forecast[:, 0]) - angles
    wrapped = (turned + np.pi) % (2 * np.pi) - np.pi
    return np.sqrt(np.mean(wrapped**2, axis=1)).tolist()
