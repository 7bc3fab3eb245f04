"""Ensembles of random networks: the gains of the weights, the laws of the biases."""

import abc
import difflib
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells import GRU, LSTM, AbstractCell, ResetAfterGRU
from .._errors import check_whole, concrete, real_array


class AbstractEnsemble(eqx.Module):
    """The law of a random network with N units, by numbers that do not depend on N.

    The entries of a recurrent matrix `U_k` are independent and normal with mean zero and
    variance `g_k²/N`, those of a bias with mean `m_k` and standard deviation `s_k`: `g_k`
    is the gain, `m_k` the mean and `s_k` the spread. All are scalars, without units, and
    may be traced; a batch of ensembles is `eqx.filter_vmap` over the constructor.
    """

    @abc.abstractmethod
    def sample(self, size: int, key: PRNGKeyArray) -> AbstractCell:
        """A network of this ensemble; see `cgru_jax.sample`."""


class _GRUGains(AbstractEnsemble):
    """What both kinds of GRU have."""

    g_h: Float[Array, ""]
    g_r: Float[Array, ""]
    g_z: Float[Array, ""]
    m_h: Float[Array, ""]
    m_r: Float[Array, ""]
    m_z: Float[Array, ""]
    s_h: Float[Array, ""]
    s_r: Float[Array, ""]
    s_z: Float[Array, ""]

    def __init__(self, *, g_h, g_r=0, g_z=0, m_h=0, m_r=0, m_z=0, s_h=0, s_r=0, s_z=0):
        """Gains `g_k` and spreads `s_k`, not negative, and means `m_k`: scalars.

        **Raises:** `ValueError` for what is no number, NaN, infinite or negative.
        """
        numbers = _scalars(
            type(self).__name__, g_h=g_h, g_r=g_r, g_z=g_z, m_h=m_h, m_r=m_r, m_z=m_z,
            s_h=s_h, s_r=s_r, s_z=s_z,
        )  # fmt: skip
        for name, number in numbers.items():
            setattr(self, name, number)


class GRUEnsemble(_GRUGains):
    """Random networks of `GRU`: the reset gate acts on the state.

    z is the update rate, as in every cell of this package: a positive `m_z` makes a fast
    network. Where z is the share that is kept, `m_z` has the other sign.
    """

    def sample(self, size: int, key: PRNGKeyArray) -> GRU:
        return GRU(**_draw(self, "h r z", {}, size, key))


class ResetAfterGRUEnsemble(_GRUGains):
    """Random networks of `ResetAfterGRU`: the reset gate acts on the recurrent sum.

    `m_h` and `s_h` are of the bias `c_h` inside the reset gate; the one outside is zero.
    z is the update rate: a positive `m_z` makes a fast network.
    """

    def sample(self, size: int, key: PRNGKeyArray) -> ResetAfterGRU:
        return ResetAfterGRU(**_draw(self, "h r z", {"b_h": "c_h"}, size, key))


class LSTMEnsemble(AbstractEnsemble):
    """Random networks of `LSTM`: forget, input and output gate and the candidate c."""

    g_f: Float[Array, ""]
    g_i: Float[Array, ""]
    g_o: Float[Array, ""]
    g_c: Float[Array, ""]
    m_f: Float[Array, ""]
    m_i: Float[Array, ""]
    m_o: Float[Array, ""]
    m_c: Float[Array, ""]
    s_f: Float[Array, ""]
    s_i: Float[Array, ""]
    s_o: Float[Array, ""]
    s_c: Float[Array, ""]

    def __init__(
        self,
        *,
        g_f,
        g_i,
        g_o,
        g_c,
        m_f=0,
        m_i=0,
        m_o=0,
        m_c=0,
        s_f=0,
        s_i=0,
        s_o=0,
        s_c=0,
    ):
        """Gains `g_k` and spreads `s_k`, not negative, and means `m_k`: scalars.

        **Raises:** `ValueError` for what is no number, NaN, infinite or negative.
        """
        numbers = _scalars(
            "LSTMEnsemble", g_f=g_f, g_i=g_i, g_o=g_o, g_c=g_c, m_f=m_f, m_i=m_i, m_o=m_o,
            m_c=m_c, s_f=s_f, s_i=s_i, s_o=s_o, s_c=s_c,
        )  # fmt: skip
        for name, number in numbers.items():
            setattr(self, name, number)

    def sample(self, size: int, key: PRNGKeyArray) -> LSTM:
        return LSTM(**_draw(self, "f i o c", {}, size, key))


