"""One life of a workflow: an engine in virtual time, from its opening to its close, on a log that may have begun.

A crash that unwinds nothing is simpler to make than to survive: cut the log anywhere, and begin another life with what
is left. What a life leaves behind is therefore its rows, and nothing here ever kills a process.

No time passes but virtual time. UTC follows Trio's clock, and a clock that jumps whenever all tasks wait makes a year
of sleep last as long as an instruction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar, cast

import trio
from trio.testing import wait_all_tasks_blocked

from .. import (
    Engine,
    Workflow,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowStuck,
    open_engine,
)
from .._engine.ends import value_of
from .._flow.names import label
from .._flow.workflow import unwrap_workflow
from ..abc import Clock, Codec, Store
from ..lowlevel import Ended, Event, JsonCodec, LogEntry, Received, Row, Started, decode_event, encode_event
from .clock import BEGIN, Hold, VirtualClock, hold_in_threads, in_virtual_time, refuse_trio
from .fakes import Fakes, fakes, standing_in
from .keeper import ID, Mail
from .memory import MemoryStore
from .recorder import HeldStore, OnCommit, Recorder

T = TypeVar("T")

LONGEST = 10 * 366 * 86400.0
"""Virtual seconds after which a workflow is taken to wait for ever."""


def in_memory(clock: Clock) -> Store:
    """Return a store for one life."""
    return cast("Store", MemoryStore(clock))


# -- how a life goes, and what became of it ------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a life goes."""

    seed: int = 0
    """Of Trio's scheduler: in which order tasks run that could."""
    cancel_after: int | None = None
    """Cancel the workflow from outside when so many moves of this life are durable; 0: before it goes on at all."""
    settled: bool = False
    """Cancel it only when everything has come to a wait after that: steps are under way."""
    scope: str = ""
    """Cancel only the scope at this path."""
    note_scopes: bool = False
    """Tell which scopes are open."""
    close_after: int | None = None
    """Close the engine when so many moves of this life are durable: the workflow is suspended."""
    id: str = ID
    """The workflow's: what it tells of it in its steps' arguments must be what the log has."""
    follow: bool = False
    """Follow the log to its last row, and close before there is another one; no step runs."""
    store: Callable[[Clock], Store] = in_memory
    """Makes an empty store."""
    codec: Codec = field(default_factory=JsonCodec)
    """Turns values into bytes."""
    instruments: tuple[trio.abc.Instrument, ...] = ()
    """Who looks on."""

    @property
    def begins_cancelled(self) -> bool:
        """Whether the workflow finds that it was cancelled when nobody ran it."""
        return self.cancel_after == 0 and not self.settled and not self.scope


@dataclass(frozen=True)
class Returned(Generic[T]):
    """The workflow returned."""

    value: T


@dataclass(frozen=True)
class Raised:
    """The workflow failed. Two are equal if type, text, notes, causes and members are."""

    error: Exception = field(compare=False)
    shape: Any = field(repr=False, default=None)

    @classmethod
    def of(cls, error: Exception) -> Raised:
        """Keep an error, and what makes it the same as another."""
        return cls(error, _shape(error))


@dataclass(frozen=True)
class Cancelled:
    """The workflow was cancelled."""

    reason: str | None


@dataclass(frozen=True)
class Stuck:
    """The workflow cannot go on: its code does not follow its log."""

    problem: str


@dataclass(frozen=True)
class Hung:
    """The workflow does not come to an end."""

    circling: bool = False
    """Whether it goes in a circle; otherwise it waits for something that will not come."""


@dataclass(frozen=True)
class Closed:
    """The engine was closed before the workflow ended."""


Outcome = Returned[Any] | Raised | Cancelled | Stuck | Hung | Closed


def _shape(error: BaseException) -> Any:
    """Return what two errors share that are the same: all but tracebacks and context."""
    members, text = _members(error)
    cause = None if error.__cause__ is None else _shape(error.__cause__)
    return type(error).__qualname__, text, members, tuple(getattr(error, "__notes__", ())), cause


