"""The journal: the engine's writer. It commits everything that all workflows have appended meanwhile, in one go.

Nothing lingers: a batch is whatever came while the one before was being made durable. (Only where a workflow goes on
with a message at once it gets one turn of the event loop, so that its answer goes with it.) One row is then a batch of
its own, and under load a batch grows to hundreds of rows, without a knob. It does not grow without an end, though: when
a batch is durable, all in it go on in one turn of the event loop, and nothing else does meanwhile, not even the lease.
And workflows that started together stay in step: if one batch held them all, the store would wait while they run, and
they while it writes. Of several batches, one is written while those of the one before run.

A store that is unavailable (locked, full, unreachable) makes everybody wait, and nothing else: the same batch is tried
again. That is safe when an answer was lost, since rows say who wrote them. Any other store error ends the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from .._errors import EngineClosed
from .._log.events import FROM_OUTSIDE, PUBLIC, Event, Row
from ..abc import Append, Batch, Created, Creation, Post, Receipt, Standing, Store, WorkflowKey
from .instruments import Instruments
from .patience import Outage, patiently

MOST = 250
"""Workflows in one batch; the next ones wait for the next. Enough to make a commit's price small for each, even on a
slow disk; with 1,000, as many workflows took a sixth longer on PostgreSQL, and a twelfth on SQLite."""


class Writer(Protocol):
    """Whose rows these are: told when they are durable, or when somebody else owns the workflow."""

    key: WorkflowKey
    number: int
    """As of its claim: that of all its rows."""

    def committed(self, row: Row, event: Event) -> None:
        """A row is durable."""
        ...

    def standing_committed(self, standing: Standing) -> None:
        """A change of standing is durable."""
        ...

    def refused(self) -> None:
        """Somebody else has taken the workflow over: nothing was written."""
        ...


class _Part:
    """What one workflow has to write in the next batch."""

    __slots__ = ("events", "posts", "public", "rows", "standing", "taken", "writer")

    def __init__(self, writer: Writer) -> None:
        self.writer: Writer = writer
        self.rows: list[Row] = []
        self.events: list[Event] = []
        """Those in the rows."""
        self.public: bool = False
        """Whether readers outside may wait for one of them."""
        self.standing: Standing | None = None
        self.taken: list[int] = []
        self.posts: list[Post] = []

    def answer(self, receipt: Receipt) -> None:
        """Tell the writer what became of it."""
        writer = self.writer
        if writer.key in receipt.refused:
            writer.refused()
            return
        for row, event in zip(self.rows, self.events, strict=True):
            writer.committed(row, event)
        if self.standing is not None:
            writer.standing_committed(self.standing)


class _Asked:
    """A workflow to be made, and who waits for it."""

    __slots__ = ("created", "creation", "done", "made", "parent")

    def __init__(
        self, creation: Creation, made: Callable[[Created | None], None], parent: Writer | None = None
    ) -> None:
        self.creation: Creation = creation
        self.made: Callable[[Created | None], None] = made
        self.parent: Writer | None = parent
        """Whose row it comes with."""
        self.created: Created | None = None
        self.done = trio.Event()

    def answer(self, created: Created | None) -> None:
        """Say what became of it; None: nothing did."""
        self.created = created
        self.made(created)
        self.done.set()


class _Lot:
    """What is committed in one go."""

    __slots__ = ("asked", "barriers", "goes_on", "parts", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        """When the first thing in it came, by Trio's clock."""
        self.parts: dict[WorkflowKey, _Part] = {}
        self.asked: list[_Asked] = []
        self.barriers: list[trio.Event] = []
        """Who waits until everything that is queued now is durable."""
        self.goes_on: bool = False
        """Whether a workflow goes on before it is durable, and may have more for it in its next step."""

    def __len__(self) -> int:
        return len(self.parts) + len(self.asked)

    def batch(self) -> Batch:
        """All in order of workflow: batches and takeovers touch many workflows, and must not meet head-on."""
        appends = [
            Append(
                key=key,
                rows=part.rows,
                writer=part.writer.number,
                standing=part.standing,
                taken=part.taken,
                posts=part.posts,
                public=part.public,
            )
            for key, part in sorted(self.parts.items())
        ]
        return Batch(creations=[one.creation for one in self.asked], appends=appends)

    def answer(self, receipt: Receipt) -> None:
        """Tell everybody what became of it."""
        asked, self.asked = self.asked, []
        for one, created in zip(asked, receipt.created, strict=True):
            one.answer(created)
        for part in self.parts.values():
            part.answer(receipt)

    def drop(self, part: _Part) -> None:
        """Drop what a workflow has to say, and the children that it has: they come with its rows, or not at all."""
        del self.parts[part.writer.key]
        dropped = [one for one in self.asked if one.parent is part.writer]
        self.asked = [one for one in self.asked if one.parent is not part.writer]
        for one in dropped:
            one.answer(None)
        part.writer.refused()

    def give_up(self) -> None:
        """Nobody will commit it."""
        for one in self.asked:
            one.answer(None)

    def pass_barriers(self) -> None:
        """Nothing of it is waited for any more."""
        for barrier in self.barriers:
            barrier.set()


