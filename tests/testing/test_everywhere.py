"""`crash_everywhere` and `cancel_everywhere` on workflows that are right, and what they say of one that is not."""

from __future__ import annotations

import itertools
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio

from nurselog import (
    CancelScope,
    EncodingError,
    RegistrationError,
    UsageError,
    now,
    open_nursery,
    rng,
    select,
    sleep,
    step,
    step_key,
    workflow,
)
from nurselog.testing import (
    Broken,
    Cancelled,
    Law,
    Life,
    Raised,
    Report,
    Returned,
    Script,
    Takes,
    cancel_everywhere,
    crash_everywhere,
    progress,
)
from nurselog.testing.life import Hung
from nurselog.testing.report import say

YEAR = 365 * 86400


@step
async def reserve(item: str) -> str:
    raise AssertionError("the real one")


@step
async def charge(amount: int) -> str:
    raise AssertionError("the real one")


@step
async def release(item: str) -> None:
    raise AssertionError("the real one")


@dataclass
class Shop:
    """The world outside: it remembers by idempotency key, as good services do."""

    reserved: set[str] = field(default_factory=set)
    charges: dict[str, int] = field(default_factory=dict)
    calls: int = 0

    @property
    def fakes(self) -> dict[Any, Any]:
        return {reserve: self.reserve, charge: self.charge, release: self.release}

    def reserve(self, item: str) -> str:
        self.reserved.add(item)
        return item

    async def charge(self, amount: int) -> str:
        self.calls += 1
        await trio.sleep(2)
        self.charges[step_key()] = amount
        return step_key()

    def release(self, item: str) -> None:
        self.reserved.discard(item)

    def is_fair(self, life: Life) -> None:
        assert len(self.charges) <= 1, f"charged {len(self.charges)} times"
        if isinstance(life.outcome, Returned):
            assert self.charges, "not charged"
        else:
            assert not self.reserved, f"{self.reserved} are still reserved"


@workflow
async def buy(item: str) -> str:
    await reserve(item)
    done = False
    try:
        await sleep(YEAR)
        receipt = await charge(10)
        done = True
    finally:
        if not done:
            with CancelScope(shield=True):
                await release(item)
    return receipt


@workflow
async def race_and_draw(sides: int) -> tuple[int, str]:
    async with open_nursery() as nursery:
        one, two = nursery.go(charge, 1), nursery.go(charge, 2)
        winner = await select(one, two)
        nursery.cancel_scope.cancel()
    return rng().randint(1, sides), f"{winner.index} at {now():%Y}"


def test_a_workflow_that_survives_crashes() -> None:
    shop = Shop()
    report = crash_everywhere(buy, "book", fakes=shop.fakes, invariant=shop.is_fair, twice=True)
    assert isinstance(report, Report)
    assert not report.findings
    assert report.name == "buy"
    assert isinstance(report.live.outcome, Returned)
    assert [entry.seq for entry in report.live.entries] == [row.seq for row in report.live.rows]
    assert report.misfortunes > len(report.live.rows)
    assert shop == Shop(), "each life has a world of its own"
    assert "of" in str(report)


def test_a_workflow_that_survives_cancellation() -> None:
    shop = Shop()
    report = cancel_everywhere(buy, "book", fakes=shop.fakes, invariant=shop.is_fair, crashes=True)
    assert not report.findings
    assert report.misfortunes > len(report.live.rows)


def test_a_workflow_that_survives_suspension() -> None:
    shop = Shop()
    report = crash_everywhere(buy, "book", fakes=shop.fakes, invariant=shop.is_fair, suspend=True)
    assert report.misfortunes > 3


def test_concurrency_under_several_schedules() -> None:
    instead = {charge: Script(Takes(3, "a"), Takes(3, "b"))}
    report = crash_everywhere(partial(race_and_draw), 6, fakes=instead, seeds=range(4), twice=True)
    assert isinstance(report.live.outcome, Returned)
    assert report.live.outcome.value[1].endswith("2030")
    again = crash_everywhere(race_and_draw, 6, fakes=instead)
    assert report.live.outcome == again.live.outcome, "what is random in a run comes from its seed"


def test_a_failure_is_an_outcome() -> None:
    @workflow(name="failing")
    async def failing() -> None:
        await charge(1)

    report = crash_everywhere(failing, fakes={charge: Script(ValueError("no money"))})
    outcome = report.live.outcome
    assert isinstance(outcome, Raised)
    assert outcome == Raised.of(ValueError("no money"))
    assert outcome != Raised.of(ValueError("no"))
    assert Raised.of(ExceptionGroup("both", [ValueError(1)])) != Raised.of(ExceptionGroup("both", [ValueError(2)]))


def test_threads() -> None:
    @step(name="here")
    def here() -> str:
        return threading.current_thread().name

    @workflow(name="threaded")
    async def threaded() -> str:
        await sleep(1)
        return await here()

    report = crash_everywhere(threaded)
    assert isinstance(report.live.outcome, Returned)
    assert report.live.outcome.value.startswith("step here")


# -- what is found -------------------------------------------------------------------------------


def find(run: Any) -> Report:
    with pytest.raises(Broken) as caught:
        run()
    return caught.value.report


