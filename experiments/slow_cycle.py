"""When does the rotation GRU oscillate, and how slowly? (equation 8, figure 5)

U_h = 3 R(θ), all else 0. At the origin both gates are 1/2 and the Jacobian is
(3 R(θ) − 2 I) / 4, so its trace vanishes at cos θ = 2/3; the code solves for that without
being told. A period is the time between two returns to the half-line y = 0, x > 0, each
found by Newton's method on the flow itself, so its error is the integrator's. The system
commutes with a quarter turn, so a quarter of a lap is a quarter of the period: a check.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io, plot

jax.config.update("jax_enable_x64", True)

# Periods to ten digits by other means; a test computes the second again with SciPy.
REFERENCE = {0.8: 12.20851006, np.pi / 5: 17.45796528, np.pi / 10: 43.78708233}
PRINTED = {  # Table 1, rows 5a to 5c: matrix, and how long figure 5 shows it
    "5a": ([[1.5, -2.598], [2.598, 1.5]], 50),
    "5b": ([[2.4271, -1.7634], [1.7634, 2.4271]], 50),
    "5c": ([[2.9665, -0.4471], [0.4471, 2.9665]], 800),
}
# The multiplier at θ = 0.82 is about e^(−0.28); after 1,000 units of time, e^(−23).
SETTLE, WINDOW, SAMPLE = 1_000.0, 1_250.0, 0.5  # the window holds two laps of any
ANGLES = {"quick": 9, "default": 30, "full": 120}


def rotation(theta):
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return cgru.Flow(cgru.gru(3 * jnp.array([[cos, -sin], [sin, cos]])))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    theta_h = hopf(np.pi / 3.8)
    # Dense where the period grows; down to a period of about 580.
    curve = 0.1478 + np.geomspace(0.0022, 0.6722, ANGLES[size])
    angles = np.concatenate([list(REFERENCE), curve])
    lap, quarter, radius = measure(angles)
    known = np.array(list(REFERENCE.values()))
    theta_c, limit = map(float, end_of_cycle())
    slope = root_law(angles, lap, theta_c)
    spirals = np.linalg.eigvals(rotation(np.pi / 3).jacobian(jnp.zeros(2)))[0]
    printed = {
        name: float(np.arctan2(U[1][0], U[0][0])) for name, (U, _) in PRINTED.items()
    }

    numbers = {
        "theta_hopf": {"found": theta_h, "exact": np.arccos(2 / 3), "paper": np.pi / 3.8},
        "periods": {
            "theta": angles[:3],
            "found": lap[:3],
            "reference": known,
            "relative_error": lap[:3] / known - 1,
        },
        "quarter_turn_error": np.max(np.abs(4 * quarter / lap - 1)),
        "end_of_the_cycle": {"theta": theta_c, "limit": limit, "extrapolated": slope},
        "printed_theta": printed,
        "claims": [
            {
                "claim": "Hopf bifurcation of the origin",
                "paper": "approximately π/3.8 = 0.8267",
                "found": f"{theta_h:.10f} = π/{np.pi / theta_h:.3f}",
                "agrees": abs(theta_h / (np.pi / 3.8) - 1) < 0.02,
                "note": "the trace of the Jacobian vanishes at arccos(2/3), "
                f"{abs(theta_h - np.arccos(2 / 3)):.0e} from what was found; "
                "the paper's figure is 1.7 % off",
            },
            {
                "claim": "a stable spiral at θ = π/3",
                "paper": "single stable fixed point",
                "found": f"eigenvalues {spirals.real:.4f} ± {abs(spirals.imag):.4f} i",
                "agrees": spirals.real < 0 and spirals.imag != 0,
                "note": "",
            },
            {
                "claim": "a cycle of short period below the bifurcation",
                "paper": "figure 5B",
                "found": ", ".join(
                    f"θ = {a:.4f}: {p:.8f}"
                    for a, p in zip(angles[:3], lap[:3], strict=True)
                ),
                "agrees": bool(np.all(np.abs(lap[:3] / known - 1) < 1e-6)),
                "note": "against periods from an independent program, relative 1e-6",
            },
            {
                "claim": "the period grows without bound as θ decreases",
                "paper": "arbitrarily, up to machine accuracy",
                "found": f"{lap.max():.1f} at θ = {angles[lap.argmax()]:.4f}; "
                f"period · √(θ − θ_c) → {slope:.1f} with θ_c = {theta_c:.10f}",
                "agrees": bool(np.all(np.diff(lap[np.argsort(angles)]) < 0)),
                "note": "the cycle ends at θ_c, not at 0, where four saddle-nodes appear "
                f"on it at once; their normal form gives {limit:.4f} for the limit",
            },
        ],
        "figures": [
            {
                "file": "series.png",
                "caption": "The state against time with the printed matrices, as in the "
                "bottom row of figure 5: a stable spiral (5a, θ = π/3), a short cycle (5b, "
                "θ = π/5) and a slow one (5c, θ = "
                f"{printed['5c']:.4f}), which waits at four slow points in each lap.",
            },
            {
                "file": "period.png",
                "caption": "Period against θ. Left: from the Hopf bifurcation (dotted) to "
                "the end of the cycle (dashed); crosses are the three reference values. "
                f"Right: period · √(θ − θ_c) tends to {limit:.3f} (dashed), as it must for "
                "four saddle-nodes on the cycle.",
            },
        ],
    }
    io.write_json(out / "slow_cycle.json", numbers)
    draw_series(out / "series.png")
    draw_period(out / "period.png", angles, lap, radius, theta_h, theta_c, limit)
    return numbers


def hopf(guess):
    """Newton's method on the trace of the Jacobian at the origin, which is an equilibrium
    for every θ."""
    slope = jax.jit(
        jax.value_and_grad(lambda a: jnp.trace(rotation(a).jacobian(jnp.zeros(2))))
    )
    theta = guess
    for _ in range(6):
        value, derivative = slope(theta)
        theta = theta - float(value / derivative)
    return theta


def measure(angles):
    """Periods, times from y = 0 to x = 0 (a quarter turn), and radii on y = 0."""
    times = np.arange(0, SETTLE + WINDOW, SAMPLE)
    # Steps of 0.02 everywhere: the error of order four is below 1e-8.
    samples = jax.jit(
        jax.vmap(
            lambda a: cgru.integrate(rotation(a), [0.5, 0.1], times, substeps=25).states
        )
    )(angles)
    samples = np.asarray(samples)[:, times >= SETTLE]
    found = []
    for states in samples:
        x, y = states.T
        ups = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0) & (x[:-1] > 0))[:2]
        across = ups[0] + np.flatnonzero((x[ups[0] : -1] > 0) & (x[ups[0] + 1 :] <= 0))[0]
        found.append([*ups, across])
    found = np.array(found)
    begin = jnp.asarray(np.take_along_axis(samples, found[:, :, None], axis=1))
    late, places = refine(jnp.asarray(angles), begin)
    at = found * SAMPLE + np.asarray(late)
    return at[:, 1] - at[:, 0], at[:, 2] - at[:, 0], np.asarray(places[:, 0, 0])


@jax.jit
@jax.vmap
def refine(theta, begin):
    """How long after three states y, y and x vanish: Newton's method on the time."""
    flow = rotation(theta)

    def one(h, axis):
        def step(t, _):
            # Steps of 0.005: the error of order four is 1e-11.
            h_t = cgru.integrate(flow, h, jnp.stack([0 * t, t]), substeps=100).states[-1]
            return t - h_t[axis] / flow.residual(h_t)[axis], h_t

        first = -h[axis] / flow.residual(h)[axis]
        t, states = jax.lax.scan(step, jnp.clip(first, 1e-3, SAMPLE), None, length=6)
        return t, states[-1]

    return jax.vmap(one)(begin, jnp.array([1, 1, 0]))


