"""Messages that an append leaves for other workflows, in its transaction.

Who sends and who gets them are in one shard, as a family is: workflows whose ids are alike up to the first slash.
"""

from __future__ import annotations

from functools import partial

import trio

from ...abc import Append, Change, Store, WorkflowKey
from .checks import Bench, clause
from .living import hear, is_due
from .records import (
    ENDED,
    FULL,
    KNOWN,
    LEFT,
    append,
    bodies,
    chatting,
    claim_due,
    create,
    creation,
    look,
    note,
    over,
    post,
    rows,
    seqs,
    sleeping,
    stuck,
)

ROUNDS = 20
"""Of those that write to each other."""


async def _family(store: Store, *owners: str | None) -> list[WorkflowKey]:
    """Make workflows of one shard: w/1, w/2, ..., each with the writer of its number, for these owners."""
    return await create(
        store, *(creation(f"w/{number}", number, owner=owner) for number, owner in enumerate(owners, 1))
    )


@clause()
async def an_append_leaves_its_messages(bench: Bench) -> None:
    """The messages of an append are left in their order, and those who get them are due at once.

    So it is with rows, and where the owner decides; also with the words that end the sender.
    """
    async with bench.opened() as store:
        me, you, other = await _family(store, "a", "a", "a")
        assert not await append(store, *(Append(key=key, standing=sleeping()) for key in (you, other)))
        first = [note(you, b"1", once="1"), note(other, b"2", once="2"), note(you, b"3", kind="odd", once="3")]
        assert not await append(store, Append(key=me, rows=rows(2, 3, 1), posts=first))
        assert await seqs(store, me) == [1, 2, 3]
        assert [(await look(store, f"w/{number}")).due_at for number in (2, 3)] == [0, 0]
        assert not await append(store, Append(key=me, posts=[note(you, b"4", once="4")]))
        assert not await append(
            store, Append(key=me, rows=rows(4, 4, 1), standing=over(), posts=[note(you, b"5", once="5")])
        )
        found = {claim.workflow.key: claim.messages for claim in await claim_due(store, "a")}
        assert [(one.kind, one.body) for one in found[you]] == [
            ("note", b"1"),
            ("odd", b"3"),
            ("note", b"4"),
            ("note", b"5"),
        ]
        assert [one.body for one in found[other]] == [b"2"]


@clause()
async def a_single_row_may_bring_a_message(bench: Bench) -> None:
    """An append of one row leaves its messages, too: it is the shortest way that there is."""
    async with bench.opened() as store:
        me, you = await _family(store, "a", "a")
        assert not await append(store, Append(key=me, rows=rows(2, 2, 1), posts=[note(you, once="x")]))
        assert await bodies(store) == [b"hello"]


@clause()
async def a_refused_append_leaves_no_message(bench: Bench) -> None:
    """Where an append is refused, none of its messages is left, and none is known; others of the batch leave theirs."""
    async with bench.opened() as store:
        lost, kept, you = await _family(store, None, "a", "a")
        await claim_due(store, "a")
        assert await append(
            store,
            Append(key=lost, rows=rows(2, 2, 1), posts=[note(you, b"1", once="x")]),
            Append(key=kept, rows=rows(2, 2, 2), posts=[note(you, b"2", once="y")]),
        ) == {lost}
        assert await bodies(store) == [b"2"]
        assert await post(store, note(you, once="x"), note(you, once="y")) == [LEFT, KNOWN]


@clause(shared=True)
async def only_the_owner_may_send_without_rows(bench: Bench) -> None:
    """An append without rows leaves no message unless this store's worker owns the workflow."""
    async with bench.opened() as a, bench.opened("b") as b:
        yours, mine = await _family(a, "b", "a")
        assert await append(a, Append(key=yours, posts=[note(mine, once="x")])) == {yours}
        assert await a.messages() == []
        assert not await append(b, Append(key=yours, posts=[note(mine, once="x")]))
        assert await bodies(a) == [b"hello"]


@clause()
async def messages_of_an_append_that_comes_again_are_there_once(bench: Bench) -> None:
    """An append that is committed again, alone or with more rows, does not leave its messages again.

    That holds also when they were taken meanwhile; what more it has is left.
    """
    async with bench.opened() as store:
        me, you = await _family(store, "a", "a")
        first = Append(key=me, rows=rows(2, 2, 1), posts=[note(you, b"1", once="1")])
        more = Append(key=me, rows=rows(2, 3, 1), posts=[note(you, b"1", once="1"), note(you, b"2", once="2")])
        assert not await append(store, first)
        assert not await append(store, first)
        [message] = await store.messages()
        assert message.body == b"1"
        assert not await append(store, Append(key=you, taken=[message.number]))
        assert not await append(store, more)
        assert not await append(store, more)
        assert await bodies(store) == [b"2"]
        assert await seqs(store, me) == [1, 2, 3]


