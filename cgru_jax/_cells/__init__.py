from ._base import AbstractCell
from ._gru import GRU, gru
from ._lstm import LSTM
from ._reset_after_gru import ResetAfterGRU

__all__ = ["GRU", "LSTM", "AbstractCell", "ResetAfterGRU", "gru"]
