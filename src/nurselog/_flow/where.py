"""Where in the application's code something happened: file and line, for errors and reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import trio

_INSIDE = (str(Path(__file__).parents[1]) + os.sep, str(Path(trio.__file__).parent) + os.sep)
"""Folders whose frames are machinery: nurselog's own and Trio's."""


def caller() -> str | None:
    """Return file and line of the innermost frame of the application that is now running."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_INSIDE):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None  # pragma: no cover - some frame is always the application's: the one that called trio.run


def parked(coroutine: Any) -> str | None:
    """Return file and line where a coroutine that is not running waits in the application's code."""
    found = None
    for code, line in _chain(coroutine):
        if not code.startswith(_INSIDE):
            found = f"{code}:{line}"
    return found


def _chain(coroutine: Any) -> Iterator[tuple[str, int]]:
    """The frames of a coroutine, outermost first; generators and async generators on the way included."""
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                yield frame.f_code.co_filename, frame.f_lineno
                coroutine = getattr(coroutine, f"{kind}_await" if kind != "gi" else "gi_yieldfrom")
                break
        else:
            return
