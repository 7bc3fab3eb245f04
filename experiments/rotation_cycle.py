"""How is the rotation GRU's cycle born, and how does it end? (equation 8, figure 5)

U_h = 3 R(θ), all else 0. `find_cycle` gives the cycle at single angles; `trace_cycles`
follows it both ways, without being told where the ends are: to the Hopf point of the
origin, where it shrinks, and to the four saddle-nodes that appear on it, where its period
grows beyond every bound. Their normal forms say how.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import KINDS, RESULTS, io

jax.config.update("jax_enable_x64", True)

# Periods to ten digits by other means.
KNOWN = {
    0.8: 12.20851006,
    np.pi / 5: 17.45796528,
    np.pi / 10: 43.78708233,
    np.pi / 21: 623.6013865,
}
START = np.pi / 5
# Up to here 128 intervals leave the trivial multiplier at 1.
LONGEST, INTERVALS = 800.0, 128


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return cgru.Flow(cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]])))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    angles, periods = np.array(list(KNOWN)), np.array(list(KNOWN.values()))
    # Guesses 15 % off, so that nothing is given away.
    cycles = [
        cgru.find_cycle(rotation(angle), [0.5, 0.1], 1.15 * period)
        for angle, period in KNOWN.items()
    ]
    cycles = jax.tree.map(lambda *x: jnp.stack(x), *cycles)
    error = np.max(np.abs(np.asarray(cycles.period) / periods - 1))

    numbers = {
        "angles": angles,
        "periods": cycles.period,
        "low": cycles.low,
        "high": cycles.high,
        "logarithms": cycles.exponents[:, 1] * cycles.period,
        "trivial_errors": cycles.trivial_error,
        "claims": [
            {
                "claim": "a cycle below the Hopf bifurcation, slower as θ decreases",
                "paper": "figure 5B and 5C",
                "found": ", ".join(
                    f"{a:.4f}: {p:.7f}" for a, p in zip(angles, cycles.period, strict=True)
                ),
                "agrees": bool(error < 1e-6),
                "note": f"within {error:.0e} of periods from an independent program",
            },
            {
                "claim": "the cycle attracts",
                "paper": "stable limit cycle",
                "found": "logarithms of the multiplier "
                + ", ".join(f"{x:.4f}" for x in cycles.exponents[:, 1] * cycles.period),
                "agrees": bool(jnp.all(cycles.kind == KINDS.sink)),
                "note": "the integral of the divergence over a lap: the last one is "
                "10⁻⁹² and keeps its digits",
            },
        ],
        "figures": [
            {
                "file": "orbits.png",
                "caption": "The cycles at four angles, with a dot at every second end of "
                "an interval of the mesh, which gathers where the orbit turns or waits.",
            }
        ],
    }
    if size != "quick":
        branches, hopf = both_ways(), float(np.arccos(2 / 3))
        end, limit = map(float, end_of_the_cycle())
        more = follow_up(*branches, hopf, end, limit)
        for key in ("claims", "figures"):
            numbers[key] += more.pop(key)
        numbers |= more
        draw_branch(out / "branch.png", *branches, hopf, end, limit)
    draw_orbits(out / "orbits.png", angles, cycles)
    io.write_json(out / "rotation_cycle.json", numbers)
    return numbers


def both_ways():
    """The branch through θ = π/5 down to its end and up to its birth."""
    start = cgru.find_cycle(rotation(START), [0.5, 0.1], KNOWN[START])
    return [
        cgru.trace_cycles(
            rotation,
            start,
            START,
            bounds=(0.01, 1.0),
            direction=way,
            longest=LONGEST,
            intervals=INTERVALS,
        )
        for way in (-1.0, 1.0)
    ]


def columns(branch):
    used = np.asarray(branch.valid)
    return {
        "theta": np.asarray(branch.parameters)[used],
        "period": np.asarray(branch.cycles.period)[used],
        "high": np.asarray(branch.cycles.high[:, 0])[used],
        "logarithm": np.asarray(branch.cycles.exponents[:, 1] * branch.cycles.period)[used],
    }


@jax.jit
def end_of_the_cycle():
    """Where an equilibrium with det J = 0 appears on the cycle, and the limit of
    period · √(θ − θ_c): four passages of its normal form."""
    fold = cgru.locate_fold(rotation, [0.55, 0.9], 0.15)
    flow = rotation(fold.parameter)
    u, _, v = jnp.linalg.svd(flow.jacobian(fold.point))
    right, left = v[1], u[:, 1] / (u[:, 1] @ v[1])
    # On the centre manifold u' = a (θ − θ_c) + b u², which takes π / √(a b (θ − θ_c)).
    a = left @ jax.jacfwd(lambda angle: rotation(angle).residual(fold.point))(
        fold.parameter
    )
    along = lambda s: left @ flow.residual(fold.point + s * right)
    b = jax.grad(jax.grad(along))(0.0) / 2
    return fold.parameter, 4 * jnp.pi / jnp.sqrt(a * b)


def follow_up(down, up, hopf, end, limit):
    """What the two ends of the branch say."""
    slow, born = columns(down), columns(up)
    far = slow["theta"] - end
    scaled = slow["period"] * np.sqrt(far)
    # period = limit / √(θ − θ_c) + constant + …: a series in the root of the distance.
    tail = far < 30 * far[-1]
    found = float(np.polyfit(np.sqrt(far[tail]), scaled[tail], 3)[-1])
    rows = [
        [f"{far[i]:.3e}", f"{slow['period'][i]:.4f}", f"{scaled[i]:.4f}"]
        for i in range(len(far))
        if i % 10 == 0 or i == len(far) - 1
    ]
    # The size of a cycle grows like the root of the distance from its birth.
    square = born["high"][-8:] ** 2
    birth = float(np.polyfit(square, born["theta"][-8:], 2)[2])
    lap = float(np.polyfit(square, born["period"][-8:], 2)[2])
    snic = ending(down)
    whole = [down.result == RESULTS.slow, up.result == RESULTS.shrunk]
    quiet = not int(down.events.count) and not int(up.events.count)
    return {
        "branch": {"down": slow, "up": born},
        "birth": {"theta": birth, "exact": hopf, "period": lap},
        "end": {"theta": end, "limit": found, "normal_forms": limit},
        "tables": [
            {
                "title": "The end of the cycle",
                "columns": ["θ − θ_c", "period", "period · √(θ − θ_c)"],
                "rows": rows,
            }
        ],
        "claims": [
            {
                "claim": "the cycle is one branch from a Hopf bifurcation to its end",
                "paper": "appears at about π/3.8 and slows down as θ decreases",
                "found": f"{len(slow['theta']) + len(born['theta']) - 1} cycles from "
                f"θ = {birth:.9f}, where it shrinks, with period {lap:.6f}; no fold "
                "on the way",
                "agrees": bool(all(whole) and quiet and abs(birth - hopf) < 1e-7),
                "note": f"exactly arccos(2/3) = {hopf:.9f}, period 2π/ω = "
                f"{8 * np.pi / np.sqrt(5):.6f}",
            },
            {
                "claim": "the period grows without bound",
                "paper": "arbitrarily slow",
                "found": f"{slow['period'][-1]:.0f} at θ − θ_c = {far[-1]:.2e}; period · "
                f"√(θ − θ_c) → {found:.3f}",
                "agrees": bool(abs(found / limit - 1) < 2e-4),
                "note": f"four saddle-nodes on the cycle at θ_c = {end:.10f} (printed: "
                f"0.1478220707) have the limit {limit:.4f}",
            },
            {
                "claim": "the cycle ends where four pairs of equilibria appear on it",
                "paper": "four slow points at once (figure 5C)",
                "found": f"{int(snic.valid.sum())} saddle-nodes at θ = "
                f"{float(snic.parameter):.12f}; their normal forms: period · √(θ − θ_c) → "
                f"{float(snic.passage):.4f}",
                "agrees": bool(
                    snic.valid.sum() == 4
                    and abs(snic.parameter - end) < 1e-10
                    and abs(snic.passage / limit - 1) < 1e-6
                ),
                "note": "recognised from the last cycle of the branch, by locate_snic",
            },
        ],
        "figures": [
            {
                "file": "branch.png",
                "caption": "The branch from its birth (dotted) to its end (dashed). Left: "
                "the greatest value of a unit. Middle: the period; crosses are the four "
                "reference values. Right: period · √(θ − θ_c), which tends to "
                f"{limit:.3f}.",
            }
        ],
    }


def ending(branch):
    """The saddle-nodes to which the last, slowest cycle of a branch points."""
    last = int(np.sum(np.asarray(branch.valid))) - 1
    cycle = jax.tree.map(lambda x: x[last], branch.cycles)
    return cgru.locate_snic(rotation, cycle, branch.parameters[last])


def draw_orbits(path, angles, cycles):
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    data = {}
    for i, ax in enumerate(figure.subplots(1, len(angles))):
        orbit = np.asarray(cycles.points[i])
        closed = np.concatenate([orbit, orbit[:1]])
        ax.plot(*closed.T, color="#0072B2", linewidth=1)
        ax.plot(*orbit[::2].T, "o", color="#0072B2", markersize=2.5)
        ax.plot(0, 0, "o", markerfacecolor="white", markeredgecolor="black")
        ax.set(title=f"θ = {angles[i]:.4f}: {float(cycles.period[i]):.2f}", xlabel="h₁")
        ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
        data[f"{angles[i]:.4f}"] = orbit
    figure.axes[0].set_ylabel("h₂")
    io.save_figure(figure, path, data)


def draw_branch(path, down, up, hopf, end, limit):
    slow, born = columns(down), columns(up)
    both = {key: np.concatenate([slow[key][::-1], born[key][1:]]) for key in slow}
    theta = both["theta"]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(theta, both["high"], color="#0072B2")
    left.set_ylabel("greatest h₁")
    middle.semilogy(theta, both["period"], color="#0072B2")
    middle.plot(list(KNOWN), list(KNOWN.values()), "x", color="#D55E00", markersize=8)
    middle.set_ylabel("period")
    for ax in (left, middle):
        ax.axvline(hopf, color="black", linestyle="dotted")
        ax.axvline(end, color="black", linestyle="dashed")
        ax.set_xlabel("θ")
    far = theta - end
    right.semilogx(far, both["period"] * np.sqrt(far), color="#0072B2")
    right.axhline(limit, color="black", linestyle="dashed")
    right.set(xlabel="θ − θ_c", ylabel="period · √(θ − θ_c)")
    io.save_figure(figure, path, both)


if __name__ == "__main__":
    main(Path("results/rotation_cycle"))
