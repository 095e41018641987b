"""Recurrences as operations of PyTorch: differentiable, and whole in graphs of torch.compile.

Each text becomes two operations, `lrc::NAME_HASH` and `lrc::NAME_HASH_backward`. The first gives outputs, states, and one
number more, behind whose memory the engine keeps what the gradient needs; where that memory has moved, forward runs
again. Neither changes what it is given.
"""

from __future__ import annotations

import hashlib
import keyword
from ast import literal_eval
from collections.abc import Sequence
from typing import Any

import torch

from lrc._lrc import kept_passes as kept_passes
from lrc._recurrence import Call, Recurrence

Tensors = Sequence[torch.Tensor | None]

# Operations by name: the same text is the same operation.
_KNOWN: dict[str, Op] = {}


class Op:
    """The operations of a recurrence."""

    def __init__(self, recurrence: Recurrence, name: str):
        self.recurrence = recurrence
        self.operands = len(recurrence.operands)
        self.states = recurrence.states
        self.outs = len(recurrence.outs)
        names = [safe(name, at) for at, name in enumerate(recurrence.operands)]
        given = [f"Tensor {name}" for name in names] + [f"Tensor? initial_{at}" for at in range(len(self.states))]
        given += ["Tensor? cu_seqlens", "str call"]
        results = self.outs + len(self.states) + 1
        self.forward = torch.library.custom_op(
            name, self._forward, mutates_args=(), schema=f"({', '.join([*given, 'bool keep'])}) -> {tuple_of(results)}"
        )
        flows = [f"Tensor? d_out_{at}" for at in range(self.outs)]
        flows += [f"Tensor? d_final_{at}" for at in range(len(self.states))]
        self.backward = torch.library.custom_op(
            f"{name}_backward",
            self._backward,
            mutates_args=(),
            schema=f"({', '.join([*given, 'Tensor kept', *flows])}) -> {tuple_of(self.operands + len(self.states))}",
        )
        self.forward.register_fake(self._forward_fake)
        self.backward.register_fake(self._backward_fake)
        self.forward.register_autograd(self._gradient, setup_context=self._remember)

    def split(self, args: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Any, str, Sequence[Any]]:
        """Operands, initial states, `cu_seqlens`, what the call says, and the rest."""
        at = self.operands + len(self.states)
        return args[: self.operands], args[self.operands : at], args[at], args[at + 1], args[at + 2 :]

    def _call(self, operands: Tensors, states: Tensors, cu: torch.Tensor | None, said: str) -> tuple[Call, torch.dtype]:
        """The call at the shapes of its tensors, and what it computes in."""
        settings, device = literal_eval(said)
        bounds = None if cu is None else [int(x) for x in cu.tolist()]
        named = dict(zip(self.recurrence.operands, operands))
        kind = precision(operands, states)
        return Call(self.recurrence, named, dict(settings), states, bounds, device, kind == torch.float64), kind

    def _forward(self, *args: Any) -> tuple[torch.Tensor, ...]:
        operands, states, cu, said, (keep,) = self.split(args)
        on_processor([*operands, *states])
        call, kind = self._call(operands, states, cu, said)
        outs, finals, kept = call.forward(lying(operands, kind), lying(states, kind), keep)
        narrow = self.narrow(operands, kind)
        made = [call.pad(taken(x, shape, kind).to(narrow), torch) for x, shape in zip(outs, call.out_shapes)]
        made += [taken(x, shape, kind) for x, shape in zip(finals, call.state_shapes)]
        return (*made, torch.zeros(1) if kept is None else torch.frombuffer(kept, dtype=torch.float32))

    def _forward_fake(self, *args: Any) -> tuple[torch.Tensor, ...]:
        operands, states, cu, said, _ = self.split(args)
        settings, _ = literal_eval(said)
        fitted, batch, tokens = self.fit_fake(operands, dict(settings))
        heads = [] if fitted.heads is None else [fitted.heads]
        sequences = batch if cu is None else cu.shape[0] - 1
        kind = precision(operands, states)
        new = operands[0].new_empty
        outs = [new([batch, tokens, *heads, *shape], dtype=self.narrow(operands, kind)) for _, shape in fitted.outs]
        finals = [new([sequences, *heads, *shape], dtype=kind) for _, shape in fitted.states]
        return (*outs, *finals, new([1], dtype=torch.float32))

    def fit_fake(self, operands: Sequence[torch.Tensor], settings: dict[str, Any]) -> tuple[Any, Any, Any]:
        """The recurrence at shapes whose numbers of sequences and tokens may be unknown, and these."""
        counts = self.recurrence._engine.counts(settings)
        inputs = operands[: len(counts)]
        first = inputs[0]
        batch, tokens = first.shape[0], first.shape[1] if counts[0] == 1 else first.shape[1] // counts[0]
        shapes: dict[str, list[int]] = {}
        for at, (name, x) in enumerate(zip(self.recurrence.operands, operands)):
            front = [1, counts[at]] if at < len(counts) else []
            shapes[name] = [*front, *(int(size) for size in x.shape[len(front) :])]
        return self.recurrence.fit(shapes, settings), batch, tokens

    def narrow(self, operands: Sequence[torch.Tensor], kind: torch.dtype) -> torch.dtype:
        """The type of outputs: that of the first input with an axis of its own."""
        axes = self.recurrence._axes
        return next((x.dtype for x, own in zip(operands, axes) if own), kind)

    def _backward(self, *args: Any) -> Any:
        operands, states, cu, said, (kept, *flows) = self.split(args)
        call, kind = self._call(operands, states, cu, said)
        outs = [x if x is None else x[:, : call.used] if call.used != call.rows else x for x in flows[: self.outs]]
        finals = flows[self.outs :]
        numbers = call.backward(
            lying(operands, kind), lying(states, kind), kept.data_ptr(), lying(outs, kind), lying(finals, kind)
        )
        inputs, params, initial = numbers
        made = []
        for at, (x, given) in enumerate(zip([*inputs, *params], operands)):
            shape = list(given.shape)
            own = at < len(inputs)
            if own and call.used != call.rows:
                shape[1] = call.used * call.per_token[at]
            d = taken(x, shape, kind).to(given.dtype)
            made.append(Call.padded(d, given.shape[1], torch) if shape != list(given.shape) else d)
        for x, shape, given in zip(initial, call.state_shapes, states):
            made.append(torch.empty(0, dtype=kind) if given is None else taken(x, shape, kind).to(given.dtype))
        return made[0] if len(made) == 1 else tuple(made)

    def _backward_fake(self, *args: Any) -> Any:
        operands, states, _, _, _ = self.split(args)
        kind = precision(operands, states)
        made = [x.new_empty(x.shape) for x in operands]
        made += [operands[0].new_empty([0], dtype=kind) if x is None else x.new_empty(x.shape) for x in states]
        return made[0] if len(made) == 1 else tuple(made)

    def _remember(self, ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        operands, states, cu, said, _ = self.split(inputs)
        ctx.save_for_backward(*operands, *states, cu, output[-1])
        ctx.said = said
        ctx.set_materialize_grads(False)

    def _gradient(self, ctx: Any, *flows: torch.Tensor | None) -> tuple[Any, ...]:
        nothing = (None,) * (self.operands + len(self.states) + 3)
        if all(x is None for x in flows[:-1]):
            return nothing
        *tensors, kept = ctx.saved_tensors
        made = self.backward(*tensors, ctx.said, kept, *flows[:-1])
        made = list(made) if isinstance(made, (tuple, list)) else [made]
        states = tensors[self.operands : self.operands + len(self.states)]
        made[self.operands :] = [None if given is None else d for given, d in zip(states, made[self.operands :])]
        return (*made, None, None, None)


def safe(name: str, at: int) -> str:
    """A name that the schema of an operation may have."""
    return name if name.isidentifier() and name.isascii() and not keyword.iskeyword(name) else f"operand_{at}"


def tuple_of(count: int) -> str:
    """So many tensors, as a schema says it."""
    return "Tensor" if count == 1 else f"({', '.join(['Tensor'] * count)})"


def precision(operands: Tensors, states: Tensors) -> torch.dtype:
    """What a call computes in: f64 where anything is held so, else f32."""
    kinds = {x.dtype for x in [*operands, *states] if x is not None}
    wrong = [kind for kind in kinds if not kind.is_floating_point]
    if wrong:
        raise TypeError(f"recurrences compute with floats, not with {wrong[0]}")
    return torch.float64 if torch.float64 in kinds else torch.float32


def lying(tensors: Tensors, kind: torch.dtype) -> list[Any]:
    """Arrays over the tensors' own memory; those of another type, or with gaps, are copied."""
    return [None if x is None else x.detach().to(kind).contiguous().numpy() for x in tensors]


def taken(numbers: Any, shape: Sequence[int], kind: torch.dtype) -> torch.Tensor:
    """A tensor over memory that the engine has filled."""
    return torch.frombuffer(numbers, dtype=kind).view(shape) if len(numbers) else torch.zeros(shape, dtype=kind)


def on_processor(tensors: Tensors) -> None:
    """Refuses tensors that lie elsewhere."""
    for x in tensors:
        if x is not None and x.device.type != "cpu":
            raise NotImplementedError(
                f"lrc's operations run on CPU tensors, this one is on {x.device}: move it with .cpu(), or train with "
                "`lrc train --device cuda`"
            )


def op(recurrence: Recurrence) -> Op:
    """The operations of a recurrence, defined once per text."""
    if recurrence._op is None:
        digest = hashlib.sha256(recurrence.text.encode()).hexdigest()[:8]
        name = f"lrc::{recurrence.name}_{digest}"
        if name not in _KNOWN:
            _KNOWN[name] = Op(recurrence, name)
        recurrence._op = _KNOWN[name]
    return recurrence._op


def _literal(value: Any) -> str:
    """A setting as it is read again: infinity has no literal of its own. Graphs of PyTorch trace it, so it is no JSON."""
    return repr(value).replace("inf", "1e999") if isinstance(value, float) else repr(value)


def call(
    recurrence: Recurrence, operands: Sequence[Any], settings: dict[str, Any], initial: Any, cu: Any, device: str | None
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs and states of a call on tensors."""
    for name, x in zip(recurrence.operands, operands):
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"`{name}` is a {type(x).__name__}; the others are tensors")
    made = op(recurrence)
    states = recurrence.initial(initial)
    if cu is not None and not isinstance(cu, torch.Tensor):
        cu = torch.tensor(cu, dtype=torch.int64)
    pairs = ", ".join([f"({name!r}, {_literal(settings[name])})" for name in sorted(settings)])
    said = f"([{pairs}], {device!r})"
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in [*operands, *states])
    results = made.forward(*operands, *states, cu, said, keep)
    return list(results[: made.outs]), list(results[made.outs : -1])
