"""The linear algebra of the unknowns, in scalars for few of them."""

import functools

import jax
import jax.numpy as jnp

from .. import _scalars
from .._linalg import scalar_determinant, scalar_solve

SCALAR_SIZE = 4  # unknowns up to which the linear algebra is written out
# Of a difference, in units of the size of the curve: it only tells which steps to halve.
APART = 1e-5


class Space:
    """The linear algebra of the unknowns: written out in scalars for few of them."""

    def __init__(self, curve, restore, size):
        self.curve, self.restore, self.size = curve, restore, size
        programs = [p for p in (curve.equations, curve.tests) if p is not None]
        # What is long and used in four places is traced once.
        self.sparse = None if curve.linear is None else jax.jit(curve.linear)
        self.tests = 0
        if curve.tests is not None:
            self.tests = curve.tests.jaxpr.outvars[0].aval.shape[0]
        small = size <= SCALAR_SIZE
        small &= curve.linear is None
        self.scalar = small and all(_scalars.worthwhile(p) for p in programs)

    def pack(self, vector):
        return jnp.stack(vector, axis=-1) if self.scalar else vector[0]

    def unpack(self, array):
        return tuple(array[i] for i in range(self.size)) if self.scalar else (array,)

    def last(self, vector, back=1):
        return vector[-back] if self.scalar else vector[0][-back]

    def evaluate(self, program, arrays, scale, vector):
        if self.scalar:
            point = [x * scale[i] for i, x in enumerate(vector)]
            return tuple(_scalars.evaluate(program, arrays, point))
        return (program(arrays, vector[0] * scale),)

    def linear(self, row, vector):
        """Value and Jacobian of the equations."""
        arrays, setting = self.restore(row)
        if self.curve.linear is not None:
            whole = self.sparse(arrays[0], vector[0] * setting.scale)
            return whole[:, -1], whole[:, :-1] * setting.scale
        f = functools.partial(self.evaluate, self.curve.equations, arrays[0], setting.scale)
        if not self.scalar:
            return f(vector)[0], jax.jacfwd(lambda x: f((x,))[0])(vector[0])
        columns = []
        for j in range(self.size):
            # One variable at a time: derivatives that vanish are never written down.
            alone = lambda x, j=j: f((*vector[:j], x, *vector[j + 1 :]))
            value, column = jax.jvp(alone, (vector[j],), (jnp.ones_like(vector[j]),))
            columns.append(column)
        return value, [list(entries) for entries in zip(*columns, strict=True)]

    def settle(self, row, guess, anchor, normal, near, steps, slopes=True):
        """A point of the curve and what can be seen there.

        Some `steps` of Newton's method from `guess`, in the plane through `anchor` across
        `normal`; then what `watch` gives, for the vector `near`, or what `look` gives where
        no `slopes` are wanted. Returns the point, the longest and the last step, and the
        tangent, values and slopes.
        """
        gap = lambda x: -dot(normal, move(x, -1, anchor))
        zero = jnp.zeros(())

        def newton(_, state):
            x, first, _ = state
            step = self.correct(*self.linear(row, x), normal, gap(x))
            size = norm(step)
            return move(x, 1, step), jnp.maximum(first, size), size

        if self.curve.linear is None:
            start = guess, zero, zero
            found, first, last = jax.lax.fori_loop(0, steps, newton, start)
            if slopes:
                return found, first, last, self.watch(row, near, found)
            tangent, *seen = self.look(row, near, found)
            return found, first, last, (tangent, read(self, (tangent, *seen)), None)

        # By differences, since a second derivative of what is long takes long to compile;
        # one loop for all, so that the equations are compiled once.
        def once(state, moment):
            iterating, shift = moment
            x, first, last, direction = state
            place = move(x, shift, direction)
            value, jacobian = self.linear(row, place)

            def correct():
                step = self.correct(value, jacobian, normal, gap(x))
                size = norm(step)
                state = move(x, 1, step), jnp.maximum(first, size), size, direction
                return state, jnp.zeros(2 + self.tests)

            def glance():
                tangent, length = self.tangent(jacobian, near)
                seen = read(self, (tangent, length, self.test(row, place)))
                onward = where(shift == 0, tangent, direction)
                return (x, first, last, onward), jnp.stack(seen)

            return jax.lax.cond(iterating, correct, glance)

        differ = slopes and (self.curve.turns or self.tests > 0)
        shifts = jnp.array([0.0] * (steps + 1) + [APART, -APART] * differ)
        start = guess, zero, zero, (jnp.zeros(self.size),)
        state, values = jax.lax.scan(once, start, (jnp.arange(len(shifts)) < steps, shifts))
        found, first, last, direction = state
        values = values[steps:]
        change = (values[1] - values[-1]) / (2 * APART) if differ else 0 * values[0]
        return found, first, last, (direction, tuple(values[0]), tuple(change))

    def correct(self, value, jacobian, normal, gap):
        """Newton's step onto the curve, in the plane at distance `gap` along `normal`."""
        if self.scalar:
            return tuple(
                scalar_solve([*jacobian, list(normal)], [*(-v for v in value), gap])
            )
        matrix = jnp.concatenate([jacobian, normal[0][None]])
        return (jnp.linalg.solve(matrix, jnp.append(-value, gap)),)

    def look(self, row, near, vector):
        """The unit tangent with the orientation of the equations, a number that vanishes at
        a crossing with another curve, and the tests. `near`: a vector not far from the
        tangent's line."""
        _, jacobian = self.linear(row, vector)
        return *self.tangent(jacobian, near), self.test(row, vector)

    def tangent(self, jacobian, near):
        if self.scalar:
            n = self.size
            normal = [
                (-1) ** (n - 1 + j)
                * scalar_determinant([[*line[:j], *line[j + 1 :]] for line in jacobian])
                for j in range(n)
            ]
            length = jnp.sqrt(sum(x * x for x in normal))
            return tuple(x / length for x in normal), length
        matrix = jnp.concatenate([jacobian, near[0][None]])
        # Two solves: the derivative of one with two right-hand sides is a batch of
        # products on which XLA for CPUs has aborted.
        unit = jnp.zeros(self.size).at[-1].set(1)
        along = jnp.linalg.solve(matrix, unit)
        across = jnp.linalg.solve(matrix, jnp.ones(self.size))
        sign, _ = jnp.linalg.slogdet(jax.lax.stop_gradient(matrix))
        return (sign * along / jnp.linalg.norm(along),), 1 / (1 + jnp.linalg.norm(across))

    def test(self, row, vector):
        """The values of the tests."""
        if self.curve.tests is None:
            return ()
        arrays, setting = self.restore(row)
        values = self.evaluate(self.curve.tests, arrays[1], setting.scale, vector)
        return values if self.scalar else tuple(values[0][i] for i in range(self.tests))

    def watch(self, row, near, vector):
        """The unit tangent with the orientation of the equations, what might vanish twice
        in one step, in the places of `read`, and how that changes along the tangent."""
        direction, *_ = self.look(row, near, vector)
        watched = lambda x: self._watched(row, near, x)
        return direction, *jax.jvp(watched, (vector,), (direction,))

    def _watched(self, row, near, vector):
        """The tangent, all that is dear in it, only if it is an event that the curve
        turns."""
        zero = jnp.zeros(())
        if not self.curve.turns:
            return (zero, zero, *self.test(row, vector))
        tangent, _, tests = self.look(row, near, vector)
        return (self.last(tangent), zero, *tests)


def dot(a, b):
    return sum(jnp.sum(x * y) for x, y in zip(a, b, strict=True))


def norm(a):
    return jnp.sqrt(dot(a, a))


def move(a, factor, b):
    return tuple(x + factor * y for x, y in zip(a, b, strict=True))


def where(condition, a, b):
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def slanted(size):
    """A direction that is orthogonal to nothing in particular."""
    return jnp.cos(jnp.arange(1.0, size + 1)) / jnp.sqrt(size / 2)


def read(space, seen):
    """What changes sign at an event, for the orientation of the equations."""
    tangent, length, tests = seen
    return (space.last(tangent), length, *tests)


def signed(sigma, values):
    """The same for a tangent that runs with (+1) or against (−1) that orientation."""
    return (sigma * values[0], sigma * values[1], *values[2:])
