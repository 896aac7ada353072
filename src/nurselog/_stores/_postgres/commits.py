"""Writing: a batch of creations and appends, one round trip and one transaction for each shard.

The fence is the same as in SQLite: an append is let through only if the log's last row is by the same writer and
reaches up to the append. There the condition is enough, because a transaction has the write lock from its beginning.
Here others write meanwhile, and what a statement sees is as old as its snapshot. What does not work: a condition on an
owner or an epoch, however it is joined, for it is read from that snapshot, too (tried, and broken in both orders); a
lock on the owner's row, which works, and makes every append half as slow again.

The choice: the condition, and behind it the dense, unique (shard, workflow, seq). What an append inserts begins right
behind the last row that its snapshot has. Whoever takes over inserts `claimed` right behind the last row of *his*
snapshot. If neither sees the other, that is the same place: the second one waits for the first, and collides. So a row
stands behind a row of another writer only if it is `claimed`, and what SQLite's condition forbids (an old owner's later
rows behind the new owner's `claimed`) cannot happen: an append of which a part could be written beyond a foreign row
begins at that row, and collides as a whole. It must not be `ON CONFLICT DO NOTHING`, which would do just that.

A collision undoes the whole batch, and it is tried again. Its snapshot then has the row that was in the way, the
condition refuses that workflow, and the others pass: there is no need to look for the culprit. The SQL is in
`sql/postgres_0001.sql`, as functions: several statements, each with a snapshot of its own, in one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from operator import attrgetter
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from ..._log.events import Row
from ..._log.lifecycle import Status
from ...abc import Append, Batch, Created, Creation, Receipt, Standing, WorkflowKey
from .binary import (
    BYTEA,
    TEXT,
    Parameter,
    Result,
    byteas,
    column,
    encoded_texts,
    int4,
    int8,
    int8s,
    number,
    numbers,
    string_or_none,
    text,
    texts,
    truth,
)
from .driver import DatabaseError, TrioConnection
from .faults import COLLISION
from .mail import letters, tell
from .queries import workflows_of
from .session import Session, persistently

T = TypeVar("T")

_LINES = 9
"""How many arrays describe log rows."""

_APPEND = f"SELECT append_rows($1, {', '.join(f'${place}' for place in range(2, 2 + _LINES))})".encode()

_APPEND_ONE = b"""
    INSERT INTO log (shard, workflow, seq, at, after, writer, format, event, value)
    SELECT before.shard, before.workflow, $3, $4, $5, $6, $7, $8, $9 FROM log AS before
    WHERE before.shard = $1 AND before.workflow = $2 AND before.seq = $3 - 1 AND before.writer = $6"""
"""The same for a single row, in one statement; who writes none asks `append_rows` why."""

_COMMIT = f"SELECT * FROM commit_batch({', '.join(f'${place}' for place in range(1, 41))})".encode()  # noqa: S608 - numbers

_OWNER = 10
"""The place of `owner` in the answer."""

_MAIL, _GONE_ON = 15, 16
"""Those of `mail` and `gone_on`."""

_NONE = Standing(status=Status.RUNNING, due_at=None)
"""Stands where no change of standing is; the status says so."""


class _Part(NamedTuple):
    """Consecutive rows of one workflow; a negative key is a creation's number."""

    key: int
    rows: Sequence[Row]


class _Answer(NamedTuple):
    """What the server says of a batch."""

    refused: frozenset[WorkflowKey]
    owners: set[str | None]
    """Of workflows that got messages."""
    found: dict[str, Created]
    """The workflows that have the ids of the creations."""


async def commit(connection: TrioConnection, session: Session, shard: int, batch: Batch, now: int) -> Receipt:
    """Write the part of a batch that belongs to one shard."""
    if not batch.creations and len(batch.appends) == 1 and await _append_one(connection, shard, batch.appends[0]):
        return Receipt()
    appends = sorted(batch.appends, key=attrgetter("key"))
    if not batch.creations and not any(_has_more(append) for append in appends):
        parameters = [int4(shard), *_lines([_Part(append.key, append.rows) for append in appends])]
        result = await persistently(partial(connection.call, _APPEND, parameters))
        return Receipt(refused=frozenset(map(WorkflowKey, numbers(result.get_value(0, 0)))))
    able = {None, *(append.key for append in appends)}
    chosen: dict[str, Creation] = {}
    for creation in batch.creations:
        if creation.parent in able:
            chosen.setdefault(creation.id, creation)  # the first of two with one id wins

    async def write(appends: Sequence[Append], creations: Sequence[Creation]) -> _Answer:
        parameters = [int4(shard), text(session.worker), int8(now), *_parameters(appends, creations)]
        return _read(await persistently(partial(connection.call, _COMMIT, parameters)))

    answer = await write(appends, list(chosen.values()))
    # An id was taken, and a moment later nobody had it any more: a root was deleted. A child's parent lives.
    while gone := [one for one in chosen.values() if one.parent is None and one.id not in answer.found]:
        answer.found.update((await write([], gone)).found)
    await tell(connection, session, answer.owners)
    able -= answer.refused

    def became(creation: Creation) -> Created | None:
        if creation.parent not in able:
            return None
        found = answer.found[creation.id]
        # `pop`: a second creation of the id is not new, even if it is the same object.
        new = chosen.pop(creation.id, None) is creation and found.new
        return replace(found, new=new, mail=new and found.mail, gone_on=new and found.gone_on)

    return Receipt(created=[became(creation) for creation in batch.creations], refused=answer.refused)


