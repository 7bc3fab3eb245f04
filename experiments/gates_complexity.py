"""Does the reset gate raise the number of fixed points? (annealed complexity, and a count)

The rate Σ* of the mean number of fixed points of random GRUs against the gain, for three
gains of the reset gate; and for small networks the fixed points that Newton finds.
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

STYLES = {0: "o-", 2: "s--", 5: "^-."}  # g_r
POINTS = {"quick": 3, "default": 8, "full": 40}
# What is counted: sizes, networks of each, starts of Newton in each.
GAIN = 10
SIZES = {"quick": (), "default": (5, 10, 15, 20), "full": (8, 12, 16, 20, 24)}
NETWORKS = {"quick": 0, "default": 24, "full": 48}
STARTS = {"quick": 0, "default": 300, "full": 1_000}
RATE_OFF, VARIANCE_OFF = 0.2, 0.05  # tolerances of the slope of the count and of q*


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    gains = np.geomspace(1.6, GAIN, POINTS[size])
    rows = np.array([(g, r) for r in STYLES for g in gains] + [(3, 0), (3, 2)])
    one = lambda row: cgru.complexity(cgru.GRUEnsemble(g_h=row[0], g_r=row[1]))
    # One after the other: some need many more steps than others.
    found = eqx.filter_jit(lambda rows: jax.lax.map(one, rows))(jnp.asarray(rows, float))
    rates, variances = np.asarray(found.rate), np.asarray(found.variance)
    without, with_reset = rates[-2:]
    curves = dict(zip(STYLES, rates[:-2].reshape(len(STYLES), -1), strict=True))
    typical = float(variances[len(gains) - 1])  # at the largest gain, open gates
    counts = count(size) if SIZES[size] else []
    draw(out, gains, curves, counts)

    numbers = {
        "gains": gains,
        "rates": {f"g_r = {r}": line for r, line in curves.items()},
        "typical_variance": typical,
        "counted": counts,
        "claims": [
            {
                "claim": "the reset gate raises the complexity",
                "paper": "the reset gate modulates the complexity (abstract)",
                "found": f"Σ* at g_h = 3: {without:.6f} for g_r = 0, {with_reset:.6f} for "
                "g_r = 2",
                "agrees": bool(with_reset > 2 * without),
                "note": "mean number of fixed points e^(N Σ*)",
            },
            growth(counts, float(curves[0][-1]), typical),
        ],
        "figures": [
            {
                "file": "complexity.png",
                "caption": "Left: rate Σ* of the mean number of fixed points against the "
                "gain, for three gains of the reset gate. Right: mean numbers of nonzero "
                "fixed points that Newton finds, and the slope Σ*.",
            }
        ],
    }
    io.write_json(out / "gates_complexity.json", numbers)
    return numbers


def growth(counts, rate, typical):
    claim = {
        "claim": "the number of fixed points grows with the size as predicted",
        "paper": "not treated",
        "found": "not counted at this size",
        "agrees": None,
        "note": f"Σ* = {rate:.4f} and q* = {typical:.3f} for g_h = {GAIN}, open gates",
    }
    if counts:
        sizes = [row["units"] for row in counts]
        slope, error = slope_of(sizes, counts)
        variance, missed = counts[-1]["variance"], sum(r["index_sums_off"] for r in counts)
        claim["found"] = (
            f"slope of the log of the mean {slope:.3f} ± {error:.3f}, mean variance "
            f"{variance:.3f} at N = {sizes[-1]}; in {missed} of "
            f"{len(counts) * counts[0]['networks']} networks the indices say that some "
            "are missed"
        )
        claim["note"] += "; tolerances 20 % of Σ* and 5 % of q*"
        near = abs(slope / rate - 1) < RATE_OFF
        claim["agrees"] = bool(near and abs(variance / typical - 1) < VARIANCE_OFF)
    return claim


def slope_of(sizes, counts):
    """The slope of log(mean) over the sizes, and its standard error."""
    x = np.array(sizes, float) - np.mean(sizes)
    logs = np.log([row["mean"] for row in counts])
    errors = np.array([row["error"] / row["mean"] for row in counts])
    weights = x / np.sum(x**2)
    return float(weights @ logs), float(np.sqrt(weights**2 @ errors**2))


def count(size):
    """Fixed points of random networks, with open gates, of each number of units."""
    sizes, most = SIZES[size], max(SIZES[size])
    starts = np.random.default_rng(5).uniform(-1, 1, (STARTS[size], most))

    @eqx.filter_jit
    def search(many):
        # One after the other, so that a thousand starts fit into memory.
        one = lambda U: cgru.find_equilibria(
            cgru.Flow(cgru.gru(U)), jnp.asarray(starts), capacity=192
        )
        return jax.lax.map(one, many)

    return [row(units, search(networks(units, most, NETWORKS[size]))) for units in sizes]


def networks(units, most, number):
    """A unit without weights is zero at every fixed point: padding changes no count, and
    all sizes are compiled once."""
    matrices = np.random.default_rng(units).normal(size=(number, units, units))
    room = [(0, 0), (0, most - units), (0, most - units)]
    return jnp.asarray(np.pad(matrices * GAIN / np.sqrt(units), room))


def row(units, found):
    nonzero = np.asarray(found.count) - 1.0
    squares = np.sum(np.asarray(found.points) ** 2, axis=-1) / units
    there = np.asarray(found.valid) & (squares > 1e-12)
    return {
        "units": units,
        "networks": len(nonzero),
        "mean": float(nonzero.mean()),
        "error": float(nonzero.std(ddof=1) / np.sqrt(len(nonzero))),
        "variance": float(squares[there].mean()),
        "index_sums_off": int(np.sum(np.asarray(found.index_sum) != 1)),
    }


def draw(out, gains, curves, counts):
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (g_r, style), line in zip(STYLES.items(), curves.values(), strict=True):
        left.plot(gains, line, style, markersize=4, label=f"g_r = {g_r}")
    left.axhline(0, color="grey", linewidth=0.8)
    left.set(xlabel="gain g_h", ylabel="complexity Σ* per unit", xscale="log")
    left.set_xticks([2, 3, 5, 10], ["2", "3", "5", "10"])
    left.set_xticks([], minor=True)
    left.legend()
    data = {"gains": gains, "rates": {str(r): c for r, c in curves.items()}}
    if counts:
        sizes = [row["units"] for row in counts]
        mean, error = (np.array([row[k] for row in counts]) for k in ("mean", "error"))
        style = dict(fmt="o", color="#0072B2", capsize=3)
        right.errorbar(sizes, mean, error, label="counted", **style)
        slope = curves[0][-1]
        middle = np.exp(np.mean(np.log(mean) - slope * np.array(sizes)))
        label = f"slope Σ* = {slope:.3f}"
        right.plot(sizes, middle * np.exp(slope * np.array(sizes)), "--", label=label)
        right.set(yscale="log")
        right.legend()
        data |= {"counts": counts}
    else:
        right.text(0.5, 0.5, "not counted at this size", ha="center")
    right.set(xlabel="units N", ylabel="mean number of nonzero fixed points")
    io.save_figure(figure, out / "complexity.png", data)


if __name__ == "__main__":
    main(Path("results/gates_complexity"))
