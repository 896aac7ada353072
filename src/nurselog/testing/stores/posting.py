"""What `post` leaves for workflows, what it says of it, and how long that is remembered."""

from __future__ import annotations

import trio

from ... import Status
from ...abc import Append, Message, Posted, Store, WorkflowKey
from .checks import Bench, clause
from .records import (
    ENDED,
    FULL,
    KNOWN,
    LEFT,
    append,
    bodies,
    claim_due,
    claim_keys,
    create,
    creation,
    look,
    note,
    over,
    post,
    rows,
    sleeping,
    stuck,
)

MANY = 3000
"""Messages in one call."""
ROUNDS = 20
"""Of those that try to be there at the same time."""


async def _take(store: Store, key: WorkflowKey) -> None:
    """Take all that waits for a workflow."""
    numbers = [message.number for message in await store.messages() if message.key == key]
    assert not await append(store, Append(key=key, taken=numbers))


# -- what is left --------------------------------------------------------------------------------


@clause()
async def a_post_says_what_became_of_each(bench: Bench) -> None:
    """`post` returns one answer for each message, in the order in which they were given; for none, none."""
    async with bench.opened() as store:
        one, two = await create(store, creation("one", owner="a"), creation("two", owner="a"))
        ghost = WorkflowKey(12)
        posts = [note(two, b"1"), note(ghost), note(one, b"2"), note(one, b"3", most=1), note(two, b"4")]
        assert await post(store, *posts) == [LEFT, ENDED, LEFT, FULL, LEFT]
        assert sorted(await bodies(store)) == [b"1", b"2", b"4"]
        assert await post(store) == []


@clause()
async def what_is_returned_itself_comes_first(bench: Bench) -> None:
    """Where `post` returns messages themselves, these are what `messages` returns, and nothing of theirs waits before.

    So it is for each workflow, whatever became of others in the same call; and while one of them waits, no later one is
    returned. A store need not return any.
    """
    async with bench.opened() as store:
        one, two = await create(store, creation("one", owner="a"), creation("two", owner="a"))
        posts = [note(one, b"1", most=2), note(two, b"2"), note(one, b"3", most=2), note(one, b"4", most=2)]
        answers = await store.post(posts)
        assert [*map(Posted.of, answers)] == [LEFT, LEFT, LEFT, FULL]
        for key in (one, two):
            waiting = [message for message in await store.messages() if message.key == key]
            mine = [answer for answer, post in zip(answers, posts, strict=True) if post.key == key]
            assert [answer for answer in mine if isinstance(answer, Message)] in ([], waiting)
        [later] = await store.post([note(two, b"5", most=9)])
        assert later is LEFT
        await _take(store, two)
        [alone] = await store.post([note(two, b"6", most=9)])
        assert alone in (LEFT, *(message for message in await store.messages() if message.key == two))


@clause()
async def messages_for_one_workflow_keep_their_order(bench: Bench) -> None:
    """Of the messages of one call those for one workflow are left in their order, and all behind those of earlier ones.

    The same order is told by `messages` and by `claim`, and the numbers of messages ascend in it.
    """
    async with bench.opened() as store:
        keys = await create(store, creation("one", owner="a"), creation("two", owner="a"))
        for turn in range(3):
            await post(store, *(note(key, b"%d" % (10 * turn + place)) for place in range(10) for key in keys[::-1]))
        expected = [b"%d" % number for number in range(30)]
        for key in keys:
            found = [message for message in await store.messages() if message.key == key]
            assert [message.body for message in found] == expected
            assert [message.number for message in found] == sorted({message.number for message in found})
            assert not await append(store, Append(key=key, standing=sleeping()))
            [claim] = await claim_keys(store, "a", key)
            assert claim.messages == found


@clause()
async def thousands_of_messages_at_once(bench: Bench) -> None:
    """`post` leaves thousands of messages in one call, for one workflow or for many."""
    async with bench.opened() as store:
        keys = await create(store, *(creation(f"w{number}", owner="a") for number in range(100)))
        one = [note(keys[0], b"%d" % number, once=str(number)) for number in range(MANY)]
        assert await post(store, *one) == [LEFT] * MANY
        assert await bodies(store) == [message.body for message in one]
        await _take(store, keys[0])
        assert await post(store, *(note(keys[number % 100]) for number in range(MANY))) == [LEFT] * MANY
        assert len(await store.messages()) == MANY


# -- who is woken by it --------------------------------------------------------------------------


