"""Children: workflows that are made in the transaction of an append of their parent's, or not at all."""

from __future__ import annotations

from ...abc import Append, Batch, Created, Filter, Receipt, Store, WorkflowKey
from .checks import Bench, clause
from .records import (
    append,
    bodies,
    claim_due,
    create,
    created_of,
    creation,
    look,
    note,
    over,
    rows,
    seqs,
    sleeping,
)

MANY = 1000
"""Children of one append."""


async def _bear(store: Store, part: Append, *names: str) -> Receipt:
    """Commit an append of `one`, and children with it; each of them has two rows of writer 8."""
    children = [creation(f"one/{name}", 8, parent=part.key, length=2) for name in names]
    return await store.commit(Batch(creations=children, appends=[part]))


@clause()
async def a_child_is_made_with_an_append_of_its_parent(bench: Bench) -> None:
    """A creation with a parent is made with the parent's append: with its rows, and where the owner decides."""
    async with bench.opened() as store:
        [parent] = await create(store, creation("one", 7, owner="a"))
        for seq, part in enumerate([
            Append(key=parent, rows=rows(2, 2, 7)),
            Append(key=parent),
            Append(key=parent, standing=over()),
        ]):
            receipt = await _bear(store, part, f"{seq}")
            [child] = created_of(receipt)
            assert child.new
            assert not receipt.refused
            assert child.workflow == await look(store, f"one/{seq}")
            assert (child.workflow.due_at, child.workflow.owner) == (0, None)
            assert await store.read(child.workflow.key) == rows(1, 2, 8)
        assert await seqs(store, parent) == [1, 2]


@clause()
async def a_row_says_whose_child_it_is(bench: Bench) -> None:
    """`Workflow.parent` is the parent's key, wherever a row is returned; a root has none."""
    async with bench.opened() as store:
        [parent] = await create(store, creation("one", 7, owner="a"))
        [child] = created_of(await _bear(store, Append(key=parent), "1"))
        assert child.workflow.parent == parent
        assert [(await look(store, id)).parent for id in ("one", "one/1")] == [None, parent]
        assert {workflow.parent for workflow in await store.list(Filter(prefix="one/"))} == {parent}
        [claim] = await claim_due(store, "a")
        assert claim.workflow.parent == parent
        assert not await append(store, Append(key=child.workflow.key, standing=over()))
        assert (await look(store, "one/1")).parent == parent


@clause()
async def who_is_refused_has_no_children(bench: Bench) -> None:
    """Where a parent's append is refused, its children are not made; what else is in the batch is.

    `Receipt.created` has None for each of them, in its place.
    """
    async with bench.opened() as store:
        lost, kept = await create(store, creation("lost", 7), creation("kept", 8, owner="a"))
        await claim_due(store, "a")
        creations = [
            creation("root", 9),
            creation("lost/1", 9, parent=lost),
            creation("kept/1", 9, parent=kept),
            creation("lost/2", 9, parent=lost),
        ]
        parts = [Append(key=lost, rows=rows(2, 2, 7)), Append(key=kept, rows=rows(2, 2, 8))]
        receipt = await store.commit(Batch(creations=creations, appends=parts))
        assert receipt.refused == {lost}
        assert [one and (one.new, one.workflow.id) for one in receipt.created] == [
            (True, "root"),
            None,
            (True, "kept/1"),
            None,
        ]
        assert sorted(one.id for one in await store.find([one.id for one in creations])) == ["kept/1", "root"]


@clause()
async def who_appends_nothing_has_no_children(bench: Bench) -> None:
    """A child is not made where there is no append of its parent's in the batch, or no parent."""
    async with bench.opened() as store:
        one, two = await create(store, creation("one", 7, owner="a"), creation("one/two", 8, owner="a"))
        orphans = [creation("one/1", parent=one), creation("one/2", parent=WorkflowKey(999 * 1024))]
        for appends in ([], [Append(key=two, rows=rows(2, 2, 8))]):
            receipt = await store.commit(Batch(creations=orphans, appends=appends))
            assert [*receipt.created] == [None, None]
            assert await store.find(["one/1", "one/2"]) == []


@clause()
async def a_child_whose_answer_was_lost_is_new_still(bench: Bench) -> None:
    """A child that is committed again with its parent's append, alone or with more, is new, and there once.

    That holds also when it has gone on, or come to its end, meanwhile.
    """
    async with bench.opened() as store:
        [parent] = await create(store, creation("one", 7, owner="a"))
        first = created_of(await _bear(store, Append(key=parent, rows=rows(2, 2, 7)), "1"))
        assert created_of(await _bear(store, Append(key=parent, rows=rows(2, 2, 7)), "1")) == first
        [claim] = await claim_due(store, "a")
        assert not await append(store, Append(key=claim.workflow.key, standing=over()))
        again = created_of(await _bear(store, Append(key=parent, rows=rows(2, 3, 7)), "1", "2"))
        assert again[0] == Created(workflow=await look(store, "one/1"), new=True, gone_on=True)
        assert [one.new for one in again] == [True, True]
        assert await store.read(claim.workflow.key) == claim.rows


@clause()
async def a_child_outlives_a_parent_that_was_taken_over(bench: Bench) -> None:
    """A child that comes again when its parent was taken over is answered with None, and stays as it is."""
    async with bench.opened() as store:
        [parent] = await create(store, creation("one", 7, owner="a"))
        part = Append(key=parent, rows=rows(2, 2, 7), standing=sleeping(0))
        [child] = created_of(await _bear(store, part, "1"))
        await claim_due(store, "a")
        before = await look(store, "one/1")
        receipt = await _bear(store, part, "1", "2")
        assert receipt.refused == {parent}
        assert [*receipt.created] == [None, None]
        assert [await look(store, "one/1")] == await store.find(["one/1", "one/2"]) == [before]
        assert before.key == child.workflow.key


@clause()
async def a_thousand_children_of_one_append(bench: Bench) -> None:
    """An append may make a thousand children, each with its own log, and in the order of the batch."""
    async with bench.opened() as store:
        [parent] = await create(store, creation("one", 7, owner="a"))
        names = [str(number) for number in range(MANY)]
        made = created_of(await _bear(store, Append(key=parent, rows=rows(2, 2, 7)), *names))
        assert [one.workflow.id for one in made] == [f"one/{name}" for name in names]
        assert {one.workflow.parent for one in made} == {parent}
        assert len({one.workflow.key for one in made}) == MANY
        assert await store.read(made[-1].workflow.key) == rows(1, 2, 8)


@clause()
async def rows_children_and_messages_in_one_append(bench: Bench) -> None:
    """An append may write rows, make children, leave messages and take some, all in one transaction."""
    async with bench.opened() as store:
        [parent] = await create(store, creation("one", 7, owner="a"))
        [child] = created_of(await _bear(store, Append(key=parent), "1"))
        await claim_due(store, "a")
        assert not await append(store, Append(key=child.workflow.key, posts=[note(parent, b"1", once="1")]))
        [message] = await store.messages()
        part = Append(
            key=parent, rows=rows(2, 3, 7), taken=[message.number], posts=[note(child.workflow.key, b"2", once="2")]
        )
        receipt = await _bear(store, part, "2")
        assert (created_of(receipt)[0].new, receipt.refused) == (True, frozenset())
        assert await seqs(store, parent) == [1, 2, 3]
        assert await bodies(store) == [b"2"]
