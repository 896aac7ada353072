"""Messages that are left: what the checks of all stores cannot see, or need not ask of others."""

from __future__ import annotations

import pytest

from nurselog import Status
from nurselog._stores._sqlite.bulk import CHUNK
from nurselog.abc import Append, Posted
from nurselog.testing.stores.records import append, create, creation, note, over, rows
from tests.stores.kit import opened, remembered


@pytest.mark.parametrize("status", [status for status in Status if status.final])
async def test_an_ended_workflow_leaves_no_words(shared_url: str, status: Status) -> None:
    async with opened(shared_url) as store:
        [key, other] = await create(store, creation("one", 7, owner="a"), creation("other", owner="a"))
        await store.post([note(key, once="x"), note(key, once="y"), note(other, once="x")])
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7), standing=over(status)))
        await store.post([note(key, once="z")])
        assert remembered(shared_url) == [(other, "x")]


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