@clause()
async def a_message_wakes_who_has_just_let_go(bench: Bench) -> None:
    """A workflow that is released with a message waiting is due at once: its owner did not know of the message."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await post(store, note(key))
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=sleeping(9_000_000)))
        assert (await look(store, "one")).due_at == 0
        [claim] = await claim_due(store, "a")
        assert [message.body for message in claim.messages] == [b"hello"]


@clause()
async def a_message_that_was_taken_wakes_nobody(bench: Bench) -> None:
    """A message that an append has taken is gone, in the same transaction."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await post(store, note(key))
        [message] = await store.messages()
        assert not await append(store, Append(key=key, standing=sleeping(9_000_000), taken=[message.number]))
        assert (await look(store, "one")).due_at == 9_000_000
        assert [claim.messages for claim in await claim_keys(store, "a", key)] == [[]]


@clause()
async def what_is_stuck_is_not_woken_by_what_it_left(bench: Bench) -> None:
    """A stuck workflow is not due for messages that it had: it may be unable to take any. The next one wakes it."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", owner="a"))
        await post(store, note(key))
        assert not await append(store, Append(key=key, standing=stuck()))
        assert (await look(store, "one")).due_at is None
        await post(store, note(key))
        assert (await look(store, "one")).due_at == 0


@clause()
async def a_message_makes_a_workflow_due(bench: Bench) -> None:
    """`post` makes each workflow that gets a message due at once, be it waiting or stuck, and no other."""
    async with bench.opened() as store:
        for standing in (sleeping(), stuck()):
            names = [f"{who}/{standing.status.value}" for who in ("one", "two", "other")]
            keys = await create(store, *(creation(name, owner="a") for name in names))
            assert not await append(store, *(Append(key=key, standing=standing) for key in keys))
            await post(store, note(keys[0]), note(keys[1]))
            assert [(await look(store, name)).due_at for name in names] == [0, 0, None]


@clause()
async def what_is_not_left_wakes_nobody(bench: Bench) -> None:
    """A message that is known or finds no room changes nothing: its workflow is not due for it."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", owner="a"))
        await post(store, note(key, once="x"))
        assert not await append(store, Append(key=key, standing=stuck()))
        before = await look(store, "one")
        assert await post(store, note(key, once="x"), note(key, most=1)) == [KNOWN, FULL]
        assert await look(store, "one") == before


# -- the end -------------------------------------------------------------------------------------


@clause()
async def a_message_for_nobody_is_dropped(bench: Bench) -> None:
    """`post` to a workflow that does not exist says that it has ended, and does nothing."""
    async with bench.opened() as store:
        assert await post(store, note(WorkflowKey(12)), note(WorkflowKey(12), once="x", most=1)) == [ENDED, ENDED]
        assert await store.messages() == []


@clause()
async def an_ended_workflow_gets_no_messages(bench: Bench) -> None:
    """Nothing makes a workflow due that has ended: neither messages that it left, nor those that come.

    The answer is that it has ended, unless the message had been left before: a sender that was interrupted and asks
    again must not hear that it came too late.
    """
    async with bench.opened() as store:
        for status in (status for status in Status if status.final):
            [key] = await create(store, creation(status.value, 7, owner="a"))
            await post(store, note(key, once="x"))
            assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=over(status)))
            late = [note(key), note(key, once="x"), note(key, once="y"), note(key, once="x", most=1)]
            assert await post(store, *late) == [ENDED, KNOWN, ENDED, KNOWN]
            found = await look(store, status.value)
            assert (found.status, found.due_at, found.owner) == (status, None, None)
            assert await store.messages() == []


# -- what is left once only ----------------------------------------------------------------------


@clause()
async def what_is_left_once_is_not_left_again(bench: Bench) -> None:
    """A message with a word that was used for the workflow before is known: in the same call, and in all later ones.

    The word alone says that it is the same message. For another workflow it is another one, and so is one without.
    """
    async with bench.opened() as store:
        one, two = await create(store, creation("one", owner="a"), creation("two", owner="a"))
        posts = [note(one, b"1", once="x"), note(one, b"2", once="x"), note(two, b"3", once="x")]
        assert await post(store, *posts) == [LEFT, KNOWN, LEFT]
        again = note(one, b"4", kind="other", once="x")
        odd = "ü' \U0001f33f"
        posts = [again, note(one, b"5", once=odd), note(one, b"6", once=""), note(one, b"7"), note(one, b"7")]
        assert await post(store, *posts) == [KNOWN, LEFT, LEFT, LEFT, LEFT]
        assert await post(store, note(one, once=odd), note(one, once=""), note(two, once="x")) == [KNOWN] * 3
        assert sorted(await bodies(store)) == [b"1", b"3", b"5", b"6", b"7", b"7"]


