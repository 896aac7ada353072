"""Whose an error is: the child's handle's, or the nursery's; and what claims it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from nurselog import (
    CancelScope,
    Handle,
    Status,
    after,
    as_completed,
    gather,
    open_nursery,
    select,
    sleep,
    step,
)
from nurselog.lowlevel import Cause, ScopeCancelled
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def fail(message: str, seconds: float = 0) -> None:
    await trio.sleep(seconds)
    raise ValueError(message)


async def branch_nap(seconds: float) -> float:
    await sleep(seconds)
    return seconds


async def branch_fail(message: str, seconds: float = 0) -> None:
    await sleep(seconds)
    raise ValueError(message)


Napper = Callable[[float], Awaitable[float]]
Failer = Callable[[str], Awaitable[None]]
nappers = pytest.mark.parametrize("napper", [nap, branch_nap])
failers = pytest.mark.parametrize("failer", [fail, branch_fail])


async def receive(handle: Handle[None]) -> None:
    await handle.receive()


async def result(handle: Handle[None]) -> None:
    with pytest.raises(ValueError, match="no"):
        await handle.result()


async def chosen(handle: Handle[None]) -> None:
    assert (await select(handle, after(100))).case is handle


async def looked_at(handle: Handle[None]) -> None:
    await sleep(5)
    assert handle.outcome is not None


async def completed(handle: Handle[None]) -> None:
    assert [h async for h in as_completed(handle)] == [handle]


async def gathered(handle: Handle[None]) -> None:
    with pytest.raises(ValueError, match="no"):
        await gather(handle)


async def parked(handle: Handle[None]) -> None:
    with CancelScope() as scope:
        async with open_nursery() as waiting:
            waiting.go(handle.receive)
            await sleep(5)
            scope.cancel()


@failers
@pytest.mark.parametrize("claim", [receive, result, chosen, looked_at, completed, gathered, parked])
async def test_a_claimed_failure_is_not_raised(
    autojump_clock: Clock, failer: Failer, claim: Callable[[Handle[None]], Awaitable[None]]
) -> None:
    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(failer, "no")
            await claim(handle)
        return "the nursery is content"

    assert await play(flow) == "the nursery is content"


@failers
async def test_an_unclaimed_failure_is_raised_when_the_body_ends_and_cancels_the_others(
    autojump_clock: Clock, failer: Failer
) -> None:
    async def flow() -> list[object]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                nursery.go(failer, "no")
                other = nursery.go(nap, 100)
                await sleep(5)
                assert other.status is Status.RUNNING, "while the body runs a failure belongs to its handle"
        assert nursery.cancel_scope.cancel_called
        return [str(exc) for exc in caught.value.exceptions] + [other.status.value]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ["no", "cancelled"]
        [noted] = [event for event in await events(engine) if isinstance(event, ScopeCancelled)]
    assert (noted.by, noted.reason) == (Cause.FAILURE, "ValueError")


async def test_a_failure_after_the_body_has_ended_is_the_nurserys(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                nursery.go(branch_fail, "no", 5)
                other = nursery.go(branch_nap, 100)
        return [str(exc) for exc in caught.value.exceptions] + [other.status.value]

    assert await play(flow) == ["no", "cancelled"]


async def test_a_failure_that_another_child_waits_for_is_claimed(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handle = nursery.go(fail, "no", 5)
            watcher = nursery.go(handle.receive)
        return [repr(watcher.status.value), repr(handle.status.value)]

    assert await play(flow) == ["'completed'", "'failed'"]


async def test_unclaimed_failures_join_the_bodys_own_error(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                nursery.go(fail, "child")
                await sleep(5)
                raise KeyError("body")
        return sorted(repr(exc) for exc in caught.value.exceptions)

    assert await play(flow) == ["KeyError('body')", "ValueError('child')"]


async def test_an_error_that_the_body_got_from_a_handle_is_raised_once(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                await nursery.go(fail, "child").result()
        return [repr(exc) for exc in caught.value.exceptions]

    assert await play(flow) == ["ValueError('child')"]


async def test_losing_a_select_claims_nothing(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                loser = nursery.go(fail, "lost", 2)
                winner = nursery.go(nap, 1)
                assert (await select(loser, winner)).index == 1
                await sleep(5)
        return [str(exc) for exc in caught.value.exceptions]

    assert await play(flow) == ["lost"]


async def test_the_status_claims_nothing(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                handle = nursery.go(fail, "no")
                await sleep(5)
                assert handle.status is Status.FAILED
        return [str(exc) for exc in caught.value.exceptions]

    assert await play(flow) == ["no"]


async def test_a_cancelled_child_never_fails_the_nursery(autojump_clock: Clock) -> None:
    async def flow() -> str:
        async with open_nursery() as nursery:
            handle = nursery.go(nap, 100)
            other = nursery.go(branch_nap, 100)
            await sleep(1)
            handle.cancel()
            other.cancel()
        return "content"

    assert await play(flow) == "content"
