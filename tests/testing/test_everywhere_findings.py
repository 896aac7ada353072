"""What `crash_everywhere` and `cancel_everywhere` find beside what the workflow's log tells, and how they say it."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import trio

from nurselog import CancelScope, Retry, open_nursery, sleep, step, workflow
from nurselog.lowlevel import Cause, ScopeCancelled
from nurselog.testing import Broken, Law, Life, Raised, Report, Returned, Script, cancel_everywhere, crash_everywhere


@step
async def open_door(number: int) -> str:
    raise AssertionError("the real one")


@step
async def close_door(number: int) -> None:
    raise AssertionError("the real one")


@workflow
async def go_through(doors: int) -> None:
    for number in range(doors):
        try:
            await open_door(number)
        finally:
            with CancelScope(shield=True):
                await close_door(number)


class House:
    """Doors that are open; each opening is counted."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.opened = 0

    async def open_door(self, number: int) -> str:
        self.open.append(number)
        self.opened += 1
        await trio.sleep(1)
        return "open"

    def close_door(self, number: int) -> None:
        self.open = [door for door in self.open if door != number]

    def is_closed(self, life: Life) -> None:
        assert not self.open


def report_of(run: Callable[[], object]) -> Report:
    with pytest.raises(Broken) as caught:
        run()
    return caught.value.report


def at(function: Callable[..., object], text: str) -> str:
    lines, begin = inspect.getsourcelines(function)
    [number] = [begin + number for number, line in enumerate(lines) if text in line]
    return f"{__file__}:{number}"


# -- mistakes of the test ------------------------------------------------------------------------


def test_an_assertion_that_fails_in_a_fake() -> None:
    def wrong(number: int) -> str:
        assert number < 1, "a door too many"
        return "open"

    instead = {open_door: wrong, close_door: Script(None)}
    assert crash_everywhere(go_through, 1, fakes=instead).live.outcome == Returned(None)
    report = report_of(lambda: crash_everywhere(go_through, 2, fakes=instead))
    assert {one.law for one in report.findings} == {Law.ASSERTION}
    assert {one.where for one in report.findings} == {at(wrong, "assert number")}
    assert "With nothing happening it raised AssertionError('a door too many" in str(report)
    assert "AssertionError: a door too many" in report.findings[0].problem


def test_an_assertion_that_the_workflow_catches() -> None:
    @workflow(name="deaf")
    async def deaf() -> str:
        async with open_nursery() as nursery:
            door = nursery.go(open_door.using(retry=Retry(attempts=2)), 1)
            await door.receive()
        return "well"

    def wrong(number: int) -> str:
        raise ExceptionGroup("several", [ValueError("one"), AssertionError()])

    report = report_of(lambda: crash_everywhere(deaf, fakes={open_door: wrong}))
    assert report.live.outcome == Returned("well")
    assert {one.law for one in report.findings} == {Law.ASSERTION}
    assert "an assertion failed" in report.findings[0].problem


def test_a_name_that_is_not_there() -> None:
    def wrong(number: int) -> str:
        return no_such_name  # type: ignore[name-defined,no-any-return]  # noqa: F821 - that is the mistake

    report = report_of(lambda: crash_everywhere(go_through, 1, fakes={open_door: wrong, close_door: Script(None)}))
    assert "NameError: name 'no_such_name' is not defined" in report.findings[0].problem


def test_how_the_life_to_which_nothing_happened_ended() -> None:
    def fails(number: int) -> str:
        raise OSError("stuck")

    report = crash_everywhere(go_through, 1, fakes={open_door: fails, close_door: Script(None)})
    assert isinstance(report.live.outcome, Raised)
    assert "\nWith nothing happening it raised OSError('stuck')." in str(report)


def test_an_invariant_that_is_wrong_itself() -> None:
    def invariant(life: Life) -> None:
        {}["key"]

    report = report_of(
        lambda: crash_everywhere(
            go_through, 1, fakes={open_door: Script("it"), close_door: Script(None)}, invariant=invariant
        )
    )
    assert {one.law for one in report.findings} == {Law.INVARIANT}
    assert f"the invariant raised KeyError('key') at {at(invariant, 'key')}" in report.findings[0].problem


def test_an_assertion_without_a_word() -> None:
    def invariant(life: Life) -> None:
        if life:
            raise AssertionError

    report = report_of(
        lambda: crash_everywhere(
            go_through, 1, fakes={open_door: Script("it"), close_door: Script(None)}, invariant=invariant
        )
    )
    assert f"an assertion failed at {at(invariant, 'raise')}" in report.findings[0].problem


# -- misfortunes ---------------------------------------------------------------------------------


def test_a_suspension_and_a_crash() -> None:
    house = House()

    def once(life: Life) -> None:
        assert house.opened <= 1

    instead = {open_door: house.open_door, close_door: house.close_door}
    once_only = crash_everywhere(go_through, 1, fakes=instead, suspend=True)
    twice = crash_everywhere(go_through, 1, fakes=instead, suspend=True, twice=True)
    assert twice.misfortunes > once_only.misfortunes


def never(life: Life) -> None:
    raise AssertionError("never")


def test_who_dies_before_the_cancellation_is_in_the_log_is_cancelled_again() -> None:
    house = House()
    instead = {open_door: house.open_door, close_door: house.close_door}
    report = report_of(lambda: cancel_everywhere(go_through, 2, fakes=instead, invariant=never, crashes=True))
    died = [one for one in report.findings if "dies" in one.misfortune]
    again = [one for one in died if one.misfortune.endswith("is cancelled again")]
    assert 0 < len(again) < len(died)
    assert all(ScopeCancelled(by=Cause.EXTERNAL) in one.life.events for one in died)
    assert all(ScopeCancelled(by=Cause.EXTERNAL) in one.life.events[one.life.begun_with :] for one in again)


def test_the_schedulers_order_is_as_it_was_before() -> None:
    scheduler = trio._core._run  # type: ignore[attr-defined]  # Trio has no public way to this
    before = scheduler._r.getstate()
    crash_everywhere(go_through, 1, fakes={open_door: Script("it"), close_door: Script(None)}, seeds=(1, 2))
    assert scheduler._r.getstate() == before


# -- how it is told ------------------------------------------------------------------------------


def test_mistakes_that_show_at_many_moments_are_one_line() -> None:
    @workflow(name="many doors")
    async def many() -> None:
        for number in range(3):
            await open_door(number)
        await sleep(1)
        await close_door(1)

    instead = {open_door: Script("it"), close_door: Script(None)}
    report = report_of(lambda: crash_everywhere(many, fakes=instead, invariant=never, twice=True))
    others = str(report).partition("The others:\n")[2].splitlines()
    assert f"{at(many.fn, 'open_door')}: dies after events 3-4: the invariant does not hold" in others
    assert any("and again" in line for line in others)
    assert len(others) < len(report.findings) / 2
    golden = report_of(lambda: cancel_everywhere(many, fakes=instead, invariant=never, seeds=range(4)))
    assert ": runs with nothing happening: the invariant does not hold" in str(golden).partition("The others:")[2]
