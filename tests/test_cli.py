"""The command line: exit codes, one line per error, and whole results."""

import ast
import dataclasses
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgru_jax import RESULTS, _analyse, _reproduce, cli

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "experiments" / "models"
PYTHON = [sys.executable, "-m", "cgru_jax"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}

GOOD = '''
"""Do two and two make <four>?

More about it."""
from matplotlib.figure import Figure
from cgru_jax import io

def main(out, size="default"):
    print("a message, not a result")
    figure = Figure()
    figure.subplots().plot([0.3, 0.7])
    io.save_figure(figure, out / "sum.png", {"y": [0.3, 0.7]})
    claims = [
        {"claim": "2 + 2", "paper": 4, "found": 4.0, "agrees": True, "note": "& <exactly>"},
        {"claim": "2 + 3", "paper": 4, "found": 5, "agrees": False},
        {"claim": "1 / 0", "agrees": None},
    ]
    return {
        "claims": claims,
        "figures": [{"file": "sum.png", "caption": "A line"}],
        "tables": [{"title": "T", "columns": ["a", "b"], "rows": [[1.25, None]]}],
        "size": size,
        "undefined": float("nan"),
    }
'''
RETURN = '"""Is it whole?"""\ndef main(out, size):\n    return '
BROKEN = {
    "raises": '"""Does it run?"""\ndef main(out, size):\n    raise OSError("one\\ntwo")',
    "no_python": "def main(out, size: return",
    "no_main": '"""Is it there?"""',
    "leaves": '"""Does it stay?"""\ndef main(out, size):\n    raise SystemExit(0)',
    "no_claims": RETURN + "{}",
    "no_picture": RETURN
    + '{"claims": [], "figures": [{"file": "none.png", "caption": "none"}]}',
    "maybe": RETURN + '{"claims": [{"claim": "it may be", "agrees": "perhaps"}]}',
    "no_json": RETURN + '{"claims": [], "x": main}',
}


@pytest.fixture
def experiments(tmp_path):
    """A folder of experiments, made from name -> source."""
    folder = tmp_path / "experiments"
    folder.mkdir()

    def make(**sources):
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source.lstrip())
        return str(folder)

    return make


def fails(capsys, status: int, message: str, *argv):
    assert cli.main(list(map(str, argv))) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(message, err)


