"""Workers: their leases, how they come and go, what becomes of what they leave, and how they hear of each other.

Only stores must keep this that several processes use at the same time: one in memory needs no lease.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ... import Status, StoreUnavailable
from ...abc import Append, Change, Creation, Filter, Store
from .checks import Bench, clause
from .records import (
    LEASE,
    append,
    chatting,
    claim_due,
    claim_keys,
    create,
    creation,
    look,
    note,
    over,
    row,
    rows,
    sleeping,
    wanted,
)

PATIENCE = 60.0
"""Seconds within which one must hear of what others did, by Trio's clock: more than it takes, for slow machines."""


def _running(id: str, owner: str) -> Creation:
    return creation(id, 7, owner=owner, status=Status.RUNNING)


# -- leases --------------------------------------------------------------------------------------


@clause(shared=True)
async def a_lease_is_renewed(bench: Bench) -> None:
    """`renew` extends a lease that is good: the worker keeps what it owns."""
    async with bench.opened(duration=LEASE) as store:
        [key] = await create(store, _running("one", "a"))
        for _ in range(3):
            bench.clock.now += LEASE - 1
            assert await store.renew()
        assert (await look(store, "one")).owner == "a"
        assert await claim_keys(store, "a", key) == []


@clause(shared=True)
async def a_lease_that_has_expired_is_renewed_while_nobody_has_taken_over(bench: Bench) -> None:
    """`renew` of a lease that has expired is True where others have only had the right to take over: all stays."""
    async with bench.opened(duration=LEASE) as a, bench.opened("b") as b:
        [key] = await create(a, _running("one", "a"))
        bench.clock.now += 3 * LEASE
        assert await a.renew()
        assert (await look(a, "one")).owner == "a"
        bench.clock.now += LEASE - 1
        assert await b.renew()
        assert await claim_keys(b, "b", key) == []
        assert not await append(a, Append(key=key, rows=rows(2, 2, 7)))
        assert await claim_due(a, "a") == []


@clause(shared=True)
async def who_was_removed_owns_nothing_and_begins_anew(bench: Bench) -> None:
    """Where others have taken over, `renew` is False once, and nothing comes back to the former owner."""
    async with bench.opened(duration=LEASE) as a, bench.opened("b") as b:
        [key] = await create(a, _running("one", "a"))
        bench.clock.now += LEASE
        [claim] = await claim_due(b, "b")
        assert not await a.renew()
        assert await a.renew()
        assert await claim_keys(a, "a", key) == []
        assert await append(a, Append(key=key, rows=rows(2, 2, 7))) == {key}
        assert not await append(b, Append(key=key, rows=rows(3, 3, claim.writer)))


@clause(shared=True)
async def who_was_removed_may_have_its_own_again(bench: Bench) -> None:
    """Where others have only removed a worker, what it had is free: for itself, too, with a claim."""
    async with bench.opened(duration=LEASE) as a, bench.opened("b") as b:
        [key] = await create(a, _running("one", "a"))
        bench.clock.now += LEASE
        assert await claim_due(b, "b", "another") == []
        assert not await a.renew()
        assert (await look(a, "one")).owner is None
        [claim] = await claim_due(a, "a")
        assert claim.workflow.key == key
        assert await append(a, Append(key=key, rows=rows(2, 2, 7))) == {key}
        assert await a.renew()
        assert (await look(a, "one")).owner == "a"


@clause(shared=True)
async def a_worker_that_enters_anew_has_nothing_in_its_hands(bench: Bench) -> None:
    """`reenter` lets everything go, although the lease was good: the worker has forgotten what it ran."""
    async with bench.opened() as store:
        [key] = await create(store, _running("one", "a"))
        assert await claim_due(store, "a") == []
        await store.reenter()
        [claim] = await claim_due(store, "a")
        assert claim.workflow.key == key
        assert await store.renew()


@clause(shared=True)
async def without_a_lease_nothing_is_claimed(bench: Bench) -> None:
    """A worker whose lease has expired claims nothing: others take it to be dead. Until then it keeps what it has."""
    async with bench.opened(duration=LEASE) as a, bench.opened("b") as b:
        await create(b, _running("its own", "a"), creation("one"))
        bench.clock.now += LEASE
        assert await claim_due(a, "a") == []
        assert (await look(a, "its own")).owner == "a"
        assert await a.renew()
        assert [claim.workflow.id for claim in await claim_due(a, "a")] == ["one"]


@clause(shared=True)
async def an_expired_lease_is_enough(bench: Bench) -> None:
    """What a worker owned is free when its lease has expired, and not before."""
    async with bench.opened(duration=LEASE) as a, bench.opened("b") as b:
        [key] = await create(a, _running("one", "a"))
        bench.clock.now += LEASE - 1
        assert await claim_keys(b, "b", key) == []
        bench.clock.now += 1
        assert len(await claim_keys(b, "b", key)) == 1
        assert not await a.renew()


# -- coming and going ----------------------------------------------------------------------------


