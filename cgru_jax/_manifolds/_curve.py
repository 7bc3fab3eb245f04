"""Curves of homoclinic orbits in two parameters."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .._bifurcation._base import blank, check_extent
from .._conditions import as_field, hoist_field, pose
from .._cycles._cyclic import is_degenerate, solve
from .._results import RESULTS, choose
from .._systems import Flow
from ._base import Leaving, leaving
from ._connections import Homoclinic
from ._pieces import ENDS, close, equations, moved, saddles

# Steps as parts of the extent of the bounds: the longest keeps a curve that fills them
# smooth to the eye; each must pass on a mesh of the last one.
FIRST_STEP, LONGEST, SHORTEST = 2e-3, 3e-2, 1e-7
STRAIGHT, TURN = 0.995, 0.97  # cosines between tangents: lengthen the step, or refuse it
SLANT = 0.25  # how far the answer may lie beside the prediction, in steps
MOVED = 1e-2  # how far the start may lie from the curve
MESHES = 2
SHIFT = 0.2  # of a prediction in time, in units of a rate at the saddle
# An orbit of this part of the length that it started with is about to vanish.
SMALLEST = 0.1
# A saddle that is left this much slower than entered is about to meet a node.
SLOWEST = 2e-2
RUNNING, BOUND, SHRUNK, MERGED, STEP, CAPACITY, REFUSED, ELSEWHERE, NONFINITE = range(9)


class HomoclinicCurve(eqx.Module):
    """A curve of homoclinic orbits, in `k` slots of which the first ones are used.

    - `points`: shape `(k, N, n)`; `times`: shape `(k, N)`; `saddles`: shape `(k, n)`;
      `saddle_quantity`: shape `(k,)`: as in `Homoclinic`.
    - `parameters`: shape `(k, 2)`, in order along the curve.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `result`: why it ended: `bound`; `shrunk` (near a Bogdanov–Takens point);
      `saddle_node` (the saddle is about to meet a node); `step`; `capacity`; or what went
      wrong.
    """

    points: Float[Array, "*batch k N n"]
    times: Float[Array, "*batch k N"]
    parameters: Float[Array, "*batch k 2"]
    saddles: Float[Array, "*batch k n"]
    saddle_quantity: Float[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    result: RESULTS


def trace_homoclinic_curve(
    family: Callable,
    orbit: Homoclinic,
    parameter: ArrayLike | list,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    capacity: int = 64,
) -> HomoclinicCurve:
    """The curve of homoclinic orbits through one of them, in a family of two parameters.

    Each step goes along the tangent, of the parameters and of all points, and solves the
    equations of `locate_homoclinic` on the line across it. They stay a closed chain, so a
    step costs what an orbit costs, in proportion to its mesh, which is renewed at each.

    **Arguments:**

    - `family`: from a parameter, shape `(2,)`, to a `Flow`.
    - `orbit`, `parameter`: from `locate_homoclinic`, with both parameters, shape `(2,)`.
    - `bounds`: `(low, high)`, each of shape `(2,)`, between which the parameters stay.
    - `direction`: +1 or −1, whether the first parameter first rises or falls (the second,
      where the first is constant).
    - `capacity`: how many orbits there is room for. A closed curve is followed until they
      are used up.

    **Returns:** a `HomoclinicCurve`, without derivatives: those come from
    `locate_homoclinic` at one of its orbits. Where `saddle_quantity` changes its sign, a
    curve of folds of cycles begins.

    **Fails:** `result` is `nonfinite` (also of an orbit that was not found),
    `not_converged` or `elsewhere` (the orbit is none at these parameters). `ValueError` for
    what does not fit.

    **Source:** pseudo-arclength continuation (H. B. Keller, 1977) in the plane of the
    parameters; Kuznetsov, Elements of Applied Bifurcation Theory, section 10.3.
    """
    verb = "trace_homoclinic_curve"
    if not isinstance(orbit, Homoclinic) or orbit.points.ndim != 2:
        raise ValueError(
            f"{verb}: orbit must be one Homoclinic, as locate_homoclinic returns, got "
            f"{type(orbit).__name__}; a batch of them goes through eqx.filter_vmap."
        )
    # An orbit that was not found is NaN, and the result will say so.
    anywhere = jnp.zeros_like(orbit.saddle)
    field, reading, point, parameter = pose(verb, family, anywhere, parameter, 2)
    if not issubclass(reading, Flow):
        raise ValueError(f"{verb}: the family returns a {reading.__name__}, not a Flow.")
    low, high, direction = check_extent(verb, bounds, direction, capacity, parameter)
    program, arrays = hoist_field(field, point, parameter)
    return _trace(program, capacity, arrays, orbit, parameter, low, high, direction)


class _State(eqx.Module):
    """One orbit of the curve, and how to go on. Parameters in units of the extent;
    `tangent`: of them, of length 1; `onward`: what the points do meanwhile; `slower`:
    the logarithms of the steps."""

    points: Array  # counted from the saddle
    steps: Array
    origin: Leaving
    parameter: Array
    tangent: Array
    onward: Array
    slower: Array
    stride: Array
    count: Array
    status: Array


@eqx.filter_jit
def _trace(program, capacity, arrays, orbit, parameter, low, high, direction):
    arrays, orbit, parameter, low, high, direction = jax.lax.stop_gradient(
        (arrays, orbit, parameter, low, high, direction)
    )
    extent = high - low
    whole = as_field(program, arrays)
    field = lambda x, p: whole(x, low + p * extent)
    finite = jnp.all(jnp.isfinite(orbit.points)) & jnp.all(jnp.isfinite(parameter))
    for array in (*arrays, orbit.times, orbit.saddle, low, high):
        finite &= jnp.all(jnp.isfinite(array))
    count, n = orbit.points.shape
    # Where nothing was found, an orbit with which the rest can be computed.
    spare = jnp.cos(jnp.arange(count)[:, None] + jnp.arange(n))
    points = jnp.where(finite, orbit.points - orbit.saddle, spare)
    length = _length(points)
    start = jnp.where(finite, (parameter - low) / extent, 0.5)
    saddle = jnp.where(finite, orbit.saddle, 0.0)
    state = _State(
        points=points,
        steps=jnp.where(finite, jnp.append(jnp.diff(orbit.times), 0.0), 1 / count),
        origin=leaving(lambda x: field(x, start), saddle, 1, points[0]),
        parameter=start,
        # The first step only moves the start onto the curve, across any direction.
        tangent=jnp.array([0.8, 0.6]),
        onward=jnp.zeros_like(points),
        slower=jnp.zeros(count),
        stride=jnp.zeros(()),
        count=jnp.zeros((), int),
        status=jnp.where(finite, RUNNING, NONFINITE),
    )

    def kept(s):
        quantity = s.origin.rate + s.origin.slowest
        return s.points, s.steps, s.parameter, s.origin.point, quantity

    rows = [jnp.full((capacity, *x.shape), jnp.nan) for x in kept(state)]

    def body(carry):
        state, rows = carry
        state, fresh = _advance(field, capacity, direction, length, state)
        slot = jnp.where(fresh, state.count - 1, capacity)
        rows = [
            row.at[slot].set(x, mode="drop")
            for row, x in zip(rows, kept(state), strict=True)
        ]
        return state, rows

    state, rows = jax.lax.while_loop(lambda c: c[0].status == RUNNING, body, (state, rows))
    points, steps, parameters, saddles, quantity = rows
    valid = jnp.arange(capacity) < state.count
    status = state.status
    return HomoclinicCurve(
        points=points + saddles[:, None],
        times=jnp.cumsum(steps, axis=1) - steps,
        parameters=blank(valid, low + parameters * extent),
        saddles=saddles,
        saddle_quantity=quantity,
        valid=valid,
        result=choose(
            RESULTS,
            RESULTS.step,
            (status == BOUND, RESULTS.bound),
            (status == SHRUNK, RESULTS.shrunk),
            (status == MERGED, RESULTS.saddle_node),
            (status == CAPACITY, RESULTS.capacity),
            (status == REFUSED, RESULTS.not_converged),
            (status == ELSEWHERE, RESULTS.elsewhere),
            (status == NONFINITE, RESULTS.nonfinite),
        ),
    )


def _length(points):
    return jnp.sum(jnp.linalg.norm(jnp.diff(points, axis=0), axis=1))


def _predict(field, state, stride):
    """Points along the tangent, nothing beside it, and the steps that go with them.

    Where the orbit turns sharply points that move straight across it would collide: there
    they keep their times, counted from the farthest one. Towards the saddles a shift of
    time is a factor of the distance, and only a small one is allowed.
    """
    flow = jax.vmap(lambda y: field(state.origin.point + y, state.parameter))(state.points)
    delay = -jnp.append(0.0, jnp.cumsum((state.slower * state.steps)[:-1]))
    farthest = jnp.argmax(jnp.linalg.norm(state.points, axis=1))
    delay = stride * (delay - delay[farthest])
    fastest = jnp.maximum(state.origin.rate, -state.origin.slowest)
    delay = delay / jnp.sqrt(1 + (delay * fastest / SHIFT) ** 2)
    points = state.points + stride * state.onward + delay[:, None] * flow
    longer = jnp.append(jnp.diff(delay), 0.0) / jnp.maximum(state.steps, 1e-300)
    return points, jnp.zeros(()), state.steps * jnp.exp(stride * state.slower + longer)


def _advance(field, capacity, direction, whole_length, state):
    """One step, accepted or not, and whether there is a new orbit."""
    count, n = state.points.shape
    opening = state.count == 0
    stride, across = state.stride, jnp.array([-1.0, 1.0]) * state.tangent[::-1]
    aim = state.parameter + stride * state.tangent
    # On the way out, exactly to the bound that comes first, and along it.
    gap = jnp.where(state.tangent > 0, 1 - state.parameter, state.parameter)
    room = gap / jnp.maximum(jnp.abs(state.tangent), 1e-12)
    landing = jnp.any((aim <= 0) | (aim >= 1)) & ~opening
    stride = jnp.where(landing, jnp.maximum(jnp.min(room), 0), stride)
    aim = state.parameter + stride * state.tangent
    across = jnp.where(landing, jnp.arange(2) != jnp.argmin(room), across)
    apart = ENDS * _length(state.points)

    def beside(ahead):
        return lambda x, p: field(x, aim + ahead * state.tangent + p * across)

    onto = beside(0.0)
    origin = state.origin
    points, side, steps, converged, (factors, axes) = close(
        onto, _predict(field, state, stride), origin, origin, apart, MESHES, True
    )
    parameter = aim + side * across
    out = leaving(lambda x: field(x, parameter), origin.point, 1, origin.frame)

    # The tangent: how the answer moves with the line on which it is looked for.
    def lack(ahead):
        line = beside(ahead)
        ends = functools.partial(saddles, line, origin, origin)
        return equations(line, ends, apart, steps, jnp.append(points.ravel(), side))

    move = solve(factors, -jax.jvp(lack, (0.0,), (1.0,))[1])
    tangent = state.tangent + move[-1] * across
    rows, tangent = (x / jnp.linalg.norm(tangent) for x in (move[:-1], tangent))
    rows = rows.reshape(count, n)
    onward = moved(jnp.zeros_like(points), steps, axes, rows)[0]
    slower = jnp.append(rows[1:, 0], 0.0)
    cosine = tangent @ state.tangent
    turned = opening & (direction * (tangent[0] + 1e-6 * tangent[1]) < 0)
    way = jnp.where(turned, -1.0, 1.0)

    sound = converged & ~is_degenerate(factors) & out.alone
    sound &= (jnp.linalg.norm(points[-1]) < 1e2 * apart) & jnp.all(jnp.isfinite(onward))
    sound &= jnp.max(jnp.abs(points)) > 1e2 * apart
    near = jnp.abs(side) <= jnp.where(opening, MOVED, SLANT * stride + 1e-9)
    inside = jnp.all((parameter > -1e-9) & (parameter < 1 + 1e-9))
    accept = sound & near & inside & (opening | (cosine >= TURN))
    growth = jnp.where(cosine > STRAIGHT, 1.5, 1.0)
    longer = jnp.where(opening, FIRST_STEP, jnp.minimum(state.stride * growth, LONGEST))
    stride = jnp.where(accept, longer, stride / 2)
    total = state.count + accept
    short = _length(points) < SMALLEST * whole_length
    status = jnp.select(
        [
            opening & ~sound,
            opening & ~accept,
            accept & landing,
            accept & short,
            accept & (out.rate < SLOWEST * -out.slowest),
            ~accept & (stride < SHORTEST),
            total >= capacity,
        ],
        [REFUSED, ELSEWHERE, BOUND, SHRUNK, MERGED, STEP, CAPACITY],
        RUNNING,
    )
    after = _State(
        points=points,
        steps=steps,
        origin=out,
        parameter=parameter,
        tangent=way * tangent,
        onward=way * onward,
        slower=way * slower,
        stride=stride,
        count=total,
        status=status,
    )
    before = eqx.tree_at(lambda s: (s.stride, s.status), state, (stride, status))
    return jax.tree.map(lambda a, b: jnp.where(accept, a, b), after, before), accept
