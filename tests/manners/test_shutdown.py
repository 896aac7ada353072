"""Code that will not let go cannot hang a shutdown, whatever it does."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog import CancelScope, Status, Workflow, open_engine, open_nursery, sleep, step, workflow
from tests.engine.rig import in_memory

GRACE = 0.05


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


def under_way(code: Callable[[], Awaitable[None]]) -> Workflow[[], None]:
    """Return a workflow that runs `code` next to something that is in flight: so it is no deadlock."""

    @workflow(name="flow")
    async def flow() -> None:
        async with open_nursery() as nursery:
            nursery.go(nap, 1000)
            nursery.start_soon(code)

    return flow


async def for_ever(wait: Callable[[], Awaitable[object]]) -> None:
    while suppress is not None:  # as it is when the interpreter exits, which closes what was left behind
        with suppress(BaseException):
            await wait()


# -- code that goes after all --------------------------------------------------------------------


async def shields_a_plain_wait() -> None:
    with trio.CancelScope(shield=True):
        await trio.Event().wait()


async def shields_a_durable_wait() -> None:
    with CancelScope(shield=True):
        await sleep(1000)


async def shields_a_nursery() -> None:
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.Event().wait)
            nursery.start_soon(shields_a_plain_wait)
            nursery.start_soon(nap, 1000)


async def waits_again_in_finally() -> None:
    try:
        await sleep(1000)
    finally:
        try:
            await nap(1000)
        finally:
            with trio.CancelScope(shield=True):
                await trio.Event().wait()


async def swallows_a_few_times() -> None:
    for _ in range(100):
        with suppress(BaseException):
            await sleep(1000)


async def turns_it_into_an_error() -> None:
    try:
        await sleep(1000)
    except BaseException:  # noqa: BLE001 - as careless code does
        raise ValueError("instead") from None


async def turns_it_into_an_exit() -> None:
    try:
        await sleep(1000)
    except BaseException:  # noqa: BLE001 - as careless code does
        raise SystemExit(5) from None


async def generator(wait: Callable[[], Awaitable[object]]) -> AsyncIterator[int]:
    try:
        while True:
            yield 1
            await sleep(1000)
    finally:
        await wait()


async def iterates_a_generator() -> None:
    async for _ in generator(lambda: nap(1000)):
        pass


async def holds_a_generator() -> None:
    held = generator(lambda: sleep(1000))
    await anext(held)
    await nap(1000)


async def holds_generators_of_branches() -> None:
    async with open_nursery() as nursery:
        for _ in range(20):
            nursery.go(holds_a_generator)
            nursery.start_soon(iterates_a_generator)


LETTING_GO = [
    shields_a_plain_wait,
    shields_a_durable_wait,
    shields_a_nursery,
    waits_again_in_finally,
    swallows_a_few_times,
    turns_it_into_an_error,
    turns_it_into_an_exit,
    iterates_a_generator,
    holds_a_generator,
    holds_generators_of_branches,
]


@pytest.mark.parametrize("code", LETTING_GO)
async def test_code_that_goes_after_all_goes_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: Callable[[], Awaitable[None]]
) -> None:
    flow = under_way(code)
    with trio.fail_after(30):
        async with open_engine(f"sqlite:///{tmp_path / 'log.db'}", [flow]) as engine:
            await engine.submit(flow, id="one")
            await trio.sleep(0.02)
    assert not caplog.records
    async with open_engine(f"sqlite:///{tmp_path / 'log.db'}", []) as engine:
        assert [info.status.value for info in await engine.list()] == ["running"]
        assert "Ended" not in [type(e.event).__name__ for e in await (await engine.get("one")).log()]


# -- code that does not --------------------------------------------------------------------------


async def loops_on_a_plain_wait() -> None:
    await for_ever(lambda: trio.Event().wait())


async def loops_on_a_checkpoint() -> None:
    await nap(0)
    await for_ever(lambda: sleep(1000))


async def loops_on_a_step() -> None:
    await for_ever(lambda: nap(1000))


async def loops_on_a_nursery() -> None:
    async def open_one() -> None:
        async with open_nursery() as nursery:
            nursery.go(nap, 1000)

    await for_ever(open_one)


async def loops_in_a_branch() -> None:
    async with open_nursery() as nursery:
        nursery.go(loops_on_a_plain_wait)
        nursery.go(loops_on_a_step)
        await nap(1000)


async def loops_in_a_plain_task() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loops_on_a_plain_wait)


async def stubborn_generator() -> AsyncIterator[int]:
    while suppress is not None:
        with suppress(BaseException):
            yield 1
            await sleep(1000)


async def loops_in_a_generator() -> None:
    async for _ in stubborn_generator():
        pass


STUBBORN = [
    loops_on_a_plain_wait,
    loops_on_a_checkpoint,
    loops_on_a_step,
    loops_on_a_nursery,
    loops_in_a_branch,
    loops_in_a_plain_task,
]


@pytest.mark.parametrize("code", STUBBORN)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_code_that_swallows_everything_is_left_behind_and_reported(
    caplog: pytest.LogCaptureFixture, code: Callable[[], Awaitable[None]]
) -> None:
    begun = trio.Event()

    async def begin() -> None:
        begun.set()
        await code()

    with trio.fail_after(30), caplog.at_level(logging.WARNING, "nurselog"):
        async with open_engine("sqlite://", [], grace=GRACE) as engine:
            await engine.submit(under_way(begin), id="one")
            await begun.wait()
            await trio.sleep(0.02)
    assert "'one'" in caplog.text
    assert "let BaseException pass" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_generator_that_swallows_everything_is_left_to_the_collector() -> None:
    """Closing the coroutine around it does not reach it in every version of Python; but nobody waits for it."""
    with trio.fail_after(30):
        async with open_engine("sqlite://", [], grace=GRACE) as engine:
            await engine.submit(under_way(loops_in_a_generator), id="one")
            await trio.sleep(0.02)
    gc.collect()


@step
async def loops_in_a_body() -> None:
    await for_ever(partial(trio.sleep, 1000))


@step
async def shields_in_a_body() -> None:
    with trio.CancelScope(shield=True):
        await trio.Event().wait()


@pytest.mark.parametrize("body", [loops_in_a_body, shields_in_a_body], ids=lambda body: body.name)
async def test_a_body_that_will_not_let_go_is_closed_and_reported(
    caplog: pytest.LogCaptureFixture, body: Callable[[], Awaitable[None]]
) -> None:
    @workflow(name="flow")
    async def flow() -> None:
        await body()

    with trio.fail_after(30), caplog.at_level(logging.WARNING, "nurselog"):
        async with open_engine("sqlite://", [], grace=GRACE) as engine:
            await engine.submit(flow, id="one")
            await trio.sleep(0.02)
    if body is loops_in_a_body:
        assert "loops_in_a_body" in caplog.text


@step
async def has_tasks_of_its_own() -> None:
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1000)
    went_on.append("after the nursery")


went_on: list[str] = []


async def test_a_body_with_tasks_of_its_own_is_waited_for_and_reported(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Closed at its wait it would leave a nursery behind whose tasks run on."""

    @workflow(name="flow")
    async def flow() -> None:
        await has_tasks_of_its_own()

    went_on.clear()
    async with open_engine("sqlite://", [], grace=5) as engine:
        await engine.submit(flow, id="one")
        await trio.sleep(1)
    assert trio.current_time() == pytest.approx(1000)
    assert went_on == ["after the nursery"]
    assert "'has_tasks_of_its_own' (path 1) does not end although it was cancelled" in caplog.text


