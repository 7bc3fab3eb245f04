"""What does the discrete cell do that the flow does not? (appendix A, equation 5)

The paper's flow is the limit δ → 0 of the map h + δ · increment; the discrete cell is
δ = 1. They share all equilibria and differ in when one loses its stability. For
U_h = 3 R(θ) the origin has the eigenvalues λ = (3 exp(±iθ) − 2) / 4, and the multipliers
1 + δ λ leave the circle where 2 Re λ + δ |λ|² = 0: a Neimark–Sacker point at
cos θ = (16 − 13 δ) / (24 − 12 δ), which leaves the Hopf point arccos(2/3) with slope √5/8.

And a map can overshoot: a multiplier passes −1 where λ = −2 / δ. One unit with r = 1/2 and
update rate z has λ = z (U_h / 2 − 1) at the origin, so its period doubles at
z = 4 / (2 − U_h) / δ, if that is less than one: fast gates, strong inhibition, no flow.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import RESULTS, io

jax.config.update("jax_enable_x64", True)

HOPF = float(np.arccos(2 / 3))  # of the flow
STEPS = np.array([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01])
INHIBITION = -3.0  # U_h of the unit that overshoots, for z > 0.8 and δ = 1
GATES = {"quick": 61, "default": 401, "full": 2_001}


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]]))


def scaled(cell, step):
    """Euler's method for the flow; the discrete cell itself for step 1."""
    return cgru.Map(lambda h: step * cell(h))


def exact(step):
    return np.arccos((16 - 13 * step) / (24 - 12 * step))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    tori = eqx.filter_jit(eqx.filter_vmap(neimark_sacker))(STEPS)
    places = np.asarray(tori.parameter)
    slope, limit = np.polyfit(STEPS[-5:], places[-5:], 4)[-2:]
    born = np.asarray(tori.result == RESULTS.successful)

    flip = cgru.locate_period_doubling(unit, [0.01], 1.0)
    gate = float(jax.nn.sigmoid(flip.parameter))
    gates, late = after_long(GATES[size])
    apart = np.abs(late[:, -1] - late[:, -2])
    back = np.abs(late[:, -1] - late[:, -3])
    two = (apart > 1e-3) & (back < 1e-9)

    numbers = {
        "step": STEPS,
        "neimark_sacker": places,
        "exact": exact(STEPS),
        "angle": tori.angle,
        "coefficient": tori.coefficient,
        "limit": limit,
        "slope": slope,
        "period_doubling": {"b_z": float(flip.parameter), "z": gate},
        "claims": [
            {
                "claim": "the discrete cell tends to the flow: its Neimark–Sacker point "
                "to the Hopf point",
                "paper": "the flow is the limit of small steps (appendix A)",
                "found": f"θ → {limit:.9f} with slope {slope:.7f}",
                "agrees": bool(
                    abs(limit - HOPF) < 1e-7 and abs(slope - np.sqrt(5) / 8) < 1e-6
                ),
                "note": f"Hopf point {HOPF:.9f}, slope √5/8 = {np.sqrt(5) / 8:.7f}; every "
                f"point within {np.max(np.abs(places - exact(STEPS))):.0e} of the closed "
                "form",
            },
            {
                "claim": "the discrete cell itself oscillates over a wider range",
                "paper": "not treated",
                "found": f"from θ = {places[0]:.6f} down, where the flow is still at rest "
                f"until {HOPF:.6f}",
                "agrees": bool(np.all(born) and np.all(tori.coefficient < 0)),
                "note": "all first coefficients are negative: a stable closed curve is "
                "born",
            },
            {
                "claim": "a fast gate doubles the period, which no flow does",
                "paper": "not treated",
                "found": f"z = {gate:.10f}, coefficient {float(flip.coefficient):.4f}; "
                f"{int(two.sum())} of {len(gates)} units end on two points, the slowest "
                f"gate among them {gates[two].min():.4f}",
                "agrees": bool(
                    abs(gate - 0.8) < 1e-10
                    and flip.coefficient > 0
                    and np.array_equal(two, apart > 1e-3)
                    and abs(gates[two].min() - 0.8) < 2 / GATES[size]
                ),
                "note": f"closed form 4 / (2 − U_h) = 0.8 for U_h = {INHIBITION:.0f}; with "
                "a step δ it is 0.8 / δ, so below δ = 0.8 no gate is fast enough. One "
                "unit's flow has no oscillation at all",
            },
        ],
        "figures": [
            {
                "file": "map_to_flow.png",
                "caption": "Left: where the origin of the map h + δ · increment starts to "
                "oscillate, for U_h = 3 R(θ); dots found, line in closed form, circle the "
                "Hopf point of the flow. Right: where one unit of the discrete cell ends, "
                f"with U_h = {INHIBITION:.0f}, against its update rate; from z = 0.8 on "
                "(dashed) it alternates between two states.",
            }
        ],
    }
    io.write_json(out / "map_to_flow.json", numbers)
    draw(out / "map_to_flow.png", places, gates, late)
    return numbers


def neimark_sacker(step):
    family = lambda angle: scaled(rotation(angle), step)
    return cgru.locate_neimark_sacker(family, [0.01, 0.02], 0.85 + 0.4 * step)


def unit(b_z):
    return cgru.Map(cgru.gru(INHIBITION, b_z=b_z))


def after_long(count):
    """Update rates, and the last states of units with them."""
    gates = np.linspace(0.5, 0.99, count)
    # Next to the doubling a multiplier is about −1 + 2 (z − 0.8) / 0.8: slow to settle.
    times = [0, 19_998, 19_999, 20_000]
    run = lambda b_z: cgru.integrate(unit(b_z), [0.3], times).states[1:, 0]
    return gates, np.asarray(jax.jit(jax.vmap(run))(np.log(gates / (1 - gates))))


def draw(path, places, gates, late):
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    line = np.linspace(0, 1, 201)
    left.plot(line, exact(line), color="#0072B2")
    left.plot(STEPS, places, "o", color="#0072B2")
    left.plot(0, HOPF, "o", markerfacecolor="white", markeredgecolor="black")
    left.set(xlabel="step δ", ylabel="θ of the Neimark–Sacker point")
    right.plot(gates, late, ".", color="#D55E00", markersize=3)
    right.axvline(0.8, color="black", linestyle="dashed")
    right.set(xlabel="update rate z", ylabel="h after 20,000 steps")
    data = {"step": STEPS, "theta": places, "z": gates, "h": late}
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/map_to_flow"))
