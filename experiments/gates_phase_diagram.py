"""Which phases has a large random GRU, by the gains of its candidate and its reset gate?

Lines in the plane of (g_r, g_h), for three biases of the reset gate: where zero loses its
stability, where nonzero static states appear in a fold, and where fixed points become
exponentially many. The update gate moves none of them. Where chaos can last it does, but
by next to nothing: that line is drawn for an update rate of one half.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

BIASES = [0.0, -1.0, -2.0]  # m_r
POINTS = {"quick": 2, "default": 8, "full": 40}
LARGEST = 50.0  # g_r
# At m_r = 0, by an independent program: (g_r, threshold of topology, fold)
KNOWN = [(5.0, 1.811, 1.917143), (20.0, 1.421, 1.627833)]
LINES = {
    "critical": ("-", "#000000", "zero loses its stability"),
    "fold": ("--", "#D55E00", "fold of static states"),
    "topology": (":", "#0072B2", "exponentially many fixed points"),
}


# Where chaos lasts is looked for at every second point, counted from the last.
LASTING = {"quick": 0, "default": 2, "full": 2}


def random_gru(m_r, g_r):
    return cgru.GRUEnsemble(g_h=1, g_r=g_r, m_r=m_r)


@eqx.filter_jit
def thresholds(rows):
    def one(row):
        ensemble = random_gru(*row)
        fold, topology = cgru.fold_gain(ensemble), cgru.topology_threshold(ensemble)
        return cgru.critical_gain(ensemble), fold.gain, topology.gain

    # One after the other: some need many more steps than others.
    return jax.lax.map(one, rows)


def lasting(m_r, gains):
    """The least g_h of lasting chaos; NaN where its jump is too small to be resolved."""
    each = [cgru.dynamic_threshold(random_gru(m_r, g), lags=128).gain for g in gains]
    return np.array([float(gain) for gain in each])


def first_reset_gain(m_r):
    """Above it activity sets in with a jump; where `onset_curvature` changes its sign."""
    # A parabola in g_r: its value at zero and at one fix it.
    at = lambda g: float(cgru.onset_curvature(random_gru(m_r, g)))
    return np.sqrt(at(0.0) / (at(0.0) - at(1.0)))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    first = {m: first_reset_gain(m) for m in BIASES}
    # Just above the first gain the fold lies too near to zero to be told from it.
    gains = {m: np.geomspace(1.03 * g, LARGEST, POINTS[size]) for m, g in first.items()}
    rows = [(m, g) for m in BIASES for g in gains[m]]
    rows += [(0.0, g) for g, _, _ in KNOWN]
    found = np.stack([np.asarray(x) for x in thresholds(jnp.asarray(rows))], axis=1)
    lines = found[: -len(KNOWN)].reshape(len(BIASES), -1, 3)
    lines = dict(zip(BIASES, lines, strict=True))
    every = LASTING[size]
    chaos = {m: (g[::-every], lasting(m, g[::-every])) for m, g in gains.items() if every}
    draw(out, gains, lines, first, chaos)

    known = np.array([row[1:] for row in KNOWN])
    ours = found[-len(KNOWN) :, [2, 1]]
    whole = np.isfinite(found).all()
    ordered = (found[:, 2] < found[:, 1]) & (found[:, 1] < found[:, 0])
    below = [
        (gain, lines[m][-1 - every * i])
        for m, (_, found) in chaos.items()
        for i, gain in enumerate(found)
        if np.isfinite(gain)
    ]
    numbers = {
        "lasting_chaos": {f"{m:g}": pair for m, pair in chaos.items()},
        "first_reset_gain": {f"{m:g}": g for m, g in first.items()},
        "lines": {
            f"{m:g}": {"g_r": gains[m]} | dict(zip(LINES, lines[m].T, strict=True))
            for m in BIASES
        },
        "claims": [
            {
                "claim": "beyond a gain of the reset gate activity sets in with a jump",
                "paper": "a discontinuous transition (abstract of the sequel)",
                "found": ", ".join(f"m_r = {m:g}: g_r > {g:.5f}" for m, g in first.items()),
                "agrees": bool(abs(first[0.0] - 2 * np.sqrt(2)) < 1e-12),
                "note": "2√2 without bias; never where the gate is open by two thirds",
            },
            {
                "claim": "fixed points become many before static states exist, and these "
                "before zero is unstable",
                "paper": "proliferation of critical points decoupled from chaos (the same)",
                "found": f"in this order at {int(ordered.sum())} of {len(found)} points",
                "agrees": bool(whole and ordered.all()),
                "note": "lasting activity begins between the last two lines",
            },
            {
                "claim": "chaos can last between the fold and where zero is unstable",
                "paper": "not treated",
                "found": f"at {len(below)} points of three biases, update rate 1/2",
                # The line meets the upper one where chaos begins without a jump.
                "agrees": all(low < g <= up * (1 + 1e-9) for g, (up, low, _) in below)
                if below
                else None,
                "note": "self-consistent correlation functions, followed to their fold",
            },
            {
                "claim": "the lines lie where an independent program puts them",
                "paper": "not treated",
                "found": "; ".join(f"{a:.4f}, {b:.6f}" for a, b in ours),
                "agrees": bool((np.abs(ours - known) < [6e-4, 6e-7]).all()),
                "note": "thresholds of topology and folds at m_r = 0, g_r = 5 and 20",
            },
        ],
        "figures": [
            {
                "file": "phases.png",
                "caption": "Large random GRUs without bias of the candidate. Below all "
                "lines zero is the only fixed point; between the dotted and the solid one "
                "zero is stable among exponentially many unstable fixed points; above the "
                "solid line activity lasts. Left of the vertical line static states begin "
                "at the solid one, somewhat farther left (4/√3 without bias) fixed points "
                "as well. Dash-dotted, with marks: the least gain at which chaos lasts, "
                "for an update rate of one half (not at the quick size).",
            }
        ],
    }
    io.write_json(out / "gates_phase_diagram.json", numbers)
    return numbers


def draw(out, gains, lines, first, chaos):
    figure = Figure(figsize=(3.4 * len(lines), 3.6), layout="constrained")
    for ax, (m, found) in zip(figure.subplots(1, len(lines)), lines.items(), strict=True):
        for (style, colour, label), line in zip(LINES.values(), found.T, strict=True):
            x, y = gains[m], line
            if style == "-":  # it also exists to the left
                x, y = [1.0, LARGEST], [line[0]] * 2
            ax.plot(x, y, style, color=colour, label=label)
        if m in chaos:
            ax.plot(*chaos[m], "^-.", color="#009E73", markersize=4, label="chaos can last")
        ax.axvline(first[m], color="grey", linewidth=0.8)
        ax.set_title(f"m_r = {m:g}", fontsize=10)
        ax.set(xscale="log", yscale="log", xlabel="gain g_r of the reset gate")
        ticks = [t for t in (1, 1.5, 2, 3, 5, 8) if t < 1.1 * found.max()]
        ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
        ax.set_yticks([], minor=True)
        ax.set_xticks([1, 3, 10, 30], ["1", "3", "10", "30"])
        ax.set_xticks([], minor=True)
    figure.axes[0].set_ylabel("gain g_h of the candidate")
    figure.axes[0].legend(fontsize=8, loc="lower left")
    data = {f"{m:g}": {"g_r": gains[m], "lines": found} for m, found in lines.items()}
    io.save_figure(
        figure,
        out / "phases.png",
        data
        | {"order": list(LINES), "chaos": {f"{m:g}": pair for m, pair in chaos.items()}},
    )


if __name__ == "__main__":
    main(Path("results/gates_phase_diagram"))
