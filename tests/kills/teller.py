"""A process that runs a workflow which tells others what it does: `python -m tests.kills.teller URL COUNT`."""

from __future__ import annotations

import sys

import trio

from nurselog import open_engine, open_stream, publish, sleep, step, workflow

ID = "told"


@step(name="tests.kills.tell")
async def tell(number: int) -> None:
    publish("in a step", number)


@workflow(name="tests.kills.telling")
async def telling(count: int) -> None:
    """Send numbers, and have a step publish each."""
    async with open_stream("numbers") as stream:
        for number in range(count):
            await stream.send(number)
            await tell(number)
            await sleep(0.01)


async def main(url: str, count: int) -> None:
    async with open_engine(url, [telling]) as engine:
        await engine.run(telling, count, id=ID)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