@clause()
async def what_was_taken_is_known_still(bench: Bench) -> None:
    """A word is remembered when its message was taken, and when the workflow has changed hands."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", owner="a"))
        await post(store, note(key, once="x"))
        await _take(store, key)
        assert await post(store, note(key, once="x")) == [KNOWN]
        assert not await append(store, Append(key=key, standing=sleeping(0)))
        [claim] = await claim_due(store, "a")
        assert claim.messages == []
        assert await post(store, note(key, once="x"), note(key, once="y")) == [KNOWN, LEFT]


@clause()
async def what_ends_leaves_the_messages_of_others(bench: Bench) -> None:
    """The end of a workflow removes its messages and no other workflow's; words are remembered."""
    async with bench.opened() as store:
        one, two = await create(store, creation("one", 7, owner="a"), creation("two", owner="a"))
        await post(store, note(one, b"1", once="x"), note(two, b"2", once="x"))
        assert not await append(store, Append(key=one, rows=rows(2, 2, 7), standing=over()))
        assert await bodies(store) == [b"2"]
        assert await post(store, note(two, once="x"), note(one, once="x")) == [KNOWN, KNOWN]


# -- how many ------------------------------------------------------------------------------------


@clause()
async def who_has_too_many_messages_gets_no_more(bench: Bench) -> None:
    """A message is not left where as many wait as it allows, of whatever kind; those of the same call count.

    There is room again when some are taken. A message that sets no bound is left, and counts.
    """
    async with bench.opened() as store:
        one, two = await create(store, creation("one", owner="a"), creation("two", owner="a"))
        posts = [note(one, most=2), note(two), note(one, kind="other", most=2), note(one, most=2), note(one, most=3)]
        assert await post(store, *posts) == [LEFT, LEFT, LEFT, FULL, LEFT]
        assert await post(store, note(one, most=3), note(two, most=2), note(one), note(one, most=4)) == [
            FULL,
            LEFT,
            LEFT,
            FULL,
        ]
        assert len(await store.messages()) == 6
        await _take(store, one)
        assert await post(store, note(one, most=1), note(one, most=1)) == [LEFT, FULL]


@clause()
async def what_is_known_is_known_where_there_is_no_room(bench: Bench) -> None:
    """Of a message that was left before it is said that it is known, also where there is no room."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", owner="a"))
        assert await post(store, note(key, once="x", most=1), note(key, once="x", most=1)) == [LEFT, KNOWN]
        assert await post(store, note(key, once="x", most=1), note(key, once="y", most=1)) == [KNOWN, FULL]


@clause()
async def what_found_no_room_may_come_again(bench: Bench) -> None:
    """A message that found no room is not known: it is left when it comes again and there is some."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", owner="a"))
        bounded = note(key, b"2", once="x", most=1)
        assert await post(store, note(key, b"1"), bounded, bounded) == [LEFT, FULL, FULL]
        await _take(store, key)
        assert await post(store, bounded, bounded) == [LEFT, KNOWN]
        assert await bodies(store) == [b"2"]


# -- several at the same time --------------------------------------------------------------------


@clause(shared=True)
async def many_who_post_at_once_are_let_in_one_by_one(bench: Bench) -> None:
    """Of what several post at the same time the same is left once, and no more than there is room for."""
    async with bench.opened() as a, bench.opened("b") as b:
        one, two = await create(a, creation("one", owner="a"), creation("two", owner="a"))
        answers: list[Posted] = []

        async def say(store: Store, number: int) -> None:
            answers.extend(await post(store, note(one, once=str(number)), note(two, most=ROUNDS // 2)))

        async with trio.open_nursery() as nursery:
            for number in range(ROUNDS):
                nursery.start_soon(say, a, number)
                nursery.start_soon(say, b, number)
        assert [*map(answers.count, Posted)] == [ROUNDS + ROUNDS // 2, 0, ROUNDS, ROUNDS + ROUNDS // 2]
        assert len(await a.messages()) == ROUNDS + ROUNDS // 2


@clause(shared=True)
async def no_message_is_slept_through(bench: Bench) -> None:
    """A message that is left while its workflow is being let go of makes it due at once, whichever comes first."""
    async with bench.opened() as a, bench.opened("b") as b:
        keys = await create(a, *(creation(f"w{number}", owner="a") for number in range(ROUNDS)))
        for key in keys:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(append, a, Append(key=key, standing=sleeping()))
                nursery.start_soon(post, b, note(key))
        assert {workflow.due_at for workflow in await a.find([f"w{number}" for number in range(ROUNDS)])} == {0}
        assert [len(claim.messages) for claim in await claim_due(b, "b")] == [1] * ROUNDS
