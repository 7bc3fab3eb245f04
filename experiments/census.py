"""Which equilibria have two-unit GRUs, how often, and how many can there be?

The paper lists 36 topologies with several equilibria and conjectures that eleven is the
most, in one structure only (appendix C, tables 2 and 3). Three answers: how often random
networks have which signature (sinks, saddles, sources); a search that climbs, with a list
of parents for every signature that it has met; and a gallery of what such searches found,
each proved here, and in the tests by another program in 40 digits.
"""

import json
import time
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import KINDS, io, plot

jax.config.update("jax_enable_x64", True)

GALLERY = Path(__file__).parent / "signatures.json"
NAMES = ("U_h", "U_r", "b_h", "b_r", "U_z", "b_z")  # 4 + 4 + 2 + 2 + 4 + 2 numbers
DISTRIBUTIONS = ("gauss", "wide", "paper")
DRAWS = {"quick": 20, "default": 5_000, "full": 1_000_000}
CHUNK = 250
# Networks that the search proves.
CLIMB = {"quick": 0, "default": 24_000, "full": 2_000_000}
SHOWN = 24  # signatures in the figure
# Typical sizes of the weights of the search; the update gate stays open.
SCALE = np.array([4.0] * 4 + [12.0] * 4 + [1.5] * 2 + [8.0] * 2 + [0.0] * 6)
# The place of each number after the two units have changed places, and its sign after the
# change (x, y) -> (y, x) or (x, y) -> (-y, -x): what such a change leaves alone has its
# equilibria in pairs, and half as many numbers.
SWAP = np.array([3, 2, 1, 0, 7, 6, 5, 4, 9, 8, 11, 10, 15, 14, 13, 12, 17, 16])
TURN = np.array([1] * 4 + [-1] * 4 + [-1] * 2 + [1] * 2 + [-1] * 4 + [1] * 2)
FAMILIES = {"any": 0, "exchange": 1, "exchange and turn": TURN}
PARENTS = 32  # kept of each signature


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    gallery = json.loads(GALLERY.read_text())
    exhibits = np.array([flat(one) for one in gallery])
    proofs = look(exhibits)
    for i, one in enumerate(gallery):
        one["proved"] = signature(proofs, i, "flow")
        one["complete"] = bool(proofs["complete"][i])
        one["margin"] = float(proofs["margin"][i])
    frequencies = {name: count(name, "gru", DRAWS[size]) for name in DISTRIBUTIONS}
    if size != "quick":  # another program to compile
        reset = "wide, reset after"
        frequencies[reset] = count("wide", "reset_after", DRAWS[size])
    found = climb(10, CLIMB[size]) if CLIMB[size] else None
    numbers = {
        "gallery": gallery,
        "frequencies": frequencies,
        "search": found,
        "claims": claims(gallery, frequencies, found),
        "tables": [table(frequencies), exhibits_table(gallery)],
        "figures": [draw_frequencies(out / "frequencies.png", frequencies)],
    }
    if found:
        numbers["figures"].append(draw_search(out / "search.png", found))
        numbers["figures"].append(portraits(out / "gallery.png", gallery))
    io.write_json(out / "signatures.json", gallery)
    return numbers


def cell_of(p):
    """The network of 18 numbers."""
    U_h, U_r, b_h, b_r, U_z, b_z = jnp.split(p, [4, 8, 10, 12, 16])
    matrices = [m.reshape(2, 2) for m in (U_h, U_r, U_z)]
    return cgru.gru(matrices[0], matrices[1], b_h, b_r, matrices[2], b_z)


def flat(arrays) -> np.ndarray:
    """The 18 numbers of one network, or of many."""
    shapes = [(2, 2), (2, 2), (2,), (2,), (2, 2), (2,)]
    lead = np.shape(arrays["U_h"])[:-2]
    parts = [
        np.broadcast_to(np.asarray(arrays.get(name, 0.0), float), (*lead, *shape))
        for name, shape in zip(NAMES, shapes, strict=True)
    ]
    return np.concatenate([a.reshape(*lead, -1) for a in parts], axis=-1)


