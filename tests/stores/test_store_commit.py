"""Writing: creations, appends, standings, messages; and the fence."""

from __future__ import annotations

import random

import pytest

from nurselog._log.events import Ended, Result, Row, encode_event
from nurselog._log.lifecycle import Status
from nurselog._stores._sqlite.bulk import CHUNK
from nurselog.abc import Append, Batch, Standing, Store, Workflow, WorkflowKey
from tests.stores.kit import (
    FakeClock,
    append,
    claim_due,
    claim_keys,
    create,
    creation,
    look,
    opened,
    over,
    receivers,
    row,
    rows,
    sleeping,
)

HIGHEST = 2**63 - 1


async def seqs(store: Store, key: WorkflowKey) -> list[int]:
    return [row.seq for row in await store.read(key)]


# -- creations


async def test_a_creation_makes_a_workflow_and_its_log(url: str) -> None:
    async with opened(url) as store:
        first, second = creation("one", 7, at=3, length=2), creation("two", 8, owner="a", status=Status.RUNNING)
        receipt = await store.commit(Batch(creations=[first, second]))

        assert [created.new for created in receipt.created] == [True, True]
        one, two = (created.workflow for created in receipt.created)
        assert one == Workflow(
            key=one.key,
            shard=one.shard,
            id="one",
            name="work",
            digest="d",
            status=Status.PENDING,
            due_at=0,
            created_at=3,
            updated_at=3,
        )
        assert (two.id, two.owner, two.status) == ("two", "a", Status.RUNNING)
        assert await store.read(one.key) == first.rows
        assert await store.read(two.key) == second.rows