@jax.jit
def end_of_cycle():
    """Where an equilibrium with det J = 0 appears on the cycle, by Newton's method, and the
    limit of period · √(θ − θ_c) there: four passages of a saddle-node."""

    def conditions(unknown):
        flow = rotation(unknown[2])
        return jnp.append(
            flow.residual(unknown[:2]), jnp.linalg.det(flow.jacobian(unknown[:2]))
        )

    def step(unknown, _):
        jacobian = jax.jacfwd(conditions)(unknown)
        return unknown - jnp.linalg.solve(jacobian, conditions(unknown)), None

    # The slowest point of the first quadrant of figure 5C.
    *point, theta = jax.lax.scan(step, jnp.array([0.55, 0.85, 0.15]), None, length=20)[0]
    point = jnp.stack(point)
    u, _, v = jnp.linalg.svd(rotation(theta).jacobian(point))
    right, left = v[1], u[:, 1] / (u[:, 1] @ v[1])
    # On the centre manifold u' = a (θ − θ_c) + b u², which takes π / √(a b (θ − θ_c)).
    a = left @ jax.jacfwd(lambda angle: rotation(angle).residual(point))(theta)
    along = lambda s: left @ rotation(theta).residual(point + s * right)
    b = jax.grad(jax.grad(along))(0.0) / 2
    return theta, 4 * jnp.pi / jnp.sqrt(a * b)


def root_law(theta, period, theta_c):
    """The limit of period · √(θ − θ_c), from a line through its three slowest values."""
    slow = np.argsort(theta)[:3]
    root = np.sqrt(theta[slow] - theta_c)
    return float(np.polyfit(root, period[slow] * root, 1)[1])


def draw_series(path):
    matrices = jnp.array([U for U, _ in PRINTED.values()])
    spans = jnp.array([float(span) for _, span in PRINTED.values()])
    runs = jax.jit(
        jax.vmap(
            lambda U, span: cgru.integrate(
                cgru.Flow(cgru.gru(U)), [1.2, 0.6], span * np.linspace(0, 1, 801),
                substeps=20,
            )
        )
    )(matrices, spans)  # fmt: skip
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    data = {}
    for ax, i, name in zip(figure.subplots(1, 3), range(3), PRINTED, strict=True):
        run = jax.tree.map(lambda leaf, i=i: leaf[i], runs)
        data[name] = plot.time_series(run, ax)
        ax.set_title(f"{name}: θ = {np.arctan2(matrices[i, 1, 0], matrices[i, 0, 0]):.4f}")
        ax.set_ylim(-1.3, 1.3)
    io.save_figure(figure, path, data)


def draw_period(path, theta, period, radius, theta_h, theta_c, limit):
    order = np.argsort(theta)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(theta[order], period[order], "o-", color="#0072B2", markersize=4)
    left.plot(list(REFERENCE), list(REFERENCE.values()), "x", color="#D55E00", markersize=9)
    left.axvline(theta_h, color="black", linestyle="dotted")
    left.axvline(theta_c, color="black", linestyle="dashed")
    left.set(xlabel="θ", ylabel="period")
    near = theta[order] - theta_c
    right.semilogx(near, period[order] * np.sqrt(near), "o-", color="#0072B2", markersize=4)
    right.axhline(limit, color="black", linestyle="dashed")
    right.set(xlabel="θ − θ_c", ylabel="period · √(θ − θ_c)")
    data = {"theta": theta[order], "period": period[order], "radius": radius[order]}
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/slow_cycle"))
