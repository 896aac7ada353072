"""Opening a database: whose it is, its settings, its schema.

A file is looked at before anything in it is changed: a database of another application stays as it is. Ours carry an
`application_id` and the schema's version as `user_version`, both in the file's header, where other tools see them too.
"""

from __future__ import annotations

import enum
import functools
import importlib.resources
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreTooNew
from .bulk import transaction
from .faults import PRIMARY

APPLICATION_ID = 0x4E4C4F47
"""`NLOG`."""

OLDEST = (3, 33)
"""The oldest SQLite that has all that is used here; `UPDATE ... FROM` is the newest of it."""

BUSY_TIMEOUT = 5.0
"""Seconds that a call waits for another process's lock."""

PAGE = 4096
"""Bytes of a page, SQLite's default."""

CHECKPOINT_PAGES = 4_000
"""How long the write-ahead log grows before it is copied into the database. The copying is the tail of the commit
times, and every 4 MB (the default) is too often; but after a crash all of the log is read before anything else."""


class Synchronous(enum.Enum):
    """When SQLite waits for the disk."""

    FULL = "FULL"
    """At each commit: what was committed survives a power cut."""
    NORMAL = "NORMAL"
    """Not at commits: ten times as many of them, but a power cut may undo the last ones. Never damages the file."""


class Location(NamedTuple):
    """Where a database is."""

    url: str
    """As the application wrote it, for messages."""
    path: Path | None
    """None: in memory."""
    synchronous: Synchronous = Synchronous.FULL


def connect(location: Location) -> sqlite3.Connection:
    """Open the database, make sure that it is ours, and bring its schema up to date."""
    if sqlite3.sqlite_version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StoreError(f"nurselog needs SQLite {oldest} or newer, and this Python has {sqlite3.sqlite_version}")
    try:
        connection = sqlite3.connect(
            location.path or ":memory:", timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=128
        )
    except sqlite3.Error as error:
        # SQLite has one code for a folder that is missing and for one that is read-only: ask the system which it is.
        if location.path and location.path.parent.is_dir() and not os.access(location.path.parent, os.W_OK):
            raise StoreReadOnly(
                f"{location.url}: the folder is read-only; give this user the right to write"
            ) from error
        raise
    try:
        migrations = load_migrations()
        recognise(connection, location.url)
        check_version(connection, location.url, len(migrations))
        if location.path:
            _configure(connection, location.url, location.synchronous)
        migrate(connection, location.url, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def recognise(connection: sqlite3.Connection, url: str) -> None:
    """Make sure that the database is ours, or empty.

    Raises:
        StoreCorrupt: if it belongs to another application.
    """
    # One statement, so one snapshot: another process may be making the database just now.
    [(application, version, tables)] = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_application_id, pragma_user_version"
    )
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreCorrupt(f"{url}: this is the database of another application; check the address")


def check_version(connection: sqlite3.Connection, url: str, known: int) -> int:
    """Return the schema's version.

    Raises:
        StoreTooNew: if it is newer than `known`.
    """
    found = _pragma(connection, "user_version")
    if found > known:
        raise StoreTooNew(url, found, known)
    return found


def migrate(connection: sqlite3.Connection, url: str, migrations: Sequence[str]) -> None:
    """Apply the migrations that the database does not have yet, each in a transaction of its own."""
    known = len(migrations)
    while (version := check_version(connection, url, known)) < known:
        with transaction(connection):
            # Another process may be faster: only under the lock the version is certain.
            if check_version(connection, url, known) == version:
                for statement in _statements(migrations[version]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")


@functools.cache
def load_migrations() -> tuple[str, ...]:
    """Return the migrations' scripts; each brings a schema to the version that is its place, from 1."""
    scripts = importlib.resources.files("nurselog._stores").joinpath("sql").iterdir()
    ours = sorted((s for s in scripts if s.name.startswith("sqlite_")), key=lambda script: script.name)
    return tuple(script.read_text("utf-8") for script in ours)


def _configure(connection: sqlite3.Connection, url: str, synchronous: Synchronous) -> None:
    if _start_write_ahead(connection) != "wal":
        raise StoreError(f"{url}: SQLite has no write-ahead log here; put the file on a local disk")
    connection.execute(f"PRAGMA synchronous = {synchronous.value}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def _start_write_ahead(connection: sqlite3.Connection) -> object:
    """Switch the write-ahead log on, and return the mode that the database has now.

    For this one lock SQLite does not wait: of two processes that make a database at the same time, one would fail.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            [(mode,)] = connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            if error.sqlite_errorcode & PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return mode


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    [(value,)] = connection.execute(f"PRAGMA {name}")
    return int(value)


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit our transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
