"""What workflow code does rarely, and by mistake: it is an error of that workflow, and harms nobody else."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from nurselog import (
    CancelScope,
    ChildCancelled,
    Retry,
    UsageError,
    WasCancelled,
    WorkflowCancelled,
    WorkflowStuck,
    move_on_after,
    open_nursery,
    patched,
    race,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import ScopeCancelled, StepEnded
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


# -- Cancelled, raised by hand -------------------------------------------------------------------


async def raise_cancelled() -> float:
    """Raise a `Cancelled` outside of the scope that it belongs to."""
    saved: trio.Cancelled | None = None
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            saved = exc
    assert saved is not None
    raise saved


async def raise_cancelled_in_a_group() -> float:
    try:
        await raise_cancelled()
    except trio.Cancelled as exc:
        raise BaseExceptionGroup("by hand", [exc]) from None
    return 1


async def raise_cancelled_beside_an_error() -> float:
    try:
        await raise_cancelled()
    except trio.Cancelled as exc:
        raise BaseExceptionGroup("by hand", [exc, LookupError("its own")]) from None
    return 1


@pytest.mark.parametrize("code", [raise_cancelled, raise_cancelled_in_a_group], ids=["alone", "in a group"])
async def test_a_workflow_that_raises_cancelled_by_hand_has_failed(
    autojump_clock: Clock, code: Callable[[], Awaitable[float]]
) -> None:
    async def flow() -> float:
        await nap(1)
        return await code()

    async with in_memory() as engine:
        beside = await engine.submit(workflow(name="beside")(napping), 5.0)
        with pytest.raises(UsageError, match="the workflow raised Cancelled, but nobody has cancelled it"):
            await play_on(engine, flow)
        assert await beside.result() == 5, "nobody else is harmed"


async def napping(seconds: float) -> float:
    return await nap(seconds)


async def test_an_error_beside_a_cancelled_by_hand_is_the_workflows_error(autojump_clock: Clock) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await play(raise_cancelled_beside_an_error)
    assert [repr(exc) for exc in caught.value.exceptions] == ["LookupError('its own')"]


async def test_a_racer_that_raises_cancelled_by_hand_has_not_won(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(ExceptionGroup, match="nobody won the race") as caught:
            await race(raise_cancelled, raise_cancelled)
        assert all(isinstance(exc, ChildCancelled) for exc in caught.value.exceptions)
        return [str(exc) for exc in caught.value.exceptions]

    assert await play(flow)


# -- why it is cancelled -------------------------------------------------------------------------


reasons: list[str | None] = []


@step
async def tell_why() -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled as exc:
        reasons.append(exc.reason)
        raise


async def test_a_body_sees_why_it_is_cancelled(autojump_clock: Clock) -> None:
    async def flow() -> None:
        async with open_nursery() as nursery:
            nursery.go(tell_why)
            await sleep(1)
            nursery.cancel_scope.cancel("enough")

    reasons.clear()
    await play(flow)
    assert reasons == ["enough"]


# -- nurseries -----------------------------------------------------------------------------------


async def test_a_step_that_starts_as_the_last_one_of_a_cancelled_nursery_ends(autojump_clock: Clock) -> None:
    """Nothing that is started in a cancelled nursery may run on, whatever it is started from."""

    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            first = nursery.go(nap, 1000)
            nursery.cancel_scope.cancel("enough")
            with CancelScope(shield=True):
                outcomes = [await first.receive()]
                outcomes.append(await nursery.go(nap, 2000).receive())
                outcomes.append(await nursery.go(nap, 3000).receive())
        assert all(isinstance(outcome, WasCancelled) for outcome in outcomes)
        return [outcome.reason or "" for outcome in outcomes if isinstance(outcome, WasCancelled)]

    assert await play(flow) == ["enough"] * 3
    assert trio.current_time() < 1000


@pytest.mark.filterwarnings("ignore::trio.TrioDeprecationWarning")
@pytest.mark.parametrize("strict", [True, False])
def test_what_comes_out_of_a_nursery_is_a_group_whatever_the_host_wants(
    strict: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The next process may run Trio with the other setting, and the code must see the same there."""

    @step(name="fail")
    async def fail(error: str) -> None:
        raise LookupError(error)

    async def plain() -> None:
        await nap(1)
        raise ValueError("of a plain child")

    async def broken_nursery(*, unclaimed: bool = False, child: bool = False, body: bool = False) -> None:
        async with open_nursery() as nursery:
            if unclaimed:
                nursery.go(fail, "nobody has asked for it")
            if child:
                nursery.start_soon(plain)
            if body:
                raise KeyError("of the body")
            await nap(5)

    async def flow() -> list[list[str]]:
        got = []
        for errors in ({"unclaimed": True, "child": True}, {"unclaimed": True}, {"child": True}, {"body": True}):
            with pytest.raises(ExceptionGroup) as caught:
                await broken_nursery(**errors)
            got.append(sorted(map(repr, caught.value.exceptions)))
        return got

    async def main() -> list[list[str]]:
        async with in_memory(VirtualClock()) as engine:
            return await play_on(engine, flow)

    unclaimed, child = "LookupError('nobody has asked for it')", "ValueError('of a plain child')"
    got = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), strict_exception_groups=strict)
    assert got == [[unclaimed, child], [unclaimed], [child], ["KeyError('of the body')"]]


