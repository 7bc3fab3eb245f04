"""At which parameters does each of the 36 printed structures really stand? (tables 2, 3)

A printed collision needs parameters exactly on a bifurcation, and a few decimals lie beside
it. For every row the pairs and the slow points that should be collisions are put on their
folds all at once, by the least change of the twelve printed numbers; the equilibria of the
repaired network are enumerated with a proof, and so is proved that there is exactly one
such set of points and parameters. Where no small change gives the printed counts, single
slips of the printer (a sign, a digit, a swap) are tried first: all of them at the full
size, which finds the best of each row, and that one alone at the default size.
"""

import itertools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

ARRAYS = ("U_h", "U_r", "b_h", "b_r")
ENTRIES = [f"{a}{i}{j}" for a in ("U_h", "U_r") for i in "12" for j in "12"]
ENTRIES += [f"{a}{i}" for a in ("b_h", "b_r") for i in "12"]
KINDS = ("sink", "source", "saddle", "saddle_node_first", "saddle_node_second")
KINDS += ("codimension_two", "hopf", "degenerate", "unknown")
WORDS = {  # one and several, in the order of table 2 and what it has no column for
    "sink": "sinks",
    "source": "sources",
    "saddle": "saddles",
    "saddle-node I": "saddle-nodes I",
    "saddle-node II": "saddle-nodes II",
    "codimension-two point": "codimension-two points",
    "Hopf point": "Hopf points",
    "degenerate": "degenerate",
    "unknown": "unknown",
}
# The best of all slips of a row, from `--full`.
SLIPS = {
    "iii": "U_r12: 12 → 1.2",
    "viii": "U_r12 ↔ U_r22",
    "xv": "U_h11 ↔ U_h22",
    "xxxiv": "the diagonal of U_h: 1 → 2",
}
QUICK = ("iv", "xxxvi")  # nothing to repair: compiling the repair is most of what it costs
TRIES = 8  # choices of what collides, the slowest first
# An edit must bring every collision this near, in speed: as near as those of row xxvii are,
# of all rows that need no edit the furthest from their print.
SLOW = 0.06
ROUNDING = 0.005  # half a unit of the second decimal, which most rows end with
RADIUS = 1e-9  # within which the repaired pair of points and parameters is the only one
VERDICTS = {  # shape and colour (Okabe and Ito), either enough alone
    "as printed": ("o", "#56B4E9"),
    "beside": ("^", "#009E73"),
    "edited": ("s", "#D55E00"),
    "count corrected": ("D", "#F0E442"),
    "open": ("X", "#999999"),
}
NOTES = {
    "xi": "index sum 2 is impossible, and so is one collision beside four simple points, "
    "whose indices add up to an even number; as printed it is row x upside down",
    "xv": "as printed three triple roots; any other U_r22 near 0 splits each into a simple "
    "point and a collision, exactly, so the distance has no minimum but 0",
    "xxiv": "index sum 7 is impossible; the 3 stands in the wrong column",
}


def main(out: Path, size: str = "default") -> dict:
    out.mkdir(parents=True, exist_ok=True)
    names = QUICK if size == "quick" else list(cgru.ATLAS)[11:]
    rows = [repair(cgru.ATLAS[name], size == "full") for name in names]
    numbers = {
        "rows": rows,
        "claims": [claim(rows)],
        "figures": [distances(out / "distances.png", rows)],
        "tables": [table(rows), slips(rows)],
    }
    io.write_json(out / "atlas_repair.json", numbers)
    return numbers


# One row.


def repair(row, every):
    printed = vector(row)
    cell = network(printed)
    found = look(cell)
    record = {"name": row.name, "printed": row.printed, "note": NOTES.get(row.name, "")}
    record |= {"found": found["counts"], "edit": "", "edits": [], "others": []}
    if matches(row, found):
        best, verdict = as_it_is(cell, found), "as printed"
    elif row.printed.index_sum != 1:
        best, verdict = as_it_is(cell, found), "count corrected"
        record["others"] = one_collision(cell, found)
    else:
        best, verdict = collide(row, cell, found, TRIES), "beside"
        if best is None:
            record["edits"] = search(row, printed, every)
            if record["edits"]:
                best, verdict = record["edits"][0], "edited"
                record["edit"] = best["edit"]
    if best is None:
        return record | {"verdict": "open", "certified": False, "distance": np.nan}
    record |= {key: best[key] for key in ("counts", "points", "distance", "complete")}
    record |= {"verdict": verdict, "parameters": vector(best["cell"])}
    record["largest_change"] = float(np.abs(record["parameters"] - printed).max())
    record["distance_from_print"] = float(np.linalg.norm(record["parameters"] - printed))
    record["one_pair"] = only_one(best["cell"], best["points"])
    record["certified"] = bool(record["complete"] and record["one_pair"] is not False)
    return record