async def test_a_body_whose_wait_cannot_be_left_is_closed_after_it(caplog: pytest.LogCaptureFixture) -> None:
    """It waits for a thread that it has started itself, and that ends only when the engine has lost its patience."""
    may_end, entered = threading.Event(), trio.Event()

    def block() -> None:
        assert may_end.wait(60)
        blocked.append("to the end")

    @step(name="waits for a thread")
    async def waits_for_a_thread() -> None:
        entered.set()
        while True:
            with suppress(trio.Cancelled):
                await trio.to_thread.run_sync(block)
            went_on.append("after the thread")

    @workflow(name="flow")
    async def flow() -> None:
        await waits_for_a_thread()

    async def let_it_end() -> None:
        for _ in range(50):  # the engine tries to interrupt the wait first
            await trio.lowlevel.checkpoint()
        may_end.set()

    class Patience(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            trio.lowlevel.spawn_system_task(let_it_end)

    said: list[str] = []
    blocked: list[str] = []
    went_on.clear()
    patience = Patience()
    logging.getLogger("nurselog").addHandler(patience)
    try:
        with trio.fail_after(30):
            async with open_engine("sqlite://", [], grace=GRACE) as engine:
                await engine.submit(flow, id="one")
                await entered.wait()
    finally:
        logging.getLogger("nurselog").removeHandler(patience)
    assert len(said) == 1
    assert "'waits for a thread' (path 1) does not end" in said[0]
    assert blocked == ["to the end"]
    assert went_on == []


async def test_kill_is_stronger_than_code(caplog: pytest.LogCaptureFixture) -> None:
    flow = under_way(shields_a_nursery)
    async with open_engine("sqlite://", [], grace=GRACE) as engine:
        await engine.submit(flow, id="one")
        await trio.sleep(0.01)
        await engine.kill("one")
        assert (await (await engine.get("one")).status()).value == "killed"
    assert not caplog.records


async def test_a_killed_workflow_that_will_not_go_keeps_no_engine() -> None:
    """In real time: code that never rests keeps a virtual clock from moving."""
    async with in_memory(grace=0.05) as engine:
        handle = await engine.submit(under_way(lambda: for_ever(lambda: sleep(1))), id="one")
        await trio.testing.wait_all_tasks_blocked()
        await engine.kill("one")
        assert await handle.status() is Status.KILLED
