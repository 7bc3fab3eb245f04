"""Do update and forget gates make slow modes? (large random networks; eigenvalues near one)

Spectra of single networks at a state of their activity, with the boundary that random
matrices predict from the coefficients of that state; then the edge of a fixed point, which
a broad update gate pinches onto one.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

UNITS = {"quick": 150, "default": 600, "full": 1_000}
LARGE = 500  # units from which theory and one network are compared; smaller ones scatter
SLOW = 0.1  # how near to one a multiplier must be: ten steps
# (name, ensemble); m_z is negative where the gate is biased to keep.
GRUS = [
    ("GRU, g_z = 0", cgru.GRUEnsemble(g_h=4, g_r=2)),
    ("GRU, g_z = 5", cgru.GRUEnsemble(g_h=4, g_r=2, g_z=5)),
    ("GRU, g_z = 2, m_z = −2", cgru.GRUEnsemble(g_h=4, g_r=2, g_z=2, m_z=-2)),
]
LSTMS = [
    ("LSTM, m_f = 0", cgru.LSTMEnsemble(g_f=1, g_i=1, g_o=1, g_c=4)),
    ("LSTM, m_f = 2", cgru.LSTMEnsemble(g_f=1, g_i=1, g_o=1, g_c=4, m_f=2)),
]
GATES = np.linspace(0, 12, 13)  # g_z
CURVES = {(3, 2): "o-", (3, 0): "s--"}  # (g_h, g_r) of the pinched edges


@eqx.filter_jit
def settled(cell, start):
    return jax.lax.fori_loop(0, 300, lambda _, h: h + cell(h), start)


@eqx.filter_jit
def foretold(cell, state, grid):
    """The Jacobian; support on a grid; the mass of slow modes; the edge."""
    k = cgru.measure_coefficients(cell, state)
    inside = jax.vmap(lambda p: cgru.support(k, p))(grid.ravel())
    jacobian = jnp.eye(cell.size) + jax.jacfwd(cell)(state)
    mass = cgru.eigenvalue_mass(k, 1.0, SLOW)
    return jacobian, inside.reshape(grid.shape), mass, k


@eqx.filter_jit
def outside(coefficients, points):
    inside = jax.vmap(lambda p: cgru.support(coefficients, p))(points)
    return jnp.mean(inside < 1)


def spectrum(ensemble, units, grid):
    cell = cgru.sample(ensemble, units, jr.key(11))
    start = jr.normal(jr.key(12), (cell.size,)) / 2
    state = settled(cell, start)
    jacobian, inside, mass, k = foretold(cell, state, grid)
    found = np.linalg.eigvals(np.asarray(jacobian))
    return {
        "eigenvalues": found,
        "support": np.asarray(inside),
        "predicted": float(mass),
        "counted": float(np.mean(np.abs(found - 1) < SLOW)),
        "outside": float(outside(k, jnp.asarray(found))),
    }


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    units = UNITS[size]
    cases = (GRUS[:1] + GRUS[2:] if size == "quick" else GRUS) + LSTMS
    x, y = np.linspace(-1.1, 1.6, 82), np.linspace(-1.1, 1.1, 67)
    grid = jnp.asarray(x[None, :] + 1j * y[:, None])
    # An LSTM has two numbers per unit: half as many units make as large a matrix.
    share = lambda e: units // 2 if isinstance(e, cgru.LSTMEnsemble) else units
    rows = {name: spectrum(e, share(e), grid) for name, e in cases}
    clouds(out, rows, x, y)
    pinched = pinching(out)

    apart = lambda r: abs(r["predicted"] - r["counted"])
    off = max(map(apart, rows.values()))
    # In units of what is allowed: 15 % of the mass, or 0.02.
    gap = max(apart(r) / max(0.15 * r["predicted"], 0.02) for r in rows.values())
    far = max(r["outside"] for r in rows.values())
    counted = {name: round(r["counted"], 3) for name, r in rows.items()}
    grus = [r for name, r in rows.items() if name.startswith("GRU")]
    lstms = [r for name, r in rows.items() if name.startswith("LSTM")]
    more = lambda r: r[-1]["counted"] > 4 * r[0]["counted"] + 0.02
    numbers = {
        "units": units,
        "masses": {n: {k: r[k] for k in MASSES} for n, r in rows.items()},
        "pinching": pinched,
        "claims": [
            {
                "claim": "a slow update gate gathers multipliers near one",
                "paper": "the update gate creates slow modes (abstract)",
                "found": f"share of multipliers within {SLOW} of one: {counted}",
                "agrees": bool(more(grus)),
                "note": f"one network of {units} units each",
            },
            {
                "claim": "so does a forget gate that is biased to keep",
                "paper": "the forget gate creates slow modes (abstract)",
                "found": f"{counted[LSTMS[0][0]]} and {counted[LSTMS[1][0]]}",
                "agrees": bool(more(lstms)),
                "note": f"networks of {units // 2} units, m_f = 0 and 2",
            },
            {
                "claim": "random matrices predict how many, and the boundary",
                "paper": "not treated",
                "found": f"masses within {off:.3f}; outside of the boundary at most "
                f"{100 * far:.1f} %",
                "agrees": bool(gap < 1 and far <= 0.03) if units >= LARGE else None,
                "note": "predicted from the coefficients of the same state; tolerances "
                f"15 % or 0.02, and 3 % outside, from {LARGE} units on",
            },
            {
                "claim": "a broad update gate pinches the edge of a fixed point onto one",
                "paper": "marginal stability without fine tuning",
                "found": f"log(λ − 1) at g_h = 3, g_r = 2: {pinched['3, 2'][0]:.4f} for "
                f"g_z = 0, {pinched['3, 2'][10]:.4f} for g_z = 10, "
                f"{pinched['g_z = 100']:.4f} for g_z = 100",
                "agrees": bool(abs(pinched["g_z = 100"] + 31.4344) < 1e-4),
                "note": "an exponentially small distance, computed as a logarithm",
            },
        ],
        "figures": [
            {
                "file": "clouds.png",
                "caption": "Multipliers of one step at a state of each network (dots), the "
                "boundary predicted from the gates at that state (line) and the disc of "
                "slow modes (dashed), with their share as counted and as predicted.",
            },
            {
                "file": "pinching.png",
                "caption": "How far the spectrum of an unstable fixed point reaches beyond "
                "one, against the gain of the update gate: exponentially close.",
            },
        ],
    }
    io.write_json(out / "gates_slow_modes.json", numbers)
    return numbers


MASSES = ("predicted", "counted", "outside")


def clouds(out, rows, x, y):
    figure = Figure(figsize=(3.4 * len(rows), 3.6), layout="constrained")
    for ax, (name, row) in zip(figure.subplots(1, len(rows)), rows.items(), strict=True):
        found = row["eigenvalues"]
        ax.plot(found.real, found.imag, ".", markersize=2.5, color="#0072B2")
        ax.contour(x, y, row["support"], [1.0], colors="#D55E00", linewidths=1.5)
        ax.add_patch(Circle((1, 0), SLOW, fill=False, linestyle="--", color="black"))
        title = f"{name}\n{row['counted']:.3f} counted, {row['predicted']:.3f} predicted"
        ax.set_title(title, fontsize=9)
        ax.set(aspect="equal", xlabel="Re λ", ylabel="Im λ", xlim=(-1.1, 1.6))
    data = {n: {"re": r["eigenvalues"].real, "im": r["eigenvalues"].imag} | r
            for n, r in rows.items()}  # fmt: skip
    data = {n: {k: v for k, v in r.items() if k != "eigenvalues"} for n, r in data.items()}
    io.save_figure(figure, out / "clouds.png", data | {"x": x, "y": y})


def pinching(out):
    gates = np.append(GATES, 100.0)
    rows = np.array([(*pair, g) for pair in CURVES for g in gates])
    edge = eqx.filter_vmap(
        lambda r: cgru.spectral_edge(cgru.GRUEnsemble(g_h=r[0], g_r=r[1], g_z=r[2]))
    )
    excess = np.asarray(edge(jnp.asarray(rows)).log_excess).reshape(len(CURVES), -1)
    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    ax = figure.subplots()
    for (pair, style), line in zip(CURVES.items(), excess, strict=True):
        label = f"g_h = {pair[0]}, g_r = {pair[1]}"
        ax.plot(GATES, line[:-1], style, markersize=4, label=label)
    ax.set(xlabel="gain g_z of the update gate", ylabel="log(λ − 1) at the edge")
    ax.legend()
    found = {", ".join(map(str, p)): e[:-1] for p, e in zip(CURVES, excess, strict=True)}
    io.save_figure(figure, out / "pinching.png", found | {"g_z": GATES})
    return found | {"g_z = 100": excess[0, -1]}


if __name__ == "__main__":
    main(Path("results/gates_slow_modes"))
