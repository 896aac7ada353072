"""A process that works off what is in a store: `python -m tests.benchmarks.worker URL`.

It says `ready`, opens an engine when it is told to by a line, and closes it when there are no more lines.
"""

from __future__ import annotations

import sys

import trio

import nurselog._stores.postgres  # noqa: F401 - psycopg takes 60 ms to import, which is not what is measured
from nurselog import open_engine
from tests.benchmarks.on_nurselog import chain

ROOM = 100
"""How many workflows it has in memory: with many more, who comes first takes all that there are."""


async def main() -> None:
    print("ready", flush=True)
    await trio.to_thread.run_sync(sys.stdin.readline)
    async with open_engine(sys.argv[1], [chain], max_running=ROOM):
        await trio.to_thread.run_sync(sys.stdin.readline)


if __name__ == "__main__":
    trio.run(main)
