"""The command line's `theory`: what is known of large random networks.

Registered by cli.py. Heavy modules are imported inside the commands.
"""

import difflib
import math
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

app = cyclopts.App(
    name="theory",
    help="What random matrices say about large random networks. Gains (g_h …), means (m_h "
    "…) and spreads (s_h …) are given as name=value; what is missing is zero.",
    result_action="return_value",
)
_Flag = Annotated[bool, Parameter(negative="")]
# Where the spectrum is counted and drawn.
_RADII = (0.01, 0.03, 0.1, 0.3)
_GRID = 90
_LAGS = 128  # of the correlation functions of lasting chaos


@app.command
def spectrum(
    *numbers: str, cell: str = "gru", out: Path | None = None, json: _Flag = False
) -> int:
    """Print static states, their spectral edge and the share of slow modes.

    Parameters
    ----------
    numbers
        g_h=3 g_r=2 g_z=10 …; of an LSTM g_f, g_i, g_o, g_c. z is the update rate.
    cell
        gru, reset_after or lstm.
    out
        A folder for spectrum.json and boundary.png.
    json
        Print one JSON document instead of a table.
    """
    ensemble = _ensemble(cell, numbers)
    from . import _mean_field as theory
    from ._results import name

    found = theory.solve_mean_field(ensemble)
    variances = [float(q) for q in found.variance[found.valid]]
    disc = theory.zero_state_disc(ensemble)
    critical = float(theory.critical_gain(ensemble))
    states = []
    silent = name(found.result) == "no_root"
    for q in [0.0] if silent else variances:
        edge = theory.spectral_edge(ensemble, q)
        state = theory.resting_coefficients(ensemble, q)
        masses = {f"{r:g}": float(theory.eigenvalue_mass(state, 1.0, r)) for r in _RADII}
        row = {
            "variance": q,
            "stability": float(edge.stability),
            "edge": float(edge.edge),
            "log_excess": float(edge.log_excess),
            "mass_near_one": masses,
        }
        states.append(row)
    document = {
        "cell": cell,
        "ensemble": _plain(ensemble),
        "result": name(found.result),
        "critical_gain": critical,
        "zero_state": {"centre": float(disc.centre), "radius": float(disc.radius)},
        "static_states": states,
    }
    # The last state of the list has the largest variance.
    picture = lambda: _draw_spectrum(theory, state, states[-1], out / "boundary.png")
    lines = [f"static states: {name(found.result)}; critical gain {critical:.6g}"]
    head = ["variance", "stability", "edge", "log(edge - 1)"]
    head += [f"within {r:g}" for r in _RADII]
    rows = [
        [*(row[k] for k in ("variance", "stability", "edge", "log_excess")),
         *row["mass_near_one"].values()] for row in states
    ]  # fmt: skip
    lines += _table(head, rows)
    _answer(document, lines, "spectrum", out, json, picture if states else None)
    return 0 if name(found.result) in ("successful", "no_root") else 1


@app.command(name="phase-diagram")
def phase_diagram(
    *,
    m_r: Annotated[float, Parameter(allow_leading_hyphen=True)] = 0.0,
    largest: float = 50.0,
    points: int = 12,
    out: Path | None = None,
    json: _Flag = False,
) -> int:
    """Print the thresholds of g_h against g_r for random GRUs without other biases.

    In ascending order: where fixed points become exponentially many, where nonzero static
    states appear, where chaos can last (for an update rate of one half), and where zero
    loses its stability. What has no value says why.

    Parameters
    ----------
    m_r
        The mean bias of the reset gate.
    largest
        The largest g_r.
    points
        How many values of g_r.
    out
        A folder for phase-diagram.json and lines.png.
    json
        Print one JSON document instead of a table.
    """
    if points < 2 or not 1 < largest < math.inf:
        raise ValueError(
            "phase-diagram: give at least 2 points and a largest above 1 and finite."
        )
    import numpy as np

    _use_x64()
    from . import _mean_field as theory
    from ._results import name

    gains = np.geomspace(1.0, largest, points)

    def thresholds(g_r):
        ensemble = theory.GRUEnsemble(g_h=1, g_r=g_r, m_r=m_r)
        return {
            "topology": theory.topology_threshold(ensemble),
            "fold": theory.fold_gain(ensemble),
            "chaos": theory.dynamic_threshold(ensemble, lags=_LAGS),
        }

    # One after the other: some need many more steps than others.
    found = list(map(thresholds, gains))
    critical = float(theory.critical_gain(theory.GRUEnsemble(g_h=1, m_r=m_r)))
    lines = {k: np.array([float(each[k].gain) for each in found]) for k in found[0]}
    results = {k: [name(each[k].result) for each in found] for k in found[0]}
    document = {"m_r": m_r, "critical_gain": critical, "g_r": gains} | lines
    document["results"] = results
    told = [
        [g_r, *(lines[k][i] if lines[k][i] > 0 else results[k][i] for k in lines)]
        for i, g_r in enumerate(gains)
    ]
    head = f"zero loses its stability at g_h = {critical:.6f}; no_fold: begins only there"
    lines = [head]
    lines += _table(["g_r", *results], told)
    picture = lambda: _draw_phases(document, out / "lines.png")
    _answer(document, lines, "phase-diagram", out, json, picture)
    return int(any("not_converged" in column for column in results.values()))


