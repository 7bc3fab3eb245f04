"""The systems that the paper trains networks on, with what is known of them exactly."""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def fitzhugh_nagumo(w: Float[Array, "2"], current: ArrayLike = 0.7) -> Float[Array, "2"]:
    """FitzHugh–Nagumo: x' = x − x³/3 − y + I, 12.5 y' = x + 0.7 − 0.8 y; shape `(2,)`."""
    x, y = w
    return jnp.stack([x - x**3 / 3 - y + current, (x + 0.7 - 0.8 * y) / 12.5])


def line(w: Float[Array, "2"]) -> Float[Array, "2"]:
    """x' = −x, y' = 0: the axis x = 0 attracts at rate 1 and rests; shape `(2,)`."""
    x, y = w
    return jnp.stack([-x, jnp.zeros_like(y)])


def ring(w: Float[Array, "2"]) -> Float[Array, "2"]:
    """w' = w (1 − |w|²): the unit circle attracts at rate 2 and rests; shape `(2,)`."""
    x, y = w
    rest = 1 - x**2 - y**2
    return jnp.stack([x * rest, y * rest])


@dataclasses.dataclass(frozen=True)
class Target:
    """A flow to learn from its time series, and what a learner should end up with.

    - `field`: from a state of shape `(n,)` to its derivative; with a second argument, the
      input, if `drive` is not None.
    - `attractor`: `"cycle"`; `"line"`, the segment x = 0, |y| ≤ 2 of the plane; `"ring"`,
      its unit circle; or `None` where it is not known.
    - `box`: `(low, high)`, each `n` numbers: where trajectories begin.
    - `step`: time from one sample to the next.
    - `drive`: mean and standard deviation of the input, or None.
    - `paper_noise`: which noise the paper trains with.
    - `truth`: numbers by name. A learned cycle is compared where these hold its `period`
      and a `point` on it.
    """

    name: str
    field: Callable
    attractor: str | None
    box: tuple
    step: float
    drive: tuple[float, float] | None = None
    paper_noise: str = "none"
    truth: Mapping = dataclasses.field(default_factory=dict)


# Boxes are read off figure 8. The paper's N(0.7, 0.04) and N(0, 0.1 I) are read as
# variances, the first redrawn at every sample, the second as noise of observation.
# The numbers of the cycle: DOP853 with tolerance 1e-13; `find_cycle` repeats them.
TARGETS = {
    "fitzhugh-nagumo": Target(
        name="fitzhugh-nagumo",
        field=fitzhugh_nagumo,
        attractor="cycle",
        box=((-2.5, -1.0), (2.5, 2.5)),
        step=1.0,
        drive=(0.7, 0.2),
        paper_noise="input",
        truth={
            "period": 36.9787516739,
            # Where x crosses zero upwards.
            "point": (0.0, -0.0386744244),
            "low": (-1.9463721, -0.0876933),
            "high": (1.8944132, 1.5564519),
            "log_multiplier": -37.554,
            "equilibrium": (-0.51639493487, 0.22950633141),
            "eigenvalues": (0.61562, 0.05371),
            "signature": (0, 1, 0),
        },
    ),
    "line": Target(
        name="line",
        field=line,
        attractor="line",
        box=((-2.0, -2.0), (2.0, 2.0)),
        step=0.1,
        paper_noise="observation",
        truth={"rate": 1.0, "length": 4.0},
    ),
    "ring": Target(
        name="ring",
        field=ring,
        attractor="ring",
        box=((-1.5, -1.5), (1.5, 1.5)),
        step=0.1,
        paper_noise="observation",
        truth={"rate": 2.0, "radius": 1.0},
    ),
}
