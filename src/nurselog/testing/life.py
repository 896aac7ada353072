"""One life of a workflow: an engine in virtual time, from its opening to its close, on a log that may have begun.

A crash that unwinds nothing is simpler to make than to survive: cut the log anywhere, and begin another life with what
is left. What a life leaves behind is therefore its rows, and nothing here ever kills a process.

No time passes but virtual time. UTC follows Trio's clock, the store is in memory and commits without a thread, and a
clock that jumps whenever all tasks wait makes a year of sleep last as long as an instruction. The one thing that it
must not overtake is a thread: where steps run in threads, it waits a moment before it jumps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast

import trio
from trio.testing import MockClock

from .. import (
    Engine,
    Status,
    UsageError,
    Workflow,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowStuck,
    open_engine,
)
from .._engine.messages import Kind, body_of
from .._engine.table import unwrap_workflow
from ..abc import Batch, Claim, Clock, Creation, Lease, Receipt, Store, Wanted
from ..lowlevel import (
    Event,
    JsonCodec,
    LogEntry,
    Row,
    Started,
    decode_event,
    encode_event,
    is_delivered,
    is_note,
    open_store,
)
from .clock import BEGIN, VirtualClock
from .fakes import Fakes, fakes, standing_in

T = TypeVar("T")

ID = "run"
"""The id of every workflow in a life: there is one."""
LONGEST = 10 * 366 * 86400.0
"""Virtual seconds after which a workflow is taken to wait for ever."""


# -- how a life goes, and what became of it ------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a life goes."""

    seed: int = 0
    """Of Trio's scheduler: in which order tasks run that could."""
    cancel_after: int | None = None
    """Cancel the workflow from outside when so many moves of this life are durable; 0: before it goes on at all."""
    close_after: int | None = None
    """Close the engine when so many moves of this life are durable: the workflow is suspended."""
    follow: bool = False
    """Follow the log to its last row, and close before there is another one; no step runs."""
    threads: bool = False
    """Whether steps run in threads."""


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
    """The workflow waits for something that will not come."""


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

    @property
    def events(self) -> list[Event]:
        """The whole log's events."""
        return [decode_event(row.event) for row in self.rows]

    @property
    def entries(self) -> list[LogEntry]:
        """The whole log, as it is drawn."""
        return [LogEntry.of(row) for row in self.rows]


def is_move(event: Event) -> bool:
    """Whether an event moves the workflow, or is a note of its code."""
    return is_delivered(event) or is_note(event)


# -- the store -----------------------------------------------------------------------------------

Watcher = Callable[[int, int], None]
"""Called before each commit, with the number of rows before and after it."""


