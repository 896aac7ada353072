"""Writing: a batch of creations and appends in one transaction.

In SQLite a transaction has the write lock from its beginning, so nothing moves between a look and a write. That makes
the fence one condition in the statement that inserts (see `bulk.insert_lines`) instead of a collision that must be
undone and tried again workflow by workflow; UNIQUE (workflow, seq) stands behind it. The condition is also stronger
than a collision: a journal that has the next rows of a workflow in its queue when it learns that the ones before were
refused could otherwise write behind the new owner's `claimed`, where no row is in the way.

How many lines were let through says whether all is well; only if some are missing does a query find out whose. If
the log's last row is the writer's and reaches as far as the append, the append is written: now, or before an answer was
lost. Rows that were written before a takeover do not count: what comes with them, a standing, must not be.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from operator import attrgetter

import msgspec

from ..._log.lifecycle import Status
from ...abc import Append, Batch, Created, Receipt, WorkflowKey
from .bulk import CHUNK, Query, as_json, insert_lines, transaction
from .creations import Part, create
from .mail import leave
from .session import Session

# With rows the log is the fence. Without, the worker must own the workflow, and by the same claim: it may have lost it
# meanwhile, and have it again.
_REFUSED = Query(
    msgspec.json.Decoder(list[WorkflowKey]),
    "append.key",
    """
    (
        SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS last,
            json_extract(value, '$[2]') AS writer
        FROM json_each(:appends)
    ) AS append
    LEFT JOIN workflow ON workflow.key = append.key
    LEFT JOIN log ON log.workflow = append.key
        AND log.seq = (SELECT max(seq) FROM log WHERE workflow = append.key)
    WHERE log.writer IS NOT coalesce(append.writer, log.writer)
        OR CASE WHEN append.last IS NULL THEN workflow.owner IS NOT :worker ELSE log.seq < append.last END""",
)

# A message may have come when the owner had already decided to let go: then the workflow is due at once. Without this
# it would sleep on, and the message with it. Not so a stuck one: it may be unable to take any message, and would be
# claimed and get stuck again for ever; it waits for the next message, or for `resume`.
_STAND = """
    UPDATE workflow SET status = new.status, problem = new.problem, updated_at = :now,
        owner = CASE WHEN new.release THEN NULL ELSE owner END,
        due_at = CASE
            WHEN new.status <> :stuck AND EXISTS (SELECT 1 FROM message WHERE message.workflow = workflow.key) THEN 0
            ELSE new.due_at
        END
    FROM (
        SELECT json_extract(value, '$[0]') AS key, json_extract(value, '$[1]') AS status,
            json_extract(value, '$[2]') AS problem, json_extract(value, '$[3]') AS release,
            json_extract(value, '$[4]') AS due_at
        FROM json_each(:standings)
    ) AS new
    WHERE workflow.key = new.key"""

_DROP = """
    DELETE FROM message
    WHERE number IN (SELECT value FROM json_each(:taken)) OR workflow IN (SELECT value FROM json_each(:ended))"""


def commit(session: Session, batch: Batch, now: int) -> Receipt:
    """Write the batch."""
    session.wrote = True
    appends = sorted(batch.appends, key=attrgetter("key"))
    if _is_one_statement(batch):
        return Receipt(refused=_write(session, appends, []))
    with transaction(session.connection):
        roots, beginnings = create(
            session.connection, [creation for creation in batch.creations if creation.parent is None]
        )
        refused = _write(session, appends, beginnings)
        accepted = [append for append in appends if append.key not in refused]
        parents = {append.key for append in accepted}
        children, beginnings = create(
            session.connection, [creation for creation in batch.creations if creation.parent in parents]
        )
        insert_lines(session.connection, [line for part in beginnings for line in part.lines()])
        _drop_messages(session.connection, accepted)
        _stand(session.connection, accepted, now)
        # Last, so that they meet what else is in the batch: who ends in it gets none, and who lets go is due for them.
        if posts := [post for append in accepted for post in append.posts]:
            leave(session.connection, posts)
    made: dict[WorkflowKey | None, Iterator[Created]] = {None: iter(roots), **dict.fromkeys(parents, iter(children))}
    created = [next(made[creation.parent]) if creation.parent in made else None for creation in batch.creations]
    return Receipt(created=created, refused=refused)


def _is_one_statement(batch: Batch) -> bool:
    only_rows = all(append.rows and not (append.standing or append.taken or append.posts) for append in batch.appends)
    return only_rows and not batch.creations and sum(len(append.rows) for append in batch.appends) <= CHUNK


def _write(session: Session, appends: Sequence[Append], beginnings: Sequence[Part]) -> frozenset[WorkflowKey]:
    """Insert the rows, those of new workflows last: their keys are the highest. Return who was refused."""
    parts = [Part(append.key, append.rows) for append in appends]
    lines = [line for part in (*parts, *beginnings) for line in part.lines()]
    written = insert_lines(session.connection, lines)
    if written == len(lines) and all(append.rows for append in appends):
        return frozenset()
    marks = [
        (append.key, append.rows[-1].seq, append.rows[-1].writer) if append.rows else (append.key, None, append.writer)
        for append in appends
    ]
    return frozenset(_REFUSED.fetch(session.connection, appends=as_json(marks), worker=session.worker))


def _drop_messages(connection: sqlite3.Connection, appends: Sequence[Append]) -> None:
    """Remove the messages that were used up, and those that nobody can receive any more."""
    taken = [number for append in appends for number in append.taken]
    ended = [append.key for append in appends if append.standing and append.standing.status.final]
    if taken or ended:
        connection.execute(_DROP, {"taken": as_json(taken), "ended": as_json(ended)})


def _stand(connection: sqlite3.Connection, appends: Sequence[Append], now: int) -> None:
    standings = [
        (append.key, new.status, new.problem, new.release, new.due_at) for append in appends if (new := append.standing)
    ]
    if standings:
        connection.execute(_STAND, {"standings": as_json(standings), "now": now, "stuck": Status.STUCK.value})
