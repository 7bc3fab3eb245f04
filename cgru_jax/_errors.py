"""Input checks: one line that names the culprit and the cure, before any work starts."""

import jax
import jax.numpy as jnp
import numpy as np


def concrete(x) -> bool:
    """Whether the values of `x` can be looked at now (no transformation is tracing it)."""
    return not isinstance(x, jax.core.Tracer)


def real_array(owner: str, name: str, value):
    """`value` as a real floating array; concrete values must be finite."""
    # Lists may hold traced numbers, which NumPy cannot take.
    traced = not all(map(concrete, jax.tree.leaves(value)))
    try:
        whole = isinstance(value, jax.Array)
        array = value if whole else (jnp if traced else np).asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{owner}: {name} is not a rectangular array of numbers ({error})."
        ) from None
    kind = array.dtype.kind
    if kind not in "fiu" or array.dtype.itemsize > 8:
        what = {"O": type(value).__name__, "U": "text"}.get(kind, str(array.dtype))
        raise ValueError(f"{owner}: {name} must hold real numbers, got {what}.")
    check_finite(owner, name, array)
    with np.errstate(over="ignore"):  # a double too large for single precision
        array = jnp.asarray(array)
    check_finite(owner, name, array)
    return array


def check_positive(owner: str, name: str, number) -> None:
    """Refuse what is not one positive number, where its value can be seen."""
    if number.shape != () or (concrete(number) and not number > 0):
        raise ValueError(f"{owner}: {name} must be one positive number, got {number}.")


def check_whole(owner: str, name: str, number, least: int) -> None:
    """Refuse what is not a Python integer of this size."""
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise ValueError(
            f"{owner}: {name} must be a whole number ≥ {least}, got {number!r}."
        )


def check_finite(owner: str, name: str, array) -> None:
    """Refuse NaN and infinity where the values can be seen."""
    if not concrete(array):
        return
    bad = np.argwhere(~np.isfinite(np.asarray(array)))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        value = np.asarray(array)[place]
        where = f"[{', '.join(map(str, place))}]" if place else ""
        raise ValueError(f"{owner}: {name}{where} is {value}; every entry must be finite.")


def check_x64(verb: str, dtype) -> None:
    """Refuse a proof or a bifurcation in single precision."""
    if dtype != jnp.float64:
        raise ValueError(
            f"{verb} needs double precision, got {dtype}: call "
            'jax.config.update("jax_enable_x64", True) before the first array is made.'
        )
