"""A value that cannot be read here and now makes a workflow wait, wherever it meets it, and never fail."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    DecodingError,
    Engine,
    Outbox,
    Promise,
    Status,
    ValueUnavailable,
    WorkflowStuck,
    mailbox,
    promise,
    select,
    sleep,
    step,
    updates,
    workflow,
)
from nurselog.lowlevel import JsonCodec
from nurselog.testing import VirtualClock
from tests.engine.rig import on_file

Clock = trio.testing.MockClock


class Keyed:
    """Writes which key it has before each value, and reads what was written with it."""

    def __init__(self, *keys: bytes) -> None:
        self._keys, self._inner = keys, JsonCodec()

    def check(self, annotation: Any) -> None:
        self._inner.check(annotation)

    def encode(self, value: object, annotation: Any) -> bytes:
        return self._keys[0] + self._inner.encode(value, annotation)

    def decode(self, data: bytes, annotation: Any) -> Any:
        if data[:1] not in self._keys:
            raise ValueUnavailable(f"there is no key {data[:1].decode()!r}")
        return self._inner.decode(data[1:], annotation)


class Careless(Keyed):
    """Raises what it likes."""

    def decode(self, data: bytes, annotation: Any) -> Any:
        self._keys.index(data[:1])
        return self._inner.decode(data[1:], annotation)


@step(name="unavailable.repeat")
async def repeat(text: str) -> str:
    return text


@workflow(name="unavailable.child")
async def child(text: str) -> str:
    return text


@workflow(name="unavailable.of a step")
async def of_a_step() -> str:
    said = await repeat("fir")
    await sleep(10)
    return said


@workflow(name="unavailable.of a child")
async def of_a_child() -> str:
    said = await child("fir")
    await sleep(10)
    return said


@workflow(name="unavailable.of a mailbox")
async def of_a_mailbox() -> str:
    said: str = await mailbox("talk", str).receive()
    await sleep(10)
    return said


@workflow(name="unavailable.of a mailbox that is read late")
async def read_late() -> str:
    talk = mailbox("talk", str)
    await sleep(2)
    try:
        return talk.receive_nowait()
    except DecodingError:
        return "it was read as an error"


@workflow(name="unavailable.of a select")
async def of_a_select() -> str:
    await sleep(2)
    chosen = await select(mailbox("talk", str), mailbox("nothing", str))
    return chosen.unwrap()


@workflow(name="unavailable.of a promise")
async def of_a_promise() -> str:
    said = await settled(promise(str))
    await sleep(10)
    return said


async def settled(one: Promise[str]) -> str:
    return await one.result()


@workflow(name="unavailable.of an update")
async def of_an_update() -> str:
    asked = await updates("talk", str, str).receive()
    asked.answer(asked.value)
    await sleep(10)
    return asked.value


async def send(engine: Engine) -> None:
    await engine.send("one", "talk", "fir")


async def settle(engine: Engine) -> None:
    await engine.resolve("one#1", "fir")


async def ask(engine: Engine) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.update, "one", "talk", "fir")
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()


async def nothing(engine: Engine) -> None:
    """A step or a child says it by itself."""


CASES: list[tuple[Any, Callable[[Engine], Awaitable[None]]]] = [
    (of_a_step, nothing),
    (of_a_child, nothing),
    (of_a_mailbox, send),
    (read_late, send),
    (of_a_select, send),
    (of_a_promise, settle),
    (of_an_update, ask),
]


@pytest.mark.parametrize("kind", [Keyed, Careless])
@pytest.mark.parametrize(("code", "say"), CASES, ids=lambda one: getattr(one, "name", ""))
async def test_a_workflow_waits_for_what_is_missing(
    autojump_clock: Clock, tmp_path: Path, code: Any, say: Callable[[Engine], Awaitable[None]], kind: type[Keyed]
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, code, child, clock=clock, codec=kind(b"A")) as engine:
        await engine.submit(code, id="one")
        await trio.sleep(0.5)
    async with on_file(path, code, child, clock=clock, codec=kind(b"B", b"A")) as engine:
        await say(engine)
        await trio.sleep(0.2)
    missing = b"A" if say is nothing else b"B"
    known = b"B" if missing == b"A" else b"A"
    async with on_file(path, code, child, clock=clock, codec=kind(known)) as engine:
        with pytest.raises(WorkflowStuck, match=r"cannot be read: (there is no key|the codec cannot read what is rec)"):
            await (await engine.get("one")).result()
    async with on_file(path, code, child, clock=clock, codec=kind(b"A", b"B")) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == "fir"


async def test_what_a_sender_has_mistaken_is_an_error_of_the_receiver(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", read_late, codec=Keyed(b"A")) as engine:
        one = await engine.submit(read_late, id="one")
        await engine.send("one", "talk", 5)
        assert await one.result() == "it was read as an error"


async def test_who_asks_for_a_result_is_told(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, child, clock=clock, codec=Keyed(b"A")) as engine:
        assert await engine.run(child, "fir", id="one") == "fir"
    async with on_file(path, child, clock=clock, codec=Keyed(b"B")) as engine:
        one = await engine.get("one")
        with pytest.raises(ValueUnavailable, match="there is no key 'A'"):
            await one.result()
        assert await one.status() is Status.COMPLETED


@pytest.mark.parametrize("code", [of_a_mailbox, read_late, of_a_select], ids=lambda one: one.name)
async def test_a_message_that_comes_now(autojump_clock: Clock, tmp_path: Path, code: Any) -> None:
    """It waits with the workflow, and is not lost."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, code, clock=clock, codec=Keyed(b"A")) as engine:
        one = await engine.submit(code, id="one")
        await trio.sleep(0.5)
        with closing(sqlite3.connect(path)) as connection, connection:
            Outbox(codec=Keyed(b"B")).send(connection, "one", "talk", "fir")
        with pytest.raises(WorkflowStuck, match=r"a message for mailbox 'talk' \(row \d of the log\) cannot be read"):
            await one.result()
    async with on_file(path, code, clock=clock, codec=Keyed(b"A", b"B")) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == "fir"