@app.command
def complexity(*numbers: str, out: Path | None = None, json: _Flag = False) -> int:
    """Print how fast the number of fixed points of a random GRU grows with its size.

    Parameters
    ----------
    numbers
        g_h=3 g_r=2 m_r=-1.
    out
        A folder for complexity.json.
    json
        Print one JSON document instead of a table.
    """
    ensemble = _ensemble("gru", numbers)
    from . import _mean_field as theory
    from ._results import name

    found = theory.complexity(ensemble)
    threshold = theory.topology_threshold(ensemble)
    document = {
        "ensemble": _plain(ensemble),
        "result": name(found.result),
        "rate": float(found.rate),
        "variance": float(found.variance),
        "topology_threshold": float(threshold.gain),
        "topology_result": name(threshold.result),
        "critical_gain": float(theory.critical_gain(ensemble)),
    }
    lines = [f"{key}: {document[key]}" for key in list(document)[1:]]
    _answer(document, lines, "complexity", out, json, None)
    return 0 if document["result"] in ("successful", "no_root") else 1


def _use_x64():
    import jax

    jax.config.update("jax_enable_x64", True)


def _ensemble(cell, numbers):
    """The ensemble that `name=value` pairs describe."""
    _use_x64()
    from . import _mean_field as theory

    kinds = {
        "gru": theory.GRUEnsemble,
        "reset_after": theory.ResetAfterGRUEnsemble,
        "lstm": theory.LSTMEnsemble,
    }
    if cell not in kinds:
        raise ValueError(f"--cell {cell}: there are {', '.join(kinds)}.")
    known = list(kinds[cell].__dataclass_fields__)
    given = {}
    for pair in numbers:
        key, equals, text = pair.partition("=")
        if not equals or key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}=…? " if close else ""
            raise ValueError(f"{pair}: {hint}Give name=value of {', '.join(known)}.")
        if key in given:
            raise ValueError(f"{key} is given twice.")
        try:
            given[key] = float(text)
        except ValueError:
            raise ValueError(f"{pair}: {text!r} is no number.") from None
    gains = [key for key in known if key[0] == "g"]
    # What drives a network must be said; of an LSTM every gain.
    missing = [key for key in gains if key not in given]
    if missing and (cell == "lstm" or "g_h" in missing):
        raise ValueError(f"{missing[0]} is missing: give {missing[0]}=value.")
    return kinds[cell](**given)


def _plain(ensemble):
    return {key: float(getattr(ensemble, key)) for key in ensemble.__dataclass_fields__}


def _table(head, rows):
    lines = ["  ".join(f"{word:>13}" for word in head)]
    cell = lambda x: f"{x:>13}" if isinstance(x, str) else f"{float(x):13.6g}"
    return lines + ["  ".join(map(cell, row)) for row in rows]


def _answer(document, lines, stem, out, json, picture):
    from . import io

    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        io.write_json(out / f"{stem}.json", document)
        if picture is not None:
            picture()
    print(io.to_json(document) if json else "\n".join(lines), flush=True)


def _draw_spectrum(theory, state, row, path):
    import equinox as eqx
    import jax
    import numpy as np
    from matplotlib.figure import Figure

    from . import io

    reach = max(1.2, row["edge"] + 0.2)
    x, y = np.linspace(-reach, reach, _GRID), np.linspace(-reach, reach, _GRID)
    points = (x[None, :] + 1j * y[:, None]).ravel()
    inside = eqx.filter_jit(jax.vmap(lambda p: theory.support(state, p)))(points)
    inside = np.asarray(inside).reshape(_GRID, _GRID)
    figure = Figure(figsize=(4.8, 4.4), layout="constrained")
    ax = figure.subplots()
    ax.contourf(x, y, inside, [1.0, np.inf], colors=["#56B4E9"])
    ax.contour(x, y, inside, [1.0], colors="#D55E00")
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
    ax.plot(circle.real, circle.imag, ":", color="black")
    ax.set(aspect="equal", xlabel="Re λ", ylabel="Im λ")
    io.save_figure(figure, path, {"x": x, "y": y, "support": inside})


def _draw_phases(document, path):
    from matplotlib.figure import Figure

    from . import io

    figure = Figure(figsize=(5.5, 4), layout="constrained")
    ax = figure.subplots()
    ax.axhline(document["critical_gain"], color="black", label="zero loses its stability")
    ax.plot(document["g_r"], document["fold"], "s--", color="#D55E00", label="static fold")
    chaos = dict(color="#009E73", label="chaos can last, z = 1/2")
    ax.plot(document["g_r"], document["chaos"], "^-.", **chaos)
    label = "exponentially many fixed points"
    ax.plot(document["g_r"], document["topology"], "o:", color="#0072B2", label=label)
    ax.set(xscale="log", xlabel="gain g_r of the reset gate")
    ax.set(ylabel="gain g_h of the candidate")
    ax.legend()
    io.save_figure(figure, path, document)
