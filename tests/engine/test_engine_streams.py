"""What a workflow publishes, read outside: here and elsewhere, early and late, to the end or to what comes instead."""

from __future__ import annotations

import trio

from nurselog import open_stream, publish, sleep, step, workflow
from tests.engine.rig import in_memory


@step
async def tell(count: int) -> None:
    async with open_stream("items") as stream:
        for number in range(count):
            await stream.send(number)


@workflow
async def tells(count: int) -> None:
    publish("state", "before")
    await tell(count)
    async with open_stream("own") as stream:
        for number in range(count):
            await stream.send(number)
    await sleep(10)
    publish("state", "after")


async def test_it_works(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as engine:
        handle = await engine.submit(tells, 3000, id="w")
        items = [item async for item in handle.follow("items", int)]
        assert [item.value for item in items] == list(range(3000))
        assert [item.value async for item in handle.follow("own", int)] == list(range(3000))
        latest = await handle.latest("state", str)
        assert latest and latest.value == "before", await handle.log()
        assert [item.value async for item in handle.follow("state")] == ["before", "after"]
