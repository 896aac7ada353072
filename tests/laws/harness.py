"""Runs one workflow in virtual time, kills it where one likes, and tells everything that is to know about it.

A *life* is one engine from its opening to its close, on a store in memory that begins with the log of the life
before. `run_live` is a first life, `resume` a later one; both return a `Recording`. Nothing here waits for the wall
clock: UTC follows Trio's virtual clock, and a store in memory commits without a thread.

A life ends when the workflow does; or it is *closed* after some moves, so that the workflow is suspended; or its store
*breaks*, so that what the workflow appends from there on is lost. A crash that unwinds nothing is simpler still: cut
`Recording.rows`, and resume.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest.mock import patch

import trio
from trio.testing import MockClock

from nurselog import (
    Engine,
    EngineClosed,
    NurselogError,
    Status,
    StoreCorrupt,
    Workflow,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowKilled,
    WorkflowStuck,
    open_engine,
)
from nurselog._engine.handle import value_of
from nurselog._flow.sequencer import Sequencer
from nurselog._flow.strand import Strand, place
from nurselog.abc import Append, Batch, Clock, Creation, Lease, Receipt, Standing, Store
from nurselog.lowlevel import Ended, Event, JsonCodec, Row, Started, decode_event, is_delivered, is_note, open_store
from nurselog.testing import VirtualClock
from nurselog.testing.corpus.world import World, shape, watched

T = TypeVar("T")

ID = "law"
FOR_EVER = 400 * 86400.0
"""Virtual seconds after which a life that has not ended is taken to hang."""

tally: Counter[str] = Counter()
"""What has been tried: lives, replays, cuts, suspensions, events."""


def as_workflow(name: str, fn: Callable[..., Awaitable[Any]]) -> Workflow[..., Any]:
    """Make a workflow that no other test's engine knows: here, several functions may be recorded by one name."""
    return Workflow(fn, name, None)


# -- what became of a workflow -------------------------------------------------------------------


@dataclass(frozen=True)
class Returned:
    value: Any


@dataclass(frozen=True)
class Raised:
    error: Any
    """Its `shape`."""


@dataclass(frozen=True)
class WasCancelled:
    reason: str | None


@dataclass(frozen=True)
class WasKilled:
    pass


@dataclass(frozen=True)
class GotStuck:
    problem: NurselogError


@dataclass(frozen=True)
class Unfinished:
    """The life ended first."""


Outcome = Returned | Raised | WasCancelled | WasKilled | GotStuck | Unfinished


@dataclass(frozen=True)
class Recording:
    """One life, and the whole log at its end."""

    workflow: Workflow[..., Any]
    rows: tuple[Row, ...]
    begun_with: int
    """How many of the rows were there when the life began."""
    outcome: Outcome
    bodies: tuple[tuple[str, int], ...]
    trace: tuple[tuple[int, Any], ...]

    @property
    def events(self) -> list[Event]:
        return [decode_event(row.event) for row in self.rows]

    @property
    def added(self) -> list[Event]:
        """The events of this life."""
        return self.events[self.begun_with :]

    @property
    def moves(self) -> int:
        """How many of them moved the workflow, or were made by its code: all but the bookkeeping."""
        return sum(map(_is_move, self.added))


def _is_move(event: Event) -> bool:
    return is_delivered(event) or is_note(event)


# -- the world around a workflow -----------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How a life goes. Moves are the events of this life that are not mere bookkeeping."""

    seed: int = 0
    """Of Trio's scheduler, and of what bodies draw."""
    cancel_after: int | None = None
    """Cancel the workflow from outside after so many moves; 0: before anything happens."""
    kill_after: int | None = None
    """Kill the workflow after so many moves."""
    close_after: int | None = None
    """Close the engine after so many moves."""
    break_after: int | None = None
    """Break the store after so many moves: what comes later is lost, and the engine ends with an error."""
    evict_after: float = 1e9
    """Seconds of idleness after which the workflow leaves memory."""
    downtime: float = 0.0
    """Seconds since the last row of the life before."""
    stuck: bool = False
    """Whether the workflow was stuck, and an operator lets it go on."""
    threads: bool = False
    """Whether bodies run in threads: virtual time then waits a moment before it jumps."""
    crowd: bool = False
    """Whether an idle task is added to each plain nursery that the workflow opens."""


def in_memory(clock: Clock) -> Store:
    return open_store("sqlite://", clock=clock)