@clause(shared=True)
async def who_leaves_leaves_its_workflows(bench: Bench) -> None:
    """`close` frees what the worker owned, at once."""
    async with bench.opened("b") as b:
        async with bench.opened() as a:
            [key] = await create(a, _running("one", "a"))
            assert await claim_keys(b, "b", key) == []
        assert [claim.workflow.key for claim in await claim_due(b, "b")] == [key]


@clause(shared=True)
async def what_was_written_outlives_who_wrote_it(bench: Bench) -> None:
    """Workflows, logs and messages are there when all stores were closed and one is opened."""
    async with bench.opened() as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await store.post([note(key)])
    async with bench.opened("b") as store:
        [claim] = await claim_due(store, "b")
        assert claim.rows[:-1] == rows(1, 1, 7)
        assert [message.body for message in claim.messages] == [b"hello"]


@clause(shared=True)
async def two_living_workers_cannot_have_one_id(bench: Bench) -> None:
    """`open` raises StoreUnavailable while a worker of the same id lives, and takes nothing from it."""
    async with bench.opened() as store:
        await create(store, _running("one", "a"))
        second = True
        try:
            async with bench.opened():
                pass
        except StoreUnavailable:
            second = False
        assert not second, "a second worker 'a' was let in"
        assert (await look(store, "one")).owner == "a"
        assert await store.renew()


@clause(shared=True)
async def a_dead_worker_s_id_is_free(bench: Bench) -> None:
    """`open` takes the id of a worker whose lease has expired; what that one owned is free."""
    async with bench.opened(duration=LEASE) as former:
        await create(former, _running("one", "a"))
        bench.clock.now += LEASE
        async with bench.opened() as store:
            assert (await look(store, "one")).owner is None
            assert len(await claim_due(store, "a")) == 1


# -- hearing of each other -----------------------------------------------------------------------


@clause(shared=True)
async def others_hear_of_what_concerns_them(bench: Bench) -> None:
    """`wait_changed` tells, within some seconds, of messages for what one owns, of what is due, public rows, and ends.

    It may tell of what has not happened. So one looks whenever it tells, as engines do, and must have seen it then.
    """
    async with bench.opened() as a, bench.opened("b") as b, chatting(b):
        mine, free = await create(a, creation("mine", 7, owner="a"), creation("free", 8, name="free"))
        due = partial(is_due, a)
        await claim_keys(b, "b", free)
        await hear(a, Change.MESSAGE, a.messages, partial(b.post, [note(mine)]))
        await hear(a, Change.DUE, partial(due, "work"), partial(create, b, creation("new")))
        await hear(a, Change.DUE, partial(due, "free"), partial(append, b, Append(key=free, standing=sleeping(0))))
        await claim_keys(b, "b", free)
        await append(b, Append(key=free, standing=sleeping()))
        await hear(a, Change.DUE, partial(due, "free"), partial(b.post, [note(free)]))
        [claim] = await claim_keys(b, "b", free)
        next_seq = claim.rows[-1].seq + 1
        public = Append(key=free, rows=[row(next_seq, claim.writer)], public=True)
        await hear(a, Change.ROWS, partial(a.read, free, next_seq), partial(append, b, public))
        await hear(a, Change.END, partial(_ended, a), partial(append, b, Append(key=free, standing=over())))


@clause(shared=True)
async def waiting_for_others_may_be_left(bench: Bench) -> None:
    """Nothing is lost where a wait for others is cancelled: the next one tells of it."""
    async with bench.opened() as a, bench.opened("b") as b, chatting(b):
        [key] = await create(a, creation("one", owner="a"))
        for _ in range(3):
            with trio.move_on_after(0):
                await a.wait_changed()
        await hear(a, Change.MESSAGE, a.messages, partial(b.post, [note(key)]), left=3)


async def hear(
    store: Store,
    change: Change,
    seen: Callable[[], Awaitable[object]],
    deed: Callable[[], Awaitable[object]],
    left: int = 0,
) -> None:
    """See that a store tells of a deed of somebody else's while it waits for that, or after it has left waiting."""

    async def listen() -> None:
        heard = False
        while not heard:
            heard = change in await store.wait_changed() and bool(await seen())

    assert not await seen(), f"{change} was there before"
    with trio.move_on_after(PATIENCE) as scope:
        async with trio.open_nursery() as nursery:
            if not left:
                nursery.start_soon(listen)
                await trio.testing.wait_all_tasks_blocked()
            await deed()
            for _ in range(left):
                with trio.move_on_after(0):
                    await store.wait_changed()
            if left:
                nursery.start_soon(listen)
    assert not scope.cancelled_caught, f"it was not told of {change} within {PATIENCE} s"


async def is_due(store: Store, name: str) -> bool:
    """Return whether a workflow of this function is due, now or later."""
    return await store.next_due(wanted("a", name)) is not None


async def _ended(store: Store) -> bool:
    return bool(await store.list(Filter(status=frozenset({Status.COMPLETED}))))
