"""One step name means one function, in each engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from nurselog import RegistrationError, expose, step, workflow
from tests.engine.rig import in_memory, on_file

Clock = trio.testing.MockClock


@step(name="double")
async def double(number: int) -> int:
    return 2 * number


@step(name="double")
async def other(number: int) -> int:
    return 3 * number


async def test_two_functions_of_one_step_name(autojump_clock: Clock) -> None:
    async def flow() -> int:
        return await double(1) + await other(1)

    async def turned_round() -> int:
        return await other(1) + await double(1)

    for fn in (flow, turned_round):  # each engine finds out by itself, whatever another one has seen of a step
        async with in_memory() as engine:
            with pytest.raises(RegistrationError, match="two functions are recorded as step 'double'"):
                await engine.run(workflow(name="flow")(fn))


async def test_a_query_does_not_stand_for_the_engine(autojump_clock: Clock, tmp_path: Path) -> None:
    """What its replay has met of steps, the engine has not: it still finds out that two have one name."""

    @workflow(name="first")
    async def first() -> None:
        expose("open")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(double, 1)
            nursery.start_soon(double, 2)

    @first.query
    def look(state: str) -> str:
        return state

    @workflow(name="second")
    async def second() -> int:
        return await other(1) + await double(1)

    async with on_file(tmp_path / "log.db", first) as engine:
        await engine.run(first, id="one")
    async with on_file(tmp_path / "log.db", first, second) as engine:
        assert await engine.query("one", look) == "open"
        with pytest.raises(RegistrationError, match="two functions are recorded as step 'double'"):
            await engine.run(second)
