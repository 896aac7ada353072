"""What the tests of stores are made of: a clock that stands, short names for records, stores that are closed again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import trio

from nurselog._log.events import Row, Selected, encode_event
from nurselog._log.lifecycle import Status
from nurselog._stores import open_store
from nurselog._stores._postgres.address import parse
from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog._stores.sqlite import SqliteStore, parse_url
from nurselog.abc import Append, Batch, Claim, Creation, Lease, Standing, Store, Wanted, Workflow, WorkflowKey

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    import psycopg

    from nurselog._stores.postgres import open_postgres

LEASE = 1_000_000
LONG = 10**15
"""A lease that does not expire in a test."""
EVENT = encode_event(Selected(index=0))


class FakeClock:
    """Stands still until it is set."""

    def __init__(self, now: int = 5_000_000) -> None:
        self.now = now

    def utc(self) -> int:
        return self.now

    async def sleep_until(self, due: int) -> None:
        raise AssertionError(f"a store waits for no clock, and somebody waits until {due}")


def row(seq: int, writer: int, *, at: int = 0, event: bytes = EVENT, value: bytes | None = None) -> Row:
    return Row(seq, at, seq - 1, writer, event, value)


def rows(first: int, last: int, writer: int) -> list[Row]:
    return [row(seq, writer) for seq in range(first, last + 1)]


def creation(
    id: str,
    writer: int = 1,
    *,
    name: str = "work",
    owner: str | None = None,
    status: Status = Status.PENDING,
    length: int = 1,
    digest: str = "d",
    at: int = 0,
) -> Creation:
    log = rows(1, length, writer)
    return Creation(id=id, name=name, digest=digest, status=status, owner=owner, at=at, rows=log)


async def create(store: Store, *creations: Creation) -> list[WorkflowKey]:
    """Commit the creations, and return the new workflows' keys."""
    receipt = await store.commit(Batch(creations=creations))
    assert all(created.new for created in receipt.created)
    return [created.workflow.key for created in receipt.created]


async def append(store: Store, *appends: Append) -> frozenset[WorkflowKey]:
    """Commit the appends, and return who was refused."""
    return (await store.commit(Batch(appends=appends))).refused


async def claim_due(store: Store, worker: str, *names: str, limit: int = 1000) -> Sequence[Claim]:
    return await store.claim(Wanted(worker=worker, names=frozenset(names or {"work"}), limit=limit))


async def claim_keys(store: Store, worker: str, *keys: WorkflowKey) -> Sequence[Claim]:
    return await store.claim(Wanted(worker=worker, names=frozenset(), limit=1000, keys=frozenset(keys)))


async def look(store: Store, id: str) -> Workflow:
    [found] = await store.find([id])
    return found


def sleeping(due_at: int | None = None) -> Standing:
    """Stand for a workflow that leaves memory."""
    return Standing(status=Status.WAITING, due_at=due_at, release=True)


def over() -> Standing:
    """Stand for a workflow that has ended."""
    return Standing(status=Status.COMPLETED, due_at=None, release=True)


@contextlib.asynccontextmanager
async def opened(
    url: str, clock: FakeClock | None = None, worker: str = "a", duration: int = LONG
) -> AsyncIterator[Store]:
    """Open a store as the application does, but for the clock: that is the test's, also for leases."""
    async with using(store_at(url, clock or FakeClock()), worker, duration) as store:
        yield store


def store_at(url: str, clock: FakeClock) -> Store:
    """Return a store that takes all times from the test."""
    if url.startswith("postgresql:"):
        return open_postgres(url, clock=clock, lease_clock=clock)
    return open_store(url, clock=clock)


@contextlib.asynccontextmanager
async def opened_inline(url: str, clock: FakeClock | None = None, worker: str = "a") -> AsyncIterator[SqliteStore]:
    """Open a store on a file without a thread, so that the test may use its connection."""
    store = SqliteStore(parse_url(url), InlineExecutor(), clock or FakeClock())
    async with using(store, worker, LONG):
        yield store


@contextlib.asynccontextmanager
async def using(store: Store, worker: str, duration: int) -> AsyncIterator[SqliteStore]:
    await store.open(Lease(worker=worker, duration=duration))
    try:
        yield store
    finally:
        await store.close()


def connection_of(store: SqliteStore) -> sqlite3.Connection:
    """Return the connection of a store without a thread."""
    assert store._session
    return store._session.connection


@contextlib.asynccontextmanager
async def chatting(*stores: Store) -> AsyncIterator[None]:
    """Let stores hear each other, and tell each other what there is to tell, as engines do."""

    async def listen(store: Store) -> None:
        while True:
            await store.wait_changed()

    async with trio.open_nursery() as nursery:
        for store in stores:
            nursery.start_soon(listen, store)
        yield
        nursery.cancel_scope.cancel()


def behind(url: str) -> psycopg.Connection[Any]:
    """Connect to a store's database as another tool does."""
    where = parse(url)
    options = f"-c search_path={where.schema}"
    return psycopg.connect(where.conninfo, autocommit=True, options=options)


def receivers(url: str) -> list[int]:
    """Look behind the store's back for whom messages are left."""
    query = "SELECT workflow FROM message ORDER BY number"
    if url.startswith("postgresql:"):
        with behind(url) as connection:
            return [key for (key,) in connection.execute(query)]
    path = parse_url(url).path
    assert path
    with database(path) as file:
        return [key for (key,) in file.execute(query)]


@contextlib.contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Connect to a file as another tool does."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def files(folder: Path) -> list[str]:
    """Name the files in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def content(path: Path) -> bytes:
    return path.read_bytes()


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def restrict(path: Path, mode: int) -> None:
    """Let nobody write to a file or a folder."""
    path.chmod(mode)


def beacons(folder: Path) -> list[str]:
    return [name for name in files(folder) if "-beacon-" in name]
