"""Do the paper's printed parameters give its printed equilibria? (tables 1 to 3)

Every row is taken at its printed parameters. A printed collision (a saddle-node) needs
parameters exactly on a bifurcation; a few decimals lie beside it. So a row is compared
twice: as it is, and with the collisions that its printed decimals can have missed, which
are pairs of equilibria about to meet, or slow points where a pair has just gone. For both
the measure is a speed: that of a slow point, or the speed half-way between the two of a
pair. Where the field is changed by that much, the collision is exact.
"""

import functools
import itertools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import cgru_jax as cgru
from cgru_jax import io

jax.config.update("jax_enable_x64", True)

# Half a unit in the second decimal of b_h, seen through (tanh(…) − h)/2. Most rows have
# two decimals; what lies beyond this cannot be blamed on rounding.
ROUNDING = 0.005 / 2
WORDS = {  # one and several, in the order of table 2 and what it has no column for
    "sink": ("sink", "sinks"),
    "source": ("source", "sources"),
    "saddle": ("saddle", "saddles"),
    "saddle_node_first": ("saddle-node I", "saddle-nodes I"),
    "saddle_node_second": ("saddle-node II", "saddle-nodes II"),
    "codimension_two": ("codimension-two point", "codimension-two points"),
    "hopf": ("Hopf point", "Hopf points"),
    "degenerate": ("degenerate", "degenerate"),
    "unknown": ("unknown", "unknown"),
}


def main(out: Path, size: str = "default") -> dict:
    # The work is the same at every size: 47 rows once.
    out.mkdir(parents=True, exist_ok=True)
    rows = [examine(row) for row in cgru.ATLAS.values()]
    meant = examine(doubled(cgru.ATLAS["xxxiv"]))
    numbers = {
        "rows": rows,
        "xxxiv_with_U_h_doubled": meant,
        "verdicts": tally(rows),
        "claims": claims(rows, meant),
        "tables": [
            table("figures", rows[:11]),
            table("catalogue", rows[11:]),
            degenerate_points(rows),
        ],
        "figures": [],
    }
    io.write_json(out / "atlas.json", numbers)
    return numbers


def equilibria(row):
    return cgru.enumerate_equilibria(cgru.Flow(row.cell()))


def doubled(row):
    """The row with 2 U_h, as the portrait of xxxiv needs it."""
    U_h = tuple(tuple(2 * u for u in line) for line in row.U_h)
    return cgru.AtlasRow(**{**vars(row), "U_h": U_h, "note": ""})


def examine(row):
    found = equilibria(row)
    valid = np.asarray(found.valid)
    points = np.asarray(found.points)[valid]
    kinds = names(found.kind, valid)
    determinants = np.prod(np.asarray(found.eigenvalues)[valid], axis=1).real
    verdict, evidence = compare(row, points, kinds)
    return {
        "name": row.name,
        "page": row.page,
        "figure": row.figure,
        "printed": row.printed,
        "printed_index_sum": row.printed and row.printed.index_sum,
        "found": {kind: kinds.count(kind) for kind in WORDS if kind in kinds},
        "count": int(found.count),
        "index_sum": float(found.index_sum),
        "complete": bool(found.complete),
        "points": points,
        "kinds": kinds,
        "index": np.asarray(found.index)[valid],
        "multiplicity": np.asarray(found.multiplicity)[valid],
        "coefficient": np.asarray(found.coefficient)[valid],
        "smallest_determinant": float(np.abs(determinants).min()),
        "verdict": verdict,
        "evidence": evidence,
        "note": row.note,
    }


def names(kind, valid):
    members = {word: np.asarray(kind == getattr(cgru.KINDS, word)) for word in WORDS}
    return [next(w for w in WORDS if members[w][i]) for i in np.flatnonzero(valid)]


def compare(row, points, kinds):
    """A verdict, and for each collision that the decimals have missed how far it is.

    `agrees`: all counts as printed, the kind of a collision as found. `beside`: they are
    once the nearest pairs are merged, or the slowest slow points counted, all of them
    within rounding. `index`: the printed counts break Poincaré–Hopf. `differs`: the rest.
    `unprinted`: the paper gives no counts.
    """
    printed = row.printed
    if printed is None:
        return "unprinted", []
    surplus = {
        "sink": kinds.count("sink") - printed.sinks,
        "source": kinds.count("source") - printed.sources,
        "saddle": kinds.count("saddle") - printed.saddles,
    }
    met = kinds.count("saddle_node_first") + kinds.count("saddle_node_second")
    rest = len(kinds) - met - sum(kinds.count(kind) for kind in surplus)
    same_rest = kinds.count("codimension_two") == rest == printed.codimension_two
    if same_rest and not any(surplus.values()) and met == printed.collisions:
        return "agrees", []
    pairs = surplus["sink"] + surplus["source"]
    gone = printed.collisions - met - pairs
    possible = (
        same_rest
        and min(surplus["sink"], surplus["source"], gone) >= 0
        and pairs == surplus["saddle"]
    )
    if possible:
        evidence = missed(row, points, kinds, surplus, gone)
        if len(evidence) == pairs + gone and all(e["speed"] <= ROUNDING for e in evidence):
            return "beside", evidence
        return "differs", evidence
    return ("differs" if printed.index_sum == 1 else "index"), []