def _members(error: BaseException) -> tuple[Any, str]:
    if not isinstance(error, BaseExceptionGroup):
        return None, str(error)
    group = cast("BaseExceptionGroup[BaseException]", error)
    return tuple(map(_shape, group.exceptions)), group.message


@dataclass(frozen=True)
class Life:
    """What a life leaves behind."""

    rows: tuple[Row, ...]
    """The whole log at its end."""
    begun_with: int
    """How many of the rows were there when it began."""
    outcome: Outcome
    ahead: tuple[Row, ...] = ()
    """What it would have written next, where it only followed its log."""
    where: str | None = None
    """File and line where its code stood last: when it waited for its last event, or was left waiting."""
    cancelled_at: str | None = None
    """File and line where its code stood when it was cancelled from outside."""
    scopes: Mapping[int, Sequence[str]] = field(default_factory=dict[int, Sequence[str]])
    """Which scopes inside of it were open after how many moves, by their paths."""
    mail: tuple[Mail, ...] = field(default=(), repr=False)
    """What was left for its mailboxes and promises."""

    @property
    def events(self) -> list[Event]:
        """The whole log's events."""
        return [decode_event(row.event) for row in self.rows]

    @property
    def entries(self) -> list[LogEntry]:
        """The whole log, as it is drawn."""
        return [LogEntry.of(row) for row in self.rows]

    def mail_at(self, rows: int) -> tuple[Mail, ...]:
        """Return what had been left when so many rows were durable."""
        return tuple(one for one in self.mail if one.rows <= rows)


def without_value(life: Life) -> Life:
    """Return what is plain of a life, to be sent to another process: the log has what the end says."""
    ended = isinstance(life.events[-1], Ended) and isinstance(life.outcome, Returned | Raised)
    return replace(life, outcome=Closed()) if ended else life


def with_value(life: Life, workflow: Workflow[..., Any], codec: Codec) -> Life:
    """Return a life that came without a value as it was."""
    end = end_of(life.rows, workflow, codec) if isinstance(life.outcome, Closed) else None
    return replace(life, outcome=end or life.outcome)


def end_of(rows: Sequence[Row], workflow: Workflow[..., Any], codec: Codec) -> Outcome | None:
    """Return what a log says became of its workflow; None if it does not."""
    event = decode_event(rows[-1].event)
    if not isinstance(event, Ended):
        return None
    try:
        return Returned(value_of(ID, event, rows[-1].value, codec, workflow.returns))
    except Exception as exc:  # noqa: BLE001 - the workflow's own error, whatever it is
        return outcome_of(exc)


def outcome_of(error: Exception) -> Outcome:
    """Return what an error says that somebody gets who asks for the workflow's result."""
    match error:
        case WorkflowCancelled():
            return Cancelled(error.reason)
        case WorkflowStuck():
            return Stuck(error.problem)
        case _:
            return Raised.of(error)


# -- a life --------------------------------------------------------------------------------------


def beginning(
    workflow: Callable[..., Any], args: tuple[Any, ...], seed: int, codec: Codec
) -> tuple[Workflow[..., Any], Row]:
    """Return a workflow and the first row of a log of it. What is random in a run is made of the seed.

    Args:
        workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
        args: its arguments.
        seed: the run's.
        codec: turns the arguments into bytes.

    Raises:
        RegistrationError: if it is no workflow.
        EncodingError: if an argument cannot be encoded.
    """
    target, args, kwargs = unwrap_workflow(workflow, args)
    started = Started(name=target.name, version=target.version, seed=f"{seed:016x}")
    data = target.signature.encode_call(codec.encode, args, kwargs)
    return target, Row(1, round(BEGIN.timestamp() * 1e6), 0, 1, encode_event(started), data)


Letters = Mapping[str, Sequence[object]]
"""Messages, by topic."""


