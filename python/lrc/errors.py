"""What goes wrong, as exceptions."""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """Everything that lrc raises itself."""


class Invalid(Error, ValueError):
    """A text, a shape or a setting says something wrong.

    The message shows the place with a caret and says what to type; `diagnostics` has each finding as a dictionary:
    code, severity, message, place, label, helps.
    """

    def __init__(self, text: str, diagnostics: list[dict[str, Any]] | None = None):
        super().__init__(text)
        self.diagnostics = diagnostics or []


class Failed(Error, RuntimeError):
    """Something outside the texts: a file cannot be read, a device is missing, a command ended.

    `status` is the exit status that the command line has for it; `lrc --help` and ARCHITECTURE.md list them.
    """

    def __init__(self, text: str, status: int = 1):
        super().__init__(text)
        self.status = status
