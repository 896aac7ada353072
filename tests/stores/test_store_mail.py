"""Messages that are left: what the checks of all stores cannot see, or need not ask of others."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from nurselog import Status
from nurselog._stores._sqlite.bulk import CHUNK
from nurselog.abc import Append, Batch, Creation, Posted
from nurselog.testing.stores.records import append, create, creation, note, over, rows, sleeping
from tests.stores.kit import connection_of, opened, opened_inline, remembered


@pytest.mark.parametrize("status", [status for status in Status if status.final])
async def test_the_words_of_an_ended_workflow_are_kept_and_no_new_ones(shared_url: str, status: Status) -> None:
    async with opened(shared_url) as store:
        [key, other] = await create(store, creation("one", 7, owner="a"), creation("other", owner="a"))
        await store.post([note(key, once="x"), note(key, once="y"), note(other, once="x")])
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=over(status)))
        await store.post([note(key, once="z")])
        assert remembered(shared_url) == sorted([(key, "x"), (key, "y"), (other, "x")])


async def test_messages_are_numbered_as_given_however_many(url: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", owner="a"))
        many = [note(key, str(number).encode()) for number in range(2 * CHUNK + 1)]
        assert {*await store.post(many)} == {Posted.LEFT}
        assert [message.body for message in await store.messages()] == [message.body for message in many]


@pytest.mark.parametrize("word", ["", "x\0y", "'\"\\", "\N{HERB}", "x" * 2000])
async def test_words_may_be_anything(url: str, word: str) -> None:
    async with opened(url) as store:
        [key] = await create(store, creation("one", owner="a"))
        assert await store.post([note(key, once=word), note(key, once=word)]) == [Posted.LEFT, Posted.KNOWN]
        assert await store.post([note(key, once=word)]) == [Posted.KNOWN]


def heads(statements: list[str]) -> list[str]:
    """Return the first words of each statement, up to the table's name."""
    return [
        re.sub(r"^(INSERT INTO \w+|UPDATE \w+|DELETE FROM \w+|\w+).*", r"\1", " ".join(one.split()))
        for one in statements
    ]


async def test_who_has_no_messages_and_no_children_pays_nothing_for_them(file_url: str) -> None:
    """Each statement is a step, in which the thread gives up the GIL and must get it back."""
    async with opened_inline(file_url) as store:
        one, two = await create(store, creation("one", 7, owner="a"), creation("two", 7, owner="a"))
        seen: list[str] = []
        connection_of(store).set_trace_callback(seen.append)

        async def committed(*appends: Append, creations: Sequence[Creation] = ()) -> list[str]:
            await store.commit(Batch(creations=creations, appends=appends))
            said = heads(seen)
            seen.clear()
            return said

        assert await committed(Append(key=one, rows=rows(2, 3, 7)), Append(key=two, rows=rows(2, 2, 7))) == [
            "INSERT INTO log"
        ]
        standing = Append(key=one, rows=rows(4, 4, 7), standing=sleeping())
        assert await committed(standing, creations=[creation("three")]) == [
            *("BEGIN", "SELECT", "INSERT INTO workflow", "SELECT", "INSERT INTO log", "UPDATE workflow", "COMMIT")
        ]
        posts = [note(two), note(two, once="x", most=9)]
        assert await committed(
            Append(key=one, rows=rows(5, 5, 7), posts=posts), creations=[creation("one/1", parent=one)]
        ) == [
            *("BEGIN", "INSERT INTO log", "SELECT", "INSERT INTO workflow", "SELECT", "INSERT INTO log"),
            *("SELECT", "SELECT", "SELECT", "INSERT INTO message", "UPDATE workflow", "INSERT INTO message_key"),
            "COMMIT",
        ]


async def test_words_are_looked_up_by_the_index(file_url: str) -> None:
    """However many are remembered."""
    async with opened_inline(file_url) as store:
        [key] = await create(store, creation("one", owner="a"))
        seen: list[str] = []
        connection = connection_of(store)
        connection.set_trace_callback(seen.append)
        await store.post([note(key, once="x", most=9)])
        connection.set_trace_callback(None)
        plans = [connection.execute(f"EXPLAIN QUERY PLAN {one}").fetchall() for one in seen if "SELECT" in one]
        steps = [
            detail for plan in plans for *_, detail in plan if re.search(r"\b(message|message_key|workflow)\b", detail)
        ]
        assert len(steps) >= 3
        assert [step for step in steps if step.startswith("SCAN")] == []
