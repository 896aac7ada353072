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
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

import trio

from nurselog import (
    EngineClosed,
    NurselogError,
    Status,
    StoreCorrupt,
    Workflow,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowKilled,
    open_engine,
)
from nurselog._flow.sequencer import Sequencer
from nurselog._flow.strand import Strand, place
from nurselog._log.cursor import Entry
from nurselog.abc import Batch, Clock, Lease, Receipt, Standing, Store
from nurselog.lowlevel import Event, JsonCodec, Row, open_store
from nurselog.testing import Life, Raised, Returned, VirtualClock, life
from nurselog.testing.clock import Hold, HoldingLimiter, hold_in_threads, in_virtual_time
from nurselog.testing.corpus.world import World, watched
from nurselog.testing.keeper import ID, Keeper, Mail, is_move
from nurselog.testing.life import LONGEST, Closed, Outcome, Stuck, outcome_of

T = TypeVar("T")

tally: Counter[str] = Counter()
"""What has been tried: lives, replays, cuts, suspensions, events."""


def as_workflow(name: str, fn: Callable[..., Awaitable[Any]]) -> Workflow[..., Any]:
    """Make a workflow that no other test's engine knows: here, several functions may be recorded by one name."""
    return Workflow(fn, name, None)


@dataclass(frozen=True, kw_only=True)
class Recording(Life):
    """One life, and what was seen of it from inside."""

    workflow: Workflow[..., Any]
    bodies: tuple[tuple[str, int], ...] = ()
    trace: tuple[tuple[int, Any], ...] = ()
    problem: NurselogError | None = None
    """What the workflow is stuck on."""

    @property
    def added(self) -> list[Event]:
        """The events of this life."""
        return self.events[self.begun_with :]

    @property
    def moves(self) -> int:
        """How many of them moved the workflow, or were made by its code: all but the bookkeeping."""
        return sum(map(is_move, self.added))

    @property
    def is_over(self) -> bool:
        """Whether its workflow has come to an end of its own, and is not stuck or given up."""
        return not isinstance(self.outcome, Stuck | Closed)

    @property
    def is_killed(self) -> bool:
        return isinstance(self.outcome, Raised) and isinstance(self.outcome.error, WorkflowKilled)


# -- the world around a workflow -----------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How a life goes. Moves are the events of this life that are not mere bookkeeping."""

    seed: int = 0
    """Of Trio's scheduler, and of what bodies draw."""
    id: str = ID
    """The workflow's."""
    cancel_after: int | None = None
    """Cancel the workflow from outside after so many moves; 0: before anything happens."""
    cancel_replay: int | None = None
    """Cancel the workflow from outside when so many recorded events have been delivered."""
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
    crowd: bool = False
    """Whether an idle task is added to each plain nursery that the workflow opens."""


def in_memory(clock: Clock) -> Store:
    return open_store("sqlite://", clock=clock)


new_store: Callable[[Clock], Store] = in_memory
"""Makes a store that is empty, for each life."""


class BenchStore(Keeper):
    """A store that may break; what it begins with may be nothing, or stuck."""

    def __init__(self, clock: Clock, plan: Plan, rows: Sequence[Row], mail: Sequence[Mail]) -> None:
        super().__init__(new_store(clock), rows, mail, id=plan.id, cancelled=plan.cancel_after == 0)
        self._plan = plan
        self._broken = False

    async def open(self, lease: Lease) -> None:
        await (super().open(lease) if self.rows else self._inner.open(lease))

    def standing(self) -> Standing:
        stuck = Standing(status=Status.STUCK, due_at=None, release=True, problem="stuck by the test")
        return stuck if self._plan.stuck else super().standing()

    async def commit(self, batch: Batch) -> Receipt:
        if self._broken:
            raise StoreCorrupt("broken by the test")
        receipt = await super().commit(batch)
        if self._plan.break_after is not None and self.moves >= self._plan.break_after:
            self._broken = True
            if self._plan.seed % 2:
                raise StoreCorrupt("broken by the test, and the answer to a commit was lost")
        return receipt


# -- lives ---------------------------------------------------------------------------------------


def run_live(workflow: Workflow[..., Any], args: tuple[Any, ...] = (), **plan: Any) -> Recording:
    """Run a workflow from its beginning. For the other arguments see `Plan`."""
    return _run(workflow, args, (), (), Plan(**plan))


def resume(workflow: Workflow[..., Any], prefix: Sequence[Row], mail: Sequence[Mail] = (), **plan: Any) -> Recording:
    """Go on with a workflow whose log is `prefix`, in a new engine on a new store. See `Plan`.

    With `mail`, all that had been left for it by then is in the new store, but for what its log has.
    """
    return _run(workflow, (), tuple(prefix), mail, Plan(**plan))


