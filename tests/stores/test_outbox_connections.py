"""Connections as applications like them: an outbox asks for its own, and leaves them as they were."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
from psycopg.rows import dict_row

from nurselog import (
    Outbox,
    StoreCorrupt,
    StoreError,
    StoreTooNew,
    UsageError,
    WorkflowConflict,
    open_engine,
    outbox,
    workflow,
)
from nurselog._stores._postgres.address import parse
from nurselog._stores._sqlite.schema import load_migrations
from tests.stores.kit import opened


@workflow
async def adding(a: int, b: int) -> int:
    return a + b


async def make_store(url: str) -> None:
    async with opened(url):
        pass


@pytest.fixture
def file(path: Path, file_url: str) -> Path:
    """A file with a store in it."""
    trio.run(make_store, file_url)
    return path


@pytest.fixture
def conninfo(postgres_url: str) -> str:
    """A database with a store in it."""
    trio.run(make_store, postgres_url)
    return parse(postgres_url).conninfo


def ids_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [id for (id,) in connection.execute("SELECT id FROM workflow ORDER BY id")]


async def result(url: str) -> object:
    with trio.fail_after(60):
        async with open_engine(url, [adding]) as engine:
            return await (await engine.get("one")).result()


# -- sqlite3 -------------------------------------------------------------------------------------


def as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@pytest.mark.parametrize("rows", [None, sqlite3.Row, as_dict], ids=["tuples", "rows", "dicts"])
@pytest.mark.parametrize("texts", [str, bytes])
def test_rows_and_texts_of_the_applications_own(file: Path, rows: Any, texts: Any) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory, connection.text_factory = rows, texts
        for _ in range(2):
            outbox.submit(connection, adding, 1, 2, id="one")
        with pytest.raises(WorkflowConflict):
            outbox.submit(connection, adding, 1, 3, id="one")
        assert outbox.send(connection, "one", "t", 1, key="k")
        assert not outbox.send(connection, "one", "t", 1, key="k")
        assert (connection.row_factory, connection.text_factory) == (rows, texts)
        connection.commit()
    assert ids_in(file) == ["one"]


@pytest.mark.parametrize("level", ["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
def test_python_begins_the_transaction_as_it_does_for_any_write(file: Path, level: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=level)) as connection:  # type: ignore[arg-type]  # one of its words
        outbox.submit(connection, adding, 1, 2, id="one")
        assert connection.in_transaction
        connection.rollback()
        outbox.submit(connection, adding, 1, 2, id="two")
        connection.commit()
    assert ids_in(file) == ["two"]


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT outer"])
def test_the_application_begins_its_transactions_itself(file: Path, begin: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(begin)
        outbox.submit(connection, adding, 1, 2, id="one")
        connection.execute("ROLLBACK")
        connection.execute(begin)
        outbox.submit(connection, adding, 1, 2, id="two")
        connection.execute("COMMIT")
    assert ids_in(file) == ["two"]


def test_without_a_transaction_each_is_committed_by_itself(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        outbox.submit(connection, adding, 1, 2, id="one")
        assert not connection.in_transaction
        with pytest.raises(WorkflowConflict):
            outbox.submit(connection, adding, 1, 3, id="one")
        assert ids_in(file) == ["one"]


def test_who_has_looked_before_somebody_else_wrote_must_begin_anew(file: Path) -> None:
    """As with any write of one's own; the error is SQLite's, so that who tries again knows it."""
    with closing(sqlite3.connect(file)) as one, closing(sqlite3.connect(file)) as other:
        one.execute("BEGIN")
        one.execute("SELECT count(*) FROM workflow").fetchall()
        outbox.submit(other, adding, 1, 2, id="other")
        other.commit()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            outbox.submit(one, adding, 1, 2, id="one")
        one.rollback()
        outbox.submit(one, adding, 1, 2, id="one")
        one.commit()
    assert ids_in(file) == ["one", "other"]


def test_what_fails_half_way_leaves_nothing_in_the_transaction(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'no'); END")
        connection.execute("CREATE TABLE mine (n)")
        connection.execute("INSERT INTO mine VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError, match="no"):
            outbox.submit(connection, adding, 1, 2, id="one")
        connection.commit()
        assert connection.execute("SELECT n FROM mine").fetchall() == [(1,)]
    assert ids_in(file) == []


def test_a_transaction_that_sqlite_gives_up_is_over(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON log BEGIN SELECT RAISE(ROLLBACK, 'no room'); END")
        with pytest.raises(sqlite3.IntegrityError, match="no room"):
            outbox.submit(connection, adding, 1, 2, id="one")
        assert not connection.in_transaction
    assert ids_in(file) == []


@pytest.mark.parametrize(
    ("error", "statements"),
    [
        (StoreError, []),
        (StoreCorrupt, ["CREATE TABLE theirs (n)"]),
        (StoreTooNew, ["PRAGMA application_id = 1313623879", f"PRAGMA user_version = {len(load_migrations()) + 1}"]),
    ],
    ids=["an empty one", "another application's", "a newer release's"],
)
def test_a_file_without_a_store(path: Path, error: type[StoreError], statements: list[str]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        with pytest.raises(error, match=f"the SQLite database {path}"):
            outbox.submit(connection, adding, 1, 2)
        assert not connection.in_transaction


def test_a_database_in_memory_is_nobody_elses() -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(StoreError, match="in memory: there is no"):
        outbox.send(connection, "one", "t", 1)


# -- psycopg -------------------------------------------------------------------------------------

HIDING = """
    CREATE TABLE workflow (n integer); CREATE TABLE message (n integer); CREATE TABLE about (n integer);
    CREATE TEMPORARY TABLE log (n integer); CREATE TEMPORARY TABLE workflow (n integer);
    SET enable_seqscan = on"""


@pytest.mark.parametrize("cursors", [psycopg.Cursor, psycopg.ClientCursor, psycopg.RawCursor])
def test_rows_and_cursors_of_the_applications_own(conninfo: str, cursors: Any) -> None:
    with psycopg.connect(conninfo, row_factory=dict_row, cursor_factory=cursors) as connection:
        for _ in range(2):
            outbox.submit(connection, adding, 1, 2, id="one")
        with pytest.raises(WorkflowConflict):
            outbox.submit(connection, adding, 1, 3, id="one")
        assert outbox.send(connection, "one", "t", 1)


def test_tables_of_the_same_names_and_settings_are_left_alone(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(HIDING)
        before = connection.execute("SHOW search_path").fetchone()
        outbox.submit(connection, adding, 1, 2, id="one")
        assert outbox.send(connection, "one", "t", 1)
        assert connection.execute("SELECT count(*) FROM nurselog.message").fetchone() == (1,)
        assert connection.execute("SHOW search_path").fetchone() == before
        assert connection.execute("SHOW enable_seqscan").fetchone() == ("on",)


def test_in_a_pipeline(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection, connection.pipeline():
        assert outbox.submit(connection, adding, 1, 2, id="one") == "one"
        assert outbox.send(connection, "one", "t", 1)


@pytest.mark.parametrize("level", list(psycopg.IsolationLevel))
def test_at_each_level_of_isolation(conninfo: str, level: psycopg.IsolationLevel) -> None:
    with psycopg.connect(conninfo) as connection, psycopg.connect(conninfo) as other:
        connection.isolation_level = level
        connection.execute("SELECT 1")  # there is its snapshot
        outbox.submit(other, adding, 1, 2, id="one")
        other.commit()
        if level < psycopg.IsolationLevel.REPEATABLE_READ:
            assert outbox.submit(connection, adding, 1, 2, id="one") == "one"
        else:
            with pytest.raises(psycopg.errors.SerializationFailure):  # who tries again knows it
                outbox.submit(connection, adding, 1, 2, id="one")


def test_two_that_make_the_same_at_the_same_time(conninfo: str) -> None:
    with psycopg.connect(conninfo) as one, psycopg.connect(conninfo) as other:
        outbox.submit(one, adding, 1, 2, id="one")
        other.execute("SET lock_timeout = 1")
        with pytest.raises(psycopg.errors.LockNotAvailable):  # it waits for what will become of the first
            outbox.submit(other, adding, 1, 2, id="one")
        other.rollback()
        one.commit()
        assert outbox.submit(other, adding, 1, 2, id="one") == "one"


@pytest.mark.parametrize("prepare", ["DROP SCHEMA nurselog CASCADE", "DROP FUNCTION nurselog.outbox_create"])
def test_a_database_without_a_store(conninfo: str, prepare: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(prepare)
        connection.commit()
        with pytest.raises(StoreError, match=r"schema nurselog of database \w+: there is no store of this release"):
            outbox.submit(connection, adding, 1, 2)


@pytest.mark.parametrize(
    "use", [lambda c: outbox.submit(c, adding, 1, 2), lambda c: outbox.send(c, "one", "t", 1)], ids=["submit", "send"]
)
def test_a_schema_that_is_too_new(conninfo: str, use: Callable[[Any], object]) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("UPDATE nurselog.about SET version = 7, oldest = 7")
        with pytest.raises(StoreTooNew, match="schema version 7"):
            use(connection)


def test_a_name_that_no_schema_has(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection, pytest.raises(UsageError, match="no name of a store's schema"):
        Outbox(schema='x"; DROP TABLE log').submit(connection, adding, 1, 2)


def test_an_error_of_the_database_is_left_as_it_is(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            outbox.submit(connection, adding, 1, 2)


PAGE = (Path(__file__).parents[2] / "docs" / "postgresql.md").read_text("utf-8")
GRANTS = re.findall(r"^GRANT (.*) ON (.*) TO shop;$", PAGE, re.MULTILINE)


@pytest.fixture
def shop(conninfo: str) -> Iterator[Callable[[str], None]]:
    """Try an application that has the rights that are documented, without one of them."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE ROLE shop")
        for rights, place in GRANTS:
            connection.execute(f"GRANT {rights} ON {place} TO shop")
        connection.commit()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

        def use(revoked: str) -> None:
            connection.execute(f"REVOKE {revoked} FROM shop")
            connection.execute("SET LOCAL ROLE shop")
            outbox.submit(connection, adding, 1, 2, id="one")
            assert outbox.send(connection, "one", "t", 1, key="k")
            connection.commit()

        yield use
        connection.rollback()
        connection.execute("DROP OWNED BY shop; DROP ROLE shop")


def test_an_application_with_the_least_rights(shop: Callable[[str], None], postgres_url: str) -> None:
    shop("CREATE ON SCHEMA nurselog")  # which it never had
    assert trio.run(result, postgres_url) == 3


@pytest.mark.parametrize("right", [f"{right} ON {place}" for rights, place in GRANTS for right in rights.split(", ")])
def test_an_application_needs_each_of_its_rights(shop: Callable[[str], None], right: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, StoreError)):
        shop(right)
