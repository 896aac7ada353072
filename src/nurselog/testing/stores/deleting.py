"""Deleting: families that have ended are removed whole, with all that belongs to them; nobody can write for them."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ... import Status
from ...abc import Append, Batch, Creation, Deleted, Filter, Standing, Store, WorkflowKey
from .checks import Bench, clause
from .records import (
    ENDED,
    KNOWN,
    LEFT,
    append,
    claim_due,
    claim_keys,
    create,
    created_of,
    creation,
    look,
    note,
    over,
    post,
    rows,
)

NAMES = ("one", "one/1", "one/1/2")
"""A root, its child, and the child's child."""
DONE = Status.COMPLETED
MANY = 300
"""Families, or children in one family."""
ROUNDS = 20
"""Of those that delete while others write."""


async def _family(store: Store, *, statuses: Sequence[Status] = (DONE, DONE, DONE)) -> list[WorkflowKey]:
    """Make a family that stands like this, all rows by writer 7; return the keys."""
    keys = await create(store, creation(NAMES[0], 7, owner="a"))
    for name in NAMES[1:]:
        child = creation(name, 7, owner="a", parent=keys[-1])
        receipt = await store.commit(Batch(creations=[child], appends=[Append(key=keys[-1])]))
        keys += [made.workflow.key for made in created_of(receipt)]
    standings = [Standing(status=status, due_at=None, release=status.final) for status in statuses]
    assert not await append(store, *(Append(key=k, standing=s) for k, s in zip(keys, standings, strict=True)))
    return keys


async def _ended(store: Store, *creations: Creation) -> list[WorkflowKey]:
    """Make workflows that have ended."""
    keys = await create(store, *creations)
    assert not await append(store, *(Append(key=key, standing=over()) for key in keys))
    return keys


async def _everything(store: Store, keys: Sequence[WorkflowKey]) -> list[object]:
    """Return all that can be read of workflows."""
    logs = [await store.read(key) for key in keys]
    return [await store.list(Filter()), await store.messages(), *logs]


# -- what is removed -----------------------------------------------------------------------------


@clause()
async def a_family_that_has_ended_is_removed_whole(bench: Bench) -> None:
    """`delete` removes a root and all its descendants, however each has ended, with their logs; and nobody else.

    Those of whose ids the root's is only the beginning are no descendants.
    """
    async with bench.opened() as store:
        others = await create(store, *(creation(id, 9) for id in ("on", "one-1", "one.1", "one0", "one1")))
        for status in (status for status in Status if status.final):
            keys = await _family(store, statuses=(DONE, status, status))
            assert [*await store.delete(keys[:1])] == [Deleted(removed=3)]
            assert {one.key for one in await store.list(Filter())} == {*others}
            assert await store.find(NAMES) == []
            assert [[*await store.read(key)] for key in (*keys, *others)] == [[]] * 3 + [rows(1, 1, 9)] * 5


@clause()
async def a_family_of_which_one_has_not_ended_is_left_as_it_is(bench: Bench) -> None:
    """`delete` changes nothing of a family in which one has not ended, be it the root or a descendant, and says which.

    Others are removed in the same call.
    """
    async with bench.opened() as store:
        for place, status in enumerate([Status.WAITING, Status.STUCK, Status.CANCELLING]):
            [other] = await _ended(store, creation("other", 7, owner="a"))
            keys = await _family(store, statuses=[status if one == place else DONE for one in range(3)])
            await post(store, note(keys[place], once="x"))
            await store.delete([other])
            before = await _everything(store, keys)
            [other] = await _ended(store, creation("other", 7, owner="a"))
            assert [*await store.delete([keys[0], other])] == [Deleted(living=NAMES[place]), Deleted(removed=1)]
            assert await _everything(store, keys) == before
            assert await post(store, note(keys[place], once="x")) == [KNOWN]
            assert not await append(store, Append(key=keys[place], rows=rows(2, 2, 7), standing=over()))
            assert [*await store.delete(keys[:1])] == [Deleted(removed=3)]


