"""The sequencer: one workflow's scheduler on top of Trio. It hands out the turn, and delivers the log's events.

The rule that everything rests on: workflow code moves only on its turn, and the log decides the turns. A strand runs
until it parks. As long as any strand can move, strands move, one at a time, in the order of their paths. Only when
none can is the workflow *quiet*, and only then does the next thing happen, in this order:

1. the next event of the recorded log, while there is one (replay);
2. what was due while nobody was there: overdue timers;
3. the bodies of steps that were called and have no outcome: they start;
4. the next event that was appended meanwhile, once it is durable (live).

So what the code sees depends on the log alone. Live and replay go the same way: a value reaches the code only when it
is durable, and the code cannot tell whether it was committed a moment or a year ago.

The value of a message, or of a child's end, has been durable since it was left in the inbox, and it stays there until
the commit that has its row. What is not durable yet is its place among the other events. The code need not wait for
that: all that it writes stands behind the row, in the same commit or a later one, so a crash that loses the row loses
whatever followed from it. What leaves the workflow by another way than its log must wait: the bodies of steps start,
and queries are answered, when the last event that the code was given is durable. This saves a conversation every other
commit: a message and the answer to it go together, and so do a child's end and the start of the next one.

`_move` and `_next` look for the next thing after every step of a strand, after every commit and when something has come
from outside; there is no task of its own.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled

from .._errors import NonDeterminismError, NurselogError, Suspended
from .._log.cursor import Cursor, Entry, Mismatch, describe
from .._log.events import (
    Cause,
    ChildEnded,
    Event,
    Received,
    Result,
    Row,
    ScopeCancelled,
    StepEnded,
    TimerFired,
)
from .._log.identity import Path
from . import trouble
from .family import Family
from .groups import find_fatal
from .inbox import Inbox
from .log import Log
from .strand import Strand, logger
from .swept import Swept
from .timers import Timer, Timers
from .times import FAR
from .where import caller

if TYPE_CHECKING:
    from .call import Call
    from .host import Host
    from .scope import CancelScope
    from .watch import Watch

_BREATH = 512
"""How many events are replayed without a pause before the host's other tasks get a chance."""


class Phase(enum.Enum):
    """Where a workflow in memory stands."""

    RUNNING = enum.auto()
    SUSPENDING = enum.auto()
    OVER = enum.auto()


class Exposed(NamedTuple):
    """What the workflow lets queries see."""

    state: object


