"""A timer: an absolute time in the log, and what to do when it is due."""

from __future__ import annotations

import weakref
from collections.abc import Callable


class Timer:
    """One armed timer of a workflow."""

    __slots__ = ("_owner", "due", "fire", "logged", "path")

    def __init__(self, path: str, due: int, fire: Callable[[], None], owner: object = None) -> None:
        self.path = path
        self.due = due
        """UTC microseconds."""
        self.fire = fire
        self.logged = False
        """Whether its `fired` event is on its way."""
        self._owner = None if owner is None else weakref.ref(owner)

    @property
    def wanted(self) -> bool:
        """Whether anybody could still see it fire.

        The alarm of a select that took another case may be gone. Its `fired` event would be a no-op, and whether it
        is written decides nothing: so it may depend on when the alarm was collected.
        """
        return self._owner is None or self._owner() is not None
