"""lrc: sequence layers written as recurrences, called from Python.

    import lrc
    gdn = lrc.library("gated_delta_rule")            # or lrc.recurrence("mine.arch"), or the text itself
    o, state = gdn(q, k, v, g, beta, scale=0.1, return_state=True)

Tensors of PyTorch take part in autograd and `torch.compile`; arrays of NumPy work where torch is absent.
"""

from lrc import _lrc
from lrc._recurrence import Recurrence, library, recurrence
from lrc.errors import Error, Failed, Invalid

__version__ = _lrc.VERSION
__all__ = ["Error", "Failed", "Invalid", "Recurrence", "library", "recurrence"]
