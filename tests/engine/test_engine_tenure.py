"""The lease is in doubt: what must not happen then, what happens when it is settled, and how long that may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from nurselog import Status, StoreUnavailable, WorkflowCancelled, WorkflowKilled, open_engine, sleep, step, workflow
from nurselog.abc import Batch, Lease
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, on_file, once, sql

Clock = trio.testing.MockClock
bodies: list[str] = []
left: list[float] = []
"""When bodies were cancelled."""
pause: Callable[[], None] = lambda: None  # noqa: E731 - each test has its own


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    bodies.clear()
    left.clear()


@step(name="tenure.note")
async def note(what: str) -> None:
    bodies.append(what)
    await trio.lowlevel.checkpoint()


@workflow(name="tenure.pausing")
async def pausing() -> None:
    await note("one")
    pause()
    await note("two")
    await sleep(100)


@step(name="tenure.pay", at_most_once=True)
async def pay() -> None:
    bodies.append("paid")
    await trio.lowlevel.checkpoint()


@workflow(name="tenure.paying")
async def paying() -> None:
    await note("one")
    pause()
    await pay()


busy, free = threading.Event(), threading.Event()


@step(name="tenure.occupy")
def occupy() -> None:
    busy.set()
    free.wait(60)


@step(name="tenure.in_thread")
def in_thread() -> None:
    bodies.append("in a thread")


@workflow(name="tenure.occupying")
async def occupying() -> None:
    await occupy()


@workflow(name="tenure.threading")
async def threaded() -> None:
    await in_thread()


@step(name="tenure.hold_up")
async def hold_up() -> None:
    bodies.append("begun")
    pause()
    try:
        await trio.sleep(200)
    except trio.Cancelled:
        left.append(trio.current_time())
        raise


@workflow(name="tenure.holding")
async def holding() -> None:
    await hold_up()


@workflow(name="tenure.quick")
async def quick() -> str:
    return "done"


@workflow(name="tenure.sleeper")
async def sleeper() -> None:
    await sleep(60)


async def leave_sleeping(path: Path, clock: VirtualClock) -> None:
    """Have a workflow "w" that nobody runs."""
    async with on_file(path, sleeper, clock=clock) as engine:
        await engine.submit(sleeper, id="w")


async def answer_late() -> None:
    """What is asked for early is answered when the lease has been lost, and there is a new one."""
    if trio.current_time() < 20:
        await trio.sleep_until(26)


async def look_at(path: Path, clock: VirtualClock) -> None:
    """Remove the dead, as any other engine does."""
    other = file_store(path, clock)
    await other.open(Lease(worker="other", duration=15_000_000))
    await other.close()


# -- what must not happen ------------------------------------------------------------------------


@pytest.mark.parametrize("others", [0, 1])
async def test_no_body_begins(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """The event loop was held up for longer than the lease: somebody may have recorded the next step meanwhile."""
    path, clock, begun = tmp_path / "log.db", VirtualClock(), list[str]()
    store, pauses = Hooked(file_store(path, clock)), iter([100.0])
    monkeypatch.setitem(globals(), "pause", lambda: autojump_clock.jump(next(pauses, 0)))

    async def see() -> None:
        if trio.current_time() > 90 and not begun:
            await trio.sleep(0.3)
            begun.extend(bodies)
            for _ in range(others):
                await look_at(path, clock)

    store.before_renew = see
    async with open_engine(store, [pausing], clock=clock, lease=15) as engine:
        await engine.run(pausing)
    assert begun == ["one"]
    assert bodies == ["one", "two"]


async def test_what_may_run_once_only_does_not_wait(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row says that it has begun: no next life would run it. And the row has passed the fence: nobody else has."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, pauses = Hooked(file_store(path, clock)), iter([100.0])
    monkeypatch.setitem(globals(), "pause", lambda: autojump_clock.jump(next(pauses, 0)))
    slow = once(2)

    async def see() -> None:
        if trio.current_time() > 90:
            await slow()

    store.before_renew = see
    async with open_engine(store, [paying], clock=clock, lease=15) as engine:
        await engine.run(paying)
    assert bodies == ["one", "paid"]


@pytest.mark.parametrize("others", [0, 1])
async def test_no_thread_begins(mock_clock: Clock, tmp_path: Path, others: int) -> None:
    """Not even where the step was waiting for one when the event loop was held up. Its next life finds a place."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()

    async def see() -> None:
        await go_on.wait()
        for _ in range(others):
            await look_at(path, clock)

    busy.clear()
    free.clear()
    async with open_engine(store, [occupying, threaded], clock=clock, lease=15, max_threads=1) as engine:
        first = await engine.submit(occupying)
        await trio.to_thread.run_sync(busy.wait, 60)
        second = await engine.submit(threaded)
        await trio.testing.wait_all_tasks_blocked()
        store.before_renew = see
        mock_clock.jump(100)
        free.set()
        await first.result()
        await trio.to_thread.run_sync(time.sleep, 0.05)
        before = list(bodies)
        go_on.set()
        await second.result()
    assert before == []
    assert bodies == ["in a thread"]


