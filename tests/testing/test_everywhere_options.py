"""What `crash_everywhere` and `cancel_everywhere` may be told: how long, on which store, with which codec."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import UsageError, gather, move_on_after, open_nursery, sleep, step, workflow
from nurselog._log.cursor import Cursor
from nurselog.abc import Clock, Store
from nurselog.lowlevel import Cause, JsonCodec, ScopeCancelled, open_store
from nurselog.testing import Broken, Law, Life, Returned, cancel_everywhere, clock, crash_everywhere, progress, replay
from nurselog.testing.everywhere import spread
from nurselog.testing.life import Plan, beginning, live


@step
async def add(number: int) -> int:
    raise AssertionError("the real one")


@workflow
async def sum_up(count: int) -> int:
    total = 0
    for number in range(count):
        total += await add(number)
    await sleep(3600)
    return total


def same(number: int) -> int:
    return number


# -- time ----------------------------------------------------------------------------------------


@pytest.fixture
def each_look_takes_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(looks)))


@pytest.mark.usefixtures("each_look_takes_a_second")
def test_a_search_that_has_so_many_seconds() -> None:
    struck: list[int] = []

    def invariant(life: Life) -> None:
        struck.append(life.begun_with)

    report = crash_everywhere(sum_up, 10, fakes={add: same}, invariant=invariant, seconds=9)
    events = len(report.live.rows)
    assert events == 15
    assert report.misfortunes + report.untried == events - 1
    assert 0 < report.untried < events - 1
    assert f"no time for {report.untried} more moments" in str(report)
    assert max(struck) > 10
    assert min(struck[1:]) < 4


@pytest.mark.usefixtures("each_look_takes_a_second")
def test_each_seed_has_its_share_of_the_time() -> None:
    seeds: list[tuple[int, ...]] = []

    def invariant(life: Life) -> None:
        seeds.append((len(seeds), life.begun_with))

    crash_everywhere(sum_up, 10, fakes={add: same}, invariant=invariant, seconds=20, seeds=(1, 2))
    [first, second] = [number for number, begun_with in seeds if begun_with == 1]
    assert first == 0
    assert 4 < second < 8
    assert len(seeds) - second > 4


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 13])
def test_moments_are_spread(count: int) -> None:
    assert sorted(spread(range(count))) == list(range(count))


def test_half_of_the_moments_are_every_other_one() -> None:
    assert sorted(spread(range(16))[:8]) == list(range(0, 16, 2))


def test_the_line_goes_when_a_search_breaks_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], each_look_takes_a_second: None
) -> None:
    lives = itertools.count()

    def invariant(life: Life) -> None:
        if next(lives) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        crash_everywhere(sum_up, 3, fakes={add: same}, invariant=invariant)
    said = capsys.readouterr().err
    assert "sum_up: 1 of 6 tried" in said
    assert said.endswith("\r\x1b[K")


# -- stores and codecs ---------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Callable[[Clock], Store]:
    numbers = itertools.count()
    return lambda clock: open_store(f"sqlite:///{tmp_path}/{next(numbers)}.db?synchronous=normal", clock=clock)


def test_lives_in_files(files: Callable[[Clock], Store], tmp_path: Path) -> None:
    report = crash_everywhere(sum_up, 2, fakes={add: same}, store=files)
    assert report.live.outcome == Returned(1)
    assert len(list(tmp_path.glob("*.db"))) == report.lives


def test_cancellations_in_files(files: Callable[[Clock], Store]) -> None:
    assert cancel_everywhere(sum_up, 1, fakes={add: same}, store=files, crashes=True).misfortunes > 3


def test_the_same_log_is_written_in_memory_and_by_sqlite() -> None:
    sqlite = crash_everywhere(sum_up, 3, fakes={add: same}, store=lambda clock: open_store("sqlite://", clock=clock))
    memory = crash_everywhere(sum_up, 3, fakes={add: same})
    assert [type(one) for one in sqlite.live.events] == [type(one) for one in memory.live.events]
    assert [row.value for row in sqlite.live.rows] == [row.value for row in memory.live.rows]
    assert sqlite.misfortunes == memory.misfortunes


class Shouting(JsonCodec):
    """Marks what it has written."""

    def encode(self, value: object, annotation: Any) -> bytes:
        return b"!" + super().encode(value, annotation)

    def decode(self, data: bytes, annotation: Any) -> Any:
        assert data.startswith(b"!")
        return super().decode(data[1:], annotation)


def test_a_codec_of_ones_own() -> None:
    report = crash_everywhere(sum_up, 3, fakes={add: same}, codec=Shouting())
    assert report.live.outcome == Returned(3)
    assert report.live.rows[-1].value == b"!3"
    assert replay(sum_up, report.live.entries, codec=Shouting()).ahead
    cancel_everywhere(sum_up, 1, fakes={add: same}, codec=Shouting())


# -- threads -------------------------------------------------------------------------------------


def back_and_forth() -> str:
    """Give Trio many an occasion to find that all its tasks wait."""
    for _ in range(20):
        trio.from_thread.run_sync(int)
    return threading.current_thread().name


@step(name="in a thread", timeout=0.5)
def in_a_thread() -> str:
    return back_and_forth()


def test_time_stands_still_while_threads_are_out() -> None:
    @workflow(name="two threads")
    async def two() -> list[str]:
        await sleep(1)
        async with open_nursery() as nursery:
            both = [nursery.go(in_a_thread), nursery.go(in_a_thread)]
        return await gather(*both)

    report = crash_everywhere(two)
    assert report.live.outcome == Returned(["step in a thread"] * 2)


def test_a_thread_may_wait_for_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PATIENCE", 0.2)  # time enough for a thread to start

    @step(name="long")
    def long() -> float:
        trio.from_thread.run(trio.sleep, 3600)
        return 1.0

    @workflow(name="a long thread")
    async def run() -> float:
        return await long()

    assert crash_everywhere(run).live.outcome == Returned(1.0)


def test_a_hang_tells_what_virtual_time_does_not_wait_for() -> None:
    @step(name="by itself")
    async def by_itself() -> None:
        gone = threading.Event()
        try:
            await trio.to_thread.run_sync(gone.wait, abandon_on_cancel=True)
        finally:
            gone.set()

    @workflow(name="a hidden thread")
    async def run() -> None:
        await by_itself()

    with pytest.raises(Broken, match="does not come to an end") as caught:
        crash_everywhere(run)
    assert "such a step needs a fake" in caught.value.report.findings[0].problem


# -- scopes --------------------------------------------------------------------------------------


@workflow
async def bounded() -> int:
    async def count_for_a_while() -> int:
        await sleep(10)
        return 1

    with move_on_after(100):
        async with open_nursery() as nursery:
            nursery.go(count_for_a_while)
            nursery.go(add, 1)
    return await add(1)


def test_each_scope_is_cancelled_by_itself() -> None:
    """A time limit, the nursery in it, and a branch; the workflow itself, too, and it alone is said to be cancelled."""
    cancelled: dict[str, set[str]] = {}

    def invariant(life: Life) -> None:
        for event in life.events:
            if isinstance(event, ScopeCancelled) and event.by is Cause.EXTERNAL:
                cancelled.setdefault(event.path, set()).add(type(life.outcome).__name__)

    report = cancel_everywhere(bounded, fakes={add: same}, invariant=invariant, scopes=True, crashes=True)
    assert report.live.scopes[1] == ["1", "2", "3"]
    assert set(cancelled) == {"", "1", "2", "3"}
    assert cancelled["1"] == cancelled["2"] == cancelled["3"] == {"Returned"}
    assert "Cancelled" in cancelled[""]


def test_scopes_are_left_alone_unless_one_asks() -> None:
    report = cancel_everywhere(bounded, fakes={add: same})
    assert report.live.scopes == {}
    assert report.misfortunes < cancel_everywhere(bounded, fakes={add: same}, scopes=True).misfortunes


def test_a_scope_that_is_not_open_is_cancelled_by_nobody() -> None:
    flow, first = beginning(bounded, (), 0, JsonCodec())
    life = live(flow, [first], Plan(cancel_after=1, scope="7"), instead={add: same})
    assert life.outcome == Returned(1)
    assert ScopeCancelled(path="7", by=Cause.EXTERNAL) in life.events
    assert live(flow, life.rows[:-1], Plan(), instead={}).outcome == Returned(1)
    assert not Cursor(life.rows).cancelled, "the workflow is not, so it may still be"


def test_without_seeds_nothing_would_be_tried() -> None:
    with pytest.raises(UsageError, match="seeds= is empty"):
        crash_everywhere(bounded, fakes={add: same}, seeds=())


def test_an_invariant_may_fail_as_tests_do() -> None:
    def invariant(_: Life) -> None:
        pytest.fail("not so")

    with pytest.raises(Broken, match="not so") as caught:
        crash_everywhere(bounded, fakes={add: same}, invariant=invariant)
    assert caught.value.report.findings[0].law is Law.INVARIANT


def test_an_invariant_may_be_interrupted() -> None:
    def invariant(_: Life) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash_everywhere(bounded, fakes={add: same}, invariant=invariant)


def test_an_invariant_that_nobody_would_await() -> None:
    async def invariant(_: Life) -> None:
        pass

    with pytest.raises(UsageError, match="is async, and nobody would await it"):
        crash_everywhere(bounded, fakes={add: same}, invariant=invariant)
