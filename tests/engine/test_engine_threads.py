"""Sync steps: real threads, how many at a time, what cancellation and closing do to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import trio

from nurselog import (
    Engine,
    Handle,
    Retry,
    StepTimedOut,
    WasCancelled,
    WorkflowKilled,
    attempt,
    move_on_after,
    open_engine,
    open_nursery,
    step,
    workflow,
)
from nurselog._engine.bench import Bench
from nurselog._engine.run import Leaving
from tests.engine.rig import kinds


class Gate:
    """Functions for threads that wait until the test lets them go on."""

    def __init__(self) -> None:
        self.entered: list[int] = []
        self.left: list[int] = []
        self.most = 0
        self._open = threading.Event()
        self._lock = threading.Lock()

    def pass_through(self, number: int) -> int:
        with self._lock:
            self.entered.append(number)
            self.most = max(self.most, len(self.entered) - len(self.left))
        assert self._open.wait(60)
        with self._lock:
            self.left.append(number)
        return number

    def open(self) -> None:
        self._open.set()

    async def until_entered(self, number: int) -> None:
        while len(self.entered) < number:  # noqa: ASYNC110 - threads set no Trio event
            await trio.sleep(0.001)

    async def until_left(self, number: int) -> None:
        while len(self.left) < number:  # noqa: ASYNC110 - threads set no Trio event
            await trio.sleep(0.001)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def in_threads(**options: Any) -> AbstractAsyncContextManager[Engine]:
    return open_engine("sqlite://", [], **options)


@step
async def tick() -> None:
    await trio.sleep(0.01)


async def test_no_more_threads_than_allowed(gate: Gate) -> None:
    through = step(name="through")(gate.pass_through)

    @workflow(name="flow")
    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            handles = [nursery.go(through, number) for number in range(10)]
        return [await handle.result() for handle in handles]

    async with in_threads(max_threads=3) as engine, trio.open_nursery() as nursery:
        results: list[int] = []

        async def run() -> None:
            results.extend(await engine.run(flow))

        nursery.start_soon(run)
        nursery.start_soon(run)
        await gate.until_entered(3)
        await trio.sleep(0.05)
        assert len(gate.entered) == 3
        gate.open()
    assert sorted(results) == sorted([*range(10)] * 2)
    assert gate.most == 3


async def test_a_thread_is_waited_for_when_its_step_is_cancelled(gate: Gate) -> None:
    through = step(name="through")(gate.pass_through)

    @workflow(name="flow")
    async def flow() -> int:
        async with open_nursery() as nursery:
            handle = nursery.go(through, 1)
            await tick()
            handle.cancel("too late")
            await tick()
            assert handle.outcome is None
            await let_go()
            return await handle.result()

    @step(name="let go")
    async def let_go() -> None:
        gate.open()

    async with in_threads() as engine:
        assert await engine.run(flow) == 1


@pytest.mark.parametrize("how", ["handle", "scope", "timeout"])
async def test_a_thread_is_left_behind_where_the_step_says_so(gate: Gate, how: str) -> None:
    through = step(name="through", abandon_on_cancel=True)(gate.pass_through)

    @workflow(name="flow")
    async def flow() -> str:
        if how == "handle":
            async with open_nursery() as nursery:
                handle: Handle[int] = nursery.go(through, 1)
                await tick()
                handle.cancel("left behind")
                assert await handle.receive() == WasCancelled("left behind", handle.path)
        elif how == "scope":
            with move_on_after(0.01) as scope:
                await through(1)
            assert scope.cancelled_caught
        else:
            with pytest.raises(StepTimedOut):
                await through.using(timeout=0.01)(1)
        return "went on"

    async with in_threads() as engine:
        assert await engine.run(flow) == "went on"
        assert gate.left == []


async def test_a_step_that_waits_for_a_thread_is_cancelled_at_once(gate: Gate) -> None:
    through = step(name="through")(gate.pass_through)

    @workflow(name="flow")
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            first = nursery.go(through, 1)
            await until_busy()
            second = nursery.go(through, 2)
            await tick()
            second.cancel()
            assert isinstance(await second.receive(), WasCancelled)
            await let_go()
            await first.receive()
        return [first.status.value, second.status.value]

    @step(name="until busy")
    async def until_busy() -> None:
        await gate.until_entered(1)

    @step(name="let go")
    async def let_go() -> None:
        gate.open()

    async with in_threads(max_threads=1) as engine:
        assert await engine.run(flow) == ["completed", "cancelled"]
    assert gate.entered == [1]


async def test_a_thread_that_is_slow_has_its_value_and_no_timeout(gate: Gate) -> None:
    through = step(name="through", timeout=0.01)(gate.pass_through)

    @workflow(name="flow")
    async def flow() -> int:
        async with open_nursery() as nursery:
            handle = nursery.go(through, 7)
            for _ in range(3):
                await tick()
            await let_go()
            return await handle.result()

    @step(name="let go")
    async def let_go() -> None:
        gate.open()

    async with in_threads() as engine:
        assert await engine.run(flow) == 7


async def test_a_thread_that_fails_is_tried_again() -> None:
    seen: list[int] = []

    @step(name="flaky", retry=Retry(attempts=3, delay=0))
    def flaky() -> int:
        seen.append(attempt())
        if attempt() < 3:
            raise OSError(attempt())
        return attempt()

    @workflow(name="flow")
    async def flow() -> int:
        return await flaky()

    async with in_threads() as engine:
        assert await engine.run(flow) == 3
    assert seen == [1, 2, 3]


async def test_a_thread_that_outlives_the_engine_is_reported(
    gate: Gate, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    through = step(name="through")(gate.pass_through)

    @workflow(name="flow")
    async def flow() -> int:
        return await through(1)

    url = f"sqlite:///{tmp_path / 'log.db'}"
    with caplog.at_level(logging.WARNING, "nurselog"):
        async with open_engine(url, [flow]) as engine:
            await engine.submit(flow, id="one")
            await gate.until_entered(1)
    [record] = caplog.records
    assert "'one'" in record.getMessage()
    assert "'through' (path 1) runs in a thread" in record.getMessage()
    assert gate.left == []
    gate.open()
    await gate.until_left(1)
    async with open_engine(url, [flow]) as engine:
        handle = await engine.get("one")
        assert await handle.result() == 1, "its outcome was not recorded, so it ran again"
        assert (await kinds(handle)).count("StepEnded") == 1
    assert gate.entered == [1, 1]


async def test_a_killed_workflow_does_not_wait_for_its_thread(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    through = step(name="through")(gate.pass_through)

    @workflow(name="flow")
    async def flow() -> int:
        return await through(1)

    async with in_threads() as engine:
        handle = await engine.submit(flow, id="one")
        await gate.until_entered(1)
        await engine.kill("one")
        with pytest.raises(WorkflowKilled):
            await handle.result()
        assert gate.left == []
    assert "runs in a thread" in caplog.text


async def test_what_waits_for_a_thread_when_the_engine_closes_never_gets_it(gate: Gate) -> None:
    through = step(name="through")(gate.pass_through)

    @workflow(name="flow")
    async def flow(number: int) -> int:
        return await through(number)

    async with in_threads(max_threads=1) as engine:
        await engine.submit(flow, 1)
        await gate.until_entered(1)
        await engine.submit(flow, 2)
        await trio.sleep(0.01)
    gate.open()
    await gate.until_left(1)
    await trio.sleep(0.01)
    assert gate.entered == [1]


@pytest.mark.parametrize("kind", ["sync", "at most once"])
async def test_a_body_whose_workflow_leaves_before_its_first_step_never_runs(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Suspend the workflow in the very tick in which the body's task would begin: before it, or after it."""
    ran: list[int] = []
    orders = set()

    @step(name="sync")
    def sync(number: int) -> None:
        ran.append(number)

    @step(name="once", at_most_once=True)
    async def once(number: int) -> None:
        ran.append(number)

    @workflow(name="flow")
    async def flow(number: int) -> None:
        await (sync(number) if kind == "sync" else once(number))

    start = Bench.start
    for number in range(40):
        lent: list[int] = []
        async with in_threads() as engine:
            runner = engine._runner

            async def leave(runner: Any = runner, lent: list[int] = lent) -> None:
                lent.append(int(runner.limiter.borrowed_tokens))
                await runner.see_out(runner.leave_all(Leaving.CLOSING), 5)

            def start_and_leave(bench: Bench, body: Any, leave: Any = leave) -> None:
                start(bench, body)
                trio.lowlevel.spawn_system_task(leave)

            monkeypatch.setattr(Bench, "start", start_and_leave)
            handle = await engine.submit(flow, number, id="one")
            while not lent or runner.runs:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.001)
            begun = "StepBegan" in await kinds(handle)
        await trio.sleep(0.002)
        orders.add(lent[0])
        if kind == "sync":
            assert ran.count(number) <= lent[0], "a thread began after the workflow had left"
        else:
            assert begun or number not in ran, "it ran, and the log does not know that it had begun"
    assert orders == ({0, 1} if kind == "sync" else {0})


async def test_partials_and_methods_in_threads() -> None:
    class Box:
        def __init__(self) -> None:
            self.items: list[int] = []

        @step(name="Box.put")
        def put(self, item: int, *, times: int = 1) -> int:
            self.items += [item] * times
            return len(self.items)

    box = Box()

    @workflow(name="flow")
    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            handle = nursery.go(partial(box.put, times=2), 5)
            await handle.receive()
        return [await handle.result(), await box.put(6)]

    async with in_threads() as engine:
        assert await engine.run(flow) == [2, 3]
    assert box.items == [5, 5, 6]
