"""PostgreSQL itself: the floor, which is what psycopg does in one thread, and what a server counts of its work.

What it counts is asked for in another database of the same server, so that asking is not counted.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.benchmarks.plan import Sample


def address() -> str:
    """Return the address of the database that is measured."""
    return os.environ["NURSELOG_BENCHMARK_STORE"]


def sequential(size: int, _: Path) -> Sample:
    """Commit rows one by one."""
    with psycopg.connect(address(), autocommit=True) as connection:
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


@dataclass(frozen=True)
class Tally:
    """What a server has counted for the database, until a moment."""

    at: float
    """By the process's own clock, seconds."""
    commits: int
    rows: int
    wal: int
    statements: Counter[str]
    """How often it was sent which; empty where it keeps no count of them."""

    def since(self, before: Tally, count: int) -> Sample:
        """Return what has been added, for so many of whatever was done."""
        return Sample(
            self.at - before.at,
            count,
            commits=self.commits - before.commits,
            rows=self.rows - before.rows,
            wal=self.wal - before.wal,
            statements=dict(self.statements - before.statements),
        )


def tally() -> Tally:
    """Ask the server now. Connections hand in what they have counted when they end; before, some seconds later."""
    with _beside() as connection:
        return _ask(connection)


def settled() -> Tally:
    """Ask the server when all who used the database are gone."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    with _beside() as connection:
        while connection.execute(others, [_database()]).fetchone() != (0,):
            time.sleep(0.01)
        return _ask(connection)


def _database() -> str:
    return str(conninfo_to_dict(address())["dbname"])


def _beside() -> psycopg.Connection[Any]:
    return psycopg.connect(address(), dbname="postgres", autocommit=True)


def _ask(connection: psycopg.Connection[Any]) -> Tally:
    query = """
        SELECT xact_commit, tup_inserted + tup_updated + tup_deleted, (SELECT wal_bytes FROM pg_stat_wal)::bigint
        FROM pg_stat_database WHERE datname = %s"""
    [(commits, rows, wal)] = connection.execute(query, [_database()]).fetchall()
    statements: Counter[str] = Counter()
    if connection.execute("SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'").fetchone() is not None:
        query = """
            SELECT query, calls FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
            WHERE datname = %s"""
        for text, calls in connection.execute(query, [_database()]):
            statements[" ".join(text.split())] += calls
    return Tally(time.perf_counter(), commits, rows, wal, statements)
