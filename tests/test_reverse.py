"""What is read off a trained network is what its equations say."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import cgru_jax as cgru
from cgru_jax import KINDS, RESULTS
from cgru_jax._learning import _measure, _recorder, _reverse


def closed(angle, eight=False):
    """A shifted orbit in the plane: a circle with humps, or a figure of eight."""
    x = np.cos(angle) + 0.2 * np.sin(2 * angle)
    y = 1.5 * np.sin(2 * angle) if eight else np.sin(angle)
    return np.stack([0.4 + x, y - 0.7], axis=1)


def test_a_period_between_samples_is_found():
    t = np.arange(1_000.0)
    period = 7 * np.pi / 3  # no rational number of samples
    rest = np.stack([0.4 + 0 * t, 0 * t], axis=1)
    orbits = [closed(2 * np.pi * t / period + a) for a in (0.3, 2.0)]
    orbits = np.stack([*orbits, rest], axis=2)
    found = _measure.periods(orbits)
    # Linear interpolation errs by up to 0.02 samples; a slope over 135 laps by less.
    np.testing.assert_allclose(found[:2], period, atol=4e-4)
    assert np.isnan(found[2])
    # Two of three starts come to it.
    cycle = _measure.cycle_of(orbits, orbits)
    assert abs(cycle["period"] - period) < 4e-4
    assert cycle["fraction"] == 2 / 3
    # Creeping to rest with a shrinking swing is no cycle.
    dying = np.exp(-t / 20)[:, None, None] * orbits
    assert _measure.cycle_of(dying, dying)["result"] == RESULTS.no_cycle


def test_a_lap_ends_where_the_state_returns_and_chaos_has_none():
    angle = 2 * np.pi * np.arange(1_000.0) / 36.98
    apart = (1 + 0.02 * np.cos(angle / 2))[:, None] * closed(angle)

    def logistic(r, x=0.31):
        for k in range(3_000):
            x = r * x * (1 - x)
            if k >= 2_000:
                yield [x + 0.3, -x]

    maps = [np.array(list(logistic(r))) for r in (3.5, 3.55, 4.0)]
    torus = closed(angle) + 0.2 * closed(angle * 2**0.5)
    orbits = np.stack([closed(angle, eight=True), apart, *maps, torus], axis=2)
    # Two humps of the state that varies most; laps that alternate by 4 %; the cascade of
    # the logistic map; and two that fill an interval and a band.
    wanted = [36.98, 2 * 36.98, 4, 8, np.nan, np.nan]
    np.testing.assert_allclose(_measure.periods(orbits), wanted, rtol=1e-5)
    chaos = _measure.cycle_of(orbits[:, :, 4:5], orbits[:, :, 4:5])
    assert (chaos["period"], chaos["result"] == RESULTS.no_period) == (None, True)


def test_a_slow_cycle_is_followed_until_it_has_come_round():
    # Just before four equilibria appear on it: its period by another program.
    cos, sin = np.cos(np.pi / 21), np.sin(np.pi / 21)
    cell = cgru.GRU(3 * np.array([[cos, -sin], [sin, cos]]), W_h=np.eye(2))
    model = cgru.Forecaster(cell, np.eye(2), reading=cgru.Flow)
    start = jnp.array([[0.5], [0.1]])
    states, outputs = map(np.asarray, _measure.run(model, start, _measure.WINDOW))
    further = functools.partial(_measure.run_on, model)
    assert _measure.cycle_of(states, outputs)["result"] == RESULTS.no_period
    cycle = _measure.cycle_of(states, outputs, further)
    assert abs(cycle["period"] / 623.6013865 - 1) < 1e-4  # of Runge–Kutta in steps of 1/4


def test_distances_of_circles_are_those_of_geometry():
    a = 2 * np.pi * np.arange(1_000) / 1_000
    circle = np.stack([np.cos(a), np.sin(a)], axis=1)
    same = _measure.distances(circle, circle)
    assert same["hausdorff"] == same["sliced_wasserstein"] == 0
    # A circle larger by a tenth: 0.1 in units of its deviation, 1/√2; of its shadow on a
    # line, whose quantiles are cosines, the mean of |cos| of that.
    larger = _measure.distances(1.1 * circle, circle)
    assert abs(larger["hausdorff"] - 0.1 * 2**0.5) < 1e-12
    assert abs(larger["sliced_wasserstein"] - 0.1 * 2**0.5 * 2 / np.pi) < 1e-3


def test_horizons_are_measured_as_defined():
    truth = np.random.default_rng(0).normal(size=(50, 2, 3))
    scale = truth.std(axis=(0, 2))[:, None]
    ahead = truth + np.where(np.arange(50) < 20, 0.39, 0.41)[:, None, None] * scale
    assert (_measure.valid_samples(ahead, truth) == 20).all()
    assert (_measure.valid_samples(truth, truth) == 50).all()

    places = np.linspace(-2, 2, 81)
    off = np.where(np.abs(places - 0.5) < 1.01, 0.0, 0.2)
    forecast = np.stack([off, places])[None]
    assert _measure.usable_length(forecast, places) == pytest.approx([2.0])

    angles = 2 * np.pi * np.arange(64) / 64
    turned = angles + 0.3
    forecast = np.stack([np.cos(turned), np.sin(turned)])[None]
    assert _measure.angle_errors(forecast, angles) == pytest.approx([0.3])


def test_a_network_without_recurrent_weights_is_read_in_closed_form():
    # h⁺ = h + z (tanh b_h − h): one sink, multipliers 1 − z.
    b_h, b_z = np.array([0.7, -0.4]), np.array([-0.5, 0.8])
    cell = cgru.GRU(np.zeros((2, 2)), b_h=b_h, b_z=b_z, W_h=np.eye(2))
    model = cgru.Forecaster(cell, [[1.0, 2.0], [0.5, -1.0]], [0.1, 0.2])
    starts = jr.normal(jr.key(0), (4, 2))
    found = cgru.reverse_engineer(model, starts=starts, step=0.5, prove=False)
    assert (found.signature, found.index_sum) == ((1, 0, 0), 1)
    points = np.asarray(found.equilibria.points)[np.asarray(found.equilibria.valid)]
    np.testing.assert_allclose(points, [np.tanh(b_h)], rtol=1e-12)
    decay = np.sort(np.log(1 - 1 / (1 + np.exp(-b_z))))[::-1]
    # An average over 1,000 samples of numbers that are constant.
    np.testing.assert_allclose(found.exponents, decay / 0.5, rtol=1e-10)
    assert found.cycle["period"] is None
    document = found.document()
    assert document["period"] is None
    values = np.sort(np.real(document["equilibria"]["multipliers"][0]))
    np.testing.assert_allclose(values, np.sort(np.exp(decay)), rtol=1e-12)
    # Of the same weights as a flow the eigenvalues are −z; a unit of time multiplies by
    # exp(−z).
    flow = dataclasses.replace(found, reading=cgru.Flow).document()["equilibria"]
    z = np.sort(1 / (1 + np.exp(-b_z)))
    np.testing.assert_allclose(np.sort(-flow["flow_eigenvalues"][0].real), z, rtol=1e-12)
    np.testing.assert_allclose(np.sort(-np.log(flow["multipliers"][0].real)), z, rtol=1e-12)
    # What is neither proved nor decided is said to be neither.
    verge = dataclasses.replace(found, signature=(0, 0, 0))
    verdict = _reverse._verdict(verge, cgru.Target("", abs, "cycle", (), 1.0))
    assert verdict.startswith("Not learned: 0 sinks")
    assert "1 on the verge" in verdict
    assert "not proved" in verdict


def test_what_cannot_be_read_is_refused():
    model = cgru.Forecaster.random(jr.key(0))
    stack = eqx.filter_vmap(cgru.Forecaster.random)(jr.split(jr.key(0), 2))
    with pytest.raises(ValueError, match="give one model"):
        cgru.reverse_engineer(stack, starts=jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="target, or starts"):
        cgru.reverse_engineer(model)
    with pytest.raises(ValueError, match=r"\(s, 2\)"):
        cgru.reverse_engineer(model, starts=jnp.zeros((1, 3)))
    for step, starts, message in (
        (0.0, jnp.ones((1, 2)), "one positive number"),
        (1.0, jnp.full((1, 2), jnp.nan), r"starts\[0, 0\] is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            cgru.reverse_engineer(model, starts=starts, step=step)
    lost = eqx.tree_at(lambda m: m.C, model, jnp.nan * model.C)
    with pytest.raises(ValueError, match="must be finite"):
        cgru.reverse_engineer(lost, cgru.TARGETS["line"])
    for wanted, message in (
        (lambda cell, memory: cell.b_h, "a pair"),
        (lambda cell, memory: (cell.b_h[0], memory), r"shape \(k,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            cgru.fit_portrait(model.cell, wanted)
    with pytest.raises(ValueError, match="one or two units"):
        cgru.record_bifurcations(cgru.Forecaster.random(jr.key(0), units=3), None)


def test_a_cell_is_trained_to_rest_where_it_should_and_to_forget_as_it_should():
    place, growth = 0.4, -0.25

    def wanted(cell, memory):
        flow = cgru.Flow(cell)
        h = jnp.array([place])
        slope = flow.jacobian(h)[0, 0]
        return jnp.append(flow.residual(h), slope / growth - 1), memory

    start = cgru.gru([[0.9]], b_h=[0.3], U_r=[[0.4]])
    done = cgru.fit_portrait(start, wanted)
    assert done.result == RESULTS.successful
    assert np.abs(done.lack).max(axis=1)[-1] < 1e-10
    flow = cgru.Flow(done.cell)
    # Written out: z (tanh(U r h + b) − h) with r, z by hand; a central difference.
    p = {
        n: float(getattr(done.cell, n).ravel()[0])
        for n in ("U_h", "U_r", "U_z", "b_h", "b_r", "b_z")
    }
    s = lambda x: 1 / (1 + np.exp(-x))
    field = lambda h: (
        s(p["U_z"] * h + p["b_z"])
        * (np.tanh(p["U_h"] * s(p["U_r"] * h + p["b_r"]) * h + p["b_h"]) - h)
    )
    assert abs(field(place)) < 1e-10
    slope = (field(place + 1e-5) - field(place - 1e-5)) / 2e-5
    assert abs(slope - growth) < 1e-8
    assert cgru.classify(flow, jnp.array([place])).kind == KINDS.sink
    # What no cell can do is said, with the cell that comes nearest: Newton's method on
    # b² + 0.01 comes near zero and is thrown back.
    beyond = lambda cell, memory: (cell.b_h**2 + 0.01, memory)
    done = cgru.fit_portrait(start, beyond, steps=3)
    assert done.result == RESULTS.not_converged
    assert done.lack[-1] > done.lack.min() == done.cell.b_h[0] ** 2 + 0.01


@pytest.mark.slow
def test_a_change_along_a_training_is_where_the_multipliers_cross_the_circle():
    data = cgru.generate(cgru.TARGETS["fitzhugh-nagumo"], trajectories=60, seed=1)
    model = cgru.Forecaster.random(jr.key(1))
    recipe = cgru.Recipe(epochs=300)
    record = cgru.record_bifurcations(model, data, recipe=recipe, every=25)
    hopf = [c for c in record.changes if c.what.startswith("Hopf")]
    # It may go to and fro, but ends on the other side.
    assert len(hopf) % 2 == 1
    models = {}

    def keep(progress):
        models[progress.step] = jax.tree.map(lambda x: x[0].astype(float), progress.models)

    fitted = cgru.fit(model, data, recipe=recipe, block=1, callback=keep)
    assert (fitted.losses == record.fit.losses).all()

    @jax.jit
    def derivative(model):
        cell = model.cell.with_input(jnp.zeros(2))
        slope = jax.jacfwd(cell)
        newton = lambda _, h: h - jnp.linalg.solve(slope(h), cell(h))
        h = jax.lax.fori_loop(0, 30, newton, jnp.zeros(2))
        return jnp.eye(2) + slope(h)

    def modulus(step):
        return np.abs(np.linalg.eigvals(np.asarray(derivative(models[step])))).max()

    for change in hopf:
        stable = (change.before[:3] == (1, 0, 0), change.after[:3] == (1, 0, 0))
        assert (modulus(change.step) < 1, modulus(change.step + 1) < 1) == stable
    # Counts at the looks say the same, everywhere else.
    for counts, step in zip(record.counts.tolist(), record.steps, strict=True):
        if step <= hopf[0].step:
            assert counts == [1, 0, 0]
        elif step > hopf[-1].step:
            assert counts == [0, 1, 0]


def test_what_fades_is_no_cycle_and_of_two_cycles_one_is_told():
    t = np.arange(3_000.0)

    def wave(period, rate=0.0):
        fading = np.exp(-rate * t)
        angle = 2 * np.pi * t / period
        return np.stack([fading * np.cos(angle), fading * np.sin(angle)], axis=1)

    fading = np.stack([wave(7.72, 5e-4), wave(7.72, 9e-4)], axis=2)
    found = _measure.cycle_of(fading, fading)
    assert (found["period"], found["result"] == RESULTS.no_cycle) == (None, True)
    both = np.stack([wave(40.3), wave(60.7)], axis=2)
    both = _measure.cycle_of(both, both)
    assert abs(both["period"] - 40.3) < 0.01
    assert both["fraction"] == 0.5
    # Angles alone do not make a ring.
    angles = 2 * np.pi * np.arange(8) / 8
    small = 0.01 * np.stack([np.cos(angles), np.sin(angles)])[None]
    assert _measure.angle_errors(small, angles)[0] < 1e-12
    assert abs(_measure.radius_errors(small)[0] - 0.99) < 1e-12


def test_an_undecided_look_hides_no_change():
    sink, source, open_ = [1, 0, 0, np.nan], [0, 1, 0, 9.0], [-1, -1, -1, np.nan]
    chaos = [0, 1, 0, np.inf]
    looks = np.array([sink, sink, open_, source, chaos, source, open_, sink])
    assert list(_recorder._differences(looks)) == [(1, 3), (5, 7)]
