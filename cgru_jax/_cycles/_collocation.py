r"""A periodic orbit as finitely many numbers: states at the ends of $N$ intervals.

Between two ends the orbit is the polynomial of degree nine that has the right state and
the right first four time derivatives at both (derivatives along the field are exact, by
forward differentiation), and the ends fit together by the formula

$$x_{i+1} - x_i = \tfrac{h}{2}(f_i + f_{i+1}) + \tfrac{3 h^2}{28}(\dot f_i - \dot f_{i+1})
+ \tfrac{h^3}{84}(\ddot f_i + \ddot f_{i+1})
+ \tfrac{h^4}{1680}(\dddot f_i - \dddot f_{i+1}).$$

It has the order (eight) and the stability function of collocation at four Gauss points,
symmetric and stable however stiff the field, but no unknowns inside the intervals: four
times fewer, nothing to condense, and an interpolant as accurate as the ends. Automatic
derivatives are what makes it cheap.

**Source:** N. Obreshkov, 1940; E. Hairer, S. P. Nørsett and G. Wanner, Solving Ordinary
Differential Equations I, section II.13.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

DERIVATIVES = 4
EQUAL = 0.2  # part of a mesh that is spread evenly over time
_WEIGHTS = (1 / 2, 3 / 28, 1 / 84, 1 / 1680)
# Five Gauss points on (0, 1): exact to degree nine, that of the interpolant.
_NODES, _GAUSS = (x / 2 for x in np.polynomial.legendre.leggauss(5))
GAUSS_NODES, GAUSS_WEIGHTS = _NODES + 1 / 2, _GAUSS


def derivatives(field, point: Float[Array, " n"]) -> Float[Array, "4 n"]:
    """The first four time derivatives of the orbit through a point."""

    def onward(known):
        def more(x):
            rows, changes = jax.jvp(known, (x,), (field(x),))
            return jnp.concatenate([rows, changes[-1:]])

        return more

    tower = lambda x: field(x)[None]
    for _ in range(DERIVATIVES - 1):
        tower = onward(tower)
    return tower(point)


def defects(
    field, points: Float[Array, "N n"], steps: Float[Array, " N"], end=None
) -> Float[Array, "N n"]:
    """What each interval lacks to be a piece of an orbit; the last one ends at `end`, by
    default the first point. `steps`: how long each takes."""
    every = points if end is None else jnp.concatenate([points, end[None]])
    towers = jax.vmap(lambda x: derivatives(field, x))(every)
    here, there = towers[: len(points)], jnp.roll(towers, -1, axis=0)[: len(points)]
    lack = jnp.roll(every, -1, axis=0)[: len(points)] - points
    for k, weight in enumerate(_WEIGHTS):
        total = here[:, k] + (-1) ** k * there[:, k]
        lack = lack - weight * steps[:, None] ** (k + 1) * total
    return lack


def coefficients(points, towers, steps) -> Float[Array, "N 10 n"]:
    """The interpolant of every interval as a polynomial, highest power first, of the part
    of the interval that has passed, less one half. `towers`: the derivatives at the points,
    shape `(N, 4, n)`."""
    here = jnp.concatenate([points[:, None], towers], axis=1)
    scaled = steps[:, None] ** jnp.arange(DERIVATIVES + 1)
    # Both ends in units of the interval.
    ends = jnp.stack([here, jnp.roll(here, -1, axis=0)], axis=1) * scaled[:, None, :, None]
    return jnp.einsum("pek,iekn->ipn", jnp.asarray(_BASIS), ends)


def pieces_through(field, points, steps) -> Float[Array, "N 10 n"]:
    """The interpolant of a cycle of this field through these points."""
    return coefficients(points, jax.vmap(lambda x: derivatives(field, x))(points), steps)


def interpolate(polynomial: Float[Array, "p n"], at: Float[Array, ""]) -> Array:
    """The state a part `at` (0 to 1) into an interval, shape `(n,)`."""
    return jnp.polyval(polynomial, at - 0.5)


def rates(towers: Float[Array, "N 4 n"]) -> Float[Array, " N"]:
    """How fast an orbit changes its course at each point, in units that intervals should
    share: the fourth root of its fourth derivative."""
    return jnp.linalg.norm(towers[:, -1], axis=1) ** (1 / DERIVATIVES)


def spread(cost, times, places):
    """Times that cut an orbit into intervals that are alike.

    `cost`: of the pieces between `times`; `places`: parts (0 to 1) of the whole cost, of
    which a part is spread evenly.
    """
    steps = jnp.diff(times)
    cost = (1 - EQUAL) * cost / jnp.sum(cost) + EQUAL * steps / jnp.sum(steps)
    amount = jnp.append(0.0, jnp.cumsum(cost))
    return jnp.interp(places, amount / amount[-1], times)


def _basis():
    """The polynomials, highest power first, that have one derivative 1 at one end of
    (−1/2, 1/2) and all others up to the fourth 0: shape (10, 2, 5)."""
    m = DERIVATIVES + 1
    conditions = np.zeros((2, m, 2 * m))
    for end, x in enumerate((-0.5, 0.5)):
        for k in range(m):
            for power in range(k, 2 * m):
                conditions[end, k, power] = math.perm(power, k) * x ** (power - k)
    inverse = np.linalg.inv(conditions.reshape(2 * m, 2 * m))
    return inverse[::-1].reshape(2 * m, 2, m)


_BASIS = _basis()


def average(function, polynomials, steps) -> Float[Array, ""]:
    """The integral of a scalar function along the orbit."""

    def one(polynomial):
        places = jnp.asarray(GAUSS_NODES)
        states = jax.vmap(lambda s: interpolate(polynomial, s))(places)
        return jnp.asarray(GAUSS_WEIGHTS) @ jax.vmap(function)(states)

    return steps @ jax.vmap(one)(polynomials)
