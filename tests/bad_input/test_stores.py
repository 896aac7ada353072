"""Databases that cannot be used, or not just now; and a lease that is lost while a commit is in flight."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio

from nurselog import (
    NurselogError,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
    StoreTooNew,
    StoreUnavailable,
    open_engine,
    step,
    workflow,
)
from nurselog._stores._sqlite import schema
from nurselog.abc import Batch
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store, in_background, kinds, on_file, sql

Clock = trio.testing.MockClock


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@workflow
async def napping(seconds: float, times: int = 1) -> list[float]:
    return [await nap(seconds) for _ in range(times)]


async def refused(url: str, error: type[StoreError]) -> str:
    with pytest.raises(error) as caught:
        async with open_engine(url, [napping]):
            pytest.fail("it must not open")
    assert type(caught.value) is error
    return str(caught.value)


async def used(path: Path) -> None:
    """Make a database with one workflow that has ended."""
    async with open_engine(f"sqlite:///{path}", [napping]) as engine:
        await engine.run(napping, 0.0, id="one")


# -- at opening ----------------------------------------------------------------------------------


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"no database at all" * 1000)
    assert "no SQLite database" in await refused(f"sqlite:///{path}", StoreCorrupt)
    assert path.read_bytes() == b"no database at all" * 1000


async def test_a_database_of_another_application(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    sql(path, "CREATE TABLE notes (text)")
    assert "another application" in await refused(f"sqlite:///{path}", StoreCorrupt)


async def test_a_database_of_a_newer_release(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await used(path)
    sql(path, "PRAGMA user_version = 99")
    assert "Install a newer nurselog; nothing was changed" in await refused(f"sqlite:///{path}", StoreTooNew)


async def test_a_database_that_is_upgraded_under_a_running_engine(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with pytest.raises(StoreTooNew):
        async with on_file(path, napping) as engine:
            handle = await engine.submit(napping, 100.0)
            await trio.sleep(1)
            sql(path, "PRAGMA user_version = 99")
            await handle.result()


async def test_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await used(path)
    sql(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(bytes(data))
    assert "damaged" in await refused(f"sqlite:///{path}", StoreCorrupt)


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "does its folder exist" in await refused(f"sqlite:///{tmp_path}/nowhere/log.db", StoreUnavailable)


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that the user, for whom all is read-only, may look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if os.getresuid()[2] == 0:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def drop_rights(folder: Path) -> None:
    folder.chmod(0o555)
    if os.getuid() == 0:
        os.setresuid(65534, 65534, 0)


async def test_a_read_only_file(as_nobody: Path) -> None:
    path = as_nobody / "log.db"
    await used(path)
    path.chmod(0o444)
    drop_rights(as_nobody)
    assert "read-only" in await refused(f"sqlite:///{path}", StoreReadOnly)


async def test_a_read_only_folder(as_nobody: Path) -> None:
    drop_rights(as_nobody)
    assert "read-only" in await refused(f"sqlite:///{as_nobody}/log.db", StoreReadOnly)


# -- locked --------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite wait for a lock only shortly."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_is_locked_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await used(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "holds a lock" in await refused(f"sqlite:///{path}", StoreUnavailable)
        other.execute("ROLLBACK")
    await used(path)


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_is_locked_for_a_while(
    autojump_clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everybody waits, and goes on where they were."""
    path = tmp_path / "log.db"
    async with on_file(path, napping, lease=1000) as engine:
        handle = await engine.submit(napping, 1.0, 10)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            await trio.sleep(3.5)
            other.execute("BEGIN IMMEDIATE")
            before = await kinds(handle)
            await trio.sleep(20)
            assert await kinds(handle) == before
            assert engine.statistics().commit_lag > 15
            other.execute("ROLLBACK")
        assert await handle.result() == [1] * 10
        assert (await kinds(handle)).count("StepEnded") == 10
    assert "the store is unavailable, workflows wait" in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_submit_to_a_locked_database_waits(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    results: list[object] = []
    async with on_file(path, napping, lease=1000) as engine:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            async def run() -> None:
                results.append(await engine.run(napping, 1.0))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await trio.sleep(10)
                assert results == []
                other.execute("ROLLBACK")
    assert results == [[1.0]]


@pytest.mark.usefixtures("impatient")
async def test_a_lock_longer_than_the_lease(autojump_clock: Clock, tmp_path: Path) -> None:
    """The lease cannot be renewed: all is suspended, and taken up again when the lock is gone."""
    path = tmp_path / "log.db"
    async with on_file(path, napping, lease=10) as engine:
        handle = await engine.submit(napping, 5.0, 3)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            await trio.sleep(7)
            other.execute("BEGIN IMMEDIATE")
            await trio.sleep(30)
            assert engine.statistics().running == 0
            other.execute("ROLLBACK")
        assert await handle.result() == [5] * 3
        assert (await kinds(handle)).count("StepEnded") == 3


@pytest.mark.usefixtures("impatient")
async def test_closing_an_engine_whose_database_is_locked(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other, suppress(StoreUnavailable):
        async with on_file(path, napping) as engine:
            await engine.submit(napping, 5.0, 3, id="one")
            await trio.sleep(7)
            other.execute("BEGIN IMMEDIATE")
            await trio.sleep(1)
    async with on_file(path, napping) as engine:
        assert await (await engine.get("one")).result() == [5] * 3


# -- broken while running ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreCorrupt("broken"), StoreReadOnly("broken"), StoreError("broken")])
async def test_a_store_that_breaks_ends_the_engine_with_its_error(
    autojump_clock: Clock, tmp_path: Path, error: StoreError
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))

    async def break_(_: Batch) -> None:
        raise error

    caught: BaseException | None = None
    try:
        async with open_engine(store, [napping], clock=clock) as engine:
            handle = await engine.submit(napping, 5.0, 3, id="one")
            await trio.sleep(7)
            store.before_commit = break_
            await handle.result()
    except BaseException as exc:  # noqa: BLE001 - it is looked at
        caught = exc
    assert caught is error
    async with on_file(path, napping, clock=clock) as engine:
        assert await (await engine.get("one")).result() == [5] * 3


def delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


def delete_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def replace(path: Path) -> None:
    twin = path.with_name("twin.db")
    shutil.copy(path, twin)
    twin.replace(path)


@pytest.mark.parametrize("lose", [delete, delete_log, replace])
@pytest.mark.parametrize("seconds", [5.0, 1000.0], ids=["busy", "idle"])
async def test_a_file_that_is_lost_under_a_running_engine_ends_it(
    autojump_clock: Clock, tmp_path: Path, lose: Callable[[Path], None], seconds: float
) -> None:
    """Whatever goes into the old one is gone when it is closed, and nothing of it may be called durable."""
    path = tmp_path / "log.db"
    with pytest.raises(StoreCorrupt, match=r"was deleted or replaced while it was open(?s:.)*-wal"):
        async with on_file(path, napping) as engine:
            handle = await engine.submit(napping, seconds, 100)
            await trio.sleep(7)
            lose(path)
            try:
                for _ in range(1000):  # the files are looked at a hundred times a second
                    await engine.run(napping, 0.0)
            except NurselogError:
                await handle.result()
            pytest.fail("it must end")


async def test_an_answer_that_was_lost_is_not_written_twice(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store = Hooked(file_store(path, clock))
    losses = 0

    async def lose(_: Batch) -> None:
        nonlocal losses
        losses += 1
        if losses % 2:
            raise StoreUnavailable("the answer was lost")

    store.after_commit = lose
    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, 1.0, 5)
        assert await handle.result() == [1] * 5
        assert (await kinds(handle)).count("StepEnded") == 5
        assert [entry.seq for entry in await handle.log()] == list(range(1, len(await handle.log()) + 1))
    assert losses > 6


async def test_who_waits_for_a_result_waits_for_the_store_too(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def away() -> None:
        if trio.current_time() < 60:
            raise StoreUnavailable("away")

    async with open_engine(store, [napping], clock=clock) as engine:
        handle = await engine.submit(napping, 1.0, 2)
        await trio.sleep(10)  # it has ended, and is in the store only
        store.before_find = store.after_read = away
        assert await handle.result() == [1, 1]
        assert trio.current_time() >= 60


async def test_a_lease_that_is_lost_while_a_commit_is_in_flight(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    store, go_on = Hooked(file_store(path, clock)), trio.Event()
    async with open_engine(store, [napping], clock=clock) as a:
        handle = await a.submit(napping, 5.0, 2)

        async def hold(batch: Batch) -> None:
            if batch.appends:
                await go_on.wait()

        store.before_commit = hold
        store.before_renew = go_on.wait
        results: list[object] = []

        async def wait() -> None:
            results.append(await handle.result())

        async with in_background(wait):
            await trio.sleep(6)  # the first outcome is on its way
            async with on_file(path, napping, clock=clock) as b:
                results.append(await (await b.get(handle.id)).result())
                go_on.set()
        log = await handle.log()
        assert len({entry.seq for entry in log}) == len(log)
        assert (await kinds(handle)).count("StepEnded") == 2
    assert results == [[5, 5], [5, 5]]


# -- full ----------------------------------------------------------------------------------------

FULL = """
import logging, resource, sys, trio
from nurselog import open_engine, step, workflow

@step
async def fill(n: int) -> str:
    return "x" * 100_000

@workflow
async def filling(times: int) -> int:
    return sum([len(await fill(n)) for n in range(times)])

class RoomAgain(logging.Handler):
    def emit(self, record):
        print(record.getMessage().split(":")[0], flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

async def main(url):
    async with open_engine(url, [filling]) as engine:
        await engine.run(filling, 1)
        logging.getLogger("nurselog").addHandler(RoomAgain())
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        print(await engine.run(filling, 30))

trio.run(main, sys.argv[1])
"""


def test_a_full_disk_makes_everybody_wait(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"sqlite:///{tmp_path / 'log.db'}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *warnings, total = done.stdout.splitlines()
    assert total == "3000000"
    assert set(warnings) == {"the store is unavailable, workflows wait"}
