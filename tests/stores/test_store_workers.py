"""Leases, beacons, and what becomes of what a worker leaves behind."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from nurselog._errors import StoreTooNew, StoreUnavailable
from nurselog._log.lifecycle import Status
from nurselog._stores._sqlite import beacon
from nurselog.abc import Append, Creation
from tests.stores.kit import (
    LEASE,
    FakeClock,
    append,
    beacons,
    claim_due,
    claim_keys,
    create,
    creation,
    database,
    files,
    look,
    opened,
    rows,
)


def running(id: str, owner: str) -> Creation:
    return creation(id, 7, owner=owner, status=Status.RUNNING)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file be locked, as on some network file systems."""

    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(beacon, "flock", refuse)


# -- the lease


async def test_a_lease_is_renewed(url: str, clock: FakeClock) -> None:
    async with opened(url, clock, duration=LEASE) as store:
        [key] = await create(store, running("one", "a"))
        for _ in range(3):
            clock.now += LEASE - 1
            assert await store.renew()
        assert (await look(store, "one")).owner == "a"
        assert await claim_keys(store, "a", key) == []


async def test_who_is_too_late_owns_nothing_and_begins_anew(url: str, clock: FakeClock) -> None:
    async with opened(url, clock, duration=LEASE) as store:
        [key] = await create(store, running("one", "a"))
        clock.now += LEASE
        assert not await store.renew()
        assert (await look(store, "one")).owner is None
        [claim] = await claim_due(store, "a")
        assert claim.workflow.key == key
        assert await append(store, Append(key=key, rows=rows(2, 2, 7))) == {key}
        assert await store.renew()
        assert (await look(store, "one")).owner == "a"


async def test_who_begins_anew_has_one_beacon(file_url: str, clock: FakeClock, tmp_path: Path) -> None:
    async with opened(file_url, clock, duration=LEASE) as store:
        [before] = beacons(tmp_path)
        clock.now += LEASE
        assert not await store.renew()
        [after] = beacons(tmp_path)
        assert after != before
        assert not beacon.is_out(tmp_path / after)


async def test_who_was_removed_has_a_new_beacon(file_url: str, clock: FakeClock, tmp_path: Path) -> None:
    async with opened(file_url, clock, "a", LEASE) as a, opened(file_url, clock, "b") as b:
        lit = beacons(tmp_path)
        clock.now += LEASE
        assert await claim_due(b, "b") == []
        assert len(beacons(tmp_path)) == 1, "the dead one's beacon is removed, although its lock is held"
        assert not await a.renew()
        assert len(beacons(tmp_path)) == 2
        assert len({*lit, *beacons(tmp_path)}) == 3, "it has a new beacon"


async def test_who_was_removed_owns_nothing_and_begins_anew(shared_url: str, clock: FakeClock) -> None:
    async with opened(shared_url, clock, "a", LEASE) as a, opened(shared_url, clock, "b") as b:
        [key] = await create(a, running("one", "a"))
        clock.now += LEASE
        [claim] = await claim_due(b, "b")
        assert not await a.renew()
        assert await a.renew()
        assert await claim_keys(a, "a", key) == []
        assert await append(a, Append(key=key, rows=rows(2, 2, 7))) == {key}
        assert not await append(b, Append(key=key, rows=rows(3, 3, claim.writer)))


async def test_a_worker_that_enters_anew_has_nothing_in_its_hands(url: str, clock: FakeClock) -> None:
    """Although its lease was good: it has forgotten what it ran."""
    async with opened(url, clock, "a") as store:
        [key] = await create(store, running("one", "a"))
        assert await claim_due(store, "a") == []
        await store.reenter()
        [claim] = await claim_due(store, "a")
        assert claim.workflow.key == key
        assert await store.renew()


async def test_without_a_lease_nothing_is_claimed(shared_url: str, clock: FakeClock) -> None:
    """Nobody could see that the claimer is gone, and what it owns would be lost."""
    async with opened(shared_url, clock, "a", LEASE) as a, opened(shared_url, clock, "b") as b:
        await create(b, creation("one"))
        clock.now += LEASE
        assert await claim_due(a, "a") == []
        assert await a.renew() is False
        assert len(await claim_due(a, "a")) == 1


