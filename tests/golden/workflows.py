"""Workflows whose logs are kept for ever. What stands here is frozen with the logs: add functions, change none.

Together they leave every kind of event in their logs, and use every durable operation.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
import trio

from nurselog import (
    CancelScope,
    Retry,
    after,
    as_completed,
    at,
    attempt,
    expose,
    fail_after,
    gather,
    mailbox,
    map_concurrently,
    move_on_after,
    move_on_at,
    now,
    open_memory_channel,
    open_nursery,
    open_stream,
    patched,
    promise,
    publish,
    race,
    reject,
    resolve,
    rng,
    select,
    send,
    sleep,
    sleep_until,
    step,
    step_key,
    updates,
    uuid4,
    workflow,
    workflow_id,
)
from nurselog.testing.corpus.workflows.answering import leave_update
from nurselog.testing.corpus.world import entered


@dataclass(frozen=True)
class Quote:
    broker: str
    price: Decimal
    at: datetime


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Parcel:
    id: uuid.UUID
    weight: float
    colours: frozenset[Colour]
    stamp: bytes
    route: tuple[str, ...]
    note: str | None = None


@step
async def quote(broker: str, symbol: str) -> Quote:
    entered()
    await trio.sleep(0.1 if broker == "alpha" else 3)
    return Quote(broker, Decimal("12.50"), datetime(2026, 11, 24, tzinfo=UTC))


@step
async def nap(seconds: float) -> float:
    entered()
    await trio.sleep(seconds)
    return seconds


@step
async def square(n: int) -> int:
    entered()
    await trio.sleep(n / 100)
    return n * n


@step
async def decline(reason: str) -> None:
    entered()
    error = ValueError(reason, 7)
    error.add_note("a note")
    raise error from KeyError("the cause")


@step(retry=Retry(attempts=4, delay=1, factor=2, jitter=0.5))
async def flaky() -> int:
    entered()
    if attempt() < 3:
        raise ConnectionError(f"attempt {attempt()}")
    return attempt()


@step(at_most_once=True)
async def charge(amount: int) -> str:
    entered()
    await trio.sleep(0.2)
    return f"{amount} charged"


@step(timeout=0.5, name="slow one")
async def slow() -> None:
    entered()
    await trio.sleep_forever()


@step
async def stubborn() -> str:
    entered()
    with trio.CancelScope(shield=True):
        await trio.sleep(0.3)
    return "finished anyway"


@step
async def pack(id: uuid.UUID) -> Parcel:
    entered()
    return Parcel(id, 1.25, frozenset(Colour), b"\x00\xff", ("here", "there"))


@step
async def refund(charged: str) -> str:
    entered()
    await trio.sleep(0.1)
    return f"{charged}, refunded"


@workflow(name="golden best_quote")
async def best_quote(symbol: str) -> Quote:
    async with open_nursery() as nursery:
        first = nursery.go(quote, "alpha", symbol)
        second = nursery.go(quote, "beta", symbol)
        with fail_after(5):
            winner = await select(first, second, after(60))
        nursery.cancel_scope.cancel("first quote wins")
    found = winner.unwrap()
    assert found is not None
    return found


@workflow(name="golden order")
async def order(amount: int) -> str:
    charged = await charge(amount)
    try:
        async with open_nursery() as nursery:
            nursery.go(nap, 100)
            nursery.go(stubborn)
            await sleep(30)
    except BaseException:
        with CancelScope(shield=True):
            await refund(charged)
        raise
    return charged


@workflow(name="golden patience")
async def patience() -> list[Any]:
    seen: list[Any] = [await flaky(), await nap(2.5)]
    with move_on_after(0.2) as scope:
        await nap(50)
    seen.append(scope.cancelled_caught)
    with move_on_at(now() + timedelta(seconds=1)):
        await trio.Event().wait()
    try:
        await slow()
    except trio.TooSlowError as exc:
        seen.append(str(exc))
    await sleep_until(now() + timedelta(minutes=5))
    return seen


@workflow(name="golden failure")
async def failure() -> None:
    try:
        await decline("caught")
    except ValueError as exc:
        assert exc.args == ("caught", 7)  # noqa: PT017 - the code of a workflow, not of a test
    async with open_nursery() as nursery:
        nursery.go(nap, 100)
        nursery.go(decline, "not caught")


@workflow(name="golden sharing")
async def sharing() -> list[Any]:
    seen: list[Any] = []
    lock, limiter = trio.Lock(), anyio.CapacityLimiter(2)
    send, receive = trio.open_memory_channel[int](1)

    async def branch(n: int) -> int:
        async with limiter:
            value = await square(n)
        async with lock:
            seen.append(value)
        await send.send(value)
        return value

    async def server(task_status: trio.TaskStatus[str]) -> None:
        await nap(0.01)
        task_status.started("up")
        await nap(50)

    async with open_nursery() as nursery:
        seen.append(await nursery.start(server))
        handles = [nursery.go(branch, n) for n in range(4)]
        nursery.start_soon(branch, 9)
        total = sum([await receive.receive() for _ in range(5)])
        seen.extend(await gather(*handles))
        async with anyio.create_task_group() as group:
            for n in range(3):
                group.start_soon(branch, n)
            total += sum([await receive.receive() for _ in range(3)])
        handles[0].cancel("too late")
        nursery.cancel_scope.cancel()
    return [*seen, total]


@workflow(name="golden helpers")
async def helpers() -> list[Any]:
    results: list[Any] = [await race(partial(nap, 0.3), partial(nap, 0.1))]
    results.append(await map_concurrently(square, range(5), limit=2))
    send, receive = open_memory_channel[int](0)

    async def produce() -> None:
        with send:
            for n in range(2):
                await send.send(await square(n))

    async with open_nursery() as nursery:
        results.extend([handle.path async for handle in as_completed(nursery.go(nap, 0.2), nursery.go(nap, 0.1))])
        nursery.start_soon(produce)
        time_is_up = at(now() + timedelta(seconds=9))
        while True:
            chosen = await select(receive, time_is_up)
            results.append([chosen.index, type(chosen.outcome).__name__])
            if chosen.index == 1 or type(chosen.outcome).__name__ == "Failed":
                break
        loser = nursery.go(nap, 100)
        loser.cancel("not needed")
        results.append(repr(await loser.receive()))
    return results


@workflow(name="golden chance")
async def chance(parcel: Parcel) -> list[Any]:
    packed = await pack(uuid4())
    assert packed.colours == parcel.colours
    keys = [await key_of(), await key_of()]
    return [
        patched("the new way"),
        rng().random(),
        str(packed.id),
        now().isoformat(),
        workflow_id(),
        keys,
        str(parcel.id),
    ]


@step
async def key_of() -> str:
    entered()
    return step_key()


@workflow(name="golden conversation")
async def conversation() -> list[Any]:
    me, orders = workflow_id(), mailbox("orders", int)
    kept, broken, never = promise(str), promise(int), promise()
    await send(me, "orders", 1)
    await send(me, "orders", 2, key="the same")
    await send(me, "orders", 3, key="the same")
    seen: list[Any] = [await orders.receive()]
    async with open_nursery() as nursery:
        nursery.go(send, me, "orders", 4)
        nursery.go(resolve, kept.id, "yes")
        nursery.go(reject, broken.id, LookupError("no"))
        seen.append(await kept.result())
        seen.append(repr(await broken.receive()))
    await resolve(kept.id, "too late")
    while seen[-1] != "time is up":
        chosen = await select(orders, never, after(30))
        seen.append(chosen.unwrap() if chosen.index < 2 else "time is up")
    await send(me, "orders", 5)
    with move_on_after(60):
        async for order in orders:
            seen.append(order)
    await send(me, "nobody reads this", seen)
    return seen


@workflow(name="golden part")
async def part(number: int) -> int:
    await nap(number)
    if number == 2:
        await decline("part 2")
    return number


@workflow(name="golden family")
async def family() -> list[Any]:
    seen: list[Any] = []
    async with open_nursery() as nursery:
        parts = [nursery.go(part, number) for number in (1, 2, 100)]
        seen.append(await parts[0].result())
        seen.append(type(await parts[1].receive()).__name__)
        parts[2].cancel("not needed")
        seen.append(repr(await parts[2].receive()))
    seen.extend([await nap(0.1) for _ in range(10)])
    with move_on_after(5):
        await part(200)
    seen.append(await part(3))
    return seen


@step(name="golden tell")
async def tell(count: int) -> None:
    async with open_stream("items") as stream:
        for number in range(count):
            await stream.send({"number": number})
            await trio.sleep(1)


@workflow(name="golden progress")
async def progress() -> str:
    publish("state", "begun")
    async with open_nursery() as nursery:
        nursery.go(tell, 3)
        nursery.go(nap, 2)
        publish("state", "waits")
    with open_stream("own") as stream:
        for number in range(3):
            await stream.send(number)
            await nap(0.1)
        await stream.send_all("abc")
    publish("state", Parcel(uuid.UUID(int=7), 0.5, frozenset({Colour.RED}), b"raw", ()))
    return "done"


@step(name="golden ask")
async def ask(key: str, value: Any) -> None:
    await trio.sleep(0.5)
    await leave_update("orders", key, value)


@workflow(name="golden asked")
async def asked() -> list[str]:
    keys: list[str] = []
    expose(keys)

    async def customer() -> None:
        for key, value in (("a", 1), ("b", "no number"), ("c", 2), ("d", 0)):
            await ask(key, value)

    async with open_nursery() as nursery:
        nursery.go(customer)
        async for one in updates("orders", int, Parcel | None):
            keys.append(one.key)
            if one.value == 0:
                one.answer(None)
                break
            await nap(0.1)
            if one.value % 2:
                one.reject(LookupError(f"no {one.value}"))
            else:
                one.answer(Parcel(uuid.UUID(int=one.value), 0.5, frozenset({Colour.RED}), b"raw", ()))
    await ask("e", 3)
    (await updates("orders").receive()).answer(keys)
    return keys


ARGUMENTS: dict[Callable[..., Awaitable[Any]], tuple[Any, ...]] = {
    best_quote: ("ACME",),
    order: (40,),
    patience: (),
    failure: (),
    sharing: (),
    helpers: (),
    chance: (Parcel(uuid.UUID(int=7), 0.5, frozenset({Colour.RED, Colour.BLUE}), b"raw", ()),),
    conversation: (),
    part: (1,),
    family: (),
    progress: (),
    asked: (),
}
