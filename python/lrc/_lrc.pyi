"""The engine: what the package around it calls."""

from collections.abc import Sequence
from typing import Any, TypedDict

VERSION: str

class Called(TypedDict):
    inputs: Sequence[Any]
    params: Sequence[Any]
    initial: Sequence[Any]
    bounds: list[int]
    double: bool
    device: str

class Numbers:
    """Numbers in the engine's memory, as a buffer of f32 or f64."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Fitted:
    """A recurrence at its sizes."""

    sizes: str
    batch: tuple[int, int]
    heads: int | None
    outs: list[tuple[str, list[int]]]
    states: list[tuple[str, list[int]]]
    def forward(self, given: Called, keep: bool) -> tuple[list[Numbers], list[Numbers], Numbers | None]: ...
    def backward(
        self, given: Called, kept: int | None, outs: Sequence[Any], finals: Sequence[Any]
    ) -> tuple[list[Numbers], list[Numbers], list[Numbers]]: ...

class Recurrence:
    """A declared recurrence."""

    def __init__(self, source: str, kind: str, name: str | None = None) -> None: ...
    name: str
    docs: list[str]
    text: str
    outs: list[str]
    states: list[str]
    signature: dict[str, Any]
    def counts(self, given: dict[str, Any]) -> list[int]: ...
    def fit(self, shapes: dict[str, list[int]], given: dict[str, Any]) -> Fitted: ...

class Graph:
    """A mixer or a model."""

    def __init__(self, wanted: dict[str, Any], given: dict[str, Any]) -> None: ...
    parameters: list[tuple[str, list[int]]]
    width: int
    vocab: int
    embedding: int
    head: int
    cap: float | None
    def fresh(self) -> list[Numbers]: ...
    def set(self, params: Sequence[Any]) -> None: ...
    def forward(self, tokens: Any, x: Any, bounds: list[int], training: bool) -> tuple[Numbers, int]: ...
    def backward(self, number: int, d: Any) -> tuple[Numbers | None, list[Numbers]] | None: ...

def check(source: str, kind: str) -> tuple[list[dict[str, Any]], str]: ...
def shipped_names(kind: str) -> list[str]: ...
def kept_passes() -> int: ...
