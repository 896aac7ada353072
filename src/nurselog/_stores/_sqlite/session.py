"""What an open store holds: the connection, and the worker that has entered by it.

A file that is deleted or replaced stays as it was for those who have it open: SQLite writes on, reports each commit as
durable, and all of it is gone when the last of them closes it. Meanwhile others make a new database under the old name,
where nobody knows of the first, and no fence stands between the two. So jobs end with a look whether the files are the
ones that were opened: every job that fails, and of those that succeed one each hundredth of a second. A look after each
would make a step longer by a tenth, since the thread gives up the GIL for each call of the system; and give nothing:
with the file everything is lost that was ever written to it, so what was reported in between is lost no other than if
the file had been deleted then. SQLite looks by itself only where there is no write-ahead log.
"""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from ..._errors import StoreCorrupt
from ...abc import Lease, WorkflowKey
from . import schema
from .beacon import Beacon
from .schema import Location
from .strides import Strides

LOOK = 0.01
"""Seconds from one look at the files to the next."""

NOBODY = Lease(worker="", duration=0)
"""Of a guest, who owns nothing."""

Identity: TypeAlias = tuple[int, int]
"""A file's device and inode."""


@dataclasses.dataclass
class Session:
    """An open database, and the worker that opened it."""

    location: Location
    connection: sqlite3.Connection
    lease: Lease
    beacon: Beacon | None = None
    strides: Strides | None = None
    """None in memory, where there is no write-ahead log."""
    seen: int = 0
    """The database's version when somebody last asked for changes."""
    files: Mapping[Path, Identity | None] = dataclasses.field(default_factory=dict[Path, Identity | None])
    """Which files were opened."""
    looked: float = -math.inf
    """When the files were last looked at, by the monotonic clock."""
    wrote: bool = False
    """Whether this process has written since."""
    unread: set[WorkflowKey] = dataclasses.field(default_factory=set[WorkflowKey])
    """Workflows that were claimed, and whose logs have not been read: the caller does not know of them."""

    timeout: float = dataclasses.field(default_factory=lambda: schema.BUSY_TIMEOUT)
    """Seconds that the connection waits for a lock now."""

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self.lease.worker

    def wait_for_locks(self, waited: float) -> None:
        """Let the next job wait for other processes' locks, less by the seconds that its caller has waited already.

        Jobs are done one after another. If each waited as long as it may from its own beginning on, then the last of
        many callers would wait for all of them; and whoever has waited for a place has waited for the same lock.
        """
        late = waited > schema.BUSY_TIMEOUT / 10  # else all is well, and the setting need not be touched
        timeout = max(0.0, schema.BUSY_TIMEOUT - waited) if late else schema.BUSY_TIMEOUT
        if timeout != self.timeout:
            self.timeout = timeout
            self.connection.execute(f"PRAGMA busy_timeout = {round(timeout * 1000)}")

    def know_files(self) -> None:
        """Take the files that are there for those that are open; the write-ahead log is, after the first write."""
        self.files = {path: _identity(path) for path in self._paths()}

    def look(self, now: float) -> None:
        """Look at the files after a job that began at `now`, unless that was done just before.

        Raises:
            StoreCorrupt: if they are not those that were opened.
        """
        if now - self.looked >= LOOK:
            self.check_files()
            self.looked = now
            if self.strides and self.wrote:
                self.wrote = False
                self.strides.follow(self.connection)

    def check_files(self) -> None:
        """See that the files are still those that were opened.

        Raises:
            StoreCorrupt: if one is not.
        """
        for path, opened in self.files.items():
            if _identity(path, opened) != opened:
                raise StoreCorrupt(
                    f"{self.location.url}: the file {path} was deleted or replaced while it was open, and what was "
                    f"written since is lost. End all programs that use the database, and put {path} and its -wal file "
                    "back as they were; where another database is to take its place, remove the old -wal and -shm files"
                )

    def _paths(self) -> Iterator[Path]:
        if path := self.location.path:
            yield from (path, path.with_name(f"{path.name}-wal"))

    def put_out_beacon(self) -> None:
        """Let go of the beacon, if it is lit."""
        if self.beacon:
            self.beacon.put_out()
            self.beacon = None

    def close(self) -> None:
        """Let go of everything that the process holds."""
        self.put_out_beacon()
        self.connection.close()


def _identity(path: Path, unknown: Identity | None = None) -> Identity | None:
    """Return which file is there; None if none is, and `unknown` where one cannot look."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return unknown
    return found.st_dev, found.st_ino
