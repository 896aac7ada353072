"""What every store must do, asked of ours: in memory, in a file, in PostgreSQL and in shards of it.

The checks are `nurselog.testing.stores`. What stands here beside them looks behind the stores' back.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path

import pytest

from nurselog import Status, StoreCorrupt
from nurselog._stores._sqlite.bulk import BUCKET, CHUNK
from nurselog.abc import Append
from nurselog.testing.stores import CHECKS, Bench, Check, StandingClock
from nurselog.testing.stores.asking import MEGABYTE
from nurselog.testing.stores.fencing import LONG_APPEND, SEEDS, tear
from nurselog.testing.stores.living import an_expired_lease_is_enough
from nurselog.testing.stores.records import append, claim_due, create, creation, look, note, over, rows
from nurselog.testing.stores.writing import LENGTHS
from tests.stores.kit import connection_of, database, opened, opened_inline, receivers, store_at

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where this is needed
    from nurselog._stores._postgres import voice


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_the_contract(check: Check, url: str, *, ordered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if url.startswith("postgresql:"):
        monkeypatch.setattr(voice, "POLL", 1e9)  # it is told, and does not just look
    check(partial(store_at, url), ordered=ordered)


def test_the_contract_knows_where_our_stores_cut() -> None:
    assert {CHUNK - 1, CHUNK, CHUNK + 1} <= {*LENGTHS}
    assert max(LENGTHS) > 2 * CHUNK
    assert CHUNK < LONG_APPEND
    assert BUCKET == MEGABYTE


@pytest.mark.usefixtures("no_locks")
def test_an_expired_lease_is_enough_where_there_are_no_beacons(file_url: str) -> None:
    an_expired_lease_is_enough(partial(store_at, file_url))


async def test_a_log_is_never_torn_however_often_one_pulls(shared_url: str, clock: StandingClock, scale: int) -> None:
    for seed in range(SEEDS.stop, SEEDS.stop + 10 * scale - 9):
        await tear(Bench(partial(store_at, shared_url), clock), seed)


@pytest.mark.parametrize("status", [status for status in Status if status.final])
async def test_an_ended_workflow_keeps_no_messages(shared_url: str, status: Status) -> None:
    async with opened(shared_url) as store:
        [key, other] = await create(store, creation("one", 7, owner="a"), creation("other", owner="a"))
        await store.post([note(key, b"too late")])
        await store.post([note(other, b"not for the one that ends")])
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=over(status)))
        await store.post([note(key, b"much too late")])
        assert receivers(shared_url) == [other]


async def test_a_workflow_without_a_log_gets_one(url: str) -> None:
    async with opened(url) as store:
        await create(store, creation("one", length=0))
        [claim] = await claim_due(store, "a")
        assert [row.seq for row in claim.rows] == [1]


async def test_what_cannot_be_read_is_claimed_again(path: Path, file_url: str) -> None:
    """Its owner does not know of it: the next claim must bring it, whatever became of the one before."""
    async with opened_inline(file_url) as store:
        await create(store, creation("one"))
        with database(path) as connection:
            connection.execute("UPDATE log SET after = 'nonsense'")
        for _ in range(2):
            with pytest.raises(StoreCorrupt):
                await claim_due(store, "a")
        connection_of(store).execute("DELETE FROM log")
        [claim] = await claim_due(store, "a")
        assert len(claim.rows) == 1


async def test_what_cannot_be_read_is_not_owned_for_long(path: Path, file_url: str) -> None:
    """A worker that has no room claims nothing more, and others may have room: its next heartbeat is enough."""
    async with opened_inline(file_url) as store:
        await create(store, creation("one"))
        with database(path) as connection:
            connection.execute("UPDATE log SET after = 'nonsense'")
        with pytest.raises(StoreCorrupt):
            await claim_due(store, "a")
        assert await store.renew()
        assert (await look(store, "one")).owner is None


async def test_what_is_shared(file_url: str, postgres_url: str) -> None:
    for url, shared in ((file_url, True), (postgres_url, True), ("sqlite://", False)):
        async with opened(url) as store:
            assert store.shared is shared
