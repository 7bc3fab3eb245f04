"""Files of a training: whole, without pickle, proved undamaged; and what is refused."""

import functools
import json

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import cgru_jax as cgru
from cgru_jax import _files, _train, cli, io
from cgru_jax._files import DamagedFile
from cgru_jax._learning import Checkpoint, _fit
from cgru_jax.io import _checkpoint

HEAD = "trajectory,time,x,y\n"


def checkpoint():
    arrays = {"a": jr.normal(jr.key(0), (2, 3)), "n": jnp.arange(4, dtype=jnp.int32)}
    return Checkpoint(70, arrays, "some key")


def test_a_checkpoint_comes_back_to_the_last_bit(tmp_path):
    mine = checkpoint()
    path = io.write_checkpoint(tmp_path / "c.npz", mine)
    back = io.read_checkpoint(path)
    assert (back.step, back.key) == (mine.step, mine.key)
    for ours, theirs in zip(mine.arrays.values(), back.arrays, strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours == theirs).all()
    # NumPy alone can look into it, without pickle.
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
    assert header["schema"] == "cgru-jax training"
    assert header["version"] == 2


def test_a_damaged_checkpoint_is_refused_wherever_it_is_damaged(tmp_path):
    path = io.write_checkpoint(tmp_path / "c.npz", checkpoint())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    mine = io.read_checkpoint(path)
    for place in rng.choice(len(whole), 60, replace=False):
        data = bytearray(whole)
        data[place] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(data))
        try:
            back = io.read_checkpoint(path)
        except DamagedFile:
            continue
        # A bit that means nothing, such as a date in the archive, changes nothing.
        assert back.step == mine.step
        assert all((a == b).all() for a, b in zip(back.arrays, mine.arrays, strict=True))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile, match="damaged"):
        io.read_checkpoint(path)
    np.savez(path, header=np.array([object()], dtype=object))
    with pytest.raises(DamagedFile, match="damaged"):
        io.read_checkpoint(path)


def test_a_checkpoint_that_is_written_can_be_read(tmp_path, monkeypatch):
    # Other files may hold 64 MiB, here 1 KiB; a checkpoint more, but not all the more.
    monkeypatch.setattr(_files, "LARGEST", 2**10)
    path = io.write_checkpoint(tmp_path / "c.npz", checkpoint())
    size = path.stat().st_size
    assert size > 2**10
    assert io.read_checkpoint(path).step == 70
    monkeypatch.setattr(_checkpoint, "LARGEST", size - 1)
    with pytest.raises(ValueError, match="fewer networks"):
        io.write_checkpoint(tmp_path / "other.npz", checkpoint())
    assert not (tmp_path / "other.npz").exists()
    with pytest.raises(DamagedFile, match="larger than"):
        io.read_checkpoint(path)


def test_a_log_is_cut_back_to_the_checkpoint(tmp_path):
    log = tmp_path / "log.jsonl"
    lines = [
        f'{{"step": {s}, "loss": [0.5], "seconds": {s / 50}}}' for s in (100, 200, 300)
    ]
    log.write_text("\n".join(lines) + '\n{"step": 4')
    assert _train._cut_back(log, 300) == 6.0
    assert log.read_text() == "\n".join(lines) + "\n"
    assert _train._cut_back(log, 200) == 4.0
    assert log.read_text() == "\n".join(lines[:2]) + "\n"
    assert _train._cut_back(log, 0) == 0
    assert log.read_text() == ""


def test_trajectories_come_from_csv_and_npz(tmp_path):
    mine = np.arange(3 * 4 * 2.0).reshape(3, 4, 2)
    lines = [
        f"{i},{0.5 * k},{x},{y}"
        for i, one in enumerate(mine)
        for k, (x, y) in enumerate(one)
    ]
    table = tmp_path / "mine.csv"
    table.write_text(HEAD + "\n".join(lines) + "\n")
    np.savez(tmp_path / "mine.npz", trajectories=mine, times=0.5 * np.arange(4))
    for path in (table, tmp_path / "mine.npz"):
        data = io.read_trajectories(path)
        assert data.step == 0.5
        both = np.concatenate([data.train, data.heldout])
        np.testing.assert_array_equal(np.sort(both, axis=0), mine)
    np.savez(table.with_suffix(".npz"), trajectories=mine, times=np.arange(4.0), step=0.5)
    with pytest.raises(ValueError, match="but the times are 1 apart"):
        io.read_trajectories(table.with_suffix(".npz"))