async def test_an_id_that_is_taken_is_left_as_it_is(url: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", 7, digest="old"))
        receipt = await store.commit(Batch(creations=[creation("two", 8), creation("one", 8, digest="new", length=3)]))

        assert [created.new for created in receipt.created] == [True, False]
        assert receipt.created[1].workflow == await look(store, "one")
        assert receipt.created[1].workflow.digest == "old"
        assert await seqs(store, key) == [1]


async def test_the_first_of_two_creations_with_one_id_wins(url: str) -> None:
    async with opened(url) as store:
        winner = creation("one", 7, digest="first")
        receipt = await store.commit(Batch(creations=[winner, winner, creation("one", 8, digest="second", length=2)]))

        assert [created.new for created in receipt.created] == [True, False, False]
        assert {created.workflow.digest for created in receipt.created} == {"first"}
        assert await store.read(receipt.created[0].workflow.key) == winner.rows


async def test_only_a_worker_that_is_there_may_own(url: str) -> None:
    async with opened(url) as store:
        await create(store, creation("one", owner="nobody"))
        assert (await look(store, "one")).owner is None


async def test_creations_and_appends_in_one_batch(url: str) -> None:
    async with opened(url) as store:
        [old] = await create(store, creation("old", 7, owner="a"))
        receipt = await store.commit(
            Batch(creations=[creation("new", 8)], appends=[Append(key=old, rows=rows(2, 3, 7))])
        )

        assert not receipt.refused
        assert await seqs(store, old) == [1, 2, 3]
        assert await seqs(store, receipt.created[0].workflow.key) == [1]


# -- rows


async def test_rows_come_back_as_they_went_in(url: str) -> None:
    async with opened(url) as store:
        every_byte = bytes(range(256))
        [key] = await create(store, creation("one", HIGHEST))
        written = [
            Row(2, 2**53 + 1, 2**40, HIGHEST, encode_event(Ended(result=Result.VALUE)), every_byte, 9),
            row(3, HIGHEST, event='{"kind":"patched","name":"ü\\"\\u0000\U0001f33f\\\\"}'.encode()),
            row(4, HIGHEST, value=b""),
            row(5, HIGHEST, value=None),
        ]
        assert not await append(store, Append(key=key, rows=written))
        assert (await store.read(key))[1:] == written


async def test_an_empty_batch_is_nothing(url: str) -> None:
    async with opened(url) as store:
        receipt = await store.commit(Batch())
        assert not receipt.created
        assert not receipt.refused


@pytest.mark.parametrize("length", [1, 2, 3, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5])
async def test_every_length_of_a_batch(url: str, length: int) -> None:
    async with opened(url) as store:
        one, two = await create(store, creation("one", 7, owner="a"), creation("two", 8, owner="a"))
        batch = [Append(key=two, rows=rows(2, length + 1, 8)), Append(key=one, rows=rows(2, 3, 7))]
        assert not await append(store, *batch)
        assert await seqs(store, two) == list(range(1, length + 2))
        assert await seqs(store, one) == [1, 2, 3]


async def test_rows_whose_answer_was_lost_are_ones_own(url: str) -> None:
    async with opened(url) as store:
        one, two = await create(store, creation("one", 7, owner="a"), creation("two", 8, owner="a"))
        batch = [Append(key=one, rows=rows(2, 3, 7)), Append(key=two, rows=rows(2, 2, 8))]
        assert not await append(store, *batch)
        assert not await append(store, *batch)
        assert not await append(store, Append(key=one, rows=rows(2, 5, 7)), Append(key=two, rows=rows(3, 3, 8)))
        assert await store.read(one) == rows(1, 5, 7)
        assert await store.read(two) == rows(1, 3, 8)


async def test_a_creation_whose_answer_was_lost_is_ones_own(url: str) -> None:
    async with opened(url) as store:
        batch = Batch(creations=[creation("one", 7, length=2), creation("two", 8)])
        assert [created.new for created in (await store.commit(batch)).created] == [True, True]
        assert [created.new for created in (await store.commit(batch)).created] == [True, True]
        other = Batch(creations=[creation("one", 9, length=2), creation("three", 9)])
        assert [created.new for created in (await store.commit(other)).created] == [False, True]


# -- the fence


async def test_who_was_taken_over_is_refused_and_others_are_not(url: str, clock: FakeClock) -> None:
    async with opened(url, clock) as store:
        lost, kept = await create(store, creation("lost", 7), creation("kept", 8, owner="a"))
        [claim] = await claim_due(store, "a")
        assert claim.workflow.key == lost

        assert await append(store, Append(key=lost, rows=rows(2, 3, 7)), Append(key=kept, rows=rows(2, 3, 8))) == {lost}
        assert await store.read(lost) == claim.rows
        assert await seqs(store, kept) == [1, 2, 3]


async def test_rows_behind_a_claim_are_refused_although_none_is_in_their_way(url: str) -> None:
    """The old owner has them in its queue when it learns that the rows before them were refused."""
    async with opened(url) as store:
        [key] = await create(store, creation("one", 7))
        await claim_due(store, "a")
        assert await append(store, Append(key=key, rows=rows(3, 4, 7))) == {key}
        assert await seqs(store, key) == [1, 2]


async def test_a_long_append_is_refused_whole(url: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", 7))
        [claim] = await claim_due(store, "a")
        assert await append(store, Append(key=key, rows=rows(2, CHUNK + 10, 7))) == {key}
        assert await store.read(key) == claim.rows


async def test_rows_from_before_a_takeover_bring_nothing_with_them(url: str) -> None:
    """The answer was lost, and the workflow was taken over before the old owner asked again."""
    async with opened(url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        batch = Append(key=key, rows=rows(2, 2, 7), standing=sleeping(0))
        assert not await append(store, batch)
        [claim] = await claim_due(store, "a")
        assert await append(store, batch) == {key}
        assert await look(store, "one") == claim.workflow


async def test_a_gap_is_refused(url: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        assert await append(store, Append(key=key, rows=rows(3, 4, 7))) == {key}
        assert await seqs(store, key) == [1]


async def test_a_workflow_that_does_not_exist_is_refused(url: str) -> None:
    async with opened(url) as store:
        ghosts = [WorkflowKey(1), WorkflowKey(2)]
        batch = [Append(key=ghosts[0], rows=rows(2, 2, 7)), Append(key=ghosts[1], standing=sleeping())]
        assert await append(store, *batch) == set(ghosts)


async def test_the_refused_keep_their_standing_and_their_messages(url: str, clock: FakeClock) -> None:
    async with opened(url, clock) as store:
        one, two = await create(store, creation("one", 7), creation("two", 8, owner="a"))
        await claim_due(store, "a")
        await store.post(one, "note", b"1")
        await store.post(two, "note", b"2")
        first, second = sorted(await store.messages(), key=lambda message: message.body)
        end = over()
        assert await append(
            store,
            Append(key=one, rows=rows(2, 2, 7), standing=end, taken=[first.number]),
            Append(key=two, rows=rows(2, 2, 8), standing=sleeping(9), taken=[second.number]),
        ) == {one}
        workflow = await look(store, "one")
        assert (workflow.status, workflow.owner) == (Status.RUNNING, "a")
        assert await store.messages() == [first]
        assert (await look(store, "two")).due_at == 9


async def test_without_rows_the_owner_decides(shared_url: str, clock: FakeClock) -> None:
    async with opened(shared_url, clock) as store, opened(shared_url, clock, "b") as other:
        mine, yours = await create(store, creation("mine", owner="a"), creation("yours", owner="b"))
        await store.post(mine, "note", b"1")
        await store.post(yours, "note", b"2")
        [message], [foreign] = await store.messages(), await other.messages()

        assert await append(
            store,
            Append(key=mine, taken=[message.number]),
            Append(key=yours, taken=[foreign.number], standing=sleeping()),
        ) == {yours}
        assert await store.messages() == []
        assert await other.messages() == [foreign]
        assert (await look(store, "yours")).owner == "b"


@pytest.mark.parametrize("first", ["a", "b"])
async def test_two_stores_fence_each_other(shared_url: str, clock: FakeClock, first: str) -> None:
    """Whoever claims, the other one's appends are refused: before the claimer has written, and after."""
    async with opened(shared_url, clock) as a, opened(shared_url, clock, "b") as b:
        stores = {"a": a, "b": b}
        second = "b" if first == "a" else "a"
        [key] = await create(stores[first], creation("one", 7, owner=first))
        assert await claim_keys(stores[second], second, key) == []
        assert not await append(stores[first], Append(key=key, rows=rows(2, 2, 7), standing=sleeping(0)))

        [claim] = await claim_keys(stores[second], second, key)
        assert [row.seq for row in claim.rows] == [1, 2, 3]
        assert await append(stores[first], Append(key=key, rows=rows(3, 3, 7))) == {key}
        assert not await append(stores[second], Append(key=key, rows=rows(4, 4, claim.writer)))
        assert await append(stores[first], Append(key=key, rows=rows(5, 5, 7))) == {key}
        assert await stores[first].read(key) == [*claim.rows, row(4, claim.writer)]


async def test_a_log_is_never_torn(shared_url: str, clock: FakeClock, scale: int) -> None:
    """Two workers that claim, append, repeat and let go at random, each with what it believes."""
    for seed in range(10 * scale):
        await tear(shared_url, clock, random.Random(seed), f"seed {seed}")


async def tear(url: str, clock: FakeClock, rng: random.Random, label: str) -> None:
    async with opened(url, clock, f"a {label}") as a, opened(url, clock, f"b {label}") as b:
        stores = {f"a {label}": a, f"b {label}": b}
        [key] = await create(a, creation(label, 1))
        accepted = rows(1, 1, 1)
        held: dict[str, tuple[int, int]] = {}
        for _ in range(60):
            worker = rng.choice(list(stores))
            if rng.random() < 0.3 or worker not in held:
                for claim in await claim_keys(stores[worker], worker, key):
                    held[worker] = len(claim.rows), claim.writer
                    accepted = list(claim.rows)
                continue
            last, writer = held[worker]
            # Its last row again, as after an answer that was lost; the next rows; or a gap.
            skip = rng.choice([-1, 0, 0, 1])
            new = rows(last + 1 + skip, last + 1 + skip + rng.randint(0, 2), writer)
            standing = sleeping(0) if rng.random() < 0.3 else None
            refused = await append(stores[worker], Append(key=key, rows=new, standing=standing))
            assert bool(refused) == (accepted[-1].writer != writer or skip > 0), label
            if not refused:
                accepted += [row for row in new if row.seq > last]
                held[worker] = new[-1].seq, writer
        assert await a.read(key) == accepted, label
        assert [row.seq for row in accepted] == list(range(1, len(accepted) + 1)), label


# -- standings and messages


async def test_a_standing_changes_the_row(url: str, clock: FakeClock) -> None:
    async with opened(url, clock) as store:
        [key] = await create(store, creation("one", 7, owner="a", status=Status.RUNNING))
        before = await look(store, "one")
        clock.now += 5
        stuck = Standing(status=Status.STUCK, due_at=None, release=True, problem="the code has changed")
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=stuck))
        after = await look(store, "one")
        assert after == Workflow(
            key=key,
            shard=before.shard,
            id="one",
            name="work",
            digest="d",
            status=Status.STUCK,
            problem="the code has changed",
            created_at=before.created_at,
            updated_at=clock.now,
        )


async def test_who_is_not_released_stays_owned(url: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", owner="a"))
        assert not await append(store, Append(key=key, standing=Standing(status=Status.CANCELLING, due_at=0)))
        workflow = await look(store, "one")
        assert (workflow.status, workflow.owner, workflow.due_at) == (Status.CANCELLING, "a", 0)


async def test_a_message_wakes_who_has_just_let_go(url: str) -> None:
    """It came when the owner had decided, and before it was committed."""
    async with opened(url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await store.post(key, "note", b"hello")
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=sleeping(9_000_000)))
        assert (await look(store, "one")).due_at == 0
        [claim] = await claim_due(store, "a")
        assert [message.body for message in claim.messages] == [b"hello"]


async def test_a_message_that_was_taken_wakes_nobody(url: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await store.post(key, "note", b"hello")
        [message] = await store.messages()
        assert not await append(store, Append(key=key, standing=sleeping(9_000_000), taken=[message.number]))
        assert (await look(store, "one")).due_at == 9_000_000


async def test_what_is_stuck_is_not_woken_by_what_it_left(url: str) -> None:
    """It might be unable to take any message, and would be claimed for ever."""
    async with opened(url) as store:
        [key] = await create(store, creation("one", owner="a"))
        await store.post(key, "note", b"hello")
        stuck = Standing(status=Status.STUCK, due_at=None, release=True, problem="why")
        assert not await append(store, Append(key=key, standing=stuck))
        assert (await look(store, "one")).due_at is None
        await store.post(key, "note", b"again")
        assert (await look(store, "one")).due_at == 0


@pytest.mark.parametrize("status", [Status.WAITING, Status.STUCK])
async def test_a_message_makes_a_workflow_due(url: str, status: Status) -> None:
    async with opened(url) as store:
        one, other = await create(store, creation("one", owner="a"), creation("other", owner="a"))
        leave = Standing(status=status, due_at=None, release=True)
        assert not await append(store, Append(key=one, standing=leave), Append(key=other, standing=leave))
        await store.post(one, "note", b"hello")
        assert (await look(store, "one")).due_at == 0
        assert (await look(store, "other")).due_at is None


@pytest.mark.parametrize("status", [status for status in Status if status.final])
async def test_an_ended_workflow_gets_no_messages_and_keeps_none(shared_url: str, status: Status) -> None:
    async with opened(shared_url) as store:
        [key, other] = await create(store, creation("one", 7, owner="a"), creation("other", owner="a"))
        await store.post(key, "note", b"too late")
        await store.post(other, "note", b"not for the one that ends")
        end = Standing(status=status, due_at=None, release=True)
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=end))
        await store.post(key, "note", b"much too late")
        assert (await look(store, "one")).due_at is None
        assert receivers(shared_url) == [other]


async def test_a_message_for_nobody_is_dropped(url: str) -> None:
    async with opened(url) as store:
        await store.post(WorkflowKey(12), "note", b"hello")
        assert await store.messages() == []
