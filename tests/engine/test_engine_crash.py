"""After a crash: what was in flight runs again, what is recorded does not, and what had begun is known."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    Engine,
    Failed,
    Retry,
    StepInterrupted,
    StepTimedOut,
    Workflow,
    attempt,
    fail_after,
    gather,
    move_on_after,
    open_engine,
    open_nursery,
    sleep,
    step,
    step_key,
    workflow,
)
from nurselog.abc import Batch
from nurselog.lowlevel import StepBegan, StepEnded, StepRetried, decode_event, open_store
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, on_file

Clock = trio.testing.MockClock
bodies: list[str] = []


@pytest.fixture(autouse=True)
def no_bodies() -> None:
    bodies.clear()


@step
async def nap(seconds: float) -> float:
    bodies.append(f"nap {seconds:g}")
    await trio.sleep(seconds)
    return seconds


@step(at_most_once=True)
async def pay(seconds: float) -> str:
    bodies.append("pay")
    await trio.sleep(seconds)
    return "paid"


@step(retry=Retry(attempts=4, delay=10, factor=2, jitter=0))
async def flaky() -> list[str]:
    bodies.append(f"{attempt()} {step_key()} at {trio.current_time():g}")
    raise OSError(attempt())


@step(timeout=20)
async def limited() -> None:
    bodies.append("limited")
    await trio.sleep_forever()


@workflow
async def napping() -> list[float]:
    first = await nap(1)
    async with open_nursery() as nursery:
        return [first, *await gather(nursery.go(nap, 5), nursery.go(nap, 3))]


@workflow
async def paying() -> str:
    await nap(1)
    try:
        return await pay(5)
    except StepInterrupted as exc:
        return str(exc)


@workflow
async def retrying() -> str:
    try:
        await flaky()
    except OSError as exc:
        return str(exc)
    return "never"


@workflow
async def limiting() -> str:
    try:
        await limited()
    except StepTimedOut as exc:
        return str(exc)
    return "never"


async def run_and_crash(path: Path, flow: Workflow[[], Any], clock: VirtualClock, *moments: float) -> Path:
    """Run it, with a crash at each of the moments; return the database that the last one left."""
    async with on_file(path, flow, clock=clock) as engine:
        await engine.submit(flow, id="one")
        await trio.sleep(moments[0])
        path = crashed(path)
    bodies.append("crash")
    for moment in moments[1:]:
        async with on_file(path, flow, clock=clock):
            await trio.sleep(moment)
            path = crashed(path)
        bodies.append("crash")
    return path


async def finish(engine: Engine) -> Any:
    """Wait for the end; the dead worker's lease must run out first, for copied databases have no beacon."""
    return await (await engine.get("one")).result()


