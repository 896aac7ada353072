"""Applications that use an outbox: sync ones, asyncio's and Trio's, each with a transaction of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeAlias

import trio

from nurselog import Outbox
from nurselog._stores._postgres.address import parse
from nurselog._stores.sqlite import parse_url

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    import psycopg

    from nurselog._stores._postgres.driver import TrioConnection

Act: TypeAlias = Callable[[Outbox, Any], Any]
"""Something that is done in the transaction, with the outbox and the connection."""

MINE = "CREATE TABLE IF NOT EXISTS mine (n integer)"


class RolledBack(Exception):
    """Raised by an act, so that its transaction is rolled back."""


class Caller:
    """An application.

    Args:
        url: of the store in whose database it has its table.
        style: what it runs on: "sync", "asyncio" or "trio".
    """

    def __init__(self, url: str, style: str = "sync", **options: Any) -> None:
        self._url, self._style = url, style
        self.is_postgres = url.startswith("postgresql:")
        if self.is_postgres:
            options.setdefault("schema", parse(url).schema)
        self.outbox = Outbox(**options)

    async def do(self, *acts: Act) -> list[Any]:
        """Do something in one transaction; return what came of each act. An error rolls it back and comes out."""
        match self._style:
            case "sync":
                return await trio.to_thread.run_sync(self.do_sync, *acts)
            case "asyncio":
                return await trio.to_thread.run_sync(lambda: asyncio.run(self._do_asyncio(*acts)))
            case _:
                connection = await TrioConnection.connect(parse(self._url).conninfo)
                return await self._do_on(connection, *acts)

    def do_sync(self, *acts: Act) -> list[Any]:
        with self.connect() as connection:
            try:
                answers = [act(self.outbox, connection) for act in acts]
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            return answers

    async def _do_asyncio(self, *acts: Act) -> list[Any]:
        return await self._do_on(await psycopg.AsyncConnection.connect(parse(self._url).conninfo), *acts)

    async def _do_on(self, connection: psycopg.AsyncConnection[Any], *acts: Act) -> list[Any]:
        async with connection:
            return [await finished(act(self.outbox, connection)) for act in acts]

    def connect(self, **options: Any) -> contextlib.AbstractContextManager[Any]:
        """Connect to the database, in the sync way."""
        if self.is_postgres:
            return contextlib.closing(psycopg.connect(parse(self._url).conninfo, **options))
        path = parse_url(self._url).path
        assert path
        return contextlib.closing(sqlite3.connect(path, **options))

    def make_table(self) -> None:
        """Make the table that the application has beside the store."""
        self.do_sync(lambda _, connection: connection.execute(MINE))

    def mine(self) -> list[int]:
        """Return what the application has written itself."""
        with self.connect() as connection:
            return [n for (n,) in connection.execute("SELECT n FROM mine ORDER BY n").fetchall()]


async def finished(answer: Any | Awaitable[Any]) -> Any:
    return await answer if isawaitable(answer) else answer


def write(n: int) -> Act:
    """Write into the application's own table."""
    return lambda _, connection: connection.execute(f"INSERT INTO mine VALUES ({n})")


def fail(_outbox: Outbox, _connection: Any) -> None:
    raise RolledBack
