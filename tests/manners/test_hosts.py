"""An engine in all kinds of hosts: guest mode, other instruments, and what comes out of its block."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import outcome
import pytest
import trio

from nurselog import (
    Engine,
    EngineClosed,
    Suspended,
    gather,
    open_engine,
    open_nursery,
    race,
    sleep,
    step,
    workflow,
)
from nurselog._flow import strand
from tests.engine.rig import in_memory
from tests.flow.rig import play

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
def in_a_thread(n: int) -> int:
    return n + 1


@workflow
async def busy() -> list[float]:
    async with open_nursery() as nursery:
        results = await gather(*[nursery.go(nap, n / 1000) for n in range(5)], nursery.go(in_a_thread, 1))
    await sleep(0.001)
    return [*results, await race(lambda: nap(0.001), lambda: nap(5))]


@workflow
async def napping() -> float:
    return await nap(1)


EXPECTED = [0, 0.001, 0.002, 0.003, 0.004, 2, 0.001]


# -- hosts ---------------------------------------------------------------------------------------


async def run_on_file(path: Any) -> list[float]:
    async with open_engine(f"sqlite:///{path}", [busy]) as engine:
        return await engine.run(busy)


def test_in_a_plain_run(tmp_path: Any) -> None:
    assert trio.run(run_on_file, tmp_path / "log.db") == EXPECTED


def test_as_a_guest_of_asyncio(tmp_path: Any) -> None:
    async def host() -> list[float]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[outcome.Outcome[list[float]]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            run_on_file,
            tmp_path / "log.db",
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        ticks = 0
        while not done.done():
            await asyncio.sleep(0)
            ticks += 1
        assert ticks > 1
        return (await done).unwrap()

    assert asyncio.run(host()) == EXPECTED


def test_with_restricted_keyboard_interrupts(tmp_path: Any) -> None:
    assert trio.run(run_on_file, tmp_path / "log.db", restrict_keyboard_interrupt_to_checkpoints=True) == EXPECTED


async def test_many_engines_one_after_the_other(autojump_clock: Clock) -> None:
    for _ in range(20):
        async with in_memory() as engine:
            assert await engine.run(napping) == 1


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with open_engine("sqlite://", [busy]) as engine:
        yield engine


async def test_an_engine_is_a_fixture(engine: Engine) -> None:
    assert await engine.run(busy) == EXPECTED


async def test_an_engine_in_a_context_manager_of_the_host() -> None:
    @asynccontextmanager
    async def application() -> AsyncIterator[Engine]:
        async with trio.open_nursery() as nursery, open_engine("sqlite://", [busy]) as engine:
            nursery.start_soon(trio.sleep_forever)
            yield engine
            nursery.cancel_scope.cancel()

    async with application() as engine:
        assert await engine.run(busy) == EXPECTED


# -- instruments of others -----------------------------------------------------------------------


class Counting(trio.abc.Instrument):
    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.seen["spawned"] += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self.seen["exited"] += 1

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.seen["scheduled"] += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.seen["before"] += 1

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.seen["after"] += 1


async def test_next_to_another_instrument() -> None:
    counting = Counting()
    trio.lowlevel.add_instrument(counting)
    async with in_memory() as engine:
        assert await engine.run(busy) == EXPECTED
    await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(counting)
    assert counting.seen["spawned"] == counting.seen["exited"] > 10
    assert abs(counting.seen["scheduled"] - counting.seen["before"]) <= 1
    assert abs(counting.seen["before"] - counting.seen["after"]) <= 1


async def test_next_to_an_instrument_that_breaks(caplog: pytest.LogCaptureFixture) -> None:
    class Breaking(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            raise LookupError("of the instrument")

    trio.lowlevel.add_instrument(Breaking())
    async with in_memory() as engine:
        assert await engine.run(busy) == EXPECTED
    assert "of the instrument" in caplog.text


async def test_a_task_that_an_instrument_spawns_is_nobodys(autojump_clock: Clock) -> None:
    """No task runs at that moment, so there is none that could belong to a workflow."""
    ran: list[str] = []

    async def note() -> None:
        ran.append("spawned by nobody")

    class Spawning(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            if not ran:
                nursery.start_soon(note)

    async with in_memory() as engine, trio.open_nursery() as nursery:
        handle = await engine.submit(napping)
        spawning = Spawning()
        trio.lowlevel.add_instrument(spawning)
        with trio.fail_after(100):
            assert await handle.result() == 1
        trio.lowlevel.remove_instrument(spawning)
    assert set(ran) == {"spawned by nobody"}


async def test_an_instrument_that_comes_and_goes_while_workflows_run() -> None:
    async with in_memory() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, busy)
        for _ in range(10):
            counting = Counting()
            trio.lowlevel.add_instrument(counting)
            await trio.sleep(0.001)
            trio.lowlevel.remove_instrument(counting)


# -- what comes out of the block -----------------------------------------------------------------


class Own(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        LookupError("x"),
        ExceptionGroup("of the host", [ValueError("a"), KeyError("b")]),
        ExceptionGroup("one", [ValueError("a")]),
        BaseExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("a")])]),
        KeyboardInterrupt("x"),
        SystemExit(3),
        Own("x"),
        EngineClosed("raised by the host"),
        Suspended("raised by the host"),
    ],
    ids=lambda error: repr(error)[:30],
)
async def test_an_error_comes_out_as_it_is(autojump_clock: Clock, error: BaseException) -> None:
    cause, context = ValueError("cause"), ValueError("context")
    caught: BaseException | None = None
    error.__cause__, error.__context__ = cause, context
    try:
        async with in_memory() as engine:
            await engine.submit(workflow(name="flow")(busy.fn))
            raise error
    except BaseException as exc:  # noqa: BLE001 - it is looked at
        caught = exc
    assert caught is error
    assert (caught.__cause__, caught.__context__) == (cause, context)


async def test_a_cancellation_comes_out_as_it_is(autojump_clock: Clock) -> None:
    with trio.CancelScope() as scope:
        try:
            async with in_memory():
                scope.cancel()
                await trio.sleep_forever()
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001 - it is looked at
            pytest.fail(f"{exc!r} came out")
    assert scope.cancelled_caught


async def test_an_error_of_the_host_and_of_a_task_beside_come_out_of_the_hosts_nursery(autojump_clock: Clock) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise LookupError("beside")

    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="beside")):
        async with in_memory(), trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()


async def test_the_signal_handlers_of_the_host_stay(autojump_clock: Clock) -> None:
    before = signal.getsignal(signal.SIGINT)
    async with in_memory() as engine:
        assert signal.getsignal(signal.SIGINT) is before
        await engine.run(napping)
    assert signal.getsignal(signal.SIGINT) is before


async def test_a_long_turn_is_warned_about(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(strand, "LONG_TURN", -1.0)

    async def flow() -> str:
        return str(await nap(1))

    await play(flow)
    texts = [record.getMessage() for record in caplog.records]
    assert any(f"path root held up its whole process for 0.0 s before {__file__}:" in text for text in texts), texts
    assert any("before its end" in text for text in texts)
