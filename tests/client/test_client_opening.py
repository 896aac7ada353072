"""Opening clients and engines for other colours, and closing them."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import outcome
import pytest
import trio

from nurselog import (
    AsyncClient,
    Client,
    EngineClosed,
    MisplacedCallError,
    RegistrationError,
    Status,
    StoreError,
    UsageError,
    Workflow,
    WorkflowEnded,
    WorkflowHandle,
    open_client,
    open_engine,
    open_engine_thread,
    step,
    workflow,
)
from nurselog._client import opening
from nurselog._engine.clock import SystemClock
from tests.client.colours import Colour, play, play_beside
from tests.client.shop import SHOP, Receipt, listens, order, sleeps, tells
from tests.testing.dict_store import Data, DictStore

# -- what is no client ---------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "in memory": ("sqlite://", {}, "in memory"),
    "no guests": (DictStore(Data(), SystemClock()), {}, "polls, visit"),
    "no store": (3, {}, "must have the interface"),
    "no address": ("file.db", {}, "no address"),
    "a codec": ("sqlite:///x.db", {"codec": 3}, "codec must have the interface"),
    "a limit": ("sqlite:///x.db", {"max_payload": "x"}, "max_payload"),
    "another limit": ("sqlite:///x.db", {"max_inbox": -1}, "max_inbox"),
    "an instrument": ("sqlite:///x.db", {"instruments": [3]}, "an instrument must be"),
}


async def nothing(_: AsyncClient) -> None:
    """Play no scene."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(colour: Colour, mistake: str) -> None:
    store, options, why = MISTAKES[mistake]
    with pytest.raises(UsageError, match=why):
        play(colour, store, nothing, **options)


