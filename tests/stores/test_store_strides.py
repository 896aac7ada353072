"""The write-ahead log grows ahead of the commits, and nobody sees anything of that but time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nurselog._stores._sqlite import schema
from nurselog._stores._sqlite.session import Session
from nurselog._stores._sqlite.strides import CACHE, LONGEST, SHORTEST, Strides
from nurselog._stores.sqlite import parse_url
from nurselog.abc import Append, Lease
from nurselog.testing.stores.records import append, create, creation, rows
from tests.stores.kit import opened_inline

END = 1 << 23


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE message (number INTEGER PRIMARY KEY AUTOINCREMENT, workflow, kind, body)")
        yield connection


def length(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def write(connection: sqlite3.Connection, size: int) -> None:
    connection.execute("INSERT INTO message (workflow, kind, body) VALUES (1, 'real', zeroblob(?))", (size,))


def content(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    return connection.execute("SELECT number, kind FROM message").fetchall()


def test_a_small_database_stays_small(path: Path, connection: sqlite3.Connection) -> None:
    strides = Strides(path, END)
    write(connection, SHORTEST // 2)
    before = length(path)
    strides.follow(connection)
    assert length(path) == before


def test_it_grows_when_it_has_grown_and_not_otherwise(path: Path, connection: sqlite3.Connection) -> None:
    strides = Strides(path, END)
    write(connection, SHORTEST)
    before = length(path)
    strides.follow(connection)
    grown = length(path)
    assert before + SHORTEST <= grown <= before + 4 * SHORTEST
    write(connection, 1000)
    assert length(path) == grown, "there was room"
    strides.follow(connection)
    assert length(path) == grown
    assert content(connection) == [(1, "real"), (2, "real")], "nothing else is there, and no number is missing"
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_it_does_not_grow_for_ever(path: Path, connection: sqlite3.Connection) -> None:
    strides = Strides(path, END)
    for _ in range(60):
        write(connection, SHORTEST)
        strides.follow(connection)
    assert END <= length(path) < 60 * SHORTEST + LONGEST + CACHE


def test_others_see_no_change(path: Path, connection: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(path)) as other:
        write(connection, SHORTEST)
        before = other.execute("PRAGMA data_version").fetchone()
        Strides(path, END).follow(connection)
        assert other.execute("PRAGMA data_version").fetchone() == before
        assert content(other) == [(1, "real")]


def test_where_it_cannot_grow_it_stays_as_it_is(path: Path, connection: sqlite3.Connection) -> None:
    strides = Strides(path, END)
    write(connection, SHORTEST)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")  # a disk that is full
    strides.follow(connection)
    assert content(connection) == [(1, "real")]
    assert not connection.in_transaction
    connection.execute("PRAGMA max_page_count = 1000000")
    write(connection, 10)


def test_where_there_is_no_log_nothing_happens(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = DELETE")
    write(connection, SHORTEST)
    Strides(path, END).follow(connection)
    assert content(connection) == [(1, "real")]


async def test_a_store_on_a_file_does_it(path: Path) -> None:
    async with opened_inline(f"sqlite:///{path}") as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        sizes = {length(path)}
        for seq in range(2, 300):
            assert not await append(store, Append(key=key, rows=rows(seq, seq, 7)))
            sizes.add(length(path))
        assert len(sizes) < 150, "most commits find room"
        assert len(await store.read(key)) == 299


def test_only_who_writes_lets_it_grow(path: Path) -> None:
    location = parse_url(f"sqlite:///{path}")
    with closing(Session(location, schema.connect(location), Lease(worker="a", duration=1))) as session:
        session.know_files()
        session.strides = Strides(path, END)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            write(other, SHORTEST)
        before = length(path)
        session.look(1.0)
        assert length(path) == before
        session.wrote = True
        session.look(2.0)
        assert length(path) > before
