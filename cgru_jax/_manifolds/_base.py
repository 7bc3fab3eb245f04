"""A saddle that one direction leaves, and the orbit that leaves along it."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._conditions import newton
from .._implicit import attach, second_derivative, smallest_singular
from .._linalg import determinant, eigenvalues, solve
from .._program import hoist

# An eigenvalue below this part of the largest one may be zero: a fold moves it by the
# square root of rounding.
HYPERBOLIC = 1e-7
BEGIN = 1e-4  # of the size of a state; the parabola is wrong by its third power
# An orbit that comes this near to an equilibrium, in the same unit, is said to arrive: an
# error e of the steps lets an orbit into a saddle miss it by the square root of e.
ARRIVED = 3e-5
TOLERANCE = 1e-12
STEPS = 8_192


class Leaving(eqx.Module):
    """The only direction in which orbits leave a saddle.

    - `point`: shape `(n,)`; `rate`: shape `()`, the eigenvalue.
    - `along`: shape `(n,)`, its eigenvector; `frame`: shape `(n,)`, the same, held fixed:
      a unit vector, and `frame @ along` is 1 whatever moves.
    - `across`: shape `(n,)`, its left eigenvector: zero on all the others, 1 on `along`.
    - `slowest`: shape `()`, the real part of the eigenvalue nearest below zero.
    - `alone`: whether the point is such a saddle.
    """

    point: Float[Array, " n"]
    rate: Float[Array, ""]
    along: Float[Array, " n"]
    frame: Float[Array, " n"]
    across: Float[Array, " n"]
    slowest: Float[Array, ""]
    alone: Bool[Array, ""]


def leaving(field, guess: Float[Array, " n"], side, like=None) -> Leaving:
    """The saddle near a guess; on side 1 the largest component of `along` is positive, or
    its component along `like` where that is given.

    Everything has derivatives of every order: the saddle as a root of the field, rate and
    vectors as roots of a bordered system. No eigenvector is differentiated.
    """
    program, arrays = hoist(field, guess)
    frozen = jax.lax.stop_gradient(arrays)
    root, converged = newton(lambda x: program(frozen, x), jax.lax.stop_gradient(guess))
    point = attach(program, arrays, root, linear=_regular)
    jacobian = jax.jacfwd(field)(point)
    still = jax.lax.stop_gradient(jacobian)
    values = eigenvalues(still)
    growth = jnp.real(values)
    margin = HYPERBOLIC * jnp.max(jnp.abs(values))
    alone = (jnp.sum(growth > 0) == 1) & jnp.all(jnp.abs(growth) > margin)
    rate = jnp.max(growth)
    _, left, frame = smallest_singular(still - rate * jnp.eye(len(point)))
    if like is None:
        # Of components that are equal but for rounding, the first.
        large = jnp.abs(frame) > (1 - 1e-6) * jnp.max(jnp.abs(frame))
        like = jax.nn.one_hot(jnp.argmax(large), len(point))
    frame = frame * side * jnp.where(frame @ like < 0, -1, 1)
    along, rate = _eigenpair(jacobian, frame, rate, frame)
    across, _ = _eigenpair(jacobian.T, left / (left @ frame), rate, along)
    slowest = values[jnp.argmax(jnp.where(growth > 0, -jnp.inf, growth))]
    slowest = _eigenvalue(jacobian, slowest)
    return Leaving(point, rate, along, frame, across, slowest, alone & converged)


def _eigenpair(matrix, vector, value, border):
    """The eigenvector x with `border @ x = 1` and its simple eigenvalue."""

    def equations(u):
        return jnp.append(matrix @ u[:-1] - u[-1] * u[:-1], border @ u[:-1] - 1)

    guess = jax.lax.stop_gradient(jnp.append(vector, value))
    question, constants = hoist(equations, guess)
    u = attach(question, constants, guess, linear=_regular)
    return u[:-1], u[-1]


def _regular(residual, root, valid):
    """How to solve with the Jacobian of `residual`: `alone` says that it is not singular,
    and to ask again is the most to compile."""
    return functools.partial(solve, jax.jacfwd(residual)(root)), jnp.asarray(False)


def _eigenvalue(matrix, value):
    """The real part of a simple eigenvalue, real or complex, with its derivatives: its two
    parts are a root of those of the characteristic polynomial, analytic as it is."""

    def equations(u):
        shifted = matrix - jax.lax.complex(u[0], u[1]) * jnp.eye(len(matrix))
        value = determinant(shifted)
        return jnp.stack([value.real, value.imag])

    guess = jnp.stack([value.real, value.imag])
    question, constants = hoist(equations, guess)
    return attach(question, constants, guess, linear=_regular)[0]


def size_of(point):
    return 1 + jnp.max(jnp.abs(jax.lax.stop_gradient(point)))


def parabola(field, saddle: Leaving, distance):
    """The place a small distance along the orbit that leaves, to its third power."""
    jacobian = jax.jacfwd(field)(saddle.point)
    bend = second_derivative(field, saddle.point, saddle.along)
    # Twice the rate is no eigenvalue: the rate is the only positive one.
    bend = solve(2 * saddle.rate * jnp.eye(len(bend)) - jacobian, bend)
    unit = jnp.linalg.norm(saddle.along)
    part = distance / unit
    # What lies along the orbit changes its clock only; without it the distance is an arc.
    bend = bend - saddle.along * (saddle.along @ bend) / unit**2
    return saddle.point + part * saddle.along + part**2 / 2 * bend


def follow(program, arrays, start, begin, lengths, slowest, box):
    """The orbit by its arclength, from `begin` at `start`.

    **Arguments:** `lengths`: shape `(k,)`, rising, the first not below `begin`; `slowest`:
    the speed at which it is said to rest; `box`: its lower and upper corner.

    **Returns:** states, shape `(k, n)`, and times, shape `(k,)`, infinite from where it
    ended; the last state, arclength and whether it rests, is outside, or took all steps.
    """

    def outside(h):
        return jnp.any((h < box[0]) | (h > box[1]))

    def rests(h, arrays):
        return jnp.linalg.norm(program(arrays, h)) <= slowest

    def onward(s, y, arrays):
        flow = program(arrays, y[:-1])
        # The orbit ends where this rests; what a step tries beyond must stay finite.
        speed = jnp.maximum(jnp.linalg.norm(flow), slowest / 2)
        return jnp.append(flow, 1.0) / speed

    def ended(s, y, arrays, **_):
        return rests(y[:-1], arrays) | outside(y[:-1])

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(onward),
        diffrax.Dopri8(),
        begin,
        lengths[-1],
        None,
        jnp.append(start, 0.0),
        args=arrays,
        saveat=diffrax.SaveAt(
            subs=[diffrax.SubSaveAt(ts=lengths), diffrax.SubSaveAt(t1=True)]
        ),
        stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        max_steps=STEPS,
        event=diffrax.Event(ended),
        throw=False,
    )
    path, last = solution.ys
    last, length = last[-1, :-1], solution.ts[1][-1]
    there = jnp.isfinite(path).all(axis=1)
    # The times of a step that ended outside reach beyond where it began to be outside.
    path = jnp.where(there[:, None], path, jnp.inf)
    stuck = solution.result == diffrax.RESULTS.max_steps_reached
    return (
        path[:, :-1],
        path[:, -1],
        last,
        length,
        rests(last, arrays),
        outside(last),
        stuck,
    )
