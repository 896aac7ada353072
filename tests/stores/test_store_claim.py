"""Taking workflows over."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nurselog._errors import StoreCorrupt
from nurselog._log.events import Claimed, Row, encode_event
from nurselog._log.lifecycle import NEXT, Status
from nurselog.abc import Append, Claim, Standing, Store, Wanted, Workflow, WorkflowKey
from tests.stores.kit import (
    FakeClock,
    append,
    claim_due,
    claim_keys,
    connection_of,
    create,
    creation,
    database,
    look,
    opened,
    opened_inline,
    row,
    rows,
    sleeping,
)


def ids(claims: object) -> list[str]:
    assert isinstance(claims, list)
    found: list[Claim] = claims
    return [claim.workflow.id for claim in found]


async def sleep_until(store: Store, key: WorkflowKey, due_at: int | None) -> None:
    assert not await append(store, Append(key=key, standing=sleeping(due_at)))


async def test_a_claim_is_the_row_the_log_and_the_messages(url: str, clock: FakeClock) -> None:
    async with opened(url, clock) as store:
        one, two = await create(store, creation("one", 7, length=3), creation("two", 8))
        await store.post(two, "note", b"first")
        await store.post(two, "cancel", b"\x00second")
        claims = await claim_due(store, "a")

        assert ids(claims) == ["one", "two"]
        first, second = claims
        assert first.workflow == Workflow(
            key=one,
            shard=first.workflow.shard,
            id="one",
            name="work",
            digest="d",
            status=Status.RUNNING,
            owner="a",
            due_at=0,
            created_at=0,
            updated_at=clock.now,
        )
        event = encode_event(Claimed(worker="a"))
        assert first.rows == [*rows(1, 3, 7), Row(4, clock.now, 0, first.writer, event)]
        assert second.rows == [*rows(1, 1, 8), Row(2, clock.now, 0, second.writer, event)]
        assert first.messages == []
        assert [(message.key, message.kind, message.body) for message in second.messages] == [
            (two, "note", b"first"),
            (two, "cancel", b"\x00second"),
        ]
        assert 0 < first.writer < 2**63
        assert first.writer != second.writer
        assert await store.read(one) == first.rows


async def test_the_time_in_a_log_never_goes_back(url: str, clock: FakeClock) -> None:
    async with opened(url, clock) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await append(store, Append(key=key, rows=[row(2, 7, at=clock.now + 50)], standing=sleeping(0)))
        [claim] = await claim_due(store, "a")
        assert claim.rows[-1].at == clock.now + 50


async def test_each_claim_has_a_writer_of_its_own(url: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one"))
        writers = set[int]()
        for _ in range(5):
            [claim] = await claim_due(store, "a")
            writers.add(claim.writer)
            await sleep_until(store, key, 0)
        assert len(writers) == 5


async def test_only_what_is_due_is_claimed_and_the_earliest_first(url: str, clock: FakeClock) -> None:
    async with opened(url, clock) as store:
        keys = await create(store, *(creation(id, owner="a") for id in ("late", "now", "early", "never", "owned")))
        for key, due_at in zip(keys, (clock.now + 1, clock.now, 3, None), strict=False):
            await sleep_until(store, key, due_at)
        assert ids(await claim_due(store, "a", limit=1)) == ["early"]
        assert ids(await claim_due(store, "a")) == ["now"]
        assert await claim_due(store, "a") == []
        clock.now += 1
        assert ids(await claim_due(store, "a")) == ["late"]


async def test_only_names_that_the_worker_has(url: str) -> None:
    async with opened(url) as store:
        await create(store, creation("one", name="ours"), creation("two", name="theirs"), creation("three", name="too"))
        assert await claim_due(store, "a", "nothing") == []
        assert ids(await claim_due(store, "a", "ours", "too")) == ["one", "three"]


async def test_what_is_due_at_the_same_time_is_first_come_first_served(ordered_url: str) -> None:
    """Else one function's workflows would wait as long as there are others whose name comes first."""
    async with opened(ordered_url) as store:
        names = ("work", "more", "also", "work", "more")
        await create(store, *(creation(f"w{number}", name=name) for number, name in enumerate(names)))
        assert ids(await claim_due(store, "a", *names, limit=2)) == ["w0", "w1"]
        assert ids(await claim_due(store, "a", *names, limit=2)) == ["w2", "w3"]