def mail_of(letters: Letters, codec: Codec) -> tuple[Mail, ...]:
    """Return messages as mail that waits from the beginning.

    Raises:
        UsageError: if a topic is none.
        EncodingError: if a message cannot be encoded.
    """
    return tuple(
        Mail.waiting(Received(topic=label("a topic", topic)), codec.encode(value, Any))
        for topic, values in letters.items()
        for value in values
    )


def live(
    workflow: Workflow[..., Any],
    rows: Sequence[Row],
    plan: Plan,
    *,
    instead: Fakes,
    mail: Sequence[Mail] = (),
    watch: OnCommit = lambda _, __, ___: None,
) -> Life:
    """Go on with a workflow in virtual time, until it has ended.

    Args:
        workflow: what runs.
        rows: the log with which it goes on.
        plan: how the life goes.
        instead: fakes of steps.
        mail: what had been left for the workflow by then.
        watch: called before each commit.

    Raises:
        UsageError: if Trio runs in this thread already.
    """
    refuse_trio()
    store: list[Recorder] = []

    async def main(hold: Hold) -> Outcome:
        clock = VirtualClock()
        clock.set(rows[-1].at)
        inner = cast("Store", HeldStore(plan.store(clock), hold))
        cancelled = plan.begins_cancelled
        recorder = Recorder(inner, rows, mail, watch, id=plan.id, cancelled=cancelled, follow=plan.follow)
        recorder.note_scopes = plan.note_scopes
        store.append(recorder)
        trio.lowlevel.add_instrument(recorder)
        return await _live(workflow, plan, recorder, clock, hold)

    with fakes(instead), standing_in({None: _hang}) if plan.follow else nullcontext():
        outcome = in_virtual_time(main, plan.seed, plan.instruments)
    [recorder] = store
    seen = recorder.stood, recorder.cancelled_at, recorder.scopes
    return Life(recorder.rows, len(rows), outcome, recorder.ahead, *seen, mail=tuple(recorder.mail))


async def _hang(*_: object, **__: object) -> None:
    await trio.sleep_forever()


async def _live(workflow: Workflow[..., Any], plan: Plan, store: Recorder, clock: VirtualClock, hold: Hold) -> Outcome:
    async with open_engine(cast("Store", store), [workflow], clock=clock, codec=plan.codec, evict_after=1e9) as engine:
        hold_in_threads(engine, hold)
        store.begin(engine)
        handle = await engine.get(plan.id)
        outcome: Outcome = Closed()
        async with trio.open_nursery() as nursery:
            if plan.cancel_after is not None and not plan.begins_cancelled:
                nursery.start_soon(_cancel, engine, store, plan)
            if plan.close_after is not None:
                nursery.start_soon(_close, nursery.cancel_scope, partial(store.moved, plan.close_after))
            if plan.follow:
                nursery.start_soon(_close, nursery.cancel_scope, store.followed.wait)
            outcome = await _outcome(handle.result, store.patience)
            nursery.cancel_scope.cancel()
        return outcome


async def _cancel(engine: Engine, store: Recorder, plan: Plan) -> None:
    await store.moved(plan.cancel_after or 0)
    if plan.settled:
        await wait_all_tasks_blocked()
    if plan.scope:
        store.cancel(plan.scope)
        return
    with suppress(WorkflowEnded):
        await engine.cancel(plan.id)


async def _close(scope: trio.CancelScope, wait: Callable[[], Awaitable[None]]) -> None:
    await wait()
    scope.cancel()


async def _outcome(result: Callable[[], Awaitable[Any]], patience: trio.CancelScope) -> Outcome:
    patience.deadline = longest = trio.current_time() + LONGEST
    try:
        with patience:
            return Returned(await result())
    except Exception as exc:  # noqa: BLE001 - the workflow's own error, whatever it is
        return outcome_of(exc)
    return Hung(circling=trio.current_time() < longest)
