"""Child workflows: what their outcomes are, and what the code that has started them can do with those."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from nurselog import (
    CancelScope,
    ChildCancelled,
    Failed,
    Handle,
    Status,
    StepFailed,
    Succeeded,
    WasCancelled,
    Workflow,
    WorkflowKilled,
    after,
    as_completed,
    gather,
    mailbox,
    open_nursery,
    race,
    rng,
    select,
    sleep,
    workflow,
    workflow_id,
)
from nurselog._log.codec import digest_arguments
from nurselog.lowlevel import Cause, ChildEnded, ChildStarted, Ended, Result, ScopeCancelled, Started
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock


@workflow
async def echo(value: int) -> int:
    await sleep(value)
    return value


@workflow
async def fail(message: str, seconds: float = 1) -> None:
    await sleep(seconds)
    raise ValueError(message)


@workflow
async def fail_strangely() -> None:
    class OwnError(Exception):
        """Nobody could find it again by its name."""

    raise OwnError("strange")


@workflow
async def give_up() -> None:
    """Is cancelled by its own code, which is no cancellation for anybody else."""
    with CancelScope() as scope:
        scope.cancel("enough")
        await sleep(100)


@workflow
async def endless() -> None:
    await sleep(1_000_000)


@workflow
async def called() -> str:
    return workflow_id()


async def tell(engine: Any, what: str, id: str, *reason: str) -> None:
    """Say something to a workflow a second from now."""
    await trio.sleep(1)
    await getattr(engine, what)(id, *reason)


# -- outcomes ------------------------------------------------------------------------------------


async def by_await(child: Workflow[..., Any], *args: Any) -> Any:
    return await child(*args)


async def by_handle(child: Workflow[..., Any], *args: Any) -> Any:
    async with open_nursery() as nursery:
        handle = nursery.go(child, *args)
        await handle.receive()
    return await handle.result()


async def by_nursery(child: Workflow[..., Any], *args: Any) -> Any:
    """Start it without a handle; a failure comes out in a group."""
    got: list[Any] = []

    async def run() -> None:
        got.append(await child(*args))

    try:
        async with open_nursery() as nursery:
            nursery.start_soon(run)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return got[0]


Way = Callable[..., Awaitable[Any]]
ways = pytest.mark.parametrize("way", [by_await, by_handle, by_nursery])


@ways
async def test_a_child_returns_its_value(autojump_clock: Clock, way: Way) -> None:
    async def flow() -> int:
        return await way(echo, 3)  # type: ignore[no-any-return]  # what echo returns

    assert await play(flow) == 3


@ways
async def test_an_error_is_raised_as_it_was(autojump_clock: Clock, way: Way) -> None:
    async def flow() -> str:
        with pytest.raises(ValueError, match="no") as caught:
            await way(fail, "no")
        return repr(caught.value)

    assert await play(flow) == "ValueError('no')"


@ways
async def test_an_error_that_cannot_be_rebuilt_says_what_it_was(autojump_clock: Clock, way: Way) -> None:
    async def flow() -> str:
        with pytest.raises(StepFailed) as caught:
            await way(fail_strangely)
        return str(caught.value)

    assert "OwnError" in await play(flow)


@ways
async def test_what_a_child_cancels_inside_is_its_own_affair(autojump_clock: Clock, way: Way) -> None:
    async def flow() -> bool:
        return await way(give_up) is None

    assert await play(flow)


def cancelled_path(way: Way) -> str:
    return {by_await: "1", by_handle: "2", by_nursery: "2.1"}[way]


@ways
async def test_somebody_outside_cancels_a_child(autojump_clock: Clock, way: Way) -> None:
    async def flow() -> list[str | None]:
        with pytest.raises(ChildCancelled) as caught:
            await way(endless)
        return [caught.value.path, caught.value.reason]

    path = cancelled_path(way)
    async with in_memory() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(tell, engine, "cancel", f"played/{path}", "not needed")
        assert await play_on(engine, flow) == [path, "not needed"]
        [ended] = [event for event in await events(engine) if isinstance(event, ChildEnded)]
    assert ended == ChildEnded(path=path, result=Result.CANCELLED, reason="not needed")


@ways
async def test_somebody_outside_kills_a_child(autojump_clock: Clock, way: Way) -> None:
    async def flow() -> str:
        with pytest.raises(WorkflowKilled) as caught:
            await way(endless)
        return caught.value.workflow_id.partition("/")[2]

    path = cancelled_path(way)
    async with in_memory() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(tell, engine, "kill", f"played/{path}")
        assert await play_on(engine, flow) == path


async def test_a_handle_tells_how_its_child_ended(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            handles = [
                nursery.go(echo, 1),
                nursery.go(fail, "no"),
                nursery.go(endless, name="cancelled"),
                nursery.go(endless, name="killed"),
            ]
            seen = [handle.status for handle in handles]
            outcomes: list[Any] = [await handle.receive() for handle in handles]
        assert outcomes[0] == Succeeded(1)
        assert isinstance(outcomes[1], Failed)
        assert outcomes[2] == WasCancelled("why", "4")
        assert isinstance(outcomes[3], Failed)
        assert isinstance(outcomes[3].error, WorkflowKilled)
        return [status.value for status in (*seen, *(handle.status for handle in handles))] + [repr(handles[2])]

    async with in_memory() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(tell, engine, "cancel", "played/4", "why")
        nursery.start_soon(tell, engine, "kill", "played/5")
        assert await play_on(engine, flow) == [
            *["running"] * 4,
            "completed",
            "failed",
            "cancelled",
            "failed",
            "<nurselog.Handle cancelled at path 4, cancelled>",
        ]


async def test_a_value_comes_back_by_the_childs_annotation(autojump_clock: Clock) -> None:
    @workflow(name="pair")
    async def pair(value: tuple[int, str]) -> tuple[int, str]:
        assert isinstance(value, tuple)
        return value

    async def flow() -> bool:
        return await pair((1, "one")) == (1, "one")

    assert await play(flow)


# -- failures and whose they are -----------------------------------------------------------------


async def test_a_failure_that_nobody_claims_is_the_nurserys(autojump_clock: Clock) -> None:
    async def flow() -> str:
        with pytest.raises(ExceptionGroup) as caught:
            async with open_nursery() as nursery:
                nursery.go(fail, "no")
                other = nursery.go(endless)
        return f"{caught.value.exceptions!r} {other.outcome!r}"

    async with in_memory() as engine:
        assert await play_on(engine, flow) == ("(ValueError('no'),) WasCancelled(reason='ValueError', path='3')")
        [noted] = [event for event in await events(engine) if isinstance(event, ScopeCancelled)]
    assert (noted.path, noted.by, noted.reason) == ("1", Cause.FAILURE, "ValueError")


async def test_a_failure_waits_for_the_body_to_end(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        seen = False
        with pytest.raises(ExceptionGroup):
            async with open_nursery() as nursery:
                nursery.go(fail, "no")
                await sleep(10)
                seen = True
        return seen

    assert await play(flow)


async def test_start_soon_fails_the_nursery_at_once(autojump_clock: Clock) -> None:
    async def flow() -> bool:
        seen = False
        with pytest.raises(ExceptionGroup):
            async with open_nursery() as nursery:
                nursery.start_soon(fail, "no")
                await sleep(10)
                seen = True
        return seen

    assert not await play(flow)


@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_a_nursery_minds_that_a_child_is_killed_and_not_that_it_is_cancelled(
    autojump_clock: Clock, end: str
) -> None:
    async def flow() -> bool:
        minds = False
        try:
            async with open_nursery() as nursery:
                nursery.go(endless)
        except* WorkflowKilled:
            minds = True
        return minds

    async with in_memory() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(tell, engine, end, "played/2")
        assert await play_on(engine, flow) is (end == "kill")


async def test_a_child_that_others_cancelled_does_not_make_the_nursery_cancelled(autojump_clock: Clock) -> None:
    """Its scope is cancelled afterwards, and everything in that ends with a value."""

    async def flow() -> bool:
        async with open_nursery() as nursery:
            lost = nursery.go(endless)
            nursery.go(stubborn)
            assert await lost.receive() == WasCancelled("by others", "2")
            nursery.cancel_scope.cancel()
        return nursery.cancel_scope.cancelled_caught

    async with in_memory() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(tell, engine, "cancel", "played/2", "by others")
        assert await play_on(engine, flow) is False


@workflow
async def stubborn() -> str:
    try:
        await sleep(1_000_000)
    except trio.Cancelled:
        return "went on"
    return "never"


# -- names, ids, seeds ---------------------------------------------------------------------------


async def test_a_childs_id_is_the_parents_and_its_place(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:

            async def branch() -> str:
                return await called()

            handles = [nursery.go(called), nursery.go(branch)]
            ids = [await called(), *await gather(*handles)]
            assert handles[0].path == "2"
        return ids

    async with in_memory() as engine:
        # the branch's child counts in the branch
        assert await play_on(engine, flow) == ["played/4", "played/2", "played/3.1"]
        rows = {info.id: info for info in await engine.list(prefix="played")}
    assert set(rows) == {"played", "played/4", "played/2", "played/3.1"}


async def test_a_row_says_whose_child_it_is(autojump_clock: Clock) -> None:
    @workflow(name="family")
    async def family(depth: int) -> int:
        return 0 if depth == 0 else 1 + await family(depth - 1)

    async with in_memory() as engine:
        assert await engine.run(family, 3, id="one") == 3
        ids = ["one", "one/1", "one/1/1", "one/1/1/1"]
        rows = {row.id: row for row in await engine._store.find(ids)}
    assert [rows[id].parent for id in ids] == [None, *(rows[id].key for id in ids[:3])]
    assert {row.shard for row in rows.values()} == {0}


async def test_each_child_has_a_seed_of_its_own_that_follows_from_the_parents(autojump_clock: Clock) -> None:
    @workflow(name="roll")
    async def roll() -> int:
        return rng().randrange(2**40)

    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            return [await handle.result() for handle in [nursery.go(roll) for _ in range(3)]]

    async with in_memory() as engine:
        rolled = await play_on(engine, flow)
        fork = await engine.fork("played", at=1)
        assert await fork.result() == rolled, "it has the seed, and so do its children"
        seeds = []
        for id in ("played", "played/2", "played/3", "played/4"):
            [first, *_] = await events(engine, id)
            assert isinstance(first, Started)
            seeds.append(first.seed)
    assert len(set(rolled)) == 3
    assert len(set(seeds)) == 4


async def test_what_the_log_says_of_a_child(autojump_clock: Clock) -> None:
    async def flow() -> int:
        return await echo(3)

    async with in_memory() as engine:
        await play_on(engine, flow)
        _, started, ended, _ = await events(engine)
        assert isinstance(started, ChildStarted)
        assert (started.path, started.name, started.digest) == ("1", "echo", digest_arguments([3], {}))
        assert ended == ChildEnded(path="1", result=Result.VALUE)
        assert [type(event) for event in await events(engine, "played/1")][-1] is Ended


# -- helpers and selects -------------------------------------------------------------------------


async def test_select_over_children_a_mailbox_and_a_timer(autojump_clock: Clock) -> None:
    """Each wins once, and those that lost are there afterwards."""

    async def flow() -> list[str]:
        box = mailbox("news", str)
        won: list[str] = []
        async with open_nursery() as nursery:
            cases = [nursery.go(echo, 4), nursery.go(echo, 2), box, after(3)]
            for _ in range(4):
                chosen = await select(*cases)
                won.append(f"{chosen.index} {chosen.unwrap()}")
                if chosen.index == 2:  # a mailbox is used up, the others win again
                    cases[2] = after(1000)
                else:
                    cases[chosen.index] = after(1000)
            assert [await handle.result() for handle in nursery_handles(cases)] == []
        return won

    def nursery_handles(cases: list[Any]) -> list[Handle[int]]:
        return [case for case in cases if isinstance(case, Handle)]

    async with in_memory() as engine, trio.open_nursery() as nursery:

        async def send() -> None:
            await trio.sleep(1)
            await engine.send("played", "news", "hello")

        nursery.start_soon(send)
        assert await play_on(engine, flow) == ["2 hello", "1 2", "3 None", "0 4"]


async def test_losers_go_on_and_several_may_be_ready(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            late, soon, sooner = nursery.go(echo, 3), nursery.go(echo, 2), nursery.go(echo, 1)
            first = await select(late, soon, sooner)
            await sleep(10)
            again = await select(late, soon)
            assert (await select(late, soon)).index == again.index == 1, "ready the earliest in the log"
            return [first.index, await late.result(), await soon.result(), await sooner.result()]

    assert await play(flow) == [2, 3, 2, 1]


async def test_helpers_take_children(autojump_clock: Clock) -> None:
    async def flow() -> list[int]:
        got = [await race(partial(echo, 3), partial(echo, 2))]
        async with open_nursery() as nursery:
            async for handle in as_completed(*[nursery.go(echo, n) for n in (3, 1, 2)]):
                got.append(await handle.result())
        return got

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [2, 1, 2, 3]
        loser = await engine.get("played/2")
        assert await loser.status() is Status.CANCELLED
