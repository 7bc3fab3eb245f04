"""What an epoch of training costs, beside a plain loop and NumPy, on the same numbers.

    python benchmarks/training.py             # the paper's size
    python benchmarks/training.py --quick     # agreement only, for CI
    python benchmarks/training.py --out FILE  # write the numbers as JSON

The subject is `fit` by the paper's recipe: 667 trajectories of 29 steps, two units. The
control is what one writes first: `jax.jit` of one epoch, `vmap` over trajectories, called
in a Python loop. The reference is NumPy with derivatives by hand. All three compute in
single precision, run all 4,000 epochs of Adam, and must have the same gradient. Seconds
are of the processor, not of the wall.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

# As the command line trains: XLA's older code generator compiles in half the time.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)

import cgru_jax as cgru
from cgru_jax._learning._unroll import feature_first, losses

TARGET = cgru.TARGETS["fitzhugh-nagumo"]
EPOCHS = 4_000
ROUNDS = 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(p, data):
    """Loss (14) and its gradient by back-propagation, in NumPy; data `(t, q, N)`."""
    steps, count = data.shape[0] - 1, data.shape[2]
    h, tape, wrong = np.zeros((len(p["b_h"]), count), data.dtype), [], []
    column = lambda name: p[name][:, None]
    for k in range(steps):
        x = data[0] if k == 0 else np.zeros_like(data[0])
        z = sigmoid(p["U_z"] @ h + p["W_z"] @ x + column("b_z"))
        r = sigmoid(p["U_r"] @ h + p["W_r"] @ x + column("b_r"))
        g = np.tanh(p["U_h"] @ (r * h) + p["W_h"] @ x + column("b_h"))
        tape.append((h, x, z, r, g))
        h = h + z * (g - h)
        wrong.append(p["C"] @ h + column("c") - data[k + 1])
    slope = {name: np.zeros_like(a) for name, a in p.items()}
    back = np.zeros_like(h)
    for k in reversed(range(steps)):
        before, x, z, r, g = tape[k]
        after = before + z * (g - before)
        error = 2 * wrong[k] / (steps * count)
        slope["C"] += error @ after.T
        slope["c"] += error.sum(axis=1)
        back = back + p["C"].T @ error
        a_z = back * (g - before) * z * (1 - z)
        a_h = back * z * (1 - g**2)
        inner = p["U_h"].T @ a_h
        a_r = inner * before * r * (1 - r)
        for gate, a, state in (
            ("z", a_z, before),
            ("r", a_r, before),
            ("h", a_h, r * before),
        ):
            slope[f"U_{gate}"] += a @ state.T
            slope[f"W_{gate}"] += a @ x.T
            slope[f"b_{gate}"] += a.sum(axis=1)
        back = back * (1 - z) + inner * r + p["U_z"].T @ a_z + p["U_r"].T @ a_r
    loss = np.mean([np.sum(e**2) / count for e in wrong])
    return loss, slope


def numpy_adam(p, data, epochs):
    """The last loss of Adam at the rate 1e-2, from the parameters `p`."""
    p = {name: a.copy() for name, a in p.items()}
    first, second = ({name: np.zeros_like(a) for name, a in p.items()} for _ in range(2))
    for k in range(1, epochs + 1):
        loss, slope = by_hand(p, data)
        for name, g in slope.items():
            first[name] += np.float32(0.1) * (g - first[name])
            second[name] += np.float32(0.001) * (g**2 - second[name])
            large = np.sqrt(second[name] / np.float32(1 - 0.999**k)) + np.float32(1e-8)
            p[name] -= first[name] * np.float32(1e-2 / (1 - 0.9**k)) / large
    return loss


def plain_epoch(build):
    """One epoch as one writes it first."""
    optimiser = optax.adam(1e-2)

    def loss(theta, trajectories):
        model = build(theta)

        def one(w):
            h, wrong = jnp.zeros(model.cell.size, w.dtype), []
            entering = model.cell.with_input(w[0])
            alone = model.cell.with_input(jnp.zeros_like(w[0]))
            first = h + entering(h)
            step = lambda h, truth: (h + alone(h), jnp.sum((model.read(h) - truth) ** 2))
            wrong = jax.lax.scan(step, first, w[1:])[1]
            return jnp.mean(wrong)

        return jnp.mean(jax.vmap(one)(trajectories))

    @jax.jit
    def epoch(theta, moments, trajectories):
        value, slope = jax.value_and_grad(loss)(theta, trajectories)
        change, moments = optimiser.update(slope, moments)
        return optax.apply_updates(theta, change), moments, value

    return loss, epoch, optimiser


def agreement(model, data):
    """Largest relative difference of the three gradients, in double precision."""
    theta, build = jax.flatten_util.ravel_pytree(model)
    ours = jax.grad(lambda t: jnp.mean(losses(build(t), feature_first(data.train))))(theta)
    plain = jax.grad(plain_epoch(build)[0])(theta, data.train)
    p = {n: np.asarray(getattr(model.cell, n)) for n in model.cell._fields()}
    p |= {"C": np.asarray(model.C), "c": np.asarray(model.c)}
    _, slope = by_hand(p, np.asarray(feature_first(data.train)))
    places = build(jnp.arange(len(theta), dtype=float))
    indices = {n: getattr(places.cell, n) for n in model.cell._fields()}
    indices |= {"C": places.C, "c": places.c}
    hand = np.zeros(len(theta))
    for name, index in indices.items():
        hand[np.asarray(index, int)] = slope[name]
    scale = np.abs(hand).max()
    return float(max(np.abs(ours - hand).max(), np.abs(plain - hand).max()) / scale)


def cpu_seconds(function):
    began = time.process_time()
    result = jax.block_until_ready(function())
    return time.process_time() - began, result


def speeds(data, counts):
    """CPU-seconds of all 4,000 epochs, ours for some counts of networks, and theirs."""
    single = data.train.astype(jnp.float32)
    columns = np.asarray(feature_first(single))
    model = cgru.Forecaster.random(jr.key(0))
    theta, build = jax.flatten_util.ravel_pytree(
        jax.tree.map(lambda x: x.astype(jnp.float32), model)
    )
    start = build(theta)
    p = {n: np.asarray(getattr(start.cell, n)) for n in start.cell._fields()}
    p |= {"C": np.asarray(start.C), "c": np.asarray(start.c)}
    _, epoch, optimiser = plain_epoch(build)

    def ours(count):
        keys = jax.vmap(jr.key)(jnp.arange(count))
        return cgru.fit(jax.vmap(cgru.Forecaster.random)(keys), data, recipe="paper")

    def plain(epochs=EPOCHS):
        now, moments = theta, optimiser.init(theta)
        for _ in range(epochs):
            now, moments, value = epoch(now, moments, single)
        return value

    cold = {count: cpu_seconds(lambda n=count: ours(n))[0] for count in counts}
    plain_cold = cpu_seconds(lambda: plain(1))[0]
    rounds = []
    for _ in range(ROUNDS):
        one = {count: cpu_seconds(lambda n=count: ours(n)) for count in counts}
        one |= {"plain": cpu_seconds(plain)}
        one |= {"numpy": cpu_seconds(lambda: numpy_adam(p, columns, EPOCHS))}
        rounds.append({name: seconds for name, (seconds, _) in one.items()})
    least = {name: min(r[name] for r in rounds) for name in rounds[0]}
    return [
        {
            "networks": count,
            "trajectories": int(single.shape[0]),
            "ours": least[count] / count,
            "plain_loop": least["plain"],
            "numpy": least["numpy"],
            # What the first call took beyond a later one.
            "compile": cold[count] - least[count],
            "plain_compile": plain_cold - least["plain"] / EPOCHS,
            "last_losses": {
                "ours": float(one[count][1].losses[0, -1]),
                "plain": float(one["plain"][1]),
                "numpy": float(one["numpy"][1]),
            },
            "all_rounds": [[r[count] / count, r["plain"], r["numpy"]] for r in rounds],
        }
        for count in counts
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    count = 60 if options.quick else 1_000
    data = cgru.generate(TARGET, trajectories=count)
    numbers = {
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        },
        "largest_difference_of_gradients": agreement(
            cgru.Forecaster.random(jr.key(5)), data
        ),
    }
    # Round-off over 29 steps.
    assert numbers["largest_difference_of_gradients"] < 1e-11, numbers
    if not options.quick:
        few = cgru.generate(TARGET, trajectories=500)
        numbers["cpu_seconds_for_4000_epochs_of_one_network"] = [
            *speeds(data, (1, 4)),
            *speeds(few, (4,)),
        ]
    text = json.dumps(numbers, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
