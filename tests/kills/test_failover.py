"""A server that is lost for good: its standby takes over, and engines whose address has both go on there."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import trio

from nurselog import map_concurrently, open_engine, step, workflow
from nurselog.lowlevel import Started, StepEnded
from tests.postgres_server import PostgresServer

psycopg = pytest.importorskip("psycopg", reason="no psycopg here: pip install 'nurselog[postgres]'")

STEPS = 30

ran: Counter[int] = Counter()
enough = trio.Event()
"""Set in the middle."""


@step
async def work(number: int) -> int:
    """Do something that takes a while."""
    ran[number] += 1
    if ran.total() == 2 * STEPS:
        enough.set()
    await trio.sleep(0.01)
    return number


@workflow
async def many(first: int) -> list[int]:
    """Do three things at a time."""
    return await map_concurrently(work, range(first, first + STEPS), limit=3)


@pytest.fixture
def standby(server: PostgresServer) -> Iterator[PostgresServer]:
    """Give the server a standby that has everything before a commit is answered."""
    other = PostgresServer(server.binaries, standby_of=server)
    try:
        other.start()
        with closing(psycopg.connect(server.url, autocommit=True)) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            connection.execute("SELECT pg_reload_conf()")
        yield other
    finally:
        other.remove()


def both(one: PostgresServer, other: PostgresServer) -> str:
    """Return the address of whichever of two servers takes writes."""
    port = urlsplit(one.url).query.partition("port=")[2]
    return (
        f"postgresql://postgres@/postgres?host={one.folder},{other.folder}&port={port}&target_session_attrs=read-write"
    )


async def promote(other: PostgresServer) -> None:
    with closing(await trio.to_thread.run_sync(psycopg.connect, other.url)) as connection:
        await trio.to_thread.run_sync(connection.execute, "SELECT pg_promote()")


async def test_engines_go_on_at_the_standby(server: PostgresServer, standby: PostgresServer) -> None:
    with trio.fail_after(120):
        async with open_engine(both(server, standby), [many]) as engine:
            handles = [await engine.submit(many, first * STEPS) for first in range(5)]
            await enough.wait()
            await trio.to_thread.run_sync(server.stop, signal.SIGKILL)
            before = ran.total()
            await promote(standby)
            results = [await handle.result() for handle in handles]
            logs = [await handle.log() for handle in handles]
    assert before < 5 * STEPS, "it was lost too late to matter"
    assert results == [list(range(first * STEPS, (first + 1) * STEPS)) for first in range(5)]
    assert set(ran.values()) == {1}, "the engine had lost nothing, so no step began twice"
    for log in logs:
        assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
        assert isinstance(log[0].event, Started)
        assert sum(isinstance(entry.event, StepEnded) for entry in log) == STEPS
