"""Who is early and who makes the workflow at the same time: both orders, staged, and what each sees of the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio

from nurselog import Status, outbox, workflow
from nurselog._stores._postgres.address import parse
from nurselog.abc import Addressed, Batch, Created, Store
from nurselog.testing.stores.records import FULL, KNOWN, LEFT, bodies, claim_due, created_of, creation, early
from tests.stores.kit import behind, opened


@workflow(name="work")
async def work() -> None:
    """Stand for what is made."""


KEEP = (
    "SELECT posted FROM leave_early(0, 5, ARRAY['one'], ARRAY['note'], ARRAY['1'::bytea], ARRAY['x'], ARRAY[5::bigint])"
)


@pytest.fixture
async def store(postgres_url: str) -> Any:
    async with opened(postgres_url) as store:
        yield store


@pytest.fixture
async def other(postgres_url: str, store: Store) -> Any:
    """Somebody else's connection, in a transaction of its own."""
    with psycopg.connect(parse(postgres_url).conninfo, options="-c search_path=nurselog") as connection:
        yield connection


async def make(store: Store) -> Created:
    [created] = created_of(await store.commit(Batch(creations=[creation("one", owner="a")])))
    return created


async def blocked(url: str, call: Callable[[], Awaitable[Any]], then: Callable[[], object]) -> Any:
    """Make a call that must wait for somebody else; when it does, do something, and return what the call did."""
    answers = list[Any]()

    async def make_it() -> None:
        answers.append(await call())

    with trio.fail_after(60), behind(url) as admin:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(make_it)
            while not waiting(admin):  # noqa: ASYNC110 - there is no event
                await trio.sleep(0.01)
            assert not answers
            then()
    return answers[0]


def waiting(admin: psycopg.Connection[Any]) -> bool:
    return bool(admin.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall())


# -- the message comes first ---------------------------------------------------------------------


async def test_who_makes_it_waits_for_what_is_being_kept(postgres_url: str, store: Store, other: Any) -> None:
    assert other.execute(KEEP).fetchall() == [("kept",)]
    created = await blocked(postgres_url, lambda: make(store), other.commit)
    assert (created.new, created.mail) == (True, True)
    assert await bodies(store) == [b"1"]


async def test_what_was_not_kept_after_all_is_nowhere(postgres_url: str, store: Store, other: Any) -> None:
    other.execute(KEEP)
    created = await blocked(postgres_url, lambda: make(store), other.rollback)
    assert (created.new, created.mail) == (True, False)
    assert await bodies(store) == []


async def test_two_who_are_early_wait_for_each_other(postgres_url: str, store: Store, other: Any) -> None:
    other.execute(KEEP)
    given: list[Addressed] = [early("one", once="x"), early("one", b"2"), early("one", most=2)]
    assert await blocked(postgres_url, lambda: store.post_early(given), other.commit) == [KNOWN, LEFT, FULL]
    await make(store)
    assert await bodies(store) == [b"1", b"2"]


# -- the workflow comes first --------------------------------------------------------------------


async def test_who_is_early_waits_for_a_workflow_that_is_being_made(
    postgres_url: str, store: Store, other: Any
) -> None:
    outbox.submit(other, work, id="one")
    given = [early("one", b"1", once="x"), early("new", b"2"), early("one", once="x")]
    assert await blocked(postgres_url, lambda: store.post_early(given), other.commit) == [LEFT, LEFT, KNOWN]
    [claim] = await claim_due(store, "a")
    assert [message.body for message in claim.messages] == [b"1"]


async def test_a_workflow_that_was_not_made_after_all_is_awaited(postgres_url: str, store: Store, other: Any) -> None:
    outbox.submit(other, work, id="one")
    assert await blocked(postgres_url, lambda: store.post_early([early("one", b"1")]), other.rollback) == [LEFT]
    assert (await make(store)).mail


# -- outboxes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", list(psycopg.IsolationLevel))
async def test_an_outbox_gives_what_was_kept(store: Store, other: Any, level: psycopg.IsolationLevel) -> None:
    await store.post_early([early("one", b"1", once="key k")])
    other.isolation_level = level
    outbox.submit(other, work, id="one")
    assert not outbox.send(other, "one", "t", 1, key="k")
    outbox.submit(other, work, id="two")
    other.commit()
    claims = await claim_due(store, "a")
    assert {claim.workflow.id: [message.body for message in claim.messages] for claim in claims} == {
        "one": [b"1"],
        "two": [],
    }
    assert await store.post_early([early("two"), early("three")]) == [LEFT, LEFT]


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
async def test_an_outbox_that_cannot_see_what_was_kept_must_try_again(
    store: Store, other: Any, level: psycopg.IsolationLevel
) -> None:
    other.isolation_level = level
    other.execute("SELECT 1")  # there is its snapshot
    await store.post_early([early("one", b"1")])
    with pytest.raises(psycopg.errors.SerializationFailure):
        outbox.submit(other, work, id="one")
    other.rollback()
    outbox.submit(other, work, id="one")
    other.commit()
    [claim] = await claim_due(store, "a")
    assert [message.body for message in claim.messages] == [b"1"]


async def test_an_outbox_on_a_file_gives_what_was_kept(file_url: str, path: Path) -> None:
    async with opened(file_url) as store:
        await store.post_early([early("one", b"1", once="key k")])
        with closing(sqlite3.connect(path)) as connection:
            outbox.submit(connection, work, id="one")
            assert not outbox.send(connection, "one", "t", 1, key="k")
            connection.commit()
        [claim] = await claim_due(store, "a")
        assert [message.body for message in claim.messages] == [b"1"]


# -- what nobody sees ----------------------------------------------------------------------------


async def test_nothing_is_left_of_how_they_lock_each_other_out(store: Store, other: Any) -> None:
    await store.post_early([early("one"), early("two")])
    assert other.execute("SELECT count(*) FROM workflow").fetchone() == (0,)
    assert other.execute("SELECT id, place, at FROM early_message ORDER BY id").fetchall() == [
        ("one", 1, 5_000_000),
        ("two", 1, 5_000_000),
    ]
    await make(store)
    assert [found.status for found in await store.find(["one", "two"])] == [Status.PENDING]
    assert other.execute("SELECT id FROM early_message").fetchall() == [("two",)]
