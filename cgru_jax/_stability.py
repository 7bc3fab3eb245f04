"""What the dynamics does near an equilibrium: its kind and its Poincaré index."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from ._implicit import field_size, is_singular, second_derivative, smallest_singular
from ._linalg import determinant, eigenvalues
from ._results import KINDS, choose
from ._systems import AbstractSystem


class Stability(eqx.Module):
    """What `classify` says of one equilibrium.

    - `eigenvalues`: shape `(n,)`, of the full Jacobian of the increment, gates included.
    - `kind`: a member of `KINDS`.
    - `index`: shape `()`, sign det(−J); NaN where `singular` holds (see `degree`).
    - `singular`: whether an eigenvalue of the Jacobian is zero to working precision.
    """

    eigenvalues: Complex[Array, " n"]
    kind: KINDS
    index: Float[Array, ""]
    singular: Bool[Array, ""]


def classify(system: AbstractSystem, point: ArrayLike) -> Stability:
    """Kind and index of an equilibrium, from the full Jacobian.

    **Arguments:**

    - `system`: a `Flow` or a `Map`; they share Jacobian and index, and differ in `growth`.
    - `point`: shape `(n,)`, an equilibrium to round-off.

    **Returns:** a `Stability`. A zero eigenvalue is looked at to second order: with a
    nonzero quadratic coefficient the point is a saddle-node of the first kind (all other
    modes decay) or of the second kind; otherwise, or with two zero eigenvalues, it is a
    codimension-two point. A pair on the axis (on the circle, for a `Map`) is a Hopf point,
    a multiplier −1 of a `Map` is degenerate.

    **Fails:** kind `unknown` and NaN throughout if `point` is not finite.

    **Raises:** `ValueError` for a point whose shape does not fit the system.

    **Source:** linear stability; the two kinds of saddle-node after section 4 of the ICLR
    2019 submission; the tolerances are derived here (`is_singular`).
    """
    point = jnp.asarray(point)
    point = point.astype(jnp.result_type(point, float))
    size = getattr(system.field, "size", None)
    if point.ndim != 1 or (isinstance(size, int) and point.shape != (size,)):
        needed = f"({size},)" if isinstance(size, int) else "(n,)"
        raise ValueError(
            f"classify: point has shape {point.shape}, but must have shape {needed}. A "
            "batch of points goes through eqx.filter_vmap."
        )
    n = point.shape[0]
    jacobian = system.jacobian(point)
    values = eigenvalues(jacobian)
    growth = system.growth(values)

    singular = is_singular(system.residual, point, jacobian)
    # Which mode is the zero one: with a singular Jacobian, the one nearest to zero.
    zero = singular & (jnp.arange(n) == jnp.argmin(jnp.abs(values)))
    worse = _higher_order(system, point, jacobian, values)
    fold = KINDS.where(
        jnp.all((growth < 0) | zero), KINDS.saddle_node_first, KINDS.saddle_node_second
    )
    kind = choose(
        KINDS,
        simple_kind(system, jacobian, values),
        (~jnp.all(jnp.isfinite(jacobian)), KINDS.unknown),
        (singular & worse, KINDS.codimension_two),
        (singular, fold),
    )
    sign = (-1) ** n * jnp.sign(determinant(jacobian))
    return Stability(values, kind, jnp.where(singular, jnp.nan, sign), singular)


def simple_kind(
    system: AbstractSystem, jacobian: Float[Array, "n n"], values: Complex[Array, " n"]
) -> KINDS:
    """The kind of an equilibrium with a regular Jacobian, from its eigenvalues."""
    growth = system.growth(values)
    rounding = 1e3 * jnp.finfo(growth.dtype).eps
    on_axis = jnp.abs(growth) <= rounding * jnp.abs(values)
    # A pair on the axis is found off it by the rounding of the trace.
    trace = jnp.max(jnp.abs(jnp.diagonal(jacobian)))
    pair = (jnp.abs(growth) <= rounding * trace) | on_axis
    return choose(
        KINDS,
        KINDS.saddle,
        (jnp.any(pair & (jnp.imag(values) != 0)), KINDS.hopf),
        (jnp.any(on_axis), KINDS.degenerate),
        (jnp.all(growth < 0), KINDS.sink),
        (jnp.all(growth > 0), KINDS.source),
    )


def _higher_order(system, point, jacobian, values):
    """Whether more is wrong at a singular point than one zero with a quadratic term."""
    n = point.shape[0]
    _, left, right = smallest_singular(jacobian)
    size = field_size(system.residual, point, right)
    eps = jnp.finfo(point.dtype).eps
    # At a triple root the place is known to eps^(1/3) only, and so is its curvature.
    flat = 32 * eps ** (1 / 3) * size
    curvature = jnp.abs(left @ second_derivative(system.residual, point, right))
    if n == 1:
        return curvature <= flat
    # The trace is linear in the Jacobian, so a nilpotent one keeps its digits there; it is
    # known to eps^(1/2) because the point is.
    rest = jnp.trace(jacobian) if n == 2 else jnp.sort(jnp.abs(values))[1]
    return (curvature <= flat) | (jnp.abs(rest) <= 64 * jnp.sqrt(eps) * size)


def degree(
    system: AbstractSystem, point: Float[Array, " n"], radius: Float[Array, ""]
) -> Float[Array, ""]:
    """Poincaré index of what lies within `radius` of `point`, for one or two dimensions.

    **Arguments:**

    - `point`: shape `(n,)`; `radius`: shape `()`, of a sphere around it on which the
      field does not vanish.

    **Returns:** shape `()`: the degree of −F on the sphere (a winding number for n = 2,
    where the sign does not matter).

    **Fails:** NaN for n > 2, and where the field turns by more than a right angle between
    neighbouring samples, so that the winding is not resolved.

    **Source:** textbook index theory; sampled, not proved.
    """
    n = point.shape[0]
    if n == 1:
        ahead, behind = system.residual(point + radius), system.residual(point - radius)
        return _whole((jnp.sign(behind[0]) - jnp.sign(ahead[0])) / 2)
    if n > 2:
        return jnp.full((), jnp.nan, point.dtype)

    def angle(turn):
        direction = jnp.stack([jnp.cos(turn), jnp.sin(turn)])
        field = system.residual(point + radius * direction)
        return jnp.arctan2(field[1], field[0])

    def steps(turns):
        angles = jax.vmap(angle)(turns)
        jumps = angles[1:] - angles[:-1]
        return jumps - 2 * jnp.pi * jnp.round(jumps / (2 * jnp.pi))

    turns = jnp.linspace(0, 2 * jnp.pi, 257, dtype=point.dtype)
    coarse = steps(turns)
    # A field that almost vanishes on a line through the point turns in a few narrow arcs.
    _, worst = jax.lax.top_k(jnp.abs(coarse), 8)
    fine = jax.vmap(
        lambda i: steps(jnp.linspace(turns[i], turns[i + 1], 257, dtype=point.dtype))
    )(worst)
    total = jnp.sum(coarse.at[worst].set(jnp.sum(fine, axis=1)))
    resolved = (jnp.max(jnp.abs(coarse.at[worst].set(0))) < jnp.pi / 2) & (
        jnp.max(jnp.abs(fine)) < jnp.pi / 2
    )
    return jnp.where(resolved, _whole(total / (2 * jnp.pi)), jnp.nan)


def _whole(x):
    """The nearest whole number, zero without a sign."""
    return jnp.where(jnp.abs(x) < 0.5, 0.0, jnp.round(x))
