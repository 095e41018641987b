"""Declared recurrences, called on tensors of PyTorch or arrays of NumPy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from lrc import _lrc
from lrc.errors import Invalid


def origin(source: str | os.PathLike[str]) -> tuple[str, str]:
    """What was given, and whether it is the path of a file or a text: a text has a brace or a new line."""
    if isinstance(source, os.PathLike):
        return os.fspath(source), "file"
    return source, "text" if "{" in source or "\n" in source else "file"


class Recurrence:
    """A declared recurrence, to be called like a function.

    Inputs are `[B, T, H, …]`, with the declared axes last, and parameters `[H, …]`; the axis `H` of heads may be left
    out, and may be smaller than that of other tensors if it divides it (grouped heads). They are given in the declared
    order or by name. Everything else is given by name:

    * settings of the recurrence, such as `scale`;
    * `initial_state`: of the state, `[sequences, H, …]`, or a sequence of them in declared order, None where a state
      begins as declared;
    * `cu_seqlens`: where packed sequences begin and end, `[0, …, T]`, with `B = 1`; tokens behind the last end give
      zeros and get zeros as gradients;
    * `return_state`: also give the state after the last token, or a tuple of states in declared order;
    * `device`: "sim" runs the kernels for GPUs on the processor, with checks that no GPU makes (slow, for tests).

    f32 and f64 are computed as they are; f16 and bf16 in f32. Outputs have the type of the first input with an axis of
    its own, states that of the computation.
    """

    def __init__(self, source: str, kind: str, name: str | None = None):
        self._engine = _lrc.Recurrence(source, kind, name)
        signature = self._engine.signature
        self.inputs: tuple[str, ...] = tuple(name for name, _, _ in signature["inputs"])
        self.params: tuple[str, ...] = tuple(name for name, _, _ in signature["params"])
        self.outs: tuple[str, ...] = tuple(self._engine.outs)
        self.states: tuple[str, ...] = tuple(self._engine.states)
        self.settings: dict[str, str] = dict(signature["settings"])
        self._axes = [axes for _, axes, _ in signature["inputs"]]
        self._op: Any = None
        # Where PyTorch is at work, before anything is traced: operations cannot be defined in a graph.
        if "torch" in sys.modules:
            from lrc import _torch

            _torch.op(self)

    @property
    def name(self) -> str:
        """Its declared name."""
        return self._engine.name

    @property
    def text(self) -> str:
        """Its text, as the printer writes it."""
        return self._engine.text

    @property
    def operands(self) -> tuple[str, ...]:
        """Inputs, then parameters: what a call is given, in its order."""
        return self.inputs + self.params

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self.settings.items())
        return f"<lrc.Recurrence {self.name}({', '.join(self.operands)}{settings})>"

    def __reduce__(self) -> Any:
        return _of_text, (self.text, self.name)

    def __call__(
        self,
        *tensors: Any,
        initial_state: Any = None,
        cu_seqlens: Any = None,
        return_state: bool = False,
        device: str | None = None,
        **named: Any,
    ) -> Any:
        given = self._by_name(tensors, named)
        settings = {name: named[name] for name in named if name not in given}
        operands = [given[name] for name in self.operands]
        if all(isinstance(x, (numpy.ndarray, numpy.generic, float, int, Sequence)) for x in operands):
            made, finals = self._on_arrays(operands, settings, initial_state, cu_seqlens, device)
        else:
            from lrc import _torch

            made, finals = _torch.call(self, operands, settings, initial_state, cu_seqlens, device)
        outs = made[0] if len(made) == 1 else tuple(made)
        if not return_state:
            return outs
        return outs, finals[0] if len(finals) == 1 else tuple(finals)

    def _by_name(self, tensors: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """The operands by name, refused where one is missing, given twice or unknown."""
        if len(tensors) > len(self.operands):
            raise TypeError(f"{self.name} takes {len(self.operands)} tensors ({', '.join(self.operands)}), not {len(tensors)}")
        given = dict(zip(self.operands, tensors))
        for name in self.operands[len(tensors) :]:
            if name in named:
                given[name] = named[name]
        twice = [name for name in list(self.operands)[: len(tensors)] if name in named]
        if twice:
            raise TypeError(f"{self.name} is given `{twice[0]}` twice")
        missing = [name for name in self.operands if name not in given]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            raise TypeError(f"{self.name} needs {names}: it takes {', '.join(self.operands)}")
        return given

    def fit(self, shapes: dict[str, Sequence[int]], settings: dict[str, Any]) -> Any:
        """The recurrence at the sizes of shapes; what does not fit is `lrc.Invalid`."""
        return self._engine.fit({name: list(shape) for name, shape in shapes.items()}, settings)

    def initial(self, given: Any) -> list[Any]:
        """The given initial states in declared order, None where there is none."""
        if given is None:
            return [None] * len(self.states)
        if len(self.states) == 1 and not isinstance(given, (tuple, list, dict)):
            return [given]
        if isinstance(given, dict):
            strangers = set(given) - set(self.states)
            if strangers:
                raise TypeError(f"{self.name} has no state `{sorted(strangers)[0]}`: it has {', '.join(self.states)}")
            return [given.get(name) for name in self.states]
        if not isinstance(given, (tuple, list)) or len(given) != len(self.states):
            states = ", ".join(self.states) or "none"
            raise TypeError(f"`initial_state` needs one entry for each state of {self.name}: {states}")
        return list(given)

    def _on_arrays(
        self, operands: list[Any], settings: dict[str, Any], initial: Any, cu_seqlens: Any, device: str | None
    ) -> tuple[list[numpy.ndarray], list[numpy.ndarray]]:
        """A call on arrays; nothing is kept for gradients."""
        arrays = [numpy.asarray(x) for x in operands]
        states = [None if x is None else numpy.asarray(x) for x in self.initial(initial)]
        kinds = {x.dtype for x in arrays + states if x is not None}
        wrong = [str(kind) for kind in kinds if kind.kind != "f"]
        if wrong:
            raise TypeError(f"{self.name} computes with floats, not with {wrong[0]}")
        double = numpy.dtype("float64") in kinds
        kind = numpy.dtype("float64" if double else "float32")
        as_lying = lambda x: None if x is None else numpy.ascontiguousarray(x, dtype=kind)
        bounds = None if cu_seqlens is None else [int(x) for x in cu_seqlens]
        call = Call(self, dict(zip(self.operands, arrays)), settings, states, bounds, device, double)
        outs, finals, _ = call.forward([as_lying(x) for x in arrays], [as_lying(x) for x in states], False)
        narrow = next((x.dtype for x, axes in zip(arrays, self._axes) if axes), kind)
        read = lambda numbers, shape: numpy.frombuffer(numbers, dtype=kind).reshape(shape) if len(numbers) else numpy.zeros(shape, kind)
        made = [read(numbers, shape).astype(narrow, copy=False) for numbers, shape in zip(outs, call.out_shapes)]
        return [call.pad(x, numpy) for x in made], [read(*pair) for pair in zip(finals, call.state_shapes)]


class Call:
    """A call at its shapes: what is handed to the engine, and the shapes of what comes back."""

    def __init__(
        self,
        recurrence: Recurrence,
        operands: dict[str, Any],
        settings: dict[str, Any],
        initial: Sequence[Any],
        bounds: list[int] | None,
        device: str | None,
        double: bool,
    ):
        self.recurrence, self.double = recurrence, double
        self.device = device or "cpu"
        self.fitted = recurrence.fit({name: x.shape for name, x in operands.items()}, settings)
        inputs = [operands[name] for name in recurrence.inputs]
        self.batch, self.tokens = self.fitted.batch
        self.rows = self.batch * self.tokens
        self.bounds = bounds_of(bounds, self.batch, self.tokens)
        self.used = self.bounds[-1]
        # Rows of each input per token; a state's sequences are those of the bounds.
        self.per_token = [x.shape[1] // self.tokens if self.tokens else 1 for x in inputs]
        heads = [] if self.fitted.heads is None else [self.fitted.heads]
        self.out_shapes = [[self.batch, self.used if bounds else self.tokens, *heads, *shape] for _, shape in self.fitted.outs]
        self.state_shapes = [[len(self.bounds) - 1, *heads, *shape] for _, shape in self.fitted.states]
        for (name, _), want, state in zip(self.fitted.states, self.state_shapes, initial):
            if state is not None and list(state.shape) != want:
                raise Invalid(f"the initial state `{name}` has shape {list(state.shape)}, expected {want}")

    def used_rows(self, inputs: Sequence[Any]) -> list[Any]:
        """The rows of inputs that sequences have: those behind the last end are left out."""
        if self.used == self.rows:
            return list(inputs)
        return [x[:, : self.used * count] for x, count in zip(inputs, self.per_token)]

    def pad(self, out: Any, of: Any) -> Any:
        """An output, or the gradient of an input, with zeros for tokens behind the last end."""
        if self.used == self.rows:
            return out
        count = out.shape[1] // self.used if self.used else 1
        return self.padded(out, self.tokens * count, of)

    @staticmethod
    def padded(x: Any, rows: int, of: Any) -> Any:
        """`x` with zeros behind its rows."""
        whole = of.zeros((x.shape[0], rows, *x.shape[2:]), dtype=x.dtype)
        whole[:, : x.shape[1]] = x
        return whole

    def given(self, operands: Sequence[Any], initial: Sequence[Any]) -> dict[str, Any]:
        """What the engine is given: arrays of its precision that lie without gaps."""
        count = len(self.recurrence.inputs)
        inputs, params = self.used_rows(operands[:count]), list(operands[count:])
        how = {"bounds": self.bounds, "double": self.double, "device": self.device}
        return {"inputs": inputs, "params": params, "initial": list(initial), **how}

    def forward(self, operands: Sequence[Any], initial: Sequence[Any], keep: bool) -> Any:
        """Outputs, states, and what stands for what was kept: buffers of numbers."""
        return self.fitted.forward(self.given(operands, initial), keep)

    def backward(self, operands: Sequence[Any], initial: Sequence[Any], kept: int | None, outs: Any, finals: Any) -> Any:
        """Gradients of inputs, parameters and initial states."""
        return self.fitted.backward(self.given(operands, initial), kept, list(outs), list(finals))


def bounds_of(given: list[int] | None, batch: int, tokens: int) -> list[int]:
    """Where each sequence begins, and the end of the last."""
    if given is None:
        return [sequence * tokens for sequence in range(batch + 1)]
    rising = len(given) > 0 and given[0] == 0 and all(a <= b for a, b in zip(given, given[1:]))
    if batch != 1 or not rising or given[-1] > tokens:
        shown = given if len(given) <= 20 else [*given[:20], "…"]
        raise Invalid(f"`cu_seqlens` is {shown}: it must rise from 0 to at most the {tokens} tokens, with batch size 1")
    return given


def recurrence(source: str | os.PathLike[str], name: str | None = None) -> Recurrence:
    """The recurrence of a `.arch` file, given its path, or of a text; `name` chooses among several."""
    return Recurrence(*origin(source), name)


def library(name: str) -> Recurrence:
    """A recurrence of the library that comes with lrc, such as "gated_delta_rule"."""
    return Recurrence(name, "library", Path(name).stem)


def names() -> list[str]:
    """The recurrences that the library has."""
    return sorted(_lrc.shipped_names("recurrence"))


def _of_text(text: str, name: str) -> Recurrence:
    return Recurrence(text, "text", name)
