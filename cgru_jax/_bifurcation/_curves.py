"""Curves of folds and of Hopf points in two parameters, with their special points."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .. import _arclength
from .._arclength import Curve, Setting
from .._conditions import (
    FoldCondition,
    HopfCondition,
    additive_compound,
    as_field,
    first_lyapunov,
    form,
    hoist_field,
    is_oscillation,
    locate,
    null_vectors,
    pose,
    signed_distance,
    squared_frequency,
    vanishing,
)
from .._linalg import determinant, solve
from .._program import hoist
from .._results import EVENTS, RESULTS, choose
from .._systems import Flow
from ._base import Events, blank, check_extent, why_ended

# Beyond this multiple of the start's ω² (or of one) a Hopf curve is not followed.
FASTEST = 1e6
# At this ω² it ends: l₁ is not defined beyond, and not computable much nearer.
SLOWEST = 1e-8


class FoldCurve(eqx.Module):
    """A curve of folds, in `k` slots of which the first ones are used.

    - `points`: shape `(k, n)`; `parameters`: shape `(k, 2)`; in order along the curve.
    - `null_vectors`: shape `(k, n)`, of unit length, continuous along the curve.
    - `coefficient`: shape `(k,)`, as in `Fold`, for these null vectors: it changes its
      sign at a cusp.
    - `valid`: which slots are used, shape `(k,)`; the others hold NaN.
    - `events`: `Events`, in order along the curve, with two parameters each: `cusp`,
      `bogdanov_takens`, `zero_hopf`.
    - `result`: why it ended: `bound`, `closed`, `step`, `capacity`; or what went wrong.
    """

    points: Float[Array, "*batch k n"]
    parameters: Float[Array, "*batch k 2"]
    null_vectors: Float[Array, "*batch k n"]
    coefficient: Float[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    events: Events
    result: RESULTS


class HopfCurve(eqx.Module):
    """A curve of Hopf points, in `k` slots of which the first ones are used.

    - `points`: shape `(k, n)`; `parameters`: shape `(k, 2)`; in order along the curve.
    - `frequency`: shape `(k,)`, ω; the curve ends at 1e-4, if not before.
    - `lyapunov`: shape `(k,)`, the first Lyapunov coefficient; it changes its sign at a
      generalised Hopf point.
    - `valid`, `result`: as in `FoldCurve`.
    - `events`: `Events` with two parameters each: `generalised_hopf`, `zero_hopf`;
      in the last slot `bogdanov_takens`, if the curve ends there.
    """

    points: Float[Array, "*batch k n"]
    parameters: Float[Array, "*batch k 2"]
    frequency: Float[Array, "*batch k"]
    lyapunov: Float[Array, "*batch k"]
    valid: Bool[Array, "*batch k"]
    events: Events
    result: RESULTS


def trace_fold_curve(
    family: Callable,
    point: ArrayLike | list,
    parameter: ArrayLike | list,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    capacity: int = 512,
) -> FoldCurve:
    """The curve of folds through a fold, in a family of two parameters.

    **Arguments:**

    - `family`: from a parameter, shape `(2,)`, to a system.
    - `point`, `parameter`: near a fold, shapes `(n,)` and `(2,)`. Either parameter may be
      a little off: the nearer fold along one of them is the start.
    - `bounds`: `(low, high)`, each of shape `(2,)`, between which the parameters stay.
    - `direction`: +1 or −1, whether the first parameter first rises or falls (the second,
      where the first is constant).
    - `capacity`: how many points there is room for.

    **Returns:** a `FoldCurve`. Special points are refined to round-off; their normal forms
    and derivatives come from `locate_cusp` and `locate_bogdanov_takens`. Nothing here has
    derivatives.

    **Fails:** `result` is `not_converged` or `elsewhere` (no fold near the start),
    `nonfinite`, `capacity`, `step` or `unresolved` (events too close to tell apart).
    `ValueError` in single precision, for shapes that do not fit, for bounds that are empty
    or exclude the start.

    **Source:** Kuznetsov, Elements of Applied Bifurcation Theory, section 10.3; the test
    functions, which need no orientation of the left null vector, are derived here.
    """
    verb = "trace_fold_curve"
    field, refusal, start, found, sound, low, high, direction = _posed(
        verb, FoldCondition(), family, point, parameter, bounds, direction, capacity
    )
    n = start.shape[0]
    # Where the start is no fold any unit vector will do: it is refused anyway.
    jacobian = jax.jacfwd(field)(*sound)
    v, _ = null_vectors(jnp.where(jnp.isfinite(jacobian), jacobian, jnp.eye(n)))
    setting = _setting(start, v, found, high - low, direction, low, high)
    program, arrays = hoist_field(field, *sound)
    return _fold_curve(program, refusal, capacity, arrays, setting)


def trace_hopf_curve(
    family: Callable,
    point: ArrayLike | list,
    parameter: ArrayLike | list,
    *,
    bounds: tuple | list,
    direction: ArrayLike = 1,
    capacity: int = 512,
) -> HopfCurve:
    """The curve of Hopf points through a Hopf point, in a family of two parameters.

    It ends at a Bogdanov–Takens point, beyond which the pair is real.

    **Arguments:** as for `trace_fold_curve`; `family` returns a `Flow` of two dimensions or
    more.

    **Returns:** a `HopfCurve`. A special point is refined to round-off; its normal form and
    derivatives come from `locate_generalised_hopf` and `locate_bogdanov_takens`.

    **Fails:** as `trace_fold_curve`.

    **Source:** Kuznetsov, section 10.3; ω² as an unknown with a bound is derived here.
    """
    verb = "trace_hopf_curve"
    field, refusal, start, found, sound, low, high, direction = _posed(
        verb, HopfCondition(), family, point, parameter, bounds, direction, capacity
    )
    square = squared_frequency(jax.jacfwd(field)(*sound))[None]
    lowest = jnp.append(SLOWEST, low)
    highest = jnp.append(FASTEST * jnp.maximum(1, square), high)
    setting = _setting(start, square, found, high - low, direction, lowest, highest)
    program, arrays = hoist_field(field, *sound)
    return _hopf_curve(program, refusal, capacity, arrays, setting)


def _posed(verb, condition, family, point, parameter, bounds, direction, capacity):
    """The checked arguments, and a start on the curve (NaN where there is none): found by
    moving the one parameter or the other, whichever is nearer. Beside it the same with the
    guess in place of a NaN, which a family may refuse."""
    field, reading, point, parameter = pose(verb, family, point, parameter, 2)
    if not issubclass(reading, condition.reading) or point.shape[0] < condition.smallest:
        raise ValueError(
            f"{verb}: needs a {condition.reading.__name__} of {condition.smallest} or more "
            f"dimensions, got a {reading.__name__} of {point.shape[0]}."
        )
    low, high, direction = check_extent(verb, bounds, direction, capacity, parameter)

    def along(axis):
        one = lambda p: family(parameter + (p - parameter @ axis) * axis)
        found = locate(condition, one, point, parameter @ axis)
        moved = parameter + (found.parameter - parameter @ axis) * axis
        return found.point, moved, found.distance, found.result

    start, found, far, refusal = eqx.filter_vmap(along)(jnp.eye(2))
    # A refused answer is NaN and counts as infinitely far.
    far = jnp.where(jnp.all(jnp.isfinite(found), axis=1), far, jnp.inf)
    nearest = jnp.argmin(far)
    start, found, refusal = jax.tree.map(lambda x: x[nearest], (start, found, refusal))
    start, found, low, high = jax.lax.stop_gradient((start, found, low, high))
    there = jnp.all(jnp.isfinite(found))
    sound = jnp.where(there, start, point), jnp.where(there, found, parameter)
    return field, refusal, start, found, sound, low, high, direction


def _setting(start, between, found, width, direction, low, high):
    """Unknowns: point, what is `between`, parameters. `low` and `high` are the bounds of
    the last ones."""
    at = jnp.concatenate([start, between, found])
    size = jnp.maximum(1, jnp.max(jnp.abs(start)))
    scales = [jnp.full(start.shape, size), jnp.ones(between.shape), width / 8]
    return Setting(
        start=at,
        scale=jnp.concatenate(scales),
        along=jnp.zeros(at.shape).at[-2:].set(jnp.array([1, 1e-6]) * direction),
        low=low,
        high=high,
        crossed=jnp.zeros((), bool),
    )


@eqx.filter_jit
def _fold_curve(program, refusal, capacity, arrays, setting):
    n = (setting.start.shape[0] - 2) // 2
    whole = as_field(program, arrays)

    def parts(u):
        x, v, p = u[:n], u[n : 2 * n], u[2 * n :]
        return lambda y: whole(y, p), x, v

    def equations(u):
        f, x, v = parts(u)
        value, push = jax.jvp(f, (x,), (v,))
        return jnp.concatenate([value, push, (jnp.sum(v * v) - 1)[None]])

    def tests(u):
        f, x, v = parts(u)
        jacobian = jax.jacfwd(f)(x)
        # With J v = 0 these are −Π (v v) (w F_hh(v, v)) and −Π (v v) (w v), where w v = 1
        # and Π is the product of the other eigenvalues: no orientation of w enters.
        found = [_bordered(jacobian, form(f, x, v, v), v), _bordered(jacobian, v, v)]
        if n > 2:
            # The eigenvalue 0 moved out of the way, the others as they are.
            away = 1 + jnp.sum(jacobian**2)
            moved = jacobian + away * jnp.outer(v, v)
            found.append(signed_distance(additive_compound(moved)))
        return jnp.stack(found)

    def coefficient(u):
        f, x, v = parts(u)
        _, w = null_vectors(jax.jacfwd(f)(x))
        return jnp.sum(w * form(f, x, v, v)) / (2 * jnp.sum(w * v))

    path, valid, result = _follow(equations, tests, 2, capacity, setting, refusal)
    real = jnp.zeros(path.kinds.shape, bool)
    if n > 2:
        # A zero of the last test may come from two real eigenvalues λ and −λ.
        pair = lambda u: is_oscillation(Flow, jax.jacfwd(parts(u)[0])(u[:n]))
        last = path.kinds == _arclength.FIRST_TEST + 2
        places = jnp.where(last[:, None], path.places, setting.start)
        real = last & ~jax.vmap(pair)(places)
    names = [EVENTS.cusp, EVENTS.bogdanov_takens, EVENTS.zero_hopf]
    points = jnp.where(valid[:, None], path.points, setting.start)
    hide = functools.partial(blank, valid)
    return FoldCurve(
        points=hide(points[:, :n]),
        parameters=hide(points[:, -2:]),
        null_vectors=hide(points[:, n : 2 * n]),
        coefficient=hide(jax.vmap(coefficient)(points)),
        valid=valid,
        events=_events(path, names, ~real, n),
        result=result,
    )


def _bordered(a, right, below):
    n = a.shape[0]
    matrix = jnp.zeros((n + 1, n + 1), a.dtype)
    matrix = matrix.at[:n, :n].set(a).at[:n, n].set(right).at[n, :n].set(below)
    return determinant(matrix)


@eqx.filter_jit
def _hopf_curve(program, refusal, capacity, arrays, setting):
    n = setting.start.shape[0] - 3
    whole = as_field(program, arrays)

    def parts(u):
        return lambda y: whole(y, u[-2:]), u[:n], u[n]

    def equations(u):
        f, x, square = parts(u)
        jacobian = jax.jacfwd(f)(x)
        pair = [vanishing(additive_compound(jacobian))]
        pair.append(squared_frequency(jacobian) - square)
        return jnp.concatenate([f(x), jnp.stack(pair)])

    def lyapunov(u):
        f, x, square = parts(u)
        return first_lyapunov(f, x, jnp.sqrt(square))[0]

    def tests(u):
        f, x, square = parts(u)
        # l₁ grows like ω⁻³ towards a Bogdanov–Takens point.
        found = [lyapunov(u) * square**2]
        if n > 2:
            found.append(signed_distance(jax.jacfwd(f)(x)))
        return jnp.stack(found)

    def takens(u):
        """From the end of the curve, where ω² is `SLOWEST`, to the point itself."""

        def conditions(y):
            f, x, _ = parts(y)
            jacobian = jax.jacfwd(f)(x)
            last = [vanishing(additive_compound(jacobian)), vanishing(jacobian), y[n]]
            return jnp.concatenate([f(x), jnp.stack(last)])

        step = lambda _, y: y - solve(jax.jacfwd(conditions)(y), conditions(y))
        return jax.lax.fori_loop(0, 3, step, u)

    path, valid, result = _follow(equations, tests, 3, capacity, setting, refusal)
    points = jnp.where(valid[:, None], path.points, setting.start)
    names = [EVENTS.generalised_hopf, EVENTS.zero_hopf]
    events = _events(path, names, path.kinds >= 0, n)
    last = points[path.count - 1]
    ends = (path.count > 1) & (last[n] <= 2 * SLOWEST)
    last = takens(last)
    append = lambda x, y: jnp.concatenate([x, jnp.where(ends, y, jnp.nan)[None]])
    kind = EVENTS.where(ends, EVENTS.bogdanov_takens, EVENTS.none)
    hide = functools.partial(blank, valid)
    return HopfCurve(
        points=hide(points[:, :n]),
        parameters=hide(points[:, -2:]),
        frequency=hide(jnp.sqrt(points[:, n])),
        lyapunov=hide(jax.vmap(lyapunov)(points)),
        valid=valid,
        events=Events(
            jax.tree.map(lambda x, y: jnp.append(x, y), events.kind, kind),
            append(events.points, last[:n]),
            append(events.parameters, last[-2:]),
            jnp.append(events.valid, ends),
        ),
        result=result,
    )


def _follow(equations, tests, bounded, capacity, setting, refusal):
    """The path, which of its slots are used, and how it ended."""
    question, constants = hoist(equations, setting.start)
    checks, others = hoist(tests, setting.start)
    curve = Curve(question, checks, bounded, turns=False, crossings=False)
    path = _arclength.trace(curve, (constants, others), setting, capacity)
    # Where no start was found: the reason for that.
    result = why_ended(path, path.unresolved, invalid=refusal)
    return path, jnp.arange(capacity) < path.count, result


def _events(path, names, sound, n):
    """The events of a path in order, without those that are not `sound`."""
    used = (path.kinds >= 0) & sound
    order = jnp.argsort(~used, stable=True)
    used, kinds, places = used[order], path.kinds[order], path.places[order]
    items = [(_arclength.FIRST_TEST + k, item) for k, item in enumerate(names)]

    def named(kind, used):
        return choose(EVENTS, EVENTS.none, *((used & (kind == c), e) for c, e in items))

    return Events(
        kind=jax.vmap(named)(kinds, used),
        points=blank(used, places[:, :n]),
        parameters=blank(used, places[:, -2:]),
        valid=used,
    )
