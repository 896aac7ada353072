"""What the store answers without changing anything; how rows become records."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ..._log.events import Row
from ..._log.lifecycle import Status
from ...abc import Filter, Message, Wanted, Workflow, WorkflowKey
from .binary import (
    Parameter,
    Result,
    column,
    int4,
    int8,
    int8s,
    number,
    raw,
    record,
    string,
    string_or_none,
    text,
    texts,
)
from .driver import TrioConnection
from .session import Session, shard_of_key

Logs: TypeAlias = dict[WorkflowKey, list[Row]]

BEYOND = 2**63 - 1
"""A seq that no log comes to."""

_FIELDS = "shard, key, id, parent, name, version, digest, status, owner, due_at, problem, created_at, updated_at"

_BY_ID = f"SELECT {_FIELDS} FROM workflow WHERE shard = $1 AND id = ANY ($2)".encode()  # noqa: S608 - constants

_BY_KEY = f"SELECT {_FIELDS} FROM workflow WHERE shard = $1 AND key = ANY ($2)".encode()  # noqa: S608 - constants

_LINES = b"""
    SELECT ROW(workflow, seq, at, after, writer, format), event, value FROM log
    WHERE shard = $1 AND workflow = ANY ($2) AND seq >= $3 AND seq < $4 ORDER BY workflow, seq"""

_LAST_SEQ = b"SELECT coalesce(max(seq), 0) FROM log WHERE shard = $1 AND workflow = $2"

_LETTERS = b"""
    SELECT number, workflow, kind, body FROM message WHERE shard = $1 AND workflow = ANY ($2) ORDER BY number"""

_LETTERS_OF_OWNER = b"""
    SELECT number, workflow, kind, body FROM message
    JOIN workflow ON workflow.shard = message.shard AND workflow.key = message.workflow
    WHERE message.shard = $1 AND workflow.shard = $1 AND owner = $2 AND workflow <> ALL ($3)"""

# The rest, as it stands (OFFSET 0, and a value instead of a join): a planner that knows nothing would go through all.
_LETTERS_BEHIND = b"""
    SELECT letter.* FROM unnest($3::bigint[], $4::bigint[]) AS known (receiver, last)
    CROSS JOIN LATERAL (
        SELECT number, workflow, kind, body FROM message
        WHERE message.shard = $1 AND workflow = receiver AND number > last OFFSET 0
    ) AS letter
    WHERE (SELECT owner FROM workflow WHERE workflow.shard = $1 AND key = receiver) = $2"""

_NEXT_DUE = b"""
    SELECT due_at FROM workflow
    WHERE shard = $1 AND owner IS NULL AND due_at IS NOT NULL
        AND (name = ANY ($2) OR (name, version) IN (SELECT * FROM unnest($3::text[], $4::text[])))
    ORDER BY due_at LIMIT 1"""


async def find(connection: TrioConnection, session: Session, ids: Sequence[str]) -> list[Workflow]:
    """Return the workflows that have one of these ids."""
    by_shard: dict[int, list[str]] = {}
    for id in ids:
        by_shard.setdefault(session.shard_of(id), []).append(id)
    found: list[Workflow] = []
    for shard, some in sorted(by_shard.items()):
        found += workflows_of(await connection.call(_BY_ID, [int4(shard), texts(some)]))
    return found


async def find_by_key(connection: TrioConnection, shard: int, keys: Sequence[WorkflowKey]) -> list[Workflow]:
    """Return the workflows of a shard that have one of these keys."""
    return workflows_of(await connection.call(_BY_KEY, [int4(shard), int8s(keys)]))


async def list_workflows(connection: TrioConnection, where: Filter) -> list[Workflow]:
    """Return the workflows that `where` asks for, newest first."""
    status = None if where.status is None else texts([one.value for one in where.status])
    asked = {
        "status = ANY (${})": status,
        "name = ${}": None if where.name is None else text(where.name),
        "id >= ${0} AND id < ${0} || chr(1114111)": None if where.prefix is None else text(where.prefix),
        "key < ${}": None if where.before is None else int8(where.before),
    }
    conditions = {condition: value for condition, value in asked.items() if value is not None}
    return workflows_of(await connection.call(_listing(tuple(conditions)), [int8(where.limit), *conditions.values()]))


async def read(connection: TrioConnection, key: WorkflowKey, from_seq: int, limit: int | None) -> Sequence[Row]:
    """Return a workflow's log from `from_seq` on, `limit` rows at most; a negative number counts from the end."""
    shard = shard_of_key(key)
    if from_seq < 0:
        [last] = column(await connection.call(_LAST_SEQ, [int4(shard), int8(key)]), 0, number)
        from_seq = max(1, from_seq + 1 + last)
    end = BEYOND if limit is None else from_seq + limit  # a log has no gaps
    return (await read_logs(connection, shard, [key], from_seq, end)).get(key, [])


