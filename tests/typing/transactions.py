"""What `@transaction` means to a type checker: callers do not see the connection."""

from __future__ import annotations

import sqlite3
from typing import Any, assert_type

from psycopg import AsyncConnection

from nurselog import Isolation, Step, open_engine, open_nursery, transaction


@transaction
async def in_postgres(connection: AsyncConnection[Any], n: int, *, name: str = "") -> str:
    await connection.execute("SELECT 1")
    return name * n


@transaction(database="shop", isolation=Isolation.SERIALIZABLE, timeout=5, name="other")
async def in_the_shop(connection: AsyncConnection[Any], n: int) -> list[int]:
    return [n]


@transaction
def in_sqlite(connection: sqlite3.Connection, n: int) -> bytes:
    connection.execute("SELECT 1")
    return bytes(n)


@transaction(database="cellar")
def in_the_cellar(connection: sqlite3.Connection) -> None: ...


async def calls() -> None:
    assert_type(await in_postgres(5, name="x"), str)
    assert_type(await in_the_shop(5), list[int])
    assert_type(await in_sqlite(5), bytes)
    await in_the_cellar()
    step: Step[[int], bytes] = in_sqlite
    await step.using(timeout=5)(5)
    async with open_nursery() as nursery:
        assert_type(await nursery.go(in_the_shop, 5).result(), list[int])

    await in_postgres("5")  # type: ignore[arg-type]  # no int  # pyright: ignore[reportArgumentType]  # the same
    await in_sqlite()  # type: ignore[call-arg]  # missing  # pyright: ignore[reportCallIssue]  # the same


async def wrong(connection: sqlite3.Connection) -> None:
    await in_sqlite(connection, 5)  # type: ignore[call-arg, arg-type]  # not by callers  # pyright: ignore[reportCallIssue]  # the same
    transaction(isolation="SERIALIZABLE")  # type: ignore[call-overload]  # a text  # pyright: ignore[reportArgumentType]  # the same
    transaction(database=5)  # type: ignore[call-overload]  # no text  # pyright: ignore[reportArgumentType]  # the same


async def opening() -> None:
    async with open_engine("sqlite://", databases={"shop": "postgresql://app@host/shop"}):
        pass
