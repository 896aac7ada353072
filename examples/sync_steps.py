"""Steps that are plain functions: they run in worker threads, and block nobody.

    python examples/sync_steps.py

Files are hashed in threads, four at a time, and the digests go into a table of the application's own. The row's key is
the step's idempotency key, so an insert that is repeated after a crash finds its own row.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from nurselog import attempt, map_concurrently, open_engine, step, step_key, workflow, workflow_id


@step
def digest(path: Path) -> str:
    """Hash a file. It may block as long as it likes: it is not in Trio's thread."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@step
def enter(table: Path, name: str, sha256: str) -> int:
    """Enter a digest, once, however often this runs; return how many rows the table has."""
    with closing(sqlite3.connect(table, isolation_level=None)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS digest (key TEXT PRIMARY KEY, workflow TEXT, name TEXT, sha256 TEXT)")
        db.execute("INSERT OR IGNORE INTO digest VALUES (?, ?, ?, ?)", (step_key(), workflow_id(), name, sha256))
        [(rows,)] = db.execute("SELECT count(*) FROM digest")
    print(f"  attempt {attempt()}: {name} {sha256[:8]}, {rows} rows")
    return int(rows)


@workflow
async def catalogue(folder: Path, table: Path) -> int:
    """Enter the digests of all files in a folder; return how many there are."""
    paths = await list_files(folder)
    digests = await map_concurrently(digest, paths, limit=4)
    for path, sha256 in zip(paths, digests, strict=True):
        await enter(table, path.name, sha256)
    return len(paths)


@step
def list_files(folder: Path) -> list[Path]:
    """List the files: what a folder holds may change, so it is asked once and recorded."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".txt")


async def main(folder: Path) -> None:
    for name in ("moss", "bark", "fern"):
        await trio.Path(folder, f"{name}.txt").write_text(name, "utf-8")
    async with open_engine(f"sqlite:///{folder / 'catalogue.db'}", max_threads=4) as engine:
        run = partial(engine.run, catalogue, folder, folder / "digests.db", id="catalogue-1")
        print("files:", await run())
        print("again, the same run:", await run())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        trio.run(main, Path(name))
