"""What `post_early` keeps for workflows that are not there yet, and what becomes of it when they are made."""

from __future__ import annotations

import trio

from ...abc import Append, Batch, Created, Store
from .checks import Bench, clause
from .records import (
    ENDED,
    FULL,
    KNOWN,
    LEFT,
    append,
    bodies,
    claim_due,
    create,
    created_of,
    creation,
    early,
    look,
    note,
    over,
    post,
    rows,
    sleeping,
)

ROUNDS = 20
"""Of those that try to be there at the same time."""


async def _make(store: Store, *ids: str) -> list[Created]:
    """Make workflows that the worker "a" owns."""
    return created_of(await store.commit(Batch(creations=[creation(id, owner="a") for id in ids])))


@clause()
async def an_early_message_is_there_when_its_workflow_is(bench: Bench) -> None:
    """What is kept for an id is in the inbox of the workflow that is made with it, and no other's; `Created` says so.

    Until then nothing is to be seen of it: there is no workflow, and nobody gets a message.
    """
    async with bench.opened() as store:
        assert await store.post_early([early("one", b"1", kind="other")]) == [LEFT]
        assert (await store.find(["one"]), await store.messages(), await claim_due(store, "a")) == ([], [], [])
        assert [created.mail for created in await _make(store, "two", "one", "o")] == [False, True, False]
        [message] = await store.messages()
        assert (message.key, message.kind, message.body) == ((await look(store, "one")).key, "other", b"1")


@clause()
async def an_early_message_waits_for_whoever_claims(bench: Bench) -> None:
    """A workflow that is made for whoever comes has its early messages when it is claimed."""
    async with bench.opened() as store:
        await store.post_early([early("one", b"1"), early("one", b"2")])
        await create(store, creation("one"))
        [claim] = await claim_due(store, "a")
        assert [message.body for message in claim.messages] == [b"1", b"2"]


@clause()
async def early_messages_are_the_first(bench: Bench) -> None:
    """Early messages are in their order, and before all that are left when the workflow is there, early or not."""
    async with bench.opened() as store:
        numbers = list(range(12))
        for number in numbers[:6]:
            await store.post_early([early("one", b"%d" % number), early("two")])
        await store.post_early([early("one", b"%d" % number) for number in numbers[6:9]])
        [created] = await _make(store, "one")
        assert await post(store, note(created.workflow.key, b"9")) == [LEFT]
        assert await store.post_early([early("one", b"10"), early("one", b"11")]) == [LEFT, LEFT]
        assert await bodies(store) == [b"%d" % number for number in numbers]


@clause()
async def early_words_are_remembered(bench: Bench) -> None:
    """A word is used once for an id, whether the workflow is there or not; for another id it is another one."""
    async with bench.opened() as store:
        odd = "ü' \U0001f33f"
        again = [early("one", b"1", once="x"), early("one", b"2", once="x"), early("two", b"3", once="x")]
        assert await store.post_early([*again, early("one", b"4", once=odd)]) == [LEFT, KNOWN, LEFT, LEFT]
        assert await store.post_early([early("one", once=odd), early("one", b"5"), early("one", b"5")]) == [
            KNOWN,
            LEFT,
            LEFT,
        ]
        [created] = await _make(store, "one")
        key = created.workflow.key
        assert await post(store, note(key, once="x"), note(key, once=odd), note(key, b"6", once="y")) == [
            KNOWN,
            KNOWN,
            LEFT,
        ]
        assert await store.post_early([early("one", once="x"), early("one", once="y")]) == [KNOWN, KNOWN]
        assert await bodies(store) == [b"1", b"4", b"5", b"5", b"6"]


@clause()
async def early_messages_are_bounded(bench: Bench) -> None:
    """What is kept for an id counts for it; a word that is known is known where there is no room.

    What found no room is not known. When the workflow is made, what was kept for it counts as what waits.
    """
    async with bench.opened() as store:
        given = [early("one", most=2), early("two", most=1), early("one", once="x"), early("one", once="y", most=2)]
        assert await store.post_early(given) == [LEFT, LEFT, LEFT, FULL]
        assert await store.post_early([early("one", once="x", most=2), early("one", most=2)]) == [KNOWN, FULL]
        assert await store.post_early([early("one", once="y", most=3), early("one", most=3)]) == [LEFT, FULL]
        [created] = await _make(store, "one")
        assert await post(store, note(created.workflow.key, most=3), note(created.workflow.key, most=4)) == [FULL, LEFT]


