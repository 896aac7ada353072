"""What goes wrong with files and disks, provoked for real."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from nurselog._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from nurselog._stores import open_store, sqlite
from nurselog._stores._sqlite import faults, queries, schema, workers
from nurselog._stores._sqlite.bulk import CHUNK, transaction
from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog._stores._sqlite.session import Session
from nurselog._stores.sqlite import SqliteStore, parse_url
from nurselog.abc import Append, Lease, WorkflowKey
from nurselog.testing.stores.records import LONG, StandingClock, append, create, creation, row, rows, using
from tests.stores.kit import connection_of, content, database, opened, opened_inline, overwrite, restrict

T = TypeVar("T")

ME = Lease(worker="a", duration=LONG)
NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Make a folder, and be somebody whom the system can refuse something, also where the tests run as root."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    schema.load_migrations()  # Python imports more for it, from where nobody may perhaps not read
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield folder
    finally:
        if root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for locks."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.02)


async def test_a_folder_that_is_read_only(unprivileged: Path, clock: StandingClock) -> None:
    restrict(unprivileged, 0o500)
    with pytest.raises(StoreReadOnly, match="folder is read-only"):
        await open_store(f"sqlite:///{unprivileged}/store.db", clock=clock).open(ME)


async def test_a_file_that_is_read_only(unprivileged: Path, clock: StandingClock) -> None:
    url = f"sqlite:///{unprivileged}/store.db"
    async with opened(url, clock) as store:
        await create(store, creation("one"))
    restrict(unprivileged / "store.db", 0o400)
    with pytest.raises(StoreReadOnly, match="read-only"):
        await open_store(url, clock=clock).open(ME)


async def test_a_file_that_becomes_read_only(file_url: str) -> None:
    async with opened_inline(file_url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        connection_of(store).execute("PRAGMA query_only = on")
        with pytest.raises(StoreReadOnly):
            await append(store, Append(key=key, rows=rows(2, 2, 7)))
        connection_of(store).execute("PRAGMA query_only = off")
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7)))


async def test_a_full_disk_loses_nothing(file_url: str) -> None:
    async with opened_inline(file_url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        [(pages,)] = connection_of(store).execute("PRAGMA page_count")
        connection_of(store).execute(f"PRAGMA max_page_count = {pages + 1}")
        large = [row(2, 7, value=bytes(100_000)), *rows(3, 4, 7)]
        batches = [[Append(key=key, rows=large)], [Append(key=key, rows=large), Append(key=WorkflowKey(99))]]
        for batch in batches:
            with pytest.raises(StoreUnavailable, match="no room"):
                await append(store, *batch)
            assert await store.read(key) == rows(1, 1, 7)
        connection_of(store).execute("PRAGMA max_page_count = 100000")
        assert await append(store, *batches[1]) == {99}
        assert (await store.read(key))[1:] == large


async def test_a_batch_of_several_statements_is_written_whole_or_not_at_all(file_url: str) -> None:
    async with opened_inline(file_url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        [(pages,)] = connection_of(store).execute("PRAGMA page_count")
        connection_of(store).execute(f"PRAGMA max_page_count = {pages + 200}")
        fits = rows(2, CHUNK + 1, 7)
        batch = Append(key=key, rows=[*fits, row(CHUNK + 2, 7, value=bytes(1_000_000))])
        with pytest.raises(StoreUnavailable, match="no room"):
            await append(store, batch)
        assert await store.read(key) == rows(1, 1, 7)
        assert not await append(store, Append(key=key, rows=fits))


def test_a_transaction_that_sqlite_has_rolled_back_by_itself(path: Path) -> None:
    """As it does where the disk is full; a second ROLLBACK would be an error that hides the first."""
    with database(path) as connection:
        connection.execute("CREATE TABLE heap (thing)")
        connection.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as caught, transaction(connection):
            connection.execute("INSERT INTO heap VALUES (zeroblob(100000))")
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
        assert connection.execute("SELECT count(*) FROM heap").fetchone() == (0,)


@pytest.mark.usefixtures("hasty")
async def test_a_lock_that_somebody_keeps(path: Path, file_url: str) -> None:
    async with opened(file_url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        with database(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for batch in ([Append(key=key, rows=rows(2, 2, 7))], [Append(key=key)]):
                with pytest.raises(StoreUnavailable, match="lock"):
                    await append(store, *batch)
            assert await store.read(key) == rows(1, 1, 7), "reading goes on"
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7)))


@pytest.mark.usefixtures("hasty")
async def test_opening_under_a_lock(path: Path, file_url: str, clock: StandingClock) -> None:
    with database(path) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="lock"):
            await open_store(file_url, clock=clock).open(ME)
    async with opened(file_url):
        pass


def test_the_switch_to_the_write_ahead_log_waits_for_others(path: Path) -> None:
    """SQLite itself does not."""
    tries = 0

    class Blocked(sqlite3.Connection):
        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            nonlocal tries
            if sql.startswith("PRAGMA journal_mode"):
                tries += 1
                if tries == 1:
                    with database(path) as other:
                        other.execute("BEGIN EXCLUSIVE")
                        return super().execute(sql)
            return super().execute(sql, *parameters)  # type: ignore[arg-type]  # passed on as they are

    connection = sqlite3.connect(path, isolation_level=None, timeout=0, factory=Blocked)
    assert schema._start_write_ahead(connection) == "wal"
    assert tries == 2
    connection.close()


def test_the_switch_to_the_write_ahead_log_fails_for_other_reasons_at_once(path: Path) -> None:
    path.write_text("Dear diary,\n" * 1000)
    with database(path) as connection, pytest.raises(sqlite3.DatabaseError) as caught:
        schema._start_write_ahead(connection)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_NOTADB


def test_the_switch_to_the_write_ahead_log_does_not_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", -1)
    with database(path) as other, contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            schema._start_write_ahead(connection)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY


async def test_a_damaged_file(path: Path, file_url: str, clock: StandingClock) -> None:
    async with opened(file_url, clock) as store:
        await create(store, *(creation(f"w{number}", length=20) for number in range(100)))
    whole = content(path)
    overwrite(path, whole[:8192] + b"\xa5" * len(whole[8192:]))
    with pytest.raises(StoreCorrupt, match="damaged"):
        async with opened(file_url, clock) as store:
            await store.find(["w1"])


async def test_a_row_that_nurselog_never_writes(path: Path, file_url: str) -> None:
    async with opened(file_url) as store:
        await create(store, creation("one"))
        with database(path) as connection:
            connection.execute("UPDATE workflow SET status = 'dreaming'")
        with pytest.raises(StoreCorrupt, match="dreaming"):
            await store.find(["one"])


async def test_what_nobody_expects(file_url: str) -> None:
    async with opened_inline(file_url) as store:
        connection_of(store).execute("ALTER TABLE log RENAME TO mislaid")
        with pytest.raises(StoreError, match="SQLITE_ERROR") as caught:
            await store.read(WorkflowKey(1))
        assert type(caught.value) is StoreError
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


def test_an_error_of_the_module_itself_has_no_code() -> None:
    error = faults.translate(sqlite3.ProgrammingError("one thing"), "url")
    assert type(error) is StoreError
    assert "ProgrammingError: one thing" in str(error)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailable),
        (sqlite3.SQLITE_BUSY_RECOVERY, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, StoreUnavailable),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StoreReadOnly),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreCorrupt),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, StoreError),
    ],
)
def test_extended_codes_mean_what_their_primary_ones_mean(code: int, expected: type[StoreError]) -> None:
    error = sqlite3.OperationalError("text that nobody reads")
    error.sqlite_errorcode, error.sqlite_errorname = code, "NAME"
    assert type(faults.translate(error, "url")) is expected


# -- a lock that lasts


class LateExecutor(InlineExecutor):
    """Runs each job after a while, as a thread does that has others to do first."""

    def __init__(self) -> None:
        self.now = self.late = 0.0

    def monotonic(self) -> float:
        return self.now

    async def run(self, job: Callable[[], T]) -> T:
        self.now += self.late
        return await super().run(job)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> LateExecutor:
    executor = LateExecutor()
    monkeypatch.setattr(sqlite, "monotonic", executor.monotonic)
    return executor


async def test_the_wait_for_a_lock_counts_from_the_call(file_url: str, executor: LateExecutor) -> None:
    """Else each call that waits behind another would wait as long once more: at the engine's end, for minutes."""
    store = SqliteStore(parse_url(file_url), executor, StandingClock())
    async with using(store, "a", LONG):
        for late, left in ((0.0, 5000), (0.4, 5000), (3.0, 2000), (5.0, 0), (60.0, 0), (0.0, 5000)):
            executor.late = late
            assert await store.renew()
            [(timeout,)] = connection_of(store).execute("PRAGMA busy_timeout")
            assert timeout == left


