"""Removing families that have ended, with everything that belongs to them.

A family is removed whole. Its members are looked up by their ids under the write lock, so that none can be made, and
none can come to its end, between the look and the removal.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..._log.lifecycle import Status
from ...abc import Deleted, WorkflowKey
from .bulk import Query, as_json, transaction
from .session import Session

# Ids of descendants begin with the root's and a slash; `0` is what comes behind the slash.
_DESCENDS = "member.id > root.id || '/' AND member.id < root.id || '0'"

_IS_ROOT = "root.parent IS NULL AND root.key IN (SELECT value FROM json_each(:roots))"

# As the index on them has it, or it would not be used.
_ENDED = "status IN ('completed', 'failed', 'cancelled', 'killed')"


class _Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A workflow, and the root from which it descends, or which it is."""

    root: WorkflowKey
    key: WorkflowKey
    id: str
    status: Status


_MEMBERS = Query(
    msgspec.json.Decoder(list[_Member]),
    "json_array(root, key, id, status)",
    f"""
    (
        SELECT key AS root, key, id, status FROM workflow AS root WHERE {_IS_ROOT}
        UNION ALL
        SELECT root.key, member.key, member.id, member.status
        FROM workflow AS root CROSS JOIN workflow AS member ON {_DESCENDS} WHERE {_IS_ROOT}
    )""",  # noqa: S608 - all parts are constants
)

_EXPIRED = Query(
    msgspec.json.Decoder(list[WorkflowKey]),
    "key",
    f"""
    workflow AS root
    WHERE root.parent IS NULL AND root.{_ENDED} AND root.updated_at < :before
        AND NOT EXISTS (SELECT 1 FROM workflow AS member WHERE {_DESCENDS} AND NOT member.{_ENDED})
    ORDER BY root.updated_at LIMIT :limit""",  # noqa: S608 - all parts are constants
)

_REMOVE = [
    f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(:keys))"  # noqa: S608 - all parts are constants
    for table, column in (
        ("message", "workflow"),
        ("message_key", "workflow"),
        ("transaction_key", "workflow"),
        ("log", "workflow"),
        ("workflow", "key"),
    )
]
"""Everything that belongs to workflows, and these."""


def delete(session: Session, roots: Sequence[WorkflowKey]) -> list[Deleted]:
    """Remove the families of these roots in which all have ended."""
    session.wrote = True
    families: dict[WorkflowKey, list[_Member]] = {root: [] for root in roots}
    with transaction(session.connection):
        for member in _MEMBERS.fetch(session.connection, roots=as_json(roots)):
            families[member.root].append(member)
        doomed = [member.key for members in families.values() if not _living(members) for member in members]
        for statement in _REMOVE if doomed else ():
            session.connection.execute(statement, {"keys": as_json(doomed)})
    return [_became(families[root]) for root in roots]


def expired(session: Session, before: int, limit: int) -> list[WorkflowKey]:
    """Return roots that ended before a time, and in whose families all have ended."""
    return _EXPIRED.fetch(session.connection, before=before, limit=limit)


def _became(members: Sequence[_Member]) -> Deleted:
    living = _living(members)
    return Deleted(living=living[0].id) if living else Deleted(removed=len(members))


def _living(members: Sequence[_Member]) -> list[_Member]:
    return [member for member in members if not member.status.final]