@pytest.mark.usefixtures("no_locks")
async def test_an_expired_lease_is_enough(shared_url: str, clock: FakeClock) -> None:
    async with opened(shared_url, clock, "a", LEASE) as a, opened(shared_url, clock, "b") as b:
        [key] = await create(a, running("one", "a"))
        clock.now += LEASE - 1
        assert await claim_keys(b, "b", key) == []
        clock.now += 1
        assert len(await claim_keys(b, "b", key)) == 1
        assert not await a.renew()


async def test_a_newer_schema_turns_an_older_release_away(path: Path, file_url: str) -> None:
    async with opened(file_url) as store:
        with database(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreTooNew, match="version 99"):
            await store.renew()


# -- coming and going


async def test_a_worker_says_where_it_is(path: Path, file_url: str, clock: FakeClock) -> None:
    async with opened(file_url, clock, "me", LEASE):
        with database(path) as connection:
            found = connection.execute("SELECT id, expires_at, pid, host, beacon FROM worker").fetchall()
        assert found == [("me", clock.now + LEASE, os.getpid(), socket.gethostname(), *beacons(path.parent))]


async def test_who_leaves_leaves_its_workflows(shared_url: str, clock: FakeClock) -> None:
    async with opened(shared_url, clock, "b") as b:
        async with opened(shared_url, clock, "a") as a:
            [key] = await create(a, running("one", "a"))
            assert await claim_keys(b, "b", key) == []
        assert [claim.workflow.key for claim in await claim_due(b, "b")] == [key]


async def test_who_leaves_leaves_no_files_behind(path: Path, file_url: str, clock: FakeClock) -> None:
    async with opened(file_url, clock, "b"):
        async with opened(file_url, clock, "a"):
            pass
        with database(path) as connection:
            assert connection.execute("SELECT id FROM worker").fetchall() == [("b",)]
        assert len(beacons(path.parent)) == 1
    assert files(path.parent) == [path.name]


async def test_two_living_workers_cannot_have_one_id(shared_url: str, clock: FakeClock) -> None:
    async with opened(shared_url, clock, "a") as store:
        await create(store, running("one", "a"))
        with pytest.raises(StoreUnavailable, match="'a' is alive"):
            async with opened(shared_url, clock, "a"):
                pytest.fail("a second worker 'a' was let in")
        assert (await look(store, "one")).owner == "a"
        assert await store.renew()


async def test_a_dead_worker_s_id_is_free(shared_url: str, clock: FakeClock, tmp_path: Path) -> None:
    async with opened(shared_url, clock, "a", LEASE) as former:
        await create(former, running("one", "a"))
        clock.now += LEASE
        async with opened(shared_url, clock, "a") as store:
            assert len(beacons(tmp_path)) <= 1
            assert (await look(store, "one")).owner is None
            assert len(await claim_due(store, "a")) == 1


# -- beacons


def test_a_beacon_that_is_lit_is_seen(path: Path) -> None:
    lit = beacon.light(path)
    assert lit
    file = path.with_name(lit.name)
    assert not beacon.is_out(file)
    assert not beacon.is_out(file), "looking does not put it out"
    os.close(os.dup(lit._fd))
    assert not beacon.is_out(file)
    lit.put_out()
    assert not file.exists()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(lit._fd)


def test_a_beacon_goes_out_with_its_file_descriptor(path: Path) -> None:
    lit = beacon.light(path)
    assert lit
    file = path.with_name(lit.name)
    os.close(lit._fd)
    assert beacon.is_out(file)
    beacon.remove(file)
    assert not file.exists()


def test_a_beacon_that_is_missing_says_nothing(path: Path) -> None:
    assert not beacon.is_out(path)
    beacon.remove(path)


@pytest.mark.usefixtures("no_locks")
def test_where_there_are_no_locks_there_is_no_beacon(path: Path) -> None:
    assert beacon.light(path) is None
    assert not beacons(path.parent)


def test_where_no_file_can_be_made_there_is_no_beacon(path: Path) -> None:
    assert beacon.light(path / "missing" / "store.db") is None


@pytest.mark.usefixtures("no_locks")
def test_a_beacon_that_cannot_be_locked_says_nothing(path: Path) -> None:
    path.touch()
    assert not beacon.is_out(path)
