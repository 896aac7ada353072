"""The workflows in an engine's memory, and what they share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from .._errors import RegistrationError
from .._flow import trouble
from .._flow.venue import Venue
from .._flow.watch import Watch
from .._flow.workflow import Workflow
from .._instrument import Stuck
from .._log.events import Resumed, Row
from ..abc import Clock, Codec, Message, Standing, WorkflowKey
from ..abc import Workflow as WorkflowRow
from .annex import Annex
from .bench import Bench
from .databases import Databases
from .instruments import Instruments
from .journal import Journal
from .messages import Kind, read_message
from .replaying import Replay
from .run import Leaving, Run
from .table import Table
from .tenure import Tenure
from .timing import TimerHeap
from .waiters import Readers, Waiters

if TYPE_CHECKING:
    from .office import Office
    from .starter import Starter

logger = logging.getLogger("nurselog")

SOON = 1_000_000
"""Microseconds: what is due earlier stays in memory, however many wait for its place."""


class Steps:
    """Which function has which step name in this engine."""

    def __init__(self) -> None:
        self._functions: dict[str, object] = {}

    def check(self, name: str, function: object) -> None:
        """See that one name means one function.

        Raises:
            RegistrationError: if another function has this name.
        """
        known = self._functions.setdefault(name, function)
        if known is not function and known != function:
            raise RegistrationError(
                f"two functions are recorded as step {name!r}: {known!r} and {function!r}. Give one another name: "
                "@step(name=...)"
            )


class Runner:
    """Runs workflows side by side."""

    nursery: trio.Nursery
    office: Office
    starter: Starter
    databases: Databases
    """Where transactions run."""
    annexes: Mapping[Venue, Annex]
    """Where steps run that need more than a task or a thread."""
    cores: trio.CapacityLimiter
    """How many run in worker processes at once."""

    def __init__(
        self,
        *,
        clock: Clock,
        codec: Codec,
        table: Table,
        journal: Journal,
        tenure: Tenure,
        limiter: trio.CapacityLimiter,
        max_payload: int,
        max_inbox: int,
        instruments: Instruments | None,
        crash: Callable[[BaseException], None],
    ) -> None:
        self.clock: Clock = clock
        self.codec: Codec = codec
        self.table: Table = table
        self.journal: Journal = journal
        self.tenure: Tenure = tenure
        self.limiter: trio.CapacityLimiter = limiter
        self.max_payload: int = max_payload
        self.max_inbox: int = max_inbox
        self.instruments: Instruments | None = instruments
        self.crash: Callable[[BaseException], None] = crash
        """Called with what no workflow may handle."""
        self.watch: Watch = Watch()
        self.timers: TimerHeap = TimerHeap(clock)
        self.bench: Bench = Bench()
        self.steps: Steps = Steps()
        self.runs: dict[WorkflowKey, Run] = {}
        self.keys: dict[str, WorkflowKey] = {}  # of what is in memory, by the workflows' ids
        self._departing: list[Run] = []
        """Runs that are none any more, lost or killed, whose code is still in memory."""
        self.expected: frozenset[WorkflowKey] = frozenset()
        """Workflows whose next life must look for messages: they are on their way into memory, or still leaving it."""
        self.closed: bool = False  # whether nothing more may start
        self.waiters: Waiters = Waiters()  # for ends
        self.readers: Readers = Readers()  # for more of a log
        self.occupied: trio.Event = trio.Event()  # set while any workflow is in memory
        self.mail: trio.Event = trio.Event()
        """Set when the store may have messages to be entered."""
        self.went: trio.Event = trio.Event()  # set whenever a workflow's code has gone
        self.room: trio.Event = trio.Event()
        """Set, and replaced, whenever a workflow has left memory."""
        self.crowded: bool = False
        """Whether something may be waiting in the store for want of room."""
        self.released: bool = False
        """Whether something has been put out of memory that is due, or will be."""
        self.evicted: int = 0
        self.stuck: int = 0

    def start(
        self,
        workflow: Workflow[..., Any],
        row: WorkflowRow,
        writer: int,
        rows: Sequence[Row],
        messages: Sequence[Message],
    ) -> Run:
        """Take a workflow into memory and run it."""
        former = self.runs.get(row.key)
        if former is not None:  # its last words are on their way, and this claim will have them refused
            former.refused()
            self._depart(former)
        run = Run(self, workflow, row, writer, rows)
        self.runs[row.key], self.keys[row.id] = run, row.key
        if run.status is not row.status:
            self.journal.stand(run, Standing(status=run.status, due_at=0))
        self.readers.each.tell(row.key)  # of its `claimed`; and from now on nobody need look without having been told
        self.occupied.set()
        self.nursery.start_soon(run.go, name=f"workflow {row.id}")
        for message in messages:
            self.enter(run, message)
        if row.key in self.expected:
            self.mail.set()
        return run

    def left(self, run: Run) -> None:
        """All about a workflow is durable; it is out of memory, or, if it was killed, on its way out."""
        self._depart(run)
        if self.runs.get(run.key) is run:
            del self.runs[run.key]
            if self.keys.get(run.id) == run.key:  # else another one has the id, or had it, and this one was deleted
                del self.keys[run.id]
            if not self.runs:
                self.occupied = trio.Event()
        self.evicted += run.leaving is Leaving.EVICTED
        self.released |= run.leaving in {Leaving.EVICTED, Leaving.SPOILED}
        run.tell_parting()
        if run.out and run.leaving is not Leaving.LOST:  # else something may still be on its way
            run.let_go()
        run.gone.set()
        self.waiters.tell(run.key)
        self.readers.tell(run.key)
        self.room.set()
        self.room = trio.Event()

    def got_stuck(self, id: str, name: str, standing: Standing) -> None:
        """A workflow cannot go on, and that is durable."""
        self.stuck += 1
        logger.error("workflow %r is stuck: %s", id, standing.problem)
        if self.instruments is not None:
            self.instruments.tell(Stuck(id=id, name=name, problem=standing.problem or ""))

    def _depart(self, run: Run) -> None:
        self._departing.append(run)
        self._drop_departed()

    def _drop_departed(self) -> None:
        self._departing = [one for one in self._departing if not one.out]

    def enter(self, run: Run, message: Message) -> None:
        """Enter a message from outside into a workflow's log; it is removed in the same commit."""
        if message.number in run.entered:
            return
        if run.sequencer.suspending:  # its next life may be on its way, without this
            self.expected |= {run.key}
            return
        try:
            kind, body = read_message(message)
        except (ValueError, msgspec.DecodeError) as exc:
            logger.error("workflow %r: a message stays where it is, this release cannot read it: %s", run.id, exc)  # noqa: TRY400 - no trace needed
            return
        if kind in {Kind.SEND, Kind.UPDATE} and (run.held or run.sequencer.inbox.unread >= self.max_inbox):
            run.held = message.number
            return
        run.entered.add(message.number)
        self.journal.take(run, message.number)
        match kind:
            case Kind.SEND | Kind.UPDATE | Kind.SETTLE | Kind.ENDED:
                assert body.event is not None
                run.sequencer.receive(body.event, body.value)
            case Kind.CANCEL:
                run.sequencer.cancel(body.reason)
            case Kind.KILL:
                run.kill()
            case Kind.RESUME:  # pragma: no branch - there is no other case
                run.sequencer.log.append(Resumed())

    def make_room(self) -> None:
        """Something waits in the store for want of room: who waits and has a family makes place, now and later."""
        self.crowded = True
        for run in list(self.runs.values()):
            self.waits(run)

    def waits(self, run: Run) -> None:
        """A workflow only waits. If it has a family, and others wait for its place, which may be those, it leaves."""
        has_family = run.sequencer.family.children or run.parent is not None
        if self.crowded and has_family and not (run.held or run.refilled):  # else it would be due again, at once
            until = run.sequencer.idle_until
            if until is not None and until > self.clock.utc() + SOON:
                run.leave(Leaving.EVICTED)

    def evict(self, after: float) -> None:
        """Put out of memory what has only waited for some seconds, and will for some more."""
        now = trio.current_time()
        soon = self.clock.utc() + int(after * 1e6)
        for run in list(self.runs.values()):
            until = run.sequencer.idle_until
            if until is None or until <= soon or run.held:
                run.idle_since = None
            elif run.idle_since is None:
                run.idle_since = now
            elif now - run.idle_since >= after:
                run.leave(Leaving.EVICTED)

    def leave_all(self, why: Leaving) -> Sequence[Run]:
        """Tell everything in memory to leave it; return what is to be seen out. What comes later was not told."""
        self._drop_departed()
        runs = [*self.runs.values(), *self._departing]
        for run in runs:
            run.leave(why)
        return runs

    async def see_out(self, runs: Sequence[Run | Replay], grace: float) -> None:
        """Wait until runs are out of memory; what does not go within the grace is closed."""
        with trio.move_on_after(grace):
            await self._all_out(runs)
        for run in runs:
            if not run.out:
                run.sequencer.close()
        with trio.move_on_after(grace):
            await self._all_out(runs)
        for run in runs:
            if not run.out:
                logger.error("%s; the engine closes when that has ended", trouble.held_up(run.sequencer))
        await self._all_out(runs)

    async def _all_out(self, runs: Sequence[Run | Replay]) -> None:
        for run in runs:
            while not run.out:
                if self.went.is_set():  # else somebody waits for it already
                    self.went = trio.Event()
                await self.went.wait()

    def forget_all(self) -> None:
        """The engine is closed: whoever waits for a workflow that could not be entered as released need not."""
        for run in list(self.runs.values()):
            self.left(run)
        self.waiters.tell_all()
        self.readers.tell_all()
