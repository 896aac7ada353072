"""A process whose workflow has large values; it kills itself at a moment that its caller chooses."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import trio

from nurselog import open_engine, step, workflow
from nurselog.codecs import FileCodec

SIZE = 200_000


@step(name="filer.grow")
async def grow(number: int) -> str:
    return str(number) * SIZE


@workflow(name="filer.forest")
async def forest(seed: str) -> int:
    return len(seed) + sum([len(await grow(number)) for number in range(3)])


async def main(url: str, folder: str) -> None:
    async with open_engine(url, [forest], codec=FileCodec(folder)) as engine:
        print(await engine.run(forest, "x" * SIZE, id="one"))


def die_before(call: int) -> None:
    """Kill the process before a call that makes something of a file durable, or gives it its name: 1 is the first."""
    left = call

    def counted(function: Any) -> Any:
        def instead(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return instead

    for name in ("fsync", "replace", "utime"):
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        die_before(int(sys.argv[3]))
    trio.run(main, sys.argv[1], sys.argv[2])
