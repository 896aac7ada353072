"""How others see at once that a worker's process is gone.

A lease says so only when it has expired, and it must be long enough for a busy machine. But whoever shares a SQLite
file shares a machine, so there is a better witness: the kernel. A worker holds a lock on a small file beside the
database while it lives, its beacon; the kernel lets go of it when the process dies, however it dies. Who gets the lock
knows that nobody is there. A stopped process keeps its lock: for that one the lease decides.

Why `flock`, not `fcntl` locks (`lockf`)? Those belong to a process: two engines in one process would not see each
other, and whichever closes the file first lets go of both. `flock` belongs to the open file. It has one weakness: a
child made by a bare `fork` shares it, and holds it for a dead parent; then the lease decides, as it does where there is
no `flock` at all (Windows, some network file systems).

A beacon lives as long as its worker's row: whoever removes the row removes the file, even if its lock is held by a
process that has been given up. A worker that enters again lights a new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from pathlib import Path

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, flock
else:  # pragma: no cover - there is no flock on Windows; the lease decides
    LOCK_EX = LOCK_NB = 0

    def flock(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOTSUP, "no flock on this platform")


class Beacon:
    """The lock that a living worker holds. Not constructed directly: use `light`."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd

    @property
    def name(self) -> str:
        """The file's name, without its folder: databases are moved with their folder."""
        return self._path.name

    def put_out(self) -> None:
        """Let go of the lock, and remove the file."""
        remove(self._path)
        os.close(self._fd)


def light(database: Path) -> Beacon | None:
    """Light a beacon beside `database`; None where that cannot be done."""
    path = database.with_name(f"{database.name}-beacon-{secrets.token_hex(8)}")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError:
        return None
    if not _lock(fd):
        os.close(fd)
        remove(path)
        return None
    return Beacon(path, fd)


def is_out(path: Path) -> bool:
    """Return whether the process that lit this beacon is certainly gone.

    A file that is missing, or that cannot be looked at, says nothing.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return _lock(fd)
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove a beacon's file, if that can be done: a file too many does no harm."""
    with contextlib.suppress(OSError):
        path.unlink()


def _lock(fd: int) -> bool:
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    return True
