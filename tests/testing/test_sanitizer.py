"""The sanitizer: who is watched, what it costs the others, and what the kit makes of it."""

from __future__ import annotations

import inspect
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import pytest
import trio
from trio.testing import MockClock

from nurselog import _flow, open_engine, sleep, workflow
from nurselog.lowlevel import JsonCodec
from nurselog.testing import (
    Broken,
    Law,
    Life,
    Touch,
    TouchWarning,
    VirtualClock,
    cancel_everywhere,
    crash_everywhere,
    watching,
)
from nurselog.testing.sanitizer import Asking, Watcher, _audit, asked_by
from nurselog.testing.touchable import FUNCTIONS, TABLES
from tests.testing.watched import Moment, everything, seen

FILE = Path(__file__)


@workflow
async def looks_at_the_clock() -> str:
    time.time()
    return "the same"


class Ticking(VirtualClock):
    """A clock of the application's."""

    def utc(self) -> int:
        time.time()
        return super().utc()


class Ciphered(JsonCodec):
    """A codec of the application's."""

    def encode(self, value: object, annotation: Any) -> bytes:
        os.urandom(8)
        return super().encode(value, annotation)


@workflow
async def plain() -> int:
    await sleep(1)
    return await everything()


def test_what_the_engine_is_given_is_no_workflow_code() -> None:
    async def main() -> Sequence[Touch]:
        return await _seen(clock=Ticking(), codec=Ciphered())

    assert list(trio.run(main, clock=MockClock(autojump_threshold=0))) == []


async def _seen(**options: Any) -> Sequence[Touch]:
    with watching() as touches:
        async with open_engine("sqlite://", (), **options) as engine:
            await engine.run(plain)
    return touches


@workflow
async def swallows() -> None:
    try:
        await sleep(1000)
    finally:
        time.time()


def test_code_that_unwinds_is_no_history() -> None:
    async def main() -> Sequence[Touch]:
        with watching() as touches:
            async with open_engine("sqlite://", (), clock=VirtualClock()) as engine:
                await engine.submit(swallows)
                await trio.sleep(1)
        return touches

    assert list(trio.run(main, clock=MockClock(autojump_threshold=0))) == []


def test_other_threads_do_what_they_like() -> None:
    """One of them opens a file while workflow code has the turn."""
    begun, done = threading.Event(), threading.Event()

    def other() -> None:
        begun.wait()
        open(os.devnull).close()  # noqa: PTH123 - it is to be seen
        done.set()

    @workflow(name="patient")
    async def patient() -> None:
        begun.set()
        done.wait()

    thread = threading.Thread(target=other)
    thread.start()
    touches = seen(patient)
    thread.join()
    assert list(touches) == []


# -- who looks on --------------------------------------------------------------------------------


def test_nobody_looks_on_afterwards() -> None:
    seen(looks_at_the_clock)
    assert sys.getprofile() is None
    assert not _audit.watchers


def test_a_profiler_is_let_alone() -> None:
    def profile(*_: object) -> None:
        pass

    sys.setprofile(profile)
    try:
        touches = seen(looks_at_the_clock)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert list(touches) == []


def test_a_debugger_may_look_at_a_clock() -> None:
    def trace(*_: object) -> Any:
        time.time()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        touches = seen(plain)
    finally:
        sys.settrace(before)
    assert list(touches) == []


def test_one_of_two_looks_on() -> None:
    async def main() -> tuple[int, int]:
        with watching() as one, watching() as other:
            async with open_engine("sqlite://", (), clock=VirtualClock()) as engine:
                await engine.run(looks_at_the_clock)
        return len(one), len(other)

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == (1, 0)


def test_it_needs_trio() -> None:
    with pytest.raises(RuntimeError), watching():
        pass


# Python lets nothing of a profile function or an audit hook be traced. So that what they do is measured, workflow code
# calls them here itself.


def calls_of(fn: Callable[[], object]) -> Sequence[FrameType]:
    """Return the frames of the functions in Python that a function calls, when they are over."""
    frames: list[FrameType] = []
    sys.setprofile(lambda frame, event, _: frames.append(frame) if event == "call" else None)
    fn()
    sys.setprofile(None)
    return frames


