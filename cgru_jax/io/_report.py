"""One page that shows what was run: self-contained, without scripts or links."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from .._files import write_bytes

VERDICTS = {True: "agree", False: "differ", None: "open"}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto;
       padding: 0 1rem; color: #1a1a1a; background: #fff; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0;
         border-bottom: 1px solid #ddd; }
.agree { color: #00664d; } .differ { color: #a63d00; font-weight: 600; }
.open, .note, figcaption { color: #555; } .failed { color: #a63d00; font-weight: 600; }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; }
"""


def write_report(
    path: Path,
    summary: Mapping,
    folder: Path,
    title: str = "What the papers say, and what is found",
) -> Path:
    """Write `summary` as one HTML page with every figure inlined.

    **Arguments:**

    - `summary`: plain values. `experiments` is a list with, for each, `name`, `title`,
      `cpu_seconds`, `error` (or None), `claims`, `tables` and `figures`; all else goes into
      the line under the heading.
    - `folder`: where the figures lie, `folder/NAME/FILE`.
    - `title`: the heading.

    **Returns:** the path.
    """
    experiments = summary["experiments"]
    about = {k: v for k, v in summary.items() if not isinstance(v, list | dict)}
    rows = [
        (f'<a href="#{escape(e["name"])}">{escape(e["name"])}</a>', *_claim(claim))
        for e in experiments
        for claim in e["claims"]
    ]
    failed = [
        f'<p class="failed">{escape(e["name"])} failed: {escape(e["error"])}</p>'
        for e in experiments
        if e["error"]
    ]
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(tally(summary))}</p>",
        *failed,
        _table("", ("experiment", "claim", "paper", "found", "verdict"), rows),
        "<p>" + " · ".join(f"{escape(k)} {_cell(v)}" for k, v in about.items()) + "</p>",
        *(_section(e, folder / e["name"]) for e in experiments),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # A promise that the browser keeps: nothing is fetched, nothing is run.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>cgru_jax: {escape(title)}</title>\n<style>{_STYLE}</style>\n"
        "</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )
    return write_bytes(path, page.encode())


def tally(summary: Mapping) -> str:
    """How many claims agree with the paper, and what is missing, in a line."""
    experiments = summary["experiments"]
    verdicts = [claim["agrees"] for e in experiments for claim in e["claims"]]
    counts = [f"{verdicts.count(v)} {VERDICTS[v]}" for v in (True, False, None)]
    failed = sum(e["error"] is not None for e in experiments)
    missing = summary["planned"] - len(experiments)
    return (
        f"experiments: {len(experiments)} run, {failed} failed, {missing} not run; "
        f"claims: {', '.join(counts)}"
    )


def _section(experiment: Mapping, folder: Path) -> str:
    name = escape(experiment["name"])
    parts = [f'<h2 id="{name}">{name}: {escape(experiment["title"])}</h2>']
    seconds = experiment["cpu_seconds"]
    if experiment["error"]:
        parts.append(f'<p class="failed">Failed: {escape(experiment["error"])}</p>')
    if seconds is not None:
        parts.append(f'<p class="note">{seconds:.1f} CPU-seconds</p>')
    if experiment["claims"]:
        columns = ("claim", "paper", "found", "verdict")
        parts.append(_table("Claims", columns, map(_claim, experiment["claims"])))
    for table in experiment["tables"]:
        cells = ([_cell(value) for value in row] for row in table["rows"])
        parts.append(_table(table["title"], table["columns"], cells))
    for figure in experiment["figures"]:
        picture = base64.b64encode((folder / figure["file"]).read_bytes()).decode()
        caption = escape(figure["caption"])
        parts.append(
            f'<figure><img alt="{caption}" src="data:image/png;base64,{picture}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return "\n".join(parts)


def _claim(claim: Mapping) -> tuple[str, ...]:
    verdict = VERDICTS[claim["agrees"]]
    note = f'<br><span class="note">{_cell(claim["note"])}</span>' if claim["note"] else ""
    return (
        _cell(claim["claim"]) + note,
        _cell(claim["paper"]),
        _cell(claim["found"]),
        f'<span class="{verdict}">{verdict}</span>',
    )


def _table(title: str, columns: Sequence[str], rows: Iterable) -> str:
    head = "".join(f"<th>{escape(str(column))}</th>" for column in columns)
    lines = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return (
        f'<div class="wide"><table>{caption}\n<tr>{head}</tr>\n'
        + "\n".join(lines)
        + "\n</table></div>"
    )


def _cell(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(k))}: {_cell(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return escape(str(value))
