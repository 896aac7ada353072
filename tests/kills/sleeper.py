"""A process with workflows in steps that do not end by themselves.

    python -m tests.kills.sleeper URL COUNT

It says `ready` when all of them are in their step, and `stopped`, with the workflow's id and the time of the system's
monotonic clock in nanoseconds, when one of the steps has been cancelled. It ends when all workflows have.
"""

from __future__ import annotations

import sys
import time

import trio

from nurselog import Engine, WorkflowCancelled, open_engine, step, workflow, workflow_id

URL, COUNT = (sys.argv[1], int(sys.argv[2])) if __name__ == "__main__" else ("", 0)
begun = 0


@step
async def sleep_for_ever() -> None:
    global begun  # noqa: PLW0603 - the whole process is about it
    begun += 1
    if begun == COUNT:
        print("ready", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        print("stopped", workflow_id(), time.monotonic_ns(), flush=True)


@workflow
async def asleep() -> None:
    await sleep_for_ever()


async def run(engine: Engine, number: int) -> None:
    try:
        await engine.run(asleep, id=f"sleeper-{number}")
    except WorkflowCancelled:
        pass
    else:
        raise AssertionError("nobody ends it but by cancelling")


async def main() -> None:
    async with open_engine(URL, [asleep], max_running=COUNT) as engine, trio.open_nursery() as nursery:
        for number in range(COUNT):
            nursery.start_soon(run, engine, number)


if __name__ == "__main__":
    trio.run(main)