async def test_only_versions_that_the_worker_has(url: str) -> None:
    async with opened(url) as store:
        for id, version in (("old", "1"), ("new", "2"), ("none", None)):
            await create(store, msgspec.structs.replace(creation(id, name="ours"), version=version))
        wanted = Wanted(worker="a", names=frozenset(), versions=frozenset({("ours", "2")}), limit=9)
        assert ids(await store.claim(wanted)) == ["new"]
        assert ids(await claim_due(store, "a", "ours")) == ["old", "none"]


async def test_keys_are_claimed_whatever_their_name_and_due_time(url: str) -> None:
    async with opened(url) as store:
        one, two, three = await create(
            store, creation("one", owner="a"), creation("two", name="other"), creation("three")
        )
        await sleep_until(store, one, None)
        assert ids(await claim_keys(store, "a", one, two)) == ["one", "two"]
        assert (await look(store, "three")).owner is None
        assert await claim_keys(store, "a", one, two) == []
        assert ids(await claim_keys(store, "a", one, two, three)) == ["three"]


@pytest.mark.parametrize("status", [status for status in Status if status.final])
async def test_what_has_ended_is_never_claimed(url: str, status: Status) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", owner="a"))
        await append(store, Append(key=key, standing=Standing(status=status, due_at=None, release=True)))
        assert await claim_keys(store, "a", key) == []
        assert await claim_due(store, "a") == []


@pytest.mark.parametrize("status", [status for status in Status if not status.final])
async def test_what_is_claimed_runs_but_a_cancelled_one_goes_on_being_cancelled(url: str, status: Status) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", owner="a"))
        left = Standing(status=status, due_at=0, release=True, problem="was stuck")
        await append(store, Append(key=key, standing=left))
        [claim] = await claim_due(store, "a")
        expected = Status.CANCELLING if status is Status.CANCELLING else Status.RUNNING
        assert (claim.workflow.status, claim.workflow.problem) == (expected, None)
        assert expected in NEXT[status]


async def test_what_lives_is_left_alone(shared_url: str, clock: FakeClock) -> None:
    async with opened(shared_url, clock) as a, opened(shared_url, clock, "b") as b:
        one, two = await create(a, creation("one", owner="a"), creation("two", owner="b"))
        for store, worker in ((a, "a"), (b, "b")):
            assert await claim_due(store, worker) == []
            assert await claim_keys(store, worker, one, two) == []
        assert [await a.read(key) for key in (one, two)] == [rows(1, 1, 1)] * 2


async def test_a_thousand_at_once(ordered_url: str) -> None:
    async with opened(ordered_url) as store:
        await create(store, *(creation(f"w{number}", number + 1, length=12) for number in range(1000)))
        claims = await claim_due(store, "a")
        assert len({claim.writer for claim in claims}) == 1000
        for number, claim in enumerate(claims):
            assert claim.workflow.id == f"w{number}"
            assert claim.rows[:-1] == rows(1, 12, number + 1)
            assert (claim.rows[-1].seq, claim.rows[-1].writer) == (13, claim.writer)


async def test_a_workflow_without_a_log_gets_one(url: str) -> None:
    async with opened(url) as store:
        await create(store, creation("one", length=0))
        [claim] = await claim_due(store, "a")
        assert [row.seq for row in claim.rows] == [1]


async def test_what_cannot_be_read_is_not_owned(path: Path, file_url: str) -> None:
    """Its owner would not know of it, and it would never be claimed again."""
    async with opened_inline(file_url) as store:
        await create(store, creation("one"))
        with database(path) as connection:
            connection.execute("UPDATE log SET after = 'nonsense'")
        with pytest.raises(StoreCorrupt):
            await claim_due(store, "a")
        assert (await look(store, "one")).owner is None
        connection_of(store).execute("DELETE FROM log")
        [claim] = await claim_due(store, "a")
        assert len(claim.rows) == 1
