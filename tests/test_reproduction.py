"""Every experiment at its quick size, run once, as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Experiments of which every claim holds, as far as it is answered at this size.
WHOLE = ["branches", "design_cycle", "map_to_flow", "rotation_cycle", "sectors"]
WHOLE += ["two_parameters"]


@pytest.mark.slow
def test_a_quick_reproduction_is_whole_and_quick_and_finds_what_is_known(tmp_path):
    alone = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    started = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "cgru_jax", "reproduce", "--quick", "--out", str(tmp_path)],
        env=alone | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    ended = os.times()
    assert done.returncode == 0, done.stderr
    spent = ended.children_user + ended.children_system
    assert spent - started.children_user - started.children_system < 180
    assert len(list(tmp_path.rglob("*.png"))) >= 10

    numbers = {}
    for path in (ROOT / "experiments").glob("[!_]*.py"):
        folder = tmp_path / path.stem
        numbers[path.stem] = found = json.loads((folder / "numbers.json").read_text())
        for figure in found["figures"]:
            assert figure["caption"], path.stem
            large = {"portraits": 50_000, "one_unit": 5_000}.get(path.stem, 10_000)
            assert (folder / figure["file"]).stat().st_size > large, figure["file"]
            assert json.loads((folder / figure["file"]).with_suffix(".json").read_text())

    refused = {
        name: [c["claim"] for c in found["claims"] if c["agrees"] is False]
        for name, found in numbers.items()
    }
    assert not any(refused[name] for name in WHOLE)
    assert all(c["agrees"] for name in WHOLE[1:] for c in numbers[name]["claims"])
    # At its printed parameters figure 6 has no slow point.
    assert refused["portraits"] == ["Figure 6: a pseudo-line attractor"]
    assert [c["agrees"] for c in numbers["slow_points"]["claims"][:4]] == [
        True,
        True,
        False,
        True,
    ]
    # Of the normal form, computed otherwise in experiments/slow_cycle.py; the fold has ten
    # digits, of which a distance of 1e-6 leaves four.
    assert abs(numbers["slow_points"]["scaling"]["period_times_root"] - 27.04397) < 1e-3
    sectors = numbers["sectors"]
    for name, counts in sectors["sectors"].items():
        assert counts["index"] == sectors["degrees"][name]
