"""What dynamics a trained network has learned, beside that of its target."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._cycles import Cycle, find_cycle
from .._equilibria import Equilibria, enumerate_equilibria, find_equilibria, grid
from .._errors import check_positive, real_array
from .._integrate import integrate
from .._lyapunov import lyapunov_exponents
from .._results import KINDS, RESULTS
from .._systems import Flow, Map
from .._targets import Target
from . import _measure
from ._data import FINEST
from ._forecaster import Forecaster, check_forecaster

STARTS = 64  # from which long orbits begin
PROVABLE = 2  # units; a third costs minutes where two cost milliseconds
DENSE = 61  # starts per axis where an equilibrium was missed
AHEAD = 400  # samples over which the valid time is measured
LENGTH = 0.05  # of its period, by which a learned cycle may be longer or shorter
SHAPE = 0.5  # standard deviations: a cycle that lies farther off is another one
PLACES = 81  # on the line; 64 on the ring
HORIZONS = (29, 100, 300, 1_000)  # samples: one, three, ten and thirty of the trained


class Dynamics(eqx.Module):
    """What was learned: the closed loop of a `Forecaster`, under the input zero.

    - `reading`: of the model, `Map` or `Flow`.
    - `equilibria`: of the closed loop. Their eigenvalues λ are those of the cell read as a
      flow; the multipliers of a sample are 1 + λ of a `Map` and exp λ of a `Flow`.
    - `signature`: sinks, sources, saddles. `index_sum`: +1, or an equilibrium is missing.
    - `proved`: whether it is proved that there are no others.
    - `cycle`: a dict with `period` in units of time (None without a cycle), `fraction` of
      the starts that come to it, `result` (`no_cycle`: all come to rest; `no_period`: some
      neither rest nor repeat), and with a cycle `spread`, `low` and `high`.
    - `flow_cycle`: of the same weights as a differential equation, one sample a unit of its
      time, with Floquet multipliers; None where that was not asked for or there is none.
    - `exponents`: Lyapunov exponents per unit of time on the attractor, the largest first.
    - `measures`: numbers by name that compare with the target; `verdict`: a sentence.
    """

    reading: type = eqx.field(static=True)
    equilibria: Equilibria
    signature: tuple[int, int, int]
    index_sum: float
    proved: bool
    cycle: dict
    flow_cycle: Cycle | None
    exponents: list
    measures: dict
    verdict: str

    def document(self) -> dict:
        """Plain values, ready for JSON."""
        used = np.asarray(self.equilibria.valid)
        values = np.asarray(self.equilibria.eigenvalues)[used]
        document = {
            "signature": list(self.signature),
            "index_sum": self.index_sum,
            "proved": self.proved,
            "equilibria": {
                "points": np.asarray(self.equilibria.points)[used],
                "multipliers": 1 + values if self.reading is Map else np.exp(values),
                "flow_eigenvalues": values,
            },
            "period": self.cycle["period"],
            "cycle": {k: v for k, v in self.cycle.items() if k != "orbit"},
            "lyapunov_exponents": self.exponents,
            **self.measures,
            "verdict": self.verdict,
        }
        if self.flow_cycle is not None:
            document["flow_cycle"] = {
                "period": self.flow_cycle.period,
                "exponents": self.flow_cycle.exponents,
                "multipliers": self.flow_cycle.multipliers,
                "result": self.flow_cycle.result,
            }
        return document


def reverse_engineer(
    model: Forecaster,
    target: Target | None = None,
    *,
    starts=None,
    step: float | None = None,
    flow: bool = False,
    prove: bool = True,
) -> Dynamics:
    """Equilibria, cycle and slow manifold of a trained network, and how right they are.

    **Arguments:**

    - `model`: one trained `Forecaster`.
    - `target`: what it was trained on; without it nothing is compared.
    - `starts`: shape `(s, q)`, observations from which long orbits begin; drawn in the box
      of the target where they are left out.
    - `step`: time from sample to sample, by default that of the target, or 1.
    - `flow`: look for the cycle of the same weights read as a differential equation, too.
    - `prove`: False searches for equilibria only, which is quicker to compile.

    **Returns:** a `Dynamics`. Equilibria are proved to be all for up to two units; where
    the proof stays undecided, as on a line that almost rests, they are searched for densely
    and the indices must sum to one. The period is that of the closed loop itself: samples
    between interpolated crossings, times `step`.

    **Raises:** `ValueError` for a stack of models, for numbers that are not finite, for
    starts that do not fit, and without `starts` and `target`.

    **Source:** derived here; the Lyapunov exponents after Benettin et al. 1980.
    """
    verb = "reverse_engineer"
    check_forecaster(verb, model)
    if target is not None and not isinstance(target, Target):
        raise ValueError(
            f"{verb}: target must be a cgru.Target, as cgru.TARGETS holds them, got "
            f"{target!r}."
        )
    if model.C.ndim != 2:
        raise ValueError(
            "reverse_engineer: give one model; of a stack, jax.tree.map(lambda x: x[0], "
            "models) is the first."
        )
    starts = _starts(model, target, starts)
    step = step if step is not None else target.step if target else 1.0
    step = real_array(verb, "step", step)
    check_positive(verb, "step", step)
    step = float(step)
    equilibria = _equilibria(model, prove)
    signature = tuple(
        int(equilibria.tally(kind)) for kind in (KINDS.sink, KINDS.source, KINDS.saddle)
    )
    states, outputs = map(np.asarray, _measure.run(model, starts.T, _measure.LONG))
    cycle = _measure.cycle_of(states, outputs, functools.partial(_measure.run_on, model))
    last = jnp.asarray(states[-1, :, 0])
    growth = lyapunov_exponents(
        Map(functools.partial(_measure.increment, model)),
        last,
        steps=_measure.WINDOW,
        transient=_measure.WINDOW,
        count=last.size,
    )
    # A multiplier of zero has no logarithm; the smallest number stands for it.
    exponents = np.maximum(growth.exponents, np.log(np.finfo(float).tiny)) / step
    flow_cycle = None
    if cycle["period"] is not None:
        if flow:
            near = jnp.asarray(states[-1, :, 0])
            flow_cycle = find_cycle(Flow(model.system.field), near, cycle["period"])
        cycle["period"] *= step
    measures = {} if target is None else _compare(model, target, starts, cycle, step)
    found = Dynamics(
        model.reading,
        equilibria,
        signature,
        float(equilibria.index_sum),
        bool(equilibria.complete),
        cycle,
        flow_cycle,
        exponents.tolist(),
        measures,
        "",
    )
    verdict = _verdict(found, target)
    return eqx.tree_at(lambda d: d.verdict, found, verdict)


def _starts(model, target, starts):
    if starts is None:
        if target is None:
            raise ValueError("reverse_engineer: give a target, or starts of shape (s, q).")
        low, high = np.asarray(target.box)
        starts = np.random.default_rng(0).uniform(low, high, (STARTS, len(low)))
    starts = real_array("reverse_engineer", "starts", starts).astype(model.C.dtype)
    starts = starts[:STARTS]
    if starts.ndim != 2 or starts.shape[1] != model.c.shape[0] or not len(starts):
        raise ValueError(
            f"reverse_engineer: starts have shape {starts.shape}; give (s, "
            f"{model.c.shape[0]}), observations."
        )
    return starts


@eqx.filter_jit
def _proved(model):
    return enumerate_equilibria(model.system)


def _equilibria(model, prove):
    """All equilibria: proved, or searched for until the indices sum to one."""
    units = model.cell.units
    if prove and units <= PROVABLE and model.cell.box() is not None:
        found = _proved(model)
        if bool(found.complete):
            return found
    found = find_equilibria(model.system)
    if float(found.index_sum) != 1 and units <= PROVABLE:
        dense = jax.vmap(model.cell.lift)(grid(units, DENSE))
        found = find_equilibria(model.system, dense)
    return found


def _compare(model, target, starts, cycle, step):
    """Measures by name, as far as the target has what they compare with."""
    if target.attractor == "cycle":
        return _compare_cycle(model, target, starts, cycle, step)
    if target.attractor == "line":
        return _compare_line(model, step)
    return _compare_ring(model) if target.attractor == "ring" else {}


def _compare_cycle(model, target, starts, cycle, step):
    ahead = np.asarray(_measure.run(model, starts.T, AHEAD)[1])
    truth = np.asarray(_truth(target.field, target.drive, starts, AHEAD, step))
    measures = {"valid_time": float(step * np.median(_measure.valid_samples(ahead, truth)))}
    if cycle["period"] is not None and {"period", "point"} <= target.truth.keys():
        point = jnp.asarray([target.truth["point"]], float)
        lap = target.truth["period"] / _measure.WINDOW
        true = _truth(target.field, target.drive, point, _measure.WINDOW, lap)
        true = np.asarray(true)[:, :, 0]
        measures["period_error"] = cycle["period"] / target.truth["period"] - 1
        measures |= _measure.distances(cycle["orbit"], true)
    return measures


@eqx.filter_jit
def _truth(field, drive, starts, samples, step):
    """The target itself from these starts, shape `(samples, n, N)`."""
    flow = Flow(field if drive is None else lambda w: field(w, drive[0]))
    substeps = max(1, int(np.ceil(step / FINEST - 1e-9)))
    times = step * jnp.arange(samples + 1)
    follow = lambda w: integrate(flow, w, times, substeps=substeps).states[1:]
    return jnp.moveaxis(jax.vmap(follow)(starts), 0, 2)


def _at(outputs, horizons=HORIZONS):
    """Forecasts that many samples after the first."""
    return np.asarray(outputs)[np.asarray(horizons) - 1]


def _compare_line(model, step):
    places = np.linspace(-2, 2, PLACES)
    first = jnp.asarray(np.stack([np.zeros(PLACES), places]), model.C.dtype)
    states, outputs = _measure.run(model, first, HORIZONS[-1])
    lengths = _measure.usable_length(_at(outputs), places)
    # After the first ten samples what is across the line has died away.
    inner = np.abs(places) <= 1.5
    values = np.asarray(_measure.multipliers_at(model, states[10][:, inner]))
    with np.errstate(divide="ignore"):
        times = -step / np.log(values)
    slow, fast = np.median(np.abs(times[:, 0])), np.median(times[:, 1])
    return {
        "tau_slow": float(slow),
        "tau_fast": float(fast),
        "tau_ratio": float(slow / fast),
        "usable_length": dict(zip(map(str, HORIZONS), lengths, strict=True)),
    }


def _compare_ring(model):
    angles = 2 * np.pi * np.arange(64) / 64
    first = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)]), model.C.dtype)
    _, outputs = _measure.run(model, first, HORIZONS[-1])
    forecast = _at(outputs)
    lost = _measure.angle_errors(forecast, angles), _measure.radius_errors(forecast)
    turned, left = (dict(zip(map(str, HORIZONS), each, strict=True)) for each in lost)
    return {"angle_error": turned, "radius_error": left}


def _verdict(found, target):
    words = zip(found.signature, ("sink", "source", "saddle"), strict=True)
    counts = ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in words)
    others = int(found.equilibria.count) - sum(found.signature)
    if others:
        counts += f" and {others} on the verge of being another"
    if not found.proved:
        counts += " (searched for, not proved to be all)"
    cycle = found.cycle
    if found.index_sum != 1:
        return (
            f"Undecided: {counts}, but the indices sum to {found.index_sum:g} and not to "
            "one: an equilibrium is missing, or several lie beside each other on a line."
        )
    if cycle["period"] is not None:
        orbits = (
            f"an oscillation of period {cycle['period']:.5g} that {cycle['fraction']:.0%} "
            "of the starts come to"
        )
    elif cycle["result"] == RESULTS.no_period:
        orbits = "orbits that neither rest nor repeat"
    else:
        orbits = "no oscillation"
    what = f"{counts}; {orbits}."
    kind = target.attractor if target else None
    if kind == "cycle":
        error = found.measures.get("period_error")
        if error is None:
            return what if cycle["period"] is not None else f"Not learned: {what}"
        right = cycle["fraction"] == 1.0 and abs(error) < LENGTH
        right = right and found.signature[0] == 0 and found.measures["hausdorff"] < SHAPE
        return (
            ("Learned: " if right else "Not learned: ")
            + what
            + f" The period is off by {error:+.2%}, the cycle by at most "
            f"{found.measures['hausdorff']:.2g} standard deviations."
        )
    if kind == "line":
        lengths = found.measures["usable_length"]
        right = lengths["300"] >= 3.5
        return (
            ("Learned for ten horizons: " if right else "A pseudo-line: ")
            + what
            + f" Of a length of 4, {lengths['29']:.2g} is usable after 29 samples and "
            f"{lengths['1000']:.2g} after 1,000."
        )
    if kind == "ring":
        errors = found.measures["angle_error"]
        radii = found.measures["radius_error"]
        right = errors["1000"] < 0.2 and radii["1000"] < 0.2
        return (
            ("Learned: " if right else "A pseudo-ring: ")
            + what
            + f" The angle is lost by {errors['29']:.2g} rad after 29 samples and "
            f"{errors['1000']:.2g} after 1,000, and the radius is then off by "
            f"{radii['1000']:.2g}."
        )
    return what
