"""How many equilibria can a two-unit GRU have, and in which structures?

The paper lists 36 topologies with several equilibria and conjectures that eleven is the
most, in one structure only (appendix C, tables 2 and 3). A search that climbs is told
nothing of that; and a gallery shows what such searches found, each network proved here, and
in the tests by another program in 40 digits.
"""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit

import cgru_jax as cgru
from cgru_jax import KINDS, io, plot

jax.config.update("jax_enable_x64", True)

GALLERY = Path(__file__).parent / "signatures.json"
NAMES = ("U_h", "U_r", "b_h", "b_r", "U_z", "b_z")  # 4 + 4 + 2 + 2 + 4 + 2 numbers
SEED = 0
CHUNK = 250
# Networks that the search proves. Of the seeds 0 to 15 twelve come to fifteen equilibria by
# 24,000, and all by 75,000, which is half a minute.
CLIMB = {"quick": 0, "default": 24_000, "full": 2_000_000}
# Then it begins anew: of the climbs that reach fifteen, most have by then.
CLIMB_ANEW = 12_000
# Typical sizes of the weights of the search; the update gate stays open.
SCALE = np.array([4.0] * 4 + [12.0] * 4 + [1.5] * 2 + [8.0] * 2 + [0.0] * 6)
# The place of each number after the two units have changed places, and its sign after the
# change (x, y) -> (y, x) or (x, y) -> (-y, -x): what such a change leaves alone has its
# equilibria in pairs, and half as many numbers.
SWAP = np.array([3, 2, 1, 0, 7, 6, 5, 4, 9, 8, 11, 10, 15, 14, 13, 12, 17, 16])
TURN = np.array([1] * 4 + [-1] * 4 + [-1] * 2 + [1] * 2 + [-1] * 4 + [1] * 2)
FAMILIES = {"any": 0, "exchange": 1, "exchange and turn": TURN}
PARENTS = 32  # kept of each signature
ACROSS = 0.25  # of the children: a parent on the other side of a fold
FOLDS = 24  # points of the plane between which folds are looked for


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    gallery = json.loads(GALLERY.read_text())
    proofs = look(np.array([flat(one) for one in gallery]))
    for i, one in enumerate(gallery):
        one["proved"] = signature(proofs, i)
        one["complete"] = bool(proofs["complete"][i])
        one["margin"] = float(proofs["margin"][i])
    found = climb(SEED, CLIMB[size]) if CLIMB[size] else None
    numbers = {
        "gallery": gallery,
        "search": found,
        "claims": claims(gallery, found),
        "tables": [exhibits_table(gallery)],
        "figures": [],
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


def look(p) -> dict:
    """Of many networks, with a proof: `signature`, the sinks, saddles and sources,
    `complete`, and `margin`, roughly the distance from a change of signature."""
    if len(p) < CHUNK:  # one by one: the program for one network is compiled already
        found = jax.tree.map(lambda *x: jnp.stack(x), *[prove(jnp.asarray(x)) for x in p])
    else:
        found = cgru.sweep(prove, jnp.asarray(p), chunk=CHUNK)
    valid, values = np.asarray(found.valid), np.asarray(found.eigenvalues)
    kinds = (KINDS.sink, KINDS.saddle, KINDS.source)
    counts = np.stack([np.asarray(found.tally(kind)) for kind in kinds], axis=-1)
    # Of a saddle only the determinant counts.
    det, trace = np.abs(values.prod(axis=-1)), np.abs(values.sum(axis=-1))
    saddle = np.asarray(found.kind == KINDS.saddle)
    near = np.minimum(np.sqrt(det), np.where(saddle, np.inf, trace))
    return {
        "signature": counts,
        "complete": np.asarray(found.complete)
        & (counts.sum(axis=-1) == valid.sum(axis=-1)),
        "margin": np.min(np.where(valid, near, np.inf), axis=-1),
    }


def signature(seen, i) -> tuple:
    return tuple(int(k) for k in seen["signature"][i])


def climb(seed, budget) -> dict:
    """A search that is told nothing, with restarts. In each family every signature that is
    met keeps parents, and those with many equilibria have more children."""
    random = np.random.default_rng(seed)
    begun = time.process_time()
    best, proved, history = {}, 0, []
    while proved < budget:
        if proved % CLIMB_ANEW == 0:
            archives = {family: {} for family in FAMILIES}
        children = {f: breed(random, f, archives[f], 2 * CHUNK) for f in FAMILIES}
        seen = look(np.concatenate([*children.values()]))
        proved += len(seen["complete"])
        members = [(f, p) for f, some in children.items() for p in some]
        for i in np.flatnonzero(seen["complete"]):
            family, p = members[i]
            s = signature(seen, i)
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
    over = random.random(size) < ACROSS
    children[over] = across(random, mother[over], family)
    children = project(children, family)
    children[: size // 8] = fresh[: size // 8]
    return children


def across(random, p, family):
    """Each network just beyond a fold that adds two equilibria.

    h is an equilibrium if b_h = G(h) = artanh h − U_h (r ⊙ h). So where det DG vanishes
    there is a fold at b_h = G(h), and it adds equilibria on the side to which G bends along
    the null vector. Of the folds between random points of the plane, the nearest that b_h
    has not passed; in a family, the nearest along the line that the family leaves to b_h.
    """
    b = p[:, None, 8:10]
    h = np.tanh(2 * random.normal(size=(len(p), FOLDS, 2)))
    low, high = h[:, :-1], h[:, 1:]
    sign = lambda h: np.sign(np.linalg.det(wanted_bias(p, h)[1]))
    below = sign(low)
    between = below * sign(high) < 0
    for _ in range(25):
        middle = (low + high) / 2
        same = (sign(middle) == below)[..., None]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    fold, slope = wanted_bias(p, low)
    left, _, right = np.linalg.svd(slope)
    w, v = left[..., 1], right[..., 1, :]
    step = 1e-4 * v * (1 - np.abs(low)).min(axis=-1, keepdims=True)
    bend = sum(wanted_bias(p, low + s)[0] - fold for s in (step, -step))
    along = fold - b
    if family != "any":
        line = np.array([1.0, 1.0 if family == "exchange" else -1.0])
        with np.errstate(divide="ignore", invalid="ignore"):
            along = ((w * along).sum(-1) / (w @ line))[..., None] * line
    adds = (w * along).sum(-1) * (w * bend).sum(-1) > 0
    far = np.where(between & adds, np.abs(along).sum(-1), np.inf)
    nearest = np.argmin(far, axis=1)[:, None]
    there = np.take_along_axis(along, nearest[..., None], axis=1)[:, 0]
    found = np.isfinite(np.take_along_axis(far, nearest, axis=1))
    beyond = 1 + 10 ** random.uniform(-2, 0, (len(p), 1))
    moved = p.copy()
    moved[:, 8:10] += np.where(found, beyond * there, 0.0)
    return moved


def wanted_bias(p, h):
    """For each network the b_h with which each h would be an equilibrium, and its
    derivative in h."""
    U, R, c = p[:, None, :4].reshape(-1, 1, 2, 2), p[:, 4:8].reshape(-1, 2, 2), p[:, 10:12]
    r = expit(h @ R.swapaxes(1, 2) + c[:, None])
    one = np.eye(2)
    gated = r[..., None] * one + (h * r * (1 - r))[..., None] * R[:, None]
    there = np.arctanh(h) - np.squeeze(U @ (r * h)[..., None], -1)
    return there, one / (1 - h**2)[..., None] - U @ gated


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


def claims(gallery, found):
    printed = catalogue()
    sizes = [sum(one["signature"]) for one in gallery]
    certain = all(o["complete"] and [*o["proved"]] == o["signature"] for o in gallery)
    # The paper's update gate is constant; one that is not turns sinks into sources.
    plain = {tuple(one["signature"]) for one in gallery if "U_z" not in one}
    gated = {tuple(one["signature"]) for one in gallery} - plain - printed
    new = plain - printed
    eleven = sorted(s for s in plain | printed if sum(s) == 11)
    unstable = [s for s in map(tuple, (one["signature"] for one in gallery)) if s[0] == 0]
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
            "claim": "a network with several equilibria has a sink",
            "paper": "in every row but xiv",
            "found": f"without a sink: {words(unstable)}",
            "agrees": None,
            "note": "with and without an update gate",
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
