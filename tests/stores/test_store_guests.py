"""Stores take guests: who enters no worker, makes workflows that nobody owns, leaves messages, and hears of ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio

from nurselog import StoreError, UsageError
from nurselog.abc import Append, Change, Posted, Store, TakesGuests
from nurselog.testing.stores.records import StandingClock, append, claim_due, create, creation, note, over
from tests.stores.kit import opened, store_at

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    from nurselog._stores._postgres import pool, voice


@asynccontextmanager
async def visited(url: str) -> AsyncIterator[Store]:
    """Open a store for a guest."""
    store = store_at(url, StandingClock())
    assert isinstance(store, TakesGuests)
    await store.visit()
    try:
        yield store
    finally:
        await store.close()


async def test_what_a_guest_makes_and_leaves_is_taken_up(shared_url: str) -> None:
    async with visited(shared_url) as guest:
        [key] = await create(guest, creation("one"))
        assert await guest.post([note(key)]) == [Posted.LEFT]
        async with opened(shared_url) as worker:
            [claim] = await claim_due(worker, "a")
            assert (claim.workflow.id, [message.body for message in claim.messages]) == ("one", [b"hello"])
            assert await guest.post([note(key)]) == [Posted.LEFT]
            [row] = await guest.find(["one"])
            assert row.owner == "a"
            await append(worker, Append(key=key, standing=over()))
            while Change.END not in await guest.wait_changed():
                pass
            assert await guest.post([note(key)]) == [Posted.ENDED]


async def test_a_guest_comes_to_a_store_that_nobody_has_open(shared_url: str) -> None:
    async with opened(shared_url) as worker:
        await create(worker, creation("one"))
    async with visited(shared_url) as guest:
        async with opened(shared_url) as worker:
            await create(worker, creation("two"))
        assert {row.id for row in await guest.find(["one", "two"])} == {"one", "two"}


async def test_it_opens_once_and_may_come_again(shared_url: str) -> None:
    async with visited(shared_url) as guest:
        assert isinstance(guest, TakesGuests)
        with pytest.raises(UsageError, match="open already"):
            await guest.visit()
        await guest.close()
        await guest.visit()
        assert await guest.find(["one"]) == []


async def test_one_that_cannot_be_opened(postgres_url: str) -> None:
    for url in "sqlite:////nowhere/at/all.db", postgres_url.replace("/nurselog_test", "/nobody"):
        with pytest.raises(StoreError):
            async with visited(url):
                pass


class Heard:
    """A connection that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[object] = []

    async def call(self, *said: object) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append(said)


async def test_a_guest_that_leaves_says_what_it_has_not_said(postgres_url: str) -> None:
    speaks, connection = voice.Voice("", "channel", None), Heard()
    await speaks.farewell(cast("Any", connection))
    assert connection.said == []
    speaks.news({Change.DUE})
    await speaks.farewell(cast("Any", connection))
    assert len(connection.said) == 1


async def test_what_is_given_back_to_a_closed_pool_is_closed(postgres_url: str) -> None:
    connections = pool.Pool(postgres_url, 1)
    lent = await connections.take()
    connections.close()
    assert lent.is_at_rest
    connections.give_back(lent)
    assert not lent.is_at_rest
