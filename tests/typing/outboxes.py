"""What the outbox means to a type checker."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Awaitable
from typing import Any, assert_type

import psycopg

from nurselog import Outbox, outbox, workflow
from nurselog.lowlevel import JsonCodec


@workflow
async def adding(a: int, b: int) -> float:
    return a + b


@workflow(name="with default")
async def with_default(a: int, *, b: str = "x") -> str:
    return b * a


def sync(file: sqlite3.Connection, server: psycopg.Connection[Any]) -> None:
    assert_type(outbox.submit(file, adding, 1, 2), str)
    assert_type(outbox.submit(server, adding, 1, 2, id="one"), str)
    assert_type(outbox.submit(server, functools.partial(with_default, b="y"), 1), str)
    assert_type(outbox.send(file, "one", "topic", 5), bool)
    assert_type(outbox.send(server, "one", "topic", 5, key="five"), bool)

    outbox.submit(file, adding, 1)  # type: ignore[arg-type]  # missing  # pyright: ignore[reportCallIssue, reportArgumentType]  # the same
    outbox.submit("shop.db", adding, 1, 2)  # type: ignore[call-overload]  # no connection  # pyright: ignore[reportCallIssue, reportArgumentType]  # the same
    outbox.send(file, "one", "topic")  # type: ignore[call-overload]  # missing  # pyright: ignore[reportCallIssue]  # the same


async def asynchronous(server: psycopg.AsyncConnection[Any]) -> None:
    later: Awaitable[str] = outbox.submit(server, adding, 1, 2)
    assert_type(await later, str)
    assert_type(await outbox.submit(server, adding, 1, 2), str)
    assert_type(await outbox.send(server, "one", "topic", 5), bool)


def others(file: sqlite3.Connection) -> None:
    mine = Outbox(schema="shop", codec=JsonCodec(), max_inbox=10)
    assert_type(mine.submit(file, adding, 1, 2), str)
    assert_type(mine.send(file, "one", "topic", 5), bool)

    Outbox("shop")  # type: ignore[call-arg]  # by name only  # pyright: ignore[reportCallIssue]  # the same