def look(watcher: Watcher, frame: FrameType | None) -> None:
    mine, moment = random.Random(3), Moment
    for function in (time.time, time.time, random.random, moment.now, moment.strptime, len, dict.fromkeys, mine.random):
        watcher.called(frame, "c_call", function)
    watcher.called(frame, "return", None)
    for call in calls_of(lambda: (mine.seed(1), mine.seed(), random.seed(1), os.getenv("HOME"))):
        watcher.called(call, "call", None)
    watcher.called(frame, "c_call", mine.random)


def hear(watcher: Watcher) -> None:
    _audit("open", (os.devnull, "r", 0))  # nobody looks
    _audit.looks_for(watcher)
    _audit("open", (f"{TABLES[0]}/Asia/Tokyo", "rb", 0))
    _audit("open", (5, "r", 0))
    _audit("import", ("wave",))
    thread = threading.Thread(target=_audit, args=("open", (os.devnull, "r", 0)))
    thread.start()
    thread.join()
    _audit.leave(watcher)


def test_what_the_profile_function_and_the_audit_hook_do() -> None:
    watcher = Watcher()

    @workflow(name="looks on by itself")
    async def looks_on() -> None:
        look(watcher, sys._getframe())
        hear(watcher)

    async def main() -> None:
        async with open_engine("sqlite://", (), clock=VirtualClock()) as engine:
            await engine.run(looks_on)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    watcher.sees(FUNCTIONS[time.time], None)  # by nobody
    names = [touch.name for touch in watcher.touches]
    assert names[:4] == ["time.time", "random.random", "datetime.datetime.now", "random.Random.random"]
    assert names[-1] == "open"


def test_who_asks() -> None:
    mine = Asking("shop.buy", "shop.py", 3)
    theirs = Asking("cache.get", f"{Path(anyio.__file__).parent}/cache.py", 5, waits=False)
    standard = Asking("random.Random.choice", random.__file__, 7, waits=False)
    gate = Asking("nurselog._flow.strand.Strand._drive", _flow.strand.__file__, 9)
    assert asked_by([mine, gate]) == (None, mine)
    assert asked_by([standard, theirs, mine, gate]) == ("cache.get", mine)
    assert asked_by([theirs, gate]) is None
    assert asked_by([theirs._replace(waits=True), gate]) == (None, theirs._replace(waits=True))
    assert asked_by([standard._replace(waits=True), gate]) is None
    assert asked_by([gate, mine]) is None
    assert asked_by([Asking("logging.Logger.handle", logging.__file__, 1), mine, gate]) is None
    assert asked_by([Asking("shop.Thing.__del__", "shop.py", 1), mine, gate]) is None
    assert asked_by([]) is None


# -- what the kit makes of it --------------------------------------------------------------------


@workflow
async def is_moved_by_the_clock() -> int:
    await sleep(1)
    return time.time_ns()


@workflow
async def is_not_fair() -> None:
    await sleep(1)
    time.time()


@pytest.mark.parametrize("check", [crash_everywhere, cancel_everywhere])
def test_what_does_no_harm_is_a_warning(check: Callable[..., Any]) -> None:
    with pytest.warns(TouchWarning, match=r"a clock \(time.time\).*nurselog.now") as caught:
        report = check(looks_at_the_clock, seeds=(0, 1))
    [warning] = caught
    assert (warning.filename, warning.lineno) == (str(FILE), inspect.getsourcelines(looks_at_the_clock.fn)[1] + 2)
    assert [touch.name for touch in report.touches] == ["time.time"]


def test_what_does_harm_is_most_likely_to_blame() -> None:
    with pytest.raises(Broken) as caught:
        crash_everywhere(is_moved_by_the_clock)
    line = inspect.getsourcelines(is_moved_by_the_clock.fn)[1] + 3
    assert f"Most likely: a clock (time.time_ns) at {FILE}:{line}\n" in str(caught.value)


def test_what_is_not_fair_has_touched_something_as_well() -> None:
    def never(life: Life) -> None:
        raise AssertionError("not fair")

    with pytest.raises(Broken) as caught:
        crash_everywhere(is_not_fair, invariant=never)
    assert {finding.law for finding in caught.value.report.findings} == {Law.INVARIANT}
    assert "What no log has: a clock (time.time) at " in str(caught.value)
