"""The workflows that clients are tried with."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from nurselog import mailbox, open_stream, promise, publish, sleep, step, updates, workflow


@dataclass(frozen=True)
class Receipt:
    total: int
    tip: int


@step
async def price(quantity: int) -> int:
    return quantity * 3


@workflow(name="order")
async def order(quantity: int, in_addition: int = 0) -> Receipt:
    return Receipt(await price(quantity), in_addition)


@workflow(name="prices", version="2")
async def prices(quantity: int) -> int:
    return await price(quantity)


@workflow(name="sums")
async def sums(zero: int, *others: int) -> int:
    return zero + sum(others)


@workflow(name="listens")
async def listens(count: int) -> list[int]:
    box = mailbox("numbers", int)
    return [await box.receive() for _ in range(count)]


@workflow(name="asks")
async def asks() -> str:
    answer = promise(str)
    publish("promise", answer.id)
    return await answer.result()


@workflow(name="tells")
async def tells(count: int) -> None:
    box = mailbox("more", int)
    async with open_stream("numbers") as stream:
        for number in range(count):
            await stream.send(number)
            publish("current", number)
            await box.receive()


@workflow(name="adds")
async def adds(total: int) -> int:
    async for one in updates("add", int):
        total += one.value
        one.answer(total)
        if total > 100:
            break
    return total


@workflow(name="sleeps")
async def sleeps() -> None:
    await sleep(3600)


@workflow(name="fails")
async def fails() -> None:
    raise ValueError("no good")


@workflow(name="runs dry")
async def runs_dry(*, channel: bool) -> None:
    publish("numbers", 1)
    raise trio.EndOfChannel if channel else StopAsyncIteration


SHOP = [order, prices, sums, listens, asks, tells, adds, sleeps, fails, runs_dry]
