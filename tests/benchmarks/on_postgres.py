"""The floor on PostgreSQL: what psycopg does in one thread, one durable commit for each step."""

from __future__ import annotations

import os
import time
from pathlib import Path

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
