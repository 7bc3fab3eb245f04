"""Does the theory of infinitely many units say how large random networks fluctuate?

Correlation function and largest Lyapunov exponent of random GRUs and LSTMs, from sampled
paths of single units (no parameter is fitted), beside networks that are simulated.
"""

from pathlib import Path

import jax
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

ENSEMBLES = {
    "GRU": cgru.GRUEnsemble(g_h=3, g_r=2, g_z=2),
    "LSTM": cgru.LSTMEnsemble(g_f=2, g_i=2, g_o=2, g_c=4, m_f=1),
    "reset-after GRU": cgru.ResetAfterGRUEnsemble(g_h=4, g_r=6, g_z=4, m_z=-1),
    "GRU, sharp gate": cgru.GRUEnsemble(g_h=4, g_r=2, g_z=10),
}
# How many of the ensembles; paths and their steps; sizes of networks; how many of each, and
# their steps.
SIZES = {
    "quick": (1, 1_500, 60, (200,), 2, 200),
    "default": (2, 4_000, 120, (1_000,), 2, 250),
    "full": (4, 8_000, 400, (125, 250, 500, 1_000, 2_000), 4, 1_500),
}
TRANSIENT = 100
LAGS = 20
MARKS = {"GRU": ("o", "#0072B2"), "LSTM": ("s", "#D55E00")}
MARKS |= {"reset-after GRU": ("^", "#009E73"), "GRU, sharp gate": ("D", "#CC79A7")}


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    count, paths, steps, units, networks, length = SIZES[size]
    results = {}
    for name in list(ENSEMBLES)[:count]:
        ensemble = ENSEMBLES[name]
        found = cgru.sample_paths(
            ensemble, jr.key(0), paths=paths, steps=steps, transient=steps // 3
        )
        theory = cgru.correlation_function(found.states["h"], LAGS)
        results[name] = {
            "theory": {
                "correlation": np.asarray(theory),
                "exponent": float(found.exponent),
                "error": float(found.error),
            },
            "networks": {n: measure(ensemble, n, networks, length) for n in units},
        }
    draw(out / "chaos.png", results)
    numbers = {
        "results": results,
        "claims": [claim for name in results for claim in claims(name, results[name])],
        "tables": [table(results)],
        "figures": [
            {
                "file": "chaos.png",
                "caption": "Left: correlation function of one unit; lines: theory, marks: "
                f"the largest networks ({units[-1]} units), mean and standard error of "
                f"{networks}. Right: largest Lyapunov exponent against the inverse number "
                "of units; the theory stands at zero.",
            }
        ],
    }
    io.write_json(out / "chaos.json", numbers)
    return numbers


def measure(ensemble, units, networks, steps):
    """Correlation functions and exponents of a few networks, each on one orbit."""
    correlations, exponents = [], []
    for seed in range(networks):
        keys = jr.split(jr.key(seed))
        system = cgru.Map(cgru.sample(ensemble, units, keys[0]))
        start = jr.normal(keys[1], (system.field.size,))
        times = np.arange(TRANSIENT, TRANSIENT + steps)
        orbit = cgru.integrate(system, start, times).states
        h = orbit[:, :units]
        correlations.append(np.asarray(cgru.correlation_function(h, LAGS)))
        # The orbit again, while the tangent turns into the direction that grows fastest.
        growth = cgru.lyapunov_exponents(
            system, orbit[0], steps=steps - TRANSIENT // 2, transient=TRANSIENT // 2
        )
        exponents.append(float(growth.exponents[0]))
    return {"correlations": np.array(correlations), "exponents": np.array(exponents)}


def mean_and_error(values):
    values = np.asarray(values)
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))


