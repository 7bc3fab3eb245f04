"""How slow can a two-unit GRU be all along a curve of given length? (lemma 1, figure 6)

Lemma 1, finitely many fixed points, is true, though not by the printed proof; the following
one, derived here, is for any number of units. The fixed points are the zeros of analytic
functions in a closed box. Were there infinitely many, they would accumulate, and hold an
analytic arc h(t) that is not constant (the curve selection lemma). On the arc let y be the
2n functions 2 artanh h and ℓ = U_r h + b_r. Since h is rational in exp(2 artanh h), so is
ℓ, which is affine in h; and artanh h = U_h (σ(ℓ) ⊙ h) + b_h is rational in h and exp ℓ. So
all of y are rational in exp y. Let d of them, and no more, be linearly independent over the
rational numbers up to constants. Then exp of each other is a constant times roots and
powers of these d exponentials: exp y, and y with it, has a transcendence degree of at most
d over the complex numbers. But y and exp y together have one of d + 1 or more (J. Ax, On
Schanuel's conjectures, 1971), unless d = 0: then y is constant, and so is h. The update
gate is positive and changes nothing.

So along any curve the largest speed is positive. With bounded weights the least of it over
all networks and all segments of length L is attained, and falls like a power of L: F
vanishes along a line to some order only, since a line leaves the box; and this order, which
is upper semicontinuous, has a greatest value m over all bounded weights, points and
directions. Where it is m the speed is at most C L^m. And were it far below L^m for a
sequence of ever shorter segments, then by Taylor's and Markov's inequalities the
derivatives of F up to order m would tend to zero there, and a limit of these segments would
have a point where F vanishes to a higher order.

How small, and which powers at the lengths of figure 6, says a search: weights, place and
bend of the curve by least squares with weights that follow the speed (C. L. Lawson's method
for the least maximum), the gates held at z = 1/2, since a closed gate stops all. Length is
the distance of the ends: winding about one slow point would make any length.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import least_squares

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

LENGTHS = {
    "quick": [1.6, 0.8],
    "default": [2.0, 1.6, 1.2, 0.8, 0.4, 0.2],
    "full": [2.4, 2.0, 1.6, 1.2, 0.8, 0.4, 0.2, 0.1],
}
TRIES = {"quick": 2, "default": 4, "full": 200}  # random starts of each length
ROUNDS = 12  # of new weights
NODES = jnp.asarray(np.cos(np.pi * (np.arange(33) + 0.5) / 33))  # of the curve, in (−1, 1)
FINE = jnp.linspace(-1, 1, 2_001)
# The twelve weights and biases, the middle of the curve, its angle, and its bend.
LARGEST = np.array([15.0] * 12 + [1.0, 1.0, 10.0] + [2.0] * 3)
SPREAD = np.array([1.0] * 4 + [3.0] * 4 + [0.3] * 2 + [2.0] * 2 + [0.3] * 2 + [1.0])
SPREAD = np.append(SPREAD, [0.2] * 3)
# Which of the numbers a family has. Of one unit with open gates only the first weight and
# bias, and a segment of its axis.
FAMILIES = {
    "one unit, open gates": np.eye(18)[[0, 8]].sum(axis=0),
    "two units, straight": np.append(np.ones(15), np.zeros(3)),
    "two units, bent": np.ones(18),
}
LOOKS = dict(zip(FAMILIES, (("o", "#0072B2"), ("s", "#D55E00"), ("^", "#009E73")),
                 strict=True))  # fmt: skip


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    found = {name: descend(random, name, size) for name in FAMILIES}
    trends = {name: trend(some) for name, some in found.items()}
    proofs = {}
    if size != "quick":  # another program to compile
        longest = {name: max(some) for name, some in found.items()}
        proofs = {name: prove(found[name][L][1]) for name, L in longest.items()}
    numbers = {
        "speeds": {n: {str(L): v for L, (v, _) in s.items()} for n, s in found.items()},
        "parameters": {n: {str(L): x for L, (_, x) in s.items()} for n, s in found.items()},
        "exponents": trends,
        "equilibria": proofs,
        "claims": claims(found, trends, proofs),
        "figures": [draw(out / "speeds.png", found)],
        "tables": [table(found)],
    }
    io.write_json(out / "slow_curve.json", numbers)
    return numbers


def curve(q, length, t):
    """Points of the curve at t in [−1, 1]: a chord, and a bend that leaves its ends."""
    along = jnp.stack([jnp.cos(q[2]), jnp.sin(q[2])])
    across = jnp.stack([-along[1], along[0]])
    bend = (1 - t**2) * (q[3] + q[4] * t + q[5] * t**2)
    half = length / 2
    return q[:2] + half * t[:, None] * along + half * bend[:, None] * across


def cell_of(x):
    return cgru.gru(x[:4].reshape(2, 2), x[4:8].reshape(2, 2), x[8:10], x[10:12])


def fields(x, length, t):
    return jax.vmap(cell_of(x))(curve(x[12:], length, t))


@jax.jit
def both(x, kept, length, weights):
    """The weighted field at the nodes, and its derivatives in `x`."""
    part = lambda x: (fields(x * kept, length, NODES) * weights[:, None]).ravel()
    return part(x), jax.jacfwd(part)(x)


@jax.jit
def speeds(x, length):
    """At the nodes, and the largest on a fine grid."""
    nodes, fine = (jnp.linalg.norm(fields(x, length, t), axis=1) for t in (NODES, FINE))
    return nodes, jnp.max(fine)


def descend(random, family, size):
    """The least largest speed and its network and curve, for each length: from random
    starts, and from the longer curve, of which the shorter is nearly a part."""
    kept, found, last = FAMILIES[family], {}, None
    for length in LENGTHS[size]:
        tries = TRIES[size] if kept.sum() > 2 else 1
        starts = [kept * (centre() + SPREAD * random.normal(size=18)) for _ in range(tries)]
        rough = sorted((search(x, kept, length, 2) for x in starts), key=lambda f: f[0])
        best = [x for _, x in rough[:2]] + ([] if last is None else [last])
        speed, last = min(
            (search(x, kept, length, ROUNDS) for x in best), key=lambda f: f[0]
        )
        found[length] = speed, last
    return found


def centre():
    """Both units near their cusps, where a field is flat."""
    middle = np.zeros(18)
    middle[[0, 3]], middle[14] = 2.0, np.pi / 4
    return middle


def search(x, kept, length, rounds):
    """Least squares, again and again, with more weight where the speed was larger."""
    x = np.clip(x, -0.99 * LARGEST, 0.99 * LARGEST)
    weights = np.full(len(NODES), 1.0)
    best = np.inf, x
    for _ in range(rounds):
        nodes, _ = speeds(x * kept, length)
        # In units of what there is: the steps of the solver look at absolute gains.
        scaled = weights / np.max(nodes)
        ask = lambda y, k, w=scaled: np.asarray(both(y, kept, length, w)[k])
        x = least_squares(
            lambda y, ask=ask: ask(y, 0), x, jac=lambda y, ask=ask: ask(y, 1),
            bounds=(-LARGEST, LARGEST), max_nfev=40, x_scale="jac", xtol=1e-14, gtol=1e-14,
        ).x  # fmt: skip
        nodes, most = (np.asarray(s) for s in speeds(x * kept, length))
        if most < best[0]:
            best = float(most), x * kept
        weights = weights * np.sqrt(nodes / nodes.mean() + 1e-3)
        weights /= np.sqrt(np.mean(weights**2))
    return best


def trend(found):
    """The exponent of the length, between neighbours."""
    lengths, values = np.array(list(found)), np.array([v for v, _ in found.values()])
    return (np.diff(np.log(values)) / np.diff(np.log(lengths))).tolist()


def prove(x):
    """How many equilibria the network has, and whether that is proved."""
    every = cgru.enumerate_equilibria(cgru.Flow(cell_of(jnp.asarray(x))))
    return {"count": int(every.count), "complete": bool(every.complete)}


def claims(found, trends, proofs):
    words = ", ".join(f"{p['count']} ({name})" for name, p in proofs.items())
    one, straight, bent = found.values()
    short = min(one)
    cubic = one[short][0] / (short**3 / 192)
    at = 0.8
    return [
        {
            "claim": "Lemma 1: finitely many fixed points",
            "paper": "true, by a proof that does not hold",
            "found": "true for any number of units: the argument stands in this experiment",
            "agrees": True,
            "note": "the slowest networks of the greatest length have, proved: " + words
            if proofs and all(p["complete"] for p in proofs.values())
            else "a slow curve is none of fixed points",
        },
        {
            "claim": "one unit with open gates: the speed falls like L³ / 192",
            "paper": "not treated",
            "found": f"{cubic:.4f} of that at L = {short}",
            # Beyond the cusp comes the next odd order: a few L² of one half.
            "agrees": abs(cubic - 1) < 0.15 * short**2 + 1e-3,
            "note": "at the cusp U_h = 4 the field is −h³/6, and of all cubics "
            "Chebyshev's has the least maximum",
        },
        {
            "claim": "two units mimic a line attractor, curved or straight (figure 6)",
            "paper": "a pseudo-line attractor",
            "found": f"over a length of {at}: speed {bent[at][0]:.1e} on a curve, "
            f"{straight[at][0]:.1e} on a segment, {one[at][0]:.1e} with one unit",
            "agrees": bent[at][0] < straight[at][0] < one[at][0],
            "note": f"weights up to {LARGEST[0]:.0f}; from end to end it would take "
            f"{at / bent[at][0]:.0e} units of time or more",
        },
        {
            "claim": "the least largest speed falls like a power of the length",
            "paper": "not treated",
            "found": "; ".join(
                f"{name}: L^{values[-1]:.1f} at the least lengths"
                for name, values in trends.items()
            ),
            "agrees": None,
            "note": "the power is the order to which the field vanishes on the curve; a "
            "search gives upper bounds of the speed",
        },
    ]


def table(found):
    lengths = sorted(next(iter(found.values())))
    return {
        "title": "The least largest speed that was found, by the length of the curve",
        "columns": ["length", *found],
        "rows": [
            [f"{L:g}", *(f"{some[L][0]:.2e}" for some in found.values())] for L in lengths
        ],
    }


def draw(path, found):
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    data = {}
    for name, some in found.items():
        shape, colour = LOOKS[name]
        lengths = np.array(list(some))
        values = np.array([v for v, _ in some.values()])
        left.loglog(lengths, values, shape + "-", color=colour, label=name)
        length = min(LENGTHS["quick"])
        x = some[length][1]
        along = np.asarray(FINE)
        speed = np.linalg.norm(fields(jnp.asarray(x), length, FINE), axis=1)
        right.semilogy(along * length / 2, speed, color=colour, linestyle=dict(
            o=":", s="--", **{"^": "-"})[shape], label=name)  # fmt: skip
        data[name] = {"lengths": lengths, "speeds": values, "along": speed[::10]}
    lengths = np.array(sorted(next(iter(found.values()))))
    left.loglog(lengths, lengths**3 / 192, color="black", linewidth=0.8, label="L³ / 192")
    left.set(xlabel="length L", ylabel="largest speed along the curve")
    left.set_xticks(lengths, [f"{x:g}" for x in lengths])
    left.minorticks_off()
    left.legend(fontsize=8)
    right.set(xlabel=f"place along the curve, L = {length}", ylabel="speed")
    right.set(ylim=(1e-10, None))
    io.save_figure(figure, path, data)
    return {
        "file": path.name,
        "caption": "Left: the least largest speed along a curve, by its length (the "
        "distance of its ends); black: the closed form of one unit with open gates. Right: "
        f"the speed along the curves of length {length}: as a best approximation must, it "
        "comes to its maximum again and again.",
    }


if __name__ == "__main__":
    main(Path("results/slow_curve"))
