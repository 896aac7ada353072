"""Promises, from the side of the workflow: one outcome from outside, for everybody who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import trio

from nurselog import (
    CancelScope,
    DecodingError,
    Engine,
    Failed,
    MisplacedCallError,
    OutsideWorkflowError,
    Promise,
    RegistrationError,
    StepFailed,
    Succeeded,
    WorkflowStuck,
    after,
    mailbox,
    move_on_after,
    open_nursery,
    promise,
    select,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Received, Result
from tests.engine.rig import in_memory
from tests.flow.rig import Outside, events, play, play_on

Clock = trio.testing.MockClock


@step
async def call(fn: Callable[[], Awaitable[object]]) -> None:
    await fn()


@dataclass
class Verdict:
    by: str
    approved: bool


def resolves(*values: object, path: str = "1", every: float = 1) -> Outside:
    """Return somebody who settles a promise a second: those at path 1, 2, ..., or that at a path."""

    async def outside(engine: Engine) -> None:
        for value in values:
            await trio.sleep(every)
            id_ = f"played#{path}"
            await (engine.reject(id_, value) if isinstance(value, Exception) else engine.resolve(id_, value))

    return outside


# -- one outcome, for everybody ------------------------------------------------------------------


async def test_who_waits_gets_the_value(autojump_clock: Clock) -> None:
    async def flow() -> str:
        return repr(await promise(Verdict).result())

    verdict = Verdict("ada", approved=True)
    async with in_memory() as engine:
        assert await play_on(engine, flow, outside=resolves(verdict)) == repr(verdict)
        [received] = [event for event in await events(engine) if isinstance(event, Received)]
    assert (received.path, received.topic, received.result) == ("1", None, Result.VALUE)


async def test_the_outcome_is_not_used_up(autojump_clock: Clock) -> None:
    async def flow() -> list[object]:
        approval, got = promise(int), list[object]()

        async def wait() -> None:
            got.append(await approval.result())

        assert approval.outcome is None
        async with open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        assert approval.outcome == Succeeded(7) == await approval.receive()
        return [*got, await approval.result(), (await select(after(0), approval)).index]

    assert await play(flow, resolves(7)) == [7, 7, 7, 7, 1]


async def test_a_rejection_is_an_outcome_and_raised_by_result(autojump_clock: Clock) -> None:
    async def flow() -> str:
        approval = promise(int)
        outcome = await approval.receive()
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, PermissionError)
        with pytest.raises(PermissionError, match="not by me"):
            (await select(approval)).unwrap()
        with pytest.raises(PermissionError, match="not by me"):
            await approval.result()
        return repr(approval.outcome)

    assert await play(flow, resolves(PermissionError("not by me"))) == "Failed(error=PermissionError('not by me'))"


async def test_an_error_of_a_type_that_cannot_be_rebuilt(autojump_clock: Clock) -> None:
    class LocalError(Exception):
        pass

    async def flow() -> str:
        with pytest.raises(StepFailed) as caught:
            await promise().result()
        return str(caught.value)

    assert (await play(flow, resolves(LocalError("oh")))).endswith(".LocalError: oh")


async def test_a_value_that_does_not_fit(autojump_clock: Clock) -> None:
    async def flow() -> int:
        approval = promise(int)
        for _ in range(2):
            with pytest.raises(DecodingError, match=r"what promise 'played#1' was given \(row 2 of the log\)"):
                await approval.result()
        return 1

    async with in_memory() as engine:
        handle = await engine.submit(workflow(name="flow")(flow), id="played")
        await resolves("seven")(engine)
        assert await handle.result() == 1


async def test_a_cancelled_wait_leaves_it_as_it_is(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        approval = promise(int)
        with move_on_after(1) as scope:
            await approval.receive()
        assert scope.cancelled_caught
        assert approval.outcome is None
        await sleep(10)
        with CancelScope() as cancelled:
            cancelled.cancel()
            await approval.result()
        assert cancelled.cancelled_caught
        return [await approval.result()]

    assert await play(flow, resolves(7, every=5)) == [7]


async def test_one_that_nobody_waits_for_any_more_changes_nothing(autojump_clock: Clock) -> None:
    async def flow() -> str:
        with move_on_after(1):
            await promise(int).result()
        await sleep(10)
        return "went on"

    assert await play(flow, resolves(7, every=5)) == "went on"


async def test_one_that_comes_before_the_code_does(autojump_clock: Clock) -> None:
    """Somebody has guessed its id. It is ready since then: before a message that came later."""

    async def flow() -> list[object]:
        box = mailbox("t")
        await sleep(10)
        return [(await select(box, promise(int))).index, await promise(int).result()]

    async def outside(engine: Engine) -> None:
        await resolves(7, path="2")(engine)
        await engine.send("played", "t", 8)
        await resolves(9, path="4")(engine)

    assert await play(flow, outside) == [1, 9]


async def test_each_promise_has_a_place_of_its_own(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        ids: list[str] = []

        async def branch() -> None:
            ids.extend([promise().id, repr(promise())])

        async with open_nursery() as nursery:
            nursery.go(branch)
        settled = promise()
        ids.append(settled.id)
        await settled.receive()
        return [*ids, repr(settled)]

    async with in_memory() as engine:
        handle = await engine.submit(workflow(name="flow")(flow), id="a#b")
        await trio.sleep(1)
        await engine.resolve("a#b#3", None)
        assert await handle.result() == [
            "a#b#2.1",
            "<nurselog.Promise 'a#b#2.2', open>",
            "a#b#3",
            "<nurselog.Promise 'a#b#3', settled>",
        ]


# -- wrong places, wrong types -------------------------------------------------------------------


async def test_a_type_that_nothing_could_be_read_back_as(autojump_clock: Clock) -> None:
    async def flow() -> int:
        with pytest.raises(RegistrationError, match="promise, its value"):
            promise(Callable[[int], int])
        return 1

    assert await play(flow) == 1


async def test_where_there_are_no_promises(autojump_clock: Clock) -> None:
    async def make() -> None:
        promise()

    async def flow() -> int:
        with pytest.raises(MisplacedCallError, match="promise was called inside a step"):
            await call(make)
        return 1

    with pytest.raises(OutsideWorkflowError, match="promise works inside a workflow only"):
        await make()
    assert await play(flow) == 1


async def test_another_workflows_promise(autojump_clock: Clock) -> None:
    made: list[Promise[int]] = []

    @workflow(name="first")
    async def first() -> None:
        made.append(promise(int))
        await sleep(10)

    async def flow() -> int:
        for use in (made[0].receive, made[0].result):
            with pytest.raises(MisplacedCallError, match="belongs to workflow 'one'"):
                await use()
        with pytest.raises(MisplacedCallError):
            made[0].outcome  # noqa: B018 - reading it is what is tried
        return 1

    async with in_memory() as engine:
        handle = await engine.submit(first, id="one")
        await trio.sleep(1)
        assert await play_on(engine, flow) == 1
        await handle.result()


async def test_a_promise_that_nobody_waits_for_saves_nobody_from_a_deadlock(autojump_clock: Clock) -> None:
    async def flow() -> None:
        promise()
        await trio.Event().wait()

    with pytest.raises(WorkflowStuck, match="everybody waits, and nobody can move"):
        async with in_memory() as engine:
            await (await engine.submit(workflow(name="flow")(flow))).result()