def vector(source):
    """The twelve printed numbers of a row or a cell."""
    return np.concatenate([np.ravel(getattr(source, name)) for name in ARRAYS])


def network(p):
    return cgru.gru(p[:4].reshape(2, 2), p[4:8].reshape(2, 2), p[8:10], p[10:])


# Compiled as wholes: there are thousands of networks of one shape, and to trace a verb for
# each takes longer than what it then does.
enumerate_ = eqx.filter_jit(lambda cell: cgru.enumerate_equilibria(cgru.Flow(cell)))
nearest = eqx.filter_jit(
    lambda cell, points: cgru.nearest_bifurcation(cell, points, free=ARRAYS)
)
slowest = eqx.filter_jit(lambda cell: cgru.find_slow_points(cgru.Flow(cell)))
field = eqx.filter_jit(lambda cell, h: cell(h))


def look(cell):
    found = enumerate_(cell)
    valid = np.asarray(found.valid)
    is_kind = {k: np.asarray(found.kind == getattr(cgru.KINDS, k))[valid] for k in KINDS}
    return {
        "points": np.asarray(found.points)[valid],
        "is": is_kind,
        "counts": [int(is_kind[k].sum()) for k in KINDS],
        "complete": bool(found.complete) and float(found.index_sum) == 1,
    }


def matches(row, found):
    """The counts as printed; a collision may be of either kind."""
    c, p = found["counts"], row.printed
    here = (*c[:3], c[3] + c[4], *c[5:])
    there = (p.sinks, p.sources, p.saddles, p.collisions, p.codimension_two, 0, 0, 0)
    return found["complete"] and here == there


def as_it_is(cell, found):
    none = np.zeros((0, 2))
    return found | {"cell": cell, "points": none, "distance": 0.0}


def collide(row, cell, found, tries, slow=np.inf):
    """The least change that makes the printed collisions exact; `None` if none does."""
    best = None
    for points in itertools.islice(choices(row, cell, found, slow), tries):
        near = nearest(cell, jnp.asarray(points))
        distance = float(near.distance)
        if not distance < (best["distance"] if best else np.inf):  # or NaN
            continue
        there = look(near.cell)
        if matches(row, there):
            points = np.asarray(near.points)
            best = there | {"cell": near.cell, "points": points, "distance": distance}
    return best


def choices(row, cell, found, slow):
    """Places where the printed collisions may be, the slowest choice first.

    A surplus of equilibria must go in pairs of which one is a saddle, and a collision that
    is still missing must come from a slow point where a pair has just gone.
    """
    c, p = found["counts"], row.printed
    pairs = c[2] - p.saddles
    gone = p.collisions - c[3] - c[4] - pairs
    if (
        min(pairs, gone) < 0
        or not pairs + gone
        or c[0] + c[1] - p.sinks - p.sources != pairs
    ):
        return []
    options = sorted(between(cell, found), key=lambda option: option[0])
    options = [option for option in options if option[0] <= slow][:12]
    ghosts = [g for g in slow_points(cell) if g[0] <= slow][:6] if gone else []
    every = []
    for some in itertools.combinations(options, pairs):
        used = [i for _, _, who in some for i in who]
        if len(set(used)) == len(used):
            for more in itertools.combinations(ghosts, gone):
                speed = sum(o[0] for o in (*some, *more))
                every.append((speed, np.stack([o[1] for o in (*some, *more)])))
    return [points for _, points in sorted(every, key=lambda choice: choice[0])]


def between(cell, found):
    """Speed, place and members of every pair of a saddle and a sink or source."""
    points, is_kind = found["points"], found["is"]
    nodes = np.flatnonzero(is_kind["sink"] | is_kind["source"])
    for i, j in itertools.product(nodes, np.flatnonzero(is_kind["saddle"])):
        middle = (points[i] + points[j]) / 2
        yield float(jnp.linalg.norm(field(cell, middle))), middle, (i, j)