def missed(row, points, kinds, surplus, gone):
    """The pairs nearest to a collision and the slowest points, as many as are asked for."""
    cell = row.cell()
    pairs = [
        (i, j)
        for i, j in itertools.permutations(range(len(kinds)), 2)
        if kinds[i] in ("sink", "source") and kinds[j] == "saddle"
    ]
    between = [(points[i] + points[j]) / 2 for i, j in pairs]
    speeds = speed_at(cell, between)
    evidence, used, wanted = [], set(), dict(surplus)
    for k in np.argsort(speeds):
        i, j = pairs[k]
        if wanted[kinds[i]] > 0 and not {i, j} & used:
            used |= {i, j}
            wanted[kinds[i]] -= 1
            evidence.append(
                {
                    "what": f"{kinds[i]}–saddle pair",
                    "near": between[k],
                    "distance": float(np.linalg.norm(points[i] - points[j])),
                    "speed": float(speeds[k]),
                }
            )
    if gone:
        slow = [(v, p) for v, p in slow_points(cell) if far(p, points)]
        evidence += [{"what": "slow point", "near": p, "speed": v} for v, p in slow[:gone]]
    return evidence


def far(place, points):
    return np.linalg.norm(points - place, axis=1).min() > 1e-3


def slow_points(cell):
    """Local minima of the speed that are no equilibria, slowest first: found on a grid,
    then refined by Newton's method on the square of the speed."""
    # A little beyond the box of the equilibria: what has gone may have met at its edge.
    axis = np.linspace(-1.1, 1.1, 201)
    on_grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    v = np.asarray(speed(cell, on_grid.reshape(-1, 2))).reshape(201, 201)
    padded = np.pad(v, 1, constant_values=np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).min(axis=(2, 3))
    # 128: along a slow valley the grid has many false minima; one shape, one compilation.
    starts = on_grid[v == around][np.argsort(v[v == around])][:128]
    starts = np.concatenate([starts, np.tile(starts[:1], (128 - len(starts), 1))])
    places, speeds, settled = map(np.asarray, refine(cell, starts))
    found = []
    for i in np.argsort(speeds):
        new = all(np.linalg.norm(places[i] - p) > 1e-4 for _, p in found)
        if settled[i] and new and speeds[i] > 1e-9:
            found.append((float(speeds[i]), places[i]))
    return found


def speed_at(cell, places):
    # Always 64 of them: one shape, one compilation. Ten equilibria have 25 pairs at most.
    padded = np.zeros((64, 2))
    padded[: len(places)] = np.reshape(places, (-1, 2))
    return np.asarray(speed(cell, padded))[: len(places)]


@eqx.filter_jit
def speed(cell, places):
    return jnp.linalg.norm(jax.vmap(cgru.Flow(cell).residual)(places), axis=-1)


@eqx.filter_jit
@functools.partial(jax.vmap, in_axes=(None, 0))
def refine(cell, place):
    def energy(h):
        return jnp.sum(cgru.Flow(cell).residual(h) ** 2) / 2

    def step(_, h):
        # |eigenvalues| make it a descent even where the energy curves downwards.
        values, vectors = jnp.linalg.eigh(jax.hessian(energy)(h))
        slope = vectors.T @ jax.grad(energy)(h)
        move = vectors @ (slope / jnp.maximum(jnp.abs(values), 1e-12))
        return h - move * jnp.minimum(1, 0.02 / jnp.linalg.norm(move))

    h = jax.lax.fori_loop(0, 60, step, place)
    v = jnp.sqrt(2 * energy(h))
    minimum = jnp.linalg.eigvalsh(jax.hessian(energy)(h))[0] > 0
    still = jnp.linalg.norm(jax.grad(energy)(h)) < 1e-9
    return h, v, minimum & still & (jnp.max(jnp.abs(h)) <= 1.1)


def tally(rows):
    """Names of the catalogue's rows by verdict."""
    catalogue = rows[11:]
    return {
        verdict: [row["name"] for row in catalogue if row["verdict"] == verdict]
        for verdict in ("agrees", "beside", "index", "differs")
    }