class _Store:
    """A store in memory that begins with a log, tells of each commit, and keeps the log when it is closed."""

    def __init__(self, clock: Clock, rows: Sequence[Row], plan: Plan, watch: Watcher) -> None:
        self._inner: Store = open_store("sqlite://", clock=clock)
        self._plan, self._watch = plan, watch
        self._length = len(rows)
        self._moves = 0
        self._moved = trio.Event()
        self.ahead: tuple[Row, ...] = ()
        self.followed: trio.Event = trio.Event()
        """Set when the log has been followed, and there would be another row."""
        self.rows: tuple[Row, ...] = tuple(rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open(self, lease: Lease) -> None:
        await self._inner.open(lease)
        started = decode_event(self.rows[0].event)
        assert isinstance(started, Started)
        creation = Creation(
            id=ID,
            name=started.name,
            version=started.version,
            digest="",
            status=Status.RUNNING,
            owner=None,
            at=self.rows[-1].at,
            rows=self.rows,
        )
        [created] = (await self._inner.commit(Batch(creations=[creation]))).created
        if self._plan.cancel_after == 0:
            await self._inner.post(created.workflow.key, Kind.CANCEL.value, body_of(None))

    async def close(self) -> None:
        [found] = await self._inner.find([ID])
        self.rows = tuple(await self._inner.read(found.key))
        await self._inner.close()

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        claims = await self._inner.claim(wanted)
        self._length += len(claims)  # each has a row
        return claims

    async def commit(self, batch: Batch) -> Receipt:
        rows = [row for append in batch.appends for row in append.rows]
        if self._plan.follow and (moves := [row for row in rows if is_move(decode_event(row.event))]):
            self.ahead = tuple(moves)
            self.followed.set()
            await trio.sleep_forever()
        if rows:
            self._watch(self._length, self._length + len(rows))
        receipt = await self._inner.commit(batch)
        self._length += len(rows)
        self._moves += sum(is_move(decode_event(row.event)) for row in rows)
        self._moved.set()
        self._moved = trio.Event()
        return receipt

    async def moved(self, count: int) -> None:
        """Wait until so many moves of this life are durable."""
        while self._moves < count:
            await self._moved.wait()


# -- a life --------------------------------------------------------------------------------------


def beginning(workflow: Callable[..., Any], args: tuple[Any, ...], seed: int) -> tuple[Workflow[..., Any], Row]:
    """Return a workflow and the first row of a log of it. What is random in a run is made of the seed.

    Args:
        workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
        args: its arguments.
        seed: the run's.

    Raises:
        RegistrationError: if it is no workflow.
        EncodingError: if an argument cannot be encoded.
    """
    target, args, kwargs = unwrap_workflow(workflow, args)
    started = Started(name=target.name, version=target.version, seed=f"{seed:016x}")
    data = target.signature.encode_call(JsonCodec().encode, args, kwargs)
    return target, Row(1, round(BEGIN.timestamp() * 1e6), 0, 1, encode_event(started), data)


def live(
    workflow: Workflow[..., Any],
    rows: Sequence[Row],
    plan: Plan,
    *,
    instead: Fakes,
    watch: Watcher = lambda _, __: None,
) -> Life:
    """Go on with a workflow in virtual time, until it has ended.

    Args:
        workflow: what runs.
        rows: the log with which it goes on.
        plan: how the life goes.
        instead: fakes of steps.
        watch: called before each commit.

    Raises:
        UsageError: if Trio runs in this thread already.
    """
    _refuse_trio()
    store: list[_Store] = []

    async def main() -> Outcome:
        clock = VirtualClock()
        clock.set(rows[-1].at)
        store.append(_Store(clock, rows, plan, watch))
        with trio.move_on_after(LONGEST):
            return await _live(workflow, plan, store[0], clock)
        return Hung()

    with fakes(instead), standing_in({None: _hang}) if plan.follow else nullcontext():
        outcome = in_virtual_time(main, plan)
    return Life(store[0].rows, len(rows), outcome, store[0].ahead)


async def _hang(*_: object, **__: object) -> None:
    await trio.sleep_forever()


def in_virtual_time(main: Callable[[], Awaitable[T]], plan: Plan) -> T:
    """Run a program under Trio, with a clock that jumps, and in an order that a seed decides and nothing else."""
    with _in_seeded_order(plan.seed):
        return trio.run(main, clock=MockClock(autojump_threshold=0.02 if plan.threads else 0))


@contextmanager
def _in_seeded_order(seed: int) -> Generator[None]:
    """Trio has no public way to this; what it has is for Hypothesis, and a test says when it is gone."""
    scheduler: Any = trio._core._run
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before


def _refuse_trio() -> None:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return
    raise UsageError("it runs Trio by itself: call it from a plain function, `def test_…`, and not from an async one")


async def _live(workflow: Workflow[..., Any], plan: Plan, store: _Store, clock: Clock) -> Outcome:
    async with open_engine(cast("Store", store), [workflow], clock=clock, evict_after=1e9) as engine:
        handle = await engine.get(ID)
        outcome: Outcome = Closed()
        async with trio.open_nursery() as nursery:
            if plan.cancel_after:
                nursery.start_soon(_cancel, engine, store, plan.cancel_after)
            if plan.close_after is not None:
                nursery.start_soon(_close, nursery.cancel_scope, partial(store.moved, plan.close_after))
            if plan.follow:
                nursery.start_soon(_close, nursery.cancel_scope, store.followed.wait)
            outcome = await _outcome(handle.result)
            nursery.cancel_scope.cancel()
        return outcome


async def _cancel(engine: Engine, store: _Store, after: int) -> None:
    await store.moved(after)
    with suppress(WorkflowEnded):
        await engine.cancel(ID)


async def _close(scope: trio.CancelScope, wait: Callable[[], Awaitable[None]]) -> None:
    await wait()
    scope.cancel()


async def _outcome(result: Callable[[], Awaitable[Any]]) -> Outcome:
    try:
        return Returned(await result())
    except WorkflowCancelled as exc:
        return Cancelled(exc.reason)
    except WorkflowStuck as exc:
        return Stuck(exc.problem)
    except Exception as exc:  # noqa: BLE001 - the workflow's own error, whatever it is
        return Raised.of(exc)
