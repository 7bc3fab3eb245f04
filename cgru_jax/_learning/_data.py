"""Time series to learn from: generated from a flow, or a user's own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from .._errors import check_finite, check_positive, check_whole, concrete, real_array
from .._integrate import integrate
from .._systems import Flow
from .._targets import Target

NOISES = ("none", "observation", "process", "input")
LEVEL = 0.1**0.5  # the paper's N(0, 0.1 I), read as a variance
FINEST = 0.05  # steps of Runge–Kutta: their error is below 1e-6 for the targets
HELD_OUT = 1 / 3  # the paper's 667 of 1,000 to train on
LARGEST = 1e9  # its fourth power, of which Adam keeps sums, is finite in single precision


class TimeSeries(eqx.Module):
    """Trajectories sampled at equal times, some to train on and some held out.

    - `train`: shape `(N, t, q)`: trajectories, samples, observed quantities.
    - `heldout`: shape `(M, t, q)`, never trained on.
    - `clean`: shape `(M, t, q)`, the held-out ones from the same starts without noise;
      None where that is not known.
    - `step`: shape `()`, time from one sample to the next.
    """

    train: Float[Array, "N t q"]
    heldout: Float[Array, "M t q"]
    clean: Float[Array, "M t q"] | None
    step: Float[Array, ""]


def generate(
    target,
    *,
    seed: int = 0,
    noise: str = "none",
    level: float | None = None,
    trajectories: int = 1_000,
    steps: int = 29,
    step: float | None = None,
    box: tuple | None = None,
) -> TimeSeries:
    r"""Trajectories of a flow from uniform starts in a box, two thirds of them to train on.

    **Arguments:**

    - `target`: a `Target` (see `cgru.TARGETS`) or any field from shape `(n,)` to `(n,)`,
      for which `step` and `box` must be given.
    - `seed`: another seed, other trajectories.
    - `noise`: `"none"`; `"observation"`, added to every sample, the first included;
      `"process"`, $dw = f\,dt + s\,dW$; `"input"`, the target's input drawn anew at every
      sample.
    - `level`: standard deviation of the noise (process: s). By default √0.1, and of an
      input that of the target.
    - `trajectories`: how many; `steps`: how many samples follow the first of each.
    - `step`: time between samples; `box`: `(low, high)`, each of shape `(n,)`.

    **Returns:** `TimeSeries`, with the held-out trajectories also free of noise.

    **Raises:** `ValueError` for options that do not fit.

    **Source:** section 5 of the ICLR 2019 submission; Runge–Kutta of order four with steps
    of at most 0.05 (Heun's method under process noise).
    """
    _check_seed("generate", seed)
    if not isinstance(target, Target):
        if not callable(target):
            raise ValueError(
                "generate: target must be a cgru.Target, as cgru.TARGETS holds them, or a "
                f"field, got {target!r}."
            )
        if step is None or box is None:
            raise ValueError(
                "generate: a field of your own needs step, the time between samples, and "
                "box, (low, high) of the starts."
            )
        target = Target("", target, None, box, step)
    _check_options(target, noise, trajectories, steps)
    if level is None:
        level = target.drive[1] if noise == "input" else LEVEL
    step = real_array("generate", "step", target.step if step is None else step)
    check_positive("generate", "step", step)
    level = real_array("generate", "level", level)
    if level.shape != () or level < 0:
        raise ValueError(
            "generate: level is a standard deviation, one number that is not negative; got "
            f"{level}."
        )
    low, high = _ends(target.box if box is None else box)
    given = jax.eval_shape(target.field, low)
    if getattr(given, "shape", None) != low.shape:
        raise ValueError(
            f"generate: in a box of {low.size} dimensions the field returns {given}; it "
            "must return one derivative for each."
        )
    clean, noisy = _trajectories(
        target.field,
        target.drive,
        noise,
        trajectories,
        steps,
        max(1, int(np.ceil(float(step) / FINEST - 1e-9))),
        jr.key(seed),
        *(x.astype(float) for x in (low, high, step, level)),
    )
    for states in (clean, noisy):
        check_finite("generate", "trajectories", states)
    last = _to_train_on(trajectories)
    return TimeSeries(noisy[:last], noisy[last:], clean[last:], jnp.asarray(step, float))


def _ends(box):
    """Where a box begins and ends, checked."""
    if not isinstance(box, tuple | list) or len(box) != 2:
        raise ValueError(f"generate: box must be (low, high), two ends; got {box!r}.")
    low, high = (
        real_array("generate", f"box[{i}]", end).astype(float) for i, end in enumerate(box)
    )
    if low.ndim != 1 or low.shape != high.shape or not bool(jnp.all(low < high)):
        raise ValueError(
            f"generate: box must be (low, high), each of shape (n,) and low below high, "
            f"got {low} and {high}."
        )
    return low, high


def _check_options(target, noise, trajectories, steps):
    if noise not in NOISES:
        raise ValueError(f"generate: noise must be one of {NOISES}, got {noise!r}.")
    if noise == "input" and target.drive is None:
        raise ValueError(
            f"generate: noise 'input' needs a target with an input, and "
            f"{target.name or 'this field'} has none; use 'observation' or 'process'."
        )
    for name, value, least in (("trajectories", trajectories, 2), ("steps", steps, 1)):
        check_whole("generate", name, value, least)


def _check_seed(owner, seed):
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not -(2**63) <= seed < 2**63:
        raise ValueError(
            f"{owner}: seed must be a whole number of at most 64 bits, got {seed!r}."
        )


def _to_train_on(trajectories):
    return min(max(1, round(trajectories * (1 - HELD_OUT))), trajectories - 1)


@eqx.filter_jit
def _trajectories(field, drive, noise, count, steps, substeps, key, low, high, step, level):
    """All of them without noise and with it, shape `(count, steps + 1, n)` each."""
    places, disturbances = jr.split(key)
    starts = jr.uniform(places, (count, *low.shape), low.dtype, low, high)
    times = jnp.stack([jnp.zeros_like(step), step])

    def follow(start, key, noisy):
        def interval(w, key):
            current = drive and drive[0]
            if noisy and noise == "input":
                current = drive[0] + level * jr.normal(key, (), w.dtype)
            flow = Flow(field if drive is None else lambda w: field(w, current))
            options = {"noise": level, "key": key} if noisy and noise == "process" else {}
            w = integrate(flow, w, times, substeps=substeps, **options).states[-1]
            return w, w

        _, later = jax.lax.scan(interval, start, jr.split(key, steps))
        return jnp.concatenate([start[None], later])

    keys = jr.split(disturbances, count)
    clean = jax.vmap(lambda w, k: follow(w, k, False))(starts, keys)
    if noise == "none":
        return clean, clean
    if noise == "observation":
        return clean, clean + level * jr.normal(disturbances, clean.shape, clean.dtype)
    return clean, jax.vmap(lambda w, k: follow(w, k, True))(starts, keys)


def time_series(trajectories, *, step=1.0, times=None, seed: int = 0) -> TimeSeries:
    """A user's own trajectories as `TimeSeries`: checked, shuffled, a third held out.

    **Arguments:**

    - `trajectories`: shape `(N, t, q)`: trajectory, sample, observed quantity.
    - `step`: time between samples; or `times`, shape `(t,)`, which must be equally spaced.
    - `seed`: which third is held out.

    **Raises:** `ValueError` that names the culprit: fewer than two trajectories or two
    samples, trajectories of different lengths, a value that is not finite, times that are
    not equally spaced.
    """
    owner = "time_series"
    _check_seed(owner, seed)
    if isinstance(trajectories, list | tuple):
        lengths = sorted({len(one) for one in trajectories if hasattr(one, "__len__")})
        if len(lengths) > 1:
            raise ValueError(
                f"{owner}: the trajectories have {lengths[0]} to {lengths[-1]} samples; "
                "cut them to one length."
            )
    array = real_array(owner, "trajectories", trajectories)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"{owner}: trajectories must have shape (N, t, q): trajectory, sample, "
            f"observed quantity; got {array.shape}."
        )
    if array.shape[0] < 2:
        raise ValueError(
            f"{owner}: there is one trajectory; at least two are needed, one to train on "
            "and one held out. Cut a long one into windows."
        )
    if array.shape[1] < 2:
        raise ValueError(f"{owner}: a trajectory needs at least two samples, got one.")
    array = array.astype(jnp.result_type(array, float))
    step = equal_step(owner, times, array.shape[1]) if times is not None else step
    step = real_array(owner, "step", step)
    check_positive(owner, "step", step)
    order = jr.permutation(jr.key(seed), array.shape[0])
    array, last = array[order], _to_train_on(array.shape[0])
    return TimeSeries(array[:last], array[last:], None, jnp.asarray(step, array.dtype))


def equal_step(owner: str, times, samples: int) -> float:
    """The one step between equally spaced times.

    **Raises:** `ValueError` where they are not, naming the first that is out of step.
    """
    times = np.asarray(real_array(owner, "times", times), float)
    if times.shape != (samples,):
        raise ValueError(
            f"{owner}: times have shape {times.shape}, but a trajectory has {samples} "
            "samples."
        )
    steps = np.diff(times)
    mean = (times[-1] - times[0]) / len(steps)
    # Times that were printed with a few digits are equally spaced too.
    uneven = ~(np.abs(steps - mean) <= 0.02 * abs(mean))
    if not mean > 0 or uneven.any():
        place = int(np.argmax(uneven)) if uneven.any() else 0
        raise ValueError(
            f"{owner}: the times are not equally spaced: from {times[place]:g} to "
            f"{times[place + 1]:g} it is {steps[place]:g}, {mean:g} on the mean. Resample "
            "the data."
        )
    return float(mean)


def as_time_series(owner: str, data) -> TimeSeries:
    """`data` as it is, or an array of trajectories made into `TimeSeries`."""
    if not isinstance(data, TimeSeries):
        data = time_series(data)
    check_positive(owner, "data.step", real_array(owner, "data.step", data.step))
    for name in ("train", "heldout", "clean"):
        array = getattr(data, name)
        if array is None and name == "clean":
            continue
        if not concrete(array):
            raise ValueError(
                f"{owner}: data.{name} is traced; call {owner} outside jit, grad and vmap."
            )
        if array.ndim != 3 or array.shape[0] < 1 or array.shape[1:] != data.train.shape[1:]:
            raise ValueError(
                f"{owner}: data.{name} has shape {array.shape}; give (N, t, q) with the t "
                "and q of data.train."
            )
        _check_values(owner, f"data.{name}", array)
    if data.clean is not None and data.clean.shape != data.heldout.shape:
        raise ValueError(
            f"{owner}: data.clean has shape {data.clean.shape}, data.heldout "
            f"{data.heldout.shape}; they are the same trajectories without noise and with."
        )
    return data


def _check_values(owner, name, array):
    check_finite(owner, name, array)
    if concrete(array) and (large := np.argwhere(np.abs(np.asarray(array)) > LARGEST)).size:
        place = tuple(map(int, large[0]))
        raise ValueError(
            f"{owner}: {name}[{', '.join(map(str, place))}] is {array[place]:g}. Networks "
            "are trained in single precision and begin with forecasts near 1: scale every "
            "observed quantity to that order."
        )
