"""What runs while an engine is open, and the order in which it starts and stops.

The tasks live in two nurseries, shielded from the host's cancellation: the inner one has the workflows and the bodies
of their steps, the outer one what serves them (journal, timers, lease, claims). So the host may be cancelled as it
likes: workflows never see it. When the engine closes they are suspended first, then everything that they had appended
is made durable, and only then does the rest stop.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from .._flow.arguments import COUNT, LIMIT, PERIOD
from .._flow.groups import find_fatal, split_error
from .._flow.times import FAR, to_microseconds
from ..abc import Clock, Codec, Lease, Store
from .annex import annexes
from .databases import Databases
from .instruments import Instruments
from .journal import Journal
from .office import Office
from .ownership import Ownership
from .remover import Remover
from .replaying import Replays
from .run import Leaving
from .runner import Runner
from .starter import Starter
from .table import Table
from .tenure import Tenure


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `open_engine` was told; it says what each means."""

    max_running: int
    max_threads: int
    max_processes: int
    max_payload: int
    max_inbox: int
    evict_after: float
    lease: float
    grace: float
    retention: float | None

    def __post_init__(self) -> None:
        COUNT.check("max_inbox", self.max_inbox)  # stores count up to it
        for name, value in vars(self).items():
            if (name, value) != ("retention", None):
                (LIMIT if name.startswith("max_") else PERIOD).check(name, value)


class Service:
    """An engine's inside."""

    clock: Clock
    codec: Codec
    opened: trio.Event
    closing: trio.Event

    def __init__(
        self,
        store: Store,
        databases: Databases,
        table: Table,
        *,
        clock: Clock,
        codec: Codec,
        instruments: Instruments | None,
        options: Options,
    ) -> None:
        self.store: Store = store
        self.databases: Databases = databases
        self.table: Table = table
        self.clock, self.codec = clock, codec
        self._evict_after, self._grace = options.evict_after, options.grace
        duration = to_microseconds(options.lease) if store.shared else FAR  # nobody else could take over
        self.tenure: Tenure = Tenure(store, Lease(worker=uuid.uuid4().hex, duration=duration))
        self.journal: Journal = Journal(store, instruments)
        self.runner: Runner = Runner(
            clock=clock,
            codec=codec,
            table=table,
            journal=self.journal,
            tenure=self.tenure,
            limiter=trio.CapacityLimiter(options.max_threads),
            max_payload=options.max_payload,
            max_inbox=options.max_inbox,
            instruments=instruments,
            crash=self.crash,
        )
        self.ownership: Ownership = Ownership(store, self.runner, table, options.max_running, options.grace)
        self.office: Office = Office(self.journal, store, self.ownership, codec, options.max_payload, options.max_inbox)
        self.starter: Starter = Starter(
            journal=self.journal,
            store=store,
            ownership=self.ownership,
            table=table,
            codec=codec,
            clock=clock,
            max_payload=options.max_payload,
            instruments=instruments,
        )
        self.remover: Remover = Remover(store, self.office, clock, options.retention)
        self.replays: Replays = Replays(self.runner, options.grace)
        databases.looks = self.ownership.look_for_all
        self.runner.office, self.runner.starter, self.runner.databases = self.office, self.starter, databases
        self.runner.annexes, self.runner.cores = annexes(options.grace), trio.CapacityLimiter(options.max_processes)
        self.opened, self.closing = trio.Event(), trio.Event()
        self._fatal: BaseException | None = None

    def crash(self, fatal: BaseException) -> None:
        """Something happened that neither the workflows nor the engine can handle: close, and raise it."""
        if self._fatal is None:
            self._fatal = fatal
        self.closing.set()

    @trio.lowlevel.enable_ki_protection
    async def _guard(self, service: Callable[[], Awaitable[None]]) -> None:
        try:
            await service()
        except BaseException as exc:
            error = find_fatal(exc) or split_error(exc)[0]
            if error is None:  # it is cancelled
                raise
            self.crash(error)  # whatever it is, the engine is over

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run the engine until it is told to close."""
        with trio.CancelScope(shield=True):
            await self.tenure.open()
            trio.lowlevel.add_instrument(self.runner.watch)
            try:
                async with trio.open_nursery() as services:
                    await self._serve_workflows(services)
                    with trio.move_on_after(self._grace):
                        await self.journal.flushed()
                    services.cancel_scope.cancel()
            finally:
                trio.lowlevel.remove_instrument(self.runner.watch)
                self.runner.forget_all()
                await self.databases.close()
                await self.store.close()
        if self._fatal is not None:
            raise self._fatal

    async def _serve_workflows(self, services: trio.Nursery) -> None:
        runner, ownership = self.runner, self.ownership
        async with trio.open_nursery() as runner.nursery:
            runner.bench.nursery = runner.nursery
            for service in (
                self.journal.run,
                runner.timers.run,
                runner.bench.note_beginnings,
                ownership.keep,
                *[annex.run for annex in runner.annexes.values()],
            ):
                services.start_soon(self._guard, service)
            async with trio.open_nursery() as intake:
                for service in (
                    ownership.take_up,
                    ownership.listen,
                    ownership.fetch,
                    self.office.cancel_children,
                    ownership.make_room,
                    ownership.give_back,
                    self.remover.run,
                    self._tidy,
                ):
                    intake.start_soon(self._guard, service)
                self.opened.set()
                await self.closing.wait()
                intake.cancel_scope.cancel()
            runner.closed = True
            await runner.see_out([*runner.leave_all(Leaving.CLOSING), *self.replays.leave_all()], self._grace)
            runner.bench.stop()
            with trio.move_on_after(self._grace):
                await runner.bench.ended()
            await runner.bench.close()

    async def _tidy(self) -> None:
        """Take out of memory what is not needed there, for ever."""
        while True:
            await self.runner.occupied.wait()
            await trio.sleep(self._evict_after / 2)
            self.runner.evict(self._evict_after)
            self.runner.bench.trim()
