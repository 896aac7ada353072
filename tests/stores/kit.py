"""What the tests of our stores are made of, beside what all stores are tested with: addresses, files, insides."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from nurselog._stores import open_store
from nurselog._stores._postgres.address import parse
from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog._stores.sqlite import SqliteStore, parse_url
from nurselog.abc import Store
from nurselog.testing.stores.records import LONG, StandingClock, using

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    import psycopg

    from nurselog._stores.postgres import open_postgres


@contextlib.asynccontextmanager
async def opened(
    url: str, clock: StandingClock | None = None, worker: str = "a", duration: int = LONG
) -> AsyncIterator[Store]:
    """Open a store as the application does, but for the clock: that is the test's, also for leases."""
    async with using(store_at(url, clock or StandingClock()), worker, duration) as store:
        yield store


def store_at(url: str, clock: StandingClock) -> Store:
    """Return a store that takes all times from the test."""
    if url.startswith("postgresql:"):
        return open_postgres(url, clock=clock, lease_clock=clock)
    return open_store(url, clock=clock)


@contextlib.asynccontextmanager
async def opened_inline(url: str, clock: StandingClock | None = None, worker: str = "a") -> AsyncIterator[SqliteStore]:
    """Open a store on a file without a thread, so that the test may use its connection."""
    store = SqliteStore(parse_url(url), InlineExecutor(), clock or StandingClock())
    async with using(store, worker, LONG):
        yield store


def connection_of(store: SqliteStore) -> sqlite3.Connection:
    """Return the connection of a store without a thread."""
    assert store._session
    return store._session.connection


def behind(url: str) -> psycopg.Connection[Any]:
    """Connect to a store's database as another tool does."""
    where = parse(url)
    options = f"-c search_path={where.schema}"
    return psycopg.connect(where.conninfo, autocommit=True, options=options)


def receivers(url: str) -> list[int]:
    """Look behind the store's back for whom messages are left."""
    return [key for (key,) in _asked(url, "SELECT workflow FROM message ORDER BY number")]


def remembered(url: str) -> list[tuple[int, str]]:
    """Look behind the store's back which words are remembered, and for whom."""
    return _asked(url, "SELECT workflow, once FROM message_key ORDER BY workflow, once")


def filled(url: str) -> set[str]:
    """Look behind the store's back which tables have rows, beside those that are about the store itself."""
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    if url.startswith("postgresql:"):
        names = """
            SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
            AND relkind IN ('r', 'p') AND NOT relispartition"""
    tables = {name for (name,) in _asked(url, names)} - {"about", "worker"}
    return {table for table in tables if _asked(url, f"SELECT 1 FROM {table} LIMIT 1")}


def execute(url: str, statement: str, *values: object) -> None:
    """Write into a store behind its back; places for values are `?`."""
    if url.startswith("postgresql:"):
        with behind(url) as connection:
            connection.execute(statement.replace("?", "%s"), values)  # type: ignore[call-overload]  # it is a constant
    else:
        path = parse_url(url).path
        assert path
        with database(path) as file:
            file.execute(statement, values)


def _asked(url: str, query: str) -> list[Any]:
    if url.startswith("postgresql:"):
        with behind(url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload]  # it is a constant
    path = parse_url(url).path
    assert path
    with database(path) as file:
        return file.execute(query).fetchall()


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
