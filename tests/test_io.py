"""Files: what is written is whole, what is read is checked, each error is one line."""

import json
import math
import os
import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import cgru_jax as cgru
from cgru_jax import _files, io

MODELS = Path(__file__).parent.parent / "experiments" / "models"


def test_json_gives_back_the_numbers_bit_for_bit(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 4)) * 10.0 ** np.arange(-150, 150, 75)
    path = io.write_json(
        tmp_path / "new" / "x.json", {"x": jnp.asarray(x), "n": np.int64(3)}
    )
    back = json.loads(path.read_text())
    assert (np.array(back["x"]) == x).all()
    assert back["n"] == 3


def test_json_has_no_nan_and_says_names_and_paths():
    value = {
        "a": [math.nan, -math.inf, 1.5],
        "b": np.array([[np.nan, 1], [2, 3]]),
        "c": jnp.array([1 + 2j]),
        "d": cgru.KINDS.saddle,
        "e": Path("x/y"),
        "f": np.bool_(True),
        "g": (),
    }
    assert json.loads(io.to_json(value)) == {
        "a": [None, None, 1.5],
        "b": [[None, 1], [2, 3]],
        "c": {"re": [1], "im": [2]},
        "d": "saddle",
        "e": "x/y",
        "f": True,
        "g": [],
    }


def test_json_of_a_batch_of_kinds_lists_their_names():
    # Gates open: h = tanh(2 h + 0.1) has three solutions.
    flow = cgru.Flow(cgru.gru(4.0, b_h=0.1))
    found = json.loads(io.to_json(cgru.find_equilibria(flow, capacity=4)))
    assert sorted(found["kind"]) == ["sink", "sink", "source", "unknown"]
    assert found["result"] == "successful"


def test_json_names_what_it_cannot_write():
    with pytest.raises(TypeError, match=r"value\['a'\]\[1\] cannot .* a function"):
        io.to_json({"a": [1, io.to_json]})


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path, monkeypatch, step):
    path = io.write_json(tmp_path / "x.json", {"old": 1})

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        io.write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_equal_figures_are_equal_files_with_their_numbers_beside(tmp_path):
    pictures = []
    for name in ("a", "b"):
        figure = Figure()
        figure.subplots().plot([0.3, 0.7], [0.2, 0.9])
        path = io.save_figure(
            figure, tmp_path / f"{name}.png", {"x": jnp.array([0.3, 0.7])}
        )
        assert json.loads(path.with_suffix(".json").read_text()) == {"x": [0.3, 0.7]}
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG")


