"""Workflows with a mistake, each of which the kit finds, and says where; and the whole corpus, where it finds none.

A mistake is marked by a comment `# here`: the problem names that line, where a line can be to blame.
"""

from __future__ import annotations

import inspect
import itertools
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from nurselog import CancelScope, StepInterrupted, Workflow, open_nursery, sleep, step, step_key, workflow
from nurselog.testing import Broken, Law, Life, Returned, cancel_everywhere, crash_everywhere
from tests.laws.corpus.registry import Case, whole_corpus

Check = Callable[..., Any]


@step
async def book(item: str) -> str:
    raise AssertionError("the real one")


@step
async def unbook(item: str) -> None:
    raise AssertionError("the real one")


@step
async def pay(amount: int) -> str:
    raise AssertionError("the real one")


@step(at_most_once=True)
async def pay_once(amount: int) -> str:
    raise AssertionError("the real one")


@step
async def refund(amount: int) -> None:
    raise AssertionError("the real one")


@dataclass
class Outside:
    """What services know. Most of them recognise a request that comes again."""

    booked: set[str] = field(default_factory=set)
    money: int = 0
    keys: set[str] = field(default_factory=set)

    @property
    def fakes(self) -> dict[Any, Any]:
        return {book: self.book, unbook: self.unbook, pay: self.pay, pay_once: self.pay, refund: self.refund}

    def book(self, item: str) -> str:
        self.booked.add(item)
        return item

    def unbook(self, item: str) -> None:
        self.booked.discard(item)

    async def pay(self, amount: int) -> str:
        await trio.sleep(0.5)
        if step_key() not in self.keys:
            self.keys.add(step_key())
            self.money += amount
        return "receipt"

    def refund(self, amount: int) -> None:
        self.money -= amount  # this one does not

    def is_fair(self, life: Life) -> None:
        done = isinstance(life.outcome, Returned)
        assert self.money == (10 if done else 0), f"took {self.money}"
        assert bool(self.booked) == done, f"booked {self.booked}"


@dataclass(frozen=True)
class Wrong:
    workflow: Workflow[..., Any]
    law: Law
    check: Check
    how: dict[str, Any]


WRONG: list[Wrong] = []


def wrong(law: Law, check: Check = crash_everywhere, **how: Any) -> Callable[[Any], None]:
    def enter(fn: Any) -> None:
        WRONG.append(Wrong(workflow(name=fn.__name__)(fn), law, check, how))

    return enter


numbers = itertools.count()
cache: dict[str, str] = {}


@wrong(Law.REPLAYS)
async def the_wall_clock_in_an_argument() -> None:
    await book(str(time.time_ns()))  # here


@wrong(Law.REPLAYS)
async def a_random_number_of_pythons_own() -> None:
    await book(str(random.random()))  # here


@wrong(Law.REPLAYS)
async def a_uuid_of_pythons_own() -> None:
    await book(uuid.uuid4().hex)  # here


@wrong(Law.REPLAYS)
async def a_counter_of_the_process() -> None:
    await book(str(next(numbers)))  # here


@wrong(Law.REPLAYS)
async def a_branch_on_what_no_log_has() -> None:
    if next(numbers) % 2:
        await book("odd")  # here
    else:
        await unbook("even")  # here


@wrong(Law.REPLAYS)
async def a_result_from_the_wall_clock() -> int:
    await book("it")
    return time.time_ns()


@wrong(Law.REPLAYS)
async def a_cache_of_the_process() -> str:
    key = "one" if next(numbers) == -1 else "other"
    if key not in cache:
        cache[key] = await book(key)
    await pay(10)  # here
    return cache.pop(key) if next(numbers) == -1 else cache[key]


@wrong(Law.FOLLOWS)
async def a_plain_deadline() -> None:
    with trio.move_on_after(5):
        await pay(10)  # here


@wrong(Law.FOLLOWS)
async def a_plain_sleep() -> None:
    await trio.sleep(5)  # here


@wrong(Law.FOLLOWS)
async def a_thread_of_its_own() -> None:
    await trio.to_thread.run_sync(time.time_ns)  # here


@wrong(Law.FOLLOWS)
async def a_step_without_await() -> None:
    book("it")  # type: ignore[unused-coroutine]  # here


@wrong(Law.FOLLOWS)
async def two_locks_in_two_orders() -> None:
    one, other = trio.Lock(), trio.Lock()

    async def take(first: trio.Lock, second: trio.Lock) -> None:
        async with first:
            await sleep(1)
            async with second:  # here
                pass

    async with open_nursery() as nursery:
        nursery.start_soon(take, one, other)
        nursery.start_soon(take, other, one)


@wrong(Law.ENDS)
async def a_wait_for_ever() -> None:
    await sleep(100 * 366 * 86400)


@wrong(Law.INVARIANT, cancel_everywhere)
async def cleanup_that_is_not_shielded() -> None:
    await book("it")
    try:
        await pay(10)
    except BaseException:
        await unbook("it")
        raise


@wrong(Law.INVARIANT, cancel_everywhere)
async def no_cleanup_at_all() -> None:
    await book("it")
    await sleep(1)
    await pay(10)


@wrong(Law.INVARIANT, cancel_everywhere)
async def cleanup_for_errors_only() -> None:
    await book("it")
    try:
        await pay(10)
    except Exception:
        await unbook("it")
        raise


@wrong(Law.INVARIANT, cancel_everywhere)
async def a_cancellation_that_is_swallowed() -> str:
    await book("it")
    with suppress(trio.Cancelled):
        await pay(10)
    return "done"


@wrong(Law.INVARIANT, cancel_everywhere, crashes=True)
async def a_compensation_that_is_not_idempotent() -> None:
    await pay(10)
    try:
        await sleep(60)
        await book("it")
    except BaseException:
        with CancelScope(shield=True):
            await refund(10)
        raise


@wrong(Law.INVARIANT)
async def an_interrupted_step_that_is_taken_to_have_failed() -> None:
    await book("it")
    try:
        await pay_once(10)
    except StepInterrupted:  # whether it was paid, nobody knows
        await unbook("it")
        raise


@pytest.mark.parametrize("one", [pytest.param(one, id=one.workflow.name) for one in WRONG])
def test_a_mistake_is_found(one: Wrong) -> None:
    cache.clear()
    outside = Outside()
    with pytest.raises(Broken) as caught:
        one.check(one.workflow, fakes=outside.fakes, invariant=outside.is_fair, **one.how)
    found = [finding for finding in caught.value.report.findings if finding.law is one.law]
    assert found, str(caught.value)
    lines, first = inspect.getsourcelines(one.workflow.fn)
    marked = [first + place for place, line in enumerate(lines) if "# here" in line]
    named = [line for line in marked if f"test_planted.py:{line}" in found[0].problem]
    assert named or not marked, found[0].problem


# -- no false alarm ------------------------------------------------------------------------------

corpus = whole_corpus()


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in corpus.items() if not case.slow])
def test_what_is_right_raises_no_alarm(case: Case) -> None:
    crash_everywhere(case.workflow, *case.args)
