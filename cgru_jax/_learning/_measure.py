"""What a trained network does beyond the samples that it was trained on."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._results import RESULTS
from ._forecaster import Forecaster
from ._unroll import advance_once, entered, readout

LONG, WINDOW = 3_000, 1_000  # samples: until transients are over, and of the attractor
LONGEST = 16_000  # samples of the attractor of a slow one: periods up to a fourth of it
LAPS = 4  # that make a cycle
CROSSINGS = 8  # of one level in a lap at most: humps, and laps that alternate
# Neighbours on a lap: so far apart as a part of the range, and by so many samples (of few
# samples in a lap, the interpolated crossings leave the phase unsure by as much).
TIGHT, SLACK = 1e-3, 0.05
MOST = 0.95  # of them; a jump within less than a sample leaves the others apart
REST = 1e-6  # an orbit that moves less, as a part of what it went through, is at rest
STILL = 1e-2  # and is said to be where, however long it is followed, it moves no more
LASTS = 0.9  # of its range early in the window is left late in it, unless it fades
AGREE = 0.02  # starts of one cycle have its period, as far as this
WRONG = 0.4  # an error of this many standard deviations ends the valid time
DIRECTIONS = 32  # of the sliced Wasserstein distance


@eqx.filter_jit
def run(model: Forecaster, first: Float[Array, "q N"], steps: int):
    """States, shape `(steps, n, N)`, and forecasts, shape `(steps, q, N)`, of the samples
    that follow the first, by the steps that the network was trained with."""

    return _follow(model, entered(model, first), steps)


def run_on(model: Forecaster, states: np.ndarray, steps: int):
    """The same of the samples that follow states of shape `(n, N)`; steps in thousands."""
    parts = []
    for _ in range(steps // WINDOW):  # one program for every length
        onward = _further(model, jnp.asarray(states), WINDOW + 1)
        parts.append([np.asarray(x)[1:] for x in onward])
        states = parts[-1][0][-1]
    return map(np.concatenate, zip(*parts, strict=True))


def _follow(model, states, steps):
    def sample(h, _):
        return advance_once(model, h), (h, readout(model, h))

    return jax.lax.scan(sample, states, None, length=steps)[1]


_further = eqx.filter_jit(_follow)


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

    **Arguments:** `orbits`: shape `(t, n, N)`, states once transients are over.

    A lap is tried as 1, 2, … crossings of one level by the state that varies most. It is
    one if all samples, in the order of their phase in it, lie on one closed curve: humps
    and laps that alternate take several crossings, chaos and tori lie on none. The slope
    of the interpolated crossings leaves an error of a thousandth of a sample or less.
    """
    return np.array([_period(orbits[:, :, i]) for i in range(orbits.shape[2])])


def _period(orbit):
    if not np.isfinite(orbit).all():
        return np.nan
    series = orbit[:, np.argmax(np.ptp(orbit, axis=0))]
    level = series - (series.max() + series.min()) / 2
    up = np.flatnonzero((level[:-1] < 0) & (level[1:] >= 0))
    times = up - level[up] / (level[up + 1] - level[up])
    for crossings in range(1, CROSSINGS + 1):
        laps = (len(times) - 1) // crossings
        if laps < LAPS:
            break
        each = times[: laps * crossings + 1 : crossings]
        period = np.polyfit(np.arange(laps + 1), each, 1)[0]
        if _closes(orbit, period):
            return period
    return np.nan


def _closes(orbit, period):
    """Whether neighbours in phase are as near to each other as the speed there allows."""
    phase = (np.arange(len(orbit)) / period) % 1
    order = np.argsort(phase, kind="stable")
    gap = period * np.diff(phase[order], append=phase[order[0]] + 1)  # in samples
    along = orbit[order]
    apart = np.linalg.norm(np.roll(along, -1, axis=0) - along, axis=1)
    steps = np.linalg.norm(np.diff(orbit, axis=0), axis=1)
    speed = np.maximum(np.append(steps, steps[-1]), np.insert(steps, 0, steps[0]))[order]
    speed = np.maximum(speed, np.roll(speed, -1))
    tight = TIGHT * np.ptp(orbit, axis=0).max()
    # The speed may double within a gap.
    near = apart <= (2 * gap + SLACK) * speed + tight
    return bool(near.mean() >= MOST and (apart <= (1 + SLACK) * speed + tight).all())


def cycle_of(states: np.ndarray, outputs: np.ndarray, further=None) -> dict:
    """What the last samples of orbits from several starts have in common.

    **Arguments:**

    - `states`, `outputs`: shapes `(t, n, N)` and `(t, q, N)`, from the first sample on.
    - `further`: from the last states and a number of samples to the states and outputs
      that follow. Orbits that neither rest nor repeat are followed so, twice as long each
      time, up to 16,000 samples.

    **Returns:** `period` in samples, or None; `fraction` of the starts that come to that
    cycle; `result`: `successful`, `no_cycle` where all come to rest, `no_period` where some
    neither rest nor repeat; with a cycle also the `spread` of their periods, as a part,
    `low` and `high` of each quantity, and `orbit`, shape `(t, q)`, of one of them.
    """
    extent = np.nanmax(np.ptp(states, axis=0))  # one may have left every bound
    states, outputs = states[-WINDOW:], outputs[-WINDOW:]
    while True:
        third = len(states) // 3
        early, late = (np.ptp(part, axis=0) for part in (states[:third], states[-third:]))
        moves = late.max(axis=0) > REST * extent
        fades = (late < LASTS * early).any(axis=0)
        # The orbit may still grow towards its cycle.
        lasts = moves & ~fades & (early >= LASTS * late).all(axis=0)
        each = np.full(len(lasts), np.nan)
        each[lasts] = periods(states[:, :, lasts])
        unsure = moves & np.isnan(each)
        if further is None or not unsure.any() or len(states) >= LONGEST:
            break
        states, outputs = further(states[-1], 2 * len(states))
    if np.isnan(each).all():
        unsure &= (late.max(axis=0) > STILL * extent) & ~fades
        result = RESULTS.no_period if unsure.any() else RESULTS.no_cycle
        return {"period": None, "fraction": 0.0, "result": result}
    # Where there are several cycles, that of a start in the middle.
    period = float(np.nanquantile(each, 0.5, method="lower"))
    same = np.abs(each / period - 1) < AGREE
    orbit = outputs[:, :, np.flatnonzero(same)[0]]
    return {
        "period": period,
        "fraction": float(same.mean()),
        "result": RESULTS.successful,
        "spread": float(np.ptp(each[same]) / period),
        "low": orbit.min(axis=0).tolist(),
        "high": orbit.max(axis=0).tolist(),
        # Of a slow cycle not every sample.
        "orbit": orbit[:: len(orbit) // WINDOW or 1],
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
