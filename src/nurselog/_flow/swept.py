"""Things that are kept until they are over, where nobody says when that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_FIRST = 8
"""How many there are before the first look."""


class Swept(Generic[T]):
    """A list that looks through itself before it doubles, and drops what is over.

    So it never holds much more than twice of what is needed, and a look costs each thing a constant time.
    """

    __slots__ = ("_is_over", "_limit", "items")

    def __init__(self, is_over: Callable[[T], bool]) -> None:
        self._is_over = is_over
        self._limit = _FIRST
        self.items: list[T] = []

    def add(self, item: T) -> None:
        """Keep one more."""
        if len(self.items) >= self._limit:
            self.items = [one for one in self.items if not self._is_over(one)]
            self._limit = max(_FIRST, 2 * len(self.items))
        self.items.append(item)
