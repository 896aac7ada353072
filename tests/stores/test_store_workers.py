"""Leases, beacons, and what becomes of what a worker leaves behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from nurselog._errors import StoreTooNew
from nurselog._stores._sqlite import beacon
from nurselog.testing.stores.records import (
    LEASE,
    StandingClock,
    claim_due,
)
from tests.stores.kit import beacons, database, files, opened

# -- the lease


async def test_who_begins_anew_has_one_beacon(file_url: str, clock: StandingClock, tmp_path: Path) -> None:
    async with opened(file_url, clock, duration=LEASE) as store:
        [before] = beacons(tmp_path)
        await store.reenter()
        [after] = beacons(tmp_path)
        assert after != before
        assert not beacon.is_out(tmp_path / after)


async def test_who_was_removed_has_a_new_beacon(file_url: str, clock: StandingClock, tmp_path: Path) -> None:
    async with opened(file_url, clock, "a", LEASE) as a, opened(file_url, clock, "b") as b:
        lit = beacons(tmp_path)
        clock.now += LEASE
        assert await claim_due(b, "b") == []
        assert len(beacons(tmp_path)) == 1, "the dead one's beacon is removed, although its lock is held"
        assert not await a.renew()
        assert len(beacons(tmp_path)) == 2
        assert len({*lit, *beacons(tmp_path)}) == 3, "it has a new beacon"


async def test_a_newer_schema_turns_an_older_release_away(path: Path, file_url: str) -> None:
    async with opened(file_url) as store:
        with database(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreTooNew, match="version 99"):
            await store.renew()


# -- coming and going


async def test_a_worker_says_where_it_is(path: Path, file_url: str, clock: StandingClock) -> None:
    async with opened(file_url, clock, "me", LEASE):
        with database(path) as connection:
            found = connection.execute("SELECT id, expires_at, pid, host, beacon FROM worker").fetchall()
        assert found == [("me", clock.now + LEASE, os.getpid(), socket.gethostname(), *beacons(path.parent))]


async def test_who_leaves_leaves_no_files_behind(path: Path, file_url: str, clock: StandingClock) -> None:
    async with opened(file_url, clock, "b"):
        async with opened(file_url, clock, "a"):
            pass
        with database(path) as connection:
            assert connection.execute("SELECT id FROM worker").fetchall() == [("b",)]
        assert len(beacons(path.parent)) == 1
    assert files(path.parent) == [path.name]


async def test_a_dead_worker_s_beacon_is_removed(file_url: str, clock: StandingClock, tmp_path: Path) -> None:
    async with opened(file_url, clock, "a", LEASE):
        clock.now += LEASE
        async with opened(file_url, clock, "a"):
            assert len(beacons(tmp_path)) == 1


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
