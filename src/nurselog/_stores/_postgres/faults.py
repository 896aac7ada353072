"""Which of nurselog's errors an error of PostgreSQL is: one table, by SQLSTATE, never by text.

An error without a SQLSTATE comes from the way there: the connection is lost, or could not be made. Why not even a wrong
password is an error for good: `libpq` says that there was one, and not what was wrong with it; and a server that comes
up again, fails over, or is being restored says the strangest things for a while. Engines wait, and the log says what
for.
"""

from __future__ import annotations

from ..._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from ..faults import UNKNOWN, UNREADABLE, Fault
from .driver import DatabaseError

_AWAY = Fault(StoreUnavailable, "the server cannot be reached just now, or does not answer")
_REFUSED = Fault(
    StoreUnavailable, "the server asked for a password, and refused; look whether the address has the right one"
)
_LIMITS = Fault(StoreUnavailable, "the server is at a limit (connections, memory, disk); give it more, or ask for less")
_BUSY = Fault(StoreUnavailable, "others were in the way")
_STANDBY = Fault(StoreUnavailable, "this server takes no writes; is it a standby? see target_session_attrs")
_TROUBLE = Fault(StoreUnavailable, "the server's system cannot read or write just now; look at its log")
_FORBIDDEN = Fault(StoreReadOnly, "this role may not do that; give it the rights that the documentation lists")
_HIDDEN = Fault(
    StoreError,
    "the store's schema is not there any more, or hidden from this role; give it the rights that the documentation "
    "lists, USAGE on the schema first",
)
_DAMAGED = Fault(StoreCorrupt, "the database is damaged; restore it from a backup")

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
    # PostgreSQL passes over a schema that a role may not use, as if there were none: tables and functions are missing.
    "3F000": _HIDDEN,
    "42P01": _HIDDEN,
    "42883": _HIDDEN,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
"""By whole SQLSTATE, or by its class."""

COLLISION = "23505"
"""The SQLSTATE of a row that is taken already."""


def translate(error: DatabaseError | ValueError, url: str) -> StoreError:
    """Return the store's error for one of the database, or for a row that is not what the schema promises."""
    if isinstance(error, ValueError):
        return UNREADABLE.at(url, str(error))
    state = error.sqlstate
    fault = _fault_of_the_way(error) if state is None else _FAULTS.get(state) or _FAULTS.get(state[:2]) or UNKNOWN
    text = " ".join(str(error).split())
    return fault.at(url, f"{state or 'no SQLSTATE'}, {type(error).__name__}: {text}")


def _fault_of_the_way(error: DatabaseError) -> Fault:
    attempt = error.pgconn
    return _REFUSED if attempt and (attempt.needs_password or attempt.used_password) else _AWAY