def _run(
    workflow: Workflow[..., Any],
    args: tuple[Any, ...],
    prefix: tuple[Row, ...],
    mail: Sequence[Mail],
    plan: Plan,
) -> Recording:
    store_box: list[BenchStore] = []
    tally["lives"] += 1

    async def main(hold: Hold) -> Outcome:
        clock = VirtualClock()
        if prefix:
            clock.set(prefix[-1].at + round(plan.downtime * 1e6))
        store_box.append(BenchStore(clock, plan, prefix, mail))
        with trio.fail_after(LONGEST):
            return await _live(workflow, args, plan, store_box[0], clock, hold)

    with (
        _problems() as problems,
        _crowds() if plan.crowd else nullcontext(),
        nullcontext() if plan.cancel_replay is None else _cancels(plan.cancel_replay),
    ):
        outcome, world = in_a_world(main, plan.seed)
    rows = store_box[0].rows
    if problems:
        outcome = Stuck(str(problems[0]))
    elif isinstance(outcome, Closed):
        outcome = end_of(rows, workflow) or outcome  # it may have ended at the very moment at which it was closed
    return Recording(
        rows=rows, begun_with=len(prefix), outcome=outcome, workflow=workflow, bodies=tuple(world.bodies),
        trace=tuple(world.trace), problem=problems[0] if problems else None, mail=tuple(store_box[0].mail),
    )  # fmt: skip


def in_a_world(main: Callable[[Hold], Awaitable[T]], seed: int) -> tuple[T, World]:
    """Run a program in virtual time; return its result, and what its workflows did meanwhile.

    Threads that workflow code starts by itself hold the time, too; Trio has no public way to this.
    """

    async def holding(hold: Hold) -> T:
        trio._threads._limiter_local.set(HoldingLimiter(trio.to_thread.current_default_thread_limiter(), hold))
        return await main(hold)

    with watched(World(random.Random(seed))) as world:
        return in_virtual_time(holding, seed), world


def end_of(rows: Sequence[Row], workflow: Workflow[..., Any]) -> Outcome | None:
    """Return what a log says became of its workflow; None if it does not."""
    return life.end_of(rows, workflow, JsonCodec())


async def _live(
    workflow: Workflow[..., Any], args: tuple[Any, ...], plan: Plan, store: BenchStore, clock: Clock, hold: Hold
) -> Outcome:
    outcome: Outcome = Closed()
    try:
        async with open_engine(store, [workflow], clock=clock, evict_after=plan.evict_after) as engine:
            hold_in_threads(engine, hold)
            handle = await (engine.get(plan.id) if store.rows else engine.submit(workflow, *args, id=plan.id))
            if plan.stuck:
                await engine.resume(plan.id)
            async with trio.open_nursery() as nursery:
                if plan.cancel_after is not None and not (plan.cancel_after == 0 and store.rows):
                    cancel = partial(engine.cancel, plan.id, "from outside")
                    nursery.start_soon(_strike, store, plan.cancel_after, cancel)
                if plan.kill_after is not None:
                    nursery.start_soon(_strike, store, plan.kill_after, partial(engine.kill, plan.id))
                if plan.close_after is not None:
                    nursery.start_soon(_close, nursery.cancel_scope, store, plan.close_after)
                outcome = await _outcome(handle)
                nursery.cancel_scope.cancel()
    except StoreCorrupt:
        if plan.break_after is None:
            raise
    return outcome


async def _strike(store: BenchStore, after: int, strike: Callable[[], Awaitable[object]]) -> None:
    await store.moved(after)
    with suppress(WorkflowEnded):
        await strike()


async def _close(scope: trio.CancelScope, store: BenchStore, after: int) -> None:
    await store.moved(after)
    scope.cancel()


async def _outcome(handle: WorkflowHandle[Any]) -> Outcome:
    try:
        return Returned(await handle.result())
    except EngineClosed:
        return Closed()
    except Exception as exc:  # noqa: BLE001 - the workflow's own error, whatever it is
        return outcome_of(exc)


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


@contextmanager
def _cancels(after: int) -> Iterator[None]:
    """Cancel a workflow from outside in the midst of its replay, as a message may: when an event was delivered."""
    replayed, deliver = Sequencer.replayed, Sequencer._deliver

    def strike(sequencer: Sequencer) -> None:
        if not sequencer._live and sequencer.cursor.delivered == after:
            sequencer.cancel("from outside")

    def watched_replayed(self: Sequencer, path: str) -> Any:
        outcome = replayed(self, path)
        if outcome is not None:
            strike(self)
        return outcome

    def watched_deliver(self: Sequencer, entry: Entry) -> None:
        deliver(self, entry)
        strike(self)

    with patch.object(Sequencer, "replayed", watched_replayed), patch.object(Sequencer, "_deliver", watched_deliver):
        yield


class _Crowd:
    """A plain nursery with one task more, which waits until the body ends."""

    def __init__(self, **options: Any) -> None:
        tally["crowds"] += 1
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
        engine = opener.startswith(("nurselog.", "trio.")) and not opener.startswith("nurselog.testing.corpus.")
        return _Crowd(**options) if isinstance(place.get(), Strand) and not engine else open_plain_nursery(**options)

    with patch.object(trio, "open_nursery", open_crowd):
        yield
