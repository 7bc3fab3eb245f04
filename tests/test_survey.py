"""Surveys on disk: whatever happens to the process, the answer is the same, bit for bit."""

import concurrent.futures
import errno
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import cli
from cgru_jax._survey import _part, _work, parse_shard, shard_of_slurm
from cgru_jax._survey._folder import Folder

ROOT = Path(__file__).parent.parent


def cheap(plan, part):
    """In place of the proofs: something that depends on every number that is drawn."""
    arrays = plan.draw(*plan.span(part))
    sums = sum(abs(a).reshape(len(a), -1).sum(axis=1) for a in arrays.values())
    saddles = (1000 * sums % 7).astype(np.uint8)
    none = np.zeros_like(saddles)
    columns = dict(
        zip(_part.COUNTS, (saddles + np.uint8(1), saddles, none, none), strict=True)
    )
    columns["index_sum"] = [1] * len(sums)
    columns["complete"] = np.ones(len(sums), bool)
    columns["result"] = ["successful"] * len(sums)
    return columns, []


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(_work, "examine", cheap)
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"])  # the command adds to it


PLAN = cgru.SurveyPlan("wide", 8_999, seed=3)


def census(out, *more, samples="8999", distribution="wide", seed="3"):
    return ["census", "--distribution", distribution, "--samples", samples,
            "--seed", seed, "--out", str(out), *more]  # fmt: skip


