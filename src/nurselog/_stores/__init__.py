"""Where logs are kept. `open_store` is the way in."""

from __future__ import annotations

from .._errors import UsageError
from ..abc import Clock, Store
from ._sqlite.schema import Synchronous as Synchronous
from .sqlite import open_sqlite

_OPENERS = {"sqlite": open_sqlite}


def open_store(url: str, *, clock: Clock, synchronous: Synchronous = Synchronous.FULL) -> Store:
    """Return the store at an address; it is not open yet: `await store.open(lease)`.

    Args:
        url: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`, or `sqlite://` for one in memory.
        clock: tells the time for leases and due times.
        synchronous: whether a commit waits for the disk.

    Raises:
        UsageError: if there is no such kind of store, or the address is none.
    """
    opener = _OPENERS.get(url.partition("://")[0])
    if not opener:
        raise UsageError(f"{url!r} is no address of a store: it must begin with one of {', '.join(_OPENERS)}://")
    return opener(url, clock=clock, synchronous=synchronous)
