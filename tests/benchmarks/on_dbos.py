"""The same programs on DBOS, in its own idiom: asynchronous workflows and steps, and `asyncio.gather`.

On SQLite, or, where a PostgreSQL server is measured, there.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from dbos import DBOS, DBOSClient  # type: ignore[import-not-found]  # only the session `benchmarks` installs it

from tests.benchmarks.plan import SETTLE, WINDOW, Sample
from tests.benchmarks.weight import memory

STEPS = 5
TOPIC = "work"
PAUSE = 1.0
"""Seconds after which hundreds of workflows surely wait."""
ASKED_IN_A_SECOND = 10


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
async def listen() -> None:
    await DBOS.recv_async(TOPIC)


@DBOS.workflow()
async def listen_long() -> None:
    await DBOS.recv_async(TOPIC, timeout_seconds=3600)


@DBOS.workflow()
async def fan(size: int) -> int:
    return sum(await asyncio.gather(*[increment(number) for number in range(size)]))


def address_in(folder: Path) -> str:
    """Return the address of the store that is measured."""
    return os.environ.get("NURSELOG_BENCHMARK_STORE") or f"sqlite:///{folder / 'dbos.sqlite'}"


def open_dbos(folder: Path, *, wal: bool = False) -> None:
    if wal:
        with closing(sqlite3.connect(folder / "dbos.sqlite")) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    DBOS(config={"name": "benchmark", "system_database_url": address_in(folder), "log_level": "ERROR"})
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


def single(size: int, folder: Path) -> Sample:
    """Time each workflow from its start to its result, and take the one in the middle."""
    times: list[float] = []

    async def one_after_another() -> None:
        for _ in range(size):
            begin = time.perf_counter()
            await chain(1)
            times.append(time.perf_counter() - begin)

    measured(one_after_another, size, folder, wal=False)
    return Sample(statistics.median(times), size)


def message(size: int, folder: Path) -> Sample:
    """Time from each message's sending to the end of the workflow that waits for it; take the one in the middle."""
    times: list[float] = []

    async def one_after_another() -> None:
        handles = [await DBOS.start_workflow_async(listen) for _ in range(size)]
        await asyncio.sleep(PAUSE)
        for number, handle in enumerate(handles):
            begin = time.perf_counter()
            await DBOS.send_async(handle.get_workflow_id(), number, TOPIC)
            await handle.get_result()
            times.append(time.perf_counter() - begin)

    measured(one_after_another, size, folder, wal=False)
    return Sample(statistics.median(times), size)


def cancel(size: int, folder: Path) -> Sample:
    """Time how long a running step goes on when another process cancels its workflow.

    A step of DBOS that is to be cancelled while it runs says so (`preemptible`), and its process asks the database
    every second. So they are cancelled at moments that have nothing to do with those seconds.
    """
    command = [sys.executable, "-m", "tests.benchmarks.dbos_sleeper", str(size), str(folder)]

    async def main() -> list[float]:
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert process.stdout
        await process.stdout.readline()
        client = DBOSClient(system_database_url=address_in(folder))
        asked: dict[str, int] = {}

        async def ask(id: str) -> None:
            await asyncio.sleep(random.uniform(0, size / ASKED_IN_A_SECOND))
            asked[id] = time.monotonic_ns()
            await client.cancel_workflow_async(id)

        await asyncio.gather(*[ask(f"sleeper-{number}") for number in range(size)])
        stopped = [(await process.stdout.readline()).decode().split() for _ in range(size)]
        client.destroy()
        await process.wait()
        return [(int(at) - asked[id]) / 1e9 for _, id, at in stopped]

    times = asyncio.run(main())
    return Sample(statistics.median(times), size, p99=statistics.quantiles(times, n=100)[98])


def counted(body: Callable[[], Awaitable[object]], count: int, folder: Path) -> Sample:
    """Count what the server does for DBOS, from its opening to its closing."""
    from tests.benchmarks.on_postgres import settled  # noqa: PLC0415 - psycopg may not be there

    async def main() -> None:
        open_dbos(folder)
        await body()
        DBOS.destroy()

    measured(lambda: asyncio.sleep(0), 1, folder, wal=False)  # makes the schema
    before = settled()
    asyncio.run(main())
    return settled().since(before, count)


def server_sequential(size: int, folder: Path) -> Sample:
    return counted(lambda: chain(size), size, folder)


def server_concurrent(size: int, folder: Path) -> Sample:
    return counted(lambda: fan(size), size, folder)


def server_workflows(size: int, folder: Path) -> Sample:
    return counted(lambda: asyncio.gather(*[chain(STEPS) for _ in range(size)]), size, folder)


def idle(_: int, folder: Path) -> Sample:
    """Count what the server is asked while there is nothing to do."""
    from tests.benchmarks.on_postgres import tally  # noqa: PLC0415 - psycopg may not be there

    async def main() -> Sample:
        open_dbos(folder)
        await asyncio.sleep(SETTLE)
        before = tally()
        await asyncio.sleep(WINDOW)
        after = tally()
        DBOS.destroy()
        return after.since(before, 0)

    return asyncio.run(main())


def listening(size: int, folder: Path) -> Sample:
    """Watch so many workflows that wait for a message, and weigh them."""
    from tests.benchmarks.on_postgres import tally  # noqa: PLC0415 - psycopg may not be there

    async def main() -> Sample:
        open_dbos(folder)
        lean = memory()
        for _ in range(size):
            await DBOS.start_workflow_async(listen_long)
        await asyncio.sleep(SETTLE)
        before = tally()
        await asyncio.sleep(WINDOW)
        after = tally()
        grown = memory() - lean
        DBOS.destroy()
        return replace(after.since(before, size), memory=grown)

    return asyncio.run(main())


def interrupted(workflows: int, steps: int, folder: Path, *, wal: bool) -> Sample:
    """In the first process run and die; in the second, time what it takes from opening to the last workflow's end."""
    marker = folder / "begun"
    first = not marker.exists()
    marker.touch()

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
