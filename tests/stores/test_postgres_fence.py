"""The fence under real concurrency: two transactions that do not see each other, in both orders, staged on purpose.

One side is a store. The other is a connection of the test's, with its transaction open for as long as the test likes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, TypeVar

import psycopg
import pytest
import trio

from nurselog._errors import StoreUnavailable
from nurselog._log.events import Claimed, Row, encode_event
from nurselog._stores._postgres import session
from nurselog._stores._postgres.driver import TrioConnection
from nurselog.abc import Append, Batch, Claim, Posted, Receipt, Store, WorkflowKey
from nurselog.testing.stores.records import (
    StandingClock,
    append,
    claim_due,
    claim_keys,
    create,
    creation,
    look,
    note,
    row,
    rows,
    sleeping,
)
from tests.stores.kit import behind, opened, receivers

T = TypeVar("T")
OLD, NEW = 7, 4711


class Rival(psycopg.Connection[Any]):
    """Somebody else's transaction, open until the test ends it."""

    def append(self, key: WorkflowKey, lines: Sequence[Row]) -> list[int]:
        """Append as an owner does, and do not commit; return who was refused."""
        arrays = [
            [key for _ in lines],
            [lines[0].seq for _ in lines],
            *([getattr(line, name) for line in lines] for name in ("seq", "at", "after", "writer", "format")),
        ]
        query = f"SELECT append_rows(0, {', '.join(['%s::bigint[]'] * 7)}, %s::text[], %s::bytea[])"
        values = [*arrays, [line.event.decode() for line in lines], [line.value for line in lines]]
        [(refused,)] = self.execute(query, values).fetchall()
        found: list[int] = refused
        return found

    def claim(self, key: WorkflowKey, worker: str) -> int:
        """Take over as a new owner does, and do not commit; return the writer."""
        call = "claim_workflows(0, %s, 1::bigint << 62, 6000000, 0, 9, %s::bigint[], '{}', '{}', '{}', 1, %s)"
        event = encode_event(Claimed(worker=worker)).decode()
        [(writer,)] = self.execute(f"SELECT writer FROM {call}", [worker, [key], event]).fetchall()
        found: int = writer
        return found

    def leave(self, key: WorkflowKey, once: str) -> None:
        """Leave a message, and do not commit."""
        arrays = "ARRAY[%s::bigint], '{note}', ARRAY[''::bytea], ARRAY[%s], '{NULL}'"
        self.execute(f"SELECT leave_messages(0, {arrays})", [key, once])

    def make(self, key: int, id: str) -> None:
        """Make a workflow, and do not commit."""
        values = "(0, %s, %s, NULL, 'work', NULL, 'x', 'pending', NULL, 0, NULL, 0, 0)"
        self.execute(f"INSERT INTO workflow VALUES {values}", [key, id])


@asynccontextmanager
async def rival(url: str) -> AsyncIterator[Rival]:
    with Rival.connect(url, options="-c search_path=nurselog") as connection:
        yield connection


async def while_waiting(url: str, call: Callable[[], Awaitable[T]], deed: Callable[[], object]) -> T:
    """Make a call, and do something as soon as it waits for somebody else's transaction."""
    answers: list[T] = []

    async def make() -> None:
        answers.append(await call())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await one_waits(url)
        deed()
    return answers[0]


async def one_waits(url: str) -> None:
    """Wait until somebody waits for somebody else's transaction."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with behind(url) as connection:
        while connection.execute(query).fetchone() != (1,):
            await trio.lowlevel.checkpoint()


async def two(store: Store, *, free: bool) -> list[WorkflowKey]:
    """Make a workflow to fight for, with a log of two rows, and another one."""
    return await create(
        store, creation("contested", OLD, length=2, owner=None if free else "a"), creation("other", 8, owner="a")
    )


@pytest.mark.parametrize("length", [1, 3])
async def test_an_append_under_way_is_read_by_who_takes_over(postgres_url: str, length: int) -> None:
    """The old owner's transaction came first; the new owner waits for it, collides, and tries again."""
    async with opened(postgres_url) as store, rival(postgres_url) as zombie:
        contested, _ = await two(store, free=True)
        written = rows(3, 2 + length, OLD)
        assert zombie.append(contested, written) == []
        claims = await while_waiting(postgres_url, lambda: claim_due(store, "a"), zombie.commit)
        [claim] = claims
        assert claim.rows[:-1] == [*rows(1, 2, OLD), *written]
        assert claim.rows[-1].writer == claim.writer
        assert await store.read(contested) == claim.rows


