"""One of the stores that a play compares, and what it calls things.

Keys, writers and numbers of messages are each store's own: here they are said by what they stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from ...abc import Batch, Created, Message, Receipt, Store, Workflow, WorkflowKey
from ...lowlevel import Row

GHOST = WorkflowKey(999 * 1024)
"""No workflow's key."""

Answer: TypeAlias = tuple[object, ...]


class Log(NamedTuple):
    """What a side believes of a log that it may write to."""

    last: int
    writer: int


class Side:
    """One store, and what it calls things."""

    def __init__(self, store: Store) -> None:
        self.store: Store = store
        self.keys: dict[str, WorkflowKey] = {}
        self.ids: dict[WorkflowKey, str] = {}
        self.writers: dict[int, str] = {}
        self.logs: dict[str, Log] = {}
        self.letters: list[Message] = []

    def workflow(self, found: Workflow) -> Answer:
        """Say a workflow's row."""
        self.keys[found.id], self.ids[found.key] = found.key, found.id
        parent = found.parent and self.ids[found.parent]
        status, times = found.status.value, (found.due_at, found.created_at, found.updated_at)
        return found.id, parent, found.name, found.version, found.digest, status, found.owner, found.problem, *times

    def workflows(self, found: Sequence[Workflow]) -> list[Answer]:
        """Say rows, in no order."""
        return sorted((self.workflow(one) for one in found), key=repr)

    def created(self, found: Sequence[Created | None]) -> list[Answer | None]:
        """Say what became of creations."""
        return [None if one is None else (one.new, *self.workflow(one.workflow), one.mail) for one in found]

    def wrote(self, id: str, batch: Batch, receipt: Receipt) -> None:
        """Believe in what was written of a workflow."""
        last, writer = self.logs[id]
        for part in batch.appends:
            if part.key == self.keys[id] and part.key not in receipt.refused and part.rows:
                self.logs[id] = Log(max(last, part.rows[-1].seq), writer)

    def row(self, line: Row) -> Answer:
        """Say a row of a log."""
        return line.seq, line.at, line.after, self.writers.get(line.writer, line.writer), line.event, line.value

    def message(self, one: Message) -> Answer:
        """Say a message."""
        return self.ids[one.key], one.kind, one.body