def test_a_store_that_cannot_be_opened(colour: Colour, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        play(colour, f"sqlite:///{tmp_path}/nowhere/x.db", nothing)


def test_control_c_while_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = []

    def interrupted(answer: Any, _: object) -> None:
        monkeypatch.undo()
        answers.append(answer)
        raise KeyboardInterrupt

    monkeypatch.setattr(opening, "waited_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Client(f"sqlite:///{tmp_path}/x.db")
    assert answers[0].done()
    assert "nurselog client" not in [thread.name for thread in threading.enumerate()]


def test_without_a_loop(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nurselog\.Client"):
        open_client(f"sqlite:///{tmp_path}/x.db").__aenter__().send(None)  # type: ignore[attr-defined]  # a coroutine


def test_an_engine_needs_no_thread_on_trio() -> None:
    with pytest.raises(UsageError, match="use open_engine"):
        play_beside(Colour.TRIO, lambda: open_engine_thread("sqlite://", SHOP), nothing)


# -- one that breaks, or is closed -----------------------------------------------------------------


def test_a_closed_one(colour: Colour, tmp_path: Path) -> None:
    kept: list[AsyncClient] = []

    async def keep(client: AsyncClient) -> None:
        kept.append(client)

    async def ask() -> None:
        await kept[0].list()

    play(colour, f"sqlite:///{tmp_path}/x.db", keep)
    with pytest.raises(EngineClosed):
        anyio.run(ask, backend="trio" if colour is Colour.SYNC else colour.value)
    if colour is Colour.SYNC:
        kept[0]._inner.close()  # type: ignore[attr-defined]  # again


@pytest.mark.usefixtures("engine")
def test_who_waits_when_it_closes_is_told(loop: Colour, url: str) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tasks, open_client(url) as client:
            handle = await client.submit(sleeps)
            tasks.start_soon(wait, handle.result)
            tasks.start_soon(wait, aiter(handle.follow("x")).__anext__)
            tasks.start_soon(wait, aiter(handle.follow_log(after=100)).__anext__)
            await client.list()
            await anyio.wait_all_tasks_blocked()
        assert len(told) == 3

    async def wait(call: Callable[[], Any]) -> None:
        with pytest.raises(EngineClosed):
            await call()
        told.append(call)

    told: list[object] = []
    anyio.run(main, backend=loop.value)


def test_a_store_that_breaks(colour: Colour, tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    async def scene(client: AsyncClient) -> None:
        handle = await client.submit("sleeps")
        path.unlink()
        with pytest.raises(StoreError, match="deleted"):
            await client.list()
        with contextlib.suppress(EngineClosed):
            await handle.result()

    with pytest.raises(StoreError, match="deleted"):
        play(colour, f"sqlite:///{path}", scene)


def test_an_engine_that_breaks(tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    def scene() -> None:
        with open_engine_thread(f"sqlite:///{path}", SHOP) as client:
            handle = client.submit(sleeps)
            path.unlink()
            with pytest.raises((EngineClosed, StoreError)):
                handle.result()
            with pytest.raises((EngineClosed, StoreError)):
                client.submit(order, 1)

    with pytest.raises(StoreError, match="deleted"):
        scene()


def test_its_own_error_comes_out(colour: Colour, tmp_path: Path) -> None:
    async def fail(_: AsyncClient) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        play(colour, f"sqlite:///{tmp_path}/x.db", fail)


@pytest.mark.parametrize("colour", Colour)
def test_a_fork(colour: Colour, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.client.forked", f"sqlite:///{tmp_path}/x.db", colour.value]
    said = subprocess.run(program, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("this client was opened before the process was forked"), said


# -- cancellation ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_a_wait_that_is_cancelled_cancels_no_workflow(loop: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(listens, 1, id="l")
        for _ in range(3):
            with anyio.move_on_after(0.01) as scope:
                await handle.result()
            assert scope.cancelled_caught
        assert await client.send("l", "numbers", 5)
        assert await handle.result() == [5]

    play(loop, url, scene)


@pytest.mark.usefixtures("engine")
def test_a_wait_in_sync_code_ends_in_time(url: str) -> None:
    with Client(url) as client:
        handle = client.submit(listens, 1, id="l")
        for _ in range(3):
            with pytest.raises(TimeoutError), client.fail_after(0.01):
                handle.result()
        assert client.send("l", "numbers", 5)
        assert handle.result() == [5]
        with pytest.raises(UsageError, match="seconds"):
            client.fail_after(-1)


@pytest.mark.usefixtures("engine")
def test_no_item_is_lost_by_who_is_cancelled(loop: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(tells, 30, id="t")
        items, seen = aiter(handle.follow("numbers", int)), list[int]()
        while len(seen) < 30:
            with anyio.move_on_after(0.003):
                seen.append((await anext(items)).value)
                with anyio.CancelScope(shield=True):
                    await client.send("t", "more", 0)
        assert seen == list(range(30))
        with pytest.raises(StopAsyncIteration):
            await anext(items)

    play(loop, url, scene)


@pytest.mark.usefixtures("engine")
def test_no_entry_is_lost_by_who_is_cancelled(loop: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(listens, 30, id="l")
        entries, seen = aiter(handle.follow_log()), list[int]()
        while await handle.status() is not Status.COMPLETED:
            with anyio.move_on_after(0.003):
                seen.append((await anext(entries)).seq)
            with contextlib.suppress(WorkflowEnded):
                await client.send("l", "numbers", 0)
        seen += [entry.seq async for entry in entries]
        assert seen == [entry.seq for entry in await handle.log()]

    play(loop, url, scene)


@pytest.mark.usefixtures("engine")
def test_no_entry_is_lost_in_sync_code(url: str) -> None:
    with Client(url) as client:
        handle = client.submit(listens, 3, id="l")
        entries, seen = handle.follow_log(), list[int]()
        for number in range(3):
            with pytest.raises(TimeoutError), client.fail_after(0.05):
                while True:
                    seen.append(next(entries).seq)
            client.send("l", "numbers", number)
        seen += [entry.seq for entry in entries]
        assert seen == [entry.seq for entry in handle.log()]


@pytest.mark.usefixtures("engine")
def test_many_at_once(loop: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        async def one(number: int) -> None:
            results[number] = await client.run(order, number, id=f"o-{number}")

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(one, number)
        assert results == {number: Receipt(3 * number, 0) for number in range(30)}

    results: dict[int, Receipt] = {}
    play(loop, url, scene)


# -- where one is ------------------------------------------------------------------------------------


def test_trio_as_a_guest_of_asyncio(tmp_path: Path) -> None:
    """Each has its own way: Trio's tasks none at all, asyncio's by a thread."""
    url = f"sqlite:///{tmp_path}/x.db"

    async def way() -> str:
        async with open_client(url) as client:
            await client.list()
            return type(client._bridge).__name__

    async def host() -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[outcome.Outcome[str]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            way, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        return await way(), (await done).unwrap()

    assert asyncio.run(host()) == ("OutOfAsyncio", "Straight")


@step
def ask_in_a_step(url: str) -> int:
    with Client(url) as client:
        return len(client.list())


@workflow
async def asks_in_a_step(url: str) -> int:
    return await ask_in_a_step(url)


@workflow
async def opens_a_client(url: str) -> None:
    async with open_client(url):
        pass


@workflow
async def opens_a_sync_client(url: str) -> None:
    with Client(url):
        pass


elsewhere: list[Client] = []


@step
async def ask_the_own_thread(what: str) -> None:
    getattr(elsewhere[0], what)()


@workflow
async def asks_its_own_thread(what: str) -> None:
    await ask_the_own_thread(what)


@workflow
async def asks_a_client() -> None:
    elsewhere[0].list()


def test_workflow_code_asks_no_client(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    workflows = [asks_in_a_step, opens_a_client, opens_a_sync_client, asks_a_client, asks_its_own_thread]
    with open_engine_thread(url, workflows) as client:
        assert client.run(asks_in_a_step, url) == 1
        for misplaced in opens_a_client, opens_a_sync_client:
            with pytest.raises(MisplacedCallError, match="in workflow code"):
                client.run(misplaced, url)
        elsewhere[:] = [client]
        for what in "list", "close":
            with pytest.raises(UsageError, match="wait for itself"):
                client.run(asks_its_own_thread, what)
        with pytest.raises(MisplacedCallError, match="in workflow code"):
            client.run(asks_a_client)


# -- an engine in a thread -----------------------------------------------------------------------------


async def shop_scene(client: AsyncClient) -> None:
    assert await client.run(order, 2) == Receipt(6, 0)
    assert await client.run("order", 2, 5, type=Receipt) == Receipt(6, 5)
    assert await (await client.get((await client.list())[0].id)).result() == Receipt(6, 5)
    with pytest.raises(UsageError, match="no workflow 'nothing'"):
        await client.submit("nothing")
    with pytest.raises(UsageError, match="no workflow 'prices' in version '3'"):
        await client.submit("prices", 1, version="3")
    assert await client.run("prices", 1, version="2") == await client.run("prices", 1) == 3
    with pytest.raises(TypeError, match="missing"):
        await client.submit("order")


def test_an_engine_beside_asyncio() -> None:
    play_beside(Colour.ASYNCIO, lambda: open_engine_thread("sqlite://", SHOP), shop_scene)


def test_leaving_suspends(url: str) -> None:
    with open_engine_thread(url, SHOP, grace=1) as client:
        client.submit(listens, 1, id="l")
        while client.get("l").status() is not Status.RUNNING:
            pass
    with open_engine_thread(url, SHOP) as client:
        client.send("l", "numbers", 4)
        assert client.get("l", list[int]).result() == [4]


def threads() -> int:
    return [thread.name for thread in threading.enumerate()].count("nurselog client")


def test_what_makes_its_workflows_one_by_one_is_asked_once_and_here() -> None:
    places = list[int]()

    def made() -> Iterator[Workflow[..., Any]]:
        places.append(threading.get_ident())
        yield order

    opened = open_engine_thread("sqlite://", made())
    for _ in range(2):
        with opened as client:
            assert client.run(order, 2) == Receipt(6, 0)
    assert places == [threading.get_ident()]


def test_an_engine_is_entered_once_at_a_time() -> None:
    """Else it would have two threads, and leave one of them behind."""
    opened = open_engine_thread("sqlite://", SHOP)
    for _ in range(2):  # one after the other it may be
        with opened as client:
            for _ in range(2):
                with pytest.raises(UsageError, match="while somebody is inside"), opened:
                    pass
            assert client.run(order, 2) == Receipt(6, 0)
            assert threads() == 1
        assert threads() == 0


def test_an_engine_is_entered_once_at_a_time_on_asyncio() -> None:
    async def main() -> None:
        opened = open_engine_thread("sqlite://", SHOP)
        for _ in range(2):
            async with opened as client:
                with pytest.raises(UsageError, match="while somebody is inside"):
                    await asyncio.create_task(opened.__aenter__())
                with pytest.raises(UsageError, match="while somebody is inside"), opened:
                    pass
                assert await client.run(order, 2) == Receipt(6, 0)
                assert threads() == 1
            assert threads() == 0

    asyncio.run(main())


def test_who_could_not_be_opened_is_not_inside() -> None:
    opened = open_engine_thread("nowhere", [])
    for _ in range(2):
        with pytest.raises(UsageError, match="no address"), opened:
            pass


def test_a_client_is_entered_once(tmp_path: Path) -> None:
    with Client(f"sqlite:///{tmp_path}/x.db") as client:
        with pytest.raises(UsageError, match="entered before"), client:
            pass
        assert client.list() == []
    with pytest.raises(UsageError, match="entered before"), client:
        pass


def test_an_engine_that_cannot_be_opened() -> None:
    with pytest.raises(UsageError, match="no address"), open_engine_thread("nowhere", []):
        pass
    with pytest.raises(RegistrationError, match="must be a list"):
        open_engine_thread("sqlite://", order).__enter__()  # type: ignore[arg-type]  # it is a mistake

    async def main() -> None:
        async with open_engine_thread("nowhere", []):
            pass

    with pytest.raises(UsageError, match="no address"):
        asyncio.run(main())


async def test_an_engine_on_trio_takes_no_names() -> None:
    async with open_engine("sqlite://", workflows=SHOP) as engine:
        with pytest.raises(UsageError, match="is no workflow"):
            await engine.submit("order", 1)  # type: ignore[arg-type]  # it is a mistake
        handle: WorkflowHandle[Receipt] = await engine.submit(order, 1)
        assert await handle.result() == Receipt(3, 0)
