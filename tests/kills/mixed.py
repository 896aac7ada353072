"""A process that runs workflows of all shapes on a database that may go away, until it is killed or told to end.

    python -m tests.kills.mixed URL FOLDER LIFE

It submits workflows, a few at a time, until the file `enough` is in the folder, and ends in order at SIGTERM. What is
to be cancelled, any process cancels, whoever runs it. Effects are written down in the folder's file `effects`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from nurselog import (
    CancelScope,
    Engine,
    Retry,
    Status,
    StepInterrupted,
    StoreUnavailable,
    WorkflowCancelled,
    WorkflowEnded,
    attempt,
    gather,
    move_on_after,
    open_engine,
    open_nursery,
    sleep,
    step,
    workflow,
)
from tests.kills.effects import effect, fetch, pay, refund, tell, write

URL, FOLDER, LIFE = sys.argv[1:] if __name__ == "__main__" else ("", "", "")
LEASE = 3.0
AT_ONCE = 8
"""Workflows under way at a time, of those that this process has submitted."""


@step(retry=Retry(attempts=3, delay=0.02))
async def flaky(n: int) -> int:
    effect("flaky")
    if attempt() < 3:
        raise OSError(n)
    return n


@step
async def slow() -> None:
    effect("slow")
    await trio.sleep(3600)


@workflow
async def in_a_row(n: int) -> int:
    total = 0
    for k in range(6):
        total += await fetch(n + k)
    return total


@workflow
async def fan_out(n: int) -> int:
    async with open_nursery() as nursery:
        return sum(await gather(*[nursery.go(fetch, n + k) for k in range(8)]))


@workflow
async def timers(n: int) -> list[object]:
    await sleep(0.05)
    with move_on_after(0.02) as scope:
        await slow()
    await sleep(0.3)
    return [scope.cancelled_caught, await fetch(n)]


@workflow
async def again(n: int) -> list[object]:
    """Return the retried step's value, and what became of a payment that nothing may make twice."""
    try:
        paid = await pay(n)
    except StepInterrupted:
        paid = "interrupted"
    return [await flaky(n), paid]


@workflow
async def failing(n: int) -> None:
    raise LookupError(await fetch(n))


@workflow
async def endless(n: int) -> None:
    """Wait until somebody cancels, and clean up then."""
    try:
        await slow()
    finally:
        with CancelScope(shield=True):
            await refund(n)


SHAPES = (in_a_row, fan_out, timers, again, failing, endless)


def expected(name: str, n: int) -> object:
    """Return what a workflow returns, but for the payment; None for those that return nothing."""
    squares = [(n + k) ** 2 for k in range(8)]
    answers: dict[str, Callable[[], object]] = {
        "in_a_row": lambda: sum(squares[:6]),
        "fan_out": lambda: sum(squares),
        "timers": lambda: [True, n * n],
        "again": lambda: [n],
    }
    return answers[name]() if name in answers else None


async def submit(engine: Engine) -> None:
    """Submit workflows until there are enough of them; tell when the last of them has ended."""
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def run(number: int) -> None:
        shape = SHAPES[number % len(SHAPES)]
        async with limiter:
            handle = await engine.submit(shape, number, id=f"{shape.__name__}-{LIFE}-{number}")
            write("submitted", handle.id)
            with suppress(LookupError, WorkflowCancelled):  # as they should
                await handle.result()

    async with trio.open_nursery() as nursery:
        number = 0
        while not (Path(FOLDER) / "enough").exists():
            if limiter.available_tokens > 0:
                nursery.start_soon(run, number)
                number += 1
            await trio.sleep(0.01)
    write("done")


async def cancel(engine: Engine) -> None:
    """Cancel whatever waits for it, of all processes."""
    while True:
        with suppress(StoreUnavailable):
            for info in await engine.list(prefix="endless-", status=[Status.PENDING, Status.RUNNING]):
                with suppress(WorkflowEnded):  # somebody else was faster
                    await engine.cancel(info.id, "enough of it")
        await trio.sleep(0.2)


async def until_told(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


async def main() -> None:
    tell(Path(FOLDER) / "effects", LIFE)
    async with trio.open_nursery() as nursery:
        await nursery.start(until_told, nursery.cancel_scope)
        while True:
            try:
                async with open_engine(URL, SHAPES, lease=LEASE) as engine, trio.open_nursery() as calls:
                    calls.start_soon(submit, engine)
                    calls.start_soon(cancel, engine)
            except* StoreUnavailable as group:
                print(f"the store could not be opened: {group.exceptions}", file=sys.stderr, flush=True)
            await trio.sleep(0.1)


if __name__ == "__main__":
    trio.run(main)
