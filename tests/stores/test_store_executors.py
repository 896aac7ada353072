"""Where jobs run, and what Trio sees of it."""

from __future__ import annotations

import functools
import gc
import os
import queue
import signal
import sqlite3
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from nurselog._errors import StoreUnavailable
from nurselog._stores import sqlite
from nurselog._stores._sqlite import schema
from nurselog._stores._sqlite.executors import Executor, InlineExecutor, ThreadExecutor, _Order
from nurselog._stores._sqlite.schema import Location
from nurselog._stores.sqlite import open_sqlite
from nurselog.abc import Append, Lease
from nurselog.testing.stores.records import LONG, StandingClock, append, create, creation, rows
from tests.stores.kit import files, opened

NAME = "nurselog test"


def threads(name: str = NAME) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


@contextmanager
def ended_threads(name: str) -> Iterator[None]:
    """See that the threads that are started inside have ended."""
    yield
    for thread in threads(name):
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(params=[InlineExecutor, lambda: ThreadExecutor(NAME)], ids=["inline", "thread"])
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    make: Callable[[], Executor] = request.param
    async with started(make()) as executor:
        yield executor


@asynccontextmanager
async def started(executor: Executor) -> AsyncIterator[Executor]:
    with ended_threads(NAME):
        executor.start()
        yield executor
        executor.stop()


class Thing:
    """Something a reference can be held to."""


async def test_a_job_gives_its_result_or_its_error(executor: Executor) -> None:
    assert await executor.run(lambda: 5) == 5
    with pytest.raises(KeyError, match="missing"):
        await executor.run(lambda: dict[str, int]()["missing"])
    assert await executor.run(lambda: 6) == 6


async def test_jobs_run_one_after_another_in_one_thread(executor: Executor) -> None:
    seen: list[tuple[int, int]] = []

    async def run(number: int) -> None:
        await executor.run(lambda: seen.append((number, threading.get_ident())))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run, number)
    assert sorted(number for number, _ in seen) == list(range(20))
    assert len({thread for _, thread in seen}) == 1


async def test_a_cancelled_call_does_not_begin(executor: Executor) -> None:
    ran: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await executor.run(lambda: ran.append(1))
    assert scope.cancelled_caught
    assert await executor.run(lambda: ran) == []


async def test_a_call_that_has_begun_ends() -> None:
    token, begun, may_end = trio.lowlevel.current_trio_token(), trio.Event(), threading.Event()

    def job() -> str:
        token.run_sync_soon(begun.set)
        assert may_end.wait(10)
        return "done"

    results: list[str] = []

    async def call(executor: Executor, scope: trio.CancelScope) -> None:
        with scope:
            results.append(await executor.run(job))

    scope = trio.CancelScope()
    async with started(ThreadExecutor(NAME)) as executor, trio.open_nursery() as nursery:
        nursery.start_soon(call, executor, scope)
        await begun.wait()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not results
        may_end.set()
    assert results == ["done"]
    assert not scope.cancelled_caught


async def test_no_interrupt_comes_into_a_job() -> None:
    """A KeyboardInterrupt there would leave a transaction open."""
    assert await InlineExecutor().run(trio.lowlevel.currently_ki_protected)
    assert not trio.lowlevel.currently_ki_protected()


async def test_no_interrupt_comes_between_an_order_and_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyboardInterrupt there would leave an answer for a task that waits elsewhere."""
    protected: list[bool] = []

    class Orders(queue.SimpleQueue[object]):
        def put(self, item: object, *_: object) -> None:
            protected.append(trio.lowlevel.currently_ki_protected())
            super().put(item)

    executor = ThreadExecutor(NAME)
    monkeypatch.setattr(executor, "_orders", Orders())
    async with started(executor):
        await executor.run(lambda: None)
        assert protected == [True]


def test_control_c_in_the_wait_leaves_the_place_to_others() -> None:
    """Trio's main task gets it there, protected or not."""

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        released.wait(0.2)  # so that it comes while the answer is waited for

    async def main() -> None:
        executor = ThreadExecutor(NAME)
        async with started(executor):
            with pytest.raises(KeyboardInterrupt):
                await executor.run(interrupt)
            assert not executor._waiting
            assert await executor.run(lambda: 2) == 2

    released = threading.Event()
    trio.run(main)


