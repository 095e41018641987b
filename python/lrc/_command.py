"""The command `lrc`, as functions: what runs for long runs as a process of its own, which saves when it is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lrc import _lrc, runs
from lrc._recurrence import origin
from lrc.errors import Failed, Invalid

# Seconds that a stopped run has to save what it holds.
_GRACE = 120


def executable() -> str:
    """The command's path: `LRC` of the environment, the one installed with the package, or the first in PATH."""
    own = Path(sysconfig.get_path("scripts")) / "lrc"
    found = os.environ.get("LRC") or (str(own) if own.exists() else shutil.which("lrc"))
    if not found:
        raise Failed("the command `lrc` is not installed: run python/install.sh, or set LRC to its path", 1)
    return found


def command(*args: str | os.PathLike[str], quiet: bool = False) -> str:
    """Runs `lrc` with arguments and gives what it prints as its result.

    What it says while it runs goes to `sys.stderr`, unless `quiet`. A command that fails is an exception with what it
    said: `lrc.Invalid` where texts are wrong, else `lrc.Failed` with the exit status. Ctrl-C stops it as in a terminal:
    a run saves a checkpoint first.
    """
    words = [executable(), *map(os.fspath, args)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said: list[str] = []
        hears = threading.Thread(target=_hear, args=(process.stderr, said, quiet), daemon=True)
        hears.start()
        try:
            assert process.stdout is not None
            result = process.stdout.read()
            process.wait()
        except KeyboardInterrupt:
            # A terminal has sent it to the process too; a notebook has not.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            if process.poll() is None:
                process.send_signal(2)
            process.wait(_GRACE)
            raise
        hears.join()
    if process.returncode == 3:
        raise Invalid("\n" + "".join(said))
    if process.returncode != 0:
        raise Failed("".join(said).strip() or f"lrc ended with status {process.returncode}", process.returncode)
    return result


def _hear(lines: Any, said: list[str], quiet: bool) -> None:
    """Passes on what a process says, and remembers it."""
    for line in lines:
        said.append(line)
        if not quiet:
            sys.stderr.write(line)


@contextlib.contextmanager
def _file(source: str | os.PathLike[str]) -> Iterator[str]:
    """The path of a file with a text; that of a file itself."""
    path, kind = origin(source)
    if kind == "file":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "text.arch"
        file.write_text(path)
        yield str(file)


def _sets(values: Mapping[str, Any] | None) -> list[str]:
    """`--set` for each: Python's words as YAML has them."""
    words: list[str] = []
    for name, value in (values or {}).items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += ["--set", f"{name}={text}"]
    return words


class Findings(list[dict[str, Any]]):
    """What `check` has found; `text` shows each with its caret."""

    def __init__(self, found: list[dict[str, Any]], text: str):
        super().__init__(found)
        self.text = text

    def __str__(self) -> str:
        return self.text or "nothing is wrong"


def check(source: str | os.PathLike[str]) -> Findings:
    """Everything that is wrong with declarations: a list of findings, empty where nothing is."""
    return Findings(*_lrc.check(*origin(source)))


def explain(source: str | os.PathLike[str], name: str | None = None, **sets: Any) -> str:
    """How a recurrence, mixer or model is understood, or what a code such as "E0203" means, in words."""
    if isinstance(source, str) and source[:1].isalpha() and source[1:].isdigit():
        return command("explain", source, quiet=True)
    with _file(source) as path:
        return command("explain", path, *([name] if name else []), *_sets(sets), quiet=True)


def params(source: str | os.PathLike[str], name: str | None = None, context: int = 2048, **sets: Any) -> dict[str, Any]:
    """Parameters, states and operations of a model."""
    with _file(source) as path:
        words = ["params", path, *([name] if name else []), "--context", str(context), "--json", *_sets(sets)]
        return json.loads(command(*words, quiet=True))


def train(
    spec: str | os.PathLike[str],
    set: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
) -> runs.Run:
    """Trains the model of a spec, as `lrc train` does, and gives the run.

    `set` overrides values of the spec by path: `{"optimizer.adamw.lr": 1e-3}`.
    """
    words: list[str | os.PathLike[str]] = ["train", spec, "--json", "--device", device, *_sets(set)]
    words += ["--out", out] if out else []
    words += ["--resume"] if resume else []
    return runs.read(json.loads(command(*words, quiet=quiet))["folder"])


def search(
    study: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
) -> dict[str, Any]:
    """Runs the trials of a study, as `lrc search` does: its folder, its trials with their values, numbers of the best."""
    words: list[str | os.PathLike[str]] = ["search", study, "--json", "--device", device]
    words += ["--out", out] if out else []
    words += ["--resume"] if resume else []
    return json.loads(command(*words, quiet=quiet))