def prove(p):
    return cgru.enumerate_equilibria(cgru.Flow(cell_of(p)))


def prove_reset_after(p):
    """The same with the reset gate after the matrix; the bias c_h comes last."""
    cell, c_h = cell_of(p[:18]), p[18:]
    arrays = {name: getattr(cell, name) for name in NAMES}
    return cgru.enumerate_equilibria(cgru.Flow(cgru.ResetAfterGRU(c_h=c_h, **arrays)))


def look(p, prove=prove) -> dict:
    """Of many networks, with a proof: `flow` and `map`, the sinks, saddles and sources of
    both readings of time, `complete`, `index_sum`, and `margin`, roughly the distance from
    a change of signature."""
    if len(p) < CHUNK:  # one by one: the program for one network is compiled already
        found = jax.tree.map(lambda *x: jnp.stack(x), *[prove(jnp.asarray(x)) for x in p])
    else:
        found = cgru.sweep(prove, jnp.asarray(p), chunk=CHUNK)
    valid, values = np.asarray(found.valid), np.asarray(found.eigenvalues)
    kinds = (KINDS.sink, KINDS.saddle, KINDS.source)
    flow = np.stack([np.asarray(found.tally(kind)) for kind in kinds], axis=-1)
    grows = np.sum(np.abs(1 + values) > 1, axis=-1)  # multipliers outside the circle
    times = np.stack([np.sum(valid & (grows == k), axis=-1) for k in range(3)], axis=-1)
    # Of a saddle only the determinant counts.
    det, trace = np.abs(values.prod(axis=-1)), np.abs(values.sum(axis=-1))
    saddle = np.asarray(found.kind == KINDS.saddle)
    near = np.minimum(np.sqrt(det), np.where(saddle, np.inf, trace))
    return {
        "flow": flow,
        "map": times,
        "complete": np.asarray(found.complete) & (flow.sum(axis=-1) == valid.sum(axis=-1)),
        "index_sum": np.asarray(found.index_sum),
        "margin": np.min(np.where(valid, near, np.inf), axis=-1),
    }


def signature(seen, i, reading) -> tuple:
    return tuple(int(k) for k in seen[reading][i])


def count(name, cell, samples) -> dict:
    """How many networks of a distribution have which signature; those of `cgru-jax census
    --seed 0`."""
    plan = cgru.SurveyPlan(name, samples, seed=0, cell=cell)
    tally = {"flow": Counter(), "map": Counter()}
    off = complete = 0
    for start in range(0, samples, 50_000):
        arrays = plan.draw(start, min(start + 50_000, samples))
        if cell == "gru":
            seen = look(flat(arrays))
        else:
            p = np.concatenate([flat(arrays), arrays["c_h"]], axis=1)
            seen = look(p, prove_reset_after)
        complete += int(seen["complete"].sum())
        off += int((seen["complete"] & (seen["index_sum"] != 1)).sum())
        for reading, counter in tally.items():
            for i in np.flatnonzero(seen["complete"]):
                counter[signature(seen, i, reading)] += 1
    return {
        "samples": samples,
        "complete": complete,
        "index_sums_off": off,
        **{r: [[*s, n] for s, n in c.most_common()] for r, c in tally.items()},
    }


