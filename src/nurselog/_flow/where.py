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
    for one, kind in chain(coroutine):
        frame = getattr(one, f"{kind}_frame")
        if not frame.f_code.co_filename.startswith(_INSIDE):
            found = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return found


def chain(coroutine: Any) -> Iterator[tuple[Any, str]]:
    """Yield a coroutine and what it awaits, outermost first, with the prefix of their attributes."""
    while coroutine is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if getattr(coroutine, f"{kind}_frame", None)), None)
        if kind is None:
            return
        yield coroutine, kind
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def defined_at(fn: Any) -> str | None:
    """Return file and line of a function's definition."""
    code = getattr(fn, "__code__", None)
    return None if code is None else f"{code.co_filename}:{code.co_firstlineno}"
