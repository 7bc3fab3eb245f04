"""Which gains give a wanted spectral edge and a wanted share of slow modes?

Two gains of a random GRU, of candidate and update gate, are solved for so that the edge of
its fixed point and the share of multipliers near one are as asked; Newton's method with
the implicit derivatives of both. Then matrices are drawn and their eigenvalues counted.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

EXCESS, SHARE, NEAR = np.log(0.03), 0.25, 0.05  # log(λ − 1); mass within NEAR of one
RESET_GAIN = 2.0
START = [3.0, 5.0]  # (g_h, g_z)
UNITS = {"quick": 400, "default": 600, "full": 2_000}


def random_gru(gains):
    return cgru.GRUEnsemble(g_h=gains[0], g_r=RESET_GAIN, g_z=gains[1])


def static_variance(gains):
    return cgru.solve_mean_field(random_gru(gains)).variance[0]


def excess(x):
    return cgru.spectral_edge(random_gru(x), x[2]).log_excess


def share(x):
    state = cgru.resting_coefficients(random_gru(x), x[2], 1_024)
    return cgru.eigenvalue_mass(state, 1.0, NEAR)


def with_slope(f):
    """The function with its derivatives, compiled."""
    return eqx.filter_jit(lambda x: jax.jacfwd(lambda x: (f(x),) * 2, has_aux=True)(x))


# One by one they compile in half the time of the whole.
STATE, WANTED = with_slope(static_variance), (with_slope(excess), with_slope(share))


def edge_and_share(gains):
    """Both, with their derivatives, at the fixed point that moves with the gains; and its
    variance."""
    moved, q = STATE(gains)
    partial, found = zip(*(f(jnp.append(gains, q)) for f in WANTED), strict=True)
    partial = np.array(partial)
    return partial[:, :2] + partial[:, 2:] * np.asarray(moved), (np.array(found), float(q))


def mismatch(gains):
    """What is found less what is wanted, and its derivatives."""
    slopes, (found, variance) = edge_and_share(gains)
    return found - [EXCESS, SHARE], slopes, variance


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    gains, path = jnp.array(START), []
    for _ in range(8):
        rest, slopes, variance = mismatch(gains)
        path.append([*map(float, gains), *map(float, rest)])
        if np.abs(rest).max() < 1e-6:
            break
        step = np.clip(np.linalg.solve(slopes, rest), -1.5, 1.5)
        gains = gains - jnp.asarray(step)
    # The derivatives that designed it, checked against differences.
    step = 1e-4 * np.array([1.0, 0.0])
    ends = [mismatch(gains + s)[0] for s in (step, -step)]
    errors = np.abs((ends[0] - ends[1]) / 2e-4 / slopes[:, 0] - 1)

    found, inside = drawn(gains, variance, UNITS[size])
    counted = float(np.mean(np.abs(found - 1) < NEAR))
    radius = float(np.abs(found).max())
    draw(out, found, inside)
    numbers = {
        "gains": {"g_h": float(gains[0]), "g_z": float(gains[1])},
        "variance": variance,
        "path": {"columns": ["g_h", "g_z", "log excess off", "share off"], "rows": path},
        "counted": {"share": counted, "radius": radius},
        "claims": [
            {
                "claim": "two gains are found for a wanted edge and share of slow modes",
                "paper": "not treated",
                "found": f"g_h = {float(gains[0]):.6f}, g_z = {float(gains[1]):.6f} after "
                f"{len(path) - 1} steps",
                "agrees": bool(np.abs(rest).max() < 1e-6),
                "note": f"edge 1 + {np.exp(EXCESS):.2f}, {SHARE} within {NEAR} of one",
            },
            {
                "claim": "the implicit derivatives of edge and share are their derivatives",
                "paper": "not treated",
                "found": f"difference quotients off by {errors[0]:.1e} and {errors[1]:.1e}",
                "agrees": bool(errors[0] < 1e-6 and errors[1] < 1e-4),
                "note": "d log(λ − 1) / d g_h, and of the share, which is solved to 1e-9",
            },
            {
                "claim": "matrices with these gains have that share of slow modes",
                "paper": "not treated",
                "found": f"{counted:.3f}; the largest multiplier is {radius:.3f}",
                # One matrix of some hundred units.
                "agrees": bool(abs(counted - SHARE) < 0.02 and abs(radius - 1.03) < 0.05),
                "note": f"Jacobian of {UNITS[size]} units with inputs as in the theory",
            },
        ],
        "figures": [
            {
                "file": "designed.png",
                "caption": "Multipliers of a random Jacobian with the designed gains, the "
                "predicted boundary (line) and the disc (dashed) in which a quarter of "
                "them was asked for.",
            }
        ],
    }
    io.write_json(out / "design_spectrum.json", numbers)
    return numbers


GRID = np.linspace(-0.9, 1.3, 90)[None, :] + 1j * np.linspace(-0.9, 0.9, 90)[:, None]


def drawn(gains, variance, units):
    """Eigenvalues of a Jacobian with random matrices, and the support on `GRID`."""
    k = cgru.resting_coefficients(random_gru(gains), variance, units)
    keep, r, b, c = (np.asarray(x) for x in (1 - k.z, k.r, k.b, k.c))
    # The nodes are ordered in no way that a random matrix would see.
    random = np.random.default_rng(8)
    U_h, U_r = random.normal(size=(2, units, units)) / np.sqrt(units)
    inner = np.diag(r) + RESET_GAIN * c[:, None] * U_r
    jacobian = np.diag(keep) + float(gains[0]) * b[:, None] * (U_h @ inner)
    inside = eqx.filter_jit(jax.vmap(cgru.support, (None, 0)))(k, GRID.ravel())
    return np.linalg.eigvals(jacobian), np.asarray(inside).reshape(GRID.shape)


def draw(out, found, inside):
    figure = Figure(figsize=(5.5, 4.4), layout="constrained")
    ax = figure.subplots()
    ax.plot(found.real, found.imag, ".", markersize=2.5, color="#0072B2")
    ax.contour(GRID.real, GRID.imag, inside, [1.0], colors="#D55E00", linewidths=1.5)
    ax.add_patch(Circle((1, 0), NEAR, fill=False, linestyle="--", color="black"))
    ax.set(aspect="equal", xlabel="Re λ", ylabel="Im λ")
    data = {"re": found.real, "im": found.imag, "support": inside}
    data |= {"x": GRID.real[0], "y": GRID.imag[:, 0]}
    io.save_figure(figure, out / "designed.png", data)


if __name__ == "__main__":
    main(Path("results/design_spectrum"))
