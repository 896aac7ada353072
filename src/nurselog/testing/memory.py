"""A store for the one workflow and the one engine of a life: rows in a list.

A search lives a thousand lives, and nobody else ever looks at what they keep. Of what a store must do, most is for
others: the lease, the fence, takeovers, looking for what has changed. Here there is nobody else, so all of that has the
simplest answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import NoReturn

import trio
from msgspec.structs import replace

from .. import Status, UsageError
from ..abc import (
    Append,
    Batch,
    Claim,
    Clock,
    Created,
    Creation,
    Lease,
    Message,
    Post,
    Posted,
    Receipt,
    Wanted,
    Workflow,
    WorkflowKey,
)
from ..lowlevel import Claimed, Row, encode_event

KEY = WorkflowKey(1)


class MemoryStore:
    """A `Store` that holds one workflow, for one engine.

    Args:
        clock: tells the time for due times.
    """

    shared = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worker = ""
        self._numbers = count(1)
        self._messages: list[Message] = []
        self._words: set[str] = set()
        """Of messages that are left once."""
        self._found: list[Workflow] = []
        """The workflow, once it is made."""
        self._rows: list[Row] = []

    async def open(self, lease: Lease) -> None:
        """Enter the worker. A checkpoint, as all others."""
        self._worker = lease.worker
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """Do nothing: what is in memory is let go with the store."""
        await trio.lowlevel.checkpoint()

    async def commit(self, batch: Batch) -> Receipt:
        """Write the batch."""
        await trio.lowlevel.checkpoint()
        created = [self._create(creation) for creation in batch.creations]
        for append in batch.appends:
            self._append(append)
        for append in batch.appends:
            self._put_all(append.posts)
        return Receipt(created=created)

    def _create(self, new: Creation) -> Created:
        if self._found:
            raise UsageError(
                f"the workflow that is tried starts another one, {new.name!r}, and these tests try one alone. Try that "
                "one by itself, and the two together in an engine, such as that of the fixture `engine`"
            )
        self._rows += new.rows
        workflow = Workflow(
            key=KEY, id=new.id, name=new.name, version=new.version, digest=new.digest, status=new.status,
            owner=new.owner, due_at=0, created_at=new.at, updated_at=new.at,
        )  # fmt: skip
        self._found = [workflow]
        return Created(workflow=workflow, new=True)

    def _append(self, append: Append) -> None:
        self._rows += append.rows
        self._messages = [message for message in self._messages if message.number not in append.taken]
        if (new := append.standing) is not None:
            [workflow] = self._found
            if new.status.final:
                self._messages = []
            owner = None if new.release else workflow.owner
            due_at = 0 if self._messages and new.status is not Status.STUCK else new.due_at
            self._found = [replace(workflow, status=new.status, owner=owner, due_at=due_at, problem=new.problem)]

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        """Take the workflow over, if it is due and nobody has it; append `claimed`."""
        await trio.lowlevel.checkpoint()
        [workflow] = self._found
        due = wanted.keys is not None or (workflow.due_at is not None and workflow.due_at <= self._clock.utc())
        if workflow.owner is not None or workflow.status.final or not due:
            return []
        last, writer = self._rows[-1], next(self._numbers)
        at = max(self._clock.utc(), last.at)
        self._rows.append(Row(last.seq + 1, at, 0, writer, encode_event(Claimed(worker=self._worker))))
        status = workflow.status if workflow.status is Status.CANCELLING else Status.RUNNING
        self._found = [replace(workflow, owner=self._worker, status=status, due_at=0, problem=None)]
        return [Claim(workflow=self._found[0], writer=writer, rows=tuple(self._rows), messages=tuple(self._messages))]

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        """Leave messages, and make the workflow due at once."""
        await trio.lowlevel.checkpoint()
        waits, became = bool(self._messages), self._put_all(posts)
        if waits:
            return became
        first = iter(self._messages)
        return [next(first) if one is Posted.LEFT else one for one in became]

    def _put_all(self, posts: Sequence[Post]) -> Sequence[Posted]:
        return [self._put(post) for post in posts]

    def _put(self, post: Post) -> Posted:
        [workflow] = self._found
        if post.key == KEY and post.once in self._words:
            return Posted.KNOWN
        if post.key != KEY or workflow.status.final:
            return Posted.ENDED
        if post.most is not None and len(self._messages) >= post.most:
            return Posted.FULL
        number = next(self._numbers)
        self._messages.append(Message(number=number, key=KEY, kind=post.kind, body=post.body))
        if post.once is not None:
            self._words.add(post.once)
        self._found = [replace(workflow, due_at=0)]
        return Posted.LEFT

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        """Return the messages, perhaps only those behind a number."""
        await trio.lowlevel.checkpoint()
        known = (behind or {}).get(KEY, 0)
        return tuple(message for message in self._messages if message.number > known)

    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        """Return the workflow, if it has one of these ids."""
        await trio.lowlevel.checkpoint()
        return [workflow for workflow in self._found if workflow.id in ids]

    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:  # noqa: ARG002 - there is one log
        """Return the log from `from_seq` on, `limit` rows at most; -1 is the last row."""
        await trio.lowlevel.checkpoint()
        return tuple(self._rows[from_seq if from_seq < 0 else from_seq - 1 :][:limit])

    async def next_due(self, wanted: Wanted) -> int | None:  # noqa: ARG002 - the one that there is
        """Return when the workflow is due, if nobody has it."""
        await trio.lowlevel.checkpoint()
        return next((workflow.due_at for workflow in self._found if workflow.owner is None), None)

    async def _nobody_asks(self, *_: object) -> NoReturn:
        raise AssertionError(
            "no other process can have written, no lease runs out, and what is there is not awaited"
        )  # pragma: no cover - see there

    post_early: Callable[..., Awaitable[NoReturn]] = _nobody_asks
    renew: Callable[..., Awaitable[NoReturn]] = _nobody_asks
    reenter: Callable[..., Awaitable[NoReturn]] = _nobody_asks
    wait_changed: Callable[..., Awaitable[NoReturn]] = _nobody_asks
    list: Callable[..., Awaitable[NoReturn]] = _nobody_asks
    delete: Callable[..., Awaitable[NoReturn]] = _nobody_asks
    expired: Callable[..., Awaitable[NoReturn]] = _nobody_asks
