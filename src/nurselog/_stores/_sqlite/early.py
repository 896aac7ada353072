"""Messages that are early: kept by the id of a workflow that is not there yet, until it is made."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from ...abc import Addressed, Post, Posted, WorkflowKey
from .bulk import Query, as_json, transaction
from .mail import leave
from .queries import find_by_id
from .session import Session

_KEPT = "SELECT coalesce(max(place), 0), coalesce(max(once = ?), FALSE) FROM early_message WHERE id = ?"

_KEEP = "INSERT INTO early_message (id, place, kind, body, once, at) VALUES (?, ?, ?, ?, ?, ?)"

_THEIRS = """
    FROM json_each(:ids) AS given
    CROSS JOIN workflow ON workflow.id = given.value
    CROSS JOIN early_message AS early ON early.id = given.value"""

_MOVE = (
    f"INSERT INTO message (workflow, kind, body) SELECT workflow.key, kind, body {_THEIRS} ORDER BY workflow.key, place"
)

_MOVE_WORDS = f"INSERT INTO message_key (workflow, once) SELECT workflow.key, once {_THEIRS} WHERE once IS NOT NULL"

_EMPTY = "DELETE FROM early_message WHERE id IN (SELECT value FROM json_each(:ids))"

_MAIL = Query(
    msgspec.json.Decoder(list[WorkflowKey]),
    "value",
    "json_each(:keys) WHERE EXISTS (SELECT 1 FROM message WHERE workflow = value)",
)


def post_early(session: Session, messages: Sequence[Addressed], now: int) -> list[Posted]:
    """Leave messages for workflows that need not be there yet."""
    session.wrote = True
    connection = session.connection
    with transaction(connection):
        there = {found.id: found.key for found in find_by_id(connection, [one.id for one in messages])}
        posts = [post_of(one, there[one.id]) for one in messages if one.id in there]
        answers = map(Posted.of, leave(connection, posts))
        return [next(answers) if one.id in there else _keep(connection, one, now) for one in messages]


def post_of(message: Addressed, key: WorkflowKey) -> Post:
    """Return a message as one for the workflow that has its id."""
    return Post(key=key, kind=message.kind, body=message.body, once=message.once, most=message.most)


def _keep(connection: sqlite3.Connection, message: Addressed, now: int) -> Posted:
    [(count, known)] = connection.execute(_KEPT, (message.once, message.id))
    if known:
        return Posted.KNOWN
    if message.most is not None and count >= message.most:
        return Posted.FULL
    connection.execute(_KEEP, (message.id, count + 1, message.kind, message.body, message.once, now))
    return Posted.LEFT


def move_early(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Give workflows that were just made what was kept for their ids."""
    for statement in (_MOVE, _MOVE_WORDS, _EMPTY):
        connection.execute(statement, {"ids": as_json(ids)})


def with_mail(connection: sqlite3.Connection, keys: Sequence[WorkflowKey]) -> frozenset[WorkflowKey]:
    """Return for which of these workflows messages wait."""
    return frozenset(_MAIL.fetch(connection, keys=as_json(keys)))