def _read(result: Result) -> _Answer:
    """Take the answer apart: the lines of those that were refused, of owners, and of creations."""
    refused = [key for key in (result.get_value(row, 0) for row in range(result.ntuples)) if key is not None]
    first = len(refused)
    while first < result.ntuples and result.get_value(first, 1) is None:
        first += 1
    owners = {string_or_none(result.get_value(row, _OWNER)) for row in range(len(refused), first)}
    workflows = workflows_of(result, 2, skip=first)
    fresh = column(result, 1, truth, skip=first)
    mail = column(result, _MAIL, truth, skip=first)
    gone_on = column(result, _GONE_ON, truth, skip=first)
    found = {
        workflow.id: Created(workflow=workflow, new=new, mail=waits, gone_on=more)
        for workflow, new, waits, more in zip(workflows, fresh, mail, gone_on, strict=True)
    }
    return _Answer(frozenset(WorkflowKey(number(key)) for key in refused), owners, found)


async def _append_one(connection: TrioConnection, shard: int, append: Append) -> bool:
    """Append a single row, which is all that a step has to say; return False if it must be looked at more closely.

    The row before it must be the same writer's; and if it is not the last one, this one collides. That is the fence,
    without an array and a function, which cost a single row a quarter of its time.
    """
    if len(append.rows) != 1 or _has_more(append):
        return False
    [row] = append.rows
    numbers = (append.key, row.seq, row.at, row.after, row.writer, row.format)
    parameters = [int4(shard), *map(int8, numbers), Parameter(TEXT, row.event), Parameter(BYTEA, row.value)]
    try:
        return (await connection.call(_APPEND_ONE, parameters)).command_tuples == 1
    except DatabaseError as error:
        if error.sqlstate != COLLISION:
            raise
        return False


def _has_more(append: Append) -> bool:
    """Whether there is more to it than rows, or less."""
    return not append.rows or bool(append.standing or append.taken or append.posts)


def _parameters(appends: Sequence[Append], creations: Sequence[Creation]) -> Sequence[Parameter]:
    parts = [_Part(append.key, append.rows) for append in appends if append.rows]
    parts += [_Part(-place, creation.rows) for place, creation in enumerate(creations, 1)]
    bearing = {creation.parent for creation in creations}
    return [
        *_given(_creations, creations),
        *_given(_parents, [append for append in appends if append.key in bearing]),
        *_given(_lines, parts),
        *_given(_rest, [append for append in appends if append.standing or append.taken or not append.rows]),
        *_given(_posts, [append for append in appends if append.posts]),
    ]


def _given(describe: Callable[[Sequence[T]], Sequence[Parameter]], things: Sequence[T]) -> Sequence[Parameter]:
    """Return arrays that describe things; NULLs where there are none, for whatever array is given must be unpacked."""
    return describe(things) if things else _absent(describe)


@cache
def _absent(describe: Callable[[Sequence[T]], Sequence[Parameter]]) -> Sequence[Parameter]:
    return [Parameter(array.oid, None) for array in describe([])]


def _creations(creations: Sequence[Creation]) -> Sequence[Parameter]:
    return (
        texts([one.id for one in creations]),
        int8s([one.parent for one in creations]),
        texts([one.name for one in creations]),
        texts([one.version for one in creations]),
        texts([one.digest for one in creations]),
        texts([one.status.value for one in creations]),
        texts([one.owner for one in creations]),
        int8s([one.at for one in creations]),
        int8s([one.rows[-1].seq if one.rows else None for one in creations]),
        int8s([one.rows[-1].writer if one.rows else None for one in creations]),
    )


def _parents(appends: Sequence[Append]) -> Sequence[Parameter]:
    """What the fence asks of those who get children."""
    return (
        int8s([append.key for append in appends]),
        int8s([append.rows[0].seq if append.rows else None for append in appends]),
        int8s([append.rows[0].writer if append.rows else append.writer for append in appends]),
    )


def _lines(parts: Sequence[_Part]) -> Sequence[Parameter]:
    keys = [part.key for part in parts for _ in part.rows]
    firsts = [part.rows[0].seq for part in parts for _ in part.rows]
    rows = [row for part in parts for row in part.rows]
    return (
        int8s(keys),
        int8s(firsts),
        int8s([row.seq for row in rows]),
        int8s([row.at for row in rows]),
        int8s([row.after for row in rows]),
        int8s([row.writer for row in rows]),
        int8s([row.format for row in rows]),
        encoded_texts([row.event for row in rows]),
        byteas([row.value for row in rows]),
    )


def _rest(appends: Sequence[Append]) -> Sequence[Parameter]:
    """What appends have beside rows."""
    standings = [append.standing or _NONE for append in appends]
    return (
        int8s([append.key for append in appends]),
        int8s([append.rows[-1].seq if append.rows else None for append in appends]),
        int8s([append.writer for append in appends]),
        int8s([int(bool(append.taken)) for append in appends]),
        texts([None if append.standing is None else append.standing.status.value for append in appends]),
        texts([standing.problem for standing in standings]),
        int8s([int(standing.release) for standing in standings]),
        int8s([standing.due_at for standing in standings]),
        int8s([message for append in appends for message in append.taken]),
    )


def _posts(appends: Sequence[Append]) -> Sequence[Parameter]:
    senders = [append.key for append in appends for _ in append.posts]
    return (int8s(senders), *letters([post for append in appends for post in append.posts]))
