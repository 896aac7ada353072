"""What a commit writes: creations, rows and standings."""

from __future__ import annotations

from ... import Status
from ...abc import Append, Batch, Created, Standing, Workflow
from ...lowlevel import Ended, Result, Row, encode_event
from .checks import Bench, clause
from .records import append, claim_due, create, created_of, creation, look, row, rows, seqs, stuck

HIGHEST = 2**63 - 1
LENGTHS = (1, 2, 3, 255, 256, 257, 2047, 2048, 2049, 4101)
"""Of batches: stores like to write in pieces, and a piece's length is mostly a power of two."""


# -- creations -----------------------------------------------------------------------------------


@clause()
async def a_creation_makes_a_workflow_and_its_log(bench: Bench) -> None:
    """`commit` makes a workflow of each creation, due at once, with its rows, in the order of the batch."""
    async with bench.opened() as store:
        first, second = creation("one", 7, at=3, length=2), creation("two", 8, owner="a", status=Status.RUNNING)
        receipt = await store.commit(Batch(creations=[first, second]))

        made = created_of(receipt)
        assert [created.new for created in made] == [True, True]
        one, two = (created.workflow for created in made)
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


@clause()
async def an_id_that_is_taken_is_left_as_it_is(bench: Bench) -> None:
    """A creation whose id is taken writes nothing, and gets the workflow that has the id."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7, digest="old"))
        receipt = await store.commit(Batch(creations=[creation("two", 8), creation("one", 8, digest="new", length=3)]))

        made = created_of(receipt)
        assert [created.new for created in made] == [True, False]
        assert made[1].workflow == await look(store, "one")
        assert made[1].workflow.digest == "old"
        assert await seqs(store, key) == [1]


@clause()
async def the_first_of_two_creations_with_one_id_wins(bench: Bench) -> None:
    """Of several creations with one id in a batch the first one is made, and no other is new; also the next time."""
    async with bench.opened() as store:
        winner = creation("one", 7, digest="first")
        batch = Batch(creations=[winner, winner, creation("one", 8, digest="second", length=2)])
        for _ in range(2):
            made = created_of(await store.commit(batch))
            assert [created.new for created in made] == [True, False, False]
            assert {created.workflow.digest for created in made} == {"first"}
            assert await store.read(made[0].workflow.key) == winner.rows


@clause()
async def a_creation_whose_answer_was_lost_is_ones_own(bench: Bench) -> None:
    """A creation that is committed again is new still: its rows are there, and the same writer has written them."""
    async with bench.opened() as store:
        first = creation("one", 7, owner="a", length=2)
        [key] = await create(store, first)
        assert await create(store, first) == [key]
        assert await store.read(key) == first.rows


@clause()
async def a_creation_whose_answer_was_lost_may_have_gone_on(bench: Bench) -> None:
    """A creation that is committed again says whether there is more in its log: then somebody has taken it over."""
    async with bench.opened() as store:
        batch = Batch(creations=[creation("one", 7, length=2)])
        for _ in range(2):
            [created] = created_of(await store.commit(batch))
            assert (created.new, created.gone_on) == (True, False)
        [claim] = await claim_due(store, "a")
        [created] = created_of(await store.commit(batch))
        assert created == Created(workflow=claim.workflow, new=True, gone_on=True)
        other = Batch(creations=[creation("one", 8)])
        assert created_of(await store.commit(other)) == [Created(workflow=claim.workflow, new=False)]


@clause()
async def only_a_worker_that_is_there_may_own(bench: Bench) -> None:
    """A creation whose owner has not entered has none: nobody would see that it is gone."""
    async with bench.opened() as store:
        await create(store, creation("one", owner="nobody"))
        assert (await look(store, "one")).owner is None


@clause()
async def creations_and_appends_in_one_batch(bench: Bench) -> None:
    """A batch may make workflows and append to others."""
    async with bench.opened() as store:
        [old] = await create(store, creation("old", 7, owner="a"))
        receipt = await store.commit(
            Batch(creations=[creation("new", 8)], appends=[Append(key=old, rows=rows(2, 3, 7))])
        )

        assert not receipt.refused
        assert await seqs(store, old) == [1, 2, 3]
        assert await seqs(store, created_of(receipt)[0].workflow.key) == [1]


# -- rows ----------------------------------------------------------------------------------------


@clause()
async def rows_come_back_as_they_went_in(bench: Bench) -> None:
    """`read` returns the rows that were committed: every byte of events and values, and numbers of 63 bits."""
    async with bench.opened() as store:
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


@clause()
async def an_empty_batch_is_nothing(bench: Bench) -> None:
    """An empty batch is committed."""
    async with bench.opened() as store:
        receipt = await store.commit(Batch())
        assert not receipt.created
        assert not receipt.refused


@clause()
async def every_length_of_a_batch(bench: Bench) -> None:
    """A batch may have any number of rows."""
    async with bench.opened() as store:
        for length in LENGTHS:
            one, two = await create(
                store, creation(f"one/{length}", 7, owner="a"), creation(f"two/{length}", 8, owner="a")
            )
            batch = [Append(key=two, rows=rows(2, length + 1, 8)), Append(key=one, rows=rows(2, 3, 7))]
            assert not await append(store, *batch)
            assert await seqs(store, two) == list(range(1, length + 2))
            assert await seqs(store, one) == [1, 2, 3]


@clause()
async def rows_whose_answer_was_lost_are_ones_own(bench: Bench) -> None:
    """Rows that are committed again, alone or with more, are not refused, and are there once."""
    async with bench.opened() as store:
        one, two = await create(store, creation("one", 7, owner="a"), creation("two", 8, owner="a"))
        batch = [Append(key=one, rows=rows(2, 3, 7)), Append(key=two, rows=rows(2, 2, 8))]
        assert not await append(store, *batch)
        assert not await append(store, *batch)
        assert not await append(store, Append(key=one, rows=rows(2, 5, 7)), Append(key=two, rows=rows(3, 3, 8)))
        assert await store.read(one) == rows(1, 5, 7)
        assert await store.read(two) == rows(1, 3, 8)


# -- standings -----------------------------------------------------------------------------------


@clause()
async def a_standing_changes_the_row(bench: Bench) -> None:
    """A standing sets status, due time and problem, and the row says when."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7, owner="a", status=Status.RUNNING))
        before = await look(store, "one")
        bench.clock.now += 5
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=stuck("the code has changed")))
        assert await look(store, "one") == Workflow(
            key=key,
            shard=before.shard,
            id="one",
            name="work",
            digest="d",
            status=Status.STUCK,
            problem="the code has changed",
            created_at=before.created_at,
            updated_at=bench.clock.now,
        )


@clause()
async def who_is_not_released_stays_owned(bench: Bench) -> None:
    """A standing takes the owner away if it says so, and else leaves it."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", owner="a"))
        assert not await append(store, Append(key=key, standing=Standing(status=Status.CANCELLING, due_at=0)))
        workflow = await look(store, "one")
        assert (workflow.status, workflow.owner, workflow.due_at) == (Status.CANCELLING, "a", 0)