@pytest.mark.parametrize(("locked", "left"), [(True, [0]), (False, [5000])])
async def test_closing_waits_for_no_lock_that_was_waited_for(
    file_url: str,
    path: Path,
    executor: LateExecutor,
    monkeypatch: pytest.MonkeyPatch,
    locked: bool,  # noqa: FBT001 - a parameter of the test
    left: list[int],
) -> None:
    """The row of a worker that has left is a courtesy: its beacon tells the same."""
    seen: list[int] = []
    leave = workers.leave

    def look(session: Session) -> None:
        seen.extend(timeout for (timeout,) in session.connection.execute("PRAGMA busy_timeout"))
        leave(session)

    monkeypatch.setattr(workers, "leave", look)
    store = SqliteStore(parse_url(file_url), executor, StandingClock())
    with database(path) as other:
        async with using(store, "a", LONG):
            other.execute("BEGIN IMMEDIATE")
            executor.late = 60.0
            with pytest.raises(StoreUnavailable, match="holds a lock"):
                await store.renew()
            executor.late = 0.0
            other.execute("ROLLBACK")
            if not locked:
                assert await store.renew()
    assert seen == left


async def test_who_could_not_look_returns_when_it_can(file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has written; but the one who waits has told of an outage, and wants to tell of its end."""

    def locked(_: object) -> bool:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    async with opened(file_url) as store:
        with monkeypatch.context() as patch, pytest.raises(StoreUnavailable):
            patch.setattr(queries, "changed", locked)
            await store.wait_changed()
        with trio.fail_after(60):
            await store.wait_changed()
        with trio.move_on_after(3 * sqlite.POLL) as scope:
            await store.wait_changed()
        assert scope.cancelled_caught, "it was told once"
