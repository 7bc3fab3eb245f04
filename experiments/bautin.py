"""Where do two cycles of a two-unit GRU meet and vanish?

U_h = g R(0.3) and U_r = s R(−π/3), all else 0: the origin stays at rest whatever g and s,
and its Hopf bifurcation lies at g = 2 / cos 0.3. The reset gate bends the flow: beyond a
generalised Hopf (Bautin) point in s the cycle that is born is unstable, inside a stable
one, and a curve of folds of cycles begins there. `quick` leaves the curve to the others,
and `full` compares its beginning with the normal form, whose l₂ takes long to compile.
"""

import functools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize_scalar

import cgru_jax as cgru
from cgru_jax import RESULTS, io

jax.config.update("jax_enable_x64", True)

ANGLE, TURN = 0.3, -np.pi / 3
HOPF = 2 / np.cos(ANGLE)
STRENGTHS = np.array([2.3, 2.4, 2.5])  # of the reset gate, about the Bautin point
STRENGTH = STRENGTHS[-1]  # where the fold of cycles is entered
BOUNDS = (HOPF - 4e-3, 2.3), (HOPF + 4e-3, 2.6)
RADII = np.linspace(0.01, 0.12, 12)
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def family(p):
    return cgru.Flow(cgru.gru(p[0] * rotation(ANGLE), U_r=p[1] * rotation(TURN)))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    born = lambda s: cgru.locate_hopf(lambda g: family((g, s)), jnp.zeros(2), HOPF)
    hopf = eqx.filter_jit(eqx.filter_vmap(born))(jnp.asarray(STRENGTHS))
    off = float(jnp.max(jnp.abs(hopf.parameter - HOPF)))
    # The third derivatives at the origin hold s twice at most, and the second ones are
    # odd in it: l₁ is a + b s².
    square, rest = np.polyfit(STRENGTHS[[0, 2]] ** 2, hopf.lyapunov[jnp.array([0, 2])], 1)
    bautin = float(np.sqrt(-rest / square))
    misfit = float(abs(square * STRENGTHS[1] ** 2 + rest - hopf.lyapunov[1]))
    first, orbit = fold_by_scipy(STRENGTH)
    counts = [cycles(first + step, STRENGTH) for step in (5e-5, -5e-5)]
    numbers = {
        "strengths": STRENGTHS,
        "lyapunov": hopf.lyapunov,
        "generalised_hopf": [HOPF, bautin],
        "fold": [first, STRENGTH],
        "claims": [
            {
                "claim": "with a strong reset gate the cycle is born unstable",
                "paper": "not treated",
                "found": "l₁ = "
                + ", ".join(
                    f"{l:.4f} at s = {s}"
                    for l, s in zip(hopf.lyapunov, STRENGTHS, strict=True)
                )
                + f"; zero at s* = {bautin:.10f}",
                "agrees": bool(
                    hopf.lyapunov[0] < 0 < hopf.lyapunov[2] and max(off, misfit) < 1e-10
                ),
                "note": f"the Hopf point is 2/cos 0.3 = {HOPF:.10f} within {off:.0e}; "
                f"l₁ is a + b s², which the middle one obeys within {misfit:.0e}",
            },
            {
                "claim": "there are two cycles on one side of a fold, and none beyond it",
                "paper": "not treated",
                "found": f"s = {STRENGTH}: {counts[0]} cycles 5e-5 above g = {first:.9f}, "
                f"{counts[1]} below",
                "agrees": counts == [2, 0],
                "note": "laps by SciPy alone, of radii from 0.01 to 0.12",
            },
        ],
        "figures": [],
    }
    draw_laps(out / "laps.png", first)
    numbers["figures"].append(
        {
            "file": "laps.png",
            "caption": "How much further out an orbit is after a lap, at three gains about "
            "the fold: a cycle where this is zero, stable where it falls.",
        }
    )
    if size != "quick":
        more = follow(out / "plane.png", first, orbit, bautin)
        numbers["claims"] += more.pop("claims")
        numbers["figures"] += more.pop("figures")
        numbers |= more
    if size == "full":
        line = numbers["curve"]["parameters"]
        numbers["claims"].append(compare(line, bautin, 2 * square * bautin))
    io.write_json(out / "bautin.json", numbers)
    return numbers


def lap(g, s, radius):
    """The orbit from a point of the positive first axis to the next time it is there."""
    A, K = g * rotation(ANGLE), s * rotation(TURN)
    field = lambda t, h: 0.5 * (np.tanh(A @ (h / (1 + np.exp(-K @ h)))) - h)
    upwards = lambda t, h: h[1] if t > 1 else 1.0
    upwards.terminal, upwards.direction = True, 1
    return solve_ivp(
        field, (0, 400), [radius, 0.0], method="DOP853", rtol=1e-11, atol=1e-13,
        events=upwards, dense_output=True,
    )  # fmt: skip


@functools.cache
def growth(g, s, radius):
    """How much further out it is then; NaN where it leaves for a sink."""
    run = lap(g, s, radius)
    return run.y_events[0][0][0] - radius if len(run.t_events[0]) else np.nan


def cycles(g, s):
    """How many cycles there are between the radii, by their laps."""
    sign = np.sign([growth(g, s, radius) for radius in RADII])
    sign = sign[np.isfinite(sign)]
    return int(np.sum(sign[1:] != sign[:-1]))