new_store: Callable[[Clock], Store] = in_memory
"""Makes a store that is empty, for each life."""


class BenchStore:
    """A store that begins with a log, and keeps it when it is closed."""

    def __init__(self, clock: Clock, plan: Plan, prefix: Sequence[Row]) -> None:
        self._inner = new_store(clock)
        self._plan, self._prefix = plan, prefix
        self._moves = 0
        self._moved = trio.Event()
        self._broken = False
        self.rows: tuple[Row, ...] = tuple(prefix)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def shared(self) -> bool:
        """One engine at a time: nobody need look for others while a workflow sleeps for months."""
        return False

    async def open(self, lease: Lease) -> None:
        await self._inner.open(lease)
        if self._prefix:
            await self._preload(lease.worker if self._plan.stuck else None)

    async def _preload(self, owner: str | None) -> None:
        started = decode_event(self._prefix[0].event)
        assert isinstance(started, Started)
        at = self._prefix[-1].at
        creation = Creation(
            id=ID, name=started.name, digest="", status=Status.RUNNING, owner=owner, at=at, rows=self._prefix
        )
        (created,) = (await self._inner.commit(Batch(creations=[creation]))).created
        key = created.workflow.key
        if self._plan.stuck:
            standing = Standing(status=Status.STUCK, due_at=None, release=True, problem="the test says so")
            await self._inner.commit(Batch(appends=[Append(key=key, standing=standing)]))
        if self._plan.cancel_after == 0:
            await self._inner.post(key, "cancel", b'{"reason":"from outside"}')

    async def close(self) -> None:
        if found := await self._inner.find([ID]):
            self.rows = tuple(await self._inner.read(found[0].key))
        await self._inner.close()

    async def commit(self, batch: Batch) -> Receipt:
        if self._broken:
            raise StoreCorrupt("broken by the test")
        receipt = await self._inner.commit(batch)
        rows = [row for part in (*batch.creations, *batch.appends) for row in part.rows]
        self._moves += sum(_is_move(decode_event(row.event)) for row in rows)
        self._moved.set()
        self._moved = trio.Event()
        if self._plan.break_after is not None and self._moves >= self._plan.break_after:
            self._broken = True
            if self._plan.seed % 2:
                raise StoreCorrupt("broken by the test, and the answer to a commit was lost")
        return receipt

    async def moved(self, count: int) -> None:
        """Wait until so many moves of this life are durable."""
        while self._moves < count:
            await self._moved.wait()


# -- lives ---------------------------------------------------------------------------------------


def run_live(workflow: Workflow[..., Any], args: tuple[Any, ...] = (), **plan: Any) -> Recording:
    """Run a workflow from its beginning. For the other arguments see `Plan`."""
    return _run(workflow, args, (), Plan(**plan))


def resume(workflow: Workflow[..., Any], prefix: Sequence[Row], **plan: Any) -> Recording:
    """Go on with a workflow whose log is `prefix`, in a new engine on a new store. See `Plan`."""
    return _run(workflow, (), tuple(prefix), Plan(**plan))


def _run(workflow: Workflow[..., Any], args: tuple[Any, ...], prefix: tuple[Row, ...], plan: Plan) -> Recording:
    store_box: list[BenchStore] = []
    tally["lives"] += 1

    async def main() -> Outcome:
        clock = VirtualClock()
        if prefix:
            clock.set(prefix[-1].at + round(plan.downtime * 1e6))
        store_box.append(BenchStore(clock, plan, prefix))
        with trio.fail_after(FOR_EVER):
            return await _live(workflow, args, plan, store_box[0], clock)

    with _problems() as problems, _crowds() if plan.crowd else nullcontext():
        outcome, world = in_virtual_time(main, plan.seed, threads=plan.threads)
    rows = store_box[0].rows
    if problems:
        outcome = GotStuck(problems[0])
    elif isinstance(outcome, Unfinished):
        outcome = end_of(rows, workflow) or outcome  # it may have ended at the very moment at which it was closed
    return Recording(workflow, rows, len(prefix), outcome, tuple(world.bodies), tuple(world.trace))


def in_virtual_time(main: Callable[[], Awaitable[T]], seed: int, *, threads: bool = False) -> tuple[T, World]:
    """Run a program under Trio, shuffled by a seed; return its result, and what its workflows did meanwhile."""
    trio._core._run._r.seed(seed)
    with watched(World(random.Random(seed))) as world:
        return trio.run(main, clock=MockClock(autojump_threshold=0.02 if threads else 0)), world


