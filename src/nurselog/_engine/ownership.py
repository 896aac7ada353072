"""Which workflows this engine owns: it takes up what is due, keeps its lease, and lets go of what it may have lost.

A lease only saves work: it tells others when they may take over. What makes a takeover safe is the log itself, where
an old owner's next row collides with the new owner's `claimed`. So nothing here need be exact, only prompt.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import trio

from .._errors import StoreError
from .._flow.workflow import Workflow
from .._instrument import LeaseLost, Looked
from .._log.events import Row
from .._log.lifecycle import Status
from ..abc import (
    Append,
    Batch,
    Change,
    Claim,
    Created,
    Creation,
    Message,
    Standing,
    Store,
    WorkflowKey,
)
from ..abc import Workflow as WorkflowRow
from .messages import Kind
from .owning import Target
from .patience import patiently
from .run import Leaving, Run, Unreadable
from .runner import Runner
from .table import Table
from .unwrap import unwrapped

logger = logging.getLogger("nurselog")

_BATCH = 1000
"""How many workflows are taken up in one transaction at most."""

_FIRST = 10
"""How many in the first one, when nobody knows how long their logs are."""

_PAUSE = 100_000
"""Microseconds before another look for what is due at once and was not to be had: somebody may be taking it up."""

REMEMBERED = 100
"""Messages entered into one workflow after which one looks which are still in the store, to forget the others."""


class Ownership:
    """Takes workflows up, and lets go of them with the lease."""

    def __init__(self, store: Store, runner: Runner, table: Table, max_running: int, grace: float) -> None:
        self._store, self._runner, self._table = store, runner, table
        self._tenure = runner.tenure
        self._max_running = max_running
        self._grace = grace
        self._look = trio.Event()
        self._entering = trio.Lock()
        """One look for messages at a time: what an older one has found must not replace what a newer one has."""
        self._asked = self._answered = 0
        """How often a look was asked for, and how many of those have been answered: one look answers all before it."""
        self._late_sender, self._late = trio.open_memory_channel[tuple[WorkflowRow, int]](math.inf)
        """What was made or claimed in another life than it was asked for in, with the writer of its last row."""
        self.arriving: int = 0
        """Workflows that are being made, to be run here."""

    @property
    def room(self) -> int:
        """How many more workflows this engine may take into memory."""
        if self._tenure.is_doubtful:
            return 0
        return self._max_running - len(self._runner.runs) - self.arriving

    @property
    def keys(self) -> Mapping[str, WorkflowKey]:
        """The keys of the workflows in memory, by their ids."""
        return self._runner.keys

    def look(self) -> None:
        """Have a look for workflows that are due, soon."""
        self._look.set()

    # -- taking up -------------------------------------------------------------------------------

    async def take_up(self) -> None:
        """Take up what is due, for ever."""
        while True:
            self._look = trio.Event()
            until = await patiently(self._claim_due)
            with trio.CancelScope() as scope:
                if self._store.shared:  # a worker may die without a sign in the store
                    scope.deadline = trio.current_time() + self._tenure.beat
                async with trio.open_nursery() as nursery:
                    if until is not None:
                        nursery.start_soon(self._wake_at, max(until, self._runner.clock.utc() + _PAUSE))
                    await self._look.wait()
                    nursery.cancel_scope.cancel()

    async def _wake_at(self, due: int) -> None:
        await self._runner.clock.sleep_until(due)
        self._look.set()

    async def _claim_due(self) -> int | None:
        """Claim what there is room for; return when the next one is due.

        A few first: they tell how long one takes. In one transaction no more are claimed than can be taken in between
        two heartbeats. Else long logs would cost the lease, all of them would be given up, and so on for ever. What was
        made here meanwhile may have taken their places: then they are given back.
        """
        batch = _FIRST
        while (limit := min(self.room, batch)) > 0:
            wanted = self._table.wanted(self._tenure.worker, limit)
            life, began = self._tenure.life, trio.current_time()
            claims = await self._store.claim(wanted)
            if self._runner.instruments is not None:
                self._runner.instruments.tell(Looked(found=len(claims), seconds=trio.current_time() - began))
            for claim in claims:
                self._start(claim, life, keep=self.room > 0)
            if len(claims) < limit:
                return await self._store.next_due(wanted)
            batch = self._fitting(limit, trio.current_time() - began)
        if not self._tenure.is_doubtful:
            self._runner.make_room()
        return None

    def _fitting(self, claimed: int, seconds: float) -> int:
        """Return how many can be taken in in half the time between two heartbeats, if these have taken so long."""
        fitting = claimed * self._tenure.beat / 2 / seconds if seconds else _BATCH
        return min(max(1, int(fitting)), _BATCH)

    async def make_room(self) -> None:
        """Look again when a workflow has left: others may be waiting for its place, or it for a time; for ever."""
        while True:
            await self._runner.room.wait()
            if self._runner.crowded or self._runner.released:
                self._runner.crowded = self._runner.released = False
                self.look()

    def left_for_later(self, parent: WorkflowKey | None = None) -> None:
        """A workflow was made for which there was no room, or which was there already."""
        runner = self._runner
        if self._tenure.is_doubtful:
            return  # there is a look when it is settled
        if self.room > 0:
            self.look()
        elif not runner.crowded:
            runner.make_room()
        elif parent is not None and parent in runner.runs:  # it is known; a look at all for each would take long
            runner.waits(runner.runs[parent])

    def prepare(
        self,
        function: Target,
        id: str,
        digest: str,
        rows: Sequence[Row],
        parent: WorkflowKey | None = None,
    ) -> tuple[Creation, Callable[[Created | None], None]]:
        """Return how to make a workflow, to be run here if there is room, and what to call when that is durable."""
        here, life = self.room > 0, self._tenure.life
        self.arriving += here
        creation = Creation(
            id=id,
            parent=parent,
            name=function.name,
            version=function.version,
            digest=digest,
            status=Status.RUNNING if here else Status.PENDING,
            owner=self._tenure.worker if here else None,
            at=rows[-1].at,
            rows=rows,
        )

        def made(created: Created | None) -> None:
            self.arriving -= here
            if created is not None and created.new and self._runner.instruments is not None:
                self._runner.instruments.submitted(id, rows)
            if here and created is not None and self._is_as_made(created):
                assert isinstance(function, Workflow), "an engine makes what it has"
                self.begin(function, created.workflow, rows[-1].writer, rows, (), life)
                if created.mail:
                    self.mail_for(created.workflow.key)
            else:  # a place was not to be had, or was kept for nothing
                self.left_for_later(parent)

        return creation, made

    def _is_as_made(self, created: Created) -> bool:
        """Whether it may begin here.

        The answer may have been lost, and then, before it was asked for again, the lease: nobody owns it now, or who
        has taken it over runs it, which may be this worker.
        """
        return created.new and not created.gone_on and created.workflow.owner == self._tenure.worker

    async def claim(self, key: WorkflowKey) -> None:
        """Take one workflow up, if nobody owns it, as soon as the lease is good: a message waits for it.

        A look would not bring it if this engine lacks its function, and a kill needs none.
        """
        await self._tenure.good()
        life = self._tenure.life
        for claim in await self._store.claim(self._table.wanted(self._tenure.worker, 1, key)):
            self._start(claim, life, keep=True)

    async def told(self, key: WorkflowKey) -> None:
        """An order was left for a workflow: take that up, unless it is somebody's, who has heard of it."""
        run = self._runner.runs.get(key)
        if run is not None and run.sequencer.suspending:  # it takes no more: whoever comes next does
            await run.gone.wait()
            run = None
        if run is None and not self._runner.closed:
            await self.claim(key)

    def _start(self, claim: Claim, life: int, *, keep: bool) -> None:
        """Take what was claimed into memory, and out again if it is not to be kept, or nobody here can run it."""
        row = claim.workflow
        workflow = self._table.find(row.name) if self._table.can_run(row.name, row.version) else None
        function = workflow or self._table.unknown(row.name)
        run = self.begin(function, row, claim.writer, claim.rows, claim.messages, life)
        if run is not None and not (keep and workflow) and not _kills(claim.messages):
            run.leave(Leaving.CLOSING)

    def begin(
        self,
        function: Workflow[..., Any],
        row: WorkflowRow,
        writer: int,
        rows: Sequence[Row],
        messages: Sequence[Message],
        life: int,
    ) -> Run | None:
        """Take a workflow into memory, unless the engine closes; one whose log cannot be read is stuck or killed.

        What was asked for in a former life is given back: `life` is the one in which it was asked for.
        """
        if self._runner.closed:
            return None
        if life != self._tenure.life:
            self._late_sender.send_nowait((row, writer))
            return None
        try:
            return self._runner.start(function, row, writer, rows, messages)
        except (msgspec.MsgspecError, StoreError) as exc:
            unreadable = Unreadable(self._runner, row, writer)
            if _kills(messages):
                unreadable.kill(rows)
            else:
                unreadable.stuck(exc, messages)
            return None

    async def give_back(self) -> None:
        """Let go in the store of what came in another life than it was asked for in, for ever.

        Unless somebody has claimed it since, who may be this engine: that, the log alone knows, which refuses whoever
        was not its last writer. Therefore not by way of the journal, where what is newer takes the place of what is
        older, and this is the older one.
        """
        async for row, writer in self._late:
            standing = Standing(status=row.status, due_at=0, release=True)
            batch = Batch(appends=[Append(key=row.key, rows=(), writer=writer, standing=standing)])
            receipt = await patiently(partial(self._store.commit, batch))
            if row.key not in receipt.refused:
                self.look()
            if not self._table.can_run(row.name, row.version):  # no look brings it, and it may have to be killed
                await patiently(partial(self.claim, row.key))

    async def enter_messages(self) -> None:
        """Enter what has come for workflows in memory; for those that are on their way there, look again later.

        Only what was in memory when the look began: it may have seen a message that a former life of a workflow has
        used up since.
        """
        self._asked += 1
        number = self._asked
        async with self._entering:
            if self._answered >= number:
                return  # a look that began since has seen it
            latest, before = self._asked, dict(self._runner.runs)
            held = {key: run.held for key, run in before.items() if run.held}
            refilled = [run for run in before.values() if run.refilled]
            messages = await self._store.messages(held)
            self._answered = latest
            self._enter(messages, before, held)
            for run in refilled:
                run.refilled = False
            if refilled and self._runner.crowded:
                self._runner.make_room()

    def _enter(
        self, messages: Sequence[Message], before: Mapping[WorkflowKey, Run], held: Mapping[WorkflowKey, int]
    ) -> None:
        runner, late = self._runner, set[WorkflowKey]()
        there = {message.number for message in messages}
        for one in before.values():
            if one.key not in held:
                one.entered &= there  # what the store has not any more it will not bring again
        runner.expected = frozenset()
        for message in messages:
            run = before.get(message.key)
            if run is None or runner.runs.get(message.key) is not run:
                late.add(message.key)
            elif run.held or message.key not in held:  # else there is room now for what comes before it: see `mail`
                runner.enter(run, message)
        runner.expected |= late
        if not late.isdisjoint(runner.runs):
            runner.mail.set()

    def arrival(self, keys: frozenset[WorkflowKey]) -> Callable[[Sequence[Message]], None]:
        """Messages are about to be left for workflows: return what to call with those that `Store.post` returned.

        What is the first of all that wait is entered at once. But not if there was a look meanwhile, which may have
        seen it, and may not know that it was entered since; and only in the life of the workflow that there was before.
        """
        runs, asked = self._runner.runs, self._asked
        before = {key: runs[key] for key in keys & runs.keys()}
        undisturbed = self._answered == asked

        def arrived(first: Sequence[Message]) -> None:
            entered = set[WorkflowKey]()
            for message in first if undisturbed and self._asked == asked else ():
                run = before.get(message.key)
                if run is not None and runs.get(message.key) is run:
                    self._runner.enter(run, message)
                    entered.add(message.key)
                    if len(run.entered) > REMEMBERED:
                        self._runner.mail.set()
            if others := keys - entered:
                self.mail_for(*others)

        return arrived

    def mail_for(self, *keys: WorkflowKey) -> None:
        """Messages were left for workflows: have them entered, soon, wherever those are."""
        self._runner.mail.set()
        if not self._runner.runs.keys() >= set(keys):
            self.look()

    def look_for_all(self) -> None:
        """Have a look, soon, for whatever may have been left, for whomever."""
        self._runner.mail.set()
        self.look()

    async def fetch(self) -> None:
        """Look for messages that were left here, or that there is room for now; for ever."""
        while True:
            await self._runner.mail.wait()
            self._runner.mail = trio.Event()
            await patiently(self.enter_messages)

    async def listen(self) -> None:
        """Look after what other processes write, for ever."""
        while self._store.shared:
            changes = await patiently(self._store.wait_changed)
            if Change.MESSAGE in changes:
                await patiently(self.enter_messages)
            if Change.END in changes:
                await patiently(partial(self._runner.waiters.look, self._store))
            if Change.DUE in changes:
                self.look()
            if not changes.isdisjoint({Change.ROWS, Change.END}):
                self._runner.readers.tell_all()

    # -- the lease -------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Renew the lease for ever; when it may have run out, suspend everything before others can take over."""
        if not self._store.shared:
            return
        with unwrapped():
            async with trio.open_nursery() as leaving:
                await self._tenure.keep(partial(self._let_go, leaving), self.look)

    def _let_go(self, leaving: trio.Nursery) -> None:
        logger.warning("the lease was lost: everything in memory is suspended, and taken up again by whoever can")
        if self._runner.instruments is not None:
            self._runner.instruments.tell(LeaseLost(workflows=len(self._runner.runs)))
        leaving.start_soon(self._runner.see_out, self._runner.leave_all(Leaving.LOST), self._grace)


def new_writer() -> int:
    """Return a number that no other claim has: positive, 63 bits."""
    return secrets.randbits(62) + 1


def _kills(messages: Sequence[Message]) -> bool:
    return any(message.kind == Kind.KILL.value for message in messages)