class Journal:
    """Collects what is to be written, and commits it in groups."""

    def __init__(self, store: Store, instruments: Instruments | None) -> None:
        self._store, self._instruments = store, instruments
        self._queued = deque([_Lot()])
        """There is always one that takes more: the last."""
        self._flying = _Lot()
        """What is being committed."""
        self._some = trio.Event()
        self._closed = False

    @property
    def lag(self) -> float:
        """How long the oldest row has been waiting to become durable, seconds."""
        since = self._queued[0].since if self._flying.since is None else self._flying.since
        return 0.0 if since is None else trio.current_time() - since

    # -- collecting ------------------------------------------------------------------------------

    def _part(self, writer: Writer) -> _Part:
        """Return what a workflow has to write next.

        It joins what the workflow has in the last lot, however full that is: a message and the row that enters it, or
        an end and the standing that follows from it, must be committed together.
        """
        part = self._queued[-1].parts.get(writer.key)
        if part is None or part.writer is not writer:
            if part is not None or len(self._queued) > 1:  # else there is none to be dropped
                self._drop_former(writer)
            part = self._lot_with_room().parts[writer.key] = _Part(writer)
        return part

    def _drop_former(self, writer: Writer) -> None:
        """Drop what a former run of a workflow, lost and taken up again here, has to say: it would not be let in."""
        for lot in self._queued:
            part = lot.parts.get(writer.key)
            if part is not None and part.writer is not writer:
                lot.drop(part)

    def _lot_with_room(self) -> _Lot:
        """Return a lot for one workflow more."""
        if len(self._queued[-1]) >= MOST:
            self._queued.append(_Lot())
        lot = self._queued[-1]
        if lot.since is None:
            lot.since = trio.current_time()
            self._some.set()
        return lot

    def append(self, writer: Writer, row: Row, event: Event) -> None:
        """Queue a row."""
        part = self._part(writer)
        part.rows.append(row)
        part.events.append(event)
        if isinstance(event, PUBLIC):
            part.public = True
        elif isinstance(event, FROM_OUTSIDE):
            self._queued[-1].goes_on = True

    def stand(self, writer: Writer, standing: Standing) -> None:
        """Queue a change of standing; the last one counts."""
        self._part(writer).standing = standing

    def take(self, writer: Writer, message: int) -> None:
        """Queue the removal of a message, together with the rows that enter it."""
        self._part(writer).taken.append(message)

    def post(self, writer: Writer, post: Post) -> None:
        """Queue a message to another workflow, together with the rows that it follows from."""
        self._part(writer).posts.append(post)

    def make_child(self, writer: Writer, creation: Creation, made: Callable[[Created | None], None]) -> None:
        """Queue the making of a child together with its parent's next row, which must follow at once.

        Args:
            writer: the parent's.
            creation: the child.
            made: called with what became of it; with None if nothing did.
        """
        if len(self._queued[-1]) >= MOST:
            self._queued.append(_Lot())
        self._part(writer)
        self._queued[-1].asked.append(_Asked(creation, made, writer))

    async def create(self, creation: Creation, made: Callable[[Created | None], None]) -> Created:
        """Make a workflow; return when it is durable, or when its id turns out to be taken.

        Args:
            creation: the workflow.
            made: called with what became of it, also when nobody waits for that any more; with None if nothing did.

        Cancelling the wait does not undo the creation.

        Raises:
            EngineClosed: if the journal ends first.
        """
        if self._closed:
            made(None)
            raise EngineClosed("it is closed, or its store has broken: the workflow was not made")
        asked = _Asked(creation, made)
        self._lot_with_room().asked.append(asked)
        await asked.done.wait()
        if asked.created is None:
            raise EngineClosed("it was closed, or its store has broken, before the workflow was made")
        return asked.created

    # -- committing ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Commit for ever.

        Raises:
            StoreError: if the store is broken in a way that waiting does not mend.
        """
        try:
            while True:
                await self._some.wait()
                if self._queued[0].goes_on:
                    await trio.lowlevel.checkpoint()
                await self._commit_next()
        finally:
            self._closed = True
            for lot in (self._flying, *self._queued):
                lot.give_up()
                lot.pass_barriers()

    async def _commit_next(self) -> None:
        self._flying = self._queued.popleft()
        if not self._queued:
            self._queued.append(_Lot())
            self._some = trio.Event()
        if self._flying:
            batch, began = self._flying.batch(), trio.current_time()
            receipt = await self._commit(batch)
            if self._instruments is not None:
                self._instruments.committed(batch, receipt, lag=self.lag, seconds=trio.current_time() - began)
            self._flying.answer(receipt)
        self._flying.pass_barriers()
        self._flying = _Lot()  # what was committed must not be kept until the next lot comes

    async def _commit(self, batch: Batch) -> Receipt:
        return await patiently(partial(self._store.commit, batch), Outage("the store is unavailable, workflows wait"))

    async def flushed(self) -> None:
        """Wait until everything that is queued now is durable, or the journal has ended. A checkpoint."""
        await trio.lowlevel.checkpoint()
        if not self._closed:
            barrier = trio.Event()
            self._queued[-1].barriers.append(barrier)
            self._some.set()
            await barrier.wait()
