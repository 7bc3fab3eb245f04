"""Time series: what is generated obeys its equation, and bad data are named."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cgru_jax as cgru

FHN, LINE = cgru.TARGETS["fitzhugh-nagumo"], cgru.TARGETS["line"]


def test_trajectories_without_noise_are_those_of_scipy():
    data = cgru.generate(FHN, seed=3, trajectories=30, steps=5)
    assert data.train.shape == (20, 6, 2)
    assert data.heldout.shape == data.clean.shape == (10, 6, 2)
    for mine in (data.train[7], data.clean[2]):
        theirs = solve_ivp(
            lambda t, w: np.asarray(FHN.field(jnp.asarray(w))), (0, 5), mine[0], "DOP853",
            np.arange(6.0), rtol=1e-9, atol=1e-9,
        )  # fmt: skip
        # Runge–Kutta with steps of 0.05.
        np.testing.assert_allclose(mine, theirs.y.T, atol=2e-6)
    again = cgru.generate(FHN, seed=3, trajectories=30, steps=5)
    assert (again.train == data.train).all()
    other = cgru.generate(FHN, seed=4, trajectories=30, steps=5)
    assert not (other.train == data.train).any()


@pytest.mark.parametrize(
    "noise", ["observation", pytest.param("process", marks=pytest.mark.slow), "input"]
)
def test_noise_has_the_variance_that_it_should(noise):
    target = FHN if noise == "input" else LINE
    data = cgru.generate(
        target, noise=noise, level=0.05, trajectories=2_000, steps=3, seed=1
    )
    off = np.asarray(data.heldout - data.clean)
    # Four standard errors of a variance of 667 normal numbers: a factor 1 ± 0.22.
    near = lambda found, wanted: abs(found / wanted - 1) < 0.22
    assert (data.heldout[0, 0] == data.clean[0, 0]).all() == (noise != "observation")
    if noise == "observation":
        assert near(off[:, 0, 0].var(), 0.05**2)
        assert near(off[:, 3, 1].var(), 0.05**2)
    elif noise == "process":
        # An Ornstein–Uhlenbeck process across the line, a random walk along it.
        time = 3 * LINE.step
        assert near(off[:, 3, 0].var(), 0.05**2 * (1 - np.exp(-2 * time)) / 2)
        assert near(off[:, 3, 1].var(), 0.05**2 * time)
    else:
        # To first order in the input, whose effect is felt within a sample.
        assert 0.02 < off[:, 1, 0].std() < 0.2
        assert abs(off[:, 1, 0].mean()) < 4 * off[:, 1, 0].std() / 667**0.5 + 0.01


def test_a_field_of_ones_own_is_sampled_as_well():
    data = cgru.generate(
        lambda w: 0.4 - w, step=0.5, box=([0.0], [2.0]), trajectories=6, steps=4
    )
    decay = np.exp(-0.5 * np.arange(5))
    start = np.asarray(data.train)[:, :1]
    wanted = 0.4 + (start - 0.4) * decay[:, None]
    np.testing.assert_allclose(data.train, wanted, atol=1e-7)  # of Runge–Kutta


BAD = {
    "NaN": (np.full((4, 5, 2), np.nan), {}, r"trajectories\[0, 0, 0\] is nan"),
    "one trajectory": (np.zeros((1, 5, 2)), {}, "one trajectory"),
    "one sample": (np.zeros((4, 1, 2)), {}, "two samples"),
    "ragged": ([np.zeros((5, 2)), np.zeros((4, 2))], {}, "4 to 5 samples"),
    "flat": (np.zeros((4, 5)), {}, "shape"),
    "uneven": (np.zeros((4, 3, 2)), {"times": [0.0, 1.0, 2.5]}, "not equally spaced"),
    "backwards": (np.zeros((4, 3, 2)), {"times": [0.0, -1.0, -2.0]}, "not equally"),
    "uneven for a clock": (
        np.zeros((4, 3, 2)),
        {"times": [1.7e9, 1.7e9 + 1, 1.7e9 + 5]},
        "not equally spaced",
    ),
    "few times": (np.zeros((4, 3, 2)), {"times": [0.0, 1.0]}, "3 samples"),
    "step": (np.zeros((4, 3, 2)), {"step": -1.0}, "step must be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_are_named(case):
    trajectories, options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        cgru.time_series(trajectories, **options)


def test_options_that_do_not_fit_are_named():
    for options, message in (
        ({"noise": "loud"}, "one of"),
        ({"noise": "input"}, "has none"),
        ({"trajectories": 1}, "trajectories"),
        ({"box": ((1.0, 1.0), (0.0, 2.0))}, "low below high"),
        ({"box": ((0.0, 0.0), (1.0, 1.0), (2.0, 2.0))}, "two ends"),
        ({"level": -0.1}, "standard deviation"),
        ({"step": 0.0}, "step must be"),
    ):
        with pytest.raises(ValueError, match=message):
            cgru.generate(LINE, **options)
    with pytest.raises(ValueError, match="needs step"):
        cgru.generate(lambda w: -w)
    with pytest.raises(ValueError, match="2 dimensions"):
        cgru.generate(lambda w: w[:1], step=1.0, box=([0.0, 0.0], [1.0, 1.0]))


def test_ones_own_trajectories_are_all_there_and_a_third_is_held_out():
    mine = np.arange(9 * 4 * 1.0).reshape(9, 4, 1)
    data = cgru.time_series(mine, times=[0.5, 0.75, 1.0, 1.25])
    assert data.step == 0.25
    assert data.train.shape == (6, 4, 1)
    assert data.clean is None
    both = np.concatenate([data.train, data.heldout])
    np.testing.assert_array_equal(np.sort(both, axis=0), mine)