def test_state_that_no_log_has() -> None:
    seen: list[str] = []

    @step(name="shared")
    async def shared() -> None:
        seen.append("here")

    @workflow(name="forgetful")
    async def forgetful() -> int:
        seen.clear()
        for _ in range(3):
            await shared()
        return len(seen)

    report = find(lambda: crash_everywhere(forgetful))
    assert {finding.law for finding in report.findings} == {Law.REPLAYS}
    assert "It returned 3; replayed it returned 0" in str(report)


def test_code_that_does_not_follow_its_log() -> None:
    lives = 0

    @workflow(name="whimsical")
    async def whimsical() -> None:
        nonlocal lives
        lives += 1
        for _ in range(lives + 1):
            await charge(1)
        await reserve("it")

    report = find(lambda: crash_everywhere(whimsical, fakes=Shop().fakes))
    finding = next(one for one in report.findings if one.law is Law.FOLLOWS)
    assert "test_everywhere.py:" in finding.problem
    assert "dies after event" in finding.misfortune
    assert " | " in str(report)
    assert "The others:" in str(report)


def test_a_step_that_only_a_replay_calls() -> None:
    lives = itertools.count()

    @workflow(name="greedy")
    async def greedy() -> str:
        await charge(1)
        if next(lives):
            await reserve("more")
        return "done"

    report = find(lambda: crash_everywhere(greedy, fakes=Shop().fakes))
    assert "did more than it had done" in report.findings[0].problem


class Declined(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"declined {code}: {why}")


def test_an_error_that_cannot_be_copied() -> None:
    @workflow(name="declined")
    async def declined() -> str:
        try:
            return await charge(1)
        except Declined as exc:
            return str(exc)

    report = crash_everywhere(declined, fakes={charge: Script(Declined(5, "why"))})
    assert report.live.outcome == Returned("declined 5: why")


def test_code_that_waits_for_ever() -> None:
    @workflow(name="patient")
    async def patient() -> None:
        await reserve("it")
        await sleep(1000 * YEAR)

    report = find(lambda: crash_everywhere(patient, fakes=Shop().fakes))
    assert {finding.law for finding in report.findings} == {Law.ENDS}


def test_cleanup_that_is_not_shielded() -> None:
    @workflow(name="careless")
    async def careless(item: str) -> None:
        await reserve(item)
        try:
            await charge(1)
        except BaseException:
            await release(item)
            raise

    shop = Shop()
    crash_everywhere(careless, "book", fakes=shop.fakes, invariant=shop.is_fair)
    report = find(lambda: cancel_everywhere(careless, "book", fakes=shop.fakes, invariant=shop.is_fair))
    [law] = {finding.law for finding in report.findings}
    assert law is Law.INVARIANT
    assert "It was cancelled, and: {'book'} are still reserved" in str(report)
    assert isinstance(report.findings[0].life.outcome, Cancelled)


def test_an_effect_that_is_not_idempotent() -> None:
    @dataclass
    class Till:
        money: int = 0

        def charge(self, amount: int) -> str:
            self.money += amount  # whoever asked
            return "receipt"

        def is_right(self, life: Life) -> None:
            assert self.money == 10

    @workflow(name="pay")
    async def pay() -> str:
        return await charge(10)

    till = Till()
    report = find(lambda: crash_everywhere(pay, fakes={charge: till.charge}, invariant=till.is_right))
    assert {finding.law for finding in report.findings} == {Law.INVARIANT}
    assert "an assertion failed" in report.findings[0].problem or "20" in report.findings[0].problem


def test_a_replay_that_does_not_end() -> None:
    """The code waits in replay where it has not waited before."""
    begun = trio.Event()

    @workflow(name="sleepy")
    async def sleepy() -> str:
        if begun.is_set():
            await sleep(1000 * YEAR)
        begun.set()
        return "done"

    report = find(lambda: crash_everywhere(sleepy))
    assert say(Hung()) == "did not end"
    assert {finding.law for finding in report.findings} <= {Law.FOLLOWS, Law.REPLAYS, Law.ENDS}


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    now = itertools.count()
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(now)))
    report = crash_everywhere(buy, "book", fakes=Shop().fakes)
    said = capsys.readouterr().err
    moments = len(report.live.rows) - 2  # neither before it was taken up, nor after its end
    assert f"\r\x1b[Kbuy: 2 of {moments} tried, {moments - 2} s left" in said
    assert said.endswith("\r\x1b[K")


def test_no_progress_for_what_is_quick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "monotonic", lambda: 0.0)
    crash_everywhere(buy, "book", fakes=Shop().fakes)
    assert not capsys.readouterr().err


# -- bad input -----------------------------------------------------------------------------------


def test_what_is_no_workflow() -> None:
    with pytest.raises(RegistrationError, match="is no workflow"):
        crash_everywhere(print)


def test_arguments_that_have_no_form() -> None:
    @workflow(name="anything")
    async def anything(value: object) -> None: ...

    with pytest.raises(EncodingError):
        crash_everywhere(anything, object())


async def test_in_a_test_that_runs_trio_already() -> None:
    with pytest.raises(UsageError, match="from a plain function"):
        crash_everywhere(buy, "book", fakes=Shop().fakes)


def test_fakes_that_cannot_be_copied() -> None:
    class Sticky(Shop):
        def __deepcopy__(self, memo: object) -> Sticky:
            raise TypeError("sticks")

    with pytest.raises(UsageError, match="sticks"):
        crash_everywhere(buy, "book", fakes=Sticky().fakes)
