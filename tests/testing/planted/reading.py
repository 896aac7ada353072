"""Mistakes that reading finds, of which some never show in a run. A comment at each line names the rule."""

from __future__ import annotations

import platform
import time

import trio

from nurselog import CancelScope, fail_after, open_nursery, sleep, step, workflow

found: list[str] = []
lock = trio.Lock()


@step
async def fetch(item: str) -> str:
    return item


@step
async def give_back(item: str) -> None: ...


@workflow
async def it_blocks_the_loop() -> None:
    time.sleep(0.001)  # check: plain-sleep


@workflow
async def it_lets_others_go_on() -> None:
    await sleep(0.001)


@workflow
async def it_has_a_deadline_of_its_own() -> None:
    with trio.fail_after(5):  # check: plain-deadline
        await fetch("it")


@workflow
async def it_has_a_deadline_in_the_log() -> None:
    with fail_after(5):
        await fetch("it")


@workflow
async def it_forgets_to_wait() -> None:
    fetch("it")  # check: unawaited


@workflow
async def it_waits() -> None:
    await fetch("it")


@workflow
async def it_goes_by_the_order_of_a_set(items: list[str]) -> None:
    for item in set(items):  # check: set-order
        await fetch(item)


@workflow
async def it_goes_by_the_order_of_a_list(items: list[str]) -> None:
    for item in sorted(set(items)):
        await fetch(item)


@workflow
async def it_starts_branches_in_the_order_of_a_set(items: set[str]) -> None:
    async with open_nursery() as nursery:
        for item in items:  # check: set-order
            nursery.start_soon(fetch, item)


@workflow
async def it_starts_branches_in_order(items: set[str]) -> None:
    async with open_nursery() as nursery:
        for item in sorted(items):
            nursery.start_soon(fetch, item)


@workflow
async def it_writes_a_file() -> None:
    with open("a letter", "w") as letter:  # check: effect
        letter.write("it is done")


@step
def write() -> None:
    with open("a letter", "w") as letter:
        letter.write("it is done")


@workflow
async def it_has_a_file_written() -> None:
    await write()


@workflow
async def it_looks_where_it_is() -> None:
    if platform.node() != "nowhere":  # check: environment
        await fetch("it")


@step
async def name_of_the_machine() -> str:
    return platform.node()


@workflow
async def it_asks_where_it_is() -> None:
    if await name_of_the_machine() != "nowhere":
        await fetch("it")


@workflow
async def it_shares_a_lock() -> None:
    async with lock:  # check: module-state
        await fetch("it")


@workflow
async def it_has_a_lock_of_its_own() -> None:
    async with trio.Lock():
        await fetch("it")


@workflow
async def it_tells_the_process() -> None:
    found.append("it")  # check: module-state
    await fetch("it")


@workflow
async def it_tells_itself() -> None:
    own = ["it"]
    await fetch(own.pop())


@workflow
async def it_cleans_up_in_vain() -> None:
    try:
        await fetch("it")
    except trio.Cancelled:
        await give_back("it")  # check: unshielded-cleanup
        raise


@workflow
async def it_cleans_up() -> None:
    try:
        await fetch("it")
    except trio.Cancelled:
        with CancelScope(shield=True):
            await give_back("it")
        raise


@workflow
async def it_is_not_to_be_stopped() -> None:
    try:
        await fetch("it")
    except BaseException:  # check: swallowed-cancellation
        pass


@workflow
async def it_can_be_stopped() -> None:
    try:
        await fetch("it")
    except Exception:
        pass
