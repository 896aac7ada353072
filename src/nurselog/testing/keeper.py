"""A life's store, as far as every life needs it: it begins with a log, counts what moves, and keeps the log.

A message that is on its way is in no log. When a life begins where another one was cut, the messages are to be there
that had been left by then and were not received; and of those that were, the words by which the store knows them
again: a step that was under way leaves its message once more. So a life notes how long the log was when each message
was left, and another one leaves them anew and has those removed that its log has, by nothing but what a store has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import trio
from msgspec.structs import replace

from .. import Status
from .._engine.messages import Kind, body_of
from ..abc import (
    Append,
    Batch,
    Claim,
    Creation,
    Lease,
    Message,
    Post,
    Posted,
    Receipt,
    Standing,
    Store,
    Wanted,
    WorkflowKey,
)
from ..lowlevel import Event, Received, Row, Started, decode_event, is_delivered, is_note

ID = "run"
"""The id of the one workflow in a life, unless its log is one that was written under another id."""


def is_move(event: Event) -> bool:
    """Whether an event moves the workflow, or is a note of its code."""
    return is_delivered(event) or is_note(event)


class Mail(NamedTuple):
    """A message that was left for the workflow: to a mailbox, or for a promise."""

    rows: int
    """How many rows the log had then: a life that begins with fewer has never heard of it."""
    post: Post

    @classmethod
    def waiting(cls, event: Received, value: bytes) -> Mail:
        """Make a message that waits from the beginning, of what the log is to have of it."""
        kind = Kind.SETTLE if event.topic is None else Kind.SEND if event.update is None else Kind.UPDATE
        return cls(0, Post(key=WorkflowKey(0), kind=kind.value, body=body_of(event=event, value=value)))


_MAIL = {Kind.SEND.value, Kind.SETTLE.value, Kind.UPDATE.value}


def mail_in(rows: Sequence[Row]) -> tuple[Mail, ...]:
    """Return what a log has received as mail that waits from the beginning."""
    return tuple(Mail.waiting(event, value) for event, value in _received(rows))


def _received(rows: Sequence[Row]) -> Iterator[tuple[Received, bytes]]:
    entries = ((decode_event(row.event), row.value or b"") for row in rows)
    return ((event, value) for event, value in entries if isinstance(event, Received))


class Keeper:
    """A `Store` around another one, which it begins with a log; it keeps the log when it is closed.

    Args:
        inner: an empty store.
        rows: the log.
        mail: what had been left for the workflow by then, received or not.
        id: the workflow's.
        cancelled: whether the workflow is to find that somebody has cancelled it.
    """

    shared = False
    """One engine at a time: nobody need look for others while a workflow sleeps for months."""

    def __init__(self, inner: Store, rows: Sequence[Row], mail: Sequence[Mail], *, id: str, cancelled: bool) -> None:
        self._inner, self._id, self._cancelled = inner, id, cancelled
        self._moved = trio.Event()
        self._posting = trio.Lock()
        self.moves: int = 0
        """How many events of this life are moves, and durable."""
        self.rows: tuple[Row, ...] = tuple(rows)
        """The log: that with which it begins, until it is closed."""
        self.length: int = len(rows)
        """How many rows are durable."""
        self.mail: list[Mail] = list(mail)
        """What has been left, in this life and before."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open(self, lease: Lease) -> None:
        """Open the store, and write the log that it begins with, and the mail."""
        await self._inner.open(lease)
        await self._inner.commit(Batch(creations=[self._creation(lease.worker)]))
        [found] = await self._inner.find([self._id])
        await self._inner.post([replace(one.post, key=found.key, most=None) for one in self.mail])
        taken = list(self._entered(await self._inner.messages()))
        await self._inner.commit(Batch(appends=[Append(key=found.key, taken=taken, standing=self.standing())]))
        if self._cancelled:
            await self._inner.post([Post(key=found.key, kind=Kind.CANCEL.value, body=body_of(None))])

    def standing(self) -> Standing:
        """Return how the workflow stands when somebody may go on with it."""
        return Standing(status=Status.RUNNING, due_at=0, release=True)

    def _entered(self, messages: Sequence[Message]) -> Iterator[int]:
        """Yield the numbers of messages that the log has already."""
        bodies = Counter(body_of(event=event, value=value) for event, value in _received(self.rows))
        for message in messages:
            if bodies[message.body]:
                bodies[message.body] -= 1
                yield message.number

    def _creation(self, worker: str) -> Creation:
        started = decode_event(self.rows[0].event)
        assert isinstance(started, Started)
        return Creation(
            id=self._id,
            name=started.name,
            version=started.version,
            digest="",
            status=Status.RUNNING,
            owner=worker,
            at=self.rows[-1].at,
            rows=self.rows,
        )

    async def close(self) -> None:
        """Keep the log, and close the store."""
        [found] = await self._inner.find([self._id])
        self.rows = tuple(await self._inner.read(found.key))
        await self._inner.close()

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        """Let the workflow be taken over: each time that it is, there is a row more."""
        claims = await self._inner.claim(wanted)
        self.length += len(claims)
        return claims

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        """Leave messages, and note those that were left.

        They count as left as soon as they might be: a store on a disk may have left them long before it says so. And
        they are left one call after the other: of two at a time, nobody would know which was first.
        """
        async with self._posting:
            length = self.length
            answers = await self._inner.post(posts)
            for post, answer in zip(posts, answers, strict=True):
                if Posted.of(answer) is Posted.LEFT and post.kind in _MAIL:
                    self.mail.append(Mail(length, post))
            return answers

    async def commit(self, batch: Batch) -> Receipt:
        """Commit, and count."""
        receipt = await self._inner.commit(batch)
        self.length += sum(len(creation.rows) for creation in batch.creations)
        self.length += sum(len(append.rows) for append in batch.appends)
        if moves := sum(is_move(decode_event(row.event)) for append in batch.appends for row in append.rows):
            self.moves += moves
            self._moved.set()
            self._moved = trio.Event()
        return receipt

    async def moved(self, count: int) -> None:
        """Wait until so many moves of this life are durable."""
        while self.moves < count:
            await self._moved.wait()
