"""Where logs are kept. `open_store` is the way in."""

from __future__ import annotations

from .._errors import UsageError
from ..abc import Clock, Store
from .sqlite import open_sqlite

_OPENERS = {"sqlite": open_sqlite}


def open_store(url: str, *, clock: Clock) -> Store:
    """Return the store at an address; it is not open yet: `await store.open(lease)`.

    Args:
        url: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`, or `sqlite://` for one in memory.
            A file's may end with `?synchronous=normal`: commits do not wait for the disk then, and are faster; a power
            cut may undo the last ones, so that steps run again whose outcome had been recorded.
        clock: tells the time for leases and due times.

    Raises:
        UsageError: if there is no such kind of store, or the address is none.
    """
    opener = _OPENERS.get(str(url).partition("://")[0])
    if not opener:
        raise UsageError(f"{url!r} is no address of a store: it must begin with one of {', '.join(_OPENERS)}://")
    return opener(url, clock=clock)
