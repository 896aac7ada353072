"""Where logs are kept. `open_store` is the way in; `outlet_of` the way in for others, on a connection of theirs."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import trio

from .._errors import UsageError
from ..abc import Clock, Database, Store
from ._postgres.address import hide
from ._sqlite.outlet import SqliteOutlet
from ._sqlite.traces import find_traces as find_in_file
from .outlet import Outlet
from .sqlite import open_sqlite, open_sqlite_database, parse_url
from .traces import Traces


def _open_sqlite(url: str, clock: Clock) -> Store:
    return open_sqlite(url, clock=clock)


def _open_postgres(url: str, clock: Clock) -> Store:
    with needing_psycopg():
        from .postgres import open_postgres  # noqa: PLC0415 - psycopg is an extra: most have no need of it
    return open_postgres(url, clock=clock)


@contextmanager
def needing_psycopg() -> Generator[None]:
    """Say what to install where the block's imports fail.

    Raises:
        UsageError: then.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(f"PostgreSQL needs psycopg: pip install 'nurselog[postgres]' ({error})") from error


_OPENERS: dict[str, Callable[[str, Clock], Store]] = {
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}


def open_store(url: str, *, clock: Clock) -> Store:
    """Return the store at an address; it is not open yet: `await store.open(lease)`.

    Args:
        url: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`, `sqlite://` for one in memory, or
            `postgresql://user@host/database` with libpq's options after a question mark, and beside them `schema=`, and
            `shards=` if it must have so many. A file's may end with `?synchronous=normal`, and a PostgreSQL database's
            options have it, too: commits do not wait for the disk then, and are faster; a power cut may undo the last
            ones, so that steps run again whose outcome had been recorded.
        clock: tells the time for leases and due times.

    Raises:
        UsageError: if there is no such kind of store, or the address is none.
    """
    opener = _OPENERS.get(str(url).partition("://")[0])
    if not opener:
        raise UsageError(
            f"{hide(str(url))!r} is no address of a store: it must begin with one of {', '.join(_OPENERS)}://"
        )
    return opener(url, clock)


def _open_postgres_database(url: str) -> Database:
    with needing_psycopg():
        from .postgres import open_postgres_database  # noqa: PLC0415 - psycopg is an extra: most have no need of it
    return open_postgres_database(url)


_DATABASES: dict[str, Callable[[str], Database]] = {
    "sqlite": open_sqlite_database,
    "postgresql": _open_postgres_database,
    "postgres": _open_postgres_database,
}


def open_database(url: str) -> Database:
    """Return a database for transactions that is not the store's; it is opened when it is used.

    Args:
        url: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`, `sqlite://` for one in memory, or
            `postgresql://user@host/database` with libpq's options after a question mark.

    Raises:
        UsageError: if there is no such kind of database, or the address is none.
    """
    opener = _DATABASES.get(str(url).partition("://")[0])
    if not opener:
        raise UsageError(
            f"{hide(str(url))!r} is no address of a database: it must begin with one of {', '.join(_DATABASES)}://"
        )
    return opener(url)


async def find_traces(url: str, mark: bytes) -> Traces:
    """Return what in the store at an address speaks of something outside of it. A checkpoint.

    Args:
        url: as for `open_store`.
        mark: what a value begins with that does so; a multiple of 3 bytes.

    Raises:
        UsageError: if the address is none.
        StoreError: if there is no store, or it cannot be read.
    """
    if not url.startswith("postgres"):
        return await trio.to_thread.run_sync(find_in_file, parse_url(url), mark)
    with needing_psycopg():
        from ._postgres.traces import find_traces  # noqa: PLC0415 - psycopg is an extra
    return await find_traces(url, mark)


def outlet_of(connection: object, schema: str) -> Outlet:
    """Return the way into the store in the database of a connection.

    Args:
        connection: the application's, of the `sqlite3` module or of psycopg.
        schema: where the store is in a PostgreSQL database.

    Raises:
        UsageError: if it is no such connection.
    """
    if isinstance(connection, sqlite3.Connection):
        return SqliteOutlet(connection)
    if "psycopg" in sys.modules:  # else it is none of psycopg's
        from ._postgres.outlet import find_outlet  # noqa: PLC0415 - psycopg is an extra

        if outlet := find_outlet(connection, schema):
            return outlet
    raise UsageError(
        "an outbox needs a sqlite3.Connection, a psycopg.Connection or a psycopg.AsyncConnection, not "
        f"{type(connection).__name__}. What others make of one, such as a session or a pool, has one inside"
    )
