"""Do reset, input and output gates set the spectral radius? (large random networks)

Networks are followed to a state of their activity (or of silence); the largest multiplier
there beside the edge that random matrices predict, for biases that open and close a gate.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

UNITS = {"quick": 200, "default": 500, "full": 1_000}
NETWORKS = {"quick": 2, "default": 2, "full": 4}
STATES = 8  # of each network, 25 steps apart: one state alone scatters
LARGE = 500  # units from which theory and networks are compared; smaller ones scatter
GRU_OFF, LSTM_OFF, DISC_OFF = 0.06, 0.08, 0.02  # tolerances, of the radius
RESET = [-1.0, 0.0, 3.0]  # m_r
# (m_i, m_o): the last closes both, so that zero is stable
INPUT_OUTPUT = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (-1.0, -1.0)]


def random_gru(m_r):
    return cgru.GRUEnsemble(g_h=4, g_r=2, g_z=2, m_r=m_r)


def random_lstm(means):
    m_i, m_o = means
    return cgru.LSTMEnsemble(g_f=1, g_i=1, g_o=1, g_c=4, m_i=m_i, m_o=m_o)


@eqx.filter_jit
def states_of(cell, start):
    """Late states of a network."""

    def later(h, _):
        h = jax.lax.fori_loop(0, 25, lambda _, h: h + cell(h), h)
        return h, h

    h = jax.lax.fori_loop(0, 300, lambda _, h: h + cell(h), start)
    return jax.lax.scan(later, h, None, length=STATES)[1]


@eqx.filter_jit
def foretold(cell, states):
    """Jacobians of a step at some states, and the edges predicted there."""
    jacobian = lambda h: jnp.eye(cell.size) + jax.jacfwd(cell)(h)
    edge = lambda h: cgru.spectral_edge(cgru.measure_coefficients(cell, h)).edge
    return jax.lax.map(jacobian, states), jax.vmap(edge)(states)


def radii(ensemble, units, networks):
    """Radii as counted and predicted, means over states, and whether all is silent."""
    rows = []
    for seed in range(networks):
        cell = cgru.sample(ensemble, units, jr.key(20 + seed))
        states = states_of(cell, jr.normal(jr.key(40 + seed), (cell.size,)) / 2)
        jacobians, edges = foretold(cell, states)
        found = np.abs(np.linalg.eigvals(np.asarray(jacobians))).max(axis=1)
        silent = bool(np.abs(states).max() < 1e-3)
        rows.append((float(found.mean()), float(edges.mean()), silent))
    return rows


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    units, networks = UNITS[size], NETWORKS[size]
    resets = {m: radii(random_gru(m), units, networks) for m in RESET}
    others = {m: radii(random_lstm(m), units // 2, networks) for m in INPUT_OUTPUT}
    draw(out, resets, others)

    def largest(groups):
        moving = [row for rows in groups.values() for row in rows if not row[2]]
        return max(abs(found / edge - 1) for found, edge, _ in moving)

    gru_off, lstm_off = largest(resets), largest(others)
    near = gru_off < GRU_OFF and lstm_off < LSTM_OFF
    mean = {m: float(np.mean([r[0] for r in rows])) for m, rows in resets.items()}
    lstm = {m: float(np.mean([r[0] for r in rows])) for m, rows in others.items()}
    disc = cgru.zero_state_disc(random_lstm(INPUT_OUTPUT[-1]))
    expected = float(disc.centre + disc.radius)
    rows = [[f"GRU, m_r = {m:g}", *means(r)] for m, r in resets.items()]
    rows += [
        [f"LSTM, m_i = {m[0]:g}, m_o = {m[1]:g}", *means(r)] for m, r in others.items()
    ]
    numbers = {
        "units": units,
        "claims": [
            {
                "claim": "an open reset gate widens the spectrum, a closed one narrows it",
                "paper": "the reset gate controls the spectral radius (abstract)",
                "found": ", ".join(f"{m:g}: {v:.3f}" for m, v in mean.items()),
                "agrees": bool(mean[-1.0] < mean[0.0] < mean[3.0]),
                "note": f"largest multiplier by m_r, mean over {networks} of {units} units",
            },
            {
                "claim": "so do the input and the output gate of an LSTM",
                "paper": "output and input gates control the spectral radius (abstract)",
                "found": ", ".join(f"{m}: {v:.3f}" for m, v in lstm.items()),
                "agrees": bool(lstm[0.0, 0.0] < min(lstm[1.0, 0.0], lstm[0.0, 1.0])),
                "note": f"by (m_i, m_o), mean over {networks} of {units // 2} units",
            },
            {
                "claim": "the edge is predicted from the gates at the same state",
                "paper": "not treated",
                "found": f"GRUs off by at most {100 * gru_off:.1f} %, LSTMs by "
                f"{100 * lstm_off:.1f} %",
                "agrees": bool(near) if units >= LARGE else None,
                "note": "of networks that are not silent, each a mean over states; "
                f"tolerances 6 and 8 %, from {LARGE} units on",
            },
            {
                "claim": "closed gates silence an LSTM, whose spectrum is then a disc",
                "paper": "not treated",
                "found": f"{lstm[-1.0, -1.0]:.4f}; the disc ends at {expected:.4f}",
                "agrees": bool(abs(lstm[-1.0, -1.0] / expected - 1) < DISC_OFF)
                if units >= LARGE
                else None,
                "note": "f₀ + g_c i₀ o₀; tolerance 2 %",
            },
        ],
        "tables": [
            {
                "title": "Largest multiplier",
                "columns": ["ensemble", "counted", "predicted"],
                "rows": rows,
            }
        ],
        "figures": [
            {
                "file": "radii.png",
                "caption": "Largest multiplier of one step at a state of each network "
                "(circles) and the edge predicted from the gates at that state (crosses), "
                "against the bias of a gate. Beyond the line at one activity grows.",
            },
        ],
    }
    io.write_json(out / "gates_spectral_radius.json", numbers)
    return numbers


def means(rows):
    return [f"{np.mean([row[k] for row in rows]):.4f}" for k in (0, 1)]


def draw(out, resets, others):
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for ax, rows in ((left, resets), (right, others)):
        for place, each in enumerate(rows.values()):
            for k, (shape, colour) in enumerate((("o", "#0072B2"), ("x", "#D55E00"))):
                label = ("counted", "predicted")[k] if place == 0 else None
                values = [row[k] for row in each]
                style = dict(color=colour, fillstyle="none", linestyle="none", label=label)
                ax.plot([place] * len(each), values, shape, **style)
        ax.axhline(1, color="grey", linewidth=0.8)
    left.set_xticks(range(len(resets)), [f"{m:g}" for m in resets])
    right.set_xticks(range(len(others)), [f"{i:g}, {o:g}" for i, o in others])
    left.set(xlabel="bias m_r of the reset gate (GRU)", ylabel="largest |λ|")
    right.set(xlabel="biases m_i, m_o of input and output gate (LSTM)")
    left.legend()
    data = {"reset": {f"{m:g}": r for m, r in resets.items()}}
    data |= {"input_output": {f"{i:g}, {o:g}": r for (i, o), r in others.items()}}
    io.save_figure(figure, out / "radii.png", data)


if __name__ == "__main__":
    main(Path("results/gates_spectral_radius"))
