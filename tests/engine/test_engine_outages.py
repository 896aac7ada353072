"""The store is away for longer than the lease, and what was on its way is tried again when it is back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from nurselog import StoreUnavailable, open_engine, sleep, step, workflow
from nurselog.abc import Batch, Lease
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, kinds, on_file, settle

Clock = trio.testing.MockClock
bodies: list[float] = []
at_once: list[int] = [0]


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    bodies.clear()
    at_once[:] = [0]


@step(name="outages.nap")
async def nap(seconds: float) -> float:
    bodies.append(seconds)
    at_once.append(at_once[-1] + 1)
    try:
        await trio.sleep(seconds)
    finally:
        at_once.append(at_once[-1] - 1)
    return seconds


@workflow(name="outages.napping")
async def napping(seconds: float) -> float:
    return await nap(seconds)


@workflow(name="outages.waiting")
async def waiting(seconds: float) -> float:
    await sleep(seconds)
    return await nap(30.0)


class Away(Hooked):
    """A store that goes away with a commit, and is back for all else before that is tried again."""

    def __init__(self, path: Path, clock: VirtualClock, lost: Callable[[Batch], bool], *, done: bool) -> None:
        super().__init__(file_store(path, clock))
        self._lost, self._done = lost, done
        self._is_away = False
        self._may_try_again = trio.Event()
        self._was_lost = trio.Event()
        self.before_renew = self.before_claim = self._look
        self.before_commit, self.after_commit = self._before, self._after

    async def _look(self) -> None:
        if self._is_away:
            raise StoreUnavailable("away")

    async def _before(self, batch: Batch) -> None:
        if self._was_lost.is_set():
            await self._may_try_again.wait()
        elif not self._done and self._lost(batch):
            self._go_away()

    async def _after(self, batch: Batch) -> None:
        if self._done and not self._was_lost.is_set() and self._lost(batch):
            self._go_away()

    def _go_away(self) -> None:
        self._is_away = True
        self._was_lost.set()
        raise StoreUnavailable("the answer was lost" if self._done else "away")

    async def lose_the_lease(self) -> None:
        """Wait until it is away, and be back when the lease has run out."""
        await self._was_lost.wait()
        await trio.sleep(20)
        self._is_away = False

    def try_again(self) -> None:
        self._may_try_again.set()


def makes(batch: Batch) -> bool:
    return bool(batch.creations)


def lets_go(batch: Batch) -> bool:
    return any(append.standing is not None and append.standing.release for append in batch.appends)


async def test_what_was_made_and_taken_up_before_that_is_known_begins_once(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Away(path, clock, makes, done=True)
    async with open_engine(store, [napping], clock=clock) as engine, trio.open_nursery() as nursery:

        async def submit() -> None:
            handle = await engine.submit(napping, 60.0, id="w")
            with trio.fail_after(200):
                assert await handle.result() == 60
            assert (await kinds(handle)).count("Claimed") == 1

        nursery.start_soon(submit)
        await store.lose_the_lease()
        await trio.sleep(20)
        assert bodies == [60], "this worker has taken it up"
        store.try_again()
    assert bodies == [60]


async def test_what_was_made_and_let_go_before_that_is_known_is_taken_up_first(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """It is nobody's: whoever began it then would begin it beside whoever takes it up."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Away(path, clock, makes, done=True), trio.Event()
    async with open_engine(store, [napping], clock=clock) as engine, trio.open_nursery() as nursery:

        async def submit() -> None:
            assert await engine.run(napping, 60.0, id="w") == 60

        nursery.start_soon(submit)
        await store.lose_the_lease()
        store.before_claim = go_on.wait
        await trio.sleep(20)
        store.try_again()
        await settle()
        assert bodies == []
        go_on.set()
    assert bodies == [60]


