"""Waits that no log can end."""

from __future__ import annotations

import time
from pathlib import Path

import trio

from nurselog import move_on_after, open_nursery, sleep, step, workflow
from nurselog.testing import Law
from tests.testing.planted.table import Planted, cancel
from tests.testing.planted.world import book, pay

planted: list[Planted] = []


@workflow
async def a_plain_deadline() -> None:
    with trio.move_on_after(5):  # check: plain-deadline
        await pay(10)  # here


@workflow
async def a_deadline_in_the_log() -> None:
    with move_on_after(5):
        await pay(10)


planted.append(Planted(a_plain_deadline, a_deadline_in_the_log, law=Law.FOLLOWS))


@workflow
async def a_plain_sleep() -> None:
    await trio.sleep(5)  # here, check: plain-sleep


@workflow
async def a_sleep_in_the_log() -> None:
    await sleep(5)


planted.append(Planted(a_plain_sleep, a_sleep_in_the_log, law=Law.FOLLOWS))


@workflow
async def a_thread_of_its_own() -> None:
    await trio.to_thread.run_sync(time.time_ns)  # here, check: effect


@step
def ask_a_thread() -> int:
    return time.time_ns()


@workflow
async def a_thread_of_a_step() -> None:
    await ask_a_thread()


planted.append(Planted(a_thread_of_its_own, a_thread_of_a_step, law=Law.FOLLOWS))


@workflow
async def a_file_of_trios() -> None:
    await trio.Path("nothing").exists()  # here, check: effect


@step
def exists(path: str) -> bool:
    return Path(path).exists()


@workflow
async def a_file_in_a_step() -> None:
    await exists("nothing")


planted.append(Planted(a_file_of_trios, a_file_in_a_step, law=Law.FOLLOWS))


@workflow
async def an_event_from_outside() -> None:
    rung = trio.Event()

    async def ring() -> None:
        await trio.sleep(1)
        rung.set()

    trio.lowlevel.spawn_system_task(ring)
    await rung.wait()  # here


@workflow
async def an_event_of_a_branch() -> None:
    rung = trio.Event()

    async def ring() -> None:
        await sleep(1)
        rung.set()

    async with open_nursery() as nursery:
        nursery.start_soon(ring)
        await rung.wait()


planted.append(Planted(an_event_from_outside, an_event_of_a_branch, law=Law.FOLLOWS))


@workflow
async def a_step_without_await() -> None:
    book("it")  # type: ignore[unused-coroutine]  # here


@workflow
async def a_step_with_await() -> None:
    await book("it")


planted.append(Planted(a_step_without_await, a_step_with_await, law=Law.FOLLOWS))


async def take(first: trio.Lock, second: trio.Lock) -> None:
    async with first:
        await sleep(1)
        async with second:
            pass


@workflow
async def two_locks_in_two_orders() -> None:
    one, other = trio.Lock(), trio.Lock()

    async def take(first: trio.Lock, second: trio.Lock) -> None:
        async with first:
            await sleep(1)
            async with second:  # here
                pass

    async with open_nursery() as nursery:
        nursery.start_soon(take, one, other)
        nursery.start_soon(take, other, one)


@workflow
async def two_locks_in_one_order() -> None:
    one, other = trio.Lock(), trio.Lock()
    async with open_nursery() as nursery:
        nursery.start_soon(take, one, other)
        nursery.start_soon(take, one, other)


planted.append(Planted(two_locks_in_two_orders, two_locks_in_one_order, law=Law.FOLLOWS))


@workflow
async def a_wait_for_ever() -> None:
    await book("it")
    await sleep(100 * 366 * 86400)  # here


@workflow
async def a_wait_for_a_year() -> None:
    await book("it")
    await sleep(366 * 86400)


planted.append(Planted(a_wait_for_ever, a_wait_for_a_year, law=Law.ENDS))


@workflow
async def cleanup_that_waits_for_a_branch_that_is_gone() -> None:
    paid = trio.Event()

    async def buy() -> None:
        await pay(10)
        paid.set()

    async with open_nursery() as nursery:
        nursery.start_soon(buy)
        try:
            await sleep(60)
        finally:
            with trio.CancelScope(shield=True):
                await paid.wait()  # here


@workflow
async def cleanup_that_waits_for_a_branch_in_any_case() -> None:
    paid = trio.Event()

    async def buy() -> None:
        try:
            await pay(10)
        finally:
            paid.set()

    async with open_nursery() as nursery:
        nursery.start_soon(buy)
        try:
            await sleep(60)
        finally:
            with trio.CancelScope(shield=True):
                await paid.wait()


planted.append(
    Planted(
        cleanup_that_waits_for_a_branch_that_is_gone,
        cleanup_that_waits_for_a_branch_in_any_case,
        law=Law.FOLLOWS,
        found_by=cancel,
    )
)


@workflow
async def a_wait_that_asks_again_and_again() -> None:
    async with open_nursery() as nursery:
        paid = nursery.go(pay, 10)
        while paid.outcome is None:
            await trio.lowlevel.checkpoint()  # here


@workflow
async def a_wait_that_waits() -> None:
    async with open_nursery() as nursery:
        await nursery.go(pay, 10).receive()


planted.append(Planted(a_wait_that_asks_again_and_again, a_wait_that_waits, law=Law.ENDS))
