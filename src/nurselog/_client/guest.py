"""A desk without an engine: what a client has on its store.

A guest owns nothing and runs nothing. So it has no row among the workers and no lease; what it makes or tells is taken
up by whichever engine hears of it, and it waits for what that makes of it. While nobody waits for anything, it makes no
statement: a store that must be asked for news is not asked, and one that tells them costs nothing to listen to.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from .._engine.checked import CheckedCodec
from .._engine.clock import SystemClock
from .._engine.desk import Desk
from .._engine.instruments import Instruments
from .._engine.journal import Journal
from .._engine.named import Named
from .._engine.office import Office
from .._engine.owning import Target
from .._engine.patience import Outage, patiently
from .._engine.remover import Remover
from .._engine.starter import Starter
from .._engine.table import Table
from .._engine.unwrap import unwrapped
from .._engine.waiters import Readers, Waiters
from .._errors import UsageError
from .._flow.arguments import COUNT, check_interface
from .._log.events import Row
from .._log.lifecycle import Status
from .._stores import open_store
from ..abc import Change, Clock, Codec, Created, Creation, Instrument, Message, Store, TakesGuests, WorkflowKey

ROUND = 1.0
"""Seconds for which a store that must be asked is asked at least, once somebody waits."""


class Guest:
    """Who stands where an engine has its `Ownership`: takes up nothing, and tells those who wait what others do.

    Args:
        store: the store.
        polls: whether it must be asked for news.
        instruments: who is told what was made.
    """

    def __init__(self, store: Store, instruments: Instruments | None, *, polls: bool) -> None:
        self._store, self._instruments, self._polls = store, instruments, polls
        self._outage = Outage()
        self.keys: Mapping[str, WorkflowKey] = {}
        """Nothing is in memory."""
        self._wanted = trio.Event()
        """Set while somebody waits, or has just waited, for something."""
        self.waiters: Waiters = Waiters(self._want)
        self.readers: Readers = Readers(self._want)

    def _want(self) -> None:
        self._wanted.set()

    def prepare(
        self,
        function: Target,
        id: str,
        digest: str,
        rows: Sequence[Row],
        parent: WorkflowKey | None = None,
    ) -> tuple[Creation, Callable[[Created | None], None]]:
        """Return how to make a workflow that nobody owns, and what is to be called when it is there."""
        creation = Creation(
            id=id,
            parent=parent,
            name=function.name,
            version=function.version,
            digest=digest,
            status=Status.PENDING,
            owner=None,
            at=rows[-1].at,
            rows=rows,
        )
        return creation, partial(self._made, id, rows)

    def _made(self, id: str, rows: Sequence[Row], created: Created | None) -> None:
        if self._instruments is not None and created is not None and created.new:
            self._instruments.submitted(id, rows)

    async def enter_messages(self) -> None:
        """Do nothing: the store tells those who enter them."""

    async def told(self, key: WorkflowKey) -> None:
        """Do nothing: whoever owns the workflow, or will, enters what was left for it."""

    def arrival(self, keys: frozenset[WorkflowKey]) -> Callable[[Sequence[Message]], None]:
        """Return how to do nothing, as `enter_messages`."""
        return lambda _: self.mail_for(*keys)

    def mail_for(self, *keys: WorkflowKey) -> None:
        """Do nothing, as `enter_messages`."""

    def look_for_all(self) -> None:
        """Do nothing, as `enter_messages`."""

    async def listen(self) -> None:
        """Tell those who wait what others have done, for ever."""
        while True:
            if self._polls:
                await self._wanted.wait()
                if not (self.waiters or self.readers):
                    self._wanted = trio.Event()
                    continue
            changes: frozenset[Change] = frozenset()
            with trio.move_on_after(ROUND if self._polls else math.inf):
                changes = await patiently(self._store.wait_changed, self._outage)
            if Change.END in changes:
                await patiently(partial(self.waiters.look, self._store))
            if not changes.isdisjoint({Change.ROWS, Change.END}):
                self.readers.tell_all()

    def leave(self) -> None:
        """Nothing more will be told."""
        self.waiters.tell_all()
        self.readers.tell_all()


class Directory(Table):
    """The workflow functions that a client has been given; of others it does not know whether anybody has them."""

    def can_run(self, name: str, version: str | None) -> bool:  # noqa: ARG002 - an engine's has need of both
        """Whether there is somebody for it: as far as a client knows."""
        return True

    def named(self, name: str, version: str | None) -> Named:
        """Return what workflows of a name are runs of."""
        return Named(name, version)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `open_client` was told; it says what each means."""

    codec: Codec
    max_payload: int
    max_inbox: int
    instruments: Sequence[Instrument]

    def __post_init__(self) -> None:
        check_interface("codec", self.codec, Codec)
        COUNT.check("max_payload", self.max_payload)
        COUNT.check("max_inbox", self.max_inbox)


@asynccontextmanager
async def open_desk(address: str | Store, options: Options) -> AsyncGenerator[Desk]:
    """Open a desk on a store; raises what `open_client` does. Trio only; entering and leaving are checkpoints."""
    store = open_store(address, clock=SystemClock()) if isinstance(address, str) else address
    check_interface("store, unless it is an address such as 'sqlite:///quotes.db',", store, Store)
    check_interface("a client's store", store, TakesGuests)
    assert isinstance(store, TakesGuests)
    if not store.shared:
        raise UsageError("nobody else could run what a client starts in a store in memory: use a file, or PostgreSQL")
    clock = SystemClock()
    instruments = Instruments.of(options.instruments, clock)
    journal, guest = Journal(store, instruments), Guest(store, instruments, polls=store.polls)
    desk = _desk_of(store, journal, guest, instruments, clock, options)
    await store.visit()
    error: BaseException | None = None
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journal.run)
                nursery.start_soon(guest.listen)
                try:
                    yield desk
                except BaseException as exc:  # noqa: BLE001 - raised below: the nursery would make a copy of it
                    error = exc
                finally:
                    desk.closing.set()
                    guest.leave()
                    nursery.cancel_scope.cancel()
    except* trio.Cancelled:
        if error is None:
            raise
    finally:
        with trio.CancelScope(shield=True):  # here, too, being cancelled must not hide what went wrong
            await store.close()
    if error is not None:
        raise error


def _desk_of(
    store: Store, journal: Journal, guest: Guest, instruments: Instruments | None, clock: Clock, options: Options
) -> Desk:
    codec = CheckedCodec(options.codec)
    table = Directory((), codec)
    office = Office(journal, store, guest, codec, options.max_payload, options.max_inbox)
    starter = Starter(
        journal=journal,
        store=store,
        ownership=guest,
        table=table,
        codec=codec,
        clock=clock,
        max_payload=options.max_payload,
        instruments=instruments,
    )
    return Desk(
        store=store,
        table=table,
        clock=clock,
        codec=codec,
        office=office,
        starter=starter,
        remover=Remover(store, office, clock, None),
        waiters=guest.waiters,
        readers=guest.readers,
        runs={},
        told=guest.told,
        closing=trio.Event(),
        closed="the client is closed; open one for as long as it is needed",
    )
