"""Addresses, opening and closing, and what happens to the file."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio

from nurselog._errors import StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable, UsageError
from nurselog._stores import open_store
from nurselog._stores._sqlite import schema
from nurselog._stores._sqlite.schema import Synchronous
from nurselog._stores._sqlite.session import LOOK, Session
from nurselog._stores.sqlite import parse_url
from nurselog.abc import Batch, Filter, Lease
from nurselog.testing.stores.records import LONG, StandingClock, create, creation
from tests.stores.kit import connection_of, content, database, files, opened, opened_inline, overwrite

ME = Lease(worker="a", duration=LONG)

# -- addresses


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.db",
        "sqlite:",
        "sqlite:store.db",
        "sqlite:/",
        "sqlite:///",
        "sqlite://store.db",
        "sqlite://host/store.db",
        "sqlite:///:memory:",
        "sqlite:///store.db?mode=ro",
        "sqlite:///store.db?synchronous=off",
        "sqlite://?synchronous=normal",
        "sqlite:///store\0.db",
        "SQLITE:///store.db",
        "oracle://store.db",
    ],
)
def test_an_address_that_points_nowhere(url: str, clock: StandingClock) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url, clock=clock)
    assert repr(url) in str(caught.value)


async def test_a_relative_address_is_where_it_was_when_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: StandingClock
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///relative.db", clock=clock)
    elsewhere = trio.Path(tmp_path) / "elsewhere"
    await elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    await store.open(ME)
    await store.close()
    assert files(tmp_path) == ["relative.db"]


async def test_a_file_name_is_taken_as_it_is(tmp_path: Path, clock: StandingClock) -> None:
    path = tmp_path / "a b%20#\u00fc.db"
    async with opened(f"sqlite:///{path}", clock):
        assert path.name in files(tmp_path)


# -- opening and closing


async def test_what_is_not_open(url: str, clock: StandingClock) -> None:
    store = open_store(url, clock=clock)
    with pytest.raises(UsageError, match="not open"):
        await store.renew()
    await store.close()
    await store.open(ME)
    with pytest.raises(UsageError, match="open already"):
        await store.open(ME)
    await store.close()
    await store.close()
    with pytest.raises(UsageError, match="not open"):
        await store.commit(Batch())


async def test_a_file_is_opened_again(file_url: str, clock: StandingClock) -> None:
    store = open_store(file_url, clock=clock)
    for number in range(2):
        await store.open(ME)
        assert len(await store.list(Filter())) == number
        await store.commit(Batch(creations=[creation(f"w{number}")]))
        await store.close()


async def test_what_is_in_memory_goes(clock: StandingClock) -> None:
    store = open_store("sqlite://", clock=clock)
    for _ in range(2):
        await store.open(ME)
        assert await store.list(Filter()) == []
        await store.commit(Batch(creations=[creation("one")]))
        await store.close()


async def test_opening_may_be_tried_again(tmp_path: Path, clock: StandingClock) -> None:
    folder = trio.Path(tmp_path) / "later"
    store = open_store(f"sqlite:///{folder}/store.db", clock=clock)
    with pytest.raises(StoreUnavailable, match="does its folder exist"):
        await store.open(ME)
    await folder.mkdir()
    await store.open(ME)
    await store.close()


async def test_closing_closes_even_if_the_worker_cannot_be_removed(
    path: Path, file_url: str, clock: StandingClock
) -> None:
    store = open_store(file_url, clock=clock)
    await store.open(ME)
    with database(path) as connection:
        connection.execute("ALTER TABLE worker RENAME TO mislaid")
    with pytest.raises(StoreError):
        await store.close()
    assert files(path.parent) == [path.name]
    with pytest.raises(UsageError, match="not open"):
        await store.renew()


@pytest.mark.parametrize(("synchronous", "number"), [(Synchronous.FULL, 2), (Synchronous.NORMAL, 1)])
def test_settings_of_a_file(path: Path, synchronous: Synchronous, number: int) -> None:
    connection = schema.connect(schema.Location("", path, synchronous))
    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "application_id", "user_version")
    }
    connection.close()
    assert settings == {
        "journal_mode": "wal",
        "synchronous": number,
        "wal_autocheckpoint": schema.CHECKPOINT_PAGES,
        "application_id": schema.APPLICATION_ID,
        "user_version": len(schema.load_migrations()),
    }


# -- whose file it is


async def test_another_application_s_database_stays_as_it_is(path: Path, file_url: str, clock: StandingClock) -> None:
    with database(path) as connection:
        connection.execute("CREATE TABLE recipe (title TEXT)")
    before = content(path)
    with pytest.raises(StoreCorrupt, match="another application"):
        await open_store(file_url, clock=clock).open(ME)
    assert content(path) == before


@pytest.mark.parametrize("pragma", ["application_id", "user_version"])
async def test_another_application_s_empty_database(
    path: Path, file_url: str, clock: StandingClock, pragma: str
) -> None:
    with database(path) as connection:
        connection.execute(f"PRAGMA {pragma} = 7")
    with pytest.raises(StoreCorrupt, match="another application"):
        await open_store(file_url, clock=clock).open(ME)


async def test_an_empty_file_is_taken(path: Path, file_url: str) -> None:
    overwrite(path, b"")
    async with opened(file_url) as store:
        await create(store, creation("one"))


async def test_a_file_that_is_no_database(path: Path, file_url: str, clock: StandingClock) -> None:
    overwrite(path, b"Dear diary,\n" * 1000)
    with pytest.raises(StoreCorrupt, match="no SQLite database"):
        await open_store(file_url, clock=clock).open(ME)


async def test_a_newer_schema_is_left_alone(path: Path, file_url: str, clock: StandingClock) -> None:
    async with opened(file_url):
        pass
    known = len(schema.load_migrations())
    with database(path) as connection:
        connection.execute(f"PRAGMA user_version = {known + 1}")
        connection.execute("PRAGMA journal_mode = DELETE")  # a newer release may have its reasons
    before = content(path)
    with pytest.raises(StoreTooNew) as caught:
        await open_store(file_url, clock=clock).open(ME)
    assert (caught.value.found, caught.value.known, caught.value.url) == (known + 1, known, file_url)
    assert content(path) == before


async def test_an_old_sqlite_is_refused(clock: StandingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "OLDEST", (99, 1))
    with pytest.raises(StoreError, match=r"needs SQLite 99\.1"):
        await open_store("sqlite://", clock=clock).open(ME)


def test_no_write_ahead_log(path: Path) -> None:
    """Where memory cannot be shared, SQLite has none, and says so only by the mode that it chooses."""
    connection = sqlite3.connect(f"file:{path}?vfs=unix-dotfile", uri=True, isolation_level=None)
    with pytest.raises(StoreError, match="no write-ahead log"):
        schema._configure(connection, "url", Synchronous.FULL)
    connection.close()


# -- migrations

FIRST = "-- A comment; with a semicolon.\nCREATE TABLE one (a TEXT DEFAULT ';');\nCREATE TABLE other (b);\n"
SECOND = "ALTER TABLE one ADD COLUMN c;\nINSERT INTO one (a, c) VALUES ('x;y', 2);\n"


def tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]


def test_the_scripts_are_numbered_without_gaps() -> None:
    folder = Path(schema.__file__).parents[1] / "sql"
    names = sorted(script.name for script in folder.glob("sqlite_*.sql"))
    assert names == [f"sqlite_{number:04}.sql" for number in range(1, len(names) + 1)]
    assert len(schema.load_migrations()) == len(names)


def test_migrations_are_applied_once_each(path: Path) -> None:
    with database(path) as connection:
        schema.migrate(connection, "url", [FIRST])
        assert tables(connection) == ["one", "other"]
        schema.migrate(connection, "url", [FIRST, SECOND])
        schema.migrate(connection, "url", [FIRST, SECOND])
        assert connection.execute("SELECT a, c FROM one").fetchall() == [("x;y", 2)]
        assert schema.check_version(connection, "url", 2) == 2


def test_a_migration_is_applied_whole_or_not_at_all(path: Path) -> None:
    with database(path) as connection:
        with pytest.raises(sqlite3.OperationalError):
            schema.migrate(connection, "url", [FIRST, SECOND + "CREATE TABLE one (again);\n"])
        assert not connection.in_transaction
        assert schema.check_version(connection, "url", 2) == 1
        assert connection.execute("SELECT * FROM one").fetchall() == []
        schema.migrate(connection, "url", [FIRST, SECOND])
        assert connection.execute("SELECT a, c FROM one").fetchall() == [("x;y", 2)]


class FasterOther(sqlite3.Connection):
    """Lets another process migrate between the look at the version and the lock."""

    path: Path

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            with database(self.path) as other:
                schema.migrate(other, "url", [FIRST, SECOND])
        return super().execute(sql, *parameters)  # type: ignore[arg-type]  # passed on as they are


def test_another_process_may_be_faster(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None, factory=FasterOther)
    connection.path = path
    schema.migrate(connection, "url", [FIRST, SECOND])
    assert connection.execute("SELECT a, c FROM one").fetchall() == [("x;y", 2)]
    connection.close()


async def test_a_connection_is_closed_when_opening_fails(path: Path, file_url: str) -> None:
    """Else it would keep the file, and Python would warn."""
    async with opened_inline(file_url) as store:
        connection_of(store).execute("DROP TABLE worker")
        with pytest.raises(StoreError):
            async with opened(file_url, worker="b"):
                pytest.fail("opened without a table of workers")
        connection_of(store).execute("CREATE TABLE worker (id, expires_at, pid, host, beacon)")
    assert files(path.parent) == [path.name]


def test_a_connection_is_closed_when_the_scripts_cannot_be_read(file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no files left to open comes so far, and must not have one less each time it tries."""

    class Watched(sqlite3.Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            connections.append(self)

    def fail() -> NoReturn:
        raise OSError(errno.EMFILE, "too many open files")

    connections: list[sqlite3.Connection] = []
    monkeypatch.setattr(sqlite3, "connect", Watched)
    monkeypatch.setattr(schema, "load_migrations", fail)
    with pytest.raises(OSError, match="too many open files"):
        schema.connect(parse_url(file_url))
    [connection] = connections
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        connection.execute("SELECT 1")


# -- a file that is lost


async def test_a_file_that_has_gone_is_noticed_by_every_call(path: Path, file_url: str, clock: StandingClock) -> None:
    async with opened(file_url, clock) as store:
        aside = await trio.Path(path).rename(path.with_name("moved.db"))
        for call in (store.renew, store.wait_changed, store.messages, lambda: store.commit(Batch())):
            with pytest.raises(StoreCorrupt, match="was deleted or replaced"):
                await call()
        await aside.rename(path)
        assert await store.renew()


def test_files_are_looked_at_every_now_and_then(path: Path, file_url: str) -> None:
    location = parse_url(file_url)
    with closing(Session(location, schema.connect(location), Lease(worker="a", duration=1))) as session:
        session.know_files()
        session.look(1.0)
        path.unlink()
        session.look(1.0 + LOOK / 2)
        for now in (1.0 + 2 * LOOK, 1.0 + 2 * LOOK):
            with pytest.raises(StoreCorrupt, match="was deleted or replaced"):
                session.look(now)


async def test_what_goes_wrong_in_a_lost_file_is_that_it_is_lost(path: Path, file_url: str) -> None:
    async with opened_inline(file_url) as store:
        aside = await trio.Path(path).rename(path.with_name("moved.db"))
        connection_of(store).execute("DROP TABLE message")
        with pytest.raises(StoreCorrupt, match="was deleted or replaced"):
            await store.messages()
        await aside.rename(path)


async def test_a_file_that_is_lost_just_before_the_end_is_noticed(path: Path, file_url: str) -> None:
    with pytest.raises(StoreCorrupt, match="was deleted or replaced"):
        async with opened(file_url) as store:
            await store.renew()
            await trio.Path(path).unlink()


async def test_a_file_that_cannot_be_looked_at_is_not_lost(path: Path, file_url: str) -> None:
    """The system says so, for instance, of a folder that this user may no longer enter."""
    folder = trio.Path(path.parent / "folder")
    await folder.mkdir()
    async with opened(f"sqlite:///{folder}/store.db") as store:
        aside = await folder.rename(path.parent / "aside")
        await folder.symlink_to(folder)  # which leads in a circle
        assert await store.renew()
        await folder.unlink()
        await aside.rename(folder)
