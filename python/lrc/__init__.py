"""lrc: sequence layers written as recurrences, called from Python.

    import lrc
    gdn = lrc.library("gated_delta_rule")            # or lrc.recurrence("mine.arch"), or the text itself
    o, state = gdn(q, k, v, g, beta, scale=0.1, return_state=True)

Tensors of PyTorch take part in autograd and `torch.compile`; arrays of NumPy work where torch is absent.
"""

from typing import Any

from lrc import _lrc, runs
from lrc._command import Findings, check, command, explain, params, search, train
from lrc._recurrence import Recurrence, library, names, recurrence
from lrc.errors import Error, Failed, Invalid

__version__ = _lrc.VERSION
__all__ = [
    "Error",
    "Failed",
    "Findings",
    "Invalid",
    "Recurrence",
    "check",
    "command",
    "explain",
    "fla",
    "library",
    "names",
    "nn",
    "params",
    "recurrence",
    "runs",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    """`lrc.nn` and `lrc.fla` need PyTorch: they are loaded when they are asked for."""
    if name in ("nn", "fla"):
        import importlib

        return importlib.import_module(f"lrc.{name}")
    raise AttributeError(f"lrc has no `{name}`")
