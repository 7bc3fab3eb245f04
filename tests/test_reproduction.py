"""Every experiment at its quick size, run once, as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate

ROOT = Path(__file__).parent.parent
# Experiments of which every claim holds, as far as it is answered at this size.
WHOLE = ["bautin", "design_cycle", "design_line", "input_pulses", "map_to_flow"]
WHOLE += ["onset", "portrait_training", "rotation_cycle", "sectors", "separatrices"]
WHOLE += ["slow_cycle", "slow_point", "training", "training_bifurcations"]
WHOLE += ["two_parameters"]
LEAST = {"portraits": 50_000, "one_unit": 5_000}  # bytes of a picture; 10,000 elsewhere


@pytest.mark.slow
def test_a_quick_reproduction_is_whole_and_finds_what_is_known(tmp_path):
    alone = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-m", "cgru_jax", "reproduce", "--quick", "--out", str(tmp_path)],
        env=alone | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("*.png"))) >= 10

    numbers = {}
    for path in (ROOT / "experiments").glob("[!_]*.py"):
        folder = tmp_path / path.stem
        numbers[path.stem] = found = json.loads((folder / "numbers.json").read_text())
        for figure in found["figures"]:
            assert figure["caption"], path.stem
            least = LEAST.get(path.stem, 10_000)
            assert (folder / figure["file"]).stat().st_size > least, figure["file"]
            assert json.loads((folder / figure["file"]).with_suffix(".json").read_text())
    for name in WHOLE:
        assert all(claim["agrees"] for claim in numbers[name]["claims"]), name
    for name, check in CHECKS.items():
        check(numbers[name])


def refused(found):
    return [c["claim"] for c in found["claims"] if c["agrees"] is False]


def one_unit_has_one_or_three_equilibria(found):
    assert [c["agrees"] for c in found["claims"]] == [True, True, False, True]
    assert found["counts"] == {"A": 1, "C": 3}
    assert found["theorem_1"]["most_sign_changes"] == 3


def no_branch_is_lost(found):
    assert refused(found) == []


def a_portrait_shows_what_its_caption_says_but_for_figure_6(found):
    assert refused(found) == ["Figure 6: a pseudo-line attractor"]


def a_quarter_turn_maps_the_slow_cycle_into_itself(found):
    # Periods to ten digits by other means.
    known = [12.20851006, 17.45796528, 43.78708233, 623.6013865]
    np.testing.assert_allclose(found["periods"], known, rtol=1e-7)
    # A quarter turn maps the cycle into itself.
    high, low = np.array(found["high"]), np.array(found["low"])
    np.testing.assert_allclose(high[:, 0], high[:, 1], rtol=1e-9)
    np.testing.assert_allclose(high, -low, rtol=1e-9)


def the_rotation_oscillates_from_arccos_two_thirds_to_four_normal_forms(found):
    assert abs(found["theta_hopf"]["found"] - np.arccos(2 / 3)) < 1e-14  # round-off
    assert found["quarter_turn_error"] < 1e-8
    np.testing.assert_allclose(found["periods"]["relative_error"], 0, atol=1e-6)
    theta, period = found["periods"]["theta"][1], found["periods"]["found"][1]
    cos, sin = np.cos(theta), np.sin(theta)
    U = 3 * np.array([[cos, -sin], [sin, cos]])
    across = lambda t, h: h[1]
    across.direction = 1
    theirs = scipy.integrate.solve_ivp(
        lambda t, h: (np.tanh(U @ h / 2) - h) / 2,
        (0, 400),
        [0.5, 0.1],
        method="DOP853",
        events=across,
        rtol=1e-11,
        atol=1e-12,
    )
    # SciPy finds an event on its interpolant, to about 1e-9.
    assert abs(np.diff(theirs.t_events[0])[-1] - period) < 1e-7
    end = found["end_of_the_cycle"]
    assert abs(end["theta"] - 0.1478220707) < 1e-9  # as printed, to ten digits
    # The line goes through three angles 0.002 to 0.02 away; its error is of that order.
    assert abs(end["extrapolated"] / end["limit"] - 1) < 0.02


def pulses_set_each_unit_and_leave_the_other(found):
    assert found["walk"] == ["00", "10", "11", "01", "00"]


def noise_treats_both_sides_alike_and_takes_the_exact_time(found):
    assert found["not_gone"] == 0
    assert abs(found["side_difference_in_sigmas"]) < 4
    mean = found["dwell"]["until a given unit leaves"]
    # Four standard errors; half a width is 1.96 of them.
    error = abs(mean["mean"] - found["exact_passage_time"])
    assert error < 4 * mean["half_width"] / 1.96


def starts_below_the_line_wait_at_the_slow_point(found):
    # A straight way at the least speed there, 0.005, bounds the stay from above.
    assert 3 < found["dwell"]["below"]["0.5"] < 0.2 / 0.005


def a_gate_turns_a_sink_into_a_source_but_no_saddle(found):
    closed, opened = found["example"].values()
    # J = diag(z) (U_h / 2 − 1): trace −3/4 and det 3/4 with z = 1/2.
    ((a, b),) = np.array(closed["eigenvalues"]["re"]) + 1j * np.array(
        closed["eigenvalues"]["im"]
    )
    assert abs(a + b + 3 / 4) < 1e-12
    assert abs(a * b - 3 / 4) < 1e-12
    assert (closed["kinds"], opened["kinds"]) == (["sink"], ["source"])
    assert found["largest_move"] < 1e-15
    two = found["two_units"]
    assert two["unequal"]["saddles"] == two["equal"]["cells"] == 0
    assert two["unequal"]["equilibria"] <= two["could"]
    assert found["one_unit"]["changed"] == 0


def slow_points_are_as_many_as_printed_but_for_figure_6(found):
    assert [c["agrees"] for c in found["claims"][:4]] == [True, True, False, True]
    # Of the normal form, computed otherwise in experiments/slow_cycle.py; the fold has ten
    # digits, of which a distance of 1e-6 leaves four.
    assert abs(found["scaling"]["period_times_root"] - 27.04397) < 1e-3


def a_slow_curve_is_as_slow_as_it_is_said_to_be(found):
    assert refused(found) == []
    at = "0.8"
    for name, speeds in found["speeds"].items():
        x = np.array(found["parameters"][name][at])
        U, R, b, c, middle, (angle,), bend = np.split(x, [4, 8, 10, 12, 14, 15])
        t = np.linspace(-1, 1, 4_001)[:, None]
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        side = (1 - t**2) * (t ** [0, 1, 2] @ bend)[:, None]
        h = middle + float(at) / 2 * (t * along + side * across)
        assert abs(np.linalg.norm(h[-1] - h[0]) - float(at)) < 1e-14  # round-off
        r = 1 / (1 + np.exp(-(h @ R.reshape(2, 2).T + c)))
        field = (np.tanh((r * h) @ U.reshape(2, 2).T + b) - h) / 2
        speed = np.linalg.norm(field, axis=1).max()
        # Twice as many places as there: between them a maximum is flat.
        assert abs(speed / speeds[at] - 1) < 1e-3
    one, straight, bent = (s[at] for s in found["speeds"].values())
    assert bent < straight / 10 < one / 100


def sectors_add_up_to_the_index(found):
    for name, counts in found["sectors"].items():
        assert counts["index"] == found["degrees"][name]


def sampled_paths_vary_as_an_independent_program_says(found):
    theory = found["results"]["GRU"]["theory"]
    # 1,500 paths: four per cent of a variance.
    assert abs(theory["correlation"][0] / 0.347 - 1) < 0.05
    assert abs(theory["exponent"] - 0.07) < 0.015


def a_sharp_update_gate_keeps_modes_and_chaos(found):
    fast, sharp = found["rows"]
    # By an independent program: shares 0.010 and 0.361, exponents 0.110 and 0.144.
    assert abs(fast["mass_theory"] - 0.010) < 0.01
    assert abs(sharp["mass_theory"] - 0.361) < 0.02
    assert abs(fast["exponent_theory"] - 0.110) < 0.02
    assert refused(found) == ["a moving network is at the margin as its fixed points are"]


def what_is_slow_remembers_better(found):
    fast, slow = found["after"]["8"].values()
    assert slow["accuracy"] > fast["accuracy"] > found["chance"]
    # Discs at rest: 1 − z + z g_h / 2.
    edges = [row["edge_at_rest"] for row in found["before"].values()]
    z = 1 / (1 + np.exp(3.0))
    np.testing.assert_allclose(edges, [0.75, 1 - z / 2], rtol=1e-12)


CHECKS = {
    "one_unit": one_unit_has_one_or_three_equilibria,
    "branches": no_branch_is_lost,
    "portraits": a_portrait_shows_what_its_caption_says_but_for_figure_6,
    "rotation_cycle": a_quarter_turn_maps_the_slow_cycle_into_itself,
    "slow_cycle": the_rotation_oscillates_from_arccos_two_thirds_to_four_normal_forms,
    "input_pulses": pulses_set_each_unit_and_leave_the_other,
    "noise": noise_treats_both_sides_alike_and_takes_the_exact_time,
    "slow_point": starts_below_the_line_wait_at_the_slow_point,
    "update_gate": a_gate_turns_a_sink_into_a_source_but_no_saddle,
    "slow_curve": a_slow_curve_is_as_slow_as_it_is_said_to_be,
    "slow_points": slow_points_are_as_many_as_printed_but_for_figure_6,
    "sectors": sectors_add_up_to_the_index,
    "chaos": sampled_paths_vary_as_an_independent_program_says,
    "marginal": a_sharp_update_gate_keeps_modes_and_chaos,
    "recall": what_is_slow_remembers_better,
}