async def test_what_a_former_life_says_last_is_not_taken_for_the_next_one_s(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Away(path, clock, lets_go, done=False)
    async with open_engine(store, [waiting], clock=clock) as engine:
        handle = await engine.submit(waiting, 200.0)
        await store.lose_the_lease()  # with the word that it was evicted
        await trio.sleep(20)
        store.try_again()
        with trio.fail_after(400):
            assert await handle.result() == 30
        assert (await kinds(handle)).count("Claimed") == 1
    assert bodies == [30]


async def test_a_heartbeat_that_takes_longer_than_the_lease(autojump_clock: Clock, tmp_path: Path) -> None:
    """All is let go before others may have it, although nobody knows yet whether the lease was renewed."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()

    async def hang() -> None:
        with trio.move_on_after(100, shield=True):  # a call that has begun ends
            await go_on.wait()

    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        handle = await engine.submit(napping, 40.0)
        await settle()
        store.before_renew = hang
        await trio.sleep(14)
        assert at_once[-1] == engine.statistics().running == 0
        assert engine.statistics().lease_left > 0
        await trio.sleep(16)
        assert engine.statistics().running == 0, "and not taken up before that call is over"
        go_on.set()
        with trio.fail_after(100):
            assert await handle.result() == 40
    assert bodies == [40, 40]


async def test_slow_heartbeats_that_come_in_time_cost_nothing(autojump_clock: Clock, tmp_path: Path) -> None:
    """The next one is due by when the last one was asked for, not by when it was answered."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, seconds = Hooked(file_store(path, clock)), iter([6.0, 2.0, 7.0, 1.0, 0.0])

    async def take_long() -> None:
        await trio.sleep(next(seconds, 0.0))

    store.after_renew = take_long
    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        assert await engine.run(napping, 60.0) == 60
    assert bodies == [60]


@pytest.mark.parametrize(("seconds", "others", "lives"), [(9, 0, 1), (100, 0, 1), (9, 1, 1), (16, 1, 2)])
async def test_an_event_loop_that_was_held_up(
    autojump_clock: Clock, tmp_path: Path, seconds: float, others: int, lives: int
) -> None:
    """Nothing is let go before the store was asked, which knows whether somebody has taken over, or removed it."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))

    async def take_a_moment() -> None:
        await trio.sleep(0.3)
        for number in range(others):
            another = file_store(path, clock)
            await another.open(Lease(worker=f"another {number}", duration=15_000_000))  # it removes the dead
            await another.close()

    store.before_renew = take_a_moment
    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        handle = await engine.submit(napping, 40.0)
        await trio.sleep(4.9)
        autojump_clock.jump(seconds)
        assert await handle.result() == 40
    assert bodies == [40] * lives


async def test_an_event_loop_that_is_held_up_whenever_the_lease_is_renewed(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """The answer is heard turns later, and counts from when it was asked for."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, times = Hooked(file_store(path, clock)), iter(range(20))

    async def hold_up() -> None:
        if next(times, None) is None:
            return
        for seconds in (9, 1):
            autojump_clock.jump(seconds)
            await trio.lowlevel.checkpoint()

    store.after_renew = hold_up
    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        assert await engine.run(napping, 400.0) == 400
    assert bodies == [400]


async def test_what_was_being_made_when_the_event_loop_was_held_up(autojump_clock: Clock, tmp_path: Path) -> None:
    """It begins: it is this engine's, and if the lease turns out to be lost it is let go with the others."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, jumps = Hooked(file_store(path, clock)), iter([9.0])

    async def hold_up(_: Batch) -> None:
        autojump_clock.jump(next(jumps, 0.0))

    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        await trio.sleep(4.9)
        store.after_commit = hold_up
        with trio.fail_after(100):
            assert await engine.run(napping, 5.0) == 5
    assert bodies == [5]


async def test_an_answer_that_comes_when_all_has_been_let_go(autojump_clock: Clock, tmp_path: Path) -> None:
    """It is good by the store, and nobody's here: what the store has as this worker's is let go there, too."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, seconds = Hooked(file_store(path, clock)), iter([9.0])

    async def take_long() -> None:
        await trio.sleep(next(seconds, 0.0))

    store.after_renew = take_long
    async with open_engine(store, [napping], clock=clock, lease=15) as engine:
        with trio.fail_after(100):
            assert await engine.run(napping, 40.0) == 40
    assert bodies == [40, 40]


async def test_nothing_begins_when_all_has_been_let_go(autojump_clock: Clock, tmp_path: Path) -> None:
    """Not what is made then, nor what was being made; it begins when there is a lease again."""
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()

    async def hang() -> None:
        with trio.move_on_after(100, shield=True):
            await go_on.wait()

    async def take_long(_: Batch) -> None:
        await trio.sleep(2)

    async with open_engine(store, [napping], clock=clock, lease=15) as engine, trio.open_nursery() as nursery:
        store.before_renew = hang
        await trio.sleep(11.5)
        store.before_commit = take_long
        nursery.start_soon(engine.run, napping, 5.0)
        await trio.sleep(2)
        nursery.start_soon(engine.run, napping, 6.0)
        await trio.sleep(9)
        assert bodies == []
        assert engine.statistics().running == 0
        go_on.set()
    assert sorted(bodies) == [5, 6]


async def test_what_is_claimed_is_given_back_if_its_place_was_taken_meanwhile(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as engine:
        for number in range(4):
            await engine.submit(napping, 9.0, id=f"before-{number}")
    begun = len(bodies)
    store = Hooked(file_store(path, clock))

    async def take_a_second() -> None:
        await trio.sleep(1)

    store.after_claim = take_a_second
    async with open_engine(store, [napping], clock=clock, max_running=4) as engine, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(engine.run, napping, 9.0)
        with trio.fail_after(60):
            for number in range(4):
                assert await (await engine.get(f"before-{number}")).result() == 9
    assert max(at_once) == 4
    assert len(bodies) - begun == 10