# -- what happens when it is settled -------------------------------------------------------------


async def test_what_was_made_meanwhile_begins_at_once(autojump_clock: Clock, tmp_path: Path) -> None:
    """Also where the doubt began when the renewal had been asked for."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    store.before_renew = once(7.7)
    async with open_engine(store, [quick], clock=clock, lease=15) as engine:
        await trio.sleep(12.6)
        assert await engine.run(quick) == "done"
        assert trio.current_time() < 13


async def test_a_kill_is_not_forgotten(autojump_clock: Clock, tmp_path: Path) -> None:
    """Of a workflow that this engine has no function for, so that no look finds it."""
    path, clock = tmp_path / "log.db", VirtualClock()
    await leave_sleeping(path, clock)
    store = Hooked(file_store(path, clock))
    store.before_renew = once(7.7)
    async with open_engine(store, [], clock=clock, lease=15) as engine:
        await trio.sleep(12.6)
        await engine.kill("w")
        assert await (await engine.get("w")).status() is Status.KILLED


async def test_a_kill_is_not_forgotten_when_the_claim_for_it_comes_late(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await leave_sleeping(path, clock)
    store = Hooked(file_store(path, clock))
    async with open_engine(store, [], clock=clock, lease=15) as engine:
        await trio.sleep(1)
        store.before_renew, store.after_claim = once(20), answer_late
        await engine.kill("w")
        await trio.sleep(1)
        assert await (await engine.get("w")).status() is Status.KILLED


@pytest.mark.parametrize("order", ["kill", "cancel"])
async def test_an_order_when_the_engine_closes(autojump_clock: Clock, tmp_path: Path, order: str) -> None:
    """It is in the store, and waits no longer for a lease that nobody keeps any more."""
    path, clock = tmp_path / "log.db", VirtualClock()
    await leave_sleeping(path, clock)
    store = Hooked(file_store(path, clock))
    store.before_renew = once(30)
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery, open_engine(store, [], clock=clock, lease=15) as engine:
            await trio.sleep(12.6)
            nursery.start_soon(getattr(engine, order), "w")
            await trio.sleep(0.1)
    async with on_file(path, sleeper, clock=clock) as engine:
        with trio.fail_after(10), pytest.raises(WorkflowCancelled if order == "cancel" else WorkflowKilled):
            await (await engine.get("w")).result()


async def test_a_kill_while_the_claim_for_a_cancellation_is_late(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await leave_sleeping(path, clock)
    store = Hooked(file_store(path, clock))
    async with open_engine(store, [], clock=clock, lease=15) as engine, trio.open_nursery() as nursery:
        await trio.sleep(1)
        store.before_renew, store.after_claim = once(20), answer_late
        nursery.start_soon(engine.cancel, "w")
        await trio.sleep(1)
        await engine.kill("w")
        await trio.sleep(1)
        assert await (await engine.get("w")).status() is Status.KILLED


async def test_a_late_claim_is_given_back_although_a_former_run_is_there(autojump_clock: Clock, tmp_path: Path) -> None:
    """One asked for before the lease was lost comes after it, while the evicted run's last word is on its way."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, entered = Hooked(file_store(path, clock)), trio.Event()

    async def enter() -> None:
        entered.set()

    async def claim_late() -> None:
        if 9 < trio.current_time() < 12.5:
            await entered.wait()

    async def commit_slowly(_: Batch) -> None:
        if 8 < trio.current_time() < 20:
            await trio.sleep_until(20)

    async with open_engine(store, [sleeper], clock=clock, lease=15, evict_after=8.5) as engine:
        handle = await engine.submit(sleeper, id="w")
        store.after_reenter, store.before_renew = enter, once(9)
        store.before_claim, store.before_commit = claim_late, commit_slowly
        with trio.fail_after(1000):
            await handle.result()


