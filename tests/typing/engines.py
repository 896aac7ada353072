"""What the engine's names mean to a type checker."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any, assert_type

import trio

from nurselog import (
    Engine,
    EngineStatistics,
    Item,
    Letter,
    Status,
    WorkflowHandle,
    WorkflowInfo,
    open_engine,
    step,
    workflow,
)
from nurselog.abc import Clock, Codec, Store
from nurselog.lowlevel import Event, JsonCodec, LogEntry, Row, decode_event, open_store


@step
async def fetch(n: int) -> int:
    return n


@workflow
async def adding(a: int, b: int) -> float:
    return a + b


@workflow(name="with default")
async def with_default(a: int, *, b: str = "x") -> str:
    return b * a


async def calls(engine: Engine) -> None:
    assert_type(await engine.run(adding, 1, 2), float)
    assert_type(await engine.run(adding, 1, 2, id="one"), float)
    assert_type(await engine.submit(adding, 1, 2), WorkflowHandle[float])
    assert_type(await engine.run(functools.partial(with_default, b="y"), 1), str)
    assert_type(await engine.get("one"), WorkflowHandle[Any])
    assert_type(await engine.fork("one", at=1), WorkflowHandle[Any])
    assert_type(await engine.list(status=[Status.RUNNING], limit=5), Sequence[WorkflowInfo])
    assert_type(engine.statistics(), EngineStatistics)

    await engine.run(adding, 1)  # type: ignore[arg-type]  # missing  # pyright: ignore[reportArgumentType]  # the same
    await engine.submit(adding, 1, "2")  # type: ignore[arg-type]  # no int  # pyright: ignore[reportArgumentType]  # the same
    await engine.run(len, "")  # type: ignore[arg-type]  # sync  # pyright: ignore[reportArgumentType]  # the same
    await engine.list(status="running")  # type: ignore[arg-type]  # no status  # pyright: ignore[reportArgumentType]  # the same


async def messages(engine: Engine) -> None:
    assert_type(await engine.send("one", "topic", 5, key="five", early=True), bool)
    assert_type(
        await engine.send_all([Letter("one", "topic", 5), Letter("two", "topic", "x", key="x")]), Sequence[bool]
    )
    assert_type(await engine.resolve("one#1", 5), None)
    assert_type(await engine.reject("one#1", ValueError("no")), None)

    await engine.send("one", "topic")  # type: ignore[call-arg]  # missing  # pyright: ignore[reportCallIssue]  # the same
    await engine.send_all([("one", "topic", 5)])  # type: ignore[list-item]  # no letter  # pyright: ignore[reportArgumentType]  # the same
    await engine.reject("one#1", "no")  # type: ignore[arg-type]  # no error  # pyright: ignore[reportArgumentType]  # the same


async def handles(handle: WorkflowHandle[bool]) -> None:
    assert_type(await handle.result(), bool)
    assert_type(await handle.status(), Status)
    [first, *_] = await handle.log()
    assert_type(first, LogEntry)
    assert_type(first.event, Event)
    wider: WorkflowHandle[int] = handle
    print(wider)


@adding.query
def shown(state: list[int], start: int, end: int = 5) -> str:
    return str(state[start:end])


async def asking(engine: Engine, handle: WorkflowHandle[float]) -> None:
    assert_type(await engine.update("one", "name"), Any)
    assert_type(await engine.update("one", "name", 5, key="five"), Any)
    assert_type(await engine.update("one", "name", 5, int), int)
    assert_type(await engine.update("one", "name", 5, list[int], key="five"), list[int])
    assert_type(await engine.update("one", "name", 5, int | str), Any)
    assert_type(await engine.query("one", shown, 1, 2), str)
    assert_type(await engine.query("one", functools.partial(shown, end=7), 1), str)
    assert_type(await handle.query(shown, 1, 2), str)
    assert_type(shown([1], 1), str)

    await engine.update("one", 5)  # type: ignore[call-overload]  # no str  # pyright: ignore[reportArgumentType, reportCallIssue]  # the same
    await engine.query("one", shown, "1", 2)  # type: ignore[arg-type]  # no int  # pyright: ignore[reportArgumentType]  # the same
    await handle.query(shown)  # type: ignore[arg-type]  # missing  # pyright: ignore[reportArgumentType]  # the same


async def published(handle: WorkflowHandle[bool]) -> None:
    assert_type(await handle.latest("name"), Item[Any] | None)
    assert_type(await handle.latest("name", int), Item[int] | None)
    assert_type(await handle.latest("name", list[int]), Item[list[int]] | None)
    assert_type(await handle.latest("name", int | str), Item[Any] | None)
    assert_type(handle.follow("name"), trio.abc.ReceiveChannel[Item[Any]])
    assert_type(handle.follow("name", int, after=5), trio.abc.ReceiveChannel[Item[int]])
    assert_type(handle.follow("name", int | str), trio.abc.ReceiveChannel[Item[Any]])
    async for item in handle.follow("name", str):
        assert_type(item.position, int)
        assert_type(item.at, datetime)
        assert_type(item.value, str)

    assert_type(handle.follow_log(after=5), trio.abc.ReceiveChannel[LogEntry])
    async for entry in handle.follow_log():
        assert_type(entry.event, Event)

    handle.follow_log(5)  # type: ignore[call-arg]  # no place of its own  # pyright: ignore[reportCallIssue]  # the same
    handle.follow("name", int, 5)  # type: ignore[call-overload]  # no place of its own  # pyright: ignore[reportCallIssue]  # the same
    handle.follow("name", after="5")  # type: ignore[call-overload]  # no position  # pyright: ignore[reportArgumentType]  # the same


async def opening(clock: Clock, codec: Codec, row: Row) -> None:
    store: Store = open_store("sqlite://", clock=clock)
    json: Codec = JsonCodec()
    async with open_engine(store, [adding, with_default], clock=clock, codec=codec) as engine:
        assert_type(engine, Engine)
    async with open_engine("sqlite://", max_running=5, codec=json) as engine:
        assert_type(engine, Engine)
    open_engine("sqlite://", [fetch])  # type: ignore[list-item]  # a step  # pyright: ignore[reportArgumentType]  # the same
    assert_type(decode_event(row.event), Event)
