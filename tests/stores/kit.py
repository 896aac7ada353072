"""What the tests of stores are made of: a clock that stands, short names for records, stores that are closed again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from nurselog._log.events import Row, Selected, encode_event
from nurselog._log.lifecycle import Status
from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog._stores.sqlite import SqliteStore, open_sqlite, parse_url
from nurselog.abc import Append, Batch, Claim, Creation, Lease, Standing, Wanted, Workflow, WorkflowKey

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


async def create(store: SqliteStore, *creations: Creation) -> list[WorkflowKey]:
    """Commit the creations, and return the new workflows' keys."""
    receipt = await store.commit(Batch(creations=creations))
    assert all(created.new for created in receipt.created)
    return [created.workflow.key for created in receipt.created]


async def append(store: SqliteStore, *appends: Append) -> frozenset[WorkflowKey]:
    """Commit the appends, and return who was refused."""
    return (await store.commit(Batch(appends=appends))).refused


async def claim_due(store: SqliteStore, worker: str, *names: str, limit: int = 1000) -> Sequence[Claim]:
    return await store.claim(Wanted(worker=worker, names=frozenset(names or {"work"}), limit=limit))


async def claim_keys(store: SqliteStore, worker: str, *keys: WorkflowKey) -> Sequence[Claim]:
    return await store.claim(Wanted(worker=worker, names=frozenset(), limit=1000, keys=frozenset(keys)))


async def look(store: SqliteStore, id: str) -> Workflow:
    [found] = await store.find([id])
    return found


def sleeping(due_at: int | None = None) -> Standing:
    """Stand for a workflow that leaves memory."""
    return Standing(status=Status.WAITING, due_at=due_at, release=True)


@contextlib.asynccontextmanager
async def opened(
    url: str, clock: FakeClock | None = None, worker: str = "a", duration: int = LONG
) -> AsyncIterator[SqliteStore]:
    """Open a store as the application does."""
    async with using(open_sqlite(url, clock=clock or FakeClock()), worker, duration) as store:
        yield store


@contextlib.asynccontextmanager
async def opened_inline(url: str, clock: FakeClock | None = None, worker: str = "a") -> AsyncIterator[SqliteStore]:
    """Open a store on a file without a thread, so that the test may use its connection."""
    store = SqliteStore(parse_url(url), InlineExecutor(), clock or FakeClock())
    async with using(store, worker, LONG):
        yield store


@contextlib.asynccontextmanager
async def using(store: SqliteStore, worker: str, duration: int) -> AsyncIterator[SqliteStore]:
    await store.open(Lease(worker=worker, duration=duration))
    try:
        yield store
    finally:
        await store.close()


def connection_of(store: SqliteStore) -> sqlite3.Connection:
    """Return the connection of a store without a thread."""
    assert store._session
    return store._session.connection


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