@clause()
async def what_an_append_cannot_leave_does_not_stop_it(bench: Bench) -> None:
    """An append is written although its messages are known, find no room, or come too late: they are not left."""
    async with bench.opened() as store:
        me, you, gone = await _family(store, "a", "a", "a")
        assert not await append(store, Append(key=gone, standing=over()))
        await post(store, note(you, b"1", once="1"))
        posts = [
            note(gone, b"0", once="0"),
            note(WorkflowKey(999 * 1024), b"0", once="0"),
            note(you, b"1", once="1"),
            note(you, b"2", once="2", most=2),
            note(you, b"3", once="3", most=2),
            note(you, b"4", once="4"),
        ]
        assert not await append(store, Append(key=me, rows=rows(2, 2, 1), posts=posts))
        assert await seqs(store, me) == [1, 2]
        assert await bodies(store) == [b"1", b"2", b"4"]
        assert (await look(store, "w/3")).due_at is None
        assert await post(store, note(you, once="3"), note(you, once="4", most=1)) == [LEFT, KNOWN]


@clause()
async def messages_are_left_when_all_else_is_written(bench: Bench) -> None:
    """Messages meet what else is in their batch: who lets go or gets stuck in it is due at once.

    Who ends in it gets none, and who takes some has room.
    """
    async with bench.opened() as store:
        me, sleeper, lost, gone, full = await _family(store, *["a"] * 5)
        await post(store, note(full, b"1"))
        [message] = await store.messages()
        posts = [note(key, b"2", once="x", most=1) for key in (sleeper, lost, gone, full)]
        sender = Append(key=me, rows=rows(2, 2, 1), posts=posts)
        others = [
            Append(key=sleeper, standing=sleeping()),
            Append(key=lost, standing=stuck()),
            Append(key=gone, standing=over()),
            Append(key=full, taken=[message.number]),
        ]
        assert not await append(store, sender, *others)
        assert [(await look(store, f"w/{number}")).due_at for number in (2, 3, 4)] == [0, 0, None]
        assert await bodies(store) == [b"2"]
        assert await post(store, *posts) == [KNOWN, KNOWN, ENDED, KNOWN]
        assert await post(store, *(note(key, most=1) for key in (sleeper, lost, full))) == [FULL, FULL, FULL]


@clause()
async def a_workflow_may_write_to_itself(bench: Bench) -> None:
    """An append may leave messages for its own workflow; one that lets go of it is due at once for them."""
    async with bench.opened() as store:
        [me] = await _family(store, "a")
        assert not await append(store, Append(key=me, rows=rows(2, 2, 1), posts=[note(me, b"1", once="1")]))
        assert await bodies(store) == [b"1"]
        [message] = await store.messages()
        letting_go = Append(key=me, standing=sleeping(), taken=[message.number], posts=[note(me, b"2", once="2")])
        assert not await append(store, letting_go)
        [claim] = await claim_due(store, "a")
        assert [one.body for one in claim.messages] == [b"2"]


@clause(shared=True)
async def others_hear_of_the_messages_of_appends(bench: Bench) -> None:
    """`wait_changed` tells, within some seconds, of messages that another worker's append has left."""
    async with bench.opened() as a, bench.opened("b") as b, chatting(b):
        theirs, mine, free = await _family(a, "b", "a", None)
        [claim] = await claim_due(a, "a")
        assert not await append(a, Append(key=free, rows=rows(3, 3, claim.writer), standing=sleeping()))
        send = partial(append, b)
        await hear(a, Change.MESSAGE, a.messages, partial(send, Append(key=theirs, posts=[note(mine, once="x")])))
        due = partial(is_due, a, "work")
        await hear(a, Change.DUE, due, partial(send, Append(key=theirs, posts=[note(free, once="x")])))


@clause(shared=True)
async def two_may_write_to_each_other(bench: Bench) -> None:
    """Two workers may write at the same time: to each other, to themselves, and to a third one."""
    async with bench.opened() as a, bench.opened("b") as b:
        one, two, three = await _family(a, "a", "b", "a")

        async def talk(store: Store, me: WorkflowKey, writer: int) -> None:
            for turn in range(ROUNDS):
                posts = [note(key, b"%d" % turn, once=f"{writer}.{turn}") for key in (three, two, one)]
                part = Append(key=me, rows=rows(2 + turn, 2 + turn, writer), posts=posts)
                assert not await append(store, part)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, a, one, 1)
            nursery.start_soon(talk, b, two, 2)
        assert len(await b.messages()) == 2 * ROUNDS
        for key in (one, three):
            found = [int(message.body) for message in await a.messages() if message.key == key]
            assert sorted(found) == sorted([*range(ROUNDS)] * 2)