def claims(rows, meant):
    by_name = {row["name"]: row for row in rows}
    verdicts = tally(rows)
    sums = {row["name"]: row["index_sum"] for row in rows}
    off = [name for name, total in sums.items() if total != 1]
    of_figure = [
        figure_claim(by_name[name], text)
        for name, text in (
            ("2", "Figure 2: two independent bistable units have 9 fixed points, 4 stable"),
            ("3a", "Figure 3A: 11 fixed points"),
            ("3b", "Figure 3B: a codimension-two point and two saddle-nodes"),
            ("3c", "Figure 3C: a saddle-node of the second kind"),
            ("6", "Figure 6: the nullclines meet at one point"),
            ("7", "Figure 7: one sink"),
        )
    ]
    zeros = [
        {
            "claim": f"Figure {name.upper()}: a codimension-two point at the origin",
            "paper": "1",
            "found": f"{by_name[name]['found'].get('codimension_two', 0)}",
            "agrees": by_name[name]["found"].get("codimension_two", 0) == 1,
            "note": "the Jacobian vanishes there; index "
            f"{index} by the winding of the field around it",
        }
        for name, index in (("4a", "+1"), ("4b", "+2"))
    ]
    whole = {
        "claim": "Table 2: 36 structures at the parameters of table 3",
        "paper": "36",
        "found": f"{len(verdicts['agrees'])} as printed, {len(verdicts['beside'])} beside "
        f"a collision, {len(verdicts['index'] + verdicts['differs'])} not",
        "agrees": len(verdicts["agrees"]) == 36,
        "note": "; ".join(f"{k}: {', '.join(v)}" for k, v in verdicts.items() if v),
    }
    printed_sums = {
        "claim": "The printed counts obey Poincaré–Hopf",
        "paper": "index sum +1 in every row",
        "found": ", ".join(
            f"{row['name']}: {row['printed_index_sum']}"
            for row in rows
            if row["printed"] and row["printed_index_sum"] != 1
        ),
        "agrees": False,
        "note": "the field of a GRU points into the box; see the notes of these rows",
    }
    proved = [row["name"] for row in rows if row["complete"]]
    undecided = [row["name"] for row in rows if not row["complete"]]
    found_sums = {
        "claim": "All equilibria of all 47 rows are known, and obey Poincaré–Hopf",
        "paper": "a theorem",
        "found": f"complete, proved, in {len(proved)}"
        + (f"; undecided: {', '.join(undecided)}" if undecided else "")
        + f"; index sum +1 in {len(sums) - len(off)}"
        + (f"; not in {', '.join(off)}" if off else ""),
        "agrees": not off and not undecided,
        "note": "interval branch and prune; a degenerate point counts once, its index "
        "proved on the boundary of a box around it",
    }
    typo = {
        "claim": "Row xxxiv has 10 fixed points, one of them a collision",
        "paper": short(cgru.ATLAS["xxxiv"].printed),
        "found": f"{by_name['xxxiv']['count']} as printed",
        "agrees": by_name["xxxiv"]["verdict"] in ("agrees", "beside"),
        "note": f"with U_h = 2 in place of 1: {describe(meant)}; {reason(meant)}; beside "
        "the printed structure",
    }
    return [*of_figure, *zeros, whole, printed_sums, found_sums, typo]


def figure_claim(row, text):
    return {
        "claim": text,
        "paper": short(row["printed"]),
        "found": describe(row),
        "agrees": {"agrees": True, "beside": None}.get(row["verdict"], False),
        "note": reason(row),
    }


def describe(row):
    return listing(row["count"], row["found"])


def short(printed):
    return listing(printed.total, dict(zip(WORDS, printed, strict=False)))


def listing(total, counts):
    kinds = [f"{n} {WORDS[kind][n > 1]}" for kind, n in counts.items() if n]
    return f"{total}: {', '.join(kinds)}"


def reason(row):
    """Why a row's counts differ from the printed ones, in a few words."""
    parts = [
        f"{e['what']}"
        + (f", {e['distance']:.2g} apart" if "distance" in e else "")
        + f", speed {e['speed']:.1e}"
        for e in row["evidence"]
    ]
    times = {part: parts.count(part) for part in parts}
    parts = [part if n == 1 else f"{n} × {part}" for part, n in times.items()]
    if row["verdict"] == "differs" and not parts:
        parts.append("no merging of pairs or slow points gives the printed counts")
    return "; ".join([*parts, *([row["note"]] if row["note"] else [])])


def table(title, rows):
    return {
        "title": f"The {title} at the printed parameters",
        "columns": [
            "row",
            "printed",
            "found",
            "index sum",
            "proof",
            "min |det J|",
            "verdict",
            "why",
        ],
        "rows": [
            [
                row["name"],
                short(row["printed"]) if row["printed"] else "–",
                describe(row),
                f"{row['index_sum']:+.0f}",
                "complete, proved" if row["complete"] else "undecided",
                f"{row['smallest_determinant']:.1e}",
                row["verdict"],
                reason(row),
            ]
            for row in rows
        ],
    }


def degenerate_points(rows):
    """Kind, multiplicity, index and normal form of every point that is not simple."""
    return {
        "title": "The exactly degenerate points at the printed parameters (each within "
        "1e-12 of them)",
        "columns": ["row", "x", "y", "kind", "multiplicity", "index", "coefficient"],
        "rows": [
            [
                row["name"],
                f"{point[0]:.6f}",
                f"{point[1]:.6f}",
                WORDS[kind][0],
                "–" if np.isnan(many) else f"{many:.0f}",
                f"{index:+.0f}",
                "–" if np.isnan(coefficient) else f"{coefficient:.6g}",
            ]
            for row in rows
            for point, kind, many, index, coefficient in zip(
                np.round(row["points"], 6) + 0.0,  # no minus before a zero
                row["kinds"],
                row["multiplicity"],
                row["index"],
                row["coefficient"],
                strict=True,
            )
            if many != 1
        ],
    }


if __name__ == "__main__":
    main(Path("results/atlas"))
