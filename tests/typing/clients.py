"""What the clients' names mean to a type checker."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, assert_type

from nurselog import (
    AsyncClient,
    AsyncClientHandle,
    Client,
    ClientHandle,
    Item,
    Letter,
    Status,
    WorkflowInfo,
    open_client,
    open_engine_thread,
    workflow,
)
from nurselog.lowlevel import LogEntry


@workflow
async def adding(a: int, b: int) -> float:
    return a + b


@workflow(name="with default")
async def with_default(a: int, *, b: str = "x") -> str:
    return b * a


async def async_calls(client: AsyncClient) -> None:
    assert_type(await client.run(adding, 1, 2, id="one"), float)
    assert_type(await client.submit(adding, 1, 2), AsyncClientHandle[float])
    assert_type(await client.run(functools.partial(with_default, b="y"), 1), str)
    assert_type(await client.run("adding", 1, 2, type=float), float)
    assert_type(await client.submit("adding", 1, 2, type=float, id="one", version="2"), AsyncClientHandle[float])
    assert_type(await client.submit("adding", 1, "2"), AsyncClientHandle[Any])
    assert_type(await client.submit("adding", 1, "2", type=list[int] | None), AsyncClientHandle[Any])
    assert_type(await client.get("one"), AsyncClientHandle[Any])
    assert_type(await client.get("one", float), AsyncClientHandle[float])
    assert_type(await client.fork("one", at=1), AsyncClientHandle[Any])
    assert_type(await client.list(status=[Status.RUNNING], limit=5), Sequence[WorkflowInfo])
    assert_type(await client.send_all([Letter("one", "topic", 5)]), Sequence[bool])
    assert_type(await client.update("one", "name", 5, int), int)
    assert_type(await client.update("one", "name"), Any)

    await client.run(adding, 1)  # type: ignore[arg-type]  # missing  # pyright: ignore[reportArgumentType, reportCallIssue]  # the same
    await client.run(len, "")  # type: ignore[arg-type]  # sync  # pyright: ignore[reportArgumentType, reportCallIssue]  # the same


async def async_handles(handle: AsyncClientHandle[float]) -> None:
    assert_type(await handle.result(), float)
    assert_type(await handle.status(), Status)
    assert_type(await handle.log(), Sequence[LogEntry])
    assert_type(await handle.latest("name", int), Item[int] | None)
    async for item in handle.follow("name", int, after=3):
        assert_type(item, Item[int])
    async for entry in handle.follow_log(after=3):
        assert_type(entry, LogEntry)


def sync_calls(client: Client) -> None:
    assert_type(client.run(adding, 1, 2), float)
    assert_type(client.submit(adding, 1, 2), ClientHandle[float])
    assert_type(client.run("adding", 1, 2, type=float), float)
    assert_type(client.submit("adding", 1, "2"), ClientHandle[Any])
    assert_type(client.get("one", float), ClientHandle[float])
    assert_type(client.submit(adding, 1, 2).result(), float)
    for item in client.get("one").follow("name", int):
        assert_type(item.value, int)
    for entry in client.get("one").follow_log():
        assert_type(entry, LogEntry)


async def openings() -> None:
    async with open_client("sqlite:///a.db") as client:
        assert_type(client, AsyncClient)
    with Client("sqlite:///a.db") as sync_client:
        assert_type(sync_client, Client)
    async with open_engine_thread("sqlite:///a.db", [adding], max_running=5) as client:
        assert_type(client, AsyncClient)
    with open_engine_thread("sqlite:///a.db") as sync_client:
        assert_type(sync_client, Client)
    open_engine_thread("sqlite:///a.db", maximum=5)  # type: ignore[call-arg]  # no option  # pyright: ignore[reportCallIssue]  # the same
