"""Which of nurselog's errors an error of SQLite is: one table, by SQLite's own code, never by text."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from ..._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable

PRIMARY = 0xFF
"""The low byte of an extended code is the primary one."""


class _Fault(NamedTuple):
    error: type[StoreError]
    advice: str


_LOCKED = _Fault(StoreUnavailable, "another process holds a lock on it; look for one that holds a transaction open")
_FULL = _Fault(StoreUnavailable, "there is no room left; make some")
_TROUBLE = _Fault(StoreUnavailable, "the system cannot read or write it just now; look at the disk and at limits")
_CLOSED_OFF = _Fault(StoreUnavailable, "it cannot be opened; does its folder exist, and may this user go there?")
_READ_ONLY = _Fault(StoreReadOnly, "it, its folder or the disk is read-only; give this user the right to write")
_FOREIGN = _Fault(StoreCorrupt, "it is no SQLite database; check the address")
_DAMAGED = _Fault(StoreCorrupt, "the file is damaged; restore it from a backup")
_UNKNOWN = _Fault(StoreError, "this should not happen; please report it")

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
        return StoreCorrupt(f"{url}: a row has content that nurselog never writes ({error})")
    # An error that the sqlite3 module raises by itself has no code.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    fault = _UNKNOWN if code is None else _FAULTS.get(code & PRIMARY, _UNKNOWN)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return fault.error(f"{url}: {fault.advice} ({name}: {error})")
