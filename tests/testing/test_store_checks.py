"""The checks of stores let somebody else's store through, and find what is wrong with others: each by its name."""

from __future__ import annotations

import unittest
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import trio

from nurselog.abc import Clock, Post, Posted, Workflow
from nurselog.lowlevel import open_store
from nurselog.testing.stores import CHECKS, BrokenContract, Check, StandingClock, living
from nurselog.testing.stores.playing import ACTS, TURNS, Play, Side
from nurselog.testing.stores.records import using
from tests.testing import wrong_deletion, wrong_early, wrong_mail
from tests.testing.dict_store import Data, DictStore
from tests.testing.wrong_stores import WRONG, CountsFromOne

BY_NAME = {check.name: check for check in CHECKS}


def maker(store: type[DictStore]) -> Callable[[Clock], DictStore]:
    """Make stores on data that are empty now."""
    data = Data()
    return lambda clock: store(data, clock)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_store_of_somebody_else(check: Check) -> None:
    check(maker(DictStore))


# -- wrong ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "store"), [pytest.param(name, store, id=f"{store.__name__}-{name}") for name, store in WRONG]
)
def test_a_wrong_store_is_found(name: str, store: type[DictStore], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living, "PATIENCE", 0.5)
    with pytest.raises(BrokenContract) as caught:
        BY_NAME[name](maker(store))
    assert f"{store.__name__} breaks the contract of stores in {name!r}" in str(caught.value)
    assert BY_NAME[name].clause in str(caught.value)


def test_each_check_finds_something() -> None:
    assert set(BY_NAME) - {name for name, _ in WRONG} == set()


# -- what is played ------------------------------------------------------------------------------


class Counting(DictStore):
    """A store that counts what becomes of the messages of appends, which nobody is told."""

    def __init__(self, data: Data, clock: Clock) -> None:
        super().__init__(data, clock)
        self.met = Counter[Posted]()

    def put_all(self, posts: Sequence[Post]) -> list[Posted]:
        answers = super().put_all(posts)
        self.met.update(answers)
        return answers

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted]:
        answers = await super().post(posts)
        self.met.subtract(answers)
        return answers


async def test_messages_of_appends_meet_everything_in_a_play() -> None:
    clock = StandingClock()
    async with using(Counting(Data(), clock)) as store, using(DictStore(Data(), clock)) as other:
        await Play([Side(store), Side(other)], clock, 0).run(ACTS, TURNS)
        assert all(store.met[posted] for posted in Posted), store.met


@pytest.mark.parametrize(
    "store",
    [wrong_early.ForgetsWhatIsEarly, wrong_mail.TakesTheShortWayWithOneRow, wrong_mail.LeavesNothingBesideChildren],
)
async def test_plays_find_what_is_wrong_with_messages(store: type[DictStore]) -> None:
    """Not each of them: what the one meets, the other does not."""
    clock = StandingClock()
    with pytest.raises(AssertionError, match=r"seed [0-4], turn "):
        for seed in range(5):
            async with using(DictStore(Data(), clock)) as right, using(store(Data(), clock)) as wrong:
                await Play([Side(right), Side(wrong)], clock, seed).run(ACTS, TURNS)


@pytest.mark.parametrize(
    "store", [wrong_deletion.TakesFamiliesForExpiredWithTheirRoots, wrong_deletion.DeletesChildren]
)
async def test_a_play_finds_what_is_wrong_with_deletion(store: type[DictStore]) -> None:
    clock = StandingClock()
    async with using(DictStore(Data(), clock)) as right, using(store(Data(), clock)) as wrong:
        with pytest.raises(AssertionError, match="seed 0, turn "):
            await Play([Side(right), Side(wrong)], clock, 0).run(ACTS, TURNS)


# -- what a check is -----------------------------------------------------------------------------


def test_a_failure_says_which_clause_and_where() -> None:
    with pytest.raises(BrokenContract) as caught:
        BY_NAME["the_last_row"](maker(CountsFromOne))
    text = str(caught.value)
    assert "What must hold: `read` from -1 on returns the last row." in text
    assert "What happened at asking.py:" in text
    assert "`assert await store.read(key, -1) == rows(3, 3, 1)`: AssertionError" in text


def test_an_error_of_the_store_breaks_the_contract_too() -> None:
    class Unfinished(DictStore):
        async def find(self, ids: Sequence[str]) -> Sequence[Workflow]:
            raise NotImplementedError("find is not written yet")

    with pytest.raises(BrokenContract, match="NotImplementedError") as caught:
        BY_NAME["find_gives_those_that_exist"](maker(Unfinished))
    assert isinstance(caught.value.__cause__, NotImplementedError)


@pytest.mark.parametrize("check", [check for check in CHECKS if check.shared], ids=str)
def test_a_store_of_one_process_need_not_keep_what_is_for_several(check: Check) -> None:
    with pytest.raises(unittest.SkipTest, match="several processes"):
        check(lambda clock: open_store("sqlite://", clock=clock))


@pytest.mark.parametrize("check", [check for check in CHECKS if check.ordered], ids=str)
def test_a_store_of_several_shards_need_not_keep_what_is_about_order(check: Check) -> None:
    with pytest.raises(unittest.SkipTest, match="one order"):
        check(maker(DictStore), ordered=False)


def test_a_check_has_a_name_and_says_what_must_hold() -> None:
    assert len(BY_NAME) == len(CHECKS) > 90
    assert all(check.clause.endswith(".") and str(check) == check.name for check in CHECKS)


async def test_who_sleeps_by_a_standing_clock_sleeps_until_it_is_set(autojump_clock: trio.testing.MockClock) -> None:
    clock = StandingClock()

    async def set_it() -> None:
        await trio.sleep(5)
        clock.now += 10

    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_it)
        await clock.sleep_until(clock.now + 10)
    assert trio.current_time() >= 5
