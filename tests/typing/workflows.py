"""What the names for workflow code mean to a type checker."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, assert_type

import trio

from nurselog import (
    CancelScope,
    Failed,
    Handle,
    Mailbox,
    Nursery,
    Outcome,
    Promise,
    Retry,
    Selected,
    Status,
    Step,
    Succeeded,
    Update,
    Updates,
    WasCancelled,
    Workflow,
    after,
    as_completed,
    at,
    expose,
    fail_after,
    gather,
    mailbox,
    map_concurrently,
    move_on_after,
    open_memory_channel,
    open_nursery,
    promise,
    race,
    reject,
    resolve,
    select,
    send,
    sleep,
    step,
    updates,
    workflow,
)


@step
async def quote(broker: str, symbol: str) -> float:
    return 1.0


@step(retry=Retry(attempts=4), timeout=10)
async def name_of(symbol: str, *, upper: bool = False) -> str:
    return symbol


@step
def in_a_thread(n: int) -> bytes:
    return bytes(n)


@step(name="other", abandon_on_cancel=True)
def in_a_thread_with_options(n: int) -> list[int]:
    return [n]


@step(asyncio=True)
async def in_asyncio(n: int) -> set[int]:
    return {n}


@step(process=True, timeout=5)
def in_a_process(n: int) -> tuple[int, ...]:
    return (n,)


async def branch(symbol: str, limit: int) -> dict[str, int]:
    return {symbol: limit}


async def of_a_library(n: int) -> complex:
    return complex(n)


class Account:
    @step
    async def pay(self, amount: int) -> str:
        return str(amount)

    @step(timeout=5)
    def pay_in_a_thread(self, amount: int) -> bool:
        return bool(amount)

    @workflow
    async def monthly(self, amount: int) -> str:
        return await self.pay(amount)


@workflow
async def trading(symbol: str, limit: int = 5) -> float:
    return await quote("alpha", symbol)


@workflow(name="named", version="2")
async def named(symbol: str) -> str:
    return await name_of(symbol)


def by_position(step: Step[[str, str], float]) -> None: ...


def workflow_by_position(workflow: Workflow[[str, int], float]) -> None: ...


def callback_of(callback: Callable[[str], Awaitable[str]]) -> None: ...


def covariant(handle: Handle[int], narrow: Handle[bool]) -> None: ...


async def steps(account: Account) -> None:
    by_position(quote)
    assert_type(await quote("alpha", "ACME"), float)
    assert_type(await name_of("ACME", upper=True), str)
    assert_type(await in_a_thread(1), bytes)
    assert_type(await in_a_thread_with_options(1), list[int])
    assert_type(await account.pay(1), str)
    assert_type(await account.pay_in_a_thread(1), bool)
    assert_type(await step(of_a_library)(1), complex)
    assert_type(await in_asyncio(1), set[int])
    assert_type(await in_a_process(1), tuple[int, ...])
    assert_type(await step(name="x")(of_a_library)(1), complex)
    assert_type(await quote.using(timeout=5, name="other")("alpha", "ACME"), float)
    assert_type(await Account.pay(account, 1), str)

    await quote("alpha")  # type: ignore[call-arg]  # an argument is missing  # pyright: ignore[reportCallIssue]  # the same
    await quote("alpha", 5)  # type: ignore[arg-type]  # no str  # pyright: ignore[reportArgumentType]  # the same
    await name_of("ACME", lower=True)  # type: ignore[call-arg]  # no such keyword  # pyright: ignore[reportCallIssue]  # the same
    await account.pay("1")  # type: ignore[arg-type]  # no int  # pyright: ignore[reportArgumentType]  # the same
    await in_a_thread("1")  # type: ignore[arg-type]  # no int  # pyright: ignore[reportArgumentType]  # the same


async def children(account: Account) -> None:
    async with open_nursery() as nursery:
        assert_type(nursery, Nursery)
        assert_type(nursery.cancel_scope, CancelScope)
        assert_type(nursery.go(quote, "alpha", "ACME"), Handle[float])
        assert_type(nursery.go(in_a_thread, 1), Handle[bytes])
        assert_type(nursery.go(branch, "ACME", 1), Handle[dict[str, int]])
        assert_type(nursery.go(account.pay, 1, name="pay"), Handle[str])
        assert_type(nursery.go(functools.partial(name_of, upper=True), "ACME"), Handle[str])
        assert_type(nursery.go(functools.partial(branch, "ACME"), 1), Handle[dict[str, int]])
        nursery.start_soon(branch, "ACME", 1)
        nursery.start_soon(quote, "alpha", "ACME")

        nursery.go(quote, "alpha")  # type: ignore[arg-type]  # missing  # pyright: ignore[reportArgumentType]  # the same
        nursery.go(branch, "ACME", "1")  # type: ignore[arg-type]  # no int  # pyright: ignore[reportArgumentType]  # the same
        nursery.go(len, "ACME")  # type: ignore[arg-type]  # sync  # pyright: ignore[reportArgumentType]  # the same
        nursery.start_soon(branch, "ACME")  # type: ignore[arg-type]  # missing  # pyright: ignore[reportArgumentType]  # the same


async def handles(handle: Handle[int], boolean: Handle[bool]) -> None:
    assert_type(await handle.result(), int)
    assert_type(await handle.receive(), Succeeded[int] | Failed | WasCancelled)
    assert_type(handle.outcome, Succeeded[int] | Failed | WasCancelled | None)
    assert_type(handle.status, Status)
    assert_type(handle.path, str)
    outcome: Outcome[int] = await handle.receive()
    match outcome:
        case Succeeded(value=value):
            assert_type(value, int)
        case Failed(error=error):
            assert_type(error, Exception)
        case WasCancelled(reason=reason):
            assert_type(reason, str | None)
    assert_type(outcome.unwrap(), int)
    covariant(boolean, boolean)
    covariant(handle, handle)  # type: ignore[arg-type]  # no bool  # pyright: ignore[reportArgumentType]  # the same
    assert_type(await gather(handle, handle), list[int])
    assert_type(await gather(*[handle, handle]), list[int])
    async for done in as_completed(handle, handle):
        assert_type(done, Handle[int])


async def selects(handle: Handle[int], other: Handle[str], moment: datetime) -> None:
    send, receive = open_memory_channel[bytes](5)
    await send.send(b"")
    await send.send("")  # type: ignore[arg-type]  # no bytes  # pyright: ignore[reportArgumentType]  # the same
    assert_type(await receive.receive(), bytes)
    assert_type(await select(handle), Selected[int])
    assert_type(await select(handle, other), Selected[int | str])
    assert_type(await select(handle, other, receive), Selected[int | str | bytes])
    assert_type(await select(handle, after(5)), Selected[int | None])
    assert_type(await select(handle, at(moment), other, receive), Selected[int | None | str | bytes])
    assert_type((await select(handle, other)).unwrap(), int | str)
    assert_type((await select(handle, other)).index, int)
    assert_type(await select(*[handle, handle]), Selected[int])
    plain_send, plain_receive = trio.open_memory_channel[int](1)
    await select(plain_receive)  # type: ignore[call-overload]  # plain Trio's  # pyright: ignore[reportCallIssue, reportArgumentType]  # the same
    await select(5)  # type: ignore[call-overload]  # no case  # pyright: ignore[reportCallIssue, reportArgumentType]  # the same
    print(plain_send)


async def conversations(handle: Handle[int], either: Mailbox[bool], sure: Promise[bool]) -> None:
    numbers, approval = mailbox("numbers", int), promise(str)
    assert_type(numbers, Mailbox[int])
    assert_type(await numbers.receive(), int)
    assert_type(numbers.receive_nowait(), int)
    async for number in numbers:
        assert_type(number, int)
    assert_type(mailbox("anything"), Mailbox[Any])
    assert_type(mailbox("either", int | str), Mailbox[Any])
    assert_type(approval, Promise[str])
    assert_type(approval.id, str)
    assert_type(await approval.result(), str)
    assert_type(await approval.receive(), Succeeded[str] | Failed | WasCancelled)
    assert_type(approval.outcome, Succeeded[str] | Failed | WasCancelled | None)
    assert_type(promise(), Promise[Any])
    assert_type(promise(list[int]), Promise[list[int]])
    assert_type(await select(numbers, approval, handle, after(5)), Selected[int | str | None])
    wide: Mailbox[int] = either
    covered: Promise[int] = sure
    print(wide, covered)
    assert_type(await send("id", "numbers", 1, key="one"), None)
    assert_type(await resolve("id#1"), None)
    assert_type(await reject("id#1", ValueError("no")), None)
    async with open_nursery() as nursery:
        assert_type(nursery.go(send, "id", "numbers", 1), Handle[None])
    await send("id")  # type: ignore[call-arg]  # missing  # pyright: ignore[reportCallIssue]  # the same
    await send("id", 5, 1)  # type: ignore[arg-type]  # no str  # pyright: ignore[reportArgumentType]  # the same
    mailbox(5, int)  # type: ignore[call-overload]  # no str  # pyright: ignore[reportCallIssue, reportArgumentType]  # the same


async def updated(narrow: Updates[bool, int]) -> None:
    orders = updates("orders", int, str)
    assert_type(orders, Updates[int, str])
    async for one in orders:
        assert_type(one, Update[int, str])
        assert_type(one.value, int)
        assert_type(one.key, str)
        assert_type(one.answer("fine"), None)
        assert_type(one.reject(ValueError("no")), None)
        one.answer(5)  # type: ignore[arg-type]  # no str  # pyright: ignore[reportArgumentType]  # the same
        one.reject("no")  # type: ignore[arg-type]  # no error  # pyright: ignore[reportArgumentType]  # the same
    assert_type((await select(orders)).unwrap(), Update[int, str])
    assert_type(updates("orders"), Updates[Any, Any])
    assert_type(updates("orders", int), Updates[int, Any])
    assert_type(updates("orders", int | str, int), Updates[Any, Any])
    wide: Updates[int, bool] = narrow
    print(wide)
    updates(5)  # type: ignore[call-overload]  # no str  # pyright: ignore[reportCallIssue, reportArgumentType]  # the same
    assert_type(expose(orders), None)


async def helpers() -> None:
    assert_type(await race(lambda: quote("a", "b"), functools.partial(quote, "a", "b")), float)
    assert_type(await map_concurrently(in_a_thread, [1, 2]), list[bytes])
    assert_type(await map_concurrently(of_a_library, range(3), limit=2), list[complex])
    assert_type(await sleep(1), None)
    with move_on_after(5) as scope:
        assert_type(scope, CancelScope)
    with fail_after(5) as other:
        assert_type(other, CancelScope)
    await map_concurrently(in_a_thread, ["1"])  # type: ignore[arg-type]  # no int  # pyright: ignore[reportArgumentType]  # the same


def workflows() -> None:
    workflow_by_position(trading)
    callback_of(named)

    @workflow  # type: ignore[arg-type]  # sync  # pyright: ignore[reportArgumentType]  # the same
    def sync(n: int) -> int:
        return n

    del sync