TABLES = {
    "columns": ("x,y\n1,2\n", "the columns must be"),
    "twice": ("trajectory,time,x,x\na,0,1,2\n", "two columns 'x'"),
    "blank lines": (HEAD + "\n\na,0,1,two\n", "line 4 holds what is no number"),
    "short": (HEAD + "a,0,1,2\na,1,1,2\nb,0,1,2\nb,1,1,2\n", "--recipe paper"),
    "ragged": (HEAD + "a,0,1,2\na,1,1,2\nb,0,1,2\n", "trajectory b has 1 samples"),
    "NaN": (HEAD + "a,0,1,nan\n", "line 2 holds NaN"),
    "text": (HEAD + "a,0,1,two\n", "line 2 holds what is no number"),
    "short line": (HEAD + "a,0,1\n", "line 2 has 3 columns"),
    "uneven": (HEAD + "a,0,1,2\na,1,1,2\na,3,1,2\n", "not equally spaced"),
    "one": (HEAD + "a,0,1,2\na,1,1,2\n", "one trajectory"),
    "empty": (HEAD, "no rows"),
    "steps": (HEAD + "a,0,1,2\na,1,1,2\nb,0,1,2\nb,2,1,2\n", "different steps"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table_is_refused_by_the_command_line_in_one_line(case, tmp_path, capsys):
    text, message = TABLES[case]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert cli.main(["train", str(path), "--seeds", "1"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_command_line_names_what_does_not_fit(tmp_path, capsys):
    for arguments, status, message in (
        (["square"], 2, "no target square"),
        (["line", "--recipe", "best"], 2, "--recipe"),
        (["line", "--seeds", "0"], 2, "--seeds"),
        (["line", "--noise", "input"], 2, "has none"),
        (["line", "--resume"], 2, "--out"),
        (["no.csv"], 2, "no.csv"),
        (["line", "--resume", "--out", str(tmp_path)], 2, "checkpoint.npz"),
    ):
        assert cli.main(["train", *arguments]) == status
        assert message in capsys.readouterr().err
    (tmp_path / "checkpoint.npz").write_bytes(b"PK no archive")
    assert cli.main(["train", "line", "--resume", "--out", str(tmp_path)]) == 3


@pytest.mark.slow
def test_train_prints_one_document_and_goes_on_where_it_was_stopped(tmp_path, capsys):
    data = cgru.generate(cgru.TARGETS["line"], trajectories=24, steps=8, seed=5)
    both = np.concatenate([data.train, data.heldout])
    np.savez(tmp_path / "mine.npz", trajectories=both, step=0.1)
    command = ["train", str(tmp_path / "mine.npz"), "--seeds", "2", "--json"]
    assert cli.main([*command, "--out", str(tmp_path / "a")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["target"], document["noise"]) == ("mine", "none")
    assert [row["seed"] for row in document["seeds"]] == [0, 1]
    for row in document["seeds"]:
        assert row["index_sum"] == 1
        assert row["period"] is None
        assert 0 < row["train_loss"] < 1e-2
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").open()]
    assert [entry["step"] for entry in log][:2] == [100, 200]
    assert (tmp_path / "a" / "mine" / "figure_8.png").stat().st_size > 10_000
    # From the checkpoint of the end nothing is trained, and all is the same.
    assert cli.main([*command, "--resume", "--out", str(tmp_path / "a")]) == 0
    assert json.loads(capsys.readouterr().out) == document
    cell = io.read_model(tmp_path / "a" / "models" / "seed_1.json")
    assert cell.size == 2


def test_a_training_has_one_name_in_every_process():
    # The address of a function is another one in each.
    recipe = cgru.Recipe(optimiser=functools.partial(optax.sgd, momentum=0.9))
    assert "0x" not in repr([_fit._stable(f) for f in (recipe.optimiser, optax.adam)])
    assert _fit._stable(optax.adam) != _fit._stable(optax.sgd)
    assert _fit._stable(recipe.optimiser) != _fit._stable(optax.sgd)


def test_a_folder_with_a_checkpoint_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "checkpoint.npz").write_bytes(b"hours of work")
    assert cli.main(["train", "line", "--seeds", "1", "--out", str(tmp_path)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.npz").read_bytes() == b"hours of work"
