"""A life's store, as far as every life needs it: it begins with a log, counts what moves, and keeps the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from .. import Status
from .._engine.messages import Kind, body_of
from ..abc import Batch, Creation, Lease, Post, Receipt, Store
from ..lowlevel import Event, Row, Started, decode_event, is_delivered, is_note

ID = "run"
"""The id of every workflow in a life: there is one."""


def is_move(event: Event) -> bool:
    """Whether an event moves the workflow, or is a note of its code."""
    return is_delivered(event) or is_note(event)


class Keeper:
    """A `Store` around another one, which it begins with a log; it keeps the log when it is closed.

    Args:
        inner: an empty store.
        rows: the log.
        cancelled: whether the workflow is to find that somebody has cancelled it.
    """

    shared = False
    """One engine at a time: nobody need look for others while a workflow sleeps for months."""

    def __init__(self, inner: Store, rows: Sequence[Row], *, cancelled: bool) -> None:
        self._inner, self._cancelled = inner, cancelled
        self._moved = trio.Event()
        self.moves: int = 0
        """How many events of this life are moves, and durable."""
        self.rows: tuple[Row, ...] = tuple(rows)
        """The log: that with which it begins, until it is closed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open(self, lease: Lease) -> None:
        """Open the store, and write the log that it begins with."""
        await self._inner.open(lease)
        await self._inner.commit(Batch(creations=[self.creation()]))
        [found] = await self._inner.find([ID])
        if self._cancelled:
            await self._inner.post([Post(key=found.key, kind=Kind.CANCEL.value, body=body_of(None))])

    def creation(self) -> Creation:
        """Return the workflow as it is written."""
        started = decode_event(self.rows[0].event)
        assert isinstance(started, Started)
        return Creation(
            id=ID,
            name=started.name,
            version=started.version,
            digest="",
            status=Status.RUNNING,
            owner=None,
            at=self.rows[-1].at,
            rows=self.rows,
        )

    async def close(self) -> None:
        """Keep the log, and close the store."""
        [found] = await self._inner.find([ID])
        self.rows = tuple(await self._inner.read(found.key))
        await self._inner.close()

    async def commit(self, batch: Batch) -> Receipt:
        """Commit, and count."""
        receipt = await self._inner.commit(batch)
        if moves := sum(is_move(decode_event(row.event)) for append in batch.appends for row in append.rows):
            self.moves += moves
            self._moved.set()
            self._moved = trio.Event()
        return receipt

    async def moved(self, count: int) -> None:
        """Wait until so many moves of this life are durable."""
        while self.moves < count:
            await self._moved.wait()
