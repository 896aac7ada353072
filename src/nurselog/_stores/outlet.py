"""What a store takes on a connection of the application's, in a transaction that the application ends.

A sync connection answers at once, and an async one with something to be awaited. So who uses an outlet says what is to
be made of an answer, and does not wait itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from ..abc import Addressed, Creation, Posted

T = TypeVar("T")


class Holder(NamedTuple):
    """The workflow that has an id, or would have it."""

    name: str
    """Its function's."""
    digest: str
    """As it was recorded."""
    input: bytes
    """As it was recorded."""


class Left(NamedTuple):
    """What became of a message."""

    posted: Posted
    status: str
    """The receiver's."""


class Outlet(Protocol):
    """The way into a store, on one connection."""

    def create(self, creation: Creation, then: Callable[[Holder | None], T]) -> T | Awaitable[T]:
        """Make a workflow that nobody owns; give `then` None, or who has the id already: then nothing was written.

        Raises:
            StoreError: if there is no store in this database, or another release's.
        """
        ...

    def leave(self, message: Addressed, then: Callable[[Left | None], T]) -> T | Awaitable[T]:
        """Leave a message, and make its receiver due; give `then` what became of it, None if there is no receiver.

        Raises:
            StoreError: if there is no store in this database, or another release's.
        """
        ...
