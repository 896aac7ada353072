"""Which of nurselog's errors an error of SQLite is: one table, by SQLite's own code, never by text."""

from __future__ import annotations

import sqlite3

import msgspec

from ..._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from ..faults import UNKNOWN, UNREADABLE, Fault

PRIMARY = 0xFF
"""The low byte of an extended code is the primary one."""


_LOCKED = Fault(StoreUnavailable, "another process holds a lock on it; look for one that holds a transaction open")
_FULL = Fault(StoreUnavailable, "there is no room left; make some")
_TROUBLE = Fault(StoreUnavailable, "the system cannot read or write it just now; look at the disk and at limits")
_CLOSED_OFF = Fault(StoreUnavailable, "it cannot be opened; does its folder exist, and may this user go there?")
_READ_ONLY = Fault(StoreReadOnly, "it, its folder or the disk is read-only; give this user the right to write")
_FOREIGN = Fault(StoreCorrupt, "it is no SQLite database; check the address")
_DAMAGED = Fault(StoreCorrupt, "the file is damaged; restore it from a backup")

_FAULTS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: _TROUBLE,
    sqlite3.SQLITE_CANTOPEN: _CLOSED_OFF,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_NOTADB: _FOREIGN,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
}


def translate(error: sqlite3.Error | msgspec.DecodeError, url: str) -> StoreError:
    """Return the store's error for one of SQLite, or for a row that is not what the schema promises."""
    if isinstance(error, msgspec.DecodeError):
        return UNREADABLE.at(url, str(error))
    # An error that the sqlite3 module raises by itself has no code.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    fault = UNKNOWN if code is None else _FAULTS.get(code & PRIMARY, UNKNOWN)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return fault.at(url, f"{name}: {error}")
