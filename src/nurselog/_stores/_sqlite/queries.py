"""What the store answers without changing anything."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from ..._log.events import Row
from ...abc import Filter, Message, Wanted, Workflow, WorkflowKey
from .bulk import Query, as_json
from .session import Session

Logs: TypeAlias = dict[WorkflowKey, list[Row]]

BEYOND = 2**63 - 1
"""A seq that no log comes to."""

_WORKFLOWS = msgspec.json.Decoder(list[Workflow])

_FIELDS = ", ".join(f"'{field}', {field}" for field in Workflow.__struct_fields__)

RECORD = f"json_object({_FIELDS})"
"""A workflow's row."""

_BY_ID = Query(_WORKFLOWS, RECORD, "workflow WHERE id IN (SELECT value FROM json_each(:ids))")

_BY_KEY = Query(_WORKFLOWS, RECORD, "workflow WHERE key IN (SELECT value FROM json_each(:keys))")

_CONDITIONS = {
    "status": "status IN (SELECT value FROM json_each(:status))",
    "name": "name = :name",
    # A range, so that the index on ids serves; no character is above the last one of Unicode.
    "prefix": "id >= :prefix AND id < :prefix || char(0x10FFFF)",
    "before": "key < :before",
}


class _Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of `log`, as it is read: JSON has no bytes."""

    workflow: WorkflowKey
    seq: int
    at: int
    after: int
    writer: int
    event: str
    value: str | None
    format: int

    def row(self) -> Row:
        value = None if self.value is None else bytes.fromhex(self.value)
        return Row(self.seq, self.at, self.after, self.writer, self.event.encode(), value, self.format)


# hex(NULL) is an empty text, and would turn "no value" into a value.
_LINES = Query(
    msgspec.json.Decoder(list[_Line]),
    "json_array(workflow, seq, at, after, writer, event, CASE WHEN value IS NOT NULL THEN hex(value) END, format)",
    "log WHERE workflow IN (SELECT value FROM json_each(:keys)) AND seq >= :from_seq AND seq < :end",
)


class _Letter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of `message`, as it is read."""

    number: int
    workflow: WorkflowKey
    kind: str
    body: str

    def message(self) -> Message:
        return Message(number=self.number, key=self.workflow, kind=self.kind, body=bytes.fromhex(self.body))


_LETTERS = msgspec.json.Decoder(list[_Letter])

_LETTER = "json_array(number, workflow, kind, hex(body))"

_LETTERS_OF_OWNER = Query(
    _LETTERS,
    _LETTER,
    """
    message JOIN workflow AS receiver ON receiver.key = workflow
    WHERE owner = :worker AND workflow NOT IN (SELECT json_extract(value, '$[0]') FROM json_each(:behind))""",
)

# The rest. Rows that are not asked for are not even passed over.
_LETTERS_BEHIND = Query(
    _LETTERS,
    _LETTER,
    """
    json_each(:behind) AS known
    CROSS JOIN message ON workflow = json_extract(known.value, '$[0]') AND number > json_extract(known.value, '$[1]')
    CROSS JOIN workflow AS receiver ON receiver.key = workflow WHERE owner = :worker""",
)

_LETTERS_BY_KEY = Query(_LETTERS, _LETTER, "message WHERE workflow IN (SELECT value FROM json_each(:keys))")

WANTED = """(name IN (SELECT value FROM json_each(:names))
    OR (name, version) IN
        (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:versions)))"""

_NEXT_DUE = f"""
    SELECT due_at FROM workflow
    WHERE owner IS NULL AND due_at IS NOT NULL AND {WANTED}
    ORDER BY due_at LIMIT 1"""  # noqa: S608 - all parts are constants


def find(session: Session, ids: Sequence[str]) -> list[Workflow]:
    """Return the workflows that have one of these ids."""
    return find_by_id(session.connection, ids)


def find_by_id(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Workflow]:
    """Do the same on any connection."""
    return _BY_ID.fetch(connection, ids=as_json(ids))


def find_by_key(session: Session, keys: Sequence[WorkflowKey]) -> list[Workflow]:
    """Return the workflows that have one of these keys."""
    return _BY_KEY.fetch(session.connection, keys=as_json(keys))


def list_workflows(session: Session, where: Filter) -> list[Workflow]:
    """Return the workflows that `where` asks for, newest first."""
    asked = tuple(field for field in _CONDITIONS if getattr(where, field) is not None)
    status = as_json([status.value for status in where.status or ()])
    found = _listing(asked).fetch(
        session.connection,
        status=status,
        name=where.name,
        prefix=where.prefix,
        before=where.before,
        limit=where.limit,
    )
    return sorted(found, key=lambda workflow: workflow.key, reverse=True)


def read(session: Session, key: WorkflowKey, from_seq: int, limit: int | None) -> Sequence[Row]:
    """Return a workflow's log from `from_seq` on, `limit` rows at most; a negative number counts from the end."""
    if from_seq < 0:
        (last,) = session.connection.execute("SELECT max(seq) FROM log WHERE workflow = ?", (key,)).fetchone()
        from_seq = max(1, from_seq + 1 + (last or 0))
    end = BEYOND if limit is None else from_seq + limit  # a log has no gaps
    return read_logs(session, [key], from_seq, end).get(key, [])


def read_logs(session: Session, keys: Sequence[WorkflowKey], from_seq: int = 1, end: int = BEYOND) -> Logs:
    """Return the logs of many workflows, from one seq to before another."""
    logs: Logs = {}
    for line in _LINES.fetch(session.connection, keys=as_json(keys), from_seq=from_seq, end=end):
        logs.setdefault(line.workflow, []).append(line.row())
    for rows in logs.values():
        rows.sort(key=lambda row: row.seq)
    return logs


def messages(session: Session, behind: Mapping[WorkflowKey, int]) -> list[Message]:
    """Return the messages for workflows that this worker owns, in order; for some, only those behind a number."""
    known = {"worker": session.worker, "behind": as_json([*behind.items()])}
    found = _LETTERS_OF_OWNER.fetch(session.connection, **known)
    if behind:
        found += _LETTERS_BEHIND.fetch(session.connection, **known)
    return _in_order(found)


def read_messages(session: Session, keys: Sequence[WorkflowKey]) -> list[Message]:
    """Return the messages for these workflows, in order."""
    return _in_order(_LETTERS_BY_KEY.fetch(session.connection, keys=as_json(keys)))


def wanted_parameters(wanted: Wanted) -> dict[str, str]:
    """Return what the condition `WANTED` needs."""
    return {"names": as_json(wanted.names), "versions": as_json(wanted.versions)}


def next_due(session: Session, wanted: Wanted) -> int | None:
    """Return when the next workflow without an owner is due."""
    found: tuple[int] | None = session.connection.execute(_NEXT_DUE, wanted_parameters(wanted)).fetchone()
    return found[0] if found else None


def changed(session: Session) -> bool:
    """Return whether another connection has written since the last call."""
    before, session.seen = session.seen, data_version(session.connection)
    return session.seen != before


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection commits."""
    [(version,)] = connection.execute("PRAGMA data_version")
    return int(version)


def _in_order(letters: Iterable[_Letter]) -> list[Message]:
    return [letter.message() for letter in sorted(letters, key=lambda letter: letter.number)]


@functools.cache
def _listing(asked: tuple[str, ...]) -> Query[Workflow]:
    conditions = " AND ".join(["TRUE", *(_CONDITIONS[field] for field in asked)])
    return Query(_WORKFLOWS, RECORD, f"workflow WHERE {conditions} ORDER BY key DESC LIMIT :limit")
