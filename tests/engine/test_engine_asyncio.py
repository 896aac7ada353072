"""Steps that are written for asyncio: how they end, however they end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import anyio
import pytest
import trio

from nurselog import (
    Retry,
    StepTimedOut,
    UsageError,
    attempt,
    open_nursery,
    sleep,
    step,
    step_key,
    workflow_id,
)
from nurselog._flow.venue import Venue
from nurselog.testing import fakes
from tests.engine.in_asyncio import aio, nap, play_one, seen
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on
from tests.neighbours import need

trio_asyncio: Any = need(Venue.ASYNCIO)

Clock = trio.testing.MockClock

HOUR = 3600.0


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


# -- values and errors ---------------------------------------------------------------------------


async def test_it_runs_in_asyncio_and_returns(autojump_clock: Clock) -> None:
    async def double(number: int, *, by: int = 2) -> int:
        assert asyncio.current_task() is not None
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))
        seen.append(loop.time() - before)
        return number * by

    async def flow() -> list[int]:
        return [await aio(double)(1), await aio(double)(2, by=10)]

    assert await play(flow) == [2, 20]
    assert seen == [pytest.approx(2), pytest.approx(2)], "once each, and in virtual time"


async def test_one_loop_serves_all_steps(autojump_clock: Clock) -> None:
    async def which() -> None:
        await asyncio.sleep(1)
        seen.append(asyncio.get_running_loop())

    async def flow() -> None:
        async with open_nursery() as nursery:
            for _ in range(3):
                nursery.go(aio(which))

    await play(flow)
    assert len(seen) == 3
    assert len(set(seen)) == 1


async def test_errors_and_groups_arrive_as_they_are(autojump_clock: Clock) -> None:
    async def fails() -> None:
        raise KeyError("which")

    async def fail_together() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.sleep(HOUR))

    async def flow() -> list[str]:
        texts = []
        for fn in (fails, fail_together):
            try:
                await aio(fn)()
            except (KeyError, ExceptionGroup) as exc:
                texts.append(repr(exc))
        return texts

    assert await play(flow) == [
        "KeyError('which')",
        "ExceptionGroup('unhandled errors in a TaskGroup', [KeyError('which')])",
    ]


async def test_context_variables_are_seen(autojump_clock: Clock) -> None:
    color = contextvars.ContextVar("color", default="none")

    async def inner() -> str:
        return color.get()

    async def ask() -> list[object]:
        found = await asyncio.create_task(inner())
        color.set("blue")
        return [found, workflow_id(), len(step_key()), attempt()]

    async def flow() -> list[object]:
        color.set("red")
        return [*await aio(ask)(), color.get()]

    assert await play(flow) == ["red", "played", 32, 1, "red"]


async def test_anyio_finds_asyncio(autojump_clock: Clock) -> None:
    async def with_anyio() -> list[object]:
        with anyio.move_on_after(1) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, HOUR)
        return [anyio.get_current_task().name, scope.cancelled_caught]

    assert await play_one(aio(with_anyio)) == ["step with_anyio", True]


async def test_a_way_back_to_trio(autojump_clock: Clock) -> None:
    async def there_and_back() -> str:
        await trio_asyncio.trio_as_aio(trio.sleep)(1)
        return "back"

    assert await play_one(aio(there_and_back)) == "back"


async def test_attempts_timeouts_and_methods(autojump_clock: Clock) -> None:
    async def flaky() -> int:
        seen.append(attempt())
        if attempt() == 1:
            await asyncio.sleep(HOUR)
        if attempt() == 2:
            raise OSError
        return attempt()

    class Client:
        def __init__(self) -> None:
            self.name = "mine"

        async def ask(self) -> str:
            return self.name

        whoami = step(name="whoami", asyncio=True)(ask)

    async def flow() -> list[object]:
        found = await aio(flaky, retry=Retry(attempts=3), attempt_timeout=1)()
        return [found, await Client().whoami()]

    assert await play(flow) == [3, "mine"]
    assert seen == [1, 2, 3]


async def test_a_whole_steps_timeout(autojump_clock: Clock) -> None:
    async def flow() -> str:
        with pytest.raises(StepTimedOut):
            await aio(nap, timeout=2)(HOUR)
        return "too slow"

    assert await play(flow) == "too slow"
    assert seen == ["cancelled"]


async def test_who_is_done_in_spite_of_a_timeout_is_done(autojump_clock: Clock) -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(HOUR)
        return "done"

    assert await play_one(aio(stubborn, timeout=1)) == "done"


async def test_at_most_once(autojump_clock: Clock) -> None:
    async def once() -> str:
        await asyncio.sleep(1)
        return "paid"

    async with in_memory() as engine:

        async def flow() -> str:
            return str(await aio(once, at_most_once=True)())

        assert await play_on(engine, flow) == "paid"
        assert [type(event).__name__ for event in await events(engine)] == [
            "Started",
            "StepBegan",
            "StepEnded",
            "Ended",
        ]


async def test_fakes_stand_in(autojump_clock: Clock) -> None:
    wait = aio(nap)

    async def fake(seconds: float) -> float:
        await trio.sleep(seconds)
        return -seconds

    with fakes({wait: fake}):
        assert await play_one(wait, 2) == -2


# -- what is left behind -------------------------------------------------------------------------


async def idle() -> None:
    try:
        await asyncio.sleep(HOUR)
    finally:
        await asyncio.sleep(1)
        seen.append("idle has ended")


async def test_tasks_that_are_left_behind_are_told_by_name(autojump_clock: Clock) -> None:
    async def forgetful() -> str:
        asyncio.get_running_loop().create_task(idle())
        await asyncio.sleep(1)
        seen.append(asyncio.ensure_future(asyncio.sleep(HOUR)))
        return "unheard"

    async def flow() -> str:
        with pytest.raises(UsageError) as caught:
            await aio(forgetful, retry=Retry(attempts=3))()
        return str(caught.value)

    text = await play(flow)
    assert text.startswith(
        "step 'forgetful' has returned and left asyncio tasks behind, which were cancelled: idle at "
    )
    assert "test_engine_asyncio.py:" in text
    assert ", sleep at its beginning. " in text or ", sleep at " in text
    assert seen[1:] == ["idle has ended"], "once, and it was waited for"


async def test_tasks_that_were_cancelled_are_waited_for(autojump_clock: Clock) -> None:
    async def tidy() -> str:
        task = asyncio.create_task(idle())
        await asyncio.sleep(1)
        task.cancel()
        return "tidy"

    assert await play_one(aio(tidy)) == "tidy"
    assert seen == ["idle has ended"]


async def test_generators_that_were_left_half_way_are_closed_by_the_loop(autojump_clock: Clock) -> None:
    async def count() -> AsyncGenerator[int]:
        try:
            for number in range(3):
                yield number
        finally:
            await asyncio.sleep(1)
            seen.append("closed")

    async def hasty() -> int:
        numbers = count()
        first = await anext(numbers)
        asyncio.get_running_loop().create_task(numbers.aclose())  # as the loop does when one is collected
        return first

    async def flow() -> int:
        first: int = await aio(hasty)()
        await sleep(5)
        return first

    assert await play(flow) == 0
    assert seen == ["closed"]


async def test_the_tasks_of_a_failure_end_with_it(autojump_clock: Clock) -> None:
    """Also those that a task starts while it is being cancelled; and the next attempt is not told off for them."""

    async def restless() -> None:
        try:
            await asyncio.sleep(HOUR)
        finally:
            asyncio.create_task(idle())  # noqa: RUF006 - the point
            raise OSError

    async def failing() -> int:
        if attempt() == 1:
            asyncio.create_task(restless())  # noqa: RUF006 - the point
            await asyncio.sleep(1)
            raise ValueError
        return attempt()

    assert await play_one(aio(failing, retry=Retry(attempts=2))) == 2


async def test_a_step_waits_for_none_but_its_own_tasks(autojump_clock: Clock) -> None:
    async def quick() -> str:
        return "quick"

    async def flow() -> list[object]:
        async with open_nursery() as nursery:
            slow = nursery.go(aio(nap), 100.0)
            await sleep(1)
            return [await aio(quick)(), slow.status.value, await slow.result()]

    assert await play(flow) == ["quick", "running", 100.0]


async def test_what_nobody_awaits_is_logged_and_the_loop_goes_on(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def explode() -> None:
        raise ZeroDivisionError("in a callback")

    async def careless() -> str:
        asyncio.get_running_loop().call_soon(explode)
        await asyncio.sleep(1)
        return "went on"

    async def flow() -> list[str]:
        return [await aio(careless)(), await aio(careless)()]

    assert await play(flow) == ["went on", "went on"]
    assert caplog.text.count("ZeroDivisionError: in a callback") == 2