@clause()
async def what_is_no_root_is_not_deleted(bench: Bench) -> None:
    """`delete` does nothing for the key of a child, or of nobody; for what was deleted it may be asked again."""
    async with bench.opened() as store:
        root, child, _ = await _family(store)
        before = await store.list(Filter())
        assert [*await store.delete([child, WorkflowKey(999 * 1024)])] == [Deleted(), Deleted()]
        assert await store.list(Filter()) == before
        assert [*await store.delete([WorkflowKey(999 * 1024), root])] == [Deleted(), Deleted(removed=3)]
        assert [*await store.delete([root])] == [Deleted()]
        assert [*await store.delete([])] == []


@clause()
async def hundreds_at_once(bench: Bench) -> None:
    """`delete` removes hundreds of families in one call, and a family of hundreds; the answers are in their order."""
    async with bench.opened() as store:
        keys = await _ended(store, *(creation(f"w{number}", owner="a") for number in range(MANY)))
        [root] = await create(store, creation("one", 7, owner="a"))
        children = [creation(f"one/{number}", 7, parent=root, owner="a") for number in range(MANY)]
        receipt = await store.commit(Batch(creations=children, appends=[Append(key=root)]))
        born = [made.workflow.key for made in created_of(receipt)]
        assert not await append(store, *(Append(key=key, standing=over()) for key in (root, *born)))
        assert [*await store.delete([*keys, root])] == [*[Deleted(removed=1)] * MANY, Deleted(removed=MANY + 1)]
        assert await store.list(Filter()) == []


# -- afterwards ----------------------------------------------------------------------------------


@clause()
async def who_still_writes_for_what_is_deleted_is_refused(bench: Bench) -> None:
    """Whoever appends to a deleted workflow is refused, with rows or without, and it stays deleted.

    So a child of it is not made either, and who claims it gets nothing.
    """
    async with bench.opened() as store:
        keys = await _family(store)
        assert [*await store.delete(keys[:1])] == [Deleted(removed=3)]
        for first in (1, 2, 3):
            parts = [Append(key=key, rows=rows(first, 4, 7), standing=over()) for key in keys]
            assert await append(store, *parts) == {*keys}
            assert await append(store, Append(key=keys[0], rows=rows(first, first, 7))) == {keys[0]}
        assert await append(store, *(Append(key=key, standing=over(), taken=[1]) for key in keys)) == {*keys}
        child = creation("one/3", parent=keys[0])
        receipt = await store.commit(Batch(creations=[child], appends=[Append(key=keys[0], rows=rows(2, 2, 7))]))
        assert [*receipt.created] == [None]
        assert receipt.refused == {keys[0]}
        assert await claim_keys(store, "a", *keys) == []
        assert await store.list(Filter()) == []
        assert [[*await store.read(key)] for key in keys] == [[]] * 3


@clause()
async def who_sends_to_what_is_deleted_hears_that_it_has_ended(bench: Bench) -> None:
    """`post` to a deleted workflow says that it has ended, and leaves nothing."""
    async with bench.opened() as store:
        keys = await _family(store)
        await store.delete(keys[:1])
        assert await post(store, *(note(key, once="x", most=1) for key in keys)) == [ENDED] * 3
        assert await store.messages() == []


@clause()
async def the_id_of_what_is_deleted_is_free(bench: Bench) -> None:
    """A deleted workflow's id may be taken again; the new one has another key, and nothing of the old one.

    The rows of the old owner are refused still.
    """
    async with bench.opened() as store:
        former = await _family(store, statuses=(Status.RUNNING,) * 3)
        await post(store, *(note(key, b"old", once="x") for key in former))
        assert not await append(store, *(Append(key=key, rows=rows(2, 5, 7), standing=over()) for key in former))
        assert [*await store.delete(former[:1])] == [Deleted(removed=3)]
        keys = await _family(store, statuses=(Status.RUNNING,) * 3)
        assert not {*keys} & {*former}
        assert [[*await store.read(key)] for key in keys] == [rows(1, 1, 7)] * 3
        assert await store.messages() == []
        assert await post(store, *(note(key, b"new", once="x") for key in keys)) == [LEFT] * 3
        assert await append(store, *(Append(key=key, rows=rows(6, 6, 7)) for key in former)) == {*former}
        assert [*await store.delete(former[:1])] == [Deleted()]
        assert [(await look(store, name)).key for name in NAMES] == keys


# -- what is kept too long -----------------------------------------------------------------------


