"""Where in the application's code something happened: file and line, for errors and reports."""

from __future__ import annotations

import enum
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import trio


class Origin(enum.Enum):
    """Whose a file of code is."""

    MACHINERY = enum.auto()
    """Nurselog's own, or Trio's."""
    LIBRARY = enum.auto()
    """Installed, or generated: most likely somebody else's code that the application calls."""
    STANDARD = enum.auto()
    """Python's standard library."""
    APPLICATION = enum.auto()


_HOUSE = Path(__file__).parents[1]
_MACHINERY = (_HOUSE / "_flow", _HOUSE / "_engine", _HOUSE / "_log", Path(trio.__file__).parent)

_FOLDERS = (
    *((Origin.MACHINERY, f"{folder}{os.sep}") for folder in _MACHINERY),
    *((Origin.LIBRARY, sysconfig.get_path(name) + os.sep) for name in ("purelib", "platlib")),
    *((Origin.STANDARD, sysconfig.get_path(name) + os.sep) for name in ("stdlib", "platstdlib")),
    (Origin.STANDARD, "<frozen "),
    (Origin.LIBRARY, "<"),
)
"""How files begin; the first that fits says whose it is, for installed packages may lie inside the standard library."""


@cache
def origin(file: str) -> Origin:
    """Tell whose a file of code is, by its name."""
    return next((origin for origin, start in _FOLDERS if file.startswith(start)), Origin.APPLICATION)


def _best(places: Iterable[tuple[str, int]]) -> str | None:
    """Return the first place that is the application's, or the first that is no machinery if none seems to be."""
    outside = [(file, line) for file, line in places if origin(file) is not Origin.MACHINERY]
    own = [(file, line) for file, line in outside if origin(file) is Origin.APPLICATION]
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
