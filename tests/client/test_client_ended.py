"""Those whose engine or client breaks hear of it at once, also if they ask for nothing."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import outcome
import pytest

from nurselog import (
    Client,
    EngineClosed,
    MisplacedCallError,
    StoreError,
    UsageError,
    open_client,
    open_engine,
    open_engine_thread,
    step,
    workflow,
)
from nurselog._client.bridges import cut_short_by
from nurselog._client.thread import Answer
from tests.client.colours import Colour
from tests.client.shop import SHOP, sleeps

OPENINGS: dict[Colour, Any] = {Colour.TRIO: open_engine, Colour.ASYNCIO: open_engine_thread}
"""How those with a loop have an engine."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def remove(store: Path) -> None:
    """Break a store."""
    store.unlink()


# -- those with a loop: the block is cancelled -----------------------------------------------------


def test_an_engine_that_breaks_cancels_its_block(loop: Colour, url: str, path: Path) -> None:
    async def main() -> None:
        was_cancelled = True
        with pytest.raises(StoreError, match="deleted"):
            async with OPENINGS[loop](url, SHOP):
                remove(path)
                await anyio.sleep(30)  # much longer than it takes
                was_cancelled = False
        assert was_cancelled
        await anyio.lowlevel.checkpoint()  # whoever goes on is cancelled no more
        if loop is Colour.ASYNCIO:
            task = asyncio.current_task()
            assert task
            assert task.cancelling() == 0

    anyio.run(main, backend=loop.value)


@step
async def leave() -> None:
    raise SystemExit(3)


@workflow(name="leaves")
async def leaves() -> None:
    await leave()


def test_what_ends_the_program_ends_the_block(loop: Colour, url: str) -> None:
    async def main() -> None:
        with pytest.raises(SystemExit) as caught:
            async with OPENINGS[loop](url, [leaves]) as engine:
                await engine.submit(leaves)
                await anyio.sleep_forever()
        assert caught.value.code == 3

    anyio.run(main, backend=loop.value)


def test_a_client_that_breaks_cancels_its_block(loop: Colour, url: str, path: Path) -> None:
    """It looks at its store while somebody waits for something."""

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            with pytest.raises(StoreError, match="deleted"):
                async with open_client(url) as client:
                    handle = await client.submit("sleeps")
                    remove(path)
                    tasks.start_soon(wait, handle)
                    await anyio.sleep_forever()

    async def wait(handle: Any) -> None:
        with pytest.raises(EngineClosed):
            while True:
                with suppress(StoreError):  # a call may see it before the client does, and then nobody waits any more
                    await handle.result()
                await anyio.sleep(0.01)

    anyio.run(main, backend=loop.value)


def test_the_task_that_opened_it_may_be_over(url: str, path: Path) -> None:
    """As in a notebook, where each cell is a task."""

    async def main() -> None:
        stack = AsyncExitStack()
        client = await asyncio.create_task(stack.enter_async_context(open_engine_thread(url, SHOP)))
        remove(path)
        with pytest.raises((EngineClosed, StoreError)):
            await (await client.submit(sleeps)).result()
        with pytest.raises(StoreError, match="deleted"):
            await asyncio.create_task(stack.aclose())

    asyncio.run(main())


def test_who_is_cancelled_by_others_too_stays_so() -> None:
    ended: Answer[None] = Future()

    async def main() -> None:
        with cut_short_by(ended):
            ended.set_result(outcome.Value(None))
            try:
                await asyncio.sleep(60)
            finally:
                task = asyncio.current_task()
                assert task
                task.cancel()

    async def host() -> None:
        task = asyncio.create_task(main())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    asyncio.run(host())


def test_what_comes_when_the_block_is_over_cancels_nobody() -> None:
    ended: Answer[None] = Future()

    async def main() -> None:
        with cut_short_by(ended):
            ended.set_result(outcome.Value(None))
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())


# -- sync code: it is waited for -------------------------------------------------------------------


def test_sync_code_waits_for_it(url: str, path: Path) -> None:
    def scene() -> None:
        with open_engine_thread(url, SHOP) as client:
            remove(path)
            client.wait_ended()
            client.wait_ended()  # it stays so
            with pytest.raises(EngineClosed, match="broken"):
                client.submit(sleeps)

    with pytest.raises(StoreError, match="deleted"):
        scene()


def test_it_ends_by_being_closed(url: str) -> None:
    with Client(url) as client:
        thread = threading.Thread(target=client.wait_ended)
        thread.start()
    thread.join()
    client.wait_ended()


def test_a_wait_that_takes_too_long(url: str) -> None:
    with Client(url) as client:
        for seconds in 1e-9, 0.01:
            with pytest.raises(TimeoutError, match="still open"), client.fail_after(seconds):
                client.wait_ended()


elsewhere: list[Client] = []


@step
async def wait_in_a_step() -> None:
    elsewhere[0].wait_ended()


@workflow(name="waits")
async def waits(where: str) -> None:
    if where == "a step":
        await wait_in_a_step()
    elsewhere[0].wait_ended()


def test_who_would_wait_for_itself(url: str) -> None:
    with open_engine_thread(url, [waits]) as client:
        elsewhere[:] = [client]
        with pytest.raises(UsageError, match="wait for itself"):
            client.run(waits, "a step")
        with pytest.raises(MisplacedCallError, match="in workflow code"):
            client.run(waits, "itself")