@clause()
async def expired_are_roots_that_ended_before_a_time(bench: Bench) -> None:
    """`expired` returns the keys of roots that ended before a time, however they ended, and of no others."""
    async with bench.opened() as store:
        begin, keys = bench.clock.now, list[WorkflowKey]()
        for status in Status:
            bench.clock.now += 1
            [key] = await create(store, creation(status.value, owner="a"))
            assert not await append(store, Append(key=key, standing=Standing(status=status, due_at=None)))
            keys += [key] * status.final
        ends = [begin + place for place, status in enumerate(Status, 1) if status.final]
        for count, end in enumerate(ends):
            assert {*await store.expired(end, 100)} == {*keys[:count]}
        assert {*await store.expired(ends[-1] + 1, 100)} == {*keys}


@clause()
async def a_family_is_expired_when_all_have_ended(bench: Bench) -> None:
    """`expired` returns no child, and no root before all its descendants have ended; then the root's end counts."""
    async with bench.opened() as store:
        for place in (1, 2):
            keys = await _family(store, statuses=[Status.WAITING if one == place else DONE for one in range(3)])
            await create(store, creation("one-2"))  # no descendant
            ended = bench.clock.now
            assert [*await store.expired(ended + 1, 100)] == []
            bench.clock.now += 10
            assert not await append(store, Append(key=keys[place], rows=rows(2, 2, 7), standing=over()))
            assert [*await store.expired(ended + 1, 100)] == keys[:1]
            assert [*await store.expired(ended, 100)] == []
            [other] = await claim_due(store, "a")
            assert not await append(store, Append(key=other.workflow.key, standing=over()))
            assert [*await store.delete([keys[0], other.workflow.key])] == [Deleted(removed=3), Deleted(removed=1)]


@clause()
async def expired_come_by_and_by(bench: Bench) -> None:
    """`expired` returns no more than it is asked for; who deletes those and asks again gets all of them."""
    async with bench.opened() as store:
        keys = await _ended(store, *(creation(f"w{number}", owner="a") for number in range(10)))
        found = list[WorkflowKey]()
        while some := await store.expired(bench.clock.now + 1, 3):
            assert len(some) <= 3
            assert [*await store.delete(some)] == [Deleted(removed=1)] * len(some)
            found += some
        assert sorted(found) == sorted(keys)


# -- several at the same time --------------------------------------------------------------------


@clause(shared=True)
async def one_of_two_who_delete_removes_it(bench: Bench) -> None:
    """Of two that delete the same families at the same time one removes each, and the other finds nothing."""
    async with bench.opened() as a, bench.opened("b") as b:
        for _ in range(ROUNDS // 4):
            keys = await _ended(a, *(creation(f"w{number}", owner="a") for number in range(5)))
            [*keys[:1]] = (await _family(a))[:1]
            counts = list[int]()

            async def delete(store: Store, roots: Sequence[WorkflowKey], counts: list[int] = counts) -> None:
                counts += [became.removed for became in await store.delete(roots)]

            async with trio.open_nursery() as nursery:
                nursery.start_soon(delete, a, keys)
                nursery.start_soon(delete, b, keys[::-1])
            assert sorted(counts) == [0] * 5 + [1] * 4 + [3]
            await b.delete([one.key for one in await b.list(Filter())])


@clause(shared=True)
async def nothing_is_left_for_what_is_deleted_meanwhile(bench: Bench) -> None:
    """Who deletes a family while it comes to its end and gets messages removes all of it, or nothing."""
    async with bench.opened() as a, bench.opened("b") as b:
        for _ in range(ROUNDS):
            keys = await _family(a, statuses=(DONE, Status.RUNNING, DONE))
            became = list[Deleted]()

            async def delete(root: WorkflowKey, became: list[Deleted] = became) -> None:
                became += await b.delete([root])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(append, a, Append(key=keys[1], rows=rows(2, 2, 7), standing=over()))
                nursery.start_soon(post, b, *(note(key, once="x") for key in keys))
                nursery.start_soon(delete, keys[0])
            assert became in ([Deleted(removed=3)], [Deleted(living="one/1")])
            assert len(await a.find(NAMES)) == (0 if became[0].removed else 3)
            await a.delete(keys[:1])
            assert [[*await a.read(key)] for key in keys] == [[]] * 3
            assert await post(b, *(note(key) for key in keys)) == [ENDED] * 3
