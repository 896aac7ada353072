"""The same programs on DBOS, in its own idiom: asynchronous workflows and steps, and `asyncio.gather`."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from dbos import DBOS  # type: ignore[import-not-found]  # only the session `benchmarks` installs it

from tests.benchmarks.plan import Sample

STEPS = 5


class Crash:
    """The moment at which the first process dies: when `wanted` workflows have come to their last step."""

    wanted = 0
    arrived = 0

    @classmethod
    async def point(cls) -> None:
        """Do nothing in the second process; in the first, wait for the others and die."""
        if cls.wanted:
            cls.arrived += 1
            if cls.arrived == cls.wanted:
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.Event().wait()


@DBOS.step()
async def increment(number: int) -> int:
    return number + 1


@DBOS.step()
async def last(number: int) -> int:
    await Crash.point()
    return number + 1


@DBOS.workflow()
async def chain(size: int) -> int:
    number = 0
    for _ in range(size - 1):
        number = await increment(number)
    return await last(number)


@DBOS.workflow()
async def fan(size: int) -> int:
    return sum(await asyncio.gather(*[increment(number) for number in range(size)]))


def open_dbos(folder: Path, *, wal: bool) -> None:
    path = folder / "dbos.sqlite"
    if wal:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    DBOS(config={"name": "benchmark", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"})
    DBOS.launch()


def measured(body: Callable[[], Awaitable[object]], count: int, folder: Path, *, wal: bool) -> Sample:
    """Time `body` on a running DBOS that has run one workflow before."""

    async def main() -> float:
        open_dbos(folder, wal=wal)
        await chain(STEPS)
        begin = time.perf_counter()
        await body()
        seconds = time.perf_counter() - begin
        DBOS.destroy()
        return seconds

    return Sample(asyncio.run(main()), count)


def sequential(size: int, folder: Path, *, wal: bool = False) -> Sample:
    return measured(lambda: chain(size), size, folder, wal=wal)


def concurrent(size: int, folder: Path, *, wal: bool = False) -> Sample:
    return measured(lambda: fan(size), size, folder, wal=wal)


def workflows(size: int, folder: Path, *, wal: bool = False) -> Sample:
    async def body() -> None:
        await asyncio.gather(*[chain(STEPS) for _ in range(size)])

    return measured(body, size, folder, wal=wal)


def interrupted(workflows: int, steps: int, folder: Path, *, wal: bool) -> Sample:
    """In the first process run and die; in the second, time what it takes from opening to the last workflow's end."""
    first = not (folder / "dbos.sqlite").exists()

    async def main() -> float:
        Crash.wanted = workflows if first else 0
        begin = time.perf_counter()
        open_dbos(folder, wal=wal and first)
        if first:
            await asyncio.gather(*[chain(steps) for _ in range(workflows)])
        for row in await DBOS.list_workflows_async():
            await (await DBOS.retrieve_workflow_async(row.workflow_id)).get_result()
        seconds = time.perf_counter() - begin
        DBOS.destroy()
        return seconds

    return Sample(asyncio.run(main()), workflows)


def replay(size: int, folder: Path, *, wal: bool = False) -> Sample:
    return interrupted(1, size, folder, wal=wal)


def recovery(size: int, folder: Path, *, wal: bool = False) -> Sample:
    return interrupted(size, STEPS, folder, wal=wal)
