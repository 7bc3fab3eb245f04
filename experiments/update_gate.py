"""Does the update gate change speed only? (section 2: "only speed", appendix B)

The gate multiplies each component of the field by its own z > 0. So it moves no
equilibrium and keeps the sign of det J. With one unit, or with equal gates, the rest is a
change of speed. With unequal gates the Jacobian diag(z) (A − I) has other eigenvalues, and
an equilibrium with det J > 0 may turn from sink to source. U_h = [[3, 4], [−4, −2]] has one
equilibrium, a spiral sink for z = 1/2; with b_z = (5, −5) it is a source inside a cycle.
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

U_H, GATES = (
    [[3.0, 4.0], [-4.0, -2.0]],
    {"z = 1/2": [0.0, 0.0], "b_z = (5, −5)": [5.0, -5.0]},
)
CELLS = {"quick": 100, "default": 1_000, "full": 10_000}
# Standard deviations of U_h, of U_r, of b_h and b_r, and of the gates.
WEIGHT, RESET, BIAS, GATE = 4.0, 1.0, 0.3, 3.0
SEED = 0
BATCH = 250
# Of two times forty million values: optimised, also where all else is compiled in haste.
COMPILE = {"xla_backend_optimization_level": 2}


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(SEED)
    flows = {name: cgru.Flow(cgru.gru(U_H, b_z=b)) for name, b in GATES.items()}
    found = {name: used(flow) for name, flow in flows.items()}
    (here, first), (there, second) = found.values()
    moved = np.abs(here - there).max()
    two, one = survey_two(random, CELLS[size]), survey_one(random, 10 * CELLS[size])

    numbers = {
        "example": {
            name: {
                "points": points,
                "eigenvalues": eigenvalues,
                "kinds": kinds(eigenvalues),
            }
            for name, (points, eigenvalues) in found.items()
        },
        "largest_move": moved,
        "two_units": two,
        "one_unit": one,
        "claims": [
            {
                "claim": "the update gate moves no equilibrium",
                "paper": "does not change the topological structure",
                "found": f"the example's by {moved:.0e}; those of {two['cells']} random "
                f"cells leave a field of at most {two['largest_residual']:.0e}",
                "agrees": bool(moved < 1e-12 and two["largest_residual"] < 1e-10),
                "note": "z > 0 multiplies each component",
            },
            {
                "claim": "the update gate changes no stability",
                "paper": "only speed",
                "found": f"eigenvalues {show(first[0])} with z = 1/2, "
                f"{show(second[0])} with b_z = (5, −5): a sink becomes a source",
                "agrees": kinds(first) == kinds(second),
                "note": "z is a factor per component, not one factor",
            },
            {
                "claim": "how often unequal gates change the kind of an equilibrium",
                "paper": "never",
                "found": f"{two['unequal']['cells']} of {two['cells']} random cells, "
                f"{two['unequal']['equilibria']} of {two['anti_saddles']} equilibria with "
                "det J > 0",
                "agrees": None,
                "note": f"some gate would change {two['could']} of them, those with "
                "diagonal entries of J of opposite signs; saddles changed: "
                f"{two['unequal']['saddles']}, as the sign of det J demands; weights "
                "N(0, 4²) and N(0, 1), biases N(0, 0.3²), b_z N(0, 3²)",
            },
            {
                "claim": "equal gates, or one unit: speed only",
                "paper": "appendix B",
                "found": f"{two['equal']['equilibria'] + two['equal']['saddles']} of "
                f"{two['equilibria']} equilibria change with equal gates, {one['changed']} "
                f"of {one['equilibria']} in {one['cells']} cells of one unit",
                "agrees": two["equal"]["cells"] == 0 and one["changed"] == 0,
                "note": "the gates of one unit had recurrent weights too",
            },
        ],
        "figures": [
            {
                "file": "gates.png",
                "caption": "One cell, two update gates, the same start (black dot) and the "
                "same equilibrium (circle). Left: with z = 1/2 the state spirals in. "
                "Right: with b_z = (5, −5), z = (0.993, 0.007), it leaves for a "
                "cycle; y is slow.",
            }
        ],
    }
    io.write_json(out / "update_gate.json", numbers)
    draw(out / "gates.png", flows, here[0])
    return numbers


def used(flow):
    """The equilibria and eigenvalues in use."""
    found = cgru.enumerate_equilibria(flow)
    valid = np.asarray(found.valid)
    return np.asarray(found.points)[valid], np.asarray(found.eigenvalues)[valid]


def kinds(eigenvalues):
    unstable = (np.real(eigenvalues) > 0).sum(axis=-1)
    return np.array(["sink", "saddle", "source"])[unstable].tolist()


def survey_two(random, cells):
    drawn = random.normal(size=(cells, 12))
    drawn = drawn * np.repeat([WEIGHT, RESET, BIAS], 4)
    found = prove_all(np.pad(drawn, ((0, 0), (0, 6))))
    owners, slots = np.nonzero(np.asarray(found.valid))
    points = np.asarray(found.points)[owners, slots]
    U_h, U_r, b_h, b_r = np.split(drawn[owners], [4, 8, 10], axis=1)
    weights = U_h.reshape(-1, 2, 2), U_r.reshape(-1, 2, 2), b_h, b_r
    gates = {"open": np.zeros((cells, 2)), "unequal": GATE * random.normal(size=(cells, 2))}
    gates["equal"] = np.repeat(GATE * random.normal(size=(cells, 1)), 2, axis=1)
    residual, jacobians = {}, {}
    for name, b_z in gates.items():
        residual[name], jacobians[name] = gated(*weights, b_z[owners], points)
    before = {name: np.array(kinds(np.linalg.eigvals(J))) for name, J in jacobians.items()}
    saddle = before["open"] == "saddle"
    diagonal = np.diagonal(jacobians["open"], axis1=1, axis2=2)
    counts = {
        "cells": cells,
        "equilibria": len(points),
        "anti_saddles": int((~saddle).sum()),
        "could": int((~saddle & (diagonal[:, 0] * diagonal[:, 1] < 0)).sum()),
        "largest_residual": max(np.abs(r).max() for r in residual.values()),
    }
    for name in ("unequal", "equal"):
        other = before[name] != before["open"]
        counts[name] = {
            "cells": len(set(owners[other])),
            "equilibria": int((other & ~saddle).sum()),
            "saddles": int((other & saddle).sum()),
        }
    return counts


def prove_all(p):
    """The equilibria of networks of 18 numbers each. It is the program of
    `most_equilibria` in its batches, so that both compile it once; few networks need no
    batch."""
    if len(p) < BATCH:
        found = [prove(jnp.asarray(one)) for one in p]
        return jax.tree.map(lambda *x: jnp.stack(x), *found)
    return cgru.sweep(prove, jnp.asarray(p), chunk=BATCH)


def prove(p):
    U_h, U_r, b_h, b_r, U_z, b_z = jnp.split(p, [4, 8, 10, 12, 16])
    matrices = [m.reshape(2, 2) for m in (U_h, U_r, U_z)]
    cell = cgru.gru(matrices[0], matrices[1], b_h, b_r, matrices[2], b_z)
    return cgru.enumerate_equilibria(cgru.Flow(cell))


@jax.jit
@jax.vmap
def gated(U_h, U_r, b_h, b_r, b_z, point):
    flow = cgru.Flow(cgru.gru(U_h, U_r, b_h, b_r, b_z=b_z))
    return flow.residual(point), flow.jacobian(point)


def survey_one(random, cells):
    """Sign changes of the field on a grid are equilibria; their sign is their kind."""
    U_h, U_r = np.array([[WEIGHT], [RESET]]) * random.normal(size=(2, cells))
    b_h, b_r = BIAS * random.normal(size=(2, cells))
    U_z, b_z = GATE * random.normal(size=(2, cells))
    h = np.linspace(-1, 1, 4_001)
    fields = [
        np.asarray(line(U_h, U_r, b_h, b_r, *gate, h))
        for gate in ((0 * U_z, 0 * b_z), (U_z, b_z))
    ]
    before, after = (np.diff(np.sign(f), axis=1) for f in fields)
    return {
        "cells": cells,
        "equilibria": int((before != 0).sum()),
        "changed": int((before != after).sum()),
    }


@eqx.filter_jit(compiler_options=COMPILE)
def line(U_h, U_r, b_h, b_r, U_z, b_z, h):
    def one(*arrays):
        cell = cgru.gru(*arrays)
        return jax.vmap(lambda x: cell(x[None])[0])(h)

    return jax.vmap(one)(U_h, U_r, b_h, b_r, U_z, b_z)


def show(pair):
    real, imaginary = np.real(pair), np.abs(np.imag(pair[0]))
    if imaginary:
        return f"{real[0]:.3f} ± {imaginary:.3f} i"
    return f"{real.min():.4f}, {real.max():.4f}"


def draw(path, flows, point):
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    # The slow component of the second takes 1/0.007 units of time.
    spans, data = (60.0, 3_000.0), {"equilibrium": point}
    starts = jnp.asarray(point) + jnp.array([0.3, 0.2])
    for ax, span, (name, flow) in zip(
        figure.subplots(1, 2), spans, flows.items(), strict=True
    ):
        times = span * np.linspace(0, 1, 3_001)
        run = cgru.integrate(flow, starts, times, substeps=5)
        states = np.asarray(run.states)
        ax.plot(*states.T, color="#0072B2", linewidth=0.8)
        ax.plot(*states[0], "o", color="black", markersize=4)
        ax.plot(*point, "o", color="white", markeredgecolor="#D55E00", markersize=8,
                markeredgewidth=2)  # fmt: skip
        ax.set(xlabel="x", ylabel="y", title=name, xlim=(-1, 1), ylim=(-1, 1))
        ax.set_aspect("equal")
        data[name] = {"times": times[::10], "states": states[::10]}
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/update_gate"))
