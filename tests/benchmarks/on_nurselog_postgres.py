"""nurselog on PostgreSQL: the same programs, and what is asked there only.

That is: what a step costs the server, what an idle engine does, whether a million sleepers are but a million rows, and
how several processes share the work.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import trio

from nurselog import Engine, open_engine, sleep_until, workflow
from tests.benchmarks.load import find_postmaster, load
from tests.benchmarks.on_nurselog import (
    STEPS,
    cancel,
    cancel_all,
    chain,
    concurrent,
    dream,
    engine_in,
    fan,
    listen,
    measured,
    message,
    parent,
    put_to_sleep,
    recovery,
    replay,
    run_many,
    sequential,
    single,
    submit_many,
    workflows,
)
from tests.benchmarks.on_postgres import address, settled, tally
from tests.benchmarks.plan import SETTLE, WINDOW, Sample
from tests.benchmarks.weight import memory
from tests.kills.lines import Lines

__all__ = [
    "beside_a_busy_one",
    "cancel",
    "cancel_all",
    "concurrent",
    "four_engines",
    "idle",
    "listening",
    "listening_evicted",
    "message",
    "one_engine",
    "put_to_sleep",
    "recovery",
    "replay",
    "sequential",
    "server_children",
    "server_concurrent",
    "server_sequential",
    "server_workflows",
    "single",
    "sleepers",
    "sow",
    "two_engines",
    "workflows",
]

# -- what it costs the server --------------------------------------------------------------------


def counted(body: Callable[[Engine], Awaitable[object]], count: int, folder: Path) -> Sample:
    """Count what the server does for an engine, from its opening to its closing."""

    async def main() -> None:
        async with engine_in(folder, room=count) as engine:
            await body(engine)

    async def nothing(_: Engine) -> None:
        await trio.lowlevel.checkpoint()

    measured(nothing, 1, folder)  # makes the schema
    before = settled()
    trio.run(main)
    return settled().since(before, count)


def server_sequential(size: int, folder: Path) -> Sample:
    return counted(lambda engine: engine.run(chain, size, id="it"), size, folder)


def server_concurrent(size: int, folder: Path) -> Sample:
    return counted(lambda engine: engine.run(fan, size, id="it"), size, folder)


def server_workflows(size: int, folder: Path) -> Sample:
    return counted(lambda engine: run_many(engine, size, STEPS), size, folder)


def server_children(size: int, folder: Path) -> Sample:
    return counted(lambda engine: engine.run(parent, size), size, folder)


async def watched(count: int) -> Sample:
    """Count what the server is asked."""
    await trio.sleep(SETTLE)
    before = tally()
    await trio.sleep(WINDOW)
    return tally().since(before, count)


def idle(size: int, folder: Path) -> Sample:
    """Watch an engine with so many workflows in memory that wait for another day."""

    async def main() -> Sample:
        async with engine_in(folder, room=size) as engine:
            await submit_many(engine, dream, size)
            return await watched(size)

    return trio.run(main)


def listening(size: int, folder: Path, **options: Any) -> Sample:
    """Watch an engine with so many workflows that wait for a message, and weigh them."""

    async def main() -> Sample:
        async with engine_in(folder, room=size, **options) as engine:
            await engine.submit(listen, 1, id="warm")
            before = memory()
            await submit_many(engine, partial(listen, 1), size)
            sample = await watched(size)
            return replace(sample, memory=memory() - before)

    return trio.run(main)


listening_evicted = partial(listening, evict_after=1.0)


def beside_a_busy_one(idlers: int, folder: Path) -> Sample:
    """Watch an engine that runs one workflow after the other, and so many engines that have nothing to do."""

    async def work(engine: Engine) -> None:
        while True:
            await engine.run(chain, 1)

    async def stand_by() -> None:
        async with engine_in(folder):
            await trio.sleep_forever()

    async def main() -> Sample:
        async with engine_in(folder) as engine, trio.open_nursery() as nursery:
            for _ in range(idlers):
                nursery.start_soon(stand_by)
            nursery.start_soon(work, engine)
            sample = await watched(idlers)
            nursery.cancel_scope.cancel()
        return sample

    return trio.run(main)


# -- a million sleepers --------------------------------------------------------------------------

NAPPERS = 100
"""How many of the copies are due while the engine is watched, all at the same moment."""
NAP, LONG_NAP = 6, 12
"""Seconds from the opening until one is due that was submitted, and until the copies are."""


@workflow
async def nap(due: float) -> None:
    await sleep_until(datetime.fromtimestamp(due, UTC))


COPY = """
    WITH given AS (
        SELECT workflow.*, number, coalesce(%(due)s, due_at + number * 1000) AS due
        FROM nurselog.workflow, generate_series(1, %(count)s) AS number
        WHERE id = 's0'
    ), made AS (
        INSERT INTO nurselog.workflow
            (shard, key, id, name, version, digest, status, owner, due_at, problem, created_at, updated_at)
        SELECT shard, nextval('nurselog.workflow_key') * 1024 + shard, %(prefix)s || number, name, version, digest,
            status, owner, due, problem, created_at, updated_at
        FROM given
        RETURNING key, due_at
    )
    INSERT INTO nurselog.log (workflow, seq, at, after, writer, shard, format, event, value)
    SELECT made.key, seq, at, after, writer, log.shard, format,
        replace(event, '"due":' || original.due_at, '"due":' || made.due_at), value
    FROM made, nurselog.workflow AS original JOIN nurselog.log ON log.workflow = original.key
    WHERE original.id = 's0'"""


def copy_sleeper(connection: psycopg.Connection[Any], count: int, prefix: str, due: int | None = None) -> None:
    """Copy the rows of the one sleeper that an engine has put to sleep, with other ids and another time to wake.

    The copies are a thousandth of a second apart, unless it is said when they are due, UTC microseconds.
    """
    connection.execute(COPY, {"count": count, "prefix": prefix, "due": due})


def sow(size: int, folder: Path) -> Sample:
    """Have an engine put one workflow to sleep, and copy its rows until there are enough of them.

    To submit a million takes long. What is copied is what the engine itself has written; the copies differ from
    sleepers that were submitted in that all of them have the same seed and writer. At the end the server has looked at
    its tables, which after such a change it does anyway, a minute later.
    """
    put_to_sleep(1, folder)
    begin = time.perf_counter()
    with psycopg.connect(address(), autocommit=True) as connection:
        copy_sleeper(connection, size - NAPPERS - 1, "copy-")
        connection.execute("VACUUM (ANALYZE) nurselog.workflow, nurselog.log")
    return Sample(time.perf_counter() - begin, size)


def woken(connection: psycopg.Connection[Any]) -> int | None:
    """Return when the last of the copies had ended that were due, UTC microseconds; None if one has not yet."""
    query = """
        SELECT max(updated_at) FROM nurselog.workflow
        WHERE shard = 0 AND id LIKE 'nap-%%' HAVING count(*) FILTER (WHERE status = 'completed') = %s"""
    found = connection.execute(query, [NAPPERS]).fetchone()
    return None if found is None else found[0]


async def oversleep(engine: Engine) -> float:
    """Submit one that is due soon, but leaves memory before; return how many seconds too late it has ended."""
    due = time.time() + NAP
    handle = await engine.submit(nap, due, id="nap")
    await handle.result()
    late = time.time() - due
    if not engine.statistics().evicted:
        raise RuntimeError("it has never left memory")
    return late


def sleepers(size: int, folder: Path) -> Sample:
    """Open an engine on so many sleepers, weigh its process, and see when those wake that are due."""
    command = [sys.executable, "-m", "tests.benchmarks.child", "NURSELOG_POSTGRES", "sow", str(size), str(folder)]
    subprocess.run(command, check=True, capture_output=True)

    async def main() -> Sample:
        with psycopg.connect(address(), autocommit=True) as connection:
            due = int((time.time() + LONG_NAP) * 1e6)
            copy_sleeper(connection, NAPPERS, "nap-", due)
            begin = time.perf_counter()
            async with engine_in(folder, evict_after=1) as engine:
                opened = time.perf_counter() - begin
                late = await oversleep(engine)
                while (ended := woken(connection)) is None:  # noqa: ASYNC110 - the copies have no handles
                    await trio.sleep(0.1)
                watch = await watched(size)
                return Sample(
                    opened,
                    size,
                    memory=memory(),
                    late=late,
                    last=(ended - due) / 1e6,
                    commits=watch.commits,
                    statements=watch.statements,
                )

    return trio.run(main)


# -- several processes ---------------------------------------------------------------------------


async def fill(folder: Path, size: int) -> None:
    """Submit workflows that nobody runs yet: one that sleeps takes the only place in memory."""
    async with open_engine(address(), max_running=1) as engine:
        await engine.submit(dream, id="sleeper")
        await submit_many(engine, partial(chain, STEPS), size)


def ended_at(connection: psycopg.Connection[Any]) -> float | None:
    """Return when the last workflow had ended, UTC seconds; None if one has not yet."""
    query = """
        SELECT max(updated_at) FROM nurselog.workflow
        WHERE name = 'chain' HAVING count(*) FILTER (WHERE status <> 'completed') = 0"""
    found = connection.execute(query).fetchone()
    return None if found is None else found[0] / 1e6


def together(size: int, folder: Path, *, engines: int) -> Sample:
    """Have so many processes work off what is there; see how long it takes, and who is busy."""
    command = [sys.executable, "-m", "tests.benchmarks.worker", address()]
    postmaster = find_postmaster(address())

    async def main() -> Sample:
        await fill(folder, size)
        with psycopg.connect(address(), autocommit=True) as connection:
            async with trio.open_nursery() as nursery:
                start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                workers: list[trio.Process] = [await nursery.start(start) for _ in range(engines)]
                for worker in workers:
                    await Lines(worker).next()
                pids = [worker.pid for worker in workers]
                begin, before = time.time(), load(pids, postmaster)
                for worker in workers:
                    assert worker.stdin
                    await worker.stdin.send_all(b"go\n")
                while (end := ended_at(connection)) is None:  # noqa: ASYNC110 - it happens in other processes
                    await trio.sleep(0.05)
                # What it has used since the end is next to nothing.
                spent = [(now - then) / (end - begin) for now, then in zip(load(pids, postmaster), before, strict=True)]
                for worker in workers:
                    assert worker.stdin
                    await worker.stdin.aclose()
        return Sample(end - begin, size, engines=spent[0], server=spent[1], machine=spent[2])

    return trio.run(main)


one_engine = partial(together, engines=1)
two_engines = partial(together, engines=2)
four_engines = partial(together, engines=4)