async def read_logs(
    connection: TrioConnection, shard: int, keys: Sequence[WorkflowKey], from_seq: int = 1, end: int = BEYOND
) -> Logs:
    """Return the logs of many workflows of a shard, from one seq to before another."""
    return logs_of(await connection.call(_LINES, [int4(shard), int8s(keys), int8(from_seq), int8(end)]))


async def messages(connection: TrioConnection, session: Session, behind: Mapping[WorkflowKey, int]) -> list[Message]:
    """Return the messages for workflows that this worker owns, in order; for some, only those behind a number."""
    keys, numbers = int8s([*behind]), int8s([*behind.values()])
    found: list[Message] = []
    for shard in range(session.shards):
        mine = [int4(shard), text(session.worker), keys]
        found += messages_of(await connection.call(_LETTERS_OF_OWNER, mine))
        if behind:
            found += messages_of(await connection.call(_LETTERS_BEHIND, [*mine, numbers]))
    return sorted(found, key=lambda message: message.number)


async def read_messages(connection: TrioConnection, shard: int, keys: Sequence[WorkflowKey]) -> list[Message]:
    """Return the messages for these workflows of a shard, in order."""
    return messages_of(await connection.call(_LETTERS, [int4(shard), int8s(keys)]))


async def next_due(connection: TrioConnection, session: Session, wanted: Wanted) -> int | None:
    """Return when the next workflow without an owner is due."""
    found: list[int] = []
    for shard in range(session.shards):
        found += column(await connection.call(_NEXT_DUE, [int4(shard), *names_of(wanted)]), 0, number)
    return min(found, default=None)


def names_of(wanted: Wanted) -> tuple[Parameter, Parameter, Parameter]:
    """Return the parameters that say which functions a worker has: names, and names with a version each."""
    versions = sorted(wanted.versions)
    return texts(sorted(wanted.names)), texts([name for name, _ in versions]), texts([one for _, one in versions])


def workflows_of(result: Result, first: int = 0, skip: int = 0) -> list[Workflow]:
    """Decode rows of `workflow`, from row number `skip` on, whose columns begin at place `first`.

    Raises:
        ValueError: if one is not what nurselog writes.
    """
    return [_workflow(result, row, first) for row in range(skip, result.ntuples)]


def _workflow(result: Result, row: int, first: int) -> Workflow:
    shard, key, id, parent, name, version, digest, status, owner, due_at, problem, created_at, updated_at = [
        result.get_value(row, place) for place in range(first, first + 13)
    ]
    return Workflow(
        shard=number(shard),
        key=WorkflowKey(number(key)),
        id=string(id),
        parent=None if parent is None else WorkflowKey(number(parent)),
        name=string(name),
        version=string_or_none(version),
        digest=string(digest),
        status=Status(string(status)),
        owner=string_or_none(owner),
        due_at=None if due_at is None else number(due_at),
        problem=string_or_none(problem),
        created_at=number(created_at),
        updated_at=number(updated_at),
    )


def logs_of(result: Result) -> Logs:
    """Decode rows of `log`, which are in order; each has its numbers in one field, to be taken apart in one go."""
    logs: Logs = {}
    get = result.get_value
    for line in range(result.ntuples):
        workflow, seq, at, after, writer, format_ = record(get(line, 0))
        row = Row(seq, at, after, writer, raw(get(line, 1)), get(line, 2), format_)
        logs.setdefault(WorkflowKey(workflow), []).append(row)
    return logs


def messages_of(result: Result) -> list[Message]:
    """Decode rows of `message`."""
    get = result.get_value
    return [
        Message(
            number=number(get(row, 0)),
            key=WorkflowKey(number(get(row, 1))),
            kind=string(get(row, 2)),
            body=raw(get(row, 3)),
        )
        for row in range(result.ntuples)
    ]


@functools.cache
def _listing(conditions: tuple[str, ...]) -> bytes:
    places = (condition.replace("{0}", "{}").replace("{}", str(place)) for place, condition in enumerate(conditions, 2))
    where = " AND ".join(["TRUE", *places])
    return f"SELECT {_FIELDS} FROM workflow WHERE {where} ORDER BY key DESC LIMIT $1".encode()  # noqa: S608 - constants