# --- usage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("analyze x", 'Unknown command "analyze". Did you mean "analyse"'),
        ("analyse", "requires an argument"),
        ("analyse a.toml b.toml", "b.toml"),
        ("analyse a.toml --jsn", "Unknown option: --jsn. Did you mean --json"),
        ("reproduce --quick --full", "--quick and --full exclude each other"),
        ("reproduce --only", "--only needs the name"),
        ("reproduce --out", "--out requires an argument"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(capsys, argv, message):
    fails(capsys, 2, re.escape(message), *argv.split())


def test_debug_shows_where_it_happened(capsys, tmp_path):
    assert cli.main(["--debug", "analyse", str(tmp_path / "none.toml")]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_error_of_ours_is_one_line_as_well(capsys, monkeypatch, tmp_path):
    def broken(cell):
        raise RuntimeError("a\nbug")

    monkeypatch.setattr(_analyse, "analyse", broken)
    fails(capsys, 1, "unexpected RuntimeError: a bug", "analyse", MODELS / "eleven.toml")


def test_a_reader_that_leaves_early_is_no_error():
    code = """
import os, sys
from cgru_jax import cli
@cli.app.command
def talk():
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    print("hello", flush=True)
sys.exit(cli.main(["talk"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")


# --- analyse -----------------------------------------------------------------------------


def test_analyse_prints_one_document_of_json(capsys):
    assert cli.main(["analyse", str(MODELS / "eleven.toml"), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert (found["count"], found["index_sum"], len(found["equilibria"])) == (11, 1, 11)
    kinds = [row["kind"] for row in found["equilibria"]]
    assert [kinds.count(kind) for kind in ("sink", "saddle", "source")] == [5, 5, 1]
    first = [row["point"][0] for row in found["equilibria"]]
    assert first == sorted(first)


def test_analyse_writes_a_table_and_a_portrait(capsys, tmp_path):
    out = tmp_path / "new" / "folder"
    assert cli.main(["analyse", str(MODELS / "eleven.toml"), "--out", str(out)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + 11 + 1
    assert sum("sink" in line for line in table) == 5
    assert table[-1].endswith("equilibria: 11; index sum: +1; complete: proved")
    found = json.loads((out / "equilibria.json").read_text())
    portrait = json.loads((out / "portrait.json").read_text())
    assert sorted(row["point"] for row in found["equilibria"]) == sorted(portrait["points"])
    assert (out / "portrait.png").read_bytes().startswith(b"\x89PNG")


def test_equilibria_without_room_are_a_missing_part(capsys, monkeypatch):
    whole = _analyse.analyse

    def cut(cell):
        return dataclasses.replace(whole(cell), result=RESULTS.capacity)

    monkeypatch.setattr(_analyse, "analyse", cut)
    assert cli.main(["analyse", str(MODELS / "eleven.toml")]) == 1
    assert "capacity: There are more" in capsys.readouterr().out


def test_a_list_that_breaks_poincare_hopf_says_so(capsys, monkeypatch):
    whole = _analyse.analyse

    def without_one(cell):
        found = whole(cell)
        return dataclasses.replace(found, valid=found.valid.at[0].set(False))

    for analyse, said in ((whole, False), (without_one, True)):
        monkeypatch.setattr(_analyse, "analyse", analyse)
        assert cli.main(["analyse", str(MODELS / "eleven.toml")]) == 0
        assert ("must be +1" in capsys.readouterr().out) == said


@pytest.mark.parametrize(
    ("name", "content", "status", "message"),
    [
        ("x.toml", b'cell = "gru"\nU_h = [[1, 2], [3', 2, "x.toml: not valid TOML"),
        ("x.toml", b'cell = "gru"\nU_h = [[1, nan], [0, 1]]', 2, r"x.toml: .*U_h\[0, 1\]"),
        ("x.toml", b'cell = "gru"\nU_h = 1\nbh = 2', 2, "did you mean b_h"),
        ("x.json", b'{"cell": "gru", "U_h": [[1, 2]]}', 2, r"U_h .*\(1, 2\)"),
        ("x.toml", b"\xff\xfe\x00", 3, "x.toml: not UTF-8"),
    ],
)
def test_a_bad_model_has_its_status(capsys, tmp_path, name, content, status, message):
    (tmp_path / name).write_bytes(content)
    fails(capsys, status, message, "analyse", tmp_path / name)


def test_a_missing_file_a_folder_and_an_unwritable_one(capsys, tmp_path):
    fails(capsys, 2, "No such file", "analyse", tmp_path / "none.toml")
    fails(capsys, 2, "Is a directory", "analyse", tmp_path)
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "results"
    fails(capsys, 2, "file", "analyse", MODELS / "eleven.toml", "--out", out)


# --- reproduce ---------------------------------------------------------------------------


def test_one_failure_does_not_stop_the_others(capsys, experiments, tmp_path):
    folder = experiments(
        good=GOOD, zero=RETURN + '{"claims": []}', **BROKEN, _shared="1 / 0"
    )
    out = tmp_path / "results"
    argv = ["reproduce", "--experiments", folder, "--out", str(out), "--quick"]
    assert cli.main(argv) == 1
    stdout, stderr = capsys.readouterr()
    assert stdout.splitlines() == [
        f"experiments: {len(BROKEN) + 2} run, {len(BROKEN)} failed, 0 not run; "
        "claims: 1 agree, 1 differ, 1 open",
        str(out / "report.html"),
    ]
    assert "a message, not a result" in stderr

    numbers = json.loads((out / "good" / "numbers.json").read_text())
    assert (numbers["size"], numbers["undefined"]) == ("quick", None)
    assert (out / "zero" / "numbers.json").exists()
    assert not (out / "raises" / "numbers.json").exists()

    summary = json.loads((out / "summary.json").read_text())
    errors = {e["name"]: e["error"] for e in summary["experiments"]}
    assert {name for name, error in errors.items() if error} == set(BROKEN)
    assert errors["raises"] == "OSError: one two"
    for name, error in errors.items():
        assert not error or f"{name} failed: {error}" in stderr
    assert summary["experiments"][0]["title"] == "Do two and two make <four>?"
    assert summary["experiments"][0]["cpu_seconds"] > 0


def test_the_report_needs_nothing_from_outside(experiments, tmp_path):
    folder = experiments(good=GOOD, raises=BROKEN["raises"])
    cli.main(["reproduce", "--experiments", folder, "--out", str(tmp_path)])
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"<script|<link|https?:|src=\"(?!data:)|href=\"(?!#)|url\(", page)
    assert "Do two and two make &lt;four&gt;?" in page
    assert "&amp; &lt;exactly&gt;" in page
    assert page.count("data:image/png;base64,iVBOR") == 1
    assert "raises failed: OSError: one two" in page
    # The reader meets the verdicts before the first experiment.
    head = page[: page.index("<h2")]
    assert [head.count(f">{verdict}<") for verdict in ("agree", "differ", "open")] == [
        1,
        1,
        1,
    ]


def test_only_the_named_ones_run_and_in_their_order(experiments, tmp_path):
    folder = experiments(
        **dict.fromkeys(("a", "b", "portraits", "one_unit"), RETURN + "{}")
    )
    found = _reproduce.find_experiments(Path(folder))
    assert [e.name for e in found] == ["one_unit", "portraits", "a", "b"]
    argv = ["reproduce", "--experiments", folder, "--out", str(tmp_path / "r")]
    cli.main([*argv, "--only", "b", "one_unit"])
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert [e["name"] for e in summary["experiments"]] == ["one_unit", "b"]


def test_mistakes_are_found_before_any_work(capsys, experiments, tmp_path):
    ran = tmp_path / "ran"
    folder = experiments(good=f'open({str(ran)!r}, "w")')
    base = ["reproduce", "--experiments", folder]
    fails(
        capsys, 2, "no experiment godo: did you mean good", *base, "--only", "good", "godo"
    )
    (tmp_path / "file").write_text("")
    fails(capsys, 2, "file", *base, "--out", tmp_path / "file")
    none = tmp_path / "none"
    fails(
        capsys, 2, "no experiments in .*--experiments", "reproduce", "--experiments", none
    )
    assert not ran.exists()


def test_what_is_done_stays_when_interrupted(experiments, tmp_path):
    mark = tmp_path / "started"
    begin = f"import time\ndef main(out, size):\n    open({str(mark)!r}, 'w')\n"
    slow = begin + "    time.sleep(60)"
    folder = experiments(a_good=GOOD, b_slow=slow, c_never=GOOD)
    out = tmp_path / "results"
    process = subprocess.Popen(
        [*PYTHON, "reproduce", "--experiments", folder, "--out", str(out)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not mark.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == "cgru-jax: interrupted; what was written stays"
    assert "Traceback" not in stderr
    assert json.loads((out / "a_good" / "numbers.json").read_text())["size"] == "default"
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["planned"], len(summary["experiments"])) == (3, 1)
    assert "2 not run" in (out / "report.html").read_text()


EXPERIMENTS = [p for p in sorted((ROOT / "experiments").glob("*.py")) if p.name[0] != "_"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_asks_a_question_and_uses_public_names(path):
    tree = ast.parse(path.read_text())
    assert "?" in ast.get_docstring(tree).splitlines()[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cgru_jax"):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert not [name for name in names if name.startswith("_")], path
    (main,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    assert [argument.arg for argument in main.args.args] == ["out", "size"]


def test_every_exit_status_is_in_the_help():
    statuses = (cli.DONE, cli.INCOMPLETE, cli.BAD_INPUT, cli.DAMAGED, cli.INTERRUPTED)
    text = inspect.cleandoc(cli.app.help_epilogue)
    assert [int(number) for number in re.findall(r"\d+", text)] == list(statuses)
