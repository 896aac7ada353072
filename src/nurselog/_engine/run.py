"""One workflow in an engine's memory: what its sequencer and the journal tell each other."""

from __future__ import annotations

import enum
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._errors import NurselogError, PromiseSettled, StoreCorrupt, StoreTooNew
from .._flow.body import Body, Elsewhere
from .._flow.children import Child
from .._flow.names import plain_text
from .._flow.run import run_workflow
from .._flow.scope import CancelScope
from .._flow.sequencer import Sequencer
from .._flow.timers import Timer
from .._flow.times import FAR
from .._flow.workflow import Workflow
from .._instrument import Life, Parting
from .._log.events import (
    ROW_FORMAT,
    SEMANTICS,
    Cause,
    ChildEnded,
    ChildStarted,
    Ended,
    Event,
    Result,
    Row,
    ScopeCancelled,
    Started,
    decode_event,
    encode_event,
)
from .._log.lifecycle import Status
from ..abc import Clock, Codec, Database, Message, Post, Standing, WorkflowKey
from ..abc import Workflow as WorkflowRow
from .instruments import Teller
from .messages import Kind, Letter, body_of
from .patience import patiently

if TYPE_CHECKING:
    from .._flow.venue import Venue
    from .runner import Runner

END_STATUS = {
    Result.VALUE: Status.COMPLETED,
    Result.ERROR: Status.FAILED,
    Result.CANCELLED: Status.CANCELLED,
    Result.KILLED: Status.KILLED,
}
"""The status that an end leads to."""


def standing_after(event: Event) -> Standing | None:
    """Return what an event changes in the workflow's row."""
    match event:
        case Ended(result=result):
            return _ended(result)
        case ScopeCancelled(by=Cause.EXTERNAL, path=""):
            return Standing(status=Status.CANCELLING, due_at=0)
        case _:
            return None


def _ended(result: Result) -> Standing:
    return Standing(status=END_STATUS[result], due_at=None, release=True)


def _stuck(problem: str) -> Standing:
    return Standing(status=Status.STUCK, due_at=None, release=True, problem=problem)


def started_of(rows: Sequence[Row]) -> Started:
    """Return the first event of a log that this release can follow.

    Raises:
        StoreTooNew: if it was written by a newer release.
        msgspec.DecodeError: if it cannot be read.
    """
    found = max(row.format for row in rows)
    if found > ROW_FORMAT:
        raise StoreTooNew("the workflow's log", found, ROW_FORMAT)
    started = decode_event(rows[0].event)
    if not isinstance(started, Started):
        raise StoreCorrupt("the workflow's log does not begin with its start")
    if started.semantics > SEMANTICS:
        raise StoreTooNew("the workflow's log", started.semantics, SEMANTICS)
    return started


def parting_words(id: str, parent: WorkflowKey | None, event: Ended, value: bytes | None) -> Post | None:
    """Return what a workflow that ends has to tell its parent, if it has one."""
    if parent is None:
        return None
    path = id.rpartition("/")[2]
    ended = ChildEnded(path=path, result=event.result, reason=event.reason)
    return Post(key=parent, kind=Kind.ENDED.value, body=body_of(event=ended, value=value or b""), once=f"ended {path}")


class Leaving(enum.Enum):
    """Why a workflow leaves memory before its end."""

    CLOSING = enum.auto()
    """The engine closes: anybody may go on with it at once."""
    SPOILED = enum.auto()
    """Somebody has changed its state, which is none of its log's: anybody may go on with it at once, here above all."""
    EVICTED = enum.auto()
    """It only waits for a time."""
    LOST = enum.auto()
    """Somebody else owns it: nothing more may be said about it."""
    KILLED = enum.auto()
    """Its end is in the log already."""


_PARTINGS: dict[Leaving | None, Parting] = {Leaving.EVICTED: Parting.EVICTED, Leaving.LOST: Parting.LOST}
"""How those that look on are told why; all else is a suspension, also that by something that no code may handle."""


