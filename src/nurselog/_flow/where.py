"""Where in the application's code something happened: file and line, for errors and reports."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import trio

_HOUSE = Path(__file__).parents[1]
_INSIDE = tuple(f"{folder}{os.sep}" for folder in (_HOUSE / "_flow", _HOUSE / "_engine", Path(trio.__file__).parent))
"""Folders whose frames are machinery: nurselog's own and Trio's."""

_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Folders whose frames are most likely somebody else's code that the application calls."""


def _best(places: Iterable[tuple[str, int]]) -> str | None:
    """Return the first place that is the application's, or the first that is no machinery if none seems to be."""
    outside = [(file, line) for file, line in places if not file.startswith(_INSIDE)]
    own = [(file, line) for file, line in outside if not file.startswith(_LIBRARIES)]
    for file, line in (*own, *outside):
        return f"{file}:{line}"
    return None


def caller() -> str | None:
    """Return file and line of the innermost frame of the application that is now running."""
    return _best(_frames(sys._getframe(1)))


def _frames(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def parked(coroutine: Any) -> str | None:
    """Return file and line where a coroutine that is not running waits in the application's code."""
    frames = [getattr(one, f"{kind}_frame") for one, kind in chain(coroutine)]
    return _best((frame.f_code.co_filename, frame.f_lineno) for frame in reversed(frames))


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
