"""Mixers and models as modules of PyTorch: parameters by their names in lrc's files, computed by lrc's graph."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from lrc import _lrc, runs
from lrc._recurrence import bounds_of, origin

__all__ = ["Mixer", "Model"]


class _Graph(torch.nn.Module):
    """A module whose numbers are computed by a graph of lrc."""

    def __init__(
        self, source: str | os.PathLike[str], what: str, name: str | None, settings: dict[str, Any], seed: int, device: str, prefix: str
    ):
        super().__init__()
        text, kind = origin(source)
        if kind == "file" and text.isidentifier():
            kind, name = "library", name or text
        elif kind == "file" and os.path.isdir(text):
            kind = "run"
        asked = {"source": text, "kind": kind, "what": what, "name": name, "seed": seed, "device": device}
        graph = _lrc.Graph(asked, settings)
        self._graph = graph
        names = [name for name, _ in graph.parameters]
        # A mixer stands in a model whose embedding and head nobody reads.
        outer = {graph.embedding, graph.head} if what == "mixer" else set()
        self._outer: dict[int, torch.Tensor] = {}
        self._places: list[tuple[torch.nn.Module, str] | None] = []
        for at, ((_, shape), numbers) in enumerate(zip(graph.parameters, graph.fresh())):
            values = torch.frombuffer(numbers, dtype=torch.float32).view(shape).clone()
            if at in outer:
                self._outer[at] = values
                self._places.append(None)
                continue
            module, leaf = self._place(names[at].removeprefix(prefix))
            module.register_parameter(leaf, torch.nn.Parameter(values))
            self._places.append((module, leaf))

    def _place(self, name: str) -> tuple[torch.nn.Module, str]:
        """The module that holds a parameter of this name, and what it is called there."""
        *folders, leaf = name.split(".")
        module: torch.nn.Module = self
        for folder in folders:
            if folder not in module._modules:
                module.add_module(folder, torch.nn.Module())
            module = module.get_submodule(folder)
        return module, leaf

    def _tensors(self) -> list[torch.Tensor]:
        """All parameters of the graph in its order."""
        held = lambda at, place: self._outer[at] if place is None else getattr(*place)
        return [held(at, place) for at, place in enumerate(self._places)]

    def _load(self, tensors: Sequence[torch.Tensor]) -> None:
        """Gives the graph its parameters. Always: nobody is told when `p.data` is written to."""
        for x in tensors:
            if x.device.type != "cpu" or x.dtype != torch.float32:
                raise NotImplementedError(f"lrc's modules hold f32 on the CPU, not {x.dtype} on {x.device}")
        self._graph.set([x.detach().contiguous().numpy() for x in tensors])

    def _bounds(self, batch: int, tokens: int, cu_seqlens: Any) -> list[int]:
        given = None if cu_seqlens is None else [int(x) for x in cu_seqlens]
        bounds = bounds_of(given, batch, tokens)
        if bounds[-1] != batch * tokens:
            raise ValueError(f"`cu_seqlens` ends at {bounds[-1]}, the sequences at {batch * tokens}")
        return bounds

    @torch.compiler.disable
    def _run(self, tokens: torch.Tensor | None, x: torch.Tensor | None, bounds: list[int]) -> torch.Tensor:
        """Hidden states `[rows, width]`."""
        return _Pass.apply(self, tokens, bounds, x, *self._tensors())

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a module of lrc is not pickled: save its state_dict(), and make it anew")


class _Pass(torch.autograd.Function):
    """The graph, forward and back."""

    @staticmethod
    def forward(ctx: Any, module: _Graph, tokens: Any, bounds: list[int], x: Any, *params: torch.Tensor) -> torch.Tensor:
        module._load(params)
        wanted = any(ctx.needs_input_grad)
        hidden, number = module._graph.forward(_array(tokens), _array(x), bounds, wanted)
        ctx.module, ctx.bounds, ctx.number, ctx.tokens = module, bounds, number, tokens
        ctx.save_for_backward(x, *params)
        return _tensor(hidden, (-1, module._graph.width)) if len(hidden) else torch.zeros(0, module._graph.width)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d: torch.Tensor) -> tuple[Any, ...]:
        module, (x, *params) = ctx.module, ctx.saved_tensors
        flows = _array(d)
        made = module._graph.backward(ctx.number, flows)
        if made is None:
            # Another pass came in between, or this one is asked twice.
            module._load(params)
            _, number = module._graph.forward(_array(ctx.tokens), _array(x), ctx.bounds, True)
            made = module._graph.backward(number, flows)
        d_x, d_params = made
        given = [_tensor(numbers, p.shape) for numbers, p in zip(d_params, params)]
        return None, None, None, None if d_x is None else _tensor(d_x, x.shape).to(x.dtype), *given


def _array(x: torch.Tensor | None) -> Any:
    if x is None:
        return None
    kind = torch.float32 if x.dtype.is_floating_point else torch.int64
    return x.detach().to(kind).contiguous().numpy()


def _tensor(numbers: Any, shape: Any) -> torch.Tensor:
    return torch.frombuffer(numbers, dtype=torch.float32).view(shape) if len(numbers) else torch.zeros(shape)


class Mixer(_Graph):
    """A mixer as a layer: `[B, T, width]` to `[B, T, width of its output]`.

        layer = lrc.nn.Mixer("gated_deltanet", width=256, heads=4, dk=64, dv=64)
        y = layer(x)                        # or layer(x, cu_seqlens=[0, 100, 256]) with B = 1

    The first argument is a file, a text or a name of the library; settings are those of the mixer. Parameters have the
    names, shapes and fresh values that the text declares; `seed` draws them.
    """

    def __init__(
        self, source: str | os.PathLike[str], name: str | None = None, *, width: int, seed: int = 0, device: str = "cpu", **settings: Any
    ):
        self.mixer, self.width = name or str(source), width
        super().__init__(source, "mixer", name, {**settings, "width": width}, seed, device, "")
        # `layers.0.NAME.` stands before each name in the model around it.
        self._shorten()

    def _shorten(self) -> None:
        """Takes the model's own part of the names away."""
        if "layers" not in self._modules:
            return
        (outer,) = self._modules.pop("layers")._modules.values()
        (inner,) = outer._modules.values()
        for name, module in list(inner._modules.items()):
            self.add_module(name, module)
        for name, parameter in list(inner._parameters.items()):
            self.register_parameter(name, parameter)
        self._places = [
            (self, place[1]) if place is not None and place[0] is inner else place for place in self._places
        ]

    def forward(self, x: torch.Tensor, cu_seqlens: Any = None) -> torch.Tensor:
        """The mixer's output for `x`: `[B, T, width]`."""
        if x.dim() != 3 or x.shape[-1] != self.width:
            raise ValueError(f"expected [B, T, {self.width}], not {list(x.shape)}")
        batch, tokens, _ = x.shape
        y = self._run(None, x, self._bounds(batch, tokens, cu_seqlens))
        return y.view(batch, tokens, -1).to(x.dtype)


