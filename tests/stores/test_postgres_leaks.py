"""Nothing is left of an engine that is closed: no connection, task, thread or open file."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import NamedTuple

import psycopg
import trio

from nurselog import open_engine, step, workflow
from tests.stores.kit import behind

CYCLES = 10
"""Times `scale`: a thousand in `nox -s long`."""


@step
async def double(number: int) -> int:
    return 2 * number


@workflow
async def once(number: int) -> int:
    return await double(number)


class Held(NamedTuple):
    """What a process holds."""

    connections: int
    tasks: int
    threads: int
    files: int


def held(admin: psycopg.Connection[tuple[int]]) -> Held:
    gc.collect()
    [(connections,)] = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchall()
    tasks = trio.lowlevel.current_statistics().tasks_living
    return Held(connections, tasks, threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))


async def test_nothing_is_left_of_engines_that_are_closed(postgres_url: str, scale: int) -> None:
    async def cycle(number: int) -> None:
        async with open_engine(postgres_url, ()) as engine:
            assert await engine.run(once, number, id=f"w{number}") == 2 * number

    with behind(postgres_url) as admin:
        await cycle(-1)  # the schema is made, and Trio has its threads
        before = held(admin)
        for number in range(CYCLES * scale):
            await cycle(number)
        # A server's process takes a moment to go, and Trio keeps threads that idle for one: never more than at first.
        with trio.fail_after(30):
            while (after := held(admin)).connections:
                await trio.lowlevel.checkpoint()
    assert after.tasks == before.tasks
    assert after.threads <= before.threads
    assert after.files <= before.files
