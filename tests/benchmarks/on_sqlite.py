"""The floor: what SQLite itself does in one thread, one durable commit for each step."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from tests.benchmarks.plan import Sample


def sequential(size: int, folder: Path) -> Sample:
    """Commit rows one by one."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE log (workflow INTEGER, seq INTEGER, at INTEGER, event BLOB, value BLOB, UNIQUE (workflow, seq))"
    )
    event = b'{"kind":"step","path":"1","name":"increment","result":"value"}'
    begin = time.perf_counter()
    for seq in range(size):
        connection.execute("INSERT INTO log VALUES (1, ?, ?, ?, ?)", (seq, time.time_ns(), event, b"1"))
    seconds = time.perf_counter() - begin
    connection.close()
    return Sample(seconds, size)