def sample(ensemble: AbstractEnsemble, size: int, key: PRNGKeyArray) -> AbstractCell:
    """A random network of an ensemble.

    **Arguments:**

    - `ensemble`: a `GRUEnsemble`, `ResetAfterGRUEnsemble` or `LSTMEnsemble`.
    - `size`: the number of units N, at least two: the ensembles are about networks, and
      a single unit would be driven by its own state alone.
    - `key`: a key of `jax.random`.

    **Returns:** the cell, with matrices of shape `(N, N)` and biases of shape `(N,)`.
    Under `vmap` over keys (or ensembles) a stacked cell.

    **Raises:** `ValueError` for another `ensemble` or `size`.

    **Source:** derived here: the usual scaling, by which the sum over N units stays of
    the order of one.
    """
    if not isinstance(ensemble, AbstractEnsemble):
        raise ValueError(
            f"sample: ensemble is a {type(ensemble).__name__}; give a GRUEnsemble, "
            "ResetAfterGRUEnsemble or LSTMEnsemble."
        )
    check_whole("sample", "size", size, 2)
    return ensemble.sample(size, key)


# Uniform numbers between −1/√N and 1/√N have variance 1/(3N). Orthogonal matrices have
# entries of variance 1/N.
_UNIFORM, _ORTHOGONAL = 1 / math.sqrt(3), 1.0
_GRU_GAINS = ("g_h", "g_r", "g_z")
_LSTM_GAINS = ("g_f", "g_i", "g_o", "g_c")
_FRAMEWORKS = {
    "torch.nn.GRU": (ResetAfterGRUEnsemble, _GRU_GAINS, _UNIFORM, {}),
    "torch.nn.LSTM": (LSTMEnsemble, _LSTM_GAINS, _UNIFORM, {}),
    "equinox.nn.GRUCell": (ResetAfterGRUEnsemble, _GRU_GAINS, _UNIFORM, {}),
    "equinox.nn.LSTMCell": (LSTMEnsemble, _LSTM_GAINS, _UNIFORM, {}),
    "keras.layers.GRU": (ResetAfterGRUEnsemble, _GRU_GAINS, _ORTHOGONAL, {}),
    "keras.layers.LSTM": (LSTMEnsemble, _LSTM_GAINS, _ORTHOGONAL, {"m_f": 1}),
    "flax.linen.GRUCell": (ResetAfterGRUEnsemble, _GRU_GAINS, _ORTHOGONAL, {}),
    "flax.linen.LSTMCell": (LSTMEnsemble, _LSTM_GAINS, _ORTHOGONAL, {}),
}


def framework_ensemble(name: str) -> AbstractEnsemble:
    """The ensemble that a framework draws a large layer from when nothing is asked for.

    **Arguments:** `name`: `"torch.nn.GRU"`, `"torch.nn.LSTM"`, `"equinox.nn.GRUCell"`,
    `"equinox.nn.LSTMCell"`, `"keras.layers.GRU"`, `"keras.layers.LSTM"`,
    `"flax.linen.GRUCell"` or `"flax.linen.LSTMCell"`.

    **Returns:** the ensemble in the limit of many units: gain 1/√3 where entries are
    uniform in ±1/√N (whose biases, of the order N^−½, vanish), gain 1 where matrices are
    orthogonal. Only the second moment of the entries is kept: a uniform law has the same
    limit, an orthogonal matrix has it for the variances and not for the spectrum.

    **Raises:** `ValueError` for another name.

    **Source:** the documentation of each framework; the gains are derived here.
    """
    if name not in _FRAMEWORKS:
        close = difflib.get_close_matches(name, _FRAMEWORKS, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(
            f"framework_ensemble: no layer {name!r}: {hint}There are "
            f"{', '.join(_FRAMEWORKS)}."
        )
    kind, gains, gain, means = _FRAMEWORKS[name]
    return kind(**dict.fromkeys(gains, gain), **means)


def _scalars(owner, **given):
    numbers = {name: real_array(owner, name, value) for name, value in given.items()}
    for name, number in numbers.items():
        if number.shape != ():
            raise ValueError(
                f"{owner}: {name} must be a scalar, got shape {number.shape}. A batch of "
                "ensembles is made with eqx.filter_vmap over the constructor."
            )
        if name[0] in "gs" and concrete(number) and number < 0:
            what = "gain" if name[0] == "g" else "spread"
            raise ValueError(f"{owner}: the {what} {name} is {number}, below zero.")
    dtype = jnp.result_type(*numbers.values(), float)
    return {name: number.astype(dtype) for name, number in numbers.items()}


def _draw(ensemble, gates, renamed, size, key):
    """Matrices and biases by name, each from a key of its own."""
    gates = gates.split()
    keys = iter(jr.split(key, 2 * len(gates)))
    dtype = jax.tree.leaves(ensemble)[0].dtype
    arrays = {}
    for k in gates:
        gain = getattr(ensemble, f"g_{k}") / math.sqrt(size)
        arrays[f"U_{k}"] = gain * jr.normal(next(keys), (size, size), dtype)
    for k in gates:
        mean, spread = getattr(ensemble, f"m_{k}"), getattr(ensemble, f"s_{k}")
        bias = mean + spread * jr.normal(next(keys), (size,), dtype)
        arrays[renamed.get(f"b_{k}", f"b_{k}")] = bias
    return arrays