def test_a_picture_must_be_png(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png, got 'a\.pdf'"):
        io.save_figure(Figure(), tmp_path / "a.pdf", {})


# --- model files -------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(MODELS.iterdir()), ids=lambda path: path.name)
def test_the_examples_are_read_as_they_stand(path):
    cell = io.read_model(path)
    text = path.read_text()
    written = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    for name, value in written.items():
        if name != "cell":
            assert (np.asarray(getattr(cell, name)) == np.asarray(value)).all()


@pytest.mark.parametrize(
    ("kind", "cell"),
    [("gru", cgru.GRU), ("reset_after", cgru.ResetAfterGRU), ("lstm", cgru.LSTM)],
)
def test_every_array_has_its_name_and_what_is_missing_is_zero(tmp_path, kind, cell):
    random = np.random.default_rng(1)
    names = list(cell.__dataclass_fields__)
    for given in (names, names[:1]):
        arrays = {
            name: random.normal(size={"U": (2, 2), "W": (2, 3)}.get(name[0], 2))
            for name in given
        }
        path = io.write_json(tmp_path / "cell.json", {"cell": kind} | arrays)
        got = io.read_model(path)
        assert type(got) is cell
        for name in names:
            value = getattr(got, name)
            if name in arrays:
                assert (np.asarray(value) == arrays[name]).all()
            else:
                assert value is None if name[0] == "W" else not np.asarray(value).any()


def test_an_lstm_takes_its_size_from_any_matrix(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('cell = "lstm"\nU_c = [[1.5, 0.2], [0.1, 0.7]]\nb_f = 1')
    assert io.read_model(path).size == 4


def test_weights_of_any_size_survive(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('cell = "gru"\nU_h = [[1e6, 1e-300], [0.1, 3]]')
    assert io.read_model(path).U_h.tolist() == [[1e6, 1e-300], [0.1, 3.0]]


GRU = '{"cell": "gru", "U_h": [[1, 2], [3, 4]]'
BAD = {
    "broken TOML": (
        "x.toml",
        'cell = "gru"\nU_h = [[1, 2], [3',
        "not valid TOML: .*end of doc",
    ),
    "broken JSON": ("x.json", GRU, "not valid JSON: .*line 1"),
    "empty": ("x.toml", "", 'cell is missing; write cell = "gru"'),
    "no object": ("x.json", "[1, 2]", "one JSON object, got list"),
    "twice": ("x.json", GRU + ', "b_h": 1, "b_h": 2}', "b_h comes twice"),
    "deep": ("x.json", '{"U_h": ' + "[" * 100_000, "nested too deeply"),
    "unknown cell": ("x.toml", 'cell = "grv"\nU_h = 1', "cell is 'grv'; did you mean gru"),
    "capitals": ("x.toml", 'cell = "LSTM"\nU_h = 1', "did you mean lstm"),
    "cell is a number": ("x.toml", "cell = 3\nU_h = 1", "cell is 3; known are gru, reset"),
    "unknown name": ("x.json", GRU + ', "bh": 1}', "bh is no entry .*did you mean b_h"),
    "foreign name": ("x.json", GRU + ', "c_h": 1}', "c_h is no entry of cell 'gru'"),
    "no matrix": ("x.toml", 'cell = "gru"\nU_r = [[1.5]]', "U_h is missing"),
    "NaN": ("x.json", GRU + ', "b_h": [1, NaN]}', r"b_h\[1\] is nan"),
    "infinity": ("x.toml", 'cell = "gru"\nU_h = [[1, inf], [0, 1]]', r"U_h\[0, 1\] is inf"),
    "overflow": ("x.json", GRU + ', "b_z": 1e999}', "b_z is inf"),
    "shapes": (
        "x.json",
        GRU + ', "b_h": [1, 2, 3]}',
        r"b_h has shape \(3,\).*U_h.*\(2, 2\)",
    ),
    "inputs": ("x.json", GRU + ', "W_h": [[1]]}', r"W_h .*\(2, inputs\).*\(1, 1\)"),
    "no units": ("x.json", '{"cell": "gru", "U_h": []}', r"U_h .* shape \(0,\)"),
    "not square": ("x.json", '{"cell": "gru", "U_h": [[1, 2]]}', r"U_h .* shape \(1, 2\)"),
    "text": ("x.json", GRU + ', "b_h": [1, "2"]}', r"b_h .*numbers only, got '2' \(str\)"),
    "truth": ("x.json", GRU + ', "b_h": [1, true]}', r"b_h .*got True \(bool\)"),
    "null": ("x.json", GRU + ', "b_h": null}', r"b_h .*got None"),
    "date": ("x.toml", 'cell = "gru"\nU_h = 1979-05-27', r"U_h .*\(date\)"),
    "ragged": ("x.json", '{"cell": "gru", "U_h": [[1, 2], [3]]}', "U_h is not rectangular"),
    "huge number": ("x.json", GRU + ', "b_h": 1' + "0" * 400 + "}", "b_h .*beyond"),
    "ending": ("x.txt", 'cell = "gru"\nU_h = 1', r"ends in \.toml or \.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_model_is_one_line_that_names_file_and_culprit(tmp_path, case):
    name, text, message = BAD[case]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        io.read_model(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert not isinstance(error.value, _files.DamagedFile)


def test_what_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.read_model(tmp_path / "none.toml")
    with pytest.raises(IsADirectoryError):
        io.read_model(tmp_path)


def test_what_is_no_text_is_damaged(tmp_path, monkeypatch):
    path = tmp_path / "x.toml"
    path.write_bytes(b'cell = "gru"\nU_h = \xff\xfe')
    with pytest.raises(_files.DamagedFile, match=r"not UTF-8 text \(byte 19\)"):
        io.read_model(path)
    monkeypatch.setattr(_files, "LARGEST", 2**20)
    path.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(_files.DamagedFile, match="larger than 1 MiB"):
        io.read_model(path)
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    with pytest.raises(_files.DamagedFile, match="not a plain file"):
        io.read_model(pipe)  # and does not wait for a writer