class Model(_Graph):
    """A model of a `.arch` file: tokens `[B, T]` to logits `[B, T, vocab]`.

        model = lrc.nn.Model("gdn.arch", "gdn", vocab=32000)
        logits = model(tokens)
        hidden = model.hidden(tokens)       # what the head reads

    `state_dict()` has the names of a checkpoint's `model.safetensors`.
    """

    def __init__(self, source: str | os.PathLike[str], name: str | None = None, *, seed: int = 0, device: str = "cpu", **settings: Any):
        super().__init__(source, "model", name, settings, seed, device, "")

    @classmethod
    def from_run(cls, folder: str | os.PathLike[str], step: int | None = None) -> Model:
        """The model of a run with the weights of a checkpoint."""
        weights = runs.read(folder).weights(step)
        model = cls(folder)
        model.load_state_dict({name: torch.from_numpy(x.copy()) for name, x in weights.items()})
        return model

    @property
    def vocab(self) -> int:
        """Tokens that exist."""
        return self._graph.vocab

    def hidden(self, tokens: torch.Tensor, cu_seqlens: Any = None) -> torch.Tensor:
        """The normalised hidden state of each token."""
        if tokens.dim() != 2 or tokens.dtype.is_floating_point:
            raise ValueError(f"expected whole numbers [B, T], not {tokens.dtype} {list(tokens.shape)}")
        batch, length = tokens.shape
        return self._run(tokens, None, self._bounds(batch, length, cu_seqlens)).view(batch, length, -1)

    def forward(self, tokens: torch.Tensor, cu_seqlens: Any = None) -> torch.Tensor:
        """Logits of the next token, at each token."""
        head = self._tensors()[self._graph.head]
        logits = torch.nn.functional.linear(self.hidden(tokens, cu_seqlens), head)
        cap = self._graph.cap
        return logits if cap is None else cap * torch.tanh(logits / cap)
