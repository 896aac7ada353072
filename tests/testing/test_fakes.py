"""Fakes of steps, and scripts of their outcomes."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from nurselog import (
    Retry,
    StepTimedOut,
    UsageError,
    WorkflowCancelled,
    move_on_after,
    open_engine,
    step,
    step_key,
    workflow,
)
from nurselog.testing import (
    Call,
    Hangs,
    Ignores,
    Life,
    Returned,
    Script,
    Takes,
    VirtualClock,
    crash_everywhere,
    fakes,
    replay,
)

Clock = trio.testing.MockClock


@step
async def fetch(name: str, *, fresh: bool = False) -> str:
    raise AssertionError("the real one")


@step
def count(number: int) -> int:
    raise AssertionError("the real one")


@step
async def outer(name: str) -> str:
    return await fetch(name)


@step
async def pick(first: int, last: int) -> int:
    raise AssertionError("the real one")


class Shop:
    @step
    async def price(self, item: str) -> int:
        raise AssertionError("the real one")


@workflow
async def counting() -> int:
    return await count(6)


@workflow
async def both() -> list[Any]:
    return [await fetch("a", fresh=True), await count(2), await outer("b"), await Shop().price("c")]


async def run(fn: Callable[..., Any], *args: Any) -> Any:
    async with open_engine("sqlite://", (), clock=VirtualClock()) as engine:
        return await engine.run(fn, *args)


async def test_fakes_take_the_place_of_steps_of_all_kinds() -> None:
    async def price(item: str) -> int:
        return ord(item)

    instead = {
        fetch: lambda name, *, fresh=False: f"{name} {fresh}",
        count: lambda number: number + 1,
        Shop.price: price,
    }
    with fakes(instead):
        assert await run(both) == ["a True", 3, "b False", 99]
        assert await fetch("z") == "z False"  # outside of workflows, too
    with pytest.raises(AssertionError, match="the real one"):
        await fetch("z")


async def test_fakes_nest() -> None:
    with fakes({fetch: lambda name, fresh: "outer", count: lambda number: 1}):
        with fakes({fetch: lambda name, fresh: "inner"}):
            assert await fetch("a") == "inner"
            assert await count(0) == 1
        assert await fetch("a") == "outer"


async def test_blocks_of_several_tasks_end_in_any_order() -> None:
    one, other = fakes({count: lambda number: 1}), fakes({count: lambda number: 2, fetch: lambda name, fresh: name})
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert await count(0) == 2
    assert await fetch("still there") == "still there"
    other.__exit__(None, None, None)
    with pytest.raises(AssertionError, match="the real one"):
        await count(0)


async def test_a_fake_is_called_in_one_way_however_the_step_is_called() -> None:
    @workflow(name="calls")
    async def calls() -> list[str]:
        return [await fetch("a"), await fetch(name="b"), await fetch(fresh=True, name="c")]

    script = Script("done")
    with fakes({fetch: lambda other_name, *, fresh: f"{other_name} {fresh}"}):
        assert await run(calls) == ["a False", "b False", "c True"]
    with fakes({fetch: script}):
        await run(calls)
    assert [(call.args, call.kwargs["fresh"]) for call in script.calls] == [
        (("a",), False),
        (("b",), False),
        (("c",), True),
    ]


async def test_a_step_that_is_written_in_c() -> None:
    largest = step(max, name="largest")
    with fakes({largest: lambda *numbers: min(numbers)}):
        assert await largest(1, 2) == 1


async def test_variants_of_a_step_have_its_fake() -> None:
    with fakes({fetch: lambda name, fresh=False: name}):
        assert await fetch.using(name="other", timeout=3)("a") == "a"


@pytest.mark.parametrize(
    ("instead", "message"),
    [
        ({"fetch": print}, "'fetch' is no step"),
        ({fetch: 3}, "3 cannot run instead of step 'fetch'"),
        ({fetch: lambda: 3}, "cannot be called as step 'fetch' is, with (name, fresh): too many positional"),
        ({fetch: lambda name: 3}, "cannot be called as step 'fetch' is, with (name, fresh): got an unexpected keyword"),
        ({Shop.price: lambda: 3}, "cannot be called as step 'Shop.price' is, with (item)"),
        ({pick: lambda last, first: 3}, "has 'last' where step 'pick' has 'first', of (first, last)"),
        ({fetch: dict}, "cannot be called as step 'fetch' is, with (name, fresh)"),
    ],
)
async def test_what_is_no_fake(instead: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)), fakes(instead):
        pass


# -- scripts -------------------------------------------------------------------------------------


@workflow
async def several(times: int) -> list[int]:
    return [await count(number) for number in range(times)]


async def test_a_script_has_outcomes_in_order_and_then_the_last() -> None:
    script = Script(1, 2, 3)
    with fakes({count: script}):
        assert await run(several, 5) == [1, 2, 3, 3, 3]
    assert [call.args for call in script.calls] == [(0,), (1,), (2,), (3,), (4,)]
    assert len({call.key for call in script.calls}) == 5
    assert script.calls[0] == Call((0,), {}, script.calls[0].key, 1)


async def test_a_script_fails_and_succeeds(autojump_clock: Clock) -> None:
    @workflow(name="stubborn")
    async def stubborn() -> int:
        return await count.using(retry=Retry(attempts=3, delay=60))(1)

    script = Script(OSError("one"), OSError("two"), 7)
    with fakes({count: script}):
        assert await run(stubborn) == 7
    assert [call.attempt for call in script.calls] == [1, 2, 3]


async def test_scripts_take_time(autojump_clock: Clock) -> None:
    @workflow(name="timed")
    async def timed() -> tuple[int | None, list[int]]:
        late = None
        with move_on_after(10):
            late = await count(0)
        return late, [await count(number) for number in (1, 2)]  # side by side, either could be the first

    begin = trio.current_time()
    with fakes({count: Script(Hangs(), Takes(5, 1), Ignores(20, 2))}):
        assert await run(timed) == (None, [1, 2])
    assert trio.current_time() - begin == pytest.approx(35, abs=0.1)


async def test_a_script_may_end_although_it_is_cancelled(autojump_clock: Clock) -> None:
    @workflow(name="cut")
    async def cut() -> int:
        with move_on_after(1):
            return await count(0)
        return -1

    for outcome, result in ((Ignores(20, 2), 2), (Takes(20, 2), -1), (Ignores(20, Hangs()), -1)):
        with fakes({count: Script(outcome)}):
            assert await run(cut) == result
    with fakes({count: Script(Ignores(20, ValueError("late")))}), pytest.raises(ValueError, match="late"):
        await run(cut)


async def test_a_fake_is_timed_out_and_cancelled_as_the_step_would_be(autojump_clock: Clock) -> None:
    @workflow(name="limited")
    async def limited() -> int:
        return await count.using(timeout=3)(1)

    with fakes({count: Script(Hangs())}):
        with pytest.raises(StepTimedOut):
            await run(limited)
        async with open_engine("sqlite://", (), clock=VirtualClock()) as engine:
            handle = await engine.submit(several, 1)
            await engine.cancel(handle.id)
            with pytest.raises(WorkflowCancelled):
                await handle.result()


async def test_a_sync_step_with_a_fake_that_is_suspended_warns_of_no_thread(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with fakes({count: Script(Hangs())}):
        async with open_engine("sqlite://", (), clock=VirtualClock()) as engine:
            await engine.submit(several, 1)
            await trio.sleep(5)
    assert "thread" not in caplog.text


def test_a_script_has_an_outcome() -> None:
    with pytest.raises(UsageError, match="at least one"):
        Script()


async def test_each_call_of_a_step_that_calls_others_has_an_outcome_of_its_own() -> None:
    @step(name="twice")
    async def twice() -> list[int]:
        assert step_key()
        return [await count(1), await count(2)]

    @workflow(name="twice over")
    async def again() -> list[int]:
        return [*await twice(), await count(3)]

    with fakes({count: Script(1, 2, 3)}):
        assert await run(partial(again)) == [1, 2, 3]


def test_an_attempt_that_runs_again_has_the_outcomes_that_it_had() -> None:
    @step(name="two of them")
    async def two() -> list[int]:
        return [await count(1), await count(2)]

    @workflow(name="two and one")
    async def more() -> list[int]:
        return [*await two(), await count(3)]

    report = crash_everywhere(more, fakes={count: Script(1, 2, 3)})
    assert report.live.outcome == Returned([1, 2, 3])


async def test_a_script_outside_of_workflows() -> None:
    script = Script(1, 2)
    with fakes({count: script}):
        assert [await count(7), await count(8), await count(9)] == [1, 2, 2]
    assert script.calls[0] == Call((7,), {}, "", 1)


def test_an_invariant_sees_the_calls_of_its_own_life() -> None:
    script = Script(1, 2, 3)
    seen: list[int] = []

    def is_fair(script: Script[int], life: Life) -> None:
        assert len({call.key for call in script.calls}) == 2
        seen.append(len(script.calls))

    crash_everywhere(several, 2, fakes={count: script}, invariant=partial(is_fair, script))
    assert seen[0] == 2
    assert max(seen) == 3, "a crash before an outcome is recorded is one more call"
    assert not script.calls, "each life has a copy"


@pytest.mark.parametrize("outcome", [ValueError, Hangs, Takes])
def test_a_class_is_no_outcome(outcome: Any) -> None:
    with pytest.raises(UsageError, match=f"{outcome.__name__} is a class"):
        Script(outcome)


def test_an_error_is_raised_anew_each_time() -> None:
    """One object raised again and again would drag along where it has been, and write all of it into each record."""
    error = OSError("no line")
    script = Script[int](error)

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(OSError, match="no line"):
                await script()

    trio.run(main)
    assert len(traceback.extract_tb(error.__traceback__)) < 4


def test_in_a_replay_no_step_runs_whatever_has_a_fake() -> None:
    report = crash_everywhere(counting, fakes={count: Script(7)})
    ran: list[int] = []

    def run_it(number: int) -> int:
        ran.append(number)
        return 7

    with fakes({count: run_it}):
        replay(counting, report.live.entries[:1])
    assert ran == []
