"""Making workflows: their rows, whose ids must be free, and the first rows of their logs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from ..._log.events import Row
from ...abc import Created, Creation, Workflow, WorkflowKey
from .bulk import LogLine, Query, as_json
from .early import move_early, with_mail
from .queries import RECORD, find_by_id

# Only who has a row in `worker` may own: nobody would see that another one is gone.
_CREATE = """
    INSERT INTO workflow (shard, id, parent, name, version, digest, status, owner, due_at, created_at, updated_at)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
        json_extract(value, '$[6]'), (SELECT id FROM worker WHERE id = json_extract(value, '$[7]')), 0,
        json_extract(value, '$[8]'), json_extract(value, '$[8]')
    FROM json_each(:creations)"""

# Each with whether something is kept for it: nearly always nothing is, and that need not cost a statement more.
_MADE = Query(
    msgspec.json.Decoder(list[tuple[Workflow, int]]),
    f"json_array({RECORD}, EXISTS (SELECT 1 FROM early_message WHERE early_message.id = workflow.id))",  # noqa: S608 - all parts are constants
    "workflow WHERE id IN (SELECT value FROM json_each(:ids))",
)


class Part(NamedTuple):
    """Consecutive rows of one workflow."""

    key: WorkflowKey
    rows: Sequence[Row]

    def lines(self) -> Iterator[LogLine]:
        for row in self.rows:
            event = row.event.decode()
            yield LogLine(
                self.key, row.seq, row.at, row.after, row.writer, row.format, event, row.value, self.rows[0].seq
            )


def create(connection: sqlite3.Connection, creations: Sequence[Creation]) -> tuple[list[Created], list[Part]]:
    """Make the workflows whose ids are free; the first of two creations with one id wins.

    Returns:
        What became of each, and the rows that are to be inserted for those that were made.
    """
    if not creations:
        return [], []
    ids = [creation.id for creation in creations]
    taken = {workflow.id for workflow in find_by_id(connection, ids)}
    fresh: dict[str, Creation] = {}
    for creation in creations:
        if creation.id not in taken:
            fresh.setdefault(creation.id, creation)
    rows = [(c.shard, c.id, c.parent, c.name, c.version, c.digest, c.status, c.owner, c.at) for c in fresh.values()]
    connection.execute(_CREATE, {"creations": as_json(rows)})
    found = _MADE.fetch(connection, ids=as_json(ids))
    made = {workflow.id: workflow for workflow, _ in found}
    beginnings = [Part(made[creation.id].key, creation.rows) for creation in fresh.values()]
    again = dict[str, tuple[Creation, bool]]()
    for creation in creations:
        if creation.id in taken and (gone_on := _is_behind(connection, made[creation.id], creation)) is not None:
            again[creation.id] = creation, gone_on
    winners = {id: (creation, False) for id, creation in fresh.items()} | again
    mail = frozenset[WorkflowKey]()
    if awaited := [workflow.id for workflow, kept in found if kept]:
        move_early(connection, awaited)
    if awaited or again:
        mail = with_mail(connection, [workflow.key for workflow in made.values()])

    def became(creation: Creation) -> Created:
        workflow = made[creation.id]
        winner, gone_on = winners.get(creation.id, (None, False))
        new = winner is creation
        if new:
            del winners[creation.id]  # a second creation of the id is not new, even if it is the same object
        return Created(workflow=workflow, new=new, mail=new and workflow.key in mail, gone_on=new and gone_on)

    return [became(creation) for creation in creations], beginnings


_BEHIND = """
    SELECT EXISTS (SELECT 1 FROM log WHERE workflow = :key AND seq > :last)
    FROM log WHERE workflow = :key AND seq = :last AND writer = :writer"""


def _is_behind(connection: sqlite3.Connection, workflow: Workflow, creation: Creation) -> bool | None:
    """Whether there is more behind this very creation, which was written before; None if it was not."""
    last = creation.rows[-1]
    place = {"key": workflow.key, "last": last.seq, "writer": last.writer}
    found = connection.execute(_BEHIND, place).fetchone()
    return None if found is None else bool(found[0])
