"""The floor on PostgreSQL: what psycopg does in one thread, one durable commit for each step."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.benchmarks.plan import Sample


def sequential(size: int, _: Path) -> Sample:
    """Commit rows one by one."""
    with psycopg.connect(os.environ["NURSELOG_BENCHMARK_STORE"], autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE log (workflow bigint, seq int, at bigint, event text, value bytea, UNIQUE (workflow, seq))"
        )
        event = '{"kind":"step","path":"1","name":"increment","result":"value"}'
        begin = time.perf_counter()
        for seq in range(size):
            connection.execute(
                "INSERT INTO log VALUES (1, %s, %s, %s, %s)", (seq, time.time_ns(), event, b"1"), prepare=True
            )
        return Sample(time.perf_counter() - begin, size)


class Figures(NamedTuple):
    """What a server has counted."""

    commits: int
    wal: int


def figures() -> Figures:
    """Read the server's statistics, when all others who used the database are gone: then they have handed theirs in."""
    with psycopg.connect(os.environ["NURSELOG_BENCHMARK_STORE"], autocommit=True) as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while connection.execute(others).fetchone() != (0,):
            time.sleep(0.01)
        query = """
            SELECT xact_commit, (SELECT wal_bytes FROM pg_stat_wal)::bigint FROM pg_stat_database
            WHERE datname = current_database()"""
        [(commits, wal)] = connection.execute(query).fetchall()
        return Figures(commits, wal)