def files(folder):
    """Every file that has its name, and what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def whole(quick, tmp_path):
    """The folder of an uninterrupted survey."""
    folder = tmp_path / "whole"
    cgru.survey(PLAN, folder)
    return folder


# --- what is drawn -----------------------------------------------------------------------


def test_a_network_depends_on_its_number_and_not_on_how_many_there_are():
    more = cgru.SurveyPlan("wide", 10**12, seed=3, keep="rare")
    few, many = PLAN.draw(2_500, 4_200), more.draw(1_000, 5_000)
    for name, array in few.items():
        assert np.array_equal(array, many[name][1_500:3_200])
    assert not np.array_equal(few["U_h"][0], PLAN.draw(0, 1)["U_h"][0])
    other = cgru.SurveyPlan("wide", 8_999, seed=4).draw(2_500, 2_501)
    assert not np.array_equal(few["U_h"][0], other["U_h"][0])


def test_the_distributions_are_what_they_say():
    size = 40_000
    wide = cgru.SurveyPlan("wide", size).draw(0, size)
    for name, most in (("U_h", 6), ("U_r", 10), ("b_h", 1), ("b_r", 5)):
        # The variance of a uniform law, to five of its standard deviations, √(4/5/n).
        assert np.abs(wide[name]).max() < most
        assert np.isclose(wide[name].var(), most**2 / 3, rtol=5 * np.sqrt(0.8 / size))
    gauss = cgru.SurveyPlan("gauss", size, cell="lstm", units=1).draw(0, size)
    assert set(gauss) == {f"{a}_{k}" for a in "Ub" for k in "fioc"}
    for name, array in gauss.items():
        deviation = 3 if name[0] == "U" else 1
        assert np.isclose(array.std(), deviation, rtol=5 / np.sqrt(2 * size))
    # Table 3: each of 36 rows as often, so that the mean is that of the rows.
    paper = cgru.SurveyPlan("paper", size, cell="reset_after", gates=True).draw(0, size)
    assert set(paper) == {"U_h", "U_r", "U_z", "b_h", "b_r", "b_z", "c_h"}
    rows = [row for row in cgru.ATLAS.values() if row.page == 16]
    mean = np.mean([row.b_r for row in rows], axis=0)
    off = np.abs(paper["b_r"].mean(axis=0) - mean)
    assert np.all(off < 5 * paper["b_r"].std(axis=0) / np.sqrt(size))


def test_a_file_says_how_each_array_is_drawn(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        "U_r = {normal = [[[9, 0], [0, 9]], 0.5]}\n"
        "b_h = {uniform = [[0.1, 0.2], 0.3]}\nb_z = {constant = -4}\n"
    )
    plan = cgru.SurveyPlan(str(file), 2_000)
    drawn = plan.draw(0, 2_000)
    assert np.all(drawn["U_h"] == 0)
    assert np.all(drawn["b_z"] == -4)
    assert np.abs(drawn["U_r"].mean(axis=0) - 9 * np.eye(2)).max() < 5 * 0.5 / np.sqrt(
        2_000
    )
    assert drawn["b_h"].min(axis=0) == pytest.approx([0.1, 0.2], abs=0.002)
    assert plan.document()["distribution"] == "file"


@pytest.mark.parametrize(
    "samples", [1, 7, 999, 1_000, 7_919, 8_000, 99_991, 10**6, 10**9, 10**12]
)
def test_parts_are_many_enough_to_resume_and_cover_every_network_once(samples):
    plan = cgru.SurveyPlan("wide", samples)
    assert plan.parts >= 8 or samples < 8_000
    assert plan.part <= 10**6
    assert plan.parts <= 1_001 or plan.part == 10**6
    ends = [plan.span(part) for part in (0, plan.parts // 2, plan.parts - 1)]
    assert ends[0][0] == 0
    assert ends[-1][1] == samples
    assert all(0 < stop - start <= plan.part for start, stop in ends)


# --- what is proved ----------------------------------------------------------------------


def test_one_unit_has_as_many_equilibria_as_its_field_has_signs(tmp_path):
    plan = cgru.SurveyPlan("wide", 300, seed=1, units=1, keep="all")
    seen = cgru.survey(plan, tmp_path)
    arrays = plan.draw(0, 300)
    U, R, b, c = (arrays[k].reshape(300, 1) for k in ("U_h", "U_r", "b_h", "b_r"))
    h = np.linspace(-1, 1, 20_001)
    with np.errstate(over="ignore"):
        field = np.tanh(U * h / (1 + np.exp(-(R * h + c))) + b) - h
    # Two equilibria within 1e-4 of each other would be missed; there are none here.
    counts = (np.diff(np.sign(field)) != 0).sum(axis=1)
    expected = {k: int((counts == k).sum()) for k in set(counts.tolist())}
    found = {}
    for (sinks, saddles, sources, others), n in seen.signatures.items():
        assert (saddles, others) == (0, 0)
        assert sinks == sources + 1
        found[sinks + sources] = n
    assert found == expected
    assert (seen.samples, seen.complete, seen.index_sums_off, seen.missing) == (
        300,
        300,
        0,
        0,
    )

    import pyarrow.parquet

    table = pyarrow.parquet.read_table(tmp_path / "parts" / "000000.parquet")
    points = np.concatenate(table["points"].to_pylist())
    which = np.repeat(np.arange(300), counts)
    r = 1 / (1 + np.exp(-(R[which, 0] * points + c[which, 0])))
    assert np.abs(np.tanh(U[which, 0] * r * points + b[which, 0]) - points).max() < 1e-14
    # At most three of a part share what is rare, and that is kept with its parameters.
    rare = json.loads((tmp_path / "rare" / "000000.json").read_text())["sets"]
    for one in rare:
        assert one["parameters"]["b_h"] == arrays["b_h"][one["sample"]].tolist()
        assert len(one["equilibria"]) == counts[one["sample"]]
    assert len(rare) == sum(n for n in expected.values() if n <= 3)


# --- what happens to the process ---------------------------------------------------------

# One process that imports once; its children are killed, and leave it unharmed.
NURSERY = """
import glob, json, os, random, signal, sys, time
import matplotlib.backends.backend_agg, pyarrow.parquet, tqdm  # once for all children
sys.path.insert(0, {tests!r})
from cgru_jax import cli
from cgru_jax._survey import _work
from test_survey import census, cheap

def slowly(plan, part):
    time.sleep(0.01)
    return cheap(plan, part)

