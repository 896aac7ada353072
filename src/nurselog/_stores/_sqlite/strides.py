"""The write-ahead log grows in strides, ahead of the commits.

The problem: a commit that makes a file longer is dearer than one that writes over what is there, since the file system
must make the new length durable, too. On the disk of docs/design/storage a commit of one row takes 290 us where the
write-ahead log grows with each, and 170 us once the log is as long as it will ever be and begins anew at its start.
But until then 16 MB must have been written, and the file is removed whenever the last process closes it.

What does not work: zeros written behind its end by ourselves could meet another process's commit; SQLite has a setting
for the growth of the database's file, and none for that of the log's; and checkpointing more often, so that the log
stays short, brings back the long commits that `wal_autocheckpoint` avoids.

The choice: a transaction that writes more than SQLite's cache holds, and is rolled back. What did not fit has gone into
the log by then, which forgets it, and keeps its length. Done when the log has become longer, by as much as it is long,
up to a bound: so a small database stays small, and a busy one pays 6 ms every 450 commits, and saves 30. Several
processes that write take each other's strides for growth, and reach the bound sooner.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from .bulk import transaction

SHORTEST, LONGEST = 1 << 18, 1 << 22
"""Bytes: the log is left alone until it is as long as the first, and grows by the second at most."""

CACHE = 1 << 21
"""Bytes that SQLite's cache keeps to itself, by default."""


class _Enough(Exception):
    """Rolls the transaction back."""


class Strides:
    """Lets one database's write-ahead log grow."""

    def __init__(self, path: Path, end: int) -> None:
        self._log = path.with_name(f"{path.name}-wal")
        self._end = end
        """Bytes: so long does it get, and no longer."""
        self._seen = self._size()

    def follow(self, connection: sqlite3.Connection) -> None:
        """Look at the log after a commit, and let it grow if it has; a disk that has no room for it is no error."""
        size = self._size()
        if size > self._seen and SHORTEST <= size < self._end:
            with contextlib.suppress(sqlite3.Error):
                _grow(connection, min(size, LONGEST))
            size = self._size()
        self._seen = size

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0


def _grow(connection: sqlite3.Connection, stride: int) -> None:
    [(timeout,)] = connection.execute("PRAGMA busy_timeout")
    connection.execute("PRAGMA busy_timeout = 0")  # whoever waits for the commit must not wait for this
    try:
        _spill(connection, stride)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout}")


def _spill(connection: sqlite3.Connection, stride: int) -> None:
    with contextlib.suppress(_Enough), transaction(connection):
        connection.execute("INSERT INTO message (workflow, kind, body) VALUES (0, '', zeroblob(?))", (stride + CACHE,))
        raise _Enough