async def test_an_append_that_is_undone_was_never_there(postgres_url: str) -> None:
    async with opened(postgres_url) as store, rival(postgres_url) as zombie:
        await two(store, free=True)
        zombie.append((await look(store, "contested")).key, rows(3, 4, OLD))
        [claim] = await while_waiting(postgres_url, lambda: claim_due(store, "a"), zombie.rollback)
        assert [row.seq for row in claim.rows] == [1, 2, 3]


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("more", [True, False])
async def test_a_takeover_under_way_refuses_who_is_taken_over(
    postgres_url: str,
    length: int,
    more: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The takeover came first; the old owner does not see it, waits, and collides, with all rows and all that is more.

    Others in the same batch do not suffer.
    """
    async with opened(postgres_url) as store, opened(postgres_url, worker="b"), rival(postgres_url) as taker:
        contested, other = await two(store, free=False)
        taker.execute("UPDATE workflow SET owner = NULL WHERE key = %s", [contested])
        taker.commit()
        taker.claim(contested, "b")
        standing = sleeping(9) if more else None
        batch = [
            Append(key=contested, rows=rows(3, 2 + length, OLD)),
            Append(key=other, rows=rows(2, 3, 8), standing=standing),
        ]
        refused = await while_waiting(postgres_url, lambda: append(store, *batch), taker.commit)
        assert refused == {contested}
        log = await store.read(contested)
        assert [row.seq for row in log] == [1, 2, 3]
        assert log[-1].writer != OLD
        assert await store.read(other) == [*rows(1, 1, 8), *rows(2, 3, 8)]
        assert (await look(store, "other")).due_at == (9 if more else 0)
        assert await append(store, Append(key=contested, rows=rows(4, 4, OLD))) == {contested}, "and nothing behind it"


async def test_a_takeover_that_is_undone_refuses_nobody(postgres_url: str) -> None:
    async with opened(postgres_url) as store, opened(postgres_url, worker="b"), rival(postgres_url) as taker:
        contested, _ = await two(store, free=False)
        taker.execute("UPDATE workflow SET owner = NULL WHERE key = %s", [contested])
        taker.commit()
        taker.claim(contested, "b")
        batch = Append(key=contested, rows=rows(3, 4, OLD))
        assert not await while_waiting(postgres_url, lambda: append(store, batch), taker.rollback)
        assert await store.read(contested) == rows(1, 4, OLD)


async def test_an_end_waits_for_a_takeover_and_is_refused(postgres_url: str) -> None:
    """The standing needs the workflow's row, which the takeover holds: the old owner waits there, before it writes."""
    async with opened(postgres_url) as store, opened(postgres_url, worker="b"), rival(postgres_url) as taker:
        contested, _ = await two(store, free=False)
        taker.execute("UPDATE workflow SET owner = NULL WHERE key = %s", [contested])
        taker.commit()
        taker.claim(contested, "b")
        for batch in (
            Append(key=contested, rows=rows(3, 3, OLD), standing=sleeping(9)),
            Append(key=contested, standing=sleeping(9)),
        ):
            if taker.info.transaction_status:
                assert await while_waiting(postgres_url, lambda: append(store, batch), taker.commit) == {contested}  # noqa: B023 - it ends with the turn
            else:
                assert await append(store, batch) == {contested}
        workflow = await look(store, "contested")
        assert (workflow.owner, workflow.due_at) == ("b", 0)


async def test_due_workflows_that_somebody_holds_are_passed_over(postgres_url: str) -> None:
    async with opened(postgres_url) as store, opened(postgres_url, worker="b"), rival(postgres_url) as taker:
        one, two = await create(store, creation("one"), creation("two"))
        taker.claim(one, "b")
        assert [claim.workflow.key for claim in await claim_due(store, "a")] == [two]
        assert await while_waiting(postgres_url, lambda: claim_keys(store, "a", one), taker.commit) == []


async def test_who_is_being_removed_as_dead_makes_no_orphan(postgres_url: str, clock: StandingClock) -> None:
    """The creation names an owner; whoever lets the owner's workflows go does not see it yet, and must wait."""
    async with opened(postgres_url, clock) as store, rival(postgres_url) as reaper:
        reaper.execute("SELECT remove_workers(0, '{a}')")
        batch = Batch(creations=[creation("one", owner="a")])
        receipt = await while_waiting(postgres_url, lambda: store.commit(batch), reaper.commit)
        assert receipt.created[0].workflow.owner is None


async def test_an_end_and_a_message_at_the_same_time(postgres_url: str) -> None:
    async with opened(postgres_url) as store, rival(postgres_url) as sender:
        [key] = await create(store, creation("one", OLD, owner="a"))
        sender.leave(key, "x")
        batch = Append(key=key, rows=rows(2, 2, OLD), standing=sleeping(9))
        assert not await while_waiting(postgres_url, lambda: append(store, batch), sender.commit)
        assert (await look(store, "one")).due_at == 0, "the message wakes who has just let go"


@pytest.mark.parametrize("taken", [True, False])
async def test_a_message_that_is_being_left_is_known_to_who_comes_next(postgres_url: str, *, taken: bool) -> None:
    async with opened(postgres_url) as store, rival(postgres_url) as sender:
        [key] = await create(store, creation("one", owner="a"))
        sender.leave(key, "x")
        posts = [note(key, once="x"), note(key, once="y", most=1)]
        done = sender.commit if taken else sender.rollback
        became = await while_waiting(postgres_url, lambda: store.post(posts), done)
        assert [*map(Posted.of, became)] == ([Posted.KNOWN, Posted.FULL] if taken else [Posted.LEFT, Posted.FULL])


async def test_who_gets_messages_is_locked_before_anything_is_written(postgres_url: str) -> None:
    """Else the append would hold a row of a log and wait for a receiver, and a takeover the other way round."""
    async with opened(postgres_url) as store, opened(postgres_url, worker="b") as taker, rival(postgres_url) as other:
        first, one = await create(store, creation("first", owner="a"), creation("one", OLD))
        other.leave(first, "x")
        part = Append(key=one, rows=rows(2, 2, OLD), posts=[note(key, once="y") for key in (first, one)])
        refused: list[WorkflowKey] = []

        async def send() -> None:
            refused.extend(await append(store, part))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await one_waits(postgres_url)
            [claim] = await claim_keys(taker, "b", one)
            other.rollback()
        assert [row.seq for row in claim.rows] == [1, 2]
        assert (refused, receivers(postgres_url)) == ([one], [])


# -- children


@pytest.mark.parametrize("length", [0, 1])
async def test_a_parent_that_is_being_taken_over_gets_no_child(
    postgres_url: str, clock: StandingClock, length: int
) -> None:
    async with opened(postgres_url, clock) as store, opened(postgres_url, worker="b"), rival(postgres_url) as taker:
        [parent] = await create(store, creation("one", OLD))
        taker.claim(parent, "b")
        part = Append(key=parent, rows=rows(2, 1 + length, OLD))
        batch = Batch(creations=[creation("one/1", parent=parent)], appends=[part])
        receipt = await while_waiting(postgres_url, lambda: store.commit(batch), taker.commit)
        assert (receipt.refused, [*receipt.created]) == ({parent}, [None])
        assert await store.find(["one/1"]) == []


async def test_nobody_takes_a_parent_over_while_its_child_is_made(postgres_url: str) -> None:
    """The commit has looked at the fence, and waits for somebody who is making another workflow of the child's id."""
    async with opened(postgres_url) as store, opened(postgres_url, worker="b") as taker, rival(postgres_url) as other:
        [parent] = await create(store, creation("one", OLD))
        other.make(1024000, "one/1")
        part = Append(key=parent, rows=rows(2, 2, OLD))
        receipts: list[Receipt] = []

        async def bear() -> None:
            receipts.append(await store.commit(Batch(creations=[creation("one/1", parent=parent)], appends=[part])))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bear)
            await one_waits(postgres_url)
            assert await claim_due(taker, "b") == []
            other.rollback()
        [receipt] = receipts
        assert (receipt.refused, [created and created.new for created in receipt.created]) == (frozenset(), [True])
        assert {claim.workflow.id for claim in await claim_due(taker, "b")} == {"one", "one/1"}


