"""gather, as_completed, race and map_concurrently."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import trio

from nurselog import (
    ChildCancelled,
    Engine,
    as_completed,
    gather,
    map_concurrently,
    move_on_after,
    open_nursery,
    race,
    sleep,
    step,
)
from tests.flow.rig import play

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def fail(message: str, seconds: float = 0) -> float:
    await trio.sleep(seconds)
    raise ValueError(message)


async def branch_fail(message: str) -> float:
    await sleep(1)
    raise ValueError(message)


# -- gather --------------------------------------------------------------------------------------


async def test_gather_gives_values_in_the_order_of_its_arguments(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        async with open_nursery() as nursery:
            return [*await gather(*[nursery.go(nap, seconds) for seconds in (3, 1, 2)]), *await gather()]

    assert await play(flow) == [3, 1, 2]


async def test_gather_raises_the_first_error_in_that_order(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handles = [nursery.go(nap, 1), nursery.go(fail, "late", 5), nursery.go(fail, "early")]
            with pytest.raises(ValueError, match="late"):
                await gather(*handles)
            handles[2].outcome  # noqa: B018 - reading it claims it
            cancelled = nursery.go(nap, 50)
            cancelled.cancel()
            with pytest.raises(ChildCancelled):
                await gather(cancelled)
        return [handle.status.value for handle in handles]

    assert await play(flow) == ["completed", "failed", "failed"]


# -- as_completed --------------------------------------------------------------------------------


async def test_as_completed_gives_handles_as_they_end(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        async with open_nursery() as nursery:
            handles = [nursery.go(nap, seconds) for seconds in (3, 1, 2)]
            return [await handle.result() async for handle in as_completed(*handles)]

    assert await play(flow) == [1, 2, 3]


async def test_as_completed_begins_with_those_that_have_ended_first(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        async with open_nursery() as nursery:
            handles = [nursery.go(nap, seconds) for seconds in (5, 3, 1, 2)]
            await nap(4)
            return [await handle.result() async for handle in as_completed(*handles)]

    assert await play(flow) == [1, 2, 3, 5]


async def test_as_completed_claims_what_it_gives(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handles = [nursery.go(fail, "a", 2), nursery.go(nap, 1), nursery.go(branch_fail, "b")]
            return [handle.status.value async for handle in as_completed(*handles)]

    assert sorted(await play(flow)) == ["completed", "failed", "failed"]


async def test_as_completed_claims_nothing_that_it_has_not_given(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                async for handle in as_completed(nursery.go(nap, 1), nursery.go(fail, "not given", 2)):
                    assert handle.status.value == "completed"
                    break
                await nap(5)
        return [str(exc) for exc in caught.value.exceptions]

    assert await play(flow) == ["not given"]


async def test_as_completed_can_be_cancelled_and_left(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        got = []
        async with open_nursery() as nursery:
            handles = [nursery.go(nap, seconds) for seconds in (1, 5)]
            with move_on_after(2):
                async for handle in as_completed(*handles):
                    got.append(await handle.result())
            async for handle in as_completed(*handles):
                got.append(await handle.result())
        return got

    assert await play(flow) == [1, 1, 5]


async def test_as_completed_with_one_handle_twice_and_with_none(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        async with open_nursery() as nursery:
            handle = nursery.go(nap, 1)
            got = [await one.result() async for one in as_completed(handle, handle)]
            return got + [await one.result() async for one in as_completed()]

    assert await play(flow) == [1], "each handle is given once"


# -- race ----------------------------------------------------------------------------------------


async def test_the_first_value_wins_and_the_rest_is_cancelled(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        ended: list[str] = []

        async def runner(seconds: float) -> float:
            try:
                await sleep(seconds)
            finally:
                ended.append(f"{seconds:g}")
            return seconds

        won = await race(partial(runner, 3), partial(runner, 1), partial(nap, 2), partial(fail, "early"))
        return [won, *ended]

    assert await play(flow) == [1, "1", "3"]


async def test_a_race_without_winner_raises_all_errors(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async def gives_up() -> float:
            with move_on_after(100) as scope:
                scope.cancel()
                await sleep(1)
            raise KeyError("gave up")

        with pytest.raises(ExceptionGroup, match="nobody won") as caught:
            await race(partial(fail, "late", 2), partial(fail, "early", 1), gives_up)
        return [repr(exc) for exc in caught.value.exceptions]

    assert await play(flow) == ["KeyError('gave up')", "ValueError('early')", "ValueError('late')"]


async def test_a_race_of_nobody(autojump_clock: Clock) -> None:
    async def flow() -> int:
        with pytest.raises(ValueError, match="at least one"):
            await race()
        return 1

    assert await play(flow) == 1


async def test_a_loser_that_fails_in_its_cleanup_spoils_nothing(autojump_clock: Clock) -> None:
    async def flow() -> float:
        async def clumsy() -> float:
            try:
                await sleep(100)
            finally:
                raise ValueError("in cleanup")

        return await race(clumsy, partial(nap, 1))

    assert await play(flow) == 1


async def test_a_race_can_be_cancelled(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        with move_on_after(1) as scope:
            await race(partial(nap, 5), partial(nap, 6))
        return scope.cancelled_caught

    assert await play(flow)


async def cancel_the_helper(engine: Engine) -> None:
    """Cancel the scope that a helper has opened, and nothing around it."""
    await trio.sleep(1)
    [run] = engine._service.runner.runs.values()
    run.sequencer.cancel("alone", "1")


@pytest.mark.parametrize("limit", [0, 1, None])
async def test_only_the_scope_of_a_helper_is_cancelled(autojump_clock: Clock, limit: int | None) -> None:
    """Of a race (0) or a map: the nursery swallows that, and what its block had to do was not done."""

    async def flow() -> list[str]:
        with pytest.raises(ChildCancelled) as caught:
            await (race(partial(nap, 5)) if limit == 0 else map_concurrently(nap, [0.5, 5, 6], limit=limit))
        return [str(caught.value), str(await nap(1))]

    assert await play(flow, cancel_the_helper) == ["the child at path 1 was cancelled: alone", "1.0"]


# -- map_concurrently ----------------------------------------------------------------------------


async def test_results_in_the_order_of_the_items(autojump_clock: Clock) -> None:
    async def flow() -> list[float]:
        return [*await map_concurrently(nap, [3, 1, 2]), *await map_concurrently(nap, [])]

    assert await play(flow) == [3, 1, 2]


async def test_no_more_than_the_limit_at_a_time(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        running, most, taken = 0, 0, []

        async def work(n: int) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await nap(1 + n % 3)
            running -= 1
            return n

        def items() -> Iterator[int]:
            for n in range(10):
                taken.append((n, running))
                yield n

        assert await map_concurrently(work, items(), limit=3) == list(range(10))
        assert all(running < 3 for _, running in taken), "items are taken as room becomes free"
        return [most]

    assert await play(flow) == [3]


@pytest.mark.parametrize("limit", [None, 1, 2, 100])
async def test_a_failure_cancels_the_others_and_is_raised(autojump_clock: Clock, limit: int | None) -> None:
    async def flow() -> list[str]:
        ended = []

        async def work(n: int) -> float:
            try:
                return await (fail("no", 1) if n == 1 else nap(0.5 if n == 0 else 50))
            finally:
                ended.append(n)

        with pytest.raises(ExceptionGroup) as caught:
            await map_concurrently(work, range(4), limit=limit)
        return [str(caught.value.exceptions[0]), str(len(caught.value.exceptions)), str(sorted(ended))]

    message, number, ended = await play(flow)
    assert (message, number) == ("no", "1")
    assert ended == {1: "[0, 1]", 2: "[0, 1, 2]"}.get(limit or 4, "[0, 1, 2, 3]")


async def test_a_limit_must_let_somebody_through(autojump_clock: Clock) -> None:
    async def flow() -> int:
        with pytest.raises(ValueError, match="1 or more"):
            await map_concurrently(nap, [1], limit=0)
        return 1

    assert await play(flow) == 1


async def test_a_map_can_be_cancelled(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        with move_on_after(1) as scope:
            await map_concurrently(nap, [5, 6, 7], limit=2)
        return scope.cancelled_caught

    assert await play(flow)