async def test_what_is_recorded_does_not_run_again(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", napping, clock, 5)
    async with on_file(path, napping, clock=clock) as engine:
        assert await finish(engine) == [1, 5, 3]
        log = [entry.event for entry in await (await engine.get("one")).log()]
    assert sorted(bodies[:3]) == ["nap 1", "nap 3", "nap 5"]
    assert bodies[3:] == ["crash", "nap 5"]
    assert sorted(event.path for event in log if isinstance(event, StepEnded)) == ["1", "3", "4"]


async def test_a_crash_takes_the_lease_along(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", napping, clock, 2)
    began = trio.current_time()
    async with on_file(path, napping, clock=clock, lease=15) as engine:
        await finish(engine)
    assert 10 < trio.current_time() - began - 5 <= 15 + 5, "a lease, and a heartbeat until somebody looks"


async def test_attempts_and_due_times_survive_crashes(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", retrying, clock, 12)
    async with on_file(path, retrying, clock=clock) as engine:
        assert await finish(engine) == "4"
        log = [entry.event for entry in await (await engine.get("one")).log()]
    [first, second, third] = [event for event in log if isinstance(event, StepRetried)]
    assert (first.attempt, second.attempt, third.attempt) == (1, 2, 3)
    assert second.due - first.due == 20_000_000
    numbers, keys, times = zip(*[body.replace(" at", "").split() for body in bodies if body != "crash"], strict=True)
    assert numbers == ("1", "2", "3", "4")
    assert len(set(keys)) == 1
    assert [float(time) for time in times] == [0, 10, 30, 70]


async def test_an_attempt_that_a_crash_cut_short_does_not_count(autojump_clock: Clock, tmp_path: Path) -> None:
    @step(name="hanging", retry=Retry(attempts=2, delay=1, jitter=0))
    async def hanging() -> int:
        bodies.append(str(attempt()))
        if len(bodies) < 4:
            await trio.sleep(100)
        if attempt() == 1:
            raise OSError
        return attempt()

    @workflow(name="flow")
    async def flow() -> int:
        return await hanging()

    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", flow, clock, 50, 50)
    async with on_file(path, flow, clock=clock) as engine:
        assert await finish(engine) == 2
    assert bodies == ["1", "crash", "1", "crash", "1", "2"]


async def test_a_timeout_goes_on_over_a_crash(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", limiting, clock, 10)
    async with on_file(path, limiting, clock=clock) as engine:
        assert await finish(engine) == "step 'limited' took longer than 20 s"
    assert trio.current_time() < 40
    assert bodies.count("limited") == 2


async def test_a_timeout_that_passed_while_nobody_was_there(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", limiting, clock, 10)
    await trio.sleep(1000)
    async with on_file(path, limiting, clock=clock) as engine:
        assert await finish(engine) == "step 'limited' took longer than 20 s"
    assert trio.current_time() < 1020


@step(timeout=20, retry=Retry(attempts=2, delay=5, jitter=0))
async def failing_once() -> None:
    bodies.append(f"failing {attempt()}")
    if attempt() == 1:
        raise OSError
    await trio.sleep_forever()


@workflow
async def limiting_attempts() -> str:
    try:
        await failing_once()
    except StepTimedOut as exc:
        return str(exc)
    return "never"


async def test_an_attempt_that_failed_shows_that_the_step_had_begun(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", limiting_attempts, clock, 2)
    await trio.sleep(1000)
    began = trio.current_time()
    async with on_file(path, limiting_attempts, clock=clock) as engine:
        assert await finish(engine) == "step 'failing_once' took longer than 20 s"
    assert bodies == ["failing 1", "crash"]
    assert trio.current_time() < began + 20


# -- at most once --------------------------------------------------------------------------------


async def test_at_most_once_is_noted_before_it_begins(autojump_clock: Clock, tmp_path: Path) -> None:
    async with on_file(tmp_path / "log.db", paying) as engine:
        handle = await engine.submit(paying, id="one")
        await trio.sleep(1.0001)
        assert bodies == ["nap 1", "pay"]
        events = [entry.event for entry in await handle.log()]
        assert isinstance(events[-1], StepBegan), "before the body, and durable"
        assert events[-1].path == "2"
        assert await handle.result() == "paid"


async def test_at_most_once_waits_until_its_beginning_is_durable(autojump_clock: Clock) -> None:
    """However long that takes: if the process died meanwhile, nobody would know that the body had begun."""
    clock, durable = VirtualClock(), trio.Event()
    store = Hooked(open_store("sqlite://", clock=clock))

    async def hold_the_beginning(batch: Batch) -> None:
        rows = [row for append in batch.appends for row in append.rows]
        if any(decode_event(row.event) == StepBegan(path="2", name="pay") for row in rows):
            await durable.wait()

    store.before_commit = hold_the_beginning
    async with open_engine(store, [paying], clock=clock) as engine:
        handle = await engine.submit(paying, id="one")
        await trio.sleep(60)
        begun = bodies.copy()
        durable.set()
        assert await handle.result() == "paid"
    assert begun == ["nap 1"]


async def test_at_most_once_is_interrupted_and_not_repeated(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", paying, clock, 3)
    async with on_file(path, paying, clock=clock) as engine:
        said = await finish(engine)
    assert bodies == ["nap 1", "pay", "crash"]
    assert said.startswith("step 'pay' at path 2 had begun when its process died")
    async with on_file(path, paying, clock=clock) as engine:
        assert await finish(engine) == said


async def test_at_most_once_runs_if_it_had_not_begun(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", paying, clock, 0.5)
    async with on_file(path, paying, clock=clock) as engine:
        assert await finish(engine) == "paid"
    assert bodies == ["nap 1", "crash", "nap 1", "pay"]


async def test_closing_interrupts_at_most_once_too(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, paying, clock=clock) as engine:
        await engine.submit(paying, id="one")
        await trio.sleep(3)
    async with on_file(path, paying, clock=clock) as engine:
        assert "it must not run twice" in await finish(engine)
    assert bodies == ["nap 1", "pay"]


@pytest.mark.parametrize("ticks", range(0, 30, 2))
async def test_at_most_once_never_runs_unrecorded(autojump_clock: Clock, tmp_path: Path, ticks: int) -> None:
    """Close the engine a few ticks after it began, wherever that is, and look what is in the log."""
    path, clock = tmp_path / "log.db", VirtualClock()

    @workflow(name="flow")
    async def flow() -> str:
        return await pay(1)

    async with on_file(path, flow, clock=clock) as engine:
        handle = await engine.submit(flow, id="one")
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
    ran = bodies.count("pay")
    async with on_file(path, flow, clock=clock) as engine:
        handle = await engine.get("one")
        outcome: object
        try:
            outcome = await handle.result()
        except StepInterrupted as exc:
            outcome = exc
    assert bodies.count("pay") <= 1
    assert isinstance(outcome, StepInterrupted) or not ran


async def test_a_cancelled_step_that_had_begun_says_so(autojump_clock: Clock, tmp_path: Path) -> None:
    @workflow(name="flow")
    async def flow() -> bool:
        try:
            with fail_after(5):
                await pay(100)
        except trio.TooSlowError:
            return True
        return False

    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", flow, clock, 2)
    await trio.sleep(100)
    async with on_file(path, flow, clock=clock) as engine:
        assert await finish(engine)
        [ended] = [e.event for e in await (await engine.get("one")).log() if isinstance(e.event, StepEnded)]
    assert (ended.result.value, ended.begun) == ("cancelled", True)
    assert bodies == ["pay", "crash"], "what is cancelled by then is not started"


async def test_a_step_that_is_cancelled_between_its_attempts_has_begun(autojump_clock: Clock, tmp_path: Path) -> None:
    """After a restart, too, where the function is not entered any more."""

    @workflow(name="flow")
    async def flow() -> None:
        with move_on_after(5):
            await flaky()

    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", flow, clock, 2)
    async with on_file(path, flow, clock=clock) as engine:
        await finish(engine)
        [ended] = [e.event for e in await (await engine.get("one")).log() if isinstance(e.event, StepEnded)]
    assert (ended.result.value, ended.begun) == ("cancelled", True)
    assert len(bodies) == 2, "one attempt, and the crash"


async def test_began_is_noted_once(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", paying, clock, 3)
    async with on_file(path, paying, clock=clock) as engine:
        await finish(engine)
        log = [entry.event for entry in await (await engine.get("one")).log()]
    begun = [(event.path, event.attempt) for event in log if isinstance(event, StepBegan)]
    assert begun.count(("2", 1)) == 1
    assert len(begun) == len(set(begun))


async def test_an_error_in_flight_is_an_outcome_for_whoever_looks_later(autojump_clock: Clock, tmp_path: Path) -> None:
    @step(name="fail")
    async def fail() -> None:
        raise LookupError("recorded")

    @workflow(name="flow")
    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(fail)
            await sleep(10)
            outcome = handle.outcome
        assert isinstance(outcome, Failed)
        return repr(outcome.error)

    clock = VirtualClock()
    path = await run_and_crash(tmp_path / "log.db", flow, clock, 5)
    async with on_file(path, flow, clock=clock) as engine:
        assert await finish(engine) == "LookupError('recorded')"


async def test_what_a_crashed_engine_had_submitted_is_not_lost(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    for _ in range(3):
        async with on_file(path, napping, clock=clock, max_running=2) as engine:
            for _ in range(4):
                await engine.submit(napping)
            twin = crashed(path)
            logging.getLogger("nurselog").info("crash")
        path.unlink()
        twin.rename(path)
    async with on_file(path, napping, clock=clock) as engine:
        for info in await engine.list():
            assert await (await engine.get(info.id)).result() == [1, 5, 3]
        assert len(await engine.list()) == 12
