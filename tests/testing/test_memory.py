"""The store of a life."""

from __future__ import annotations

from typing import cast

from trio.testing import MockClock

from nurselog import Status
from nurselog._engine.messages import Kind, body_of
from nurselog._engine.run import standing_after
from nurselog.abc import (
    Append,
    Batch,
    Claim,
    Clock,
    Creation,
    Lease,
    Post,
    Posted,
    Standing,
    Store,
    Wanted,
    WorkflowKey,
)
from nurselog.lowlevel import Cause, Claimed, Row, ScopeCancelled, Started, decode_event, encode_event
from nurselog.testing import VirtualClock
from nurselog.testing.memory import KEY, MemoryStore
from nurselog.testing.stores.records import post

WANTED = Wanted(worker="me", names=frozenset({"it"}), limit=1)
NAMED = Wanted(worker="me", names=frozenset({"it"}), limit=1, keys=frozenset({KEY}))


async def opened(clock: Clock) -> Store:
    store = cast("Store", MemoryStore(clock))
    await store.open(Lease(worker="me", duration=1))
    assert not await store.find(["a"])
    row = Row(1, clock.utc(), 0, 1, encode_event(Started(name="it", seed="0")), b"[]")
    new = Creation(id="a", name="it", digest="", status=Status.RUNNING, owner=None, at=clock.utc(), rows=[row])
    [created] = (await store.commit(Batch(creations=[new]))).created
    assert created is not None
    assert created.new
    assert created.workflow == (await store.find(["b", "a"]))[0]
    assert not await store.find(["b"])
    return store


async def claimed(store: Store, wanted: Wanted = WANTED) -> Claim:
    [claim] = await store.claim(wanted)
    return claim


def letter(body: bytes, *, once: str | None = None, most: int | None = None) -> Post:
    return Post(key=KEY, kind=Kind.CANCEL.value, body=body, once=once, most=most)


async def stand(store: Store, **standing: object) -> None:
    change = Append(key=KEY, standing=Standing(release=True, **standing))  # type: ignore[arg-type]  # each test's own
    await store.commit(Batch(appends=[change]))


async def test_one_owner_at_a_time() -> None:
    store = await opened(VirtualClock())
    assert await store.next_due(WANTED) == 0
    claim = await claimed(store)
    assert isinstance(decode_event(claim.rows[-1].event), Claimed)
    assert claim.workflow.owner == "me"
    assert not await store.claim(WANTED)
    assert await store.next_due(WANTED) is None
    assert [row.seq for row in await store.read(KEY)] == [1, 2]
    assert list(await store.read(KEY, -1)) == [claim.rows[-1]]
    assert list(await store.read(KEY, 2)) == [claim.rows[-1]]


async def test_what_sleeps_is_due_later(autojump_clock: MockClock) -> None:
    clock = VirtualClock()
    store = await opened(clock)
    await claimed(store)
    due = clock.utc() + 10
    await stand(store, status=Status.WAITING, due_at=due)
    assert not await store.claim(WANTED)
    assert await store.next_due(WANTED) == due
    clock.set(due)
    assert (await claimed(store)).workflow.status is Status.RUNNING


async def test_a_stuck_one_waits_for_whoever_names_it() -> None:
    store = await opened(VirtualClock())
    await claimed(store)
    await stand(store, status=Status.STUCK, due_at=None, problem="why")
    assert not await store.claim(WANTED)
    assert (await claimed(store, NAMED)).workflow.problem is None


async def test_messages_wait_until_they_are_taken() -> None:
    store = await opened(VirtualClock())
    claim = await claimed(store)
    assert await post(store, letter(body_of("why"))) == [Posted.LEFT]
    [message] = await store.messages()
    await stand(store, status=Status.WAITING, due_at=None)
    assert (await claimed(store)).messages == (message,)
    row = Row(4, claim.rows[-1].at, 0, 2, encode_event(ScopeCancelled(by=Cause.EXTERNAL)))
    standing = standing_after(ScopeCancelled(by=Cause.EXTERNAL))
    await store.commit(Batch(appends=[Append(key=KEY, rows=[row], standing=standing, taken=[message.number])]))
    assert not await store.messages()
    await stand(store, status=Status.CANCELLING, due_at=0)
    assert (await claimed(store)).workflow.status is Status.CANCELLING


async def test_messages_are_left_once_and_where_there_is_room() -> None:
    store = await opened(VirtualClock())
    await claimed(store)
    stranger = Post(key=WorkflowKey(2), kind="any", body=b"")
    posts = [letter(b"1", once="x"), letter(b"2", once="x", most=1), letter(b"3", once="y", most=1), stranger]
    assert await post(store, *posts) == [Posted.LEFT, Posted.KNOWN, Posted.FULL, Posted.ENDED]
    [message] = await store.messages()
    more = [letter(b"4", once="x"), letter(b"5", most=1), letter(b"6", once="y", most=1)]
    await store.commit(Batch(appends=[Append(key=KEY, taken=[message.number], posts=more)]))
    assert [message.body for message in await store.messages()] == [b"5"]


async def test_what_has_ended_takes_nothing_more() -> None:
    store = await opened(VirtualClock())
    await claimed(store)
    await post(store, letter(b"too late"))
    await stand(store, status=Status.COMPLETED, due_at=None)
    assert await post(store, letter(b"much too late")) == [Posted.ENDED]
    assert not await store.messages()
    assert await store.next_due(WANTED) is None
    assert not await store.claim(NAMED)
    await store.close()