def climb(seed, budget) -> dict:
    """A search that is told nothing. In each family every signature that is met keeps
    parents, and those with many equilibria have more children."""
    random = np.random.default_rng(seed)
    begun = time.process_time()
    archives = {family: {} for family in FAMILIES}
    best, proved, history = {}, 0, []
    while proved < budget:
        children = {f: breed(random, f, archives[f], 2 * CHUNK) for f in FAMILIES}
        seen = look(np.concatenate([*children.values()]))
        proved += len(seen["complete"])
        members = [(f, p) for f, some in children.items() for p in some]
        for i in np.flatnonzero(seen["complete"]):
            family, p = members[i]
            s = signature(seen, i, "flow")
            # The symmetric are parents of the others as well.
            for archive in (archives[family], archives["any"]):
                kept = archive.setdefault(s, [])
                if len(kept) < PARENTS:
                    kept.append(p)
                else:
                    kept[random.integers(PARENTS)] = p
            if seen["margin"][i] > best.get(s, (0, None))[0]:
                best[s] = float(seen["margin"][i]), p
        most = max(map(sum, best))
        history.append([proved, time.process_time() - begun, most, len(best)])
    found = sorted(best, key=lambda s: (-sum(s), s))
    columns = ["proved", "cpu_seconds", "most", "signatures"]
    return {
        "history": dict(zip(columns, zip(*history, strict=True), strict=True)),
        "found": [named(best[s][1], s) | {"margin": best[s][0]} for s in found],
    }


