"""What the README shows is what happens."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from cgru_jax import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)

INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e "
REPRODUCE = INSTALL + ". && .venv/bin/cgru-jax reproduce"
TEST = INSTALL + "'.[test]' && .venv/bin/pytest"
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


def test_the_python_blocks_print_what_stands_below_them():
    names, shown = {}, io.StringIO()
    for (kind, text), (_, below) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind == "python":
            with contextlib.redirect_stdout(shown):
                exec(compile(text, "README.md", "exec"), names)
            assert shown.getvalue() == below
            shown.truncate(shown.seek(0))
    assert names


def test_the_two_commands_stand_in_the_readme_and_lead_somewhere():
    assert REPRODUCE in COMMANDS
    assert TEST in COMMANDS
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"cgru-jax": f"{cli.main.__module__}:{cli.main.__name__}"}
    assert "reproduce" in list(cli.app)
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").open()}
    extras = project["optional-dependencies"]["test"]
    assert "pytest" in pinned
    assert any(extra.startswith("pytest>") for extra in extras)
    # Its own environment is how CI follows the second command, word for word.
    script = (ROOT / ".ci" / "run").read_text().replace('"', "")
    for step in ("pip install -q -c constraints.txt -e '.[test]'\n", "bin/pytest\n"):
        assert "$bin/" + step.removeprefix("bin/") in script


def test_the_other_commands_run(tmp_path):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    others = [line for line in COMMANDS if line not in (REPRODUCE, TEST)]
    assert others
    for line in others:
        program, *arguments = shlex.split(line)
        assert program == "cgru-jax"
        done = subprocess.run(
            [sys.executable, "-m", "cgru_jax", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") > 2
    assert (tmp_path / "results" / "eleven" / "portrait.png").exists()


def test_the_blocks_are_of_kinds_that_are_checked():
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "text"}


def test_what_it_links_to_is_there():
    for path in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / path).stat().st_size < 500_000
    for path in re.findall(r"`([a-z]+/[a-z./]*|[A-Z]+\.md)`", README):
        assert (ROOT / path).exists() or path.startswith("results/"), path