# -- creations


async def test_two_creations_of_one_id_at_the_same_time(postgres_url: str) -> None:
    async with opened(postgres_url) as store, rival(postgres_url) as other:
        other.make(1024000, "one")
        batch = Batch(creations=[creation("one", digest="y")])
        receipt = await while_waiting(postgres_url, lambda: store.commit(batch), other.commit)
        assert [(created.new, created.workflow.digest) for created in receipt.created] == [(False, "x")]
        assert await store.read(receipt.created[0].workflow.key) == []


async def test_one_that_collides_for_ever_gives_up(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "TRIES", 3)
    calls = 0

    async def collide(*_: object) -> None:
        nonlocal calls
        calls += 1
        raise psycopg.errors.UniqueViolation

    async with opened(postgres_url) as store:
        with monkeypatch.context() as patch, pytest.raises(StoreUnavailable, match="in the way"):
            patch.setattr(TrioConnection, "call", collide)
            await append(store, Append(key=WorkflowKey(1024), rows=rows(2, 3, OLD)))
    assert calls == 3


async def test_owners_that_chase_each_other(postgres_url: str, scale: int) -> None:
    """Two engines take one workflow from each other as fast as they can, and write with all that they ever held."""
    async with opened(postgres_url) as a, opened(postgres_url, worker="b") as b:
        [key] = await create(a, creation("one", 1))
        accepted: dict[int, Row] = {}

        async def chase(store: Store, worker: str) -> None:
            held: list[Claim] = []
            for turn in range(40 * scale):
                held += await claim_keys(store, worker, key)
                for claim in held[-3:]:
                    first = claim.rows[-1].seq + 1
                    lines = [row(seq, claim.writer) for seq in range(first, first + 1 + turn % 3)]
                    standing = sleeping(0) if turn % 2 else None
                    if not await append(store, Append(key=key, rows=lines, standing=standing)):
                        accepted.update((line.seq, line) for line in lines)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chase, a, "a")
            nursery.start_soon(chase, b, "b")
        log = await a.read(key)
        assert [line.seq for line in log] == list(range(1, len(log) + 1))
        writers = [line.writer for line in log]
        assert len(set(writers)) == 1 + sum(x != y for x, y in pairwise(writers)), "one stretch each"
        assert all(log[seq - 1] == line for seq, line in accepted.items()), "what was accepted is there"
        assert len(set(writers)) > 2
