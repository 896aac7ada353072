"""The same id again after a change of the code: the same run, a conflict, or a warning that it waits."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import WorkflowConflict, sleep, workflow
from nurselog.testing import VirtualClock
from tests.engine.rig import in_memory, on_file

Clock = trio.testing.MockClock


@workflow
async def adding(a: int, b: int) -> int:
    return a + b


async def as_it_was(a: int, b: int) -> list[int]:
    await sleep(10)
    return [a, b]


async def with_one_more(a: int, b: int, c: int = 0) -> list[int]:
    return [*await as_it_was(a, b), c]


async def with_places_changed(b: int, a: int) -> list[int]:
    return await as_it_was(a, b)


async def with_one_less(a: int) -> list[int]:
    return await as_it_was(a, 0)


async def with_another_type(a: str, b: int) -> list[int]:
    return await as_it_was(int(a), b)


async def with_a_default_that_cannot_be_recorded(a: int, b: int, c: Any = object()) -> list[int]:  # noqa: B008 - that is the point
    return [*await as_it_was(a, b), c]


def releases(code: Any, version: str | None = None) -> Any:
    return workflow(name="released", version=version)(code)


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(("code", "result"), [(with_one_more, [5, 3, 0]), (with_places_changed, [5, 3])])
async def test_the_same_call_is_the_same_run_after_a_harmless_change_of_parameters(
    autojump_clock: Clock, tmp_path: Path, code: Any, result: list[int], *, ended: bool
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as engine:
        await engine.submit(releases(as_it_was), 5, 3, id="one")
        await trio.sleep(20 if ended else 1)
    async with on_file(path, clock=clock) as engine:
        call = functools.partial(releases(code), a=5, b=3)
        assert await engine.run(call, id="one") == (result[:2] if ended else result)
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.run(functools.partial(releases(code), a=5, b=4), id="one")


async def test_an_added_parameter_that_is_given_makes_another_call(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as engine:
        await engine.submit(releases(as_it_was), 5, 3, id="one")
    async with on_file(path, clock=clock) as engine:
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.run(releases(with_one_more), 5, 3, 1, id="one")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [(with_one_less, (5,)), (with_another_type, ("5", 3)), (with_a_default_that_cannot_be_recorded, (5, 3, 1))],
)
async def test_a_recorded_input_that_does_not_fit_any_more_is_a_conflict(
    autojump_clock: Clock, tmp_path: Path, code: Any, arguments: tuple[object, ...]
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as engine:
        await engine.submit(releases(as_it_was), 5, 3, id="one")
    async with on_file(path, clock=clock) as engine:
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.submit(releases(code), *arguments, id="one")


async def test_a_fork_is_no_run_of_its_input(autojump_clock: Clock) -> None:
    """What it has copied may be of other code, or of another answer."""
    async with in_memory() as engine:
        await engine.run(adding, 1, 2, id="one")
        await engine.fork("one", at=1, new_id="fork")
        with pytest.raises(WorkflowConflict, match="with another input"):
            await engine.run(adding, 1, 2, id="fork")


WAITS = "workflow 'one' began {}, and this engine has 'released' {}: it waits until an engine opens that has it as"
VERSIONS = {"1": "in version '1'", "2": "in version '2'", None: "without a version"}


@pytest.mark.parametrize(("old", "new"), [("1", "2"), (None, "2"), ("1", None), ("2", "2")])
async def test_who_submits_again_what_waits_for_another_version_is_warned(
    autojump_clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture, old: str | None, new: str | None
) -> None:
    """It is no error: a worker with the old version may come at any time, as in a deployment one by one."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as engine:
        await engine.submit(releases(as_it_was, old), 5, 3, id="one")
        assert not caplog.messages
    async with on_file(path, clock=clock) as engine:
        handle = await engine.submit(releases(as_it_was, new), 5, 3, id="one")
        waits = new not in {None, old}
        assert [message[: len(WAITS)] for message in caplog.messages] == waits * [
            WAITS.format(VERSIONS[old], VERSIONS[new])[: len(WAITS)]
        ]
        caplog.clear()
        async with on_file(path, releases(as_it_was, old), clock=clock):
            await trio.sleep(1)
            await engine.submit(releases(as_it_was, new), 5, 3, id="one")  # somebody runs it
            assert await handle.result() == [5, 3]
        await engine.submit(releases(as_it_was, new), 5, 3, id="one")  # it has ended
        assert not caplog.messages
