"""Long searches are shared among processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import trio

from nurselog import sleep, step, workflow
from nurselog.abc import Clock, Store
from nurselog.lowlevel import open_store
from nurselog.testing import (
    Broken,
    Life,
    Raised,
    Report,
    Returned,
    Script,
    crash_everywhere,
    everywhere,
    progress,
)
from nurselog.testing.forks import processors, shared, work_off


@step
async def collect(number: int) -> int:
    raise AssertionError("the real one")


class Unsendable(Exception):
    """An error that the log can rebuild, and a pipe cannot."""

    def __init__(self, number: int) -> None:
        super().__init__(f"too many: {number}")
        self.number = number

    def __reduce__(self) -> str:
        raise TypeError("stays here")


class Till:
    """Counts what was collected twice."""

    def __init__(self) -> None:
        self.collected: list[int] = []

    def __repr__(self) -> str:
        return "the till"  # without an address, which is another one in each process

    async def collect(self, number: int) -> int:
        await trio.sleep(1)
        self.collected.append(number)
        return number

    def each_once(self, life: Life) -> None:
        assert len(self.collected) == len(set(self.collected)), f"{self.collected}"


@workflow
async def round_trip(stops: int, limit: int) -> int:
    total = 0
    for number in range(stops):
        total += await collect(number)
        if total > limit:
            raise Unsendable(total)
    return total


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everywhere, "LONG", 0)
    monkeypatch.setattr(everywhere, "processors", lambda: 2)


def told(limit: int, **how: object) -> Report:
    till = Till()
    with pytest.raises(Broken) as caught:
        crash_everywhere(round_trip, 4, limit, fakes={collect: till.collect}, invariant=till.each_once, **how)  # type: ignore[arg-type]  # each test's own
    return caught.value.report


@pytest.mark.parametrize("limit", [99, 4], ids=["returns", "raises"])
def test_what_is_found_is_the_same(limit: int, monkeypatch: pytest.MonkeyPatch, several: None) -> None:
    apart = told(limit, twice=True, seeds=(1, 2))
    monkeypatch.setattr(everywhere, "LONG", sys.maxsize)
    together = told(limit, twice=True, seeds=(1, 2))
    assert [(one.misfortune, one.problem, one.where, one.law) for one in apart.findings] == [
        (one.misfortune, one.problem, one.where, one.law) for one in together.findings
    ]
    assert [one.life.outcome for one in apart.findings] == [one.life.outcome for one in together.findings]
    assert {type(one.life.outcome) for one in apart.findings} == {Returned if limit == 99 else Raised}
    assert (apart.lives, apart.misfortunes, apart.untried) == (together.lives, together.misfortunes, 0)
    assert str(apart) == str(together)


def in_this_process(items: Sequence[int], work: Callable[[int], object], _: int) -> Iterator[object]:
    """Do here what `shared` does elsewhere, and send it through a pipe all the same."""
    for item in items:
        yield pickle.loads(pickle.dumps((item, work(item))))


@pytest.mark.parametrize("limit", [99, 4], ids=["returns", "raises"])
def test_what_is_sent_is_plain(limit: int, monkeypatch: pytest.MonkeyPatch, several: None) -> None:
    monkeypatch.setattr(everywhere, "shared", in_this_process)
    apart = told(limit)
    monkeypatch.setattr(everywhere, "LONG", sys.maxsize)
    together = told(limit)
    assert [one.life.outcome for one in apart.findings] == [one.life.outcome for one in together.findings]
    assert apart.lives == together.lives


def test_time_runs_out_in_all_of_them(monkeypatch: pytest.MonkeyPatch, several: None) -> None:
    looks = iter([0.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(looks, 9.0))
    report = crash_everywhere(round_trip, 4, 99, fakes={collect: Script(1)}, seconds=5)
    assert report.misfortunes == 1
    assert report.untried == len(report.live.rows) - 2


def test_what_a_fork_cannot_do_is_done_here(several: None) -> None:
    here = os.getpid()

    def not_elsewhere(life: Life) -> None:
        if os.getpid() != here:
            raise KeyboardInterrupt

    report = crash_everywhere(round_trip, 3, 99, fakes={collect: Script(1)}, invariant=not_elsewhere)
    assert report.misfortunes == len(report.live.rows) - 1


def test_stores_are_made_in_one_process(several: None, tmp_path: Path) -> None:
    numbers = itertools.count()

    def in_a_file(clock: Clock) -> Store:
        return open_store(f"sqlite:///{tmp_path}/{next(numbers)}.db", clock=clock)

    report = crash_everywhere(round_trip, 2, 99, fakes={collect: Script(1)}, store=in_a_file)
    assert len(list(tmp_path.glob("*.db"))) == report.lives == next(numbers)


def test_other_ends_come_back(several: None) -> None:
    @workflow(name="sleepy head")
    async def sleepy() -> None:
        await collect(1)
        await sleep(1e9)

    with pytest.raises(Broken) as caught:
        crash_everywhere(sleepy, fakes={collect: Script(1)})
    assert len({type(one.life.outcome) for one in caught.value.report.findings}) == 1


def test_answers_until_something_goes_wrong() -> None:
    def half(number: int) -> float:
        return 1 / number

    near, far = multiprocessing.Pipe(duplex=False)
    work_off(far, [2, 1, 0, 4], half)
    assert [near.recv(), near.recv()] == [(2, 0.5), (1, 1.0)]
    with pytest.raises(EOFError):
        near.recv()
    near.close()


def test_answers_to_the_last() -> None:
    near, far = multiprocessing.Pipe(duplex=False)
    work_off(far, [2, 1], str)
    assert [near.recv(), near.recv()] == [(2, "2"), (1, "1")]
    near.close()


def test_nobody_is_left_behind() -> None:
    before = set(multiprocessing.active_children())  # workers of trio-parallel, which stay
    answers = shared(range(10), lambda number: number * number, 2)
    assert next(answers) in [(0, 0), (1, 1)]
    answers.close()  # type: ignore[attr-defined]  # it is a generator
    assert set(multiprocessing.active_children()) <= before


def test_how_many() -> None:
    assert processors() in {1, len(os.sched_getaffinity(0))}


@pytest.mark.parametrize("why", ["threads", "daemon", "system"])
def test_where_there_are_no_forks(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1 + (why == "threads"))
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", why == "daemon")  # type: ignore[attr-defined]  # it is no argument
    if why == "system":
        monkeypatch.delattr(os, "sched_getaffinity")
    assert processors() == 1


def test_as_many_as_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert processors() == 3


def test_a_fork_whose_parent_is_gone_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = iter([7, 7, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    near, far = multiprocessing.Pipe(duplex=False)
    work_off(far, [1, 2, 3], abs)
    assert near.recv() == (1, 1)
    with pytest.raises(EOFError):
        near.recv()
    near.close()
