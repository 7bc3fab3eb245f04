"""The signature of a two-unit GRU, proved by another program in 40 digits.

It shares nothing with the library: ball arithmetic of python-flint, derivatives by hand,
one box after another on a stack.
"""

import flint
from flint import arb

DIGITS = 40
NARROWEST = 1e-12


def signature(U_h, U_r, b_h, b_r, U_z, b_z):
    """Sinks, saddles and sources, or "undecided"."""
    flint.ctx.dps = DIGITS
    U, R, G = ([[arb(float(x)) for x in row] for row in M] for M in (U_h, U_r, U_z))
    b, c, g = ([arb(float(x)) for x in v] for v in (b_h, b_r, b_z))

    tally = [0, 0, 0]
    for zero in _zeros(lambda h: _field(U, R, b, c, h)):
        if zero is None:
            return "undecided"
        # At an equilibrium each row of the Jacobian has the factor z.
        z = [_gate(G[i], g[i], zero) for i in range(2)]
        _, J = _field(U, R, b, c, zero)
        trace, det = z[0] * J[0][0] + z[1] * J[1][1], _det(J)
        kinds = [det > 0 and trace < 0, det < 0, det > 0 and trace > 0]
        if not any(kinds):
            return "undecided"
        tally[kinds.index(True)] += 1
    return tally


def _gate(row, bias, h):
    return 1 / (1 + (-(row[0] * h[0] + row[1] * h[1] + bias)).exp())


def _field(U, R, b, c, h):
    """tanh(U (r h) + b) − h and its Jacobian."""
    r = [_gate(R[k], c[k], h) for k in range(2)]
    F, J = [], []
    # d(r_k h_k) / dh_j; a power would not do: x**2 of a ball about zero is no number.
    d = [[h[k] * r[k] * (1 - r[k]) * R[k][j] for j in range(2)] for k in range(2)]
    for k in range(2):
        d[k][k] += r[k]
    for i in range(2):
        t = (U[i][0] * r[0] * h[0] + U[i][1] * r[1] * h[1] + b[i]).tanh()
        slope = 1 - t * t
        F.append(t - h[i])
        J.append([slope * (U[i][0] * d[0][j] + U[i][1] * d[1][j]) for j in range(2)])
        J[i][i] -= 1
    return F, J


def _det(J):
    return J[0][0] * J[1][1] - J[0][1] * J[1][0]


def _zeros(field):
    """Small boxes about all zeros in [−1, 1]², each of which holds exactly one; None for
    a place that stays open."""
    waiting, found = [[arb(0, 1), arb(0, 1)]], []
    while waiting:
        core = waiting.pop()
        # A little wider, so that a zero on an edge is inside of one box at least.
        left, unique = _contract(field, [arb(x.mid(), x.rad() * arb("1.02")) for x in core])
        if left is None:
            continue
        if unique:
            for _ in range(30):
                left, _ = _contract(field, left)
            # Each is the only zero of its box, so two that overlap are one.
            if not any(_overlap(left, other) for other in found):
                found.append(left)
                yield left
            continue
        k = int(core[1].rad() > core[0].rad())
        if core[k].rad() < NARROWEST:
            yield None
            return
        half = core[k].rad() / 2
        for side in (-1, 1):
            part = list(core)
            part[k] = arb(core[k].mid() + side * half, half)
            waiting.append(part)


def _contract(field, box):
    """Where in a box zeros can be (None: nowhere), and whether there is exactly one."""
    middle = [arb(x.mid()) for x in box]
    F, J = field(box)
    f, _ = field(middle)
    away = [x - m for x, m in zip(box, middle, strict=True)]
    for i in range(2):
        mean = f[i] + J[i][0] * away[0] + J[i][1] * away[1]
        if not (F[i].contains(0) and mean.contains(0)):
            return None, False
    A = [[float(x.mid()) for x in row] for row in J]
    det = _det(A)
    if det == 0:
        return box, False
    Y = [[A[1][1] / det, -A[0][1] / det], [-A[1][0] / det, A[0][0] / det]]
    image = []
    for i in range(2):
        p, q = arb(Y[i][0]), arb(Y[i][1])
        E = [int(i == j) - p * J[0][j] - q * J[1][j] for j in range(2)]
        image.append(middle[i] - p * f[0] - q * f[1] + E[0] * away[0] + E[1] * away[1])
    if not all(x.is_finite() for x in image):
        return box, False
    if not _overlap(box, image):
        return None, False
    unique = all(x.contains_interior(k) for x, k in zip(box, image, strict=True))
    return [x.intersection(k) for x, k in zip(box, image, strict=True)], unique


def _overlap(a, b):
    return all(x.overlaps(y) for x, y in zip(a, b, strict=True))