class Run:
    """A workflow that this engine has in memory: its `Host`, and its `Writer`."""

    def __init__(
        self, runner: Runner, workflow: Workflow[..., Any], row: WorkflowRow, writer: int, rows: Sequence[Row]
    ) -> None:
        self._runner = runner
        self.clock: Clock = runner.clock
        self.codec: Codec = runner.codec
        self.limiter: trio.CapacityLimiter = runner.limiter
        self.cores: trio.CapacityLimiter = runner.cores
        self.max_payload: int = runner.max_payload
        self.key: WorkflowKey = row.key
        self.number: int = writer
        self.id: str = row.id
        self.parent: WorkflowKey | None = row.parent
        self.workflow: Workflow[..., Any] = workflow
        self.input: bytes = rows[0].value or b""
        started = started_of(rows)
        self._headers = started.headers
        self.sequencer: Sequencer = Sequencer(
            host=self, watch=runner.watch, id=row.id, seed=started.seed, writer=writer, rows=rows
        )
        self.status: Status = Status.CANCELLING if self.sequencer.cursor.cancelled else Status.RUNNING
        """RUNNING or CANCELLING, until it has ended. By the log: the row does not tell of a fork or a stuck one."""
        self.leaving: Leaving | None = None
        self.wake_at: int | None = None
        self.end: tuple[Ended, bytes | None] | None = None
        """How it ended, once that is durable."""
        self.out: bool = False
        """Whether it has left memory."""
        self.gone: trio.Event = trio.Event()
        """Set when everything about it is durable."""
        self.entered: set[int] = set()
        """Messages that are on their way into its log, as far as anybody knows."""
        self.held: int = 0
        """The number of the last message that was left in the store because it has not read those that it has; or 0."""
        self.refilled: bool = False
        """Whether there is room for those by now, and nobody has looked since."""
        self.idle_since: float | None = None
        self._last_said = False
        """Whether the standing that it leaves with is on its way."""
        self._teller: Teller | None = None
        """Who tells those that look on; None where nobody does."""
        if runner.instruments is not None:
            life = Life(id=row.id, started=started, began_at=rows[0].at, writer=writer)
            self._teller = Teller(runner.instruments, life)
            self._teller.taken_up(rows, self.sequencer.cursor)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else owns it."""
        return self.leaving is Leaving.LOST

    def go(self) -> Coroutine[Any, Any, None]:
        """Run it in a task until it leaves memory."""
        return run_workflow(self.sequencer, self.workflow, self.input)

    # -- what the workflow asks for --------------------------------------------------------------

    def append(self, row: Row, event: Event) -> None:
        """Queue a row, and what it changes in the workflow's standing."""
        journal = self._runner.journal
        if isinstance(event, ChildStarted):
            self._runner.office.make_child(self, self.sequencer.family.children[event.path], row.at)
        journal.append(self, row, event)
        if isinstance(event, (ScopeCancelled, Ended)):
            self._stand_after(event)
            if isinstance(event, Ended):
                self._tell_parent(event, row.value)

    def _stand_after(self, event: Event) -> None:
        standing = standing_after(event)
        if standing is not None:
            self.status = standing.status  # at once: what it leaves with may go into the same batch
            self._runner.journal.stand(self, standing)
            self._last_said = standing.release

    def _tell_parent(self, event: Ended, value: bytes | None) -> None:
        post = parting_words(self.id, self.parent, event, value)
        if post is not None:
            self._runner.journal.post(self, post)

    def cancel_child(self, child: Child) -> None:
        """Have a child cancelled."""
        self._runner.office.cancel_child(self, child)

    def make_orphan(self, child: Child) -> None:
        """Make a child that the log has as another workflow's."""
        self._runner.office.make_child(self, child, self.clock.utc(), partial(self.sequencer.family.arranged, child))

    def check_workflow(self, workflow: Workflow[..., Any]) -> None:
        """See that one workflow name means one function."""
        self._runner.table.add(workflow)

    def start(self, body: Body) -> None:
        """Start a step's body."""
        if self._teller is not None:
            self._teller.begins(body)
        self._runner.bench.start(body)

    async def settled(self) -> None:
        """Wait while nobody knows whether others may have taken this over."""
        await self._runner.tenure.settled()

    async def elsewhere(self, venue: Venue) -> Elsewhere:
        """Return where functions of this venue run."""
        return await self._runner.annexes[venue].get()

    def arm(self, timer: Timer) -> None:
        """Have a timer rung when it is due."""
        self._runner.timers.arm(timer, self.sequencer.due)

    async def submit(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], id: str) -> None:
        """Make a workflow that has no parent, unless there is the same already."""
        workflow = self._runner.table.find(name)
        assert workflow is not None, "it was checked when it was called"
        await patiently(partial(self._runner.starter.submit, workflow, args, kwargs, id))

    async def send(self, id: str, topic: str, value: object, key: str) -> None:
        """Leave a message for a workflow's mailbox."""
        await self._reach(id)
        [answer] = await patiently(partial(self._runner.office.send, [Letter(id, topic, value, key)]))
        if isinstance(answer, Exception):
            raise answer

    async def resolve(self, promise: str, value: object) -> None:
        """Settle a promise with a value, unless that was done."""
        await self._reach(promise)
        with suppress(PromiseSettled):
            await patiently(partial(self._runner.office.resolve, promise, value))

    async def reject(self, promise: str, error: Exception) -> None:
        """Settle a promise with an error, unless that was done."""
        await self._reach(promise)
        with suppress(PromiseSettled):
            await patiently(partial(self._runner.office.reject, promise, error))

    async def _reach(self, id: str) -> None:
        """See that a child can be reached that was started just now: it may still be on its way to the store."""
        if plain_text("an id", id).startswith(f"{self.id}/"):
            await self._runner.journal.flushed()

    def database(self, name: str | None) -> Database:
        """Return the database of this name."""
        return self._runner.databases.find(name)

    def read(self) -> None:
        """It has read a message: once there is much room, what was left in the store for want of it is entered."""
        self._refill(self._runner.max_inbox // 2)

    def hungry(self) -> None:
        """It waits for a message, which may be in the store, behind others: any room will do."""
        self._refill(self._runner.max_inbox - 1)

    def _refill(self, most: int) -> None:
        if self.held and self.sequencer.inbox.unread <= most:
            self.held, self.refilled = 0, True
            self._runner.mail.set()

    def check_name(self, name: str, function: object) -> None:
        """See that one step name means one function."""
        self._runner.steps.check(name, function)

    def goes_on(self) -> bool:
        """It lives on."""
        if self._teller is not None and self.sequencer.cursor.lived:
            self._teller.replayed()
        return True

    def headers_for(self, child: Child) -> dict[str, str]:
        """Return what goes along with a child."""
        return self._headers if self._teller is None else self._headers | self._teller.headers(child.scope.path)

    def scope_entered(self, scope: CancelScope) -> None:
        """Its code has entered a scope."""
        if self._teller is not None:
            self._teller.entered(scope)

    def scope_left(self, scope: CancelScope) -> None:
        """Its code has left a scope."""
        if self._teller is not None:
            self._teller.left(scope)

    def held_up(self, path: str, seconds: float) -> None:
        """A turn of it was long."""
        if self._teller is not None:
            self._teller.held_up(path, seconds)

    def waits(self) -> None:
        """It only waits: others may need its place."""
        self._runner.waits(self)

    def stuck(self, problem: NurselogError) -> None:
        """It cannot go on, which is said at once: what its code waits in may not let it go for long."""
        self._last_said = True
        self._runner.journal.stand(self, _stuck(str(problem)))

    def over(self) -> None:
        """The workflow has left memory."""
        sequencer = self.sequencer
        self.out = True
        self._runner.went.set()
        if sequencer.fatal is not None:
            self._runner.crash(sequencer.fatal)
        if self._last_said and self.leaving is not Leaving.LOST:
            if self.gone.is_set():
                self.let_go()
            return
        standing = self._standing_at_exit()
        if standing is None:
            self._runner.left(self)
        else:
            self._runner.journal.stand(self, standing)

    def let_go(self) -> None:
        """Nothing more is heard of its code: the two lead to each other, and circles are the collector's work."""
        self.sequencer.exposed = None
        del self.sequencer

    # -- what the journal says -------------------------------------------------------------------

    def committed(self, row: Row, event: Event) -> None:
        """A row is durable."""
        if self._teller is not None:
            self._teller.recorded(row, event)
        self._runner.readers.tell_of(self.key, event)
        if isinstance(event, Ended):
            self.end = (event, row.value)
            if self.parent is not None:
                self._runner.office.left(self.parent)
        self.sequencer.committed(row)

    def standing_committed(self, standing: Standing) -> None:
        """A change of standing is durable."""
        if standing.status is Status.STUCK:
            self._runner.got_stuck(self.id, self.workflow.name, standing)
        if standing.release:
            self._runner.left(self)

    def refused(self) -> None:
        """Somebody else has taken the workflow over."""
        if self.gone.is_set():
            return  # a message came when it had ended, and its removal is refused to who owns it no more
        self.leave(Leaving.LOST)
        self.leaving = Leaving.LOST
        if self.out:  # its last words were refused
            self._runner.left(self)

    def _standing_at_exit(self) -> Standing | None:
        """Return what is to be said when it has left memory without an end."""
        ended = self.sequencer.ended
        if self.leaving is Leaving.LOST:
            return None
        if ended is not None:  # by a log that had its end already
            return standing_after(ended)
        if self.leaving is Leaving.EVICTED:
            status = Status.WAITING if self.status is Status.RUNNING else self.status
            due = None if self.wake_at == FAR else self.wake_at
            return Standing(status=status, due_at=due, release=True)
        return Standing(status=self.status, due_at=0, release=True)

    async def has_state(self) -> bool:
        """Whether its state is in memory, once the last event that its code was given is durable, or lost."""
        await self.sequencer.explained()
        return not self.out and self.sequencer.has_state

    def tell_parting(self) -> None:
        """Everything about it is durable: tell those that look on."""
        if self._teller is None:
            return
        if self.sequencer.problem is not None:
            why = Parting.STUCK
        elif self.sequencer.ended is not None:
            why = Parting.ENDED
        else:
            why = _PARTINGS.get(self.leaving, Parting.SUSPENDED)
        self._teller.over(self.sequencer, why)

    # -- leaving ---------------------------------------------------------------------------------

    def leave(self, why: Leaving) -> None:
        """Take the workflow out of memory."""
        if self.leaving is None and not self.sequencer.suspending:
            self.leaving = why
            self.wake_at = self.sequencer.idle_until
            self.sequencer.suspend()

    def kill(self) -> None:
        """End it without running its code: the end is in the log first."""
        if not self.sequencer.suspending and self.sequencer.ended is None:
            ended = Ended(result=Result.KILLED)
            self.sequencer.log.append(ended, after=self.sequencer.cursor.delivered)
            self.sequencer.end(ended)
            self.leave(Leaving.KILLED)


class Unreadable:
    """The writer for a workflow whose log cannot be read: it is stuck, or killed without a look at what it did."""

    def __init__(self, runner: Runner, row: WorkflowRow, writer: int) -> None:
        self._runner = runner
        self._id, self._name, self._parent = row.id, row.name, row.parent
        self.key: WorkflowKey = row.key
        self.number: int = writer

    def stuck(self, problem: Exception, messages: Sequence[Message]) -> None:
        """Say that it cannot go on.

        A cancellation stays where it is, for the release that can read the log; a resume was for this look.
        """
        text = f"its log cannot be read by this release: {problem}"
        journal = self._runner.journal
        journal.stand(self, _stuck(text))
        for message in messages:
            if message.kind == Kind.RESUME.value:
                journal.take(self, message.number)

    def kill(self, rows: Sequence[Row]) -> None:
        """Append the end behind the last row, which needs no more of it than its place; messages go with the end."""
        last, ended = rows[-1], Ended(result=Result.KILLED)
        at = max(last.at, self._runner.clock.utc())
        self._runner.journal.append(self, Row(last.seq + 1, at, last.after, self.number, encode_event(ended)), ended)
        self._runner.journal.stand(self, _ended(Result.KILLED))
        post = parting_words(self._id, self._parent, ended, None)
        if post is not None:
            self._runner.journal.post(self, post)

    def committed(self, row: Row, event: Event) -> None:  # noqa: ARG002 - it is the end
        """Its end is in the log."""
        if self._parent is not None:
            self._runner.office.left(self._parent)

    def standing_committed(self, standing: Standing) -> None:
        """How it stands is there for everybody to see."""
        if standing.status is Status.STUCK:
            self._runner.got_stuck(self._id, self._name, standing)
        self._runner.waiters.tell(self.key)
        self._runner.readers.tell(self.key)

    def refused(self) -> None:
        """Somebody else owns it."""