@clause()
async def whoever_is_there_is_not_awaited(bench: Bench) -> None:
    """For a workflow that is there `post_early` is `post`: it is woken, and may have ended; answers are in order."""
    async with bench.opened() as store:
        there, gone = await create(store, creation("there", owner="a"), creation("gone", 7, owner="a"))
        assert not await append(store, Append(key=gone, rows=rows(2, 2, 7), standing=over()))
        assert not await append(store, Append(key=there, standing=sleeping()))
        given = [early("new"), early("gone"), early("there", b"1", once="x", most=1), early("new", most=1)]
        given += [early("there", once="x"), early("there", most=1)]
        assert await store.post_early(given) == [LEFT, ENDED, LEFT, FULL, KNOWN, FULL]
        assert (await look(store, "there")).due_at == 0
        [claim] = await claim_due(store, "a")
        assert [message.body for message in claim.messages] == [b"1"]
        assert await store.post_early([]) == []


@clause()
async def a_creation_that_comes_again_says_again_what_waits(bench: Bench) -> None:
    """A creation whose answer was lost gets the same answer: it is new, and messages wait; each is there once.

    To whoever comes with another creation of the id nothing is said of them.
    """
    async with bench.opened() as store:
        await store.post_early([early("one", b"1", once="x")])
        ours = creation("one", 7, owner="a")
        for _ in range(2):
            [created] = created_of(await store.commit(Batch(creations=[ours])))
            assert (created.new, created.mail) == (True, True)
        [other] = created_of(await store.commit(Batch(creations=[creation("one", 8, owner="a")])))
        assert (other.new, other.mail) == (False, False)
        assert await bodies(store) == [b"1"]


@clause()
async def a_child_may_be_awaited_too(bench: Bench) -> None:
    """What is kept for a child's id waits for the child, and not for one whose parent was refused."""
    async with bench.opened() as store:
        [parent] = await create(store, creation("one", 7, owner="a"))
        await store.post_early([early("one/1", b"1")])
        child = creation("one/1", 3, owner="a", parent=parent)
        refused = Batch(creations=[child], appends=[Append(key=parent, rows=rows(2, 2, 8))])
        assert (await store.commit(refused)).created == [None]
        assert await bodies(store) == []
        batch = Batch(creations=[child], appends=[Append(key=parent, rows=rows(2, 2, 7))])
        [created] = created_of(await store.commit(batch))
        assert created.mail
        assert [(one.key, one.body) for one in await store.messages()] == [(created.workflow.key, b"1")]


@clause(shared=True)
async def who_is_early_and_who_makes_do_not_miss_each_other(bench: Bench) -> None:
    """A message that is sent while its workflow is being made is in its inbox, once, whichever comes first."""
    async with bench.opened() as a, bench.opened("b") as b:
        for number in range(ROUNDS):
            id = f"w{number}"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_make, a, id)
                nursery.start_soon(b.post_early, [early(id, id.encode(), once="x"), early(f"never{number}")])
        assert sorted(await bodies(a)) == sorted(f"w{number}".encode() for number in range(ROUNDS))


@clause(shared=True)
async def many_who_are_early_at_once_are_let_in_one_by_one(bench: Bench) -> None:
    """Of what several keep for one id at the same time the same is kept once, and no more than there is room for."""
    async with bench.opened() as a, bench.opened("b") as b:
        answers = list[object]()

        async def say(store: Store, number: int) -> None:
            answers.extend(await store.post_early([early("one", once=str(number)), early("two", most=ROUNDS // 2)]))

        async with trio.open_nursery() as nursery:
            for number in range(ROUNDS):
                nursery.start_soon(say, a, number)
                nursery.start_soon(say, b, number)
        half = ROUNDS // 2
        assert [*map(answers.count, (LEFT, ENDED, KNOWN, FULL))] == [ROUNDS + half, 0, ROUNDS, ROUNDS + half]
        await _make(a, "one", "two")
        assert len(await a.messages()) == ROUNDS + half
