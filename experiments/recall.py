"""Which random initialisation learns to remember: does its regime say so beforehand?

Delayed recall: one of eight symbols, then noise for D steps, then the question which it
was. GRUs are drawn from ensembles with slow or fast update gates, at rest, critical or
chaotic. Where there are several learning rates each row has the one that is best on seeds
of its own, which enter no number that is shown.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

UNITS, SYMBOLS, BATCH, NOISE = 48, 8, 32, 0.1
INPUT = {"h": 1.0, "r": 0.3, "z": 0.3}  # standard deviation of the input weights
LAST = 50  # training steps whose fresh batches give the accuracy
LEARNT = 0.9

# Gains of candidate, reset and update gate, and the mean of the update gate: m_z = −3 is
# slow. The last row has the gains with which torch begins, here with the reset gate before
# the matrix, as in all rows; torch has it behind.
ROWS = {
    "quiescent, fast": (1.0, 0.0, 0.0, 0.0),
    "quiescent, slow": (1.0, 0.0, 0.0, -3.0),
    "chaotic, slow": (4.0, 2.0, 0.0, -3.0),
    "chaotic, fast": (4.0, 2.0, 0.0, 0.0),
    "critical, slow": (2.0, 0.0, 0.0, -3.0),
    "critical, fast": (2.0, 0.0, 0.0, 0.0),
    "chaotic, switches": (3.0, 0.0, 10.0, 0.0),
    "quiescent, switches": (1.0, 0.0, 6.0, 0.0),
    "gains 1/√3": (0.577, 0.577, 0.577, 0.0),
}
FIRST_SEED = 1_000  # of those on which learning rates are chosen
# How many rows; delays; learning rates (where there are several, as many seeds again choose
# one); seeds; training steps.
SIZES = {
    "quick": (2, (8,), (3e-3,), 1, 60),
    "default": (3, (40,), (3e-3,), 2, 130),
    "full": (9, (40, 100), (1e-3, 3e-3, 1e-2), 5, 400),
}
MARKS = {"quiescent": "o", "critical": "s", "chaotic": "^", "gains 1/√3": "D"}
COLOURS = {"fast": "#D55E00", "slow": "#0072B2", "switches": "#009E73"}
COLOURS["gains 1/√3"] = "black"


class Recaller(eqx.Module):
    """A cell and a linear reading of its last state."""

    cell: cgru.GRU
    reading: jax.Array

    def __call__(self, inputs):
        """Log-odds of the symbols, shape `(batch, 8)`, from `(times, batch, 8)`."""

        def step(h, x):
            increment = jax.vmap(lambda h, x: self.cell.with_input(x)(h))(h, x)
            return h + increment, None

        h = jnp.zeros((inputs.shape[1], UNITS), inputs.dtype)
        h, _ = jax.lax.scan(step, h, inputs)
        return h @ self.reading


def ensemble(row):
    g_h, g_r, g_z, m_z = ROWS[row]
    return cgru.GRUEnsemble(g_h=g_h, g_r=g_r, g_z=g_z, m_z=m_z)


def draw_model(row, seed):
    recurrent, *inputs, reading = jr.split(jr.key(seed), 5)
    drawn = cgru.sample(ensemble(row), UNITS, recurrent)
    weights = {
        f"W_{gate}": scale * jr.normal(key, (UNITS, SYMBOLS))
        for (gate, scale), key in zip(INPUT.items(), inputs, strict=True)
    }
    arrays = {name: getattr(drawn, name) for name in "U_h U_r U_z b_h b_r b_z".split()}
    reading = jr.normal(reading, (UNITS, SYMBOLS)) / np.sqrt(UNITS)
    model = Recaller(cgru.GRU(**arrays, **weights), reading)
    return jax.tree.map(lambda x: x.astype(jnp.float32), model)


def trials(key, delay):
    """Inputs, shape `(delay + 1, batch, 8)`, and the symbols that were shown."""
    which, noise = jr.split(key)
    symbols = jr.randint(which, (BATCH,), 0, SYMBOLS)
    shown = jax.nn.one_hot(symbols, SYMBOLS, dtype=jnp.float32)[None]
    later = NOISE * jr.normal(noise, (delay, BATCH, SYMBOLS), jnp.float32)
    return jnp.concatenate([shown, later]), symbols


@eqx.filter_jit
def train(models, rates, keys, delay, steps):
    """Accuracy on the fresh batch of every training step, shape `(members, steps)`."""

    def one(member):
        model, rate, key = member
        # Of both transformations only the size of the step depends on the rate.
        rule = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())

        def step(carry, key):
            model, state = carry
            inputs, symbols = trials(key, delay)

            def loss(model):
                odds = model(inputs)
                losses = optax.softmax_cross_entropy_with_integer_labels(odds, symbols)
                return jnp.mean(losses), jnp.mean(jnp.argmax(odds, axis=1) == symbols)

            (_, right), slope = jax.value_and_grad(loss, has_aux=True)(model)
            update, state = rule.update(slope, state)
            model = jax.tree.map(lambda x, u: x - rate * u, model, update)
            return (model, state), right

        carry = model, rule.init(model)
        return jax.lax.scan(step, carry, jr.split(key, steps))[1]

    # One after another: on a processor members side by side gain nothing.
    return jax.lax.map(one, (models, rates, keys))


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    count, delays, rates, seeds, steps = SIZES[size]
    rows = list(ROWS)[:count]
    before = {row: predict(row, quick=size == "quick") for row in rows}
    after = {delay: learn(rows, delay, rates, seeds, steps) for delay in delays}
    picture(out / "recall.png", before, after)
    numbers = {
        "before": before,
        "after": after,
        "chance": 1 / SYMBOLS,
        "claims": claims(after, seeds),
        "tables": [table(before, result, delay) for delay, result in after.items()],
        "figures": [
            {
                "file": "recall.png",
                "caption": f"Accuracy in the last {LAST} of {steps} training steps "
                f"against the Lyapunov exponent before training (theory, infinitely many "
                f"units); mean and standard error of {seeds} seeds"
                + (", the learning rate chosen on others" if len(rates) > 1 else "")
                + ". Shape: regime; colour: update gate. "
                "Dotted: chance.",
            }
        ],
    }
    io.write_json(out / "recall.json", numbers)
    return numbers


def predict(row, quick):
    """What the theory says of a row before it is trained."""
    g_h, _, _, m_z = ROWS[row]
    z = 1 / (1 + np.exp(-m_z))
    paths, steps = (400, 60) if quick else (1_000, 150)
    found = cgru.sample_paths(
        ensemble(row), jr.key(0), paths=paths, steps=steps, transient=steps // 3
    )
    # At rest the eigenvalues fill a disc around 1 − z with the radius z g_h / 2.
    return {
        "edge_at_rest": float(1 - z + z * g_h / 2),
        "exponent": float(found.exponent),
        "variance": float(jnp.mean(found.states["h"][-1] ** 2)),
    }


def learn(rows, delay, rates, seeds, steps):
    """All rows and seeds for one delay, each row with the learning rate that suits it."""
    chosen, looked = dict.fromkeys(rows, rates[0]), dict.fromkeys(rows)
    if len(rates) > 1:
        others = range(FIRST_SEED, FIRST_SEED + seeds)
        members = [(row, r, seed) for row in rows for r in rates for seed in others]
        final = followed(members, delay, steps)[..., -LAST:].mean(axis=-1)
        looked = dict(zip(rows, final.reshape(len(rows), len(rates), seeds), strict=True))
        best = {row: int(np.argmax(each.mean(axis=1))) for row, each in looked.items()}
        chosen = {row: rates[i] for row, i in best.items()}
    members = [(row, chosen[row], seed) for row in rows for seed in range(seeds)]
    right = followed(members, delay, steps).reshape(len(rows), seeds, steps)
    results = {}
    for row, curves in zip(rows, right, strict=True):
        final = curves[..., -LAST:].mean(axis=-1)
        results[row] = {
            "rate": chosen[row],
            "accuracies": final,
            "accuracy": final.mean(),
            "error": final.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan,
            "steps_to_learn": [reached(curve) for curve in curves],
            "of_every_rate_on_other_seeds": looked[row],
        }
    return results


def followed(members, delay, steps):
    """How often each (row, rate, seed) is right in each training step."""
    models = [draw_model(row, seed) for row, _, seed in members]
    models = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    keys = jnp.stack([jr.fold_in(jr.key(1), seed) for *_, seed in members])
    rates = jnp.array([rate for _, rate, _ in members], jnp.float32)
    return np.asarray(train(models, rates, keys, delay, steps), float)


def reached(curve):
    """The first step by which ten batches in a row are right often enough, or none."""
    smooth = np.convolve(curve, np.full(10, 0.1), "valid")
    passed = np.flatnonzero(smooth >= LEARNT)
    return int(passed[0]) + 10 if len(passed) else None


def claims(after, seeds):
    pairs = [
        ("slow modes help a quiescent network", "quiescent, slow", "quiescent, fast"),
        ("slow modes help a chaotic network", "chaotic, slow", "chaotic, fast"),
        ("chaos with slow modes beats rest without", "chaotic, slow", "quiescent, fast"),
    ]
    answers = []
    for delay, result in after.items():
        for claim, better, worse in pairs:
            if not {better, worse} <= set(result):
                continue
            a, b = result[better], result[worse]
            gap, error = a["accuracy"] - b["accuracy"], np.hypot(a["error"], b["error"])
            answers.append(
                {
                    "claim": f"{claim} (delay {delay})",
                    "paper": "gates that make slow modes help training (abstract)",
                    "found": f"{shown(a)} against {shown(b)}",
                    # With fewer seeds a standard error says nothing.
                    "agrees": bool(gap > max(2 * error, 0.05)) if seeds >= 5 else None,
                    "note": f"{seeds} seeds, one task, {UNITS} units; chance is "
                    f"{1 / SYMBOLS}; a difference counts beyond two standard errors",
                }
            )
    return answers


def shown(found):
    error = f" ± {found['error']:.2f}" if np.isfinite(found["error"]) else ""
    return f"{found['accuracy']:.2f}{error}"


def table(before, result, delay):
    rows = []
    for row, found in result.items():
        steps = [s for s in found["steps_to_learn"] if s is not None]
        rows.append(
            [
                row,
                f"{before[row]['edge_at_rest']:.3f}",
                f"{before[row]['exponent']:+.4f}",
                shown(found),
                f"{found['rate']:g}",
                f"{len(steps)} of {len(found['accuracies'])}"
                + (f", {min(steps)}–{max(steps)} steps" if steps else ""),
            ]
        )
    return {
        "title": f"Recall after {delay} steps: the theory before, the accuracy after",
        "columns": [
            "initialisation",
            "spectral edge at rest",
            "Lyapunov exponent",
            "accuracy",
            "learning rate",
            f"reached {LEARNT}",
        ],
        "rows": rows,
    }


def picture(path, before, after):
    figure = Figure(figsize=(4.8 * len(after), 3.8), layout="constrained")
    axes = figure.subplots(1, len(after), squeeze=False, sharey=True)[0]
    data = {}
    for ax, (delay, result) in zip(axes, after.items(), strict=True):
        for row, found in result.items():
            regime, _, gate = row.partition(", ")
            exponent = before[row]["exponent"]
            ax.errorbar(
                exponent,
                found["accuracy"],
                found["error"] if np.isfinite(found["error"]) else None,
                fmt=MARKS[regime],
                color=COLOURS[gate or regime],
                markersize=7,
                capsize=3,
                label=row,
            )
            data[f"{row}, delay {delay}"] = {
                "exponent": exponent,
                "accuracies": found["accuracies"],
            }
        ax.axhline(1 / SYMBOLS, color="black", linestyle="dotted")
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set(title=f"delay {delay}", xlabel="Lyapunov exponent before training, per step")
        ax.set(ylim=(0, 1.05))
    axes[0].set_ylabel("accuracy after training")
    axes[0].legend(fontsize=8, loc="center right")
    io.save_figure(figure, path, data)


if __name__ == "__main__":
    main(Path("results/recall"))