def start(out, *more):
    child = os.fork()
    if not child:
        for stream, name in ((1, "out"), (2, "err")):
            file = os.open(out + "." + name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(file, stream)
        os._exit(cli.main(census(out, *more)))
    return child

def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def nursery(code, proofs=False, **values):
    patch = "" if proofs else "_work.examine = slowly\n"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            NURSERY.format(tests=str(ROOT / "tests")) + patch + code.format(**values),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_ten_times_it_is_what_it_would_have_been(whole, tmp_path):
    out = tmp_path / "killed"
    code = """
random.seed(1)
codes, counts = [], []
begun = time.time()
end(start({warm!r}))
whole = time.time() - begun
for _ in range(10):
    child = start({out!r})
    time.sleep(random.uniform(0, whole))
    os.kill(child, signal.SIGKILL)
    codes.append(end(child))
    counts.append(len(glob.glob({out!r} + "/parts/*.parquet")))
codes.append(end(start({out!r}, "--json")))
print(json.dumps([codes, counts]))
"""
    codes, counts = nursery(code, out=str(out), warm=str(tmp_path / "warm"))
    assert codes[-1] == 0
    assert counts == sorted(counts)  # nothing is lost
    assert files(out) == files(whole) == files(tmp_path / "warm")
    answer = json.loads(Path(f"{out}.out").read_text())
    assert answer["samples"] == 8_999


def test_two_at_once_do_no_harm_and_an_interrupted_one_says_so(whole, tmp_path):
    out = tmp_path / "shared"
    code = """
pair = [start({out!r}), start({out!r})]
codes = [end(child) for child in pair]
child = start({alone!r})
while not os.path.isdir({alone!r} + "/parts") or len(os.listdir({alone!r} + "/parts")) < 2:
    time.sleep(0.002)
os.kill(child, signal.SIGINT)
codes.append(end(child))
print(json.dumps(codes))
"""
    alone = tmp_path / "alone"
    codes = nursery(code, out=str(out), alone=str(alone))
    assert codes == [0, 0, 130]
    assert files(out) == files(whole)
    said = Path(f"{alone}.err").read_text().splitlines()[-1]
    assert said == "cgru-jax: interrupted; what was written stays"
    done = [name for name in files(alone) if name.startswith("parts")]
    assert 0 < len(done) < PLAN.parts
    assert files(alone).items() <= files(whole).items()


def test_a_full_disk_leaves_whole_parts_and_a_cure(whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "full"
    sync, left = os.fsync, [5]

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert cli.main(census(out)) == 1
    (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("cgru-jax")]
    assert "No space left on device" in said
    assert "run the same command again" in said
    there = files(out)
    assert there.items() <= files(whole).items()
    assert not list(out.rglob("*.tmp"))
    assert cli.main(census(out)) == 0
    assert files(out) == files(whole)


def test_what_the_killed_left_is_swept_up_when_it_is_old(quick, tmp_path):
    cgru.survey(PLAN, tmp_path)
    old, young = (tmp_path / "parts" / f".00000{i}.parquet.ab.tmp" for i in (1, 2))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7_200,) * 2)
    cgru.survey(PLAN, tmp_path)
    # The young one may be another's, who is about to give it its name.
    assert not old.exists()
    assert young.exists()


# --- what is in the folder ---------------------------------------------------------------


def test_another_plan_is_refused_with_the_difference(whole, capsys):
    before = files(whole)
    other = census(whole, "--keep", "rare", samples="1e4", seed="4")
    assert cli.main(other) == 2
    err = capsys.readouterr().err
    for difference in (
        "samples is 8999 there, 10000 here",
        "seed is 3 there, 4 here",
        'keep is "signatures" there, "rare" here',
    ):
        assert difference in err
    plan = json.loads((whole / "plan.json").read_text())
    plan["software"]["jax"] = "0.9.0"
    (whole / "plan.json").write_text(json.dumps(plan))
    assert cli.main(census(whole)) == 2
    assert 'software.jax is "0.9.0" there' in capsys.readouterr().err
    assert {k: v for k, v in files(whole).items() if k != "plan.json"} == {
        k: v for k, v in before.items() if k != "plan.json"
    }


