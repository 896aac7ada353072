"""Accounts in a database, and transactions that are written once for all kinds of databases.

A script is a generator: it yields statements, with `?` where values go, and gets their rows. `Bank.transaction` makes a
body of it, an async one or a sync one, as the bank's database wants it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from nurselog import Engine, Step, Workflow, open_engine, transaction
from nurselog._stores._postgres.address import parse
from nurselog._stores.sqlite import parse_url

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where it is needed
    import psycopg

Script = Generator[tuple[Any, ...], list[tuple[Any, ...]], Any]


@dataclass(frozen=True)
class Bank:
    """Where transactions run."""

    store: str
    shop: str | None = None
    """Another database; None: they run in the store's own."""

    @property
    def is_async(self) -> bool:
        return (self.shop or self.store).startswith("postgresql:")

    @property
    def name(self) -> str | None:
        return None if self.shop is None else "shop"

    def engine(
        self, *workflows: Workflow[..., Any], store: Any = None, **options: Any
    ) -> AbstractAsyncContextManager[Engine]:
        databases = {"shop": self.shop} if self.shop else None
        return open_engine(store or self.store, workflows, databases=databases, **options)

    def transaction(self, script: Callable[..., Script], returns: Any = Any, **options: Any) -> Step[..., Any]:
        """Make a transaction of a script."""

        async def in_postgres(connection: Any, *args: Any) -> Any:
            return await drive_async(script(*args), connection)

        def in_sqlite(connection: Any, *args: Any) -> Any:
            return drive(script(*args), connection)

        body = in_postgres if self.is_async else in_sqlite
        body.__annotations__ = {"return": returns}
        return transaction(name=script.__name__, database=self.name, **options)(body)

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as others do, outside of all transactions of the engine."""
        with self.connection() as connection:
            return execute(connection, query, values)

    @contextlib.contextmanager
    def connection(self) -> Generator[Any]:
        """Connect to the database as another program does."""
        url = self.shop or self.store
        if url.startswith("postgresql:"):
            with psycopg.connect(parse(url).conninfo, autocommit=True) as connection:
                yield connection
        else:
            with contextlib.closing(sqlite3.connect(path_of(url), isolation_level=None)) as file:
                yield file

    def keys(self) -> list[Any]:
        """Return the outcomes that the database has."""
        table = (
            "nurselog_transaction" if self.shop else "nurselog.transaction_key" if self.is_async else "transaction_key"
        )
        with contextlib.suppress(sqlite3.OperationalError):  # a table that was made by what was undone is not there
            return [
                outcome if outcome is None else bytes(outcome)
                for (outcome,) in self.ask(f"SELECT outcome FROM {table}")
            ]
        return []

    def open_accounts(self, count: int, amount: int = 100) -> None:
        self.ask("CREATE TABLE account (name integer PRIMARY KEY, amount integer NOT NULL CHECK (amount >= 0))")
        # No key: a transfer that is done twice is to be seen.
        self.ask("CREATE TABLE transfer (id text NOT NULL, source integer, target integer, amount integer)")
        for name in range(count):
            self.ask("INSERT INTO account VALUES (?, ?)", name, amount)

    def amounts(self) -> list[int]:
        return [amount for (amount,) in self.ask("SELECT amount FROM account ORDER BY name")]

    def transfers(self) -> list[str]:
        return [id for (id,) in self.ask("SELECT id FROM transfer ORDER BY id")]

    def judge(self, accounts: int, amount: int = 100) -> list[str]:
        """See that each transfer was done once and as a whole; return which there were."""
        done = self.ask("SELECT id, source, target, amount FROM transfer ORDER BY id")
        amounts = [amount] * accounts
        for _, source, target, moved in done:
            amounts[source] -= moved
            amounts[target] += moved
        assert self.amounts() == amounts
        ids = [id for id, *_ in done]
        assert len(set(ids)) == len(ids)
        return ids


def path_of(url: str) -> str:
    return str(parse_url(url).path)


def transfer(id: str, source: int, target: int, amount: int) -> Script:
    """Move money; return what is left in the first account."""
    yield "UPDATE account SET amount = amount - ? WHERE name = ?", amount, source
    yield "UPDATE account SET amount = amount + ? WHERE name = ?", amount, target
    yield "INSERT INTO transfer VALUES (?, ?, ?, ?)", id, source, target, amount
    [(left,)] = yield "SELECT amount FROM account WHERE name = ?", source
    return left


def execute(connection: Any, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    if isinstance(connection, sqlite3.Connection):
        return connection.execute(query, tuple(values)).fetchall()
    cursor = connection.execute(query.replace("?", "%s"), values)
    return cursor.fetchall() if cursor.description else []


def drive(script: Script, connection: sqlite3.Connection) -> Any:
    try:
        query, *values = next(script)
        while True:
            query, *values = script.send(execute(connection, query, values))
    except StopIteration as end:
        return end.value


async def drive_async(script: Script, connection: psycopg.AsyncConnection[Any]) -> Any:
    try:
        query, *values = next(script)
        while True:
            cursor = await connection.execute(query.replace("?", "%s"), values)
            rows = await cursor.fetchall() if cursor.description else []
            query, *values = script.send(rows)
    except StopIteration as end:
        return end.value
