"""The demo's catalogue of mirrored files: a table of its own, in which the pipeline's steps make entries.

It has no constraint, on purpose: that each file is entered exactly once is for the pipeline to bring about and for the
demo to count, not for the database to enforce.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import msgspec

from .job import Layout


class Entry(msgspec.Struct, frozen=True):
    """A row of the catalogue."""

    key: str
    path: str
    sha256: str
    mirror: str


def create_catalogue(layout: Layout) -> None:
    """Create the catalogue: on purpose without any constraint, since exactly-once is what is to be shown."""
    with closing(sqlite3.connect(layout.catalogue, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE entry (key TEXT, path TEXT, sha256 TEXT, mirror TEXT)")


def read_catalogue(layout: Layout) -> Sequence[Entry]:
    """Return all entries."""
    with closing(sqlite3.connect(layout.catalogue)) as db:
        return [Entry(*row) for row in db.execute("SELECT key, path, sha256, mirror FROM entry ORDER BY rowid")]


def count_entries(layout: Layout) -> int:
    """Return how many entries there are."""
    with closing(sqlite3.connect(layout.catalogue)) as db:
        (count,) = db.execute("SELECT count(*) FROM entry").fetchone()
        return int(count)
