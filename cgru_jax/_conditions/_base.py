"""A bifurcation as a square system of equations, and the one engine that solves any."""

import abc
import functools
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _scalars
from .._errors import check_x64, real_array
from .._implicit import attach, is_singular
from .._linalg import CLOSED_FORM_SIZE, solve
from .._program import hoist, hoist_numbers
from .._results import RESULTS, choose
from .._systems import AbstractSystem

STEPS = 60  # of Newton's method; a degenerate root takes one for every binary digit
# How far an answer may lie from its guess, as a part of the size of the guess; and anyway.
REACH, NEAR = 0.5, 1.0


class AbstractCondition(eqx.Module):
    """Equations that single out one point of a family, and how to read it.

    The unknowns are a point, as many parameters as the codimension, and `extra` ones that
    the equations need. A field is a function `field(point, parameter)` to the increment.
    """

    verb: eqx.AbstractClassVar[str]
    codimension: eqx.AbstractClassVar[int]
    smallest: ClassVar[int] = 1  # dimension that it needs
    reading: ClassVar[type] = AbstractSystem  # what the family must return

    def begin(self, field: Callable, point, parameter) -> Float[Array, " e"]:
        """A guess of the extra unknowns, shape `(e,)`."""
        return jnp.zeros(0, point.dtype)

    def residual(self, field: Callable, point, parameter, extra) -> Array:
        """The equations, as many as there are unknowns: the increment vanishes, and so
        does every test."""
        return jnp.concatenate(
            [field(point, parameter), jnp.stack(self.tests(field, point, parameter))]
        )

    def tests(self, field: Callable, point, parameter) -> list:
        """Smooth functions of point and parameter that vanish, one per codimension."""
        raise NotImplementedError

    @abc.abstractmethod
    def read(self, field: Callable, point, parameter, extra):
        """What is returned (with `distance` and `result` still open), and two lists of
        pairs (condition, `RESULTS`): where the answer is refused, and where it stands with
        a remark."""


def locate(condition: AbstractCondition, family: Callable, point, parameter):
    """Solve any condition near a guess.

    **Arguments:**

    - `family`: from a parameter (shape `()`, or `(2,)` for codimension two) to a system.
    - `point`, `parameter`: the guess.

    **Returns:** what the condition reads, with derivatives of every order with respect to
    everything that the family closes over, `distance` (largest change of a coordinate from
    the guess) and `result`. A refused answer is NaN.
    """
    field, reading, point, parameter = pose(
        condition.verb, family, point, parameter, condition.codimension
    )
    if not issubclass(reading, condition.reading):
        raise ValueError(
            f"{condition.verb}: the family returns a {reading.__name__}; this bifurcation "
            f"is one of a {condition.reading.__name__}."
        )
    if point.shape[0] < condition.smallest:
        raise ValueError(
            f"{condition.verb}: point has shape {point.shape}; this bifurcation needs "
            f"{condition.smallest} dimensions."
        )
    program, arrays = hoist_field(field, point, parameter)
    return _locate(condition, program, arrays, point, parameter)


def pose(verb, family, point, parameter, codimension):
    """A family as a field of (point, parameter), its reading of time, and the checked
    guess."""
    point = real_array(verb, "point", point)
    parameter = real_array(verb, "parameter", parameter)
    # A family may compute in double precision only if its arguments are.
    point, parameter = (x.astype(jnp.result_type(x, float)) for x in (point, parameter))
    check_x64(verb, point.dtype)
    if point.ndim != 1 or point.shape[0] == 0:
        raise ValueError(f"{verb}: point must have shape (n,), n ≥ 1, got {point.shape}.")
    shape = () if codimension == 1 else (codimension,)
    if parameter.shape != shape:
        raise ValueError(
            f"{verb}: parameter must have shape {shape}, got {parameter.shape}: "
            f"the family has {codimension} free parameter{'s' * (codimension > 1)} here."
        )
    found = []

    def field(x, p):
        system = family(p)
        found.append(system)
        if not isinstance(system, AbstractSystem):
            raise ValueError(
                f"{verb}: the family must return a Flow or a Map, got "
                f"{type(system).__name__}; write lambda p: cgru.Flow(...)."
            )
        size = getattr(system.field, "size", point.shape[0])
        if size != point.shape[0]:
            raise ValueError(
                f"{verb}: point has shape {point.shape}, but the family's systems have "
                f"dimension {size}."
            )
        return system.residual(x)

    given = jax.eval_shape(field, point, parameter)
    if getattr(given, "shape", None) != point.shape:
        raise ValueError(
            f"{verb}: at a point of shape {point.shape} the family's field returns "
            f"{given}; a field returns an array of the shape of its state."
        )
    return field, type(found[0]), point, parameter


