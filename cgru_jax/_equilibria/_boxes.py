"""What can be proved about the zeros of a program in one box."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from .. import _interval
from .._interval import EPS, TINY, high, low
from .._linalg import CLOSED_FORM_SIZE, scalar_adjugate, scalar_determinant

# The box is looked at a little enlarged, so that a zero on the face between two boxes is
# inside of one; the second number is above the rounding of a few coordinates.
ENLARGE, PAD = 1.01, 1e-13


class Verdict(NamedTuple):
    """What is known of a block of boxes; `low` and `high` are lists of `n` arrays.

    - `empty`: no zero in the box.
    - `unique`: exactly one zero in the box enlarged to `outer`, and it is simple.
    - `low`, `high`: every zero in the box lies here.
    - `centre`, `spread`: every zero in `outer` lies in `centre ± spread` (Krawczyk).
    - `sign`: of the determinant of the Jacobian at the zero, if `unique`; NaN if rounding
      leaves it open.
    - `weight`: by how much the components may change over the enlarged box, for each
      coordinate: the sum of the greatest slopes.
    - `inverse`, `contraction`: rows of a matrix Y, and of bounds on |I − Y J| for every J
      between the gradients in `outer` (mean values included): see `distance`.
    """

    empty: Array
    unique: Array
    low: list
    high: list
    outer_low: list
    outer_high: list
    centre: list
    spread: list
    sign: Array
    weight: list
    inverse: list
    contraction: list


def examine(program, constants, lowest: list, highest: list) -> Verdict:
    """Prove what can be proved about the zeros of `program` in a box.

    **Arguments:**

    - `program`, `constants`: as for `_interval.enclose`.
    - `lowest`, `highest`: `n` arrays each, over a block of boxes.

    **Source:** R. Krawczyk's operator with the mean-value form; contraction after
    hull consistency (textbook interval analysis), put together here.
    """
    n = len(lowest)
    middle = [(a + b) / 2 for a, b in zip(lowest, highest, strict=True)]
    radii = [
        jnp.maximum(b - m, m - a) * ENLARGE + PAD * jnp.maximum(1.0, jnp.abs(m))
        for a, b, m in zip(lowest, highest, middle, strict=True)
    ]
    values = _interval.enclose(program, constants, middle, radii)

    zero = jnp.zeros(jnp.shape(middle[0]))
    empty = jnp.zeros(jnp.shape(middle[0]), bool)
    for value in values:
        empty = empty | (low(value.tight) > 0) | (high(value.tight) < 0)
    box = list(zip(lowest, highest, strict=True))
    for value in values:
        box = _interval.contract(value, box)

    greatest = [
        [0.0 if g is None else _interval.magnitude(g) for g in v.gradient] for v in values
    ]
    for value, slopes in zip(values, greatest, strict=True):
        box = _row(value, slopes, middle, radii, box)
    weight = [sum(column) + zero for column in zip(*greatest, strict=True)]

    centre, spread, sign, inverse, contraction = _krawczyk(values, middle, radii)
    centre, spread, box, empty = _interval.apart((centre, spread, box, empty))
    outer_low = [m - r for m, r in zip(middle, radii, strict=True)]
    outer_high = [m + r for m, r in zip(middle, radii, strict=True)]
    unique = jnp.ones_like(empty)
    for j in range(n):
        unique &= (centre[j] - spread[j] > outer_low[j]) & (
            centre[j] + spread[j] < outer_high[j]
        )
        box[j] = _interval.intersect(
            box[j],
            (
                _interval.down(centre[j] - spread[j]),
                _interval.up(centre[j] + spread[j]),
            ),
        )
        empty |= box[j][0] > box[j][1]
    lows, highs = [b[0] for b in box], [b[1] for b in box]
    return Verdict(
        empty, unique, lows, highs, outer_low, outer_high, centre, spread, sign, weight,
        inverse, contraction,
    )  # fmt: skip


def proof_of(verdict: Verdict) -> list:
    """What `distance` needs of a box and the sign, as a list of `proof_size(n)` numbers."""
    matrices = verdict.inverse, verdict.contraction
    return [*(x for matrix in matrices for row in matrix for x in row), verdict.sign]


def proof_size(n: int) -> int:
    return 2 * n * n + 1


def read_proof(proof: list, n: int):
    """Inverse, contraction and sign again."""
    *entries, sign = proof
    rows = [entries[i : i + n] for i in range(0, 2 * n * n, n)]
    return rows[:n], rows[n:], sign


def distance(program, constants, point: list, inverse: list, contraction: list):
    """How far a point is from the only zero of `program` in a box that both lie in.

    **Arguments:**

    - `point`: `n` numbers; `inverse`, `contraction`: rows, from the `Verdict` on the box.

    **Returns:** the step `Y F` towards the zero; how much of it may be rounding; and bounds
    on the distance, infinite if none was found: three lists of `n` numbers.

    **Source:** Y F(p) = Y J (p − x) for a mean value J of the gradient, so the distances d
    obey d ≤ |Y F(p)| + |I − Y J| d; derived here.
    """
    n = len(point)
    # No radii: the value at a point, with its error and without a gradient.
    values = _interval.enclose(program, constants, point, [])
    step, noise = [], []
    for row in inverse:
        step.append(sum(y * v.centre for y, v in zip(row, values, strict=True)))
        doubt = 0.0
        for y, v in zip(row, values, strict=True):
            error = 0.0 if v.error is None else v.error
            doubt = doubt + jnp.abs(y) * (error + 4 * n * EPS * jnp.abs(v.centre))
        noise.append(doubt * (1 + 8 * (n + 1) * EPS) + TINY)
    residual = [jnp.abs(s) + d for s, d in zip(step, noise, strict=True)]
    rows = [[(i == j) - w for j, w in enumerate(row)] for i, row in enumerate(contraction)]
    inverted, _ = _inverse(rows)
    # Krawczyk's test has shown that the contraction contracts: any solution of the
    # inequality is then a bound. One with room for rounding in every coordinate:
    room = 1e-6 * functools.reduce(jnp.maximum, residual) + EPS**2
    bound = [
        sum(a * (r + room) for a, r in zip(row, residual, strict=True)) for row in inverted
    ]
    sound = jnp.ones((), bool)
    for d, r, row in zip(bound, residual, contraction, strict=True):
        right = r + sum(w * other for w, other in zip(row, bound, strict=True))
        sound &= (right * (1 + 8 * (n + 1) * EPS) <= d) & (d >= 0)
    return step, noise, [jnp.where(sound, d, jnp.inf) for d in bound]


def _row(value, greatest, middle, radii, box):
    """Shrink a box to where the mean-value form of one component can be zero.

    F(m) + Σ gⱼ (xⱼ − mⱼ) = 0 is solved for each coordinate whose slope has one sign.
    """
    n = len(middle)
    error = 0.0 if value.error is None else value.error
    box = list(box)
    for j, g in enumerate(value.gradient):
        if g is None:
            continue
        falling = high(g) < 0
        # With the sign that makes the slope positive, between `least` and `most`.
        least = jnp.where(falling, -high(g), low(g))
        most = jnp.where(falling, -low(g), high(g))
        centre = jnp.where(falling, -value.centre, value.centre)
        others = sum((greatest[k] * radii[k] for k in range(n) if k != j), error)
        others = others * (1 + (n + 4) * EPS) + TINY
        top, bottom = _interval.up(centre + others), _interval.down(centre - others)
        top = _interval.up(top / jnp.where(top > 0, least, most))
        bottom = _interval.down(bottom / jnp.where(bottom > 0, most, least))
        end = _interval.up(middle[j] - bottom)
        begin = _interval.down(middle[j] - top)
        sound = least > 0
        box[j] = _interval.intersect(
            box[j], (jnp.where(sound, begin, -jnp.inf), jnp.where(sound, end, jnp.inf))
        )
    return box


def _krawczyk(values, middle, radii):
    """Centre and spread of `m − Y F(m) + (I − Y J)(x − m)` over the box; the sign of the
    determinant, Y, and bounds on |I − Y J|."""
    n = len(values)
    zero = jnp.zeros(jnp.shape(middle[0]))
    slopes = [[zero if g is None else g + zero if not isinstance(g, tuple) else g
               for g in v.gradient] for v in values]  # fmt: skip
    mid = [[(low(g) + high(g)) / 2 for g in row] for row in slopes]
    # An entry of J is off its middle by at most this; the second term is for what the
    # products below round away.
    off = [
        [
            jnp.maximum(high(g) - c, c - low(g)) + 4 * (n + 1) * EPS * jnp.abs(c)
            for g, c in zip(row, centres, strict=True)
        ]
        for row, centres in zip(slopes, mid, strict=True)
    ]
    inverse, sign = _inverse(mid)
    centre, spread, contraction = [], [], []
    for i in range(n):
        contraction.append([])
        centre.append(middle[i] - sum(inverse[i][k] * values[k].centre for k in range(n)))
        total = 4 * EPS * (jnp.abs(middle[i]) + jnp.abs(centre[i])) + TINY
        for k in range(n):
            noise = 4 * n * EPS * jnp.abs(values[k].centre)
            if values[k].error is not None:
                noise = noise + values[k].error
            total = total + jnp.abs(inverse[i][k]) * noise
        for j in range(n):
            defect = float(i == j) - sum(inverse[i][k] * mid[k][j] for k in range(n))
            width = jnp.abs(defect) + 4 * EPS * (i == j)
            for k in range(n):
                width = width + jnp.abs(inverse[i][k]) * off[k][j]
            total = total + width * radii[j]
            contraction[i].append(width * (1 + 8 * (n + 1) * EPS))
        spread.append(total * (1 + 8 * (n + 1) * EPS))
    return centre, spread, sign, inverse, contraction


def _inverse(rows):
    """An approximate inverse, and the sign of the determinant where rounding allows."""
    n = len(rows)
    if n <= CLOSED_FORM_SIZE:
        det = scalar_determinant(rows)
        sure = jnp.abs(det) > 16 * n * EPS * scalar_determinant_bound(rows) + TINY
        inverse = [[a / det for a in row] for row in scalar_adjugate(rows)]
    else:
        matrix = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
        det = jnp.linalg.det(matrix)
        bound = jnp.prod(jnp.sum(jnp.abs(matrix), -1), -1)  # Hadamard's, in the 1-norm
        sure = jnp.abs(det) > 2.0**n * n * n * EPS * bound
        full = jnp.linalg.inv(matrix)
        inverse = [[full[..., i, j] for j in range(n)] for i in range(n)]
    return inverse, jnp.where(sure, jnp.sign(det), jnp.nan)


def scalar_determinant_bound(rows):
    """The determinant with every sign positive: what its rounding is measured against."""
    if len(rows) == 1:
        return jnp.abs(rows[0][0])
    return sum(
        jnp.abs(rows[0][j])
        * scalar_determinant_bound(
            [[x for k, x in enumerate(r) if k != j] for r in rows[1:]]
        )
        for j in range(len(rows))
    )
