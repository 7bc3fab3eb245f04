"""The experiments on cycles, inputs, noise, slow points and gates, small."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from . import problems

NAMES = ["slow_cycle", "input_pulses", "noise", "slow_point", "update_gate"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run each experiment once, when it is first asked for."""
    cache = {}

    def run(name):
        if name not in cache:
            out = tmp_path_factory.mktemp(name)
            cache[name] = problems.experiment(name).main(out, "quick"), out
        return cache[name]

    return run


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_writes_what_it_says(name, done):
    numbers, out = done(name)
    for figure in numbers["figures"]:
        assert figure["caption"]
        assert (out / figure["file"]).stat().st_size > 10_000
        assert json.loads((out / figure["file"]).with_suffix(".json").read_text())
    for claim in numbers["claims"]:
        assert set(claim) == {"claim", "paper", "found", "agrees", "note"}
        assert claim["agrees"] in (True, False, None)


def test_the_rotation_starts_to_oscillate_at_arccos_two_thirds(done):
    numbers, _ = done("slow_cycle")
    assert abs(numbers["theta_hopf"]["found"] - np.arccos(2 / 3)) < 1e-14  # round-off
    assert all(claim["agrees"] for claim in numbers["claims"])


def test_periods_agree_with_scipy_and_with_the_quarter_turn(done):
    numbers, _ = done("slow_cycle")
    assert numbers["quarter_turn_error"] < 1e-8
    np.testing.assert_allclose(numbers["periods"]["relative_error"], 0, atol=1e-6)
    theta, period = numbers["periods"]["theta"][1], numbers["periods"]["found"][1]
    U = 3 * np.array(
        [[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]]
    )  # fmt: skip
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


def test_the_period_grows_like_a_root_as_four_normal_forms_say(done):
    end = done("slow_cycle")[0]["end_of_the_cycle"]
    assert abs(end["theta"] - 0.1478220707) < 1e-9  # as printed, to ten digits
    # The line goes through three angles 0.002 to 0.02 away; its error is of that order.
    assert abs(end["extrapolated"] / end["limit"] - 1) < 0.02


def test_pulses_set_each_unit_and_leave_the_other(done):
    numbers, _ = done("input_pulses")
    assert all(claim["agrees"] for claim in numbers["claims"])
    assert numbers["walk"] == ["00", "10", "11", "01", "00"]


def test_noise_treats_both_sides_alike_and_takes_the_exact_time(done):
    numbers, _ = done("noise")
    assert numbers["not_gone"] == 0
    assert abs(numbers["side_difference_in_sigmas"]) < 4
    mean = numbers["dwell"]["until a given unit leaves"]
    # Four standard errors; half a width is 1.96 of them.
    error = abs(mean["mean"] - numbers["exact_passage_time"])
    assert error < 4 * mean["half_width"] / 1.96


def test_starts_below_the_line_wait_at_the_slow_point(done):
    numbers, _ = done("slow_point")
    assert all(claim["agrees"] for claim in numbers["claims"])
    # A straight way at the least speed there, 0.005, bounds the stay from above.
    assert 3 < numbers["dwell"]["below"]["0.5"] < 0.2 / 0.005


def test_a_gate_turns_a_sink_into_a_source_but_no_saddle(done):
    numbers, _ = done("update_gate")
    closed, opened = numbers["example"].values()
    # J = diag(z) (U_h / 2 − 1): trace −3/4 and det 3/4 with z = 1/2.
    assert abs(jnp.sum(closed["eigenvalues"]) + 3 / 4) < 1e-12
    assert abs(jnp.prod(closed["eigenvalues"]) - 3 / 4) < 1e-12
    assert (closed["kinds"], opened["kinds"]) == (["sink"], ["source"])
    assert numbers["largest_move"] < 1e-15
    two = numbers["two_units"]
    assert two["unequal"]["saddles"] == two["equal"]["cells"] == 0
    assert two["unequal"]["equilibria"] <= two["could"]
    assert numbers["one_unit"]["changed"] == 0