def slow_points(cell):
    slow = slowest(cell)
    valid = np.asarray(slow.valid)
    both = zip(np.asarray(slow.speed)[valid], np.asarray(slow.points)[valid], strict=True)
    return sorted(both, key=lambda one: one[0])


def one_collision(cell, found):
    """What the nearest single collisions would give instead, nearest first."""
    places = [(speed, middle) for speed, middle, _ in between(cell, found)]
    places = sorted([*places, *slow_points(cell)], key=lambda place: place[0])
    near = [nearest(cell, jnp.asarray(place)[None]) for _, place in places[:TRIES]]
    best = {}
    for one in sorted((n for n in near if n.distance > 0), key=lambda n: n.distance):
        there = look(one.cell)
        if there["complete"]:
            key = listing(there["counts"])
            best.setdefault(key, {"counts": key, "distance": float(one.distance)})
    return list(best.values())


# Slips of the printer.


def search(row, printed, every):
    """Single edits (the known one, or every one) after which the printed counts are near;
    the printed kinds of the collisions first, then the least distance."""
    hits = []
    for p, edit in edits(printed):
        if not every and edit != SLIPS.get(row.name):
            continue
        cell = network(p)
        found = look(cell)
        if matches(row, found):
            best = as_it_is(cell, found)
        else:
            best = collide(row, cell, found, TRIES // 2, SLOW)
        if best is not None:
            same = best["counts"][3:5] == list(row.printed[3:5])
            hits.append((not same, best["distance"], best | {"edit": edit, "same": same}))
    return [best for *_, best in sorted(hits, key=lambda hit: hit[:2])]


def edits(printed):
    """Every parameter set one slip away from the print, and the slip; of two that are as
    good the first is kept, and a swap within one array needs no new number."""
    seen = {tuple(printed)}
    for i, j in itertools.combinations(range(12), 2):
        p = printed.copy()
        p[[i, j]] = p[[j, i]]
        if ENTRIES[i][:3] == ENTRIES[j][:3] and tuple(p) not in seen:
            seen.add(tuple(p))
            yield p, f"{ENTRIES[i]} ↔ {ENTRIES[j]}"
    slots = [((i,), ENTRIES[i]) for i in range(12)]
    # The paper's U_h is often a multiple of one matrix, which is one number to misprint.
    if printed[0] == printed[3]:
        slots.append(((0, 3), "the diagonal of U_h"))
    for where, what in slots:
        for value in slipped(f"{printed[where[0]]:g}"):
            p = printed.copy()
            p[list(where)] = value
            if tuple(p) not in seen:
                seen.add(tuple(p))
                yield p, f"{what}: {printed[where[0]]:g} → {value:g}"


def slipped(text):
    """What else a printed number may have been: another sign, a digit changed, lost or too
    many, the point misplaced."""
    yield -float(text)
    places = [k for k, letter in enumerate(text) if letter.isdigit()]
    for k in places:
        for digit in "0123456789":
            yield float(text[:k] + digit + text[k + 1 :])
        if len(places) > 1:
            yield float(text[:k] + text[k + 1 :])
    for digit in "123456789":
        yield float(text + ("" if "." in text else ".") + digit)
    yield float(text) * 10
    yield float(text) / 10


# The proof.


def only_one(cell, points):
    """Whether there is exactly one set of points and parameters within RADIUS at which all
    collisions are exact; `None` where there is no collision to repair.

    The parameters move in as many directions as there are collisions: those that the
    collisions depend on most.
    """
    k = len(points)
    if k == 0:
        return None
    p = vector(cell)
    by_points, by_parameters = slopes(points, p)
    left = np.linalg.svd(by_points.reshape(3 * k, 2 * k))[0][:, 2 * k :]
    directions = jnp.asarray(np.linalg.svd(left.T @ by_parameters)[2][:k].T)

    def residual(u):
        return equations(u[: 2 * k].reshape(k, 2), p + directions @ u[2 * k :])

    root = np.concatenate([points.ravel(), np.zeros(k)])
    return bool(cgru.prove_root(residual, root, RADIUS))


def equations(h, p):
    """The increments and the determinants at all points."""
    cell = network(p)
    jacobian = jax.vmap(jax.jacfwd(cell))(h)
    singular = jacobian[:, 0, 0] * jacobian[:, 1, 1]
    singular -= jacobian[:, 0, 1] * jacobian[:, 1, 0]
    return jnp.concatenate([jax.vmap(cell)(h).reshape(-1), singular])


slopes = jax.jit(jax.jacfwd(equations, (0, 1)))


# What is shown.


def listing(counts):
    numbers = zip(counts, WORDS.items(), strict=False)
    return ", ".join(f"{n} {words[n > 1]}" for n, words in numbers if n)


def certificate(row):
    if not row["certified"]:
        return "none"
    return "enumerated" if row["one_pair"] is None else "enumerated, one pair"


def claim(rows):
    sure = [row for row in rows if row["certified"]]
    names = {v: [r["name"] for r in rows if r["verdict"] == v] for v in VERDICTS}
    beside = [row for row in sure if row["verdict"] == "beside"]
    further = [row["name"] for row in beside if row["largest_change"] > ROUNDING]
    largest = max((row["distance"] for row in beside), default=0)
    return {
        "claim": "Table 2: 36 structures, each of them at some parameters",
        "paper": "36, at the parameters of table 3",
        "found": f"{len(sure)} of {len(rows)} proved: "
        + ", ".join(f"{len(n)} {v}" for v, n in names.items() if n),
        "agrees": len(names["as printed"]) == len(rows) if len(rows) == 36 else None,
        "note": f"beside: at most {largest:.2g} away, {len(beside) - len(further)} by the "
        "rounding to two decimals"
        + (f" (not {', '.join(further)})" if further else "")
        + "".join(f"; {v}: {', '.join(names[v])}" for v in list(VERDICTS)[2:] if names[v]),
    }


def table(rows):
    columns = ["row", "printed", "at the printed parameters", "repaired", "distance"]
    columns += ["largest change", "edit", "proof", "verdict", "note"]
    return {
        "title": "The catalogue repaired: the nearest parameters with all collisions exact "
        "(distance: after the edit, if there is one; largest change: edit included)",
        "columns": columns,
        "rows": [
            [
                row["name"],
                listing(row["printed"]),
                listing(row["found"]),
                listing(row["counts"]) if "counts" in row else "–",
                f"{row['distance']:.2g}",
                f"{row['largest_change']:.2g}" if "largest_change" in row else "–",
                row["edit"] or "–",
                certificate(row),
                row["verdict"],
                "; ".join(
                    [row["note"]] * bool(row["note"])
                    + [f"with {o['counts']} at {o['distance']:.2g}" for o in row["others"]]
                ),
            ]
            for row in rows
        ],
    }


def slips(rows):
    """The best edits of each row that needs one: how far the choice is from unique."""
    return {
        "title": "Single edits after which the printed counts are near",
        "columns": ["row", "edit", "repaired", "distance", "kinds as printed", "of"],
        "rows": [
            [
                row["name"],
                edit["edit"],
                listing(edit["counts"]),
                f"{edit['distance']:.2g}",
                "yes" if edit["same"] else "no",
                str(len(row["edits"])),
            ]
            for row in rows
            for edit in row["edits"][:5]
        ],
    }


def distances(path, rows):
    figure = Figure(figsize=(6.5, 0.8 + 0.19 * len(rows)), layout="constrained")
    ax = figure.subplots()
    floor = 1e-8  # where a distance of nothing is drawn
    for verdict, (shape, colour) in VERDICTS.items():
        chosen = [i for i, row in enumerate(rows) if row["verdict"] == verdict]
        if chosen:
            x = np.maximum(np.nan_to_num([rows[i]["distance"] for i in chosen]), floor)
            style = dict(markeredgecolor="black", markersize=7, linestyle="none")
            ax.plot(x, chosen, shape, color=colour, label=verdict, **style)
    ax.axvline(3 * floor, color="#999999", linewidth=0.8)
    ax.set_xscale("log")
    ticks = [floor, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    ax.set_xticks(ticks, ["0", *(f"$10^{{{np.log10(t):.0f}}}$" for t in ticks[1:])])
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7)
    ax.set(xlabel="distance to the exact collisions", ylabel="row", ylim=(len(rows), -1))
    ax.grid(axis="y", color="#DDDDDD", linewidth=0.5)
    ax.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    keys = ("name", "distance", "verdict")
    io.save_figure(figure, path, {key: [row[key] for row in rows] for key in keys})
    return {
        "file": path.name,
        "caption": "How far the twelve parameters of each row are from the nearest ones at "
        "which every collision is exact (Euclidean norm; after the edit where one is "
        "needed). Left of the line: none at all.",
    }


if __name__ == "__main__":
    main(Path("results/atlas_repair"))