class Sequencer:
    """One workflow in memory."""

    __slots__ = (
        "_breath",
        "_first",
        "_given",
        "_live",
        "_waiting",
        "_woken",
        "adopting",
        "answers",
        "calls",
        "cursor",
        "ended",
        "exposed",
        "family",
        "fatal",
        "generators",
        "granting",
        "host",
        "id",
        "inbox",
        "log",
        "now",
        "phase",
        "problem",
        "root",
        "runnable",
        "seed",
        "strands",
        "suspending",
        "timers",
        "turn",
        "turns",
        "unawaited",
        "watch",
    )

    root: CancelScope
    """Around all its code."""

    turns: int
    """How many turns its strands have had in this life."""

    def __init__(self, *, host: Host, watch: Watch, id: str, seed: str, writer: int, rows: Sequence[Row]) -> None:
        self.host: Host = host
        self.watch: Watch = watch
        self.id: str = id
        self.seed: str = seed
        self.log: Log = Log(host, rows, writer)
        self.cursor: Cursor = self.log.cursor
        self.timers: Timers = Timers(host.arm)
        self.inbox: Inbox = Inbox(host, self.cursor)
        self.family: Family = Family(host)
        self.now: int = rows[0].at
        """The time of the last delivered event, UTC microseconds."""
        self.phase: Phase = Phase.RUNNING
        self.suspending: bool = False
        self.problem: NurselogError | None = None
        """Why it is stuck."""
        self.fatal: BaseException | None = None
        self.ended: Event | None = None
        """Its end, once its code or somebody outside has brought that about."""
        self.strands: set[Strand] = set()
        """Those that are alive."""
        self.turn: Strand | None = None
        self.turns = 0
        self.runnable: int = 1
        """How many of its tasks Trio has scheduled; the first is from the beginning, and nothing moves before it."""
        self.granting: bool = False
        """While the sequencer itself wakes strands."""
        self.adopting: Path | None = None
        """The path of the durable child that is being spawned just now."""
        self.calls: dict[str, Call] = {}
        """Steps whose outcome has not been delivered."""
        self.unawaited: dict[str, trouble.Unawaited] = {}
        """What was called and not awaited yet, by path."""
        self.generators: Swept[AsyncGenerator[Any, Any]] = Swept(_is_finished)
        """Async generators that its code was the first to iterate, so that only the workflow closes them.

        They may be handed on to other strands: each is kept until the workflow ends, if it is not finished before.
        """
        self.answers: dict[str, bool] = {}
        """What `patched` said."""
        self.exposed: Exposed | None = None
        self._woken: list[tuple[Path, Strand]] = []
        self._waiting: list[Call] = []
        """Calls whose body has not started."""
        self._live = False
        self._given = 0
        """The seq of the last event delivered."""
        self._first = 0
        """Events up to this seq were due while nobody was there: no body starts before they are delivered."""
        self._breath = 0

    # -- the turn --------------------------------------------------------------------------------

    def take_turn(self, strand: Strand) -> bool:
        """Give the turn to a strand that Trio has woken, if nobody else could have it."""
        if self.runnable == 1 and not self._woken and self.turn is None:
            self.turn = strand
            return True
        return False

    async def queue(self, strand: Strand) -> None:
        """Park a strand that Trio has woken until it gets the turn."""
        heapq.heappush(self._woken, (strand.path, strand))
        await wait_task_rescheduled(lambda _: Abort.FAILED)

    def parked(self) -> None:
        """A strand's step is over: go on if the workflow has become quiet."""
        if self.runnable == 0:
            self._move()

    def _move(self) -> None:
        try:
            while self.runnable == 0 and self.turn is None and self.phase is Phase.RUNNING:
                if self._woken:
                    strand = heapq.heappop(self._woken)[1]
                    self.turn = strand
                    self.granting = True
                    reschedule(strand.task)
                    self.granting = False
                elif not self._next():
                    break
        except NurselogError as exc:
            self.stuck(exc)
        except BaseException as exc:  # noqa: BLE001 - whatever left an instrument's hook would vanish, and the workflow with it
            self.fail(exc)

    def _next(self) -> bool:
        """Make the next thing happen; False if there is nothing to do but wait."""
        if self.cursor.left:
            try:
                self._deliver(self.cursor.take())
            except Mismatch as exc:
                raise self._changed(exc, "") from None
        elif not self._live:
            return self._go_live()
        elif (self._waiting or self.family.told) and self._given >= self._first:
            if not self._is_explained:
                return False
            self._start_bodies()
            if self.family.told:
                self.family.cancel_told()
        elif self.log.coming and self.log.has_come:
            self.cursor.delivered += 1
            self._deliver(self.log.coming.popleft())
        else:
            self._check_waiting()
            return False
        return True

    def inside(self) -> bool:
        """Whether the running code is the workflow's own, or the sequencer's."""
        if self.granting or self.suspending:
            return True
        try:
            strand = self.watch.strands.get(current_task())
        except RuntimeError:
            return False
        return strand is not None and strand.sequencer is self

    # -- events ----------------------------------------------------------------------------------

    def note(self, event: Event, value: bytes | None = None, *, where: str | None = None) -> Event:
        """Record what the code itself decides, or match it with what is recorded already, which is then returned."""
        try:
            return self.log.note(event, value)
        except Mismatch as exc:
            self.stuck(self._changed(exc, event.path, where or caller()))
            raise Suspended from None

    def committed(self, row: Row) -> None:
        """A row is durable."""
        self.log.committed(row)
        if self.runnable:
            return
        if self.log.coming or self._waiting or self.family.told or self.log.all_durable:  # else nothing is new
            self._move()

    def replayed(self, path: str) -> tuple[StepEnded, bytes | None] | None:
        """Return the outcome of the step at `path` if it is the next recorded event, and nobody else can move.

        The fast path of replay: such a step needs no task, no turn and no trip through Trio's scheduler.
        """
        left = self.cursor.left
        if not left or self.runnable != 1 or self._woken or self._breath >= _BREATH:
            return None
        entry = left[0]
        event = entry.event
        if event.path != path or type(event) is not StepEnded or event.result is Result.CANCELLED:
            return None
        self._breath += 1
        try:
            self.cursor.advance()
        except Mismatch as exc:
            self.stuck(self._changed(exc, path, caller()))
            raise Suspended from None
        left.popleft()
        self.now = entry.row.at
        return event, entry.row.value

    def _deliver(self, entry: Entry) -> None:
        row, event = entry.row, entry.event
        self.now = row.at
        self._given = row.seq
        self._breath = 0
        self.granting = True
        try:
            match event:
                case StepEnded(path=path):
                    call = self.calls.pop(path, None)
                    if call is None:
                        raise trouble.changed(self, describe(event), "no such call", path)
                    call.ended(event, row.value)
                case TimerFired(path=path, due=due):
                    self.timers.fire(path, due)
                case ChildEnded(path=path):
                    self.family.children.pop(path).ended(event, row.value)  # it is there: its start was met before
                case Received():
                    self.inbox.deliver(entry, event)
                case ScopeCancelled(path=path, reason=reason):
                    if scope := self.open_scope(path):
                        scope.cancel_by(Cause.EXTERNAL, reason)
                case _:  # pragma: no cover - is_delivered() admits no others
                    raise AssertionError(event)
        finally:
            self.granting = False

    # -- going live ------------------------------------------------------------------------------

    def _go_live(self) -> bool:
        """The recorded log is used up: from here on things happen for the first time, if they are to."""
        try:
            self.cursor.close()
        except Mismatch as exc:
            raise self._changed(exc, "") from None
        if not self.host.goes_on():
            return False
        self.log.append_late()
        self.family.adopt(self.cursor.orphans)
        for timer in self.timers.go_live(self.host.clock.utc()):
            self._log_due(timer)
        self._live = True
        return True

    @property
    def replaying(self) -> bool:
        """Whether the code that runs has most likely run before, in a former life."""
        return self.cursor.lived and not self._live

    @property
    def has_state(self) -> bool:
        """Whether its code is in memory, and has followed its recorded log: then its state is that of today."""
        return self._live and self.phase is Phase.RUNNING and self.ended is None and self._is_explained

    @property
    def _is_explained(self) -> bool:
        """Whether all events that the code was given are durable."""
        return self._given <= self.log.durable

    async def explained(self) -> None:
        """Wait until the last event that the code was given is durable, or the log is closed.

        Can be cancelled, but may be no checkpoint.
        """
        if not self._is_explained and not self.log.closed:
            await self.log.reached(self._given)

    def due(self, timer: Timer) -> None:
        """A timer is due, says the host."""
        self._log_due(timer)
        self.parked()  # if nobody wants it, it may have been all that the workflow seemed to wait for

    def _log_due(self, timer: Timer) -> None:
        """Log that a timer is due, unless it is over or logged already."""
        if self.timers.has(timer) and not timer.logged:
            timer.logged = True
            self._append_first(TimerFired(path=timer.path, due=timer.due))

    def cancel(self, reason: str | None, path: str = "") -> None:
        """Somebody outside cancels the workflow, or a scope of it; one that is left by then is nobody's any more."""
        self._append_first(ScopeCancelled(path=path, by=Cause.EXTERNAL, reason=reason))

    def receive(self, event: Received | ChildEnded, value: bytes) -> None:
        """Somebody outside has sent a message or settled a promise, or a child has ended."""
        if isinstance(event, Received):
            self.inbox.entered()
        self._append_first(event, value)
        self.parked()  # its value is durable

    def open_scope(self, path: str) -> CancelScope | None:
        """Return the scope at a path, if it is open."""
        return next((scope for scope in self.scopes() if scope.path == path), None)

    def scopes(self) -> Iterator[CancelScope]:
        """Yield the scopes that are open, each as often as strands are in it; that of the workflow itself is first."""
        yield self.root
        for strand in self.strands:
            scope = strand.scope
            while scope is not None:
                yield scope
                scope = scope._outer

    def _append_first(self, event: Event, value: bytes | None = None) -> None:
        row = self.log.append(event, value)
        if row is not None and not self._live:
            self._first = row.seq

    def add_call(self, call: Call) -> None:
        """Enter a step that waits for its outcome; its body starts when the workflow is quiet."""
        self.calls[call.path] = call
        self._waiting.append(call)

    def _start_bodies(self) -> None:
        waiting, self._waiting = self._waiting, []
        if len(waiting) > 1:
            waiting.sort(key=lambda call: call.operation.path)
        histories = self.cursor.histories
        self.granting = True
        try:
            for call in waiting:
                if call.path in self.calls:  # else its outcome has been replayed since it was called
                    call.start(histories.pop(call.path, None))
        finally:
            self.granting = False

    @property
    def idle_until(self) -> int | None:
        """When the next timer is due, if timers, messages and children are all that it waits for; None if it is busy.

        UTC microseconds; `FAR` if there is no timer. Everything it has written must be durable too: only then may it
        leave memory.
        """
        busy = self.runnable or self.calls or self.log.coming or not self.log.all_durable or not self._live
        if busy or self.family.is_arranging:
            return None
        due = self.timers.next_due
        return FAR if due is None and (self.family.children or self.inbox.is_awaited) else due

    # -- what must not happen --------------------------------------------------------------------

    def _check_waiting(self) -> None:
        """See that it waits for something that the log could bring."""
        if self.calls or not self.log.all_durable or self.ended is not None:
            return
        if not (self.timers or self.family.children or self.inbox.is_awaited):
            raise trouble.deadlock(self)
        self.host.waits()

    def foreign(self, strand: Strand) -> None:
        """A strand was woken by something that is neither in the log nor another strand of this workflow."""
        self.stuck(trouble.foreign(strand))

    def _changed(self, exc: Mismatch, path: str, where: str | None = None) -> NonDeterminismError:
        return trouble.changed(self, exc.recorded, exc.called, path, where)

    # -- leaving memory --------------------------------------------------------------------------

    def end(self, event: Event) -> None:
        """The workflow's last row is on its way: nothing follows it."""
        self.ended = event
        self.log.close()

    def stuck(self, problem: NurselogError) -> None:
        """The workflow cannot go on with the code as it is."""
        if not self.suspending:
            self.problem = problem
            self.suspend()
            self.host.stuck(problem)

    def fail(self, exc: BaseException) -> None:
        """Something came up that is neither the code's nor the log's: this workflow is stuck, and the others go on."""
        if fatal := find_fatal(exc):
            self.crash(fatal)
        elif not self.suspending:
            logger.error("workflow %r cannot go on", self.id, exc_info=exc)
            self.stuck(trouble.unexpected(self, exc))

    def crash(self, fatal: BaseException) -> None:
        """Something like a KeyboardInterrupt has reached the workflow: it is not the workflow's to handle."""
        if self.fatal is None and not self.suspending:
            self.fatal = fatal
        self.suspend()

    def suspend(self) -> None:
        """Take the workflow out of memory; from here on nothing of it is recorded."""
        if self.suspending or self.phase is Phase.OVER:
            return
        self.phase, self.suspending = Phase.SUSPENDING, True
        self.log.close()
        self.timers.clear()
        for call in self.calls.values():
            call.abandon()
        for strand in list(self.strands):
            strand.interrupt()

    def close(self) -> None:
        """Close what has not gone by itself after a suspension."""
        for strand in list(self.strands):
            strand.closing = True


def _is_finished(generator: AsyncGenerator[Any, Any]) -> bool:
    return generator.ag_frame is None  # type: ignore[attr-defined]  # the stubs lack it