async def test_what_is_given_back_takes_no_word_from_who_has_it(autojump_clock: Clock, tmp_path: Path) -> None:
    """The answer to an old claim comes when a newer one has something to say in the journal: that it is stuck."""
    path, clock = tmp_path / "log.db", VirtualClock()
    await leave_sleeping(path, clock)
    sql(path, "UPDATE log SET format = 99")
    store = Hooked(file_store(path, clock))

    async def commit_slowly(_: Batch) -> None:
        if 16 <= trio.current_time() < 40:
            await trio.sleep_until(40)

    store.after_claim, store.before_renew, store.before_commit = once(25), once(9), commit_slowly
    async with open_engine(store, [sleeper, quick], clock=clock, lease=15) as engine, trio.open_nursery() as nursery:
        await trio.sleep(16)
        nursery.start_soon(engine.submit, quick)  # its creation hangs in the store
        await trio.sleep(1)
        nursery.start_soon(engine.cancel, "w")  # this claims it, and cannot read its log
        await trio.sleep(300)
        assert await (await engine.get("w")).status() is Status.STUCK


# -- how long that may take ----------------------------------------------------------------------


async def test_an_answer_may_take_many_turns(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each round trip, and for each shard there is one; where turns are long, they take seconds."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, pauses = Hooked(file_store(path, clock)), iter([100.0])
    monkeypatch.setitem(globals(), "pause", lambda: autojump_clock.jump(next(pauses, 0)))

    async def take_turns() -> None:
        for _ in range(20 if trio.current_time() > 90 else 0):
            autojump_clock.jump(0.15)
            await trio.lowlevel.checkpoint()

    store.before_renew = take_turns
    async with open_engine(store, [holding], clock=clock, lease=15) as engine:
        await engine.run(holding)
    assert bodies == ["begun"]


@pytest.mark.parametrize("turn", [0.0, 0.1])
async def test_who_hangs_is_not_waited_for(autojump_clock: Clock, tmp_path: Path, turn: float) -> None:
    """Nor where turns are long, as long as they are not pauses: others take over at 15."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    store.before_renew = once(40)
    async with open_engine(store, [holding], clock=clock, lease=15) as engine:
        await engine.submit(holding)
        while trio.current_time() < 29:
            autojump_clock.jump(turn)
            await trio.sleep(0 if turn else 1)
    assert left[0] < 15


@pytest.mark.parametrize("turn", [0.0, 0.1])
async def test_who_has_heard_that_it_is_lost_waits_no_longer(
    autojump_clock: Clock, tmp_path: Path, turn: float
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store, heard = Hooked(file_store(path, clock)), list[float]()

    async def lose() -> None:
        if trio.current_time() > 90 and not heard:
            await trio.sleep(0.3)
            await look_at(path, clock)

    async def hear() -> None:
        heard.extend([trio.current_time()] if trio.current_time() > 90 else [])

    store.before_renew, store.after_renew = lose, hear
    async with open_engine(store, [holding], clock=clock, lease=60) as engine:
        await engine.submit(holding)
        await trio.sleep(10)
        autojump_clock.jump(100)
        while trio.current_time() < 130:
            autojump_clock.jump(turn)
            await trio.sleep(0 if turn else 1)
    assert left[0] - heard[0] < 2


async def test_a_connection_that_a_pause_has_broken(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question finds that out; the next one comes in time."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, pauses = Hooked(file_store(path, clock)), iter([10.0])
    monkeypatch.setitem(globals(), "pause", lambda: autojump_clock.jump(next(pauses, 0)))
    broken = [True]

    async def ask() -> None:
        if broken and trio.current_time() > 9:
            broken.clear()
            raise StoreUnavailable("the server has hung up")

    store.before_renew = ask
    async with open_engine(store, [holding], clock=clock, lease=1) as engine:
        await engine.run(holding)
    assert bodies == ["begun"]
    assert not broken
