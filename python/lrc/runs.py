"""The folders of runs, read: metrics as arrays, the summary, the weights of checkpoints."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from lrc.errors import Failed


@dataclass(frozen=True)
class Run:
    """A run's folder and what stands in it.

    `metrics` has an array for each measure of a step, by its name in `metrics.jsonl` and as long as there are steps;
    what a step does not say is NaN. `evals` and `events` are the other lines, as dictionaries. `summary` is empty while
    the run goes on.
    """

    folder: Path
    metrics: dict[str, numpy.ndarray]
    evals: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, the oldest first."""
        found = sorted((self.folder / "checkpoints").glob("step-*"))
        return [path for path in found if (path / "DONE").exists()]

    def weights(self, step: int | None = None) -> dict[str, numpy.ndarray]:
        """The parameters of a checkpoint by name: of the newest, or of the one after `step` steps."""
        chosen = [path for path in self.checkpoints if step is None or int(path.name[5:]) == step]
        if not chosen:
            what = "complete checkpoint" if step is None else f"checkpoint of step {step}"
            raise Failed(f"{self.folder} has no {what}")
        return _safetensors(chosen[-1] / "model.safetensors")


def read(folder: str | os.PathLike[str]) -> Run:
    """The run in a folder, as it is now: a last line that is still being written is left out."""
    path = Path(folder)
    try:
        text = (path / "metrics.jsonl").read_text()
    except OSError as error:
        raise Failed(f"{path} is no run's folder: {error.strerror} (metrics.jsonl)") from error
    lines = []
    for at, line in enumerate(text.splitlines(keepends=True)):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError as error:
            if line.endswith("\n"):
                raise Failed(f"{path / 'metrics.jsonl'}, line {at + 1}: {error.msg}") from error
    steps = [line for line in lines if "loss" in line and "eval" not in line and "event" not in line]
    names = list(dict.fromkeys(name for line in steps for name, x in line.items() if _number(x)))
    column = lambda name: numpy.array([line[name] if _number(line.get(name)) else numpy.nan for line in steps], dtype=float)
    try:
        summary = json.loads((path / "summary.json").read_text())
    except OSError:
        summary = {}
    return Run(
        path,
        {name: column(name) for name in names},
        [line for line in lines if "eval" in line],
        [line for line in lines if "event" in line],
        summary,
    )


def _number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


# Types of safetensors that NumPy has; the others are widened.
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BF16": "<u2"}


def _safetensors(path: Path) -> dict[str, numpy.ndarray]:
    """Tensors by name; bf16 as f32."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, said in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in said["data_offsets"])
        x = numpy.frombuffer(data[begin:end], _TYPES[said["dtype"]]).reshape(said["shape"])
        tensors[name] = (x.astype("<u4") << 16).view("<f4") if said["dtype"] == "BF16" else x
    return tensors