async def test_nothing_of_a_job_is_kept_until_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold many megabytes, and hours may go by."""
    looks = threading.Semaphore(0)

    class Orders(queue.SimpleQueue[object]):
        def get(self, *_: object) -> object:
            looks.release()
            return super().get()

    executor = ThreadExecutor(NAME)
    monkeypatch.setattr(executor, "_orders", Orders())
    async with started(executor):
        thing = Thing()
        seen = weakref.ref(thing)
        await executor.run(functools.partial(id, thing))
        del thing
        assert looks.acquire(timeout=10)
        assert looks.acquire(timeout=10)
        gc.collect()
        assert seen() is None


async def test_a_disk_that_hangs_keeps_no_interpreter_from_exiting() -> None:
    async with started(ThreadExecutor(NAME)):
        [thread] = threads()
        assert thread.daemon


async def test_each_of_many_callers_gets_its_own_answer(executor: Executor) -> None:
    """Whoever comes first takes in the answers for the others, and leaves before they do."""
    got: dict[tuple[int, int], int] = {}

    async def run(number: int) -> None:
        for step in range(5):
            got[number, step] = await executor.run(functools.partial(int, number * 10 + step))
            if number % 3 == 0:
                with pytest.raises(ZeroDivisionError):
                    await executor.run(lambda: 1 // 0)
            if number % 2:
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(run, number)
    assert got == {(number, step): number * 10 + step for number in range(12) for step in range(5)}


def test_a_thread_ends_when_nobody_can_hear_it() -> None:
    """Trio is gone, and nobody can close its store any more."""
    executor = ThreadExecutor(NAME)
    done = threading.Event()
    with ended_threads(NAME):
        executor.start()
        executor._near.close()
        executor._orders.put(_Order(done.set, trio.run(own_task)))
    assert done.is_set()


async def test_one_that_is_started_again_has_a_thread_and_orders_of_its_own() -> None:
    """The first thread may not have seen yet that it is to end."""
    executor, go_on = ThreadExecutor(NAME), threading.Event()
    with ended_threads(NAME):
        executor.start()
        executor._orders.put(_Order(go_on.wait, trio.lowlevel.current_task()))
        executor.stop()
        executor.start()
        assert await executor.run(lambda: 5) == 5
        go_on.set()
        executor.stop()


async def own_task() -> trio.lowlevel.Task:
    return trio.lowlevel.current_task()


# -- a store in Trio


async def left(wait: Callable[[], Awaitable[object]]) -> None:
    """Wait for nothing, and give up."""
    with trio.move_on_after(0):
        await wait()


async def test_waiting_for_others_and_closing_twice_are_checkpoints(url: str, clock: StandingClock) -> None:
    async with opened(url, clock) as store:
        with trio.testing.assert_checkpoints():
            await left(store.wait_changed)
    with trio.testing.assert_checkpoints():
        await store.close()


async def test_opening_can_be_cancelled(file_url: str, clock: StandingClock) -> None:
    with ended_threads(f"nurselog {file_url}"):
        store = open_sqlite(file_url, clock=clock)
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.open(Lease(worker="a", duration=LONG))
        assert scope.cancelled_caught
        await store.open(Lease(worker="a", duration=LONG))
        await store.close()


def test_control_c_while_a_store_opens_leaves_nothing_open(
    file_url: str, tmp_path: Path, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller has none to close. A beacon that burns on would keep others from the worker's id."""

    def interrupted(location: Location) -> sqlite3.Connection:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # so that it comes while the answer is waited for
        connections.append(schema.connect(location))
        return connections[-1]

    async def main() -> None:
        store = open_sqlite(file_url, clock=clock)
        with ended_threads(f"nurselog {file_url}"), pytest.raises(KeyboardInterrupt):
            await store.open(Lease(worker="a", duration=LONG))
        with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
            connections[0].total_changes  # noqa: B018 - unlike most of a connection, it may be asked in any thread
        assert files(tmp_path) == ["store.db"]
        monkeypatch.undo()
        async with opened(file_url, clock, worker="a"):
            pass

    connections: list[sqlite3.Connection] = []
    monkeypatch.setattr(sqlite, "connect", interrupted)
    trio.run(main)


async def test_closing_cannot(file_url: str, clock: StandingClock, tmp_path: Path) -> None:
    """It closes first, and is cancelled then."""
    with ended_threads(f"nurselog {file_url}"):
        store = open_sqlite(file_url, clock=clock)
        await store.open(Lease(worker="a", duration=LONG))
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.close()
        assert scope.cancelled_caught
    assert files(tmp_path) == ["store.db"]


async def test_a_store_that_is_closed_or_not_opened_has_no_thread(file_url: str, tmp_path: Path) -> None:
    name = f"nurselog {file_url}"
    with ended_threads(name):
        async with opened(file_url):
            assert len(threads(name)) == 1
    missing = f"sqlite:///{tmp_path}/missing/store.db"
    with ended_threads(f"nurselog {missing}"), pytest.raises(StoreUnavailable):
        async with opened(missing):
            pytest.fail("opened in a folder that is not there")
    assert not threads(name)


async def test_a_virtual_clock_does_not_jump_while_a_commit_is_under_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened("sqlite://") as store, trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 10)
        before = trio.current_time()
        [key] = await create(store, creation("one", 7, owner="a"))
        for seq in range(2, 50):
            await append(store, Append(key=key, rows=rows(seq, seq, 7)))
        assert trio.current_time() == before
        assert autojump_clock.autojump_threshold == 0
