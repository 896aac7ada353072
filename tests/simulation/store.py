"""One process's way to the database: a `Store` whose calls take time, get lost, or are done without an answer.

A call goes there, is done in one moment, and its answer comes back. Each of the three can fail, and each fails as it
does in life: the caller is told that the store is unavailable, and does not know how far the call came. A call that
its sender has given up on may even arrive later, behind those that came after it.

A claim whose answer is lost may have taken workflows over, and the worker does not know that they are its own. So
claims have numbers, and before the next one, those without an answer are undone; the PostgreSQL store does the same.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import trio

from nurselog import StoreError, StoreUnavailable
from nurselog.abc import (
    Addressed,
    Batch,
    Change,
    Claim,
    Deleted,
    Filter,
    Lease,
    Message,
    Post,
    Posted,
    Receipt,
    Wanted,
    Workflow,
    WorkflowKey,
)
from nurselog.lowlevel import Row
from tests.simulation.database import Database, Taken
from tests.simulation.judge import Judge
from tests.simulation.plan import CLEAR, Weather
from tests.simulation.process import Process
from tests.simulation.tally import Tally, Thing

T = TypeVar("T")

HEAVY = 6
"""What claims weigh, and commits that change how a workflow stands."""


class Network:
    """What all processes have between them and the database.

    Args:
        database: what is at its end.
        weather: what happens to calls.
        unit: seconds; what is slow takes some share of it.
        chance: draws what happens.
        tally: counts it.
    """

    def __init__(
        self, database: Database, weather: Weather, *, unit: float, chance: random.Random, tally: Tally
    ) -> None:
        self.database = database
        self.weather, self.chance, self.tally = weather, chance, tally
        self._unit = unit
        self.nursery: trio.Nursery
        """Where what is late is on its way."""
        self.claims = itertools.count(1)
        """Numbers for claims."""
        self.is_down: bool = False
        """Whether nobody can reach the database."""
        self.leaving: Callable[[WorkflowKey], None] = lambda _: None
        """Told of a workflow that an engine is about to let go of, before its end."""

    def clear(self) -> None:
        """From now on all is well."""
        self.weather, self.is_down = CLEAR, False

    def happens(self, probability: float) -> bool:
        """Draw whether something happens."""
        return probability > 0 and self.chance.random() < probability

    def while_(self) -> float:
        """Draw how long something slow takes: mostly little, sometimes nearly a lease."""
        return self._unit * 10 ** self.chance.uniform(-3.5, 0)

    def later(self, act: Callable[[], object]) -> None:
        """Do something after a while, whatever becomes of whoever wanted it."""

        async def arrive() -> None:
            await trio.sleep(self.while_() * 3)
            act()

        self.nursery.start_soon(arrive)


class SimulatedStore:
    """A `Store` for one process."""

    shared = True

    def __init__(self, network: Network, process: Process, judge: Judge) -> None:
        self._network, self._database, self._process, self._judge = network, network.database, process, judge
        self.lease: Lease = Lease(worker="", duration=0)
        self._lost = False
        """Whether the lease had run out, and nobody has been told so far."""
        self._unanswered: list[int] = []
        """Claims that may have been done."""
        self._news: set[Change] = set()
        self._told = trio.Event()

    # -- the way there and back ------------------------------------------------------------------

    async def _call(self, act: Callable[[], T], weight: float = 1) -> T:
        """Make a call; what weighs more meets with more misfortune, since most calls are heartbeats."""
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # a call that has begun ends
            network, weather = self._network, self._network.weather
            await self._travel()
            if network.happens(weather.lost):
                raise await self._unavailable(Thing.LOST)
            if network.happens(weather.late * weight):
                network.later(act)
                raise await self._unavailable(Thing.LATE)
            self._process.check()
            answer = act()
            if network.happens(weather.unanswered * (weight if answer else 1)):
                raise await self._unavailable(Thing.UNANSWERED)
            await self._travel()
            return answer

    async def _travel(self) -> None:
        network = self._network
        if network.happens(network.weather.slow):
            network.tally[Thing.SLOW] += 1
            await trio.sleep(network.while_())
        await self._process.awake()
        if network.is_down:
            raise await self._unavailable(Thing.REFUSED)

    async def _unavailable(self, thing: Thing) -> StoreError:
        """Return the error, after as long as it takes to give up."""
        self._network.tally[thing] += 1
        await trio.sleep(self._network.while_() / 10)
        await self._process.awake()
        return StoreUnavailable("the database does not answer")

    # -- the store -------------------------------------------------------------------------------

    async def open(self, lease: Lease) -> None:
        """Enter the worker."""
        self.lease = lease
        self._process.worker = lease.worker
        try:
            await self._call(partial(self._database.enter, lease))
        except Taken:  # by itself: the answer was lost
            await self._call(partial(self._database.reenter, lease))
        self._database.listeners[lease.worker] = self._hear

    async def close(self) -> None:
        """Remove the worker."""
        self._database.listeners.pop(self.lease.worker, None)
        await self._call(partial(self._database.remove, [self.lease.worker]))

    async def commit(self, batch: Batch) -> Receipt:
        """Write a batch."""
        weight = HEAVY if any(append.standing for append in batch.appends) else 2
        for append in batch.appends:
            if append.standing and append.standing.release and not append.standing.status.final:
                self._network.leaving(append.key)
        receipt = await self._call(partial(self._write, batch, self._process.clock.utc()), weight)
        self._judge.answered(batch, receipt)
        return receipt

    def _write(self, batch: Batch, now: int) -> Receipt:
        receipt = self._database.commit(self.lease.worker, batch, now)
        self._judge.done(self._process, batch, receipt)
        return receipt

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        """Take over what is due."""
        while self._unanswered:
            number = self._unanswered[0]
            await self._call(partial(self._database.undo, wanted.worker, number))
            if number in self._unanswered:
                self._unanswered.remove(number)
        number, now = next(self._network.claims), self._process.clock.utc()
        try:
            claims = await self._call(partial(self._database.claim, wanted, number, now), HEAVY)
        except BaseException:
            self._unanswered.append(number)
            raise
        return claims

    async def renew(self) -> bool:
        """Extend the lease."""
        extended = await self._call(self._extend)
        if not extended:
            self._lost = False
        return extended

    def _extend(self) -> bool:
        """Whoever has to ask again, because the answer was lost, must hear that the lease had run out."""
        self._lost |= not self._database.renew(self.lease)
        return not self._lost

    async def reenter(self) -> None:
        """Enter the worker anew."""
        await self._call(partial(self._database.reenter, self.lease))

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        """Leave messages."""
        return await self._call(partial(self._leave, posts))

    def _leave(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        answers = self._database.post(posts)
        self._judge.posted(posts, [*map(Posted.of, answers)])
        return answers

    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        """Leave messages for workflows that need not be there yet; the processes of the simulation are never early."""
        return await self._call(partial(self._database.post_early, messages))

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        """Return the messages for what this worker owns, for some workflows only those behind a number."""
        return await self._call(partial(self._database.mail_of, self.lease.worker, dict(behind or {})))

    async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
        """Return rows."""
        return await self._call(partial(self._database.find, list(ids)))

    async def list(self, where: Filter) -> Sequence[Workflow]:
        """Return rows."""
        return await self._call(partial(self._database.list, where))

    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        """Return a log."""
        return await self._call(partial(self._database.read, key, from_seq, limit))

    async def next_due(self, wanted: Wanted) -> int | None:
        """Return when something is due."""
        return await self._call(partial(self._database.next_due, wanted))

    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        """Remove families that have ended."""
        return await self._call(partial(self._database.delete, list(roots)))

    async def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        """Return roots that ended before a time."""
        return await self._call(partial(self._database.expired, before, limit))

    # -- news ------------------------------------------------------------------------------------

    def _hear(self, change: Change) -> None:
        if self._network.happens(self._network.weather.deaf):
            self._network.later(partial(self._learn, change))
        else:
            self._learn(change)

    def _learn(self, change: Change) -> None:
        self._news.add(change)
        self._told.set()

    async def wait_changed(self) -> frozenset[Change]:
        """Wait for news."""
        await trio.lowlevel.checkpoint()
        await self._told.wait()
        await self._process.awake()
        self._told = trio.Event()
        news, self._news = frozenset(self._news), set()
        return news