def breed(random, family, archive, size):
    """Children of a family, and an eighth (at first all of them) without parents."""
    fresh = random.normal(size=(size, 18)) * SCALE
    fresh = project(fresh, family) * (1 if family == "any" else np.sqrt(2))
    if not archive:
        return fresh
    by_count = sorted(archive, key=sum, reverse=True)
    anyone = random.integers(len(by_count), size=size)
    high = np.minimum(random.geometric(0.25, size) - 1, len(by_count) - 1)
    which = np.where(random.random(size) < 0.5, anyone, high)

    def pick():
        of = [archive[by_count[k]] for k in which]
        return np.array([kept[random.integers(len(kept))] for kept in of])

    mother, father = pick(), pick()
    # Steps of all sizes, in half of the numbers.
    length = 0.3 * 10 ** random.uniform(-3, 0, (size, 1))
    length = length * (random.random((size, 18)) < 0.5) * (SCALE > 0)
    step = length * random.normal(size=(size, 18)) * (SCALE + np.abs(mother))
    share = random.uniform(-0.5, 1.5, (size, 1))
    mixed = share * mother + (1 - share) * father
    children = np.where(random.random((size, 1)) < 0.15, mixed, mother + step)
    children = project(children, family)
    children[: size // 8] = fresh[: size // 8]
    return children


def project(p, family):
    """The nearest member of a family: networks that are their own mirror image."""
    if family == "any":
        return p
    return (p + FAMILIES[family] * p[:, SWAP]) / 2


def named(p, s) -> dict:
    arrays = dict(zip(NAMES, np.split(p, [4, 8, 10, 12, 16]), strict=True))
    plain = {k: (a.reshape(2, 2) if k[0] == "U" else a).tolist() for k, a in arrays.items()}
    return {"signature": list(s), **plain}


# --- what is said and shown --------------------------------------------------------------


def claims(gallery, frequencies, found):
    printed = catalogue()
    sizes = [sum(one["signature"]) for one in gallery]
    certain = all(o["complete"] and [*o["proved"]] == o["signature"] for o in gallery)
    # The paper's update gate is constant; one that is not turns sinks into sources.
    plain = {tuple(one["signature"]) for one in gallery if "U_z" not in one}
    gated = {tuple(one["signature"]) for one in gallery} - plain - printed
    new = plain - printed
    eleven = sorted(s for s in plain | printed if sum(s) == 11)
    unstable = [s for s in map(tuple, (one["signature"] for one in gallery)) if s[0] == 0]
    seen = {tuple(s[:3]) for f in frequencies.values() for s in f["flow"]}
    none = {n: sum(s[3] for s in f["flow"] if s[0] == 0) for n, f in frequencies.items()}
    off = sum(f["index_sums_off"] for f in frequencies.values())
    complete = sum(f["complete"] for f in frequencies.values())
    samples = sum(f["samples"] for f in frequencies.values())
    words = lambda signatures: ", ".join(" · ".join(map(str, s)) for s in signatures)
    rows = [
        {
            "claim": "eleven equilibria are the most",
            "paper": "11 (conjecture, appendix C)",
            "found": f"{max(sizes)}",
            "agrees": max(sizes) <= 11 or not certain,
            "note": f"sinks · saddles · sources: {words(sorted(top(gallery)))}",
        },
        {
            "claim": "there is one structure with eleven",
            "paper": "one (row xxxvi)",
            "found": f"{len(eleven)}: {words(eleven)}",
            "agrees": len(eleven) <= 1 or not certain,
            "note": "with an update gate also "
            + words(sorted(s for s in gated if sum(s) == 11)),
        },
        {
            "claim": "the catalogue of structures is whole",
            "paper": "36 topologies, of which "
            f"{len(printed)} without collisions and with several equilibria",
            "found": f"{len(new)} other signatures: {words(sorted(new))}",
            "agrees": not new or not certain,
            "note": f"with an update gate also {words(sorted(gated))}",
        },
        {
            "claim": "a network has a sink",
            "paper": "in every row but xiv",
            "found": ", ".join(
                f"{n} of {f['samples']} ({name})"
                for (name, f), n in zip(frequencies.items(), none.values(), strict=True)
            )
            + " have none",
            "agrees": None,
            "note": f"several unstable equilibria and no sink: {words(unstable)}",
        },
        {
            "claim": "the indices of a network sum to +1",
            "paper": "implied (Poincaré–Hopf)",
            "found": f"{complete - off} of {complete} complete proofs ({samples} networks)",
            "agrees": off == 0 and complete > 0,
            "note": f"signatures met at random: {words(sorted(seen))}",
        },
    ]
    if found:
        history = found["history"]
        reached = {
            most: next((i for i, m in enumerate(history["most"]) if m >= most), None)
            for most in (11, 13, 15)
        }
        rows.append(
            {
                "claim": "a search that is told nothing finds more than eleven",
                "paper": None,
                "found": "; ".join(
                    f"{most} after {history['proved'][i]:,} networks, "
                    f"{history['cpu_seconds'][i]:.0f} CPU-seconds"
                    for most, i in reached.items()
                    if i is not None
                ),
                "agrees": None,
                "note": f"most {history['most'][-1]}, in {history['signatures'][-1]} "
                "signatures",
            }
        )
    return rows


def catalogue() -> set:
    """The printed signatures without collisions."""
    rows = [row.printed for row in cgru.ATLAS.values() if row.printed]
    # Row xxiv prints its three saddles as sources, against Poincaré–Hopf.
    return {(4, 3, 0)} | {
        (r.sinks, r.saddles, r.sources)
        for r in rows
        if r.index_sum == 1 and not r.collisions and not r.codimension_two
    }


def top(gallery):
    signatures = [tuple(one["signature"]) for one in gallery]
    most = max(map(sum, signatures))
    return {s for s in signatures if sum(s) == most}


def table(frequencies):
    shares = {
        (name, reading): {tuple(s[:3]): s[3] / f["complete"] for s in f[reading]}
        for name, f in frequencies.items()
        for reading in ("flow", "map")
    }
    signatures = sorted(
        {s for column in shares.values() for s in column}, key=lambda s: (sum(s), s)
    )
    return {
        "title": "Share of random networks (z = 1/2), as a flow and as a map",
        "columns": ["sinks · saddles · sources", *(f"{n}, {r}" for n, r in shares)],
        "rows": [
            [
                " · ".join(map(str, s)),
                *(f"{c[s]:.3g}" if s in c else "" for c in shares.values()),
            ]
            for s in signatures
        ],
    }


def exhibits_table(gallery):
    return {
        "title": "The gallery: parameters in signatures.json",
        "columns": [
            "sinks · saddles · sources",
            "equilibria",
            "update gate",
            "margin",
            "proved",
        ],
        "rows": [
            [
                " · ".join(map(str, one["signature"])),
                sum(one["signature"]),
                "U_z" in one,
                f"{one['margin']:.2g}",
                one["complete"] and [*one["proved"]] == one["signature"],
            ]
            for one in gallery
        ],
    }


def draw_frequencies(path, frequencies):
    columns = {
        (name, reading): {tuple(s[:3]): s[3] / f["complete"] for s in f[reading]}
        for name, f in frequencies.items()
        for reading in ("flow", "map")
    }
    largest = Counter()
    for column in columns.values():
        for s, share in column.items():
            largest[s] = max(largest[s], share)
    shown = [s for s, _ in largest.most_common(SHOWN)]
    figure = Figure(figsize=(9, 1.8 + 0.25 * len(shown)), layout="constrained")
    axes = figure.subplots(1, len(frequencies), sharey=True)
    looks = {"flow": ("o", "#0072B2", 7), "map": ("x", "#D55E00", 6)}
    for ax, name in zip(axes, frequencies, strict=True):
        for reading, (shape, colour, width) in looks.items():
            column = columns[name, reading]
            place = [i for i, s in enumerate(shown) if s in column]
            share = [column[shown[i]] for i in place]
            ax.plot(share, place, shape, color=colour, markersize=width, label=reading,
                    fillstyle="none", markeredgewidth=1.6)  # fmt: skip
        ax.set(xscale="log", title=name, xlabel="share of the networks")
        ax.grid(alpha=0.3)
    axes[0].set(
        yticks=range(len(shown)),
        yticklabels=[" · ".join(map(str, s)) for s in shown],
        ylabel="sinks · saddles · sources",
    )
    axes[0].invert_yaxis()
    plot.legend(figure)
    data = {"signatures": shown, "shares": {f"{n}, {r}": [c.get(s) for s in shown]
            for (n, r), c in columns.items()}}  # fmt: skip
    io.save_figure(figure, path, data)
    caption = (
        "How often random two-unit GRUs have which equilibria, read as a flow (circles) "
        "and as a map (crosses); z = 1/2."
    )
    return {"file": path.name, "caption": caption}


def draw_search(path, found):
    history = found["history"]
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    ax = figure.subplots()
    ax.step(history["proved"], history["most"], where="post", color="#0072B2",
            label="most equilibria")  # fmt: skip
    ax.step(history["proved"], history["signatures"], where="post", color="#D55E00",
            linestyle="--", label="signatures met")  # fmt: skip
    ax.axhline(11, color="black", linewidth=0.8, linestyle=":", label="the paper's eleven")
    ax.set(xlabel="networks proved", ylabel="number")
    ax.legend()
    io.save_figure(figure, path, history)
    return {
        "file": path.name,
        "caption": "A search that is told nothing, from a fresh seed.",
    }


def portraits(path, gallery):
    shown = [one for one in gallery if tuple(one["signature"]) in top(gallery)][:3]
    shown.append(max(gallery, key=lambda one: one["signature"][2]))
    shown += [one for one in gallery if one["signature"][0] == 0][:2]
    figure = Figure(figsize=(12, 8.6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    data = {}
    for ax, one in zip(axes, shown, strict=False):
        system = cgru.Flow(cell_of(jnp.asarray(flat(one))))
        found = cgru.enumerate_equilibria(system)
        name = " · ".join(map(str, one["signature"]))
        drawn = plot.phase_portrait(
            system, ax, box=((-1.1, -1.1), (1.1, 1.1)), equilibria=found
        )
        data[name] = {key: drawn[key] for key in ("points", "kinds", "nullclines")}
        gate = ", z" if "U_z" in one else ""
        ax.set_title(f"{sum(one['signature'])}: {name}{gate}", fontsize=10)
    plot.speed_bar(axes[: len(shown)])
    plot.legend(figure)
    io.save_figure(figure, path, data)
    caption = (
        "Of the gallery: the largest, the one with the most sources, and networks without "
        "a sink (sinks · saddles · sources; z: with an update gate)."
    )
    return {"file": path.name, "caption": caption}
