"""The order of imports, and what does not belong into the repository."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cgru_jax"


def layout() -> dict[str, tuple[int, int]]:
    """Module -> (line of the block, place inside its folder), from CONTRIBUTING.md."""
    block = re.search(r"```\n( 1  .*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    places = {}
    for line, entry in enumerate(block.group(1).splitlines()):
        for name, leaves in re.findall(r"(\w+)(?:\.py|/)(?: \(([^)]*)\))?", entry):
            assert name not in places, f"{name} stands twice in the layout"
            for place, leaf in enumerate(leaves.split()):
                places[f"{name}.{leaf}"] = line, place
            # A folder's __init__ gathers all its leaves.
            places[name] = line, len(leaves.split())
    return places


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(
        ".__init__"
    )


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere but under TYPE_CHECKING."""
    folder = path.relative_to(PACKAGE).parent.parts
    found = set()

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.split(".")[0] != "cgru_jax", (
                    f"{path}: use relative imports"
                )
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            found.update(resolve(node.level, node.module or "", names))
        for child in ast.iter_child_nodes(node):
            visit(child)

    def resolve(level, module, names):
        if not level:
            assert not module.startswith("cgru_jax"), f"{path}: import relatively"
            return
        base = list(folder[: len(folder) + 1 - level]) + module.split(".") * bool(module)
        for name in names:
            target = PACKAGE.joinpath(*base, name)
            if target.with_suffix(".py").exists() or target.is_dir():
                yield ".".join([*base, name])
            elif base:
                yield ".".join(base)

    visit(ast.parse(path.read_text()))
    return found


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_imports_only_from_above(path):
    places = layout()
    module = module_of(path)
    assert module in places, f"{module} has no place in the layout of CONTRIBUTING.md"
    line, place = places[module]
    for other in imports(path):
        assert other in places, f"{other} has no place in the layout of CONTRIBUTING.md"
        if other.split(".")[0] == module.split(".")[0]:
            assert places[other][1] < place, f"{module} imports {other}, to its right"
        else:
            assert places[other][0] < line, f"{module} imports {other}, not above it"


def test_the_layout_names_no_ghosts():
    assert set(layout()) == {module_of(path) for path in FILES}


def test_this_test_sees_an_import_upwards(tmp_path, monkeypatch):
    # The rule is worth what its reader sees: inside functions, and not for type checkers.
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "io").mkdir()
    (tmp_path / "cli.py").write_text("")
    file = tmp_path / "io" / "_x.py"
    file.write_text(
        "if TYPE_CHECKING:\n    from .._a import b\n"
        "def f():\n    from .. import cli\n    from ._y import z\n"
    )
    assert imports(file) == {"cli", "io._y"}


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_lock_files_and_no_addresses_of_registries():
    locks = {"poetry.lock", "uv.lock", "Pipfile.lock", "pdm.lock", "pixi.lock", "pip.conf"}
    # Where packages come from is the business of the machine that installs them.
    source = re.compile(r"https?://|--(extra-)?index-url|--find-links")
    for path in tracked():
        assert path.name not in locks, path
        if path.name in {"pyproject.toml", "constraints.txt", "README.md", "run"}:
            assert not source.search(path.read_text()), path


def test_every_constraint_is_a_name_and_a_version():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!]+", line) for line in lines)
    names = [line.split("==")[0].lower().replace("_", "-") for line in lines]
    assert names == sorted(set(names)), "sorted, each once"
    assert "cgru-jax" not in names
