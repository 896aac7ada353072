"""Code with child workflows that was changed under a running workflow: it is found, and nothing is lost."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import (
    Engine,
    Workflow,
    WorkflowStuck,
    open_nursery,
    patched,
    sleep,
    workflow,
)
from nurselog.lowlevel import ChildStarted
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, on_file

Clock = trio.testing.MockClock
Code = Callable[[], Awaitable[Any]]
HERE = "# here"
"""Marks the line that an error must name."""


@workflow
async def echo(value: int) -> int:
    await sleep(value)
    return value


@workflow
async def other(value: int) -> int:
    return -value


async def two() -> list[int]:
    first = await echo(1)
    second = await echo(2)
    await sleep(100)
    return [first, second]


async def by_go() -> list[int]:
    async with open_nursery() as nursery:
        handles = [nursery.go(echo, 1), nursery.go(echo, 2)]
        got = [await handle.result() for handle in handles]
        await sleep(100)
    return got


async def with_other_arguments() -> list[int]:
    first = await echo(1)
    second = await echo(3)  # here
    await sleep(100)
    return [first, second]


async def go_with_other_arguments() -> list[int]:
    async with open_nursery() as nursery:
        handles = [nursery.go(echo, 1)]
        handles.append(nursery.go(echo, 3))  # here
        return [await handle.result() for handle in handles]


async def with_another_function() -> list[int]:
    first = await echo(1)
    second = await other(2)  # here
    await sleep(100)
    return [first, second]


async def go_in_another_order() -> list[int]:
    async with open_nursery() as nursery:
        handles = [nursery.go(echo, 2)]  # here
        handles.append(nursery.go(echo, 1))
        return [await handle.result() for handle in handles]


async def without_the_second() -> list[int]:
    first = await echo(1)
    await sleep(100)  # here
    return [first]


async def without_any() -> list[int]:  # here
    return []


async def with_one_more() -> list[int]:
    first = await echo(1)
    second = await echo(2)
    await echo(3)  # here
    await sleep(100)
    return [first, second]


CHANGES: list[tuple[Code, Code, str, str]] = [
    (two, with_other_arguments, "child workflow 'echo' at path 2", "the same call with other arguments"),
    (two, with_another_function, "child workflow 'echo' at path 2", "child workflow 'other' at path 2"),
    (two, without_the_second, "child workflow 'echo' at path 2", "a timer of sleep at path 2"),
    (two, without_any, "child workflow 'echo' at path 1", "the workflow's end with value"),
    (two, with_one_more, "a timer of sleep at path 3", "child workflow 'echo' at path 3"),
    (by_go, go_with_other_arguments, "child workflow 'echo' at path 3", "the same call with other arguments"),
    (by_go, go_in_another_order, "child workflow 'echo' at path 2", "the same call with other arguments"),
]


def released(code: Code) -> Workflow[[], Any]:
    return workflow(name="released")(code)


def marked(code: Code) -> str:
    lines, first = inspect.getsourcelines(code)
    [line] = [first + number for number, line in enumerate(lines) if HERE in line]
    return f"{__file__}:{line}"


async def begin(path: Path, code: Code, clock: VirtualClock) -> None:
    async with on_file(path, released(code), echo, other, clock=clock) as engine:
        await engine.submit(released(code), id="one")
        await trio.sleep(4)


async def finish(engine: Engine) -> Any:
    return await (await engine.get("one")).result()


@pytest.mark.parametrize(("old", "new", "recorded", "called"), CHANGES, ids=lambda one: getattr(one, "__name__", ""))
async def test_a_change_is_found(
    autojump_clock: Clock, tmp_path: Path, old: Code, new: Code, recorded: str, called: str
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await begin(path, old, clock)
    async with on_file(path, released(new), echo, other, clock=clock) as engine:
        with pytest.raises(WorkflowStuck) as caught:
            await finish(engine)
        text = str(caught.value)
        has, _, did = text.partition("; the code did ")
        assert recorded in has
        assert called in did
        assert marked(new) in text
        assert len(await engine.list(prefix="one/")) == 2, "nothing was started"
    async with on_file(path, released(old), echo, other, clock=clock) as engine:
        await engine.resume("one")
        assert await finish(engine) == [1, 2]
        log = await (await engine.get("one")).log()
        assert sum(isinstance(entry.event, ChildStarted) for entry in log) == 2


async def test_a_patched_place_starts_another_child(autojump_clock: Clock, tmp_path: Path) -> None:
    """Those that had passed it go on with the old one."""

    async def guarded() -> list[int]:
        first = await echo(1)
        second = await (other(2) if patched("other") else echo(2))
        await sleep(100)
        return [first, second]

    path, clock = tmp_path / "log.db", VirtualClock()
    await begin(path, two, clock)
    async with on_file(path, released(guarded), echo, other, clock=clock) as engine:
        assert await finish(engine) == [1, 2]
        assert await engine.run(released(guarded), id="two") == [1, -2]


async def test_a_patched_place_that_a_child_has_not_passed(autojump_clock: Clock, tmp_path: Path) -> None:
    """A child that was started before it, and has ended since, is no sign that the code has passed it."""

    async def plain() -> list[int]:
        async with open_nursery() as nursery:
            handle = nursery.go(echo, 1)
            await sleep(100)
            return [await handle.result()]

    async def guarded() -> list[int]:
        async with open_nursery() as nursery:
            handle = nursery.go(echo, 1)
            await sleep(100)
            more = [await other(5)] if patched("other") else []
            return [await handle.result(), *more]

    path, clock = tmp_path / "log.db", VirtualClock()
    await begin(path, plain, clock)
    async with on_file(path, released(guarded), echo, other, clock=clock) as engine:
        assert await finish(engine) == [1, -5]


async def test_a_call_that_nobody_awaits(autojump_clock: Clock) -> None:
    async def careless() -> None:
        echo(1)  # type: ignore[unused-coroutine]  # here

    async with in_memory() as engine:
        handle = await engine.submit(released(careless), id="one")
        with pytest.raises(WorkflowStuck, match="a call of workflow 'echo' without await") as caught:
            await handle.result()
        assert marked(careless) in str(caught.value)
        assert await engine.list(prefix="one/") == []


async def test_an_end_that_cannot_be_read_any_more(autojump_clock: Clock, tmp_path: Path) -> None:
    """Its type has changed: the parent is stuck until the code can read it again."""

    async def one() -> str:
        got = await echo(1)
        await sleep(100)
        return repr(got)

    @workflow(name="echo")
    async def wordy(value: int) -> str:
        return str(value)

    async def changed() -> str:
        got = await wordy(1)
        await sleep(100)
        return got

    path, clock = tmp_path / "log.db", VirtualClock()
    await begin(path, one, clock)
    async with on_file(path, released(changed), clock=clock) as engine:
        with pytest.raises(WorkflowStuck, match="the child workflow at path 1, ended with value cannot be read"):
            await finish(engine)
    async with on_file(path, released(one), echo, clock=clock) as engine:
        await engine.resume("one")
        assert await finish(engine) == "1"