def fold_by_scipy(s):
    """The gain at which the greatest growth of a lap is zero, and the orbit there."""

    def top(g):
        best = minimize_scalar(
            lambda r: -growth(g, s, r), bounds=(0.03, 0.1), method="bounded",
            options={"xatol": 1e-7},
        )  # fmt: skip
        return best.x, -best.fun

    g = brentq(lambda g: top(g)[1], HOPF - 6e-4, HOPF - 5e-5, xtol=1e-10)
    run = lap(g, s, top(g)[0])
    period = run.t_events[0][0]
    times = np.arange(64) / 64 * period
    points = jnp.asarray(run.sol(times).T)
    low, high = jnp.min(points, axis=0), jnp.max(points, axis=0)
    orbit = cgru.CycleFold(
        points, jnp.asarray(times), jnp.asarray(period), low, high, jnp.asarray(g)
    )
    return float(g), orbit


def follow(path, first, orbit, bautin):
    """The curve of folds of cycles both ways."""
    start = jnp.array([first, STRENGTH])
    ways = [
        cgru.trace_cycle_fold_curve(
            family, orbit, start, bounds=BOUNDS, direction=way, capacity=96, intervals=16
        )
        for way in (1.0, -1.0)
    ]
    parts = [np.asarray(c.parameters)[np.asarray(c.valid)] for c in ways]
    sizes = [np.asarray(c.cycles.high[:, 0])[np.asarray(c.valid)] for c in ways]
    line = np.concatenate([parts[0][::-1], parts[1][1:]])
    size = np.concatenate([sizes[0][::-1], sizes[1][1:]])
    g, s = line.T
    met = float(np.interp(STRENGTH, s, g))
    # g_H − g has a double zero at the Bautin point: its root is smooth there.
    near = np.abs(s - bautin) < 0.08
    at = np.polyfit(np.sqrt(HOPF - g[near]), s[near], 3)[-1]
    draw_plane(path, bautin, line, size)
    return {
        "curve": {"parameters": line, "size": size},
        "claims": [
            {
                "claim": "a curve of folds of cycles begins at the Hopf point with l₁ = 0",
                "paper": "not treated",
                "found": f"{len(line)} folds; at s = {STRENGTH}: g = {met:.9f}; the last "
                f"one at s − s* = {s[np.argmin(size)] - bautin:.1e}, whence the curve "
                f"meets the Hopf points at s* {at - bautin:+.0e}",
                "agrees": RESULTS.shrunk in [c.result for c in ways]
                and bool(abs(at - bautin) < 1e-5 and abs(met - first) < 1e-7),
                "note": f"by SciPy g = {first:.9f}",
            },
        ],
        "figures": [
            {
                "file": "plane.png",
                "caption": "Left: Hopf points and folds of cycles, which meet in the "
                "generalised Hopf point; between them there are two cycles. Right: the "
                "size of the cycles that meet.",
            }
        ],
    }


def compare(line, bautin, slope):
    """How the curve begins beside the normal form. `slope`: of l₁ in s, at its zero."""
    guess = jnp.array([HOPF, bautin])
    point = cgru.locate_generalised_hopf(family, jnp.zeros(2), guess)
    found = float(point.parameter[1])
    g, s = line.T
    away = s - bautin
    # With the amplitude r: r' = r (Re λ + ω l₁ r² + ω l₂ r⁴) has a double zero where
    # Re λ = ω l₁² / (4 l₂), and Re λ = (g − g_H) cos 0.3 / 4.
    near = (away > 0.02) & (away < 0.08)
    ratio = (HOPF - g[near]) / away[near] ** 2
    limit = float(np.polyfit(away[near], ratio, 2)[-1])
    predicted = -float(point.frequency * slope**2 / point.lyapunov) / np.cos(ANGLE)
    return {
        "claim": "the curve begins as the normal form says",
        "paper": "not treated",
        "found": f"(g_H − g) / (s − s*)² → {limit:.5f}",
        "agrees": bool(
            point.result == RESULTS.successful
            and point.lyapunov < 0
            and abs(found - bautin) < 1e-9
            and abs(limit / predicted - 1) < 0.02
        ),
        "note": f"the normal form has {predicted:.5f}, with l₂ = "
        f"{float(point.lyapunov):.6f} at s = {found:.10f}",
    }


def draw_laps(path, first):
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    ax = figure.subplots()
    data = {"radius": RADII}
    for step, style, colour in ((5e-5, "-o", BLUE), (0, "--s", GREEN), (-5e-5, ":^", RED)):
        rises = [growth(first + step, STRENGTH, radius) for radius in RADII]
        label = f"g = {first:.6f}" + (f" {step:+.0e}" if step else ", the fold")
        ax.plot(RADII, rises, style, color=colour, markersize=4, label=label)
        data[label] = np.asarray(rises)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="first unit h₁ where h₂ = 0", ylabel="change of h₁ in a lap")
    ax.set(ylim=(-2e-4, 1e-4))
    ax.legend(fontsize=8)
    io.save_figure(figure, path, data)


def draw_plane(path, at, line, size):
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    g, s = line.T
    ends = np.array([BOUNDS[0][1], at, BOUNDS[1][1]])
    zero = np.zeros(2)
    left.plot(zero, ends[:2], "-", color=BLUE, linewidth=2, label="Hopf, a stable cycle")
    left.plot(zero, ends[1:], "--", color=BLUE, linewidth=2, label="Hopf, an unstable one")
    left.plot((g - HOPF) * 1e3, s, "-.", color=RED, linewidth=2, label="fold of cycles")
    left.plot(0, at, "D", color="#F0E442", markeredgecolor="black", markersize=8,
              label="generalised Hopf point")  # fmt: skip
    left.set(xlabel="(g − 2/cos 0.3) · 1000", ylabel="strength s of the reset gate")
    left.legend(fontsize=8)
    right.plot(s, size, "-.", color=RED)
    right.set(xlabel="strength s of the reset gate", ylabel="greatest h₁ at the fold")
    io.save_figure(figure, path, {"curve": line, "size": size, "generalised_hopf": at})


if __name__ == "__main__":
    main(Path("results/bautin"))
