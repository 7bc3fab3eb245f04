"""Can a network be designed to oscillate with a given period?

From the rotation U_h = 3 R(0.8) the gradient of the period, taken through the solve for the
cycle, leads to weights with a period of 20 by the least change at each step; SciPy then
measures the period independently.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

import cgru_jax as cgru
from cgru_jax import RESULTS, io

jax.config.update("jax_enable_x64", True)

ANGLE = 0.8
WANTED = 20.0
STEPS = 12
# The period changes by at most this part in a step: the last one is the guess.
LARGEST = 0.2
DIFFERENCE = 1e-5


@eqx.filter_jit
def period_and_slope(U, near, guess):
    def period(U):
        cycle = cgru.find_cycle(cgru.Flow(cgru.gru(U)), near, guess)
        return cycle.period, cycle

    return eqx.filter_value_and_grad(period, has_aux=True)(U)


def period_and_differences(U, near, guess):
    """The same by central differences, for which no derivative is compiled; rounding
    leaves six digits of the slope, enough for a step."""
    find = lambda U: cgru.find_cycle(cgru.Flow(cgru.gru(U)), near, guess)
    cycle, slope = find(U), np.zeros((2, 2))
    for place in np.ndindex(2, 2):
        move = np.zeros((2, 2))
        move[place] = DIFFERENCE
        slope[place] = (find(U + move).period - find(U - move).period) / (2 * DIFFERENCE)
    return (cycle.period, cycle), slope


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    # What takes time is to compile the derivative.
    numbers = design(out, period_and_differences if size == "quick" else period_and_slope)
    io.write_json(out / "design_cycle.json", numbers)
    return numbers


def design(out, differentiate):
    cos, sin = np.cos(ANGLE), np.sin(ANGLE)
    U = 3 * jnp.array([[cos, -sin], [sin, cos]])
    near, guess = jnp.array([0.5, 0.1]), jnp.asarray(12.0)
    found, cycles = [], []
    for _ in range(STEPS):
        (period, cycle), slope = differentiate(U, near, guess)
        found.append(float(period))
        cycles.append(np.asarray(cycle.points))
        if not bool(cycle.result == RESULTS.successful) or abs(period - WANTED) < 1e-10:
            break
        gap = jnp.clip(WANTED - period, -LARGEST * period, LARGEST * period)
        U = U + gap * slope / jnp.sum(slope**2)
        near, guess = cycle.points[0], period + gap
    measured = by_scipy(np.asarray(U), cycles[-1][0], found[-1])
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for points, style, label in ((cycles[0], "--", "before"), (cycles[-1], "-", "after")):
        closed = np.concatenate([points, points[:1]])
        colour = "#666666" if label == "before" else "#0072B2"
        left.plot(closed[:, 0], closed[:, 1], style, color=colour, label=label)
    left.set(xlabel="h₁", ylabel="h₂", aspect="equal")
    left.legend(fontsize=8)
    right.plot(found, "o-", color="#0072B2")
    right.axhline(WANTED, color="#D55E00", linestyle="--")
    right.set(xlabel="step", ylabel="period")
    data = {"periods": found, "before": cycles[0], "after": cycles[-1]}
    io.save_figure(figure, out / "cycles.png", data)
    return {
        "U_h": np.asarray(U).tolist(),
        "periods": found,
        "measured": measured,
        "multiplier": float(np.exp(np.asarray(cycle.exponents).min())),
        "claims": [
            {
                "claim": f"a stable cycle with the period {WANTED:g}",
                "paper": "not treated",
                "found": f"{found[-1]:.12f} after {len(found) - 1} steps; measured by an "
                f"independent integrator {measured:.10f}",
                # The tolerance of that integrator, over a lap.
                "agrees": bool(
                    abs(measured - WANTED) < 1e-8 and cycle.kind == cgru.KINDS.sink
                ),
                "note": "SciPy's DOP853 with tolerance 1e-12, time between two crossings",
            }
        ],
        "figures": [
            {
                "file": "cycles.png",
                "caption": "The cycle of U_h = 3 R(0.8) and the one designed from it; the "
                "period along the way.",
            }
        ],
    }


def by_scipy(U, start, guess):
    """Time between two crossings, in the same sense, of the line through the start across
    the flow."""
    field = lambda t, h: (np.tanh(U @ h / 2) - h) / 2
    normal = field(0, start)
    crossing = lambda t, h: (h - start) @ normal
    crossing.direction = 1
    orbit = solve_ivp(
        field, (0, 2.6 * guess), start, "DOP853", rtol=1e-12, atol=1e-13, events=crossing
    )
    times = [t for t in orbit.t_events[0] if t > guess / 2]
    return times[1] - times[0]


if __name__ == "__main__":
    main(Path("results/design_cycle"))
