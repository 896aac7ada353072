"""PostgreSQL in virtual time.

A virtual clock jumps to the next deadline whenever all tasks wait, also when they wait for a server. So here a store's
connections do not let Trio wait: they hold everybody up until the server has answered, and no virtual time passes.
Notifications are still waited for as always, and so may come late in virtual time, as in life.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from nurselog.abc import Clock

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    import psycopg

    from nurselog._stores._postgres.driver import poll
    from nurselog._stores._postgres.migrations import load_migrations
    from nurselog._stores.postgres import PostgresStore, open_postgres

T = TypeVar("T")
TABLES = ("workflow", "log", "worker", "message", "message_key", "transaction_key", "early_message")


class BlockingSockets:
    """Waits without Trio."""

    async def connect(self, connect: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        return connect()

    async def ready(self, fd: int, wanted: int) -> int:
        found = poll(fd, wanted, milliseconds=60_000)
        await trio.lowlevel.cancel_shielded_checkpoint()
        assert found, "the server does not answer"
        return found


def schema_of(path: Path) -> str:
    """Name a schema after a file: tests speak of files."""
    return f"at_{zlib.crc32(str(path).encode()):08x}"


def store_at(url: str, path: Path, clock: Clock, shards: int = 1) -> PostgresStore:
    """Return a store in which all time is virtual, and a commit need not be durable."""
    options = f"schema={schema_of(path)}&synchronous=normal&shards={shards}"
    return open_postgres(f"{url}&{options}", clock=clock, lease_clock=clock)


def copy(url: str, path: Path, twin: Path) -> None:
    """Copy a store as it would be if all its processes died now."""
    source, target = schema_of(path), schema_of(twin)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"DROP SCHEMA IF EXISTS {target} CASCADE; CREATE SCHEMA {target}; SET search_path = {target}"
        )
        for script in load_migrations():
            connection.execute(script)
        for table in ("about", *TABLES):
            connection.execute(f"INSERT INTO {table} SELECT * FROM {source}.{table}")
        for sequence in ("workflow_key", "message_number"):
            connection.execute(f"SELECT setval('{sequence}', (SELECT last_value + 1 FROM {source}.{sequence}))")


def execute(url: str, path: Path, statements: tuple[str, ...]) -> None:
    """Write into a store behind the engines' back."""
    with psycopg.connect(url, autocommit=True, options=f"-c search_path={schema_of(path)}") as connection:
        for statement in statements:
            connection.execute(statement)


def empty(url: str, path: Path) -> None:
    """Remove everything from a store that nobody uses. Truncating makes new files for each table, index and shard."""
    execute(url, path, tuple(f"DELETE FROM {table}" for table in TABLES))