def hoist_field(field, point, parameter):
    """A field as a program of one vector, point before parameter, and its arrays."""
    n, shape = point.shape[0], parameter.shape
    return hoist_numbers(
        lambda u: field(u[:n], u[n:].reshape(shape)),
        jnp.concatenate([point, parameter.reshape(-1)]),
    )


def as_field(program, arrays):
    """The field of `hoist_field` again, in scalars where it has few dimensions: it then
    compiles in less time, and XLA for CPUs aborts on some batches of small products."""

    def field(x, p):
        small = x.shape[0] <= CLOSED_FORM_SIZE and _scalars.worthwhile(program)
        unknown = jnp.concatenate([x, p.reshape(-1)])
        if not small:
            return program(arrays, unknown)
        scalars = [unknown[i] for i in range(unknown.shape[0])]
        return jnp.stack(_scalars.evaluate(program, arrays, scalars))

    return field


@eqx.filter_jit
def _locate(condition, program, arrays, point, parameter):
    n, p = point.shape[0], parameter.size

    def split(unknown):
        shaped = unknown[n : n + p].reshape(parameter.shape)
        return unknown[:n], shaped, unknown[n + p :]

    def equations(unknown):
        return condition.residual(as_field(program, arrays), *split(unknown))

    frozen, point, parameter = jax.lax.stop_gradient((arrays, point, parameter))
    extra = condition.begin(as_field(program, frozen), point, parameter)
    guess = jnp.concatenate([point, parameter.reshape(-1), extra])
    question, constants = hoist(equations, guess)
    fixed = functools.partial(question, jax.lax.stop_gradient(constants))
    root, converged = newton(fixed, guess)
    singular = is_singular(fixed, root, jax.jacfwd(fixed)(root))
    moved = jnp.max(jnp.abs(root - guess)[: n + p])
    reach = jnp.maximum(NEAR, REACH * jnp.max(jnp.abs(guess[: n + p])))

    finite = jnp.all(jnp.isfinite(guess))
    for array in frozen:
        finite &= jnp.all(jnp.isfinite(array))
    root = attach(question, constants, root)
    answer, refusals, remarks = condition.read(as_field(program, arrays), *split(root))
    refusals = [
        (~finite, RESULTS.nonfinite),
        (~converged, RESULTS.not_converged),
        (moved > reach, RESULTS.elsewhere),
        (singular, RESULTS.degenerate),
        *refusals,
    ]
    refused = functools.reduce(jnp.logical_or, [condition for condition, _ in refusals])
    answer = jax.tree.map(lambda x: jnp.where(refused, jnp.nan, x), answer)
    result = choose(RESULTS, RESULTS.successful, *refusals, *remarks)
    return eqx.tree_at(
        lambda a: (a.distance, a.result),
        answer,
        (moved, result),
        is_leaf=lambda x: x is None,
    )


def newton(residual, guess):
    """A root by Newton's method with bounded steps, and whether it converged.

    A step is at most a quarter of the size of the unknowns, so that a nearly singular start
    does not throw the iteration out of the neighbourhood.
    """
    size = jnp.maximum(1, jnp.max(jnp.abs(guess)))
    small = 1e-13 * size

    def step(state):
        count, x, _ = state
        move = solve(jax.jacfwd(residual)(x), residual(x))
        long = jnp.max(jnp.abs(move))
        # Where the Jacobian is exactly singular there is no step; the result says so.
        x = jnp.where(jnp.isfinite(long), x - move / jnp.maximum(1, 4 * long / size), x)
        return count + 1, x, jnp.where(jnp.isfinite(long), long, 0)

    def unsettled(state):
        count, _, long = state
        return (count < STEPS) & (long > small)

    start = (0, guess, jnp.full((), jnp.inf, guess.dtype))
    _, root, long = jax.lax.while_loop(unsettled, step, start)
    # Rounding may stall a badly conditioned one above `small`; its digits are then few.
    value = residual(root)
    settled = (long <= 1e-7 * size) & (jnp.max(jnp.abs(value)) <= 1e-9 * size)
    return root, settled & jnp.all(jnp.isfinite(root))