def claims(name, result):
    theory, networks = result["theory"], result["networks"]
    units, largest = list(networks.items())[-1]
    correlation, _ = mean_and_error(largest["correlations"])
    exponent, error = mean_and_error(largest["exponents"])
    apart = np.abs(correlation - theory["correlation"])
    first = abs(correlation[0] / theory["correlation"][0] - 1)
    of = f"{len(largest['exponents'])} networks of {units} units"
    # Smaller networks than this differ from the limit by more than the tolerances.
    large = units >= 1_000
    agrees = first < (0.08 if name == "LSTM" else 0.05) and apart.max() < 0.04
    near = abs(exponent / theory["exponent"] - 1)
    return [
        {
            "claim": f"{name}: theory and networks have one correlation function",
            "paper": "mean field becomes exact for many units; no numbers in the abstract",
            "found": f"⟨h²⟩ = {correlation[0]:.4f}, theory {theory['correlation'][0]:.4f}; "
            f"up to lag {LAGS} at most {apart.max():.3f} apart",
            "agrees": bool(agrees) if large else None,
            "note": f"{of}; tolerance 5 % (LSTM 8 %) of ⟨h²⟩ and 0.04 at every lag",
        },
        {
            "claim": f"{name}: theory and networks have one Lyapunov exponent",
            "paper": "not treated in the abstract",
            "found": f"{exponent:.4f} ± {error:.4f} per step, theory "
            f"{theory['exponent']:.4f} ± {theory['error']:.4f}",
            "agrees": bool(near < 0.15) if large else None,
            "note": f"{of}; tolerance 15 %: finite networks sit below the theory",
        },
    ]


def table(results):
    rows = []
    for name, result in results.items():
        theory = result["theory"]
        values = theory["correlation"]
        row = [f"{values[i]:.4f}" for i in (0, 5, 10, 20)]
        rows.append([name, "theory", *row, f"{theory['exponent']:.4f}"])
        for units, found in result["networks"].items():
            mean, error = mean_and_error(found["correlations"])
            row = [f"{mean[i]:.4f} ± {error[i]:.4f}" for i in (0, 5, 10, 20)]
            exponent = "{:.4f} ± {:.4f}".format(*mean_and_error(found["exponents"]))
            rows.append([name, f"N = {units}", *row, exponent])
    return {
        "title": "Correlation function and Lyapunov exponent, mean ± standard error",
        "columns": ["network", "size", "C(0)", "C(5)", "C(10)", "C(20)", "exponent"],
        "rows": rows,
    }


def draw(path, results):
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    lags, data = np.arange(LAGS + 1), {}
    for name, result in results.items():
        shape, colour = MARKS[name]
        theory, networks = result["theory"], result["networks"]
        largest = list(networks.values())[-1]
        mean, error = mean_and_error(largest["correlations"])
        left.plot(lags, theory["correlation"], color=colour)
        left.errorbar(
            lags, mean, error, fmt=shape, color=colour, markersize=4, capsize=2, label=name
        )
        inverse = [1_000 / units for units in networks]
        exponents = [mean_and_error(found["exponents"]) for found in networks.values()]
        right.errorbar(
            inverse,
            [e[0] for e in exponents],
            [e[1] for e in exponents],
            fmt=shape,
            color=colour,
            capsize=2,
        )
        right.errorbar(
            0,
            theory["exponent"],
            theory["error"],
            fmt=shape,
            color=colour,
            markerfacecolor="white",
            markersize=8,
            capsize=2,
        )
        data[name] = {
            "theory": theory["correlation"],
            "networks": mean,
            "error": error,
            "thousand_over_units": inverse,
            "exponents": exponents,
            "exponent_of_theory": theory["exponent"],
        }
    left.set(xlabel="lag τ (steps)", ylabel="⟨h(t) h(t + τ)⟩")
    left.legend(fontsize=8)
    right.axhline(0, color="black", linewidth=0.8)
    right.set(
        xlabel="1,000 / N (open mark: theory)",
        xlim=(-0.2, None),
        ylabel="Lyapunov exponent per step",
    )
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/chaos"))
