"""Which of nurselog's errors an error of PostgreSQL is: one table, by SQLSTATE, never by text.

An error without a SQLSTATE comes from the way there: the connection is lost, or could not be made. Why not even a wrong
password is an error for good: `libpq` says that there was one, and not what was wrong with it; and a server that comes
up again, fails over, or is being restored says the strangest things for a while. Engines wait, and the log says what
for.
"""

from __future__ import annotations

from typing import NamedTuple

from ..._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from .driver import DatabaseError


class _Fault(NamedTuple):
    error: type[StoreError]
    advice: str


_AWAY = _Fault(StoreUnavailable, "the server cannot be reached just now, or does not answer")
_REFUSED = _Fault(
    StoreUnavailable, "the server asked for a password, and refused; look whether the address has the right one"
)
_LIMITS = _Fault(
    StoreUnavailable, "the server is at a limit (connections, memory, disk); give it more, or ask for less"
)
_BUSY = _Fault(StoreUnavailable, "others were in the way")
_STANDBY = _Fault(StoreUnavailable, "this server takes no writes; is it a standby? see target_session_attrs")
_TROUBLE = _Fault(StoreUnavailable, "the server's system cannot read or write just now; look at its log")
_FORBIDDEN = _Fault(StoreReadOnly, "this role may not do that; give it the rights that the documentation lists")
_DAMAGED = _Fault(StoreCorrupt, "the database is damaged; restore it from a backup")
_UNKNOWN = _Fault(StoreError, "this should not happen; please report it")

_FAULTS = {
    "08": _AWAY,
    "57": _AWAY,
    "53": _LIMITS,
    "40": _BUSY,
    "55": _BUSY,
    "23505": _BUSY,
    "25006": _STANDBY,
    "58": _TROUBLE,
    "42501": _FORBIDDEN,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
"""By whole SQLSTATE, or by its class."""

COLLISION = "23505"
"""The SQLSTATE of a row that is taken already."""


def translate(error: DatabaseError | ValueError, url: str) -> StoreError:
    """Return the store's error for one of the database, or for a row that is not what the schema promises."""
    if isinstance(error, ValueError):
        return StoreCorrupt(f"{url}: a row has content that nurselog never writes ({error})")
    state = error.sqlstate
    fault = _fault_of_the_way(error) if state is None else _FAULTS.get(state) or _FAULTS.get(state[:2]) or _UNKNOWN
    text = " ".join(str(error).split())
    return fault.error(f"{url}: {fault.advice} ({state or 'no SQLSTATE'}, {type(error).__name__}: {text})")


def _fault_of_the_way(error: DatabaseError) -> _Fault:
    attempt = error.pgconn
    return _REFUSED if attempt and (attempt.needs_password or attempt.used_password) else _AWAY
