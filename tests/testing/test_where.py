"""Every finding names a line: where the workflow's code stood when it was struck."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import trio

from nurselog import CancelScope, Step, Workflow, open_nursery, sleep, step, workflow
from nurselog.testing import Broken, Finding, Law, Life, Script, Takes, cancel_everywhere, crash_everywhere

YEAR = 365 * 86400


@step
async def take(item: str) -> str:
    raise AssertionError("the real one")


@step
async def pay(amount: int) -> str:
    raise AssertionError("the real one")


@step
async def give_back(item: str) -> None:
    raise AssertionError("the real one")


class World:
    def __init__(self) -> None:
        self.here: set[str] = set()
        self.paid = 0
        self.late = True
        """Whether the money goes when the step ends; else when it begins."""

    @property
    def fakes(self) -> dict[Step[..., Any], Callable[..., Any]]:
        return {take: self.take, pay: self.pay, give_back: self.give_back}

    def take(self, item: str) -> str:
        self.here.add(item)
        return item

    async def pay(self, amount: int) -> str:
        self.paid += not self.late
        await trio.sleep(5)
        self.paid += self.late
        return "receipt"

    def give_back(self, item: str) -> None:
        self.here.remove(item)

    def is_fair(self, life: Life) -> None:
        assert self.paid <= 1
        assert not self.here


def findings(run: Callable[[], object]) -> list[Finding]:
    with pytest.raises(Broken) as caught:
        run()
    assert all(one.where for one in caught.value.report.findings)
    return caught.value.report.findings


def line(of: Workflow[..., Any], text: str) -> str:
    """Return file and line of the only line of a workflow's code that has a text."""
    lines, begin = inspect.getsourcelines(of.fn)
    [number] = [begin + number for number, code in enumerate(lines) if text in code]
    return f"{__file__}:{number}"


@workflow
async def visit(item: str) -> None:
    await take(item)
    try:
        await sleep(YEAR)
        await pay(1)
    finally:
        with CancelScope(shield=True):
            await give_back(item)


def test_a_crash_is_told_at_the_operation_that_was_lost() -> None:
    world = World()
    found = findings(lambda: crash_everywhere(visit, "key", fakes=world.fakes, invariant=world.is_fair, twice=True))
    assert {one.where for one in found} == {line(visit, "pay(1)")}
    assert any("and again after event" in one.misfortune for one in found)


def test_a_cancellation_is_told_at_the_line_at_which_it_arrived() -> None:
    @workflow(name="careless visit")
    async def careless() -> None:
        await take("key")
        await sleep(YEAR)
        await pay(1)
        await give_back("key")

    world = World()
    found = findings(lambda: cancel_everywhere(careless, fakes=world.fakes, invariant=world.is_fair))
    assert [one.misfortune for one in found] == [
        "is cancelled after move 1 of 6",
        "is cancelled after move 2 of 6",
        "is cancelled a while after move 2 of 6",
        "is cancelled after move 3 of 6",
        "is cancelled a while after move 3 of 6",
    ]
    assert [one.where for one in found] == [
        line(careless, what) for what in ("YEAR", "YEAR", "YEAR", "pay(1)", "pay(1)")
    ]


def test_a_suspension_is_told_at_the_line_where_the_code_was_left() -> None:
    @workflow(name="paying visit")
    async def paying() -> None:
        await take("key")
        async with open_nursery() as nursery:
            nursery.start_soon(sleep, 60)
            await pay(1)
        await give_back("key")

    world = World()
    world.late = False
    found = findings(lambda: crash_everywhere(paying, fakes=world.fakes, invariant=world.is_fair, suspend=True))
    assert {one.where for one in found} == {line(paying, "pay(1)")}


def test_a_hang_is_told_at_the_line_that_waits() -> None:
    @workflow(name="patient visit")
    async def patient() -> None:
        await take("key")
        async with open_nursery() as nursery:
            nursery.go(sleep, 1)
            await sleep(1000 * YEAR)

    found = findings(lambda: crash_everywhere(patient, fakes=World().fakes))
    assert {(one.law, one.where) for one in found} == {(Law.ENDS, line(patient, "1000 * YEAR"))}


def test_code_that_has_left_its_log_is_told_at_the_line_that_left_it() -> None:
    lives: list[None] = []

    @workflow(name="moody visit")
    async def moody() -> None:
        lives.append(None)
        await take("key")
        if len(lives) > 2:
            await give_back("key")
        await pay(1)

    found = findings(lambda: crash_everywhere(moody, fakes={take: Script("it"), pay: Script(1), give_back: Script(2)}))
    assert {one.law for one in found} == {Law.FOLLOWS}
    assert {one.where for one in found} == {line(moody, "give_back")}


def test_strands_that_wait_for_each_other() -> None:
    @workflow(name="stubborn visit")
    async def stubborn() -> None:
        await take("key")
        await trio.Event().wait()

    found = findings(lambda: crash_everywhere(stubborn, fakes=World().fakes))
    assert {one.where for one in found} == {line(stubborn, "trio.Event")}


def test_a_replay_that_comes_to_another_end_is_told_at_the_last_wait() -> None:
    lives: list[None] = []

    @workflow(name="counting visit")
    async def counting() -> int:
        lives.append(None)
        await take("key")
        return len(lives)

    found = findings(lambda: crash_everywhere(counting, fakes=World().fakes))
    assert {(one.law, one.where) for one in found} == {(Law.REPLAYS, line(counting, "take"))}


def test_code_that_never_waits_is_told_where_it_is_defined() -> None:
    @workflow(name="empty visit")
    async def empty() -> None: ...

    def never(life: Life) -> None:
        raise AssertionError

    found = findings(lambda: crash_everywhere(empty, invariant=never))
    assert {one.where for one in found} == {line(empty, "@workflow")}


def test_the_report_begins_a_finding_with_its_line() -> None:
    @workflow(name="short visit")
    async def short() -> str:
        return await pay(1)

    def never(life: Life) -> None:
        raise AssertionError("never")

    with pytest.raises(Broken) as caught:
        crash_everywhere(short, fakes={pay: Script(Takes(1, "it"))}, invariant=never)
    [where] = {one.where for one in caught.value.report.findings}
    assert f"\n{where}: runs with nothing happening: the invariant" in str(caught.value)
    assert "\n    return await pay(1)\nIt returned 'it', and: never" in str(caught.value)
