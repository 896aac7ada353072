"""A timer: an absolute time in the log, and what to do when it is due."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    """One armed timer of a workflow."""

    __slots__ = ("due", "fire", "logged", "path")

    def __init__(self, path: str, due: int, fire: Callable[[], None]) -> None:
        self.path: str = path
        self.due: int = due
        """UTC microseconds."""
        self.fire: Callable[[], None] = fire
        self.logged: bool = False
        """Whether its `fired` event is on its way."""
