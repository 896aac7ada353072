"""A process that runs workflows until it is killed, and writes down what it does to the outside world.

    python -m tests.kills.worker URL EFFECTS LIFE [finish]

Each workflow that was submitted adds a line to the file of effects, as bodies do, when `submit` has returned. With
`finish` nothing new is submitted, and the process ends when all workflows have.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import trio

from nurselog import (
    CancelScope,
    Engine,
    Retry,
    StepInterrupted,
    after,
    attempt,
    gather,
    move_on_after,
    open_engine,
    open_memory_channel,
    open_nursery,
    rng,
    select,
    sleep,
    step,
    workflow,
)
from tests.kills.effects import effect, fetch, pay, refund, tell, write

URL, EFFECTS, LIFE, *MODE = sys.argv[1:] if __name__ == "__main__" else ("", "", "")
AT_ONCE = 4
"""Workflows under way at a time."""
HOUR = 3600.0
"""Seconds: longer than any run."""


@step
def compute(n: int) -> int:
    effect("compute")
    time.sleep(0.002)
    return -n


@step(retry=Retry(attempts=3, delay=0.005))
async def flaky(n: int) -> int:
    effect("flaky")
    if attempt() < 3:
        raise OSError(n)
    return n


@step
async def slow() -> None:
    effect("slow")
    await trio.sleep(HOUR)


async def race_with_refund(n: int) -> list[int]:
    refunds: list[int] = []

    async def careful(k: int) -> None:
        try:
            await slow()
        finally:
            with CancelScope(shield=True):
                refunds.append(await refund(k))

    async with open_nursery() as nursery:
        careful_ones = [nursery.go(careful, n + k) for k in range(2)]
        winner = await select(*careful_ones, nursery.go(fetch, n), after(HOUR))
        nursery.cancel_scope.cancel("the quick one has won")
    return [winner.index, *sorted(refunds)]


async def pipeline(n: int) -> list[int]:
    send, receive = open_memory_channel[int](1)

    async def produce() -> None:
        with send:
            for k in range(3):
                await send.send(await fetch(n + k))

    async with open_nursery() as nursery:
        nursery.start_soon(produce)
        return [await compute(item) async for item in receive]


@workflow
async def story(n: int) -> list[object]:
    """Return what depends on nothing but `n`, whatever happens to the process; but for the payment."""
    async with open_nursery() as nursery:
        values = await gather(*[nursery.go(fetch, n + k) for k in range(4)])
    with move_on_after(0.01 + rng().random() / 100) as scope:
        await slow()
    try:
        paid = await pay(n)
    except StepInterrupted:
        paid = "interrupted"
    await sleep(0.01)
    return [sum(values), scope.cancelled_caught, await flaky(n), await race_with_refund(n), await pipeline(n), paid]


def expected(n: int) -> list[object]:
    """Return what `story` returns, but for the payment."""
    squares = [(n + k) ** 2 for k in range(4)]
    return [sum(squares), True, n, [2, n, n + 1], [-square for square in squares[:3]]]


async def submit_for_ever(engine: Engine, limiter: trio.CapacityLimiter) -> None:
    async def run(number: int) -> None:
        async with limiter:
            handle = await engine.submit(story, number, id=f"{LIFE}-{number}")
            write("submitted", handle.id)
            await handle.result()

    async with trio.open_nursery() as nursery:
        number = 0
        while True:
            nursery.start_soon(run, number)
            number += 1
            await trio.sleep(0.01)


async def finish_all(engine: Engine) -> None:
    page = await engine.list()
    while page:
        for info in page:
            await (await engine.get(info.id)).result()
        page = await engine.list(before=page[-1])


async def main() -> None:
    tell(Path(EFFECTS), LIFE)
    async with open_engine(URL, [story], lease=3) as engine:
        print("up", flush=True)
        if MODE == ["finish"]:
            await finish_all(engine)
        else:
            await submit_for_ever(engine, trio.CapacityLimiter(AT_ONCE))


if __name__ == "__main__":
    trio.run(main)