# -- steps ---------------------------------------------------------------------------------------


async def test_a_step_whose_coroutine_was_closed_need_not_be_awaited(autojump_clock: Clock) -> None:
    """Task groups do that with what they take no more; its place in the workflow is used up."""

    async def flow() -> float:
        nap(1).close()
        return await nap(2)

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 2
        assert [event.path for event in await events(engine) if isinstance(event, StepEnded)] == ["2"]


# -- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [5, b"bytes", "half of a character: \ud800"], ids=["int", "bytes", "surrogate"])
async def test_a_text_that_cannot_be_written_changes_nothing(autojump_clock: Clock, text: Any) -> None:
    said = "cannot be written" if isinstance(text, str) else "must be a str"

    async def flow() -> float:
        with CancelScope() as scope, pytest.raises(UsageError, match=f"a reason .*{said}"):
            scope.cancel(text)
        assert not scope.cancel_called
        with pytest.raises(UsageError, match=f"a patch's name .*{said}"):
            patched(text)
        async with open_nursery() as nursery:
            handle = nursery.go(nap, 1)
            with pytest.raises(UsageError, match=f"a reason .*{said}"):
                handle.cancel(text)
            return await handle.result()

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 1
        handle = await engine.submit(workflow(name="napping")(napping), 5.0, id="one")
        with pytest.raises(UsageError, match=f"a reason .*{said}"):
            await engine.cancel("one", text)
        assert await handle.result() == 5


@pytest.mark.parametrize("length", [1000, 1001])
async def test_a_reason_that_is_too_long_is_cut_and_cancels_all_the_same(autojump_clock: Clock, length: int) -> None:
    """Whatever is cancelled: a scope, a child, or the workflow from outside."""
    text = "x" * length
    kept = text if length == 1000 else "x" * 1000 + "... (1001 characters)"

    async def flow() -> None:
        with CancelScope() as scope:
            scope.cancel(text)
        assert scope.reason == kept
        async with open_nursery() as nursery:
            handle = nursery.go(nap, 100)
            await sleep(1)
            handle.cancel(text)
            assert await handle.receive() == WasCancelled(kept, handle.path)

    async with in_memory() as engine:
        await play_on(engine, flow)
        handle = await engine.submit(workflow(name="napping")(napping), 5.0, id="one")
        await engine.cancel("one", text)
        with pytest.raises(WorkflowCancelled) as caught:
            await handle.result()
        assert caught.value.reason == kept
        reasons = [event.reason for event in await events(engine) if isinstance(event, ScopeCancelled)]
        assert reasons == [kept, kept]


async def test_a_patch_whose_name_is_too_long_is_refused(autojump_clock: Clock) -> None:
    """Cut, two of them might be one."""

    async def flow() -> bool:
        with pytest.raises(UsageError, match="a patch's name may have 200 characters, not 201"):
            patched("x" * 201)
        return patched("x" * 200)

    assert await play(flow)


async def test_a_group_is_worth_another_attempt_if_all_in_it_is() -> None:
    retry = Retry(when=(ConnectionError, TimeoutError))
    assert retry.wants(ExceptionGroup("", [ConnectionError(), ExceptionGroup("", [TimeoutError()])]))
    assert not retry.wants(ExceptionGroup("", [ConnectionError(), ValueError()]))
    assert Retry(when=ExceptionGroup).wants(ExceptionGroup("", [ValueError()]))


async def test_what_fails_when_it_is_cancelled_is_not_tried_again(autojump_clock: Clock) -> None:
    @step(name="untidy", retry=Retry(attempts=3, delay=1))
    async def untidy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("in cleanup")

    async def flow() -> str:
        with move_on_after(5):
            try:
                await untidy()
            except OSError as exc:
                return str(exc)
        return "tried again"

    async with in_memory() as engine:
        assert await play_on(engine, flow) == "in cleanup"
        [ended] = [event for event in await events(engine) if isinstance(event, StepEnded)]
    assert ended.attempts == 1


class Why(enum.StrEnum):
    LATE = "it was late"


async def test_a_reason_may_be_of_a_class_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    async def flow() -> str | None:
        with CancelScope() as scope:
            scope.cancel(Why.LATE)
            await sleep(1)
        return scope.reason

    assert await play(flow) == "it was late"


# -- calls whose await an error has passed over --------------------------------------------------


@step
async def refuse() -> None:
    raise LookupError


async def test_a_call_whose_await_an_error_has_passed_over(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> float:
        first, second = refuse(), nap(1)
        try:
            await first
            return await second
        except LookupError:
            return -1

    async with in_memory() as engine:
        with pytest.raises(WorkflowStuck, match=r"'nap' without await(?s:.)*make the call where it is awaited"):
            await engine.run(flow)
