"""Systems with known equilibria, all moved away from zero; the experiments by name."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

import cgru_jax as cgru
from cgru_jax import _reproduce


def cubic(x):
    """x' = −(x − 0.3)(x − 0.5)(x + 0.9): sinks at −0.9 and 0.5, a source at 0.3."""
    return -(x - 0.3) * (x - 0.5) * (x + 0.9)


CUBIC_ROOTS = np.array([-0.9, 0.3, 0.5])


def tanh_fold(a):
    """Place and parameter of a fold of x' = tanh(a x + b) − x, in closed form."""
    h = np.sqrt(1 - 1 / a)
    return h, np.arctanh(h) - a * h


def from_table(row):
    """A two-unit GRU from the twelve numbers of a table row, in the paper's order."""
    row = [float(x) for x in row]
    return cgru.gru(
        np.reshape(row[:4], (2, 2)), np.reshape(row[4:8], (2, 2)), row[8:10], row[10:12]
    )


# Name, parameters, and the printed or exact (sinks, saddles, sources) of hyperbolic rows.
HYPERBOLIC = {
    "fig. 2": ([3, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0], (4, 4, 1)),
    "fig. 3a": ([2, 0, 0, 2, 5, 8, 8, 5, 0, 0, 5, 5], (5, 5, 1)),
    "ix": ([3, 3, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0], (2, 2, 1)),
    "xxiii": ([3, 0, 0, 3, -3, -5, -5, -3, 0, 0, -2, -2], (2, 3, 2)),
    "xxxiii": ([3, 0, 0, 3, 6, 9, 9, 6, 0.3, 0.3, 3.75, 3.75], (5, 4, 0)),
}

# Name, parameters, and the index of the exactly degenerate origin.
DEGENERATE_ORIGIN = {
    "iv": ([2, 0, 0, 2, -1, 0, 0, -1, 0, 0, 0, 0], 0),
    "v": ([2, 0, 0, 2, 1, -1, 1, 1, 0, 0, 0, 0], 0),
    "xviii": ([2, 0, 0, 2, 3, 2, 2, 3, 0, 0, 0, 0], 0),
    "4a": ([2, 0, 0, 2, 5, 9, 5, 9, 0, 0, 0, 0], 1),
    "4b": ([2, 0, 0, 2, 5, 9, 9, 5, 0, 0, 0, 0], 2),
}


def shifted(field, by):
    """The same field with its origin moved to `by`."""
    return lambda x: field(x - jnp.asarray(by))


def experiment(name):
    """The module of an experiment, as `reproduce` loads it."""
    folder = Path(__file__).parents[1] / "experiments"
    return _reproduce.load(_reproduce.find_experiments(folder, [name])[0])
