"""What workflow code may know of itself: time, randomness, identity, and whether a patch applies."""

from __future__ import annotations

import uuid
from contextvars import copy_context
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    MisplacedCallError,
    OutsideWorkflowError,
    WorkflowStuck,
    attempt,
    now,
    open_nursery,
    patched,
    rng,
    sleep,
    step,
    step_key,
    uuid4,
    workflow,
    workflow_id,
)
from nurselog.lowlevel import Patched
from nurselog.testing import VirtualClock
from nurselog.testing.clock import BEGIN
from tests.engine.rig import crashed, in_memory, on_file
from tests.flow.rig import events, play, play_on

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@step
async def key() -> str:
    return step_key()


async def test_now_is_the_time_of_the_last_event(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        times = [now()]
        await nap(2)
        times.append(now())
        await trio.lowlevel.checkpoint()
        times.append(now())
        await sleep(3)
        times.append(now())
        return [time.isoformat() for time in times]

    begin, *others = await play(flow)
    assert datetime.fromisoformat(begin) == BEGIN
    assert [(datetime.fromisoformat(other) - datetime.fromisoformat(begin)).seconds for other in others] == [2, 2, 5]


async def test_now_never_goes_back(autojump_clock: Clock) -> None:
    clock = VirtualClock()

    @step(name="turn the clock back")
    async def turn_back() -> None:
        clock.set(clock.utc() - 3_600_000_000)

    async def flow() -> bool:
        before = now()
        await turn_back()
        await nap(1)
        return before <= now()

    async with in_memory(clock) as engine:
        assert await play_on(engine, flow)
        log = await (await engine.get("played")).log()
    assert [entry.at for entry in log] == sorted(entry.at for entry in log)


async def test_randomness_is_the_same_on_replay_and_differs_by_place(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async def draw() -> str:
            await nap(1)
            return f"{rng().random()} {uuid4()}"

        async with open_nursery() as nursery:
            handles = [nursery.go(draw) for _ in range(2)]
            here = [str(rng().random()), str(rng().random()), str(uuid4()), str(uuid4())]
            return [*here, *[await handle.result() for handle in handles]]

    first, second = await play(flow), await play(flow)
    assert len({*first, *second}) == len(first) + len(second)
    assert uuid.UUID(first[2]).version == 4


async def test_identity(autojump_clock: Clock) -> None:
    async def flow() -> list[str]:
        async with open_nursery() as nursery:
            child = nursery.go(key)
        assert workflow_id()
        return [await key(), await key(), await child.result()]

    async with in_memory() as engine:
        run = workflow(name="flow")(flow)
        mine = await engine.run(run, id="mine")
        yours = await engine.run(run, id="yours")
    assert len({*mine, *yours}) == 6
    assert all(len(one) <= 64 for one in mine)


async def test_in_workflow_code_there_is_no_step(autojump_clock: Clock) -> None:
    async def flow() -> str:
        for what in (step_key, attempt):
            with pytest.raises(OutsideWorkflowError, match="inside a step"):
                what()
        return workflow_id()

    async with in_memory() as engine:
        assert await engine.run(workflow(name="flow")(flow), id="me") == "me"


async def test_in_a_step_there_is_no_workflow_time(autojump_clock: Clock) -> None:
    @step(name="asking")
    async def asking() -> None:
        for what in (now, rng, uuid4, lambda: patched("x")):
            with pytest.raises(MisplacedCallError):
                what()

    async def flow() -> None:
        await asking()

    await play(flow)


async def test_a_task_that_only_inherits_the_context_is_no_strand(autojump_clock: Clock) -> None:
    found: list[str] = []

    async def elsewhere() -> None:
        try:
            now()
        except MisplacedCallError as exc:
            found.append(str(exc))

    async def flow() -> None:
        trio.lowlevel.spawn_system_task(elsewhere, context=copy_context())
        await nap(1)

    async with in_memory() as engine:
        await engine.run(workflow(name="flow")(flow))
    assert [text.split()[0] for text in found] == ["now"]


# -- patched -------------------------------------------------------------------------------------


def version_of(code: Any) -> Any:
    return workflow(name="patched flow")(code)


async def test_a_new_run_takes_the_new_way_and_stays_on_it(autojump_clock: Clock) -> None:
    async def flow() -> list[bool]:
        first = patched("change")
        await nap(1)
        return [first, patched("change"), patched("other"), patched("change")]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [True] * 4
        assert [event.name for event in await events(engine) if isinstance(event, Patched)] == ["change", "other"]


async def old_code() -> list[str]:
    await nap(1)
    await nap(2)
    await sleep(100)
    return ["old"]


async def new_code() -> list[str]:
    await nap(1)
    if patched("no second nap"):
        return ["new"]
    await nap(2)
    await sleep(100)
    return ["old", str(patched("no second nap"))]


async def test_a_run_that_has_passed_keeps_the_old_way(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    old, new = version_of(old_code), version_of(new_code)
    async with on_file(path, old, clock=clock) as engine:
        await engine.submit(old, id="under way")
        await trio.sleep(10)
    for _ in range(2):  # the answer is the same in every life
        async with on_file(path, new, clock=clock) as engine:
            await trio.sleep(1)
            assert not [event for event in await events(engine, "under way") if isinstance(event, Patched)]
    async with on_file(path, new, clock=clock) as engine:
        assert await (await engine.get("under way")).result() == ["old", "False"]


async def test_a_run_that_has_not_come_so_far_takes_the_new_way(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    old, new = version_of(old_code), version_of(new_code)
    async with on_file(path, old, clock=clock) as engine:
        await engine.submit(old, id="under way")
        await trio.sleep(0.5)
        twin = crashed(path)
    async with on_file(twin, new, clock=clock, lease=1) as engine:
        assert await (await engine.get("under way")).result() == ["new"]


async def test_an_unguarded_change_is_told(autojump_clock: Clock, tmp_path: Path) -> None:
    async def changed() -> list[str]:
        await sleep(5)
        return []

    path, clock = tmp_path / "log.db", VirtualClock()
    old, new = version_of(old_code), version_of(changed)
    async with on_file(path, old, clock=clock) as engine:
        await engine.submit(old, id="under way")
        await trio.sleep(10)
    async with on_file(path, new, clock=clock) as engine:
        with pytest.raises(WorkflowStuck, match=r"nothing of the kind(?s:.)*a timer of sleep(?s:.)*patched\(\)"):
            await (await engine.get("under way")).result()
    async with on_file(path, old, clock=clock) as engine:
        await engine.resume("under way")
        assert await (await engine.get("under way")).result() == ["old"]


async def test_a_workflow_is_not_called_directly(autojump_clock: Clock) -> None:
    @workflow(name="flow")
    async def flow() -> str:
        """Say what it is."""
        return "as it is"

    with pytest.raises(OutsideWorkflowError, match=r"engine.run\(\)"):
        await flow()
    assert await flow.fn() == "as it is"
    assert (flow.__name__, flow.__doc__, repr(flow)) == ("flow", "Say what it is.", "<nurselog.Workflow flow>")

    @step(name="calls a workflow")
    async def calling() -> str:
        return await flow()

    @workflow(name="outer")
    async def outer() -> str:
        return await calling()

    async with in_memory() as engine:
        with pytest.raises(MisplacedCallError, match="was called inside a step"):
            await engine.run(outer)
