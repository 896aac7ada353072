"""The same id with the same input is the same run, also where the codec writes other bytes each time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import Outbox, WorkflowConflict, sleep, submit, workflow
from nurselog.testing import VirtualClock
from tests.data.salted import SaltedCodec
from tests.engine.rig import crashed, in_memory, on_file

Clock = trio.testing.MockClock


@dataclass(frozen=True)
class Order:
    item: str
    number: int = 1


@dataclass(frozen=True, eq=False)
class Incomparable:
    item: str


@workflow(name="salted.buy")
async def buy(order: Order, *, gift: bool = False) -> str:
    await sleep(3600)
    return f"{order.number} {order.item}{', as a gift' if gift else ''}"


@workflow(name="salted.buy incomparable")
async def buy_incomparable(order: Incomparable) -> str:
    return order.item


@workflow(name="salted.shop")
async def shop(item: str) -> str:
    return await submit(buy, Order(item), id="from a workflow")


def test_it_writes_other_bytes_each_time() -> None:
    codec = SaltedCodec()
    assert codec.encode(1, int) != codec.encode(1, int)


async def test_the_same_call_again(autojump_clock: Clock) -> None:
    async with in_memory(codec=SaltedCodec()) as engine:
        await engine.submit(buy, Order("lamp"), id="one")
        await engine.submit(buy, Order("lamp", 1), id="one")
        assert await engine.run(partial(buy, gift=False), Order("lamp"), id="one") == "1 lamp"
        assert await engine.run(buy, Order("lamp"), id="one") == "1 lamp"
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(buy, Order("lamp", 2), id="one")
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(partial(buy, gift=True), Order("lamp"), id="one")


async def test_values_that_cannot_be_compared_are_not_the_same(autojump_clock: Clock) -> None:
    async with in_memory(codec=SaltedCodec()) as engine:
        await engine.submit(buy_incomparable, Incomparable("lamp"), id="one")
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(buy_incomparable, Incomparable("lamp"), id="one")
    async with in_memory() as engine:
        await engine.submit(buy_incomparable, Incomparable("lamp"), id="one")
        assert await engine.run(buy_incomparable, Incomparable("lamp"), id="one") == "lamp"


async def test_a_fork_is_no_run_of_its_input(autojump_clock: Clock) -> None:
    async with in_memory(codec=SaltedCodec()) as engine:
        await engine.submit(buy, Order("lamp"), id="one")
        await engine.fork("one", at=1, new_id="fork")
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(buy, Order("lamp"), id="fork")
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.fork("fork", at=1, new_id="one")


async def test_a_workflow_that_submits_goes_on_after_a_crash(autojump_clock: Clock, tmp_path: Path) -> None:
    """Its step runs again, and must find what it has made, and not a conflict with itself."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, buy, clock=clock, codec=SaltedCodec()) as engine:
        await engine.submit(buy, Order("lamp"), id="from a workflow")
        died = crashed(path)
    async with on_file(died, shop, buy, clock=clock, codec=SaltedCodec()) as engine:
        assert await engine.run(shop, "lamp") == "from a workflow"


async def test_an_outbox_finds_the_same_call(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock, outbox = tmp_path / "log.db", VirtualClock(), Outbox(codec=SaltedCodec())
    async with on_file(path, buy, clock=clock, codec=SaltedCodec()) as engine:
        await engine.submit(buy, Order("lamp"), id="one")
    with closing(sqlite3.connect(path)) as connection:
        assert outbox.submit(connection, buy, Order("lamp"), id="one") == "one"
        with pytest.raises(WorkflowConflict, match="with another input"):
            outbox.submit(connection, buy, Order("piano"), id="one")


class Pickled(SaltedCodec):
    """Reads what is no longer comparable in one piece: as arrays of numbers are not."""

    def decode(self, data: bytes, annotation: Any) -> Any:
        call = super().decode(data, annotation)
        return call if isinstance(call, str) else annotation(order=Refusing(call.order.item))


class Refusing(Incomparable):
    def __eq__(self, other: object) -> bool:
        raise ValueError("its truth is ambiguous")

    __hash__ = Incomparable.__hash__


async def test_values_that_refuse_to_be_compared_are_not_the_same(autojump_clock: Clock) -> None:
    async with in_memory(codec=Pickled()) as engine:
        await engine.submit(buy_incomparable, Incomparable("lamp"), id="one")
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(buy_incomparable, Incomparable("lamp"), id="one")
