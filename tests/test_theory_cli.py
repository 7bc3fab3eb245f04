"""`cgru-jax theory`, as a user calls it."""

import json

import pytest

from cgru_jax.cli import main


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ("spectrum gh=1", "did you mean g_h"),
        ("spectrum g_h=two", "no number"),
        ("spectrum g_h=-1", "below zero"),
        ("spectrum g_h=nan", "finite"),
        ("spectrum g_r=1", "g_h is missing"),
        ("spectrum g_h=1 g_h=2", "twice"),
        ("spectrum g_h=1 --cell rnn", "reset_after"),
        ("spectrum g_f=1 --cell lstm", "g_i is missing"),
        ("complexity g_h=1 g_f=1", "g_f"),
        ("phase-diagram --points 1", "at least 2"),
        ("phase-diagram --largest inf", "finite"),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, culprit, capsys):
    assert main(["theory", *arguments.split()]) == 2
    seen = capsys.readouterr()
    assert culprit in seen.err
    assert seen.err.count("\n") == 1
    assert not seen.out


def told(arguments, capsys):
    assert main(["theory", *arguments.split(), "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # one document, and nothing else


@pytest.mark.slow
def test_numbers_come_as_one_document(tmp_path, capsys):
    found = told(f"spectrum g_h=3 g_r=2 g_z=10 --out {tmp_path}", capsys)
    (state,) = found["static_states"]
    # As printed by an independent program.
    assert abs(state["variance"] - 0.42797067) < 6e-9
    assert abs(state["log_excess"] + 4.4171) < 6e-5
    assert abs(state["mass_near_one"]["0.01"] - 0.2405) < 1e-3
    assert json.loads((tmp_path / "spectrum.json").read_text()) == found
    assert (tmp_path / "boundary.png").stat().st_size > 5_000


@pytest.mark.slow
def test_thresholds_come_with_what_became_of_them(tmp_path, capsys):
    found = told(f"phase-diagram --points 2 --largest 20 --out {tmp_path}", capsys)
    # At g_r = 1 all begins where zero loses its stability; the others as printed by
    # independent programs, of chaos between the last active and the first silent gain.
    assert found["critical_gain"] == 2
    assert found["results"]["topology"] == ["no_fold", "successful"]
    assert found["results"]["fold"] == ["no_fold", "successful"]
    assert found["chaos"][0] == 2
    assert abs(found["topology"][1] - 1.421) < 6e-4
    assert abs(found["fold"][1] - 1.627833) < 6e-7
    assert 1.76 < found["chaos"][1] < 1.78
    assert json.loads((tmp_path / "phase-diagram.json").read_text()) == found
    assert (tmp_path / "lines.png").stat().st_size > 5_000
    # The same thresholds are beside the complexity, and compiled already.
    found = told(f"complexity g_h=3 g_r=20 --out {tmp_path}", capsys)
    assert found["result"] == found["topology_result"] == "successful"
    assert abs(found["topology_threshold"] - 1.421) < 6e-4
    assert found["rate"] > 0.026445  # that of g_r = 2
    assert json.loads((tmp_path / "complexity.json").read_text()) == found
