"""Importing the package costs nothing and changes nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import cgru_jax as cgru

ROOT = Path(__file__).parent.parent


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_import_alone_loads_no_jax():
    code = """
import sys
before = set(sys.modules)
import cgru_jax
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names)))
"""
    assert run(code).strip() == "['cgru_jax']"


def test_using_the_package_changes_no_configuration_of_jax():
    # In a process of its own: conftest has switched double precision on in this one.
    code = """
import jax
import equinox, diffrax  # what they change is their own affair
before = dict(jax.config.values)
import cgru_jax as cgru
for name in cgru.__all__:
    getattr(cgru, name)
from cgru_jax import io, plot, cli
after = dict(jax.config.values)
print([name for name in before if before[name] is not after[name]])
"""
    assert run(code).strip() == "[]"


def test_every_public_name_resolves():
    for name in cgru.__all__:
        assert getattr(cgru, name) is not None
    assert set(cgru.__all__) <= set(dir(cgru))


def test_editors_see_the_names_that_the_table_holds():
    tree = ast.parse((ROOT / "cgru_jax" / "__init__.py").read_text())
    for_editors = {
        alias.asname: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        for alias in node.names
    }
    assert for_editors == cgru._HOMES


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(cgru, "find_equilibrium")


def test_help_and_version_answer_at_once():
    # Imports counted, not only timed: a slow machine must not make this fail.
    code = """
import sys, time
from cgru_jax.cli import main
status = main(sys.argv[1:])
heavy = {"jax", "jaxlib", "numpy", "matplotlib", "equinox"} & set(sys.modules)
print("status", status, sorted(heavy), time.process_time() < 0.5)
"""
    for argument in ("--help", "--version"):
        out = run(code, argument).splitlines()
        assert out[-1] == "status 0 [] True"
        assert ("analyse" in "".join(out)) == (argument == "--help")
    assert out[0] == cgru.__version__