def test_a_disk_without_hard_links_holds_one_plan_too(tmp_path, monkeypatch):
    def none(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    linked = Folder(PLAN, tmp_path / "linked")
    linked.claim()
    monkeypatch.setattr(os, "link", none)
    home = Folder(PLAN, tmp_path / "without")
    for _ in range(2):
        home.claim()
        assert files(home.path) == files(linked.path)
        (home.path / "plan.json").write_bytes(b"")  # killed between name and content
    home.claim()
    with pytest.raises(ValueError, match="samples is 8999 there, 7 here"):
        Folder(cgru.SurveyPlan("wide", 7, seed=3), home.path).claim()


def test_a_damaged_part_is_named_and_repaired(whole, capsys):
    before = files(whole)
    path = whole / "parts" / "000004.parquet"
    for damage in (
        lambda data: data[:-7],
        lambda data: b"",
        lambda data: before["parts/000005.parquet"],
        lambda data: os.urandom(len(data)),
    ):
        path.write_bytes(damage(before["parts/000004.parquet"]))
        assert cli.main(census(whole)) == 3
        (said,) = [x for x in capsys.readouterr().err.splitlines() if "cgru-jax" in x]
        assert "000004.parquet: damaged" in said
        assert "--repair" in said
        assert cli.main(census(whole, "--repair")) == 0
        assert files(whole) == before
        capsys.readouterr()


def test_rare_networks_that_were_changed_are_damage_too(quick, tmp_path, capsys):
    more = census(tmp_path, "--keep", "rare")
    assert cli.main(more) == 0
    before = files(tmp_path)
    path = tmp_path / "rare" / "000002.json"
    for change in (lambda: path.write_text("{}"), path.unlink):
        change()
        assert cli.main(more) == 3
        assert "000002.parquet: damaged" in capsys.readouterr().err
        assert cli.main([*more, "--repair"]) == 0
        assert files(tmp_path) == before


def test_every_single_bit_of_a_part_is_guarded(whole):
    data = (whole / "parts" / "000000.parquet").read_bytes()
    digest = PLAN.digest()
    assert _part.decode(data, PLAN, digest, 0).num_rows == 1_000
    random = np.random.default_rng(0)
    # The last 600 bytes are the footer, where a checksum of pages would see nothing.
    for place in [
        *random.integers(len(data), size=150),
        *range(len(data) - 600, len(data)),
    ]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << random.integers(8)
        with pytest.raises(_part.Damaged):
            _part.decode(bytes(flipped), PLAN, digest, 0)


def test_a_folder_that_cannot_be_trusted_is_left_alone(whole, tmp_path, capsys):
    (whole / "parts" / "7.parquet").write_bytes(b"")
    assert cli.main(census(whole)) == 3
    assert "7.parquet is no part of this survey" in capsys.readouterr().err
    (whole / "parts" / "7.parquet").unlink()
    (whole / "plan.json").write_text("{")
    assert cli.main(census(whole)) == 3
    assert "plan.json: damaged" in capsys.readouterr().err
    (whole / "plan.json").unlink()
    assert cli.main(census(whole)) == 3
    assert "plan.json is missing" in capsys.readouterr().err


def test_parts_have_one_schema_and_a_row_for_every_network(whole):
    import pyarrow.parquet

    folder = whole / "parts"
    assert sorted(whole.rglob("*.parquet")) == sorted(folder.glob("*"))
    tables = [pyarrow.parquet.read_table(path) for path in sorted(folder.glob("*"))]
    assert [t.num_rows for t in tables] == [1_000] * 8 + [999]
    assert len({str(t.schema.remove_metadata()) for t in tables}) == 1
    assert not [n for n in tables[0].column_names if "time" in n or "host" in n]
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["samples"] == sum(row["networks"] for row in summary["signatures"])
    for row in summary["signatures"]:
        assert row["share_low"] < row["share"] < row["share_high"]
    assert (whole / "signatures.png").read_bytes().startswith(b"\x89PNG")
    assert len((whole / "summary.csv").read_text().splitlines()) == 1 + 7


# --- beyond one process ------------------------------------------------------------------


def test_shards_and_executors_make_the_same_folder(whole, quick, tmp_path):
    shares = tmp_path / "shares"
    for k in (3, 1, 2):
        seen = cgru.survey(PLAN, shares, shard=(k, 3))
        # No summary before all is there.
        assert (shares / "summary.json").exists() == (k == 2)
    assert seen.missing == 0
    assert files(shares) == files(whole)
    pooled = tmp_path / "pooled"
    heard = []
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        cgru.survey(PLAN, pooled, executor=executor, callback=lambda *x: heard.append(x))
    assert files(pooled) == files(whole)
    assert heard[0] == (0, 8_999)
    assert heard[-1] == (8_999, 8_999)
    assert len(heard) == 1 + PLAN.parts


def test_a_worker_that_fails_is_heard_and_the_rest_can_be_resumed(
    whole, monkeypatch, tmp_path
):
    def broken(plan, part):
        if part == 5:
            raise RuntimeError("lost a machine")
        return cheap(plan, part)

    monkeypatch.setattr(_work, "examine", broken)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        with pytest.raises(RuntimeError, match="lost a machine"):
            cgru.survey(PLAN, tmp_path / "x", executor=executor)
        monkeypatch.setattr(_work, "examine", cheap)
        cgru.survey(PLAN, tmp_path / "x", executor=executor)
    assert files(tmp_path / "x") == files(whole)


def test_slurm_says_which_share_is_ours():
    assert shard_of_slurm({}) is None
    array = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1",
             "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "5"}  # fmt: skip
    assert shard_of_slurm(array) == (4, 5)
    # Of a batch script; its tasks are those that srun starts.
    batch = {"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}
    assert shard_of_slurm(batch) is None
    task = {"SLURM_PROCID": "2", "SLURM_NTASKS": "3", "SLURM_STEP_NUM_TASKS": "3"}
    assert shard_of_slurm(task) == (3, 3)
    assert shard_of_slurm(array | task) == (12, 15)
    assert shard_of_slurm({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert parse_shard("3/16") == (3, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_ARRAY_TASK_COUNT": "many"}, "SLURM_ARRAY_TASK_COUNT is many"),
        ({"SLURM_ARRAY_TASK_COUNT": "3"}, "3 elements with gaps"),
        ({"SLURM_STEP_NUM_TASKS": "3"}, "SLURM_PROCID is not set"),
    ],
)
def test_what_slurm_cannot_have_said_is_refused(change, message):
    array = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "12"}
    with pytest.raises(ValueError, match=message):
        shard_of_slurm(array | change)


def test_the_command_does_its_share(quick, tmp_path, capsys, monkeypatch):
    assert cli.main(census(tmp_path, "--shard", "2/3")) == 0
    assert "share 2 of 3" in capsys.readouterr().err
    for name, value in (("TASK_ID", 2), ("TASK_MIN", 1), ("TASK_COUNT", 3)):
        monkeypatch.setenv(f"SLURM_ARRAY_{name}", str(value))
    assert cli.main(census(tmp_path)) == 0
    out, err = capsys.readouterr()
    assert "share 2 of 3" in err
    assert "parts missing: 6" in out
    assert sorted(int(p.stem) for p in (tmp_path / "parts").glob("*")) == [1, 4, 7]


# --- wrong usage -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": "0"}, "samples must be at least 1, got 0"),
        ({"samples": "-5"}, "samples must be at least 1, got -5"),
        ({"samples": "1e13"}, "samples must be at most"),
        ({"samples": "9" * 30}, "samples must be at most"),
        ({"samples": "1e12"}, "has room for"),
        ({"samples": "1.5"}, "1.5 is no whole number"),
        ({"samples": "1e999999"}, "no whole number"),
        ({"samples": "many"}, "many is no whole number"),
        ({"seed": "-1"}, "seed must be"),
        ({"distribution": "gaus"}, "no distribution 'gaus': did you mean gauss"),
        ({"distribution": "none.toml"}, "none.toml: No such file"),
        ({"more": ["--cell", "gru2"]}, "no cell 'gru2': did you mean gru"),
        ({"more": ["--units", "3"]}, "units must be 1 or 2"),
        ({"more": ["--keep", "some"]}, "no keep 'some'"),
        ({"more": ["--shard", "4/3"]}, "shard must be k/n"),
        ({"more": ["--cell", "lstm", "--gates"]}, "gates is for the GRUs"),
        ({"more": ["--units", "1"], "distribution": "paper"}, "paper has two units"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(quick, capsys, tmp_path, change, message):
    more = change.pop("more", ())
    assert cli.main(census(tmp_path / "x", *more, **change)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("cgru-jax")]
    assert message in line
    assert not list(tmp_path.rglob("*.*"))  # nor a plan, which would bar the next


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("U_x = {normal = [0, 1]}", "U_x is no array of cell 'gru'"),
        ("b_h = {normal = [0, 1]}", "no recurrent matrix"),
        ("U_h = {gauss = [0, 1]}", "U_h must be"),
        ("U_h = {normal = [0, -1]}", "deviation must not be negative"),
        ("U_h = {uniform = [1, 0]}", "low must not be above high"),
        ("U_h = {normal = [0, 1, 2]}", "must be a pair"),
        ("U_h = {normal = [[1, 2], 1]}", "has shape"),
        ("U_h = {normal = [[[1], [1, 2]], 1]}", "not rectangular"),
        ("U_h = {constant = 'x'}", "must hold numbers"),
        ("U_h = {constant = nan}", "must be below"),
    ],
)
def test_a_bad_law_is_named(tmp_path, law, message):
    file = tmp_path / "law.toml"
    file.write_text(law)
    with pytest.raises(ValueError, match=message):
        cgru.SurveyPlan(str(file), 10)


def test_a_folder_that_cannot_be_written(quick, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert cli.main(census(tmp_path / "file" / "x")) == 2
    assert "file" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(quick, capsys, tmp_path, monkeypatch):
    there = importlib.util.find_spec
    absent = lambda name, *a: None if name == "pyarrow" else there(name, *a)
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    assert cli.main(census(tmp_path)) == 2
    assert "pip install 'cgru-jax[sweep]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cgru_jax", *census(tmp_path / "x", "--device", "tpu")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--device tpu: there is none" in done.stderr
    assert not (tmp_path / "x").exists()
