"""Slow points: where the speed has a local minimum that is no equilibrium.

At a minimum of |F| with F = s w, |w| = 1, s > 0, the gradient Jᵀ F vanishes: w spans the
left null space of the Jacobian J. So a slow point solves F ∥ w, Jᵀ w = 0 for the state and
the direction w. Those equations stay regular as s → 0, where they become the equations of a
saddle-node; the gradient of |F|² does not.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .. import _interval, _scalars
from .._cells import AbstractCell
from .._errors import check_whole, real_array
from .._implicit import attach, second_derivative, smallest_singular
from .._linalg import CLOSED_FORM_SIZE, eigenvalues, solve
from .._program import hoist
from .._results import RESULTS, choose
from .._systems import AbstractSystem, check_system
from ._find import _default_starts, _distinct, _norm, _select

# Steps of an eighth of the box at most, downhill; then Newton's method on the equations of
# a slow point, which needs five if it is regular; else a step only takes a third off.
DESCENT, POLISH = 40, 40


class SlowPoints(eqx.Module):
    """Slow points of one system, in `k` slots of which `count` are used.

    - `points`: shape `(k, n)`.
    - `speed`: |F| there, shape `(k,)`.
    - `time_constant`: how long a slow passage takes, shape `(k,)`; see `find_slow_points`.
    - `clearance`: shape `(k,)`, a distance in every coordinate within which it is proved
      that there is no equilibrium; 0 where nothing is proved.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `result`: how the search ended.
    """

    points: Float[Array, "*batch k n"]
    speed: Float[Array, "*batch k"]
    time_constant: Float[Array, "*batch k"]
    clearance: Float[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    result: RESULTS

    @property
    def count(self) -> Int[Array, "*batch"]:
        """How many slow points there are, shape `()`."""
        return jnp.sum(self.valid, axis=-1)


def find_slow_points(
    system: AbstractSystem, starts: ArrayLike | None = None, *, capacity: int = 16
) -> SlowPoints:
    r"""Local minima of the speed |F| that are no equilibria.

    **Arguments:**

    - `system`: a `Flow` or a `Map`; F is its increment, update gate included.
    - `starts`: shape `(s, n)`. May be left out for a cell, as in `find_equilibria`.
    - `capacity`: how many slow points there is room for.

    **Returns:** `SlowPoints` in `capacity` slots, in no particular order; points, speeds
    and time constants carry derivatives of every order. That none is missing is not proved.

    A point counts as slow, and not as an equilibrium, if its speed is larger than what
    rounding can make of zero: 64 times the precision of the dtype times the fastest of the
    starts. That is a threshold; the proof is `clearance`, where it is not 0: the half-width
    of a box around the point on which interval arithmetic encloses the component of F along
    F(point) away from zero. It is sought in double precision, up to three dimensions, and
    for fields whose operations all have an interval rule, and it is millions of times wider
    than the rounding of the point, so what was found is no bad approximation to an
    equilibrium.

    The Jacobian at a slow point has a zero eigenvalue, so no eigenvalue measures the delay.
    Along its right null vector v the flow is, to second order, ξ' = (|F| + ½ (w·D²F[v, v])
    ξ²) / (w·v), and `time_constant` is the time that it takes from ξ = −∞ to ∞:
    $\pi |w \cdot v| \sqrt{2 / (F \cdot D^2F[v, v])}$, whatever the length of v. It tells
    the true delay if the other modes are faster, the better the slower the point is.

    **Fails:** `result` is `nonfinite` (no slow points), `capacity` (there are more), or
    `singular`: the second derivative of the speed is not positive definite at a slow point.
    That point stands, with NaN for its time constant and derivatives, if the speed grows to
    both sides along the flat direction. `ValueError` for starts of a wrong shape.

    **Source:** derived here; the passage time is that of the saddle-node's normal form.
    """
    check_system("find_slow_points", system)
    if starts is None and not isinstance(system.field, AbstractCell):
        raise ValueError(
            "find_slow_points: starts can be left out for a cell only; for a field of your "
            "own give an array of shape (s, n)."
        )
    starts = _default_starts(system) if starts is None else starts
    starts = real_array("find_slow_points", "starts", starts)
    starts = starts.astype(jnp.result_type(starts, float))
    size = getattr(system.field, "size", None)
    if starts.ndim != 2 or 0 in starts.shape or size not in (None, starts.shape[1]):
        raise ValueError(
            f"find_slow_points: starts must have shape (s, {size or 'n'}), got "
            f"{starts.shape}; one start is starts[None]."
        )
    check_whole("find_slow_points", "capacity", capacity, 1)
    program, arrays = hoist(system.residual, starts[0])
    return _find(program, capacity, arrays, starts)


@eqx.filter_jit
def _find(program, capacity, arrays, starts):
    frozen = jax.lax.stop_gradient(arrays)
    field = functools.partial(program, frozen)
    extent = jnp.max(starts, axis=0) - jnp.min(starts, axis=0)
    extent = jnp.where(extent > 0, extent, jnp.maximum(1, jnp.abs(starts[0])))
    strength = jnp.max(jnp.abs(jax.vmap(field)(starts)))

    low = jax.vmap(functools.partial(_descend, field, extent))(starts)
    polished = jax.vmap(functools.partial(_polish, field, extent, strength))(low)
    points, is_slow, facts = polished
    reach = jnp.where(is_slow, 1e-6 * jnp.max(extent), jnp.inf)
    first = _distinct(points, reach)
    finite = jnp.all(jnp.isfinite(starts))
    for array in jax.tree.leaves(frozen):
        finite &= jnp.all(jnp.isfinite(array))
    slots = _select(jnp.column_stack([points, facts]), first & finite, capacity)
    valid, regular = jnp.isfinite(slots[:, 0]), slots[:, -2] == 1
    # Unused slots are worked on at a start and masked after.
    safe = jnp.where(valid[:, None], slots[:, :-2], starts[0])
    clearance = jnp.zeros(capacity, starts.dtype)
    if _can_be_enclosed(program, frozen, safe[0]):
        clear = functools.partial(_clearance, program, frozen)
        clearance = jax.vmap(clear)(safe, jnp.where(valid, slots[:, -1], 0))

    def finish(point, used, sound):
        # Derivatives of an unused slot stop here, where a NaN cannot reach the others.
        mine = [jnp.where(used, a, jax.lax.stop_gradient(a)) for a in arrays]
        return _describe(functools.partial(program, mine), point, used, sound)

    points, speed, time = jax.vmap(finish)(safe, valid, regular)
    return SlowPoints(
        points=jnp.where(valid[:, None], points, jnp.nan),
        speed=jnp.where(valid, speed, jnp.nan),
        time_constant=jnp.where(valid & regular, time, jnp.nan),
        clearance=jnp.where(valid, clearance, jnp.nan),
        valid=valid,
        result=choose(
            RESULTS,
            RESULTS.successful,
            (~finite, RESULTS.nonfinite),
            (jnp.sum(first) > capacity, RESULTS.capacity),
            (jnp.any(valid & ~regular), RESULTS.singular),
        ),
    )


def _expand(field, x, covector=None):
    """Value, Jacobian, and Hessian of the component along a covector: else the value."""
    value = field(x)
    along = value if covector is None else covector
    bend = jax.jacfwd(jax.grad(lambda y: _dot(along, field(y))))(x)
    return value, jax.jacfwd(field)(x), bend


def _descend(field, extent, start):
    """Downhill to a minimum of the speed, or to an equilibrium: Newton's method on the
    gradient of ½|F|², made to descend where that is not convex, within a trusted length."""

    def step(_, state):
        x, trusted = state
        value, slope, bend = _expand(field, x)
        slope = slope * extent
        hessian = _dot(slope.T, slope) + bend * jnp.outer(extent, extent)
        lift = jnp.maximum(0, -2 * _lowest(hessian))
        lift = lift + 1e-12 * _norm(hessian) + jnp.finfo(x.dtype).tiny
        move = -solve(hessian + lift * jnp.eye(len(x)), _dot(slope.T, value))
        length = jnp.linalg.norm(move)
        move = extent * move * jnp.where(length > trusted, trusted / length, 1)
        after = field(x + move)
        better = jnp.vdot(after, after) < jnp.vdot(value, value)
        length = jnp.minimum(length, trusted)
        return (
            jnp.where(better, x + move, x),
            jnp.where(better, jnp.minimum(2 * trusted, 1 / 8), length / 4),
        )

    return jax.lax.fori_loop(0, DESCENT, step, (start, 1 / 8 + 0 * start[0]))[0]


def _lowest(symmetric):
    """The smallest eigenvalue."""
    if symmetric.shape[0] > 2:
        return jnp.linalg.eigvalsh(symmetric)[0]
    return jnp.min(jnp.real(eigenvalues(symmetric)))


def _equations(field, ahead):
    """The equations of a slow point, F ∥ w and Jᵀ w = 0.

    The unknowns are the state and the n − 1 components of w across `ahead`, a unit vector;
    the one along it is 1, so that none of this depends smoothly on `ahead`.
    """
    n = ahead.shape[0]
    across = _across(ahead)

    def residual(unknowns):
        value, pull = jax.vjp(field, unknowns[:n])
        if n == 1:
            return pull(ahead)[0]
        turn = unknowns[n:]
        (gradient,) = pull(ahead + _dot(across, turn))
        astray = _dot(across.T, value) - _dot(ahead, value) * turn
        return jnp.concatenate([astray, gradient])

    return residual


def _across(ahead):
    """Unit vectors across a unit vector, shape `(n, n − 1)`."""
    # A reflection that takes `ahead` to the first axis takes the other axes across it.
    mirror = ahead.at[0].add(jnp.where(ahead[0] < 0, -1, 1))
    mirror = jnp.outer(mirror, mirror) * (2 / jnp.vdot(mirror, mirror))
    return (jnp.eye(ahead.shape[0]) - mirror)[:, 1:]


def _dot(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _direction(value):
    """Along a field that may vanish; then along the first axis."""
    size = jnp.linalg.norm(jnp.where(value == 0, 0, value))
    first = jnp.zeros_like(value).at[0].set(1)
    sound = size > 0
    return jnp.where(sound, value / jnp.where(sound, size, 1), first)


def _polish(field, extent, strength, low):
    """A slow point near `low`; whether it is one, is regular; how near a zero may be."""
    n, eps = low.shape[0], jnp.finfo(low.dtype).eps
    noise = 64 * eps * strength  # what rounding can make of zero
    ahead = _direction(field(low))
    across = _across(ahead)

    def step(_, state):
        x, turn, *_ = state
        covector = ahead + _dot(across, turn)
        value, slope, bend = _expand(field, x, covector)
        along = _dot(ahead, value)
        astray = _dot(across.T, value) - along * turn
        residual = jnp.concatenate([astray, _dot(slope.T, covector)])
        # The equations of a slow point, as below, and their derivatives by hand: a third
        # of what would else be compiled.
        tilt = _dot(across.T, slope) - jnp.outer(turn, _dot(ahead, slope))
        jacobian = jnp.block(
            [[tilt, -along * jnp.eye(n - 1)], [bend, _dot(slope.T, across)]]
        )
        move = solve(jacobian, residual)
        move = jnp.where(jnp.all(jnp.isfinite(move)), move, 0)
        return x - move[:n], turn - move[n:], value, slope, bend, residual, move

    # The last values are those one step before the last place, which is not to be told
    # from it if the steps have converged.
    shapes = [(n,), (n, n), (n, n), (2 * n - 1,), (2 * n - 1,)]
    unused = [jnp.zeros(shape, low.dtype) for shape in shapes]
    state = (low, jnp.zeros(n - 1, low.dtype), *unused)
    state = jax.lax.fori_loop(0, POLISH, step, state)
    point, turn, value, slope, bend, residual, last = state
    near = _norm((point - low) / extent) < 1 / 8
    settled = _norm(last[:n] / extent) < 1e-9

    speed, weight = jnp.linalg.norm(value), jnp.sqrt(1 + jnp.vdot(turn, turn))
    raw = jnp.sum(jnp.abs(bend)) / weight
    # Polishing may have led to where the field points the other way.
    bend = bend * jnp.sign(_dot(ahead, value)) / weight * jnp.outer(extent, extent)
    slope = slope * extent
    convex = _lowest(_dot(slope.T, slope) + speed * bend) > 0
    _, _, flat = smallest_singular(slope)
    # A minimum of the fourth order is placed to eps^(1/3): its curvature is of that square.
    regular = jnp.abs(flat @ bend @ flat) > 256 * eps ** (2 / 3) * strength
    # There, the speed itself is looked at, a little to both sides.
    aside = 1e-3 * extent * flat
    ends = jax.vmap(field)(jnp.stack([point + aside, point - aside]))
    grows = jnp.min(_dot(ends, value)) > jnp.vdot(value, value)
    flat_bottom = grows & (_norm(residual) <= noise)
    minimum = jnp.where(regular, settled & convex, flat_bottom)
    is_slow = (speed > noise) & near & minimum & jnp.all(jnp.isfinite(point))
    # Along itself the field changes from here on by half of its curvature times a square.
    radius = jnp.minimum(jnp.sqrt(speed / raw), 1e-2 * jnp.min(extent))
    return point, is_slow, jnp.stack([regular.astype(low.dtype), radius])


def _clearance(program, arrays, point, radius):
    """The largest of some distances from `point` in every coordinate within which it is
    proved that the field does not vanish; 0 if that is proved of none."""
    radii = radius / jnp.array([2.0, 8.0, 32.0])
    ahead = _direction(program(arrays, point))
    forward, held = hoist(lambda x: _dot(ahead, program(arrays, x))[None], point)
    pools = [_scalars.split(a) for a in held]

    # One by one: a block of boxes would be enclosed in many small steps, which are faster
    # for thousands of boxes and slower to compile.
    def low(radius):
        radii = [radius] * len(point)
        (value,) = _interval.enclose(forward, pools, list(point), radii)
        return _interval.low(value.tight)

    return jnp.max(jnp.where(jax.vmap(low)(radii) > 0, radii, 0))


def _can_be_enclosed(program, arrays, point):
    """Whether interval arithmetic applies."""
    if len(point) > CLOSED_FORM_SIZE or point.dtype != jnp.float64:
        return False
    try:
        jax.eval_shape(functools.partial(_clearance, program), arrays, point, point[0])
    except ValueError:  # an operation without a rule
        return False
    return True


def _describe(field, point, used, regular):
    """Point, speed and time constant, with their derivatives."""
    n = point.shape[0]
    ahead = jax.lax.stop_gradient(_direction(field(point)))
    equations = _equations(field, ahead)
    root = jnp.concatenate([point, jnp.zeros(n - 1, point.dtype)])
    point = attach(*hoist(equations, root), root, used)[:n]
    value, slope = field(point), jax.jacfwd(field)(point)
    speed = jnp.linalg.norm(value)
    # The right null vector by a bordered system, which can be differentiated: its length
    # along a guess of it is 1.
    _, _, guess = smallest_singular(jax.lax.stop_gradient(slope))
    bordered = jnp.block([[slope, ahead[:, None]], [guess[None], jnp.zeros((1, 1))]])
    null = solve(bordered, jnp.zeros(n + 1, point.dtype).at[n].set(1))[:n]
    curvature = jnp.vdot(value, second_derivative(field, point, null))
    bent = regular & (curvature > 0)
    along = jnp.abs(jnp.vdot(value, null)) / speed
    return point, speed, jnp.pi * along * jnp.sqrt(2 / jnp.where(bent, curvature, 1))