def end_of(rows: Sequence[Row], workflow: Workflow[..., Any]) -> Outcome | None:
    """Return what a log says became of its workflow; None if it does not."""
    event = decode_event(rows[-1].event) if rows else None
    if not isinstance(event, Ended):
        return None
    try:
        return Returned(value_of(ID, event, rows[-1].value, JsonCodec(), workflow.returns))
    except Exception as exc:  # noqa: BLE001 - the workflow's own error, whatever it is
        return outcome_of(exc)


async def _live(
    workflow: Workflow[..., Any], args: tuple[Any, ...], plan: Plan, store: BenchStore, clock: Clock
) -> Outcome:
    outcome: Outcome = Unfinished()
    try:
        async with open_engine(store, [workflow], clock=clock, evict_after=plan.evict_after) as engine:
            handle = await (engine.get(ID) if store.rows else engine.submit(workflow, *args, id=ID))
            if plan.stuck:
                await engine.resume(ID)
            async with trio.open_nursery() as nursery:
                if plan.cancel_after is not None and not (plan.cancel_after == 0 and store.rows):
                    nursery.start_soon(_cancel, engine, store, plan.cancel_after)
                if plan.kill_after is not None:
                    nursery.start_soon(_kill, engine, store, plan.kill_after)
                if plan.close_after is not None:
                    nursery.start_soon(_close, nursery.cancel_scope, store, plan.close_after)
                outcome = await _outcome(handle)
                nursery.cancel_scope.cancel()
    except StoreCorrupt:
        if plan.break_after is None:
            raise
    return outcome


async def _cancel(engine: Engine, store: BenchStore, after: int) -> None:
    await store.moved(after)
    with suppress(WorkflowEnded):
        await engine.cancel(ID, "from outside")


async def _kill(engine: Engine, store: BenchStore, after: int) -> None:
    await store.moved(after)
    with suppress(WorkflowEnded):
        await engine.kill(ID)


async def _close(scope: trio.CancelScope, store: BenchStore, after: int) -> None:
    await store.moved(after)
    scope.cancel()


async def _outcome(handle: WorkflowHandle[Any]) -> Outcome:
    try:
        return Returned(await handle.result())
    except Exception as exc:  # noqa: BLE001 - the workflow's own error, whatever it is
        return outcome_of(exc)


def outcome_of(exc: Exception) -> Outcome:
    """Return what an error that a waiter gets says."""
    match exc:
        case WorkflowCancelled():
            return WasCancelled(exc.reason)
        case WorkflowKilled():
            return WasKilled()
        case WorkflowStuck():
            return GotStuck(exc)
        case EngineClosed():
            return Unfinished()
        case _:
            return Raised(shape(exc))


@contextmanager
def _problems() -> Iterator[list[NurselogError]]:
    """Collect what made workflows stuck: the store keeps only its text."""
    found: list[NurselogError] = []
    stuck = Sequencer.stuck

    def watched(self: Sequencer, problem: NurselogError) -> None:
        if not self.suspending:
            found.append(problem)
        stuck(self, problem)

    with patch.object(Sequencer, "stuck", watched):
        yield found


class _Crowd:
    """A plain nursery with one task more, which waits until the body ends."""

    def __init__(self, **options: Any) -> None:
        self._manager = open_plain_nursery(**options)
        self._over = trio.Event()

    async def __aenter__(self) -> trio.Nursery:
        nursery = await self._manager.__aenter__()
        nursery.start_soon(self._idle, name="one of the crowd")
        return nursery

    async def _idle(self) -> None:
        with suppress(trio.Cancelled):  # whoever counts those that were cancelled must not count this one
            await self._over.wait()
            await trio.lowlevel.checkpoint()

    async def __aexit__(self, *exc_info: object) -> bool | None:
        self._over.set()
        return await self._manager.__aexit__(*exc_info)


open_plain_nursery = trio.open_nursery


@contextmanager
def _crowds() -> Iterator[None]:
    """Add an idle task to each plain nursery that workflow code opens, be it in a library of others."""

    def open_crowd(**options: Any) -> Any:
        opener = sys._getframe(1).f_globals["__name__"]
        outside = opener.split(".")[0] in {"nurselog", "trio"} or not isinstance(place.get(), Strand)
        return open_plain_nursery(**options) if outside else _Crowd(**options)

    with patch.object(trio, "open_nursery", open_crowd):
        yield
