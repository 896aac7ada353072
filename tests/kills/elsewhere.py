"""A process that runs one step in asyncio or in a worker process, until it is killed.

    python -m tests.kills.elsewhere URL EFFECTS LIFE STEP

The body writes down that it begins. In the first life it does not end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

import trio

from nurselog import StepInterrupted, open_engine, step, workflow
from tests.kills.effects import effect, tell, write

URL, EFFECTS, LIFE, STEP = sys.argv[1:] if __name__ == "__main__" else ("", "", "", "")


@step(asyncio=True)
async def wait() -> str:
    effect("wait")
    await asyncio.sleep(3600 if LIFE == "1" else 0)
    return "waited"


@step(asyncio=True, at_most_once=True)
async def wait_once() -> str:
    effect("wait_once")
    await asyncio.sleep(3600)
    return "waited"


@step(process=True)
def compute(file: str, life: str) -> str:
    tell(Path(file), life)
    write("body", os.getpid())
    while life == "1":
        pass
    return "computed"


STEPS = {"wait": wait, "wait_once": wait_once, "compute": partial(compute, EFFECTS, LIFE)}


@workflow
async def flow(name: str) -> str:
    try:
        return await STEPS[name]()
    except StepInterrupted:
        return "interrupted"


async def main() -> None:
    tell(Path(EFFECTS), LIFE)
    async with open_engine(URL, [flow], lease=3) as engine:
        print(await engine.run(flow, STEP, id="one"), flush=True)


if __name__ == "__main__":
    trio.run(main)
