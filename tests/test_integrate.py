"""Following a system through time: closed forms, independent programs, failures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import cgru_jax as cgru

# Shifted away from zero, so that an answer of zeros passes nothing.
CENTRE = np.array([0.3, -0.2])
SPIRAL = np.array([[-0.4, 1.3], [-1.1, -0.2]])
START = jnp.array([0.9, 0.4])
CELL = cgru.GRU(
    [[3.0, -1.0], [1.0, 2.0]],
    U_r=[[1.0, -2.0], [0.5, 1.0]],
    U_z=[[0.3, 0.0], [-0.8, 0.2]],
    b_h=[0.3, -0.2],
    b_r=[0.1, 0.4],
    b_z=[-0.5, 0.7],
    W_h=[[0.6], [-0.4]],
    W_r=[[0.1], [0.9]],
    W_z=[[-0.2], [0.5]],
)


def spiral(h):
    return jnp.asarray(SPIRAL) @ (h - CENTRE)


def growth(rate):
    """The logistic equation for h − 0.7, whose solution is known."""
    return cgru.Flow(lambda h: rate * (h - 0.7) * (1.7 - h))


def grown(rate, u, t):
    return 0.7 + 1 / (1 + (1 / u - 1) * np.exp(-rate * t))


@pytest.mark.parametrize("end", [4.0, -4.0], ids="to {}".format)
@pytest.mark.parametrize("substeps", [None, 100])
def test_a_linear_flow_is_the_matrix_exponential_in_both_directions(end, substeps):
    times = np.linspace(1.0, 1.0 + end, 5)
    got = cgru.integrate(cgru.Flow(spiral), START, times, substeps=substeps)
    exact = [CENTRE + scipy.linalg.expm((t - 1) * SPIRAL) @ (START - CENTRE) for t in times]
    # Local errors of 4e-11 (adaptive) or 0.01^5 (fixed), grown by at most e^(0.4 * 4).
    np.testing.assert_allclose(got.states, exact, rtol=0, atol=5e-9)
    np.testing.assert_array_equal(got.times, times)
    assert got.result == cgru.RESULTS.successful


def test_the_logistic_equation_follows_its_closed_form():
    times = np.array([-1.0, 0.5, 3.0, 3.25])
    got = cgru.integrate(growth(1.9), [0.8], times)
    np.testing.assert_allclose(got.states[:, 0], grown(1.9, 0.1, times + 1), atol=1e-9)


def test_fixed_steps_are_of_order_four():
    times = np.array([0.0, 2.0])
    ends = [cgru.integrate(growth(1.9), [0.8], times, substeps=m).states for m in (8, 16)]
    errors = [abs(float(e[-1, 0]) - grown(1.9, 0.1, 2.0)) for e in ends]
    assert 12 < errors[0] / errors[1] < 20  # 2^4, up to the next order


def test_a_cell_agrees_with_an_independent_integrator():
    times = np.linspace(0, 20, 9)
    theirs = scipy.integrate.solve_ivp(
        lambda t, h: np.asarray(CELL(jnp.asarray(h))),
        (0, 20),
        START,
        method="DOP853",
        t_eval=times,
        rtol=1e-10,
        atol=1e-12,
    )
    ours = cgru.integrate(cgru.Flow(CELL), START, times)
    np.testing.assert_allclose(ours.states, theirs.y.T, atol=1e-8)  # both at their 1e-10


def test_forwards_and_back_is_where_it_began():
    there = cgru.integrate(cgru.Flow(CELL), START, np.array([2.0, 5.0]))
    back = cgru.integrate(cgru.Flow(CELL), there.states[-1], np.array([5.0, 2.0]))
    # The error of the way there grows on the way back, by e^3 at most.
    np.testing.assert_allclose(back.states[-1], START, atol=1e-8)


def test_one_time_is_the_start_itself():
    alone = cgru.integrate(cgru.Flow(CELL), START, np.array([3.0]))
    np.testing.assert_array_equal(alone.states, START[None])
    assert alone.result == cgru.RESULTS.successful


@pytest.mark.parametrize("size", [2, 5])
def test_a_map_is_a_loop(size):
    keys = jr.split(jr.key(size), 2)
    cell = cgru.gru(2 * jr.normal(keys[0], (size, size)), b_h=0.3)
    start = jr.uniform(keys[1], (size,))
    h, states = start, [start]
    for _ in range(12):
        h = h + cell(h)
        states.append(h)
    kept = np.array([0, 1, 5, 12])
    got = cgru.integrate(cgru.Map(cell), start, kept)
    # Twelve steps of round-off, each grown by at most the norm of the weights.
    np.testing.assert_allclose(got.states, np.array(states)[kept], atol=1e-12)
    later = cgru.integrate(cgru.Map(cell), start, kept[2:])
    np.testing.assert_allclose(later.states, got.states[2:], atol=1e-15)


def test_each_row_of_inputs_is_the_input_of_one_step():
    rows = jnp.sin(jnp.arange(7.0))[:, None]
    h = START
    for x in rows:
        h = h + CELL.with_input(x)(h)
    got = cgru.integrate(cgru.Map(CELL), START, np.array([7]), rows)
    np.testing.assert_allclose(got.states[-1], h, atol=1e-14)


@pytest.mark.parametrize("substeps", [None, 400])
def test_an_input_that_jumps_is_one_constant_input_after_another(substeps):
    # The pulse comes after a long rest, where an adaptive step would leap over it.
    times = np.array([0.0, 60.0, 60.5, 63.0])
    values = jnp.array([[0.0], [8.0], [-1.0]])

    def pulse(t):
        return values[jnp.searchsorted(times[1:-1], t, side="right")]

    got = cgru.integrate(cgru.Flow(CELL), START, times, pulse, substeps=substeps)
    h = START
    for x, begin, end in zip(values, times[:-1], times[1:], strict=True):
        held = cgru.Flow(CELL.with_input(x))
        h = cgru.integrate(held, h, np.array([begin, end])).states[-1]
        i = int(np.argmax(times == end))
        # Fixed steps of 0.15 leave 0.15^4 / 5!, fading, from the first approach to rest.
        np.testing.assert_allclose(got.states[i], h, atol=1e-6 if substeps else 1e-9)


def test_an_input_may_vary_smoothly():
    # Only W_h: then the input adds to the argument of tanh, and one unit with U = 0 and
    # z = 1/2 obeys h' = (tanh(sin t) − h) / 2, a linear equation.
    cell = cgru.GRU(0.0, W_h=[[1.0]])
    got = cgru.integrate(
        cgru.Flow(cell), [0.4], np.array([0.0, 5.0]), lambda t: jnp.sin(t)[None]
    )
    kernel = lambda s: np.exp((s - 5) / 2) * np.tanh(np.sin(s)) / 2
    exact = 0.4 * np.exp(-2.5) + scipy.integrate.quad(kernel, 0, 5, epsabs=1e-13)[0]
    assert abs(float(got.states[-1, 0]) - exact) < 1e-9  # local errors of 4e-11


@pytest.fixture(scope="module")
def relaxation():
    """2,000 members of dh = −1.3 (h − 0.5) dt + 0.4 dW from 1.1, at times 0, 0.5, 1."""
    flow = cgru.Flow(lambda h: -1.3 * (h - 0.5))

    def member(key):
        return cgru.integrate(
            flow, [1.1], np.array([0.0, 0.5, 1.0]), substeps=32, noise=0.4, key=key
        ).states[:, 0]

    return np.asarray(eqx.filter_jit(jax.vmap(member))(jr.split(jr.key(0), 2_000)))


def test_noise_gives_the_ornstein_uhlenbeck_process(relaxation):
    times = np.array([0.0, 0.5, 1.0])
    mean = 0.5 + 0.6 * np.exp(-1.3 * times)
    variance = 0.4**2 / 2.6 * (1 - np.exp(-2.6 * times))
    # Four standard errors, of a mean and of a variance of normal variables.
    assert (abs(relaxation.mean(0) - mean) <= 4 * np.sqrt(variance / 2_000) + 1e-12).all()
    assert (
        abs(relaxation.var(0) - variance) <= 4 * variance * np.sqrt(2 / 2_000) + 1e-12
    ).all()
    both = np.cov(relaxation[:, 1], relaxation[:, 2])[0, 1]
    assert abs(both - variance[1] * np.exp(-0.65)) < 4 * variance[2] / np.sqrt(2_000)


def test_a_doubled_number_of_substeps_refines_the_same_path():
    times = np.array([0.0, 1.0, 1.5])

    def states(strength, substeps):
        flow = cgru.Flow(lambda h: strength * jnp.sin(3 * h))
        noise = jnp.array([0.3, 0.1])
        return cgru.integrate(
            flow, START, times, substeps=substeps, noise=noise, key=jr.key(5)
        ).states

    # Without drift the state is the path itself.
    still, bent = jnp.array(0.0), jnp.array(1.0)
    np.testing.assert_allclose(states(still, 24), states(still, 48), atol=1e-14)
    ends = [states(bent, m)[-1] for m in (24, 48, 96)]
    ratio = jnp.abs(ends[0] - ends[1]).max() / jnp.abs(ends[1] - ends[2]).max()
    assert ratio > 1.4  # order 1 halves the error on average; one path may do better


def test_one_bad_member_leaves_the_others_bit_for_bit():
    biases = jnp.linspace(-1, 1, 6)
    times = np.linspace(0, 3, 4)

    @eqx.filter_jit
    @jax.vmap
    def members(b):
        flow = cgru.Flow(lambda h: jnp.tanh(2 * h + b) - h)
        free = cgru.integrate(flow, START, times)
        fixed = cgru.integrate(flow, START, times, substeps=4)
        steps = cgru.integrate(cgru.Map(flow.field), START, np.array([0, 3]))
        return free, fixed, steps

    whole = members(biases)
    for run, spoilt in zip(whole, members(biases.at[2].set(jnp.nan)), strict=True):
        others = np.arange(6) != 2
        np.testing.assert_array_equal(spoilt.states[others], run.states[others])
        assert jnp.isnan(spoilt.states[2]).all()
        assert (spoilt.result == cgru.RESULTS.nonfinite).tolist() == (~others).tolist()


def test_a_solution_that_blows_up_is_nan_from_there_on():
    # h' = h^2 from 1 is 1 / (1 − t), which ends at t = 1.
    times = np.array([0.0, 0.5, 1.5])
    burst = cgru.Flow(lambda h: h**2)
    for substeps in (None, 2_000):
        got = cgru.integrate(burst, [1.0], times, substeps=substeps)
        assert got.result == cgru.RESULTS.diverged
        np.testing.assert_allclose(got.states[:2, 0], [1.0, 2.0], atol=1e-9)
        assert jnp.isnan(got.states[2:]).all()
    squares = cgru.integrate(cgru.Map(lambda h: h**2), [2.0], np.array([1, 40]))
    assert squares.result == cgru.RESULTS.diverged
    assert squares.states[0, 0] == 6.0
    assert jnp.isnan(squares.states[1, 0])


def test_too_few_steps_are_said_to_be_too_few():
    times = np.array([0.0, 0.1, 100.0])
    got = cgru.integrate(cgru.Flow(spiral), START, times, max_steps=20)
    assert got.result == cgru.RESULTS.max_steps
    assert jnp.isfinite(got.states[:2]).all()
    assert jnp.isnan(got.states[2]).all()


def test_traced_times_that_turn_back_fail_alone():
    run = jax.vmap(lambda t: cgru.integrate(cgru.Flow(spiral), START, t))
    got = run(jnp.array([[0.0, 1.0, 2.0], [0.0, 2.0, 1.0], [0.0, jnp.nan, 1.0]]))
    assert (got.result == cgru.RESULTS.successful).tolist() == [True, False, False]
    assert jnp.isnan(got.states[1:]).all()


@pytest.mark.parametrize("substeps", [None, 20])
def test_gradients_are_those_of_the_closed_form(substeps):
    times = np.array([0.0, 1.2])

    def end(rate, u):
        run = cgru.integrate(growth(rate), u[None] + 0.7, times, substeps=substeps)
        return run.states[-1, 0]

    def exact(rate, u):
        return 0.7 + 1 / (1 + (1 / u - 1) * jnp.exp(-rate * 1.2))

    rates, u = jnp.array([0.5, 1.9]), jnp.array([0.1, 0.4])
    got = jax.jit(jax.vmap(jax.grad(end, argnums=(0, 1))))(rates, u)
    want = jax.vmap(jax.grad(exact, argnums=(0, 1)))(rates, u)
    # Differentiating the steps keeps their order: the same error as the states, times 100.
    np.testing.assert_allclose(got, want, atol=1e-7 if substeps is None else 1e-5)


def test_gradients_with_respect_to_every_weight_are_difference_quotients():
    cell = cgru.gru([[3.0, -1.0], [1.0, 2.0]], 0.4, b_h=[0.3, -0.2])
    way = jax.tree.map(jnp.cos, cell)
    moved = lambda s: jax.tree.map(lambda a, b: a + s * b, cell, way)

    def flows(s):
        run = cgru.integrate(cgru.Flow(moved(s)), START, np.array([0.0, 4.0]))
        return run.states[-1].sum()

    def steps(s):
        run = cgru.integrate(cgru.Map(moved(s)), START, np.array([4]))
        return run.states[-1].sum()

    for loss in (flows, steps):
        loss = jax.jit(loss)
        # Central differences: h^2 of truncation and 1e-10 / h of the integrator's error.
        slope = (loss(1e-4) - loss(-1e-4)) / 2e-4
        assert abs(jax.grad(loss)(0.0) - slope) < 1e-5


def test_fixed_steps_and_maps_have_forward_derivatives_too():
    fixed = jax.jacfwd(
        lambda h: cgru.integrate(cgru.Flow(spiral), h, np.array([0.0, 1.0]), substeps=50)
        .states[-1]
    )(START)  # fmt: skip
    np.testing.assert_allclose(fixed, scipy.linalg.expm(SPIRAL), atol=1e-8)  # 0.02^4
    steps = jax.jacfwd(
        lambda h: cgru.integrate(cgru.Map(spiral), h, np.array([3])).states[-1]
    )(START)
    np.testing.assert_allclose(
        steps, np.linalg.matrix_power(np.eye(2) + SPIRAL, 3), atol=1e-14
    )


def test_a_hundred_calls_with_fresh_functions_compile_once():
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: events.append(name)
    )

    def call(i):
        b, shift = jnp.asarray(0.01 * i), jnp.asarray(0.1 * i)
        times = np.array([0.0, 1.0])
        flow = cgru.Flow(lambda h: jnp.tanh(2 * h + b) - h)
        cgru.integrate(flow, START, times)
        cgru.integrate(flow, START, times, substeps=3)
        cgru.integrate(cgru.Map(flow.field), START, np.array([2]))
        cgru.integrate(
            cgru.Flow(CELL), START, times, lambda t: jnp.cos(t + shift)[None], substeps=3
        )

    call(0)
    call(1)  # eager bookkeeping has compiled by now too
    events.clear()
    for i in range(2, 102):
        call(i)
    assert not [name for name in events if "backend_compile" in name]


def test_single_precision_stays_single_and_converges():
    rate = jnp.float32(1.9)
    got = cgru.integrate(growth(rate), jnp.array([0.8], jnp.float32), np.array([0.0, 2.0]))
    assert got.states.dtype == jnp.float32
    assert got.result == cgru.RESULTS.successful
    # Its tolerance is 2.4e-5, two thirds of seven digits.
    np.testing.assert_allclose(got.states[-1, 0], grown(1.9, 0.1, 2.0), atol=5e-4)


class Neither(cgru.AbstractSystem):
    """A third reading of time."""

    field: cgru.GRU

    def growth(self, eigenvalues):
        return jnp.real(eigenvalues)


NO_INPUTS = cgru.Flow(cgru.gru([[2.0, 0.0], [0.0, 2.0]]))
WITH = cgru.Flow(CELL)
T = np.array([0.0, 1.0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cgru.integrate(Neither(CELL), START, T), ["Flow or a Map", "Neither"]),
        (lambda: cgru.integrate(WITH, [0.1], T), ["start", "(1,)", "(2,)"]),
        (lambda: cgru.integrate(WITH, START[None], T), ["start", "(1, 2)", "vmap"]),
        (lambda: cgru.integrate(WITH, [0.1, np.nan], T), ["start", "[1]", "nan"]),
        (lambda: cgru.integrate(WITH, ["a", "b"], T), ["start", "text"]),
        (lambda: cgru.integrate(cgru.Flow(jnp.sum), START, T), ["field", "()", "(2,)"]),
        (lambda: cgru.integrate(WITH, START, []), ["times", "(0,)"]),
        (lambda: cgru.integrate(WITH, START, 3.0), ["times", "()"]),
        (lambda: cgru.integrate(WITH, START, [0, np.nan]), ["times[1]", "nan"]),
        (lambda: cgru.integrate(WITH, START, [0, 1, 0.5]), ["times[1] = 1.0", "0.5"]),
        (lambda: cgru.integrate(WITH, START, [0, 0]), ["times[0]", "monotone"]),
        (lambda: cgru.integrate(cgru.Map(CELL), START, [0, 1.5]), ["times", "1.5"]),
        (lambda: cgru.integrate(cgru.Map(CELL), START, [-1, 2]), ["times", "-1"]),
        (lambda: cgru.integrate(cgru.Map(CELL), START, [2, 1]), ["times", "1"]),
        (
            lambda: jax.jit(lambda t: cgru.integrate(cgru.Map(CELL), START, t))(T),
            ["times", "NumPy"],
        ),
        (
            lambda: cgru.integrate(NO_INPUTS, START, T, lambda t: jnp.ones(1)),
            ["no input weights", "W_h"],
        ),
        (
            lambda: cgru.integrate(WITH, START, T, lambda t: jnp.ones(3)),
            ["(3,)", "(2, 1)"],
        ),
        (
            lambda: cgru.integrate(cgru.Flow(spiral), START, T, lambda t: jnp.ones(1)),
            ["inputs", "cell", "function"],
        ),
        (lambda: cgru.integrate(WITH, START, T, np.ones((1, 1))), ["inputs", "function"]),
        (
            lambda: cgru.integrate(cgru.Map(CELL), START, [0, 4], np.ones((3, 1))),
            ["inputs", "(3, 1)", "4 rows"],
        ),
        (lambda: cgru.integrate(cgru.Map(CELL), START, [4], jnp.sin), ["inputs", "array"]),
        (lambda: cgru.integrate(WITH, START, T, substeps=0), ["substeps", "0"]),
        (lambda: cgru.integrate(cgru.Map(CELL), START, [4], substeps=2), ["substeps"]),
        (lambda: cgru.integrate(WITH, START, T, substeps=True), ["substeps", "True"]),
        (lambda: cgru.integrate(cgru.Map(CELL), START, [2**40]), ["times", str(2**40)]),
        (lambda: cgru.integrate(WITH, START, T, rtol=-1.0), ["rtol", "-1.0"]),
        (lambda: cgru.integrate(WITH, START, T, atol=np.nan), ["atol", "nan"]),
        (lambda: cgru.integrate(WITH, START, T, rtol=1e-3, substeps=2), ["rtol"]),
        (lambda: cgru.integrate(cgru.Map(CELL), START, [4], atol=1e-3), ["atol", "Map"]),
        (lambda: cgru.integrate(WITH, START, T, max_steps=0), ["max_steps", "0"]),
        (lambda: cgru.integrate(WITH, START, T, noise=0.1), ["noise", "substeps"]),
        (lambda: cgru.integrate(WITH, START, T, noise=0.1, substeps=2), ["key"]),
        (
            lambda: cgru.integrate(
                WITH, START, T, noise=[1.0, 2.0, 3.0], substeps=2, key=jr.key(0)
            ),
            ["noise", "(3,)", "(2,)"],
        ),
        (
            lambda: cgru.integrate(
                WITH, START, T[::-1], noise=0.1, substeps=2, key=jr.key(0)
            ),
            ["noise", "forwards"],
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_that_names_it(call, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    line = str(caught.value).splitlines()[0]
    for word in words:
        assert word in line
