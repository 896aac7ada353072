"""A client owns nothing, and while nobody waits it asks the store nothing."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from nurselog import (
    AsyncClient,
    Client,
    Status,
    StoreUnavailable,
    UsageError,
    open_client,
    open_engine,
    open_engine_thread,
)
from nurselog._client.guest import ROUND
from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog._stores.sqlite import SqliteStore, parse_url
from nurselog.abc import Change, TakesGuests
from nurselog.testing import VirtualClock
from tests.client.colours import Colour, play
from tests.client.shop import SHOP, listens, order, tells
from tests.engine.rig import settle
from tests.postgres_server import PostgresServer
from tests.stores.kit import behind

Clock = trio.testing.MockClock


def store_at(path: Path) -> SqliteStore:
    """Return a store that needs no thread, so that it can be used in virtual time."""
    return SqliteStore(parse_url(f"sqlite:///{path}?synchronous=normal"), InlineExecutor(), VirtualClock())


class Asked:
    """Counts how often a store is asked for changes."""

    def __init__(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self._wait_changed = store.wait_changed
        monkeypatch.setattr(store, "wait_changed", self.wait_changed, raising=True)

    async def wait_changed(self) -> frozenset[Change]:
        self.times += 1
        return await self._wait_changed()


def test_it_is_no_worker(colour: Colour, tmp_path: Path) -> None:
    path = tmp_path / "x.db"

    async def scene(client: AsyncClient) -> None:
        await client.submit("order", 1)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM worker").fetchone() == (0,)
            assert connection.execute("SELECT owner, status FROM workflow").fetchone() == (None, "pending")

    play(colour, f"sqlite:///{path}", scene)


def test_it_is_no_worker_on_postgres(colour: Colour, postgres_url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        await client.submit("order", 1)
        with behind(postgres_url) as admin:
            assert admin.execute("SELECT count(*) FROM nurselog.worker").fetchone() == (0,)
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert admin.execute(locks).fetchone() == (0,)

    play(colour, postgres_url, scene)


async def test_nobody_is_asked_while_nobody_waits(
    autojump_clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(tmp_path / "x.db")
    asked = Asked(store, monkeypatch)
    async with open_client(store) as client:
        handle = await client.submit(order, 1)
        await trio.sleep(1000)
        assert asked.times == 0
        for wait in handle.result, aiter(handle.follow("x")).__anext__, aiter(handle.follow_log(after=1)).__anext__:
            with trio.move_on_after(10):
                await wait()
            assert asked.times
            asked.times = 0
            await trio.sleep(ROUND)
            before = asked.times
            await trio.sleep(1000)
            assert asked.times == before


async def test_it_hears_what_an_engine_does(autojump_clock: Clock, tmp_path: Path) -> None:
    clock = VirtualClock()
    path = tmp_path / "x.db"
    async with open_client(store_at(path)) as client:
        handle = await client.submit(listens, 1, id="l")
        async with open_engine(store_at(path), SHOP, clock=clock):
            await settle()
            assert await handle.status() in {Status.RUNNING, Status.WAITING}
            await client.send("l", "numbers", 7)
            assert await handle.result() == [7]


@pytest.mark.usefixtures("engine")
def test_what_a_client_leaves_is_taken_up_when_it_is_gone(url: str) -> None:
    for number in range(10):
        with Client(url) as client:
            client.submit(order, number, id=f"o-{number}")
    with Client(url) as client:
        for number in range(10):
            assert client.get(f"o-{number}").result()["total"] == 3 * number


async def test_one_store_is_opened_once(tmp_path: Path) -> None:
    store = store_at(tmp_path / "x.db")
    assert isinstance(store, TakesGuests)
    async with open_client(store):
        with pytest.raises(UsageError, match="open already"):
            async with open_client(store):
                pass


def test_a_server_that_goes_away_and_comes_back(colour: Colour, server: PostgresServer) -> None:
    """Who waits waits on; what is started meanwhile is started then; other calls say that it is away."""

    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(listens, 1, id="l")
        item = aiter((await client.submit(tells, 1, id="t")).follow("numbers", int))
        assert (await anext(item)).value == 0
        entries = aiter(handle.follow_log())
        seen = [await anext(entries)]
        server.stop(signal.SIGKILL)
        with pytest.raises(StoreUnavailable):
            await client.list()
        server.start()
        while True:
            try:
                await client.send("l", "numbers", 7, key="seven")
                break
            except StoreUnavailable:
                pass
        seen += [entry async for entry in entries]
        assert await handle.result() == [7]
        assert seen == await handle.log()
        await client.send("t", "more", 0)
        with pytest.raises(StopAsyncIteration):
            await anext(item)

    with open_engine_thread(server.url, SHOP):
        play(colour, server.url, scene)


async def test_what_goes_wrong_comes_out_though_it_is_cancelled(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with trio.CancelScope() as scope, pytest.raises(KeyError, match="mine"):
        async with open_client(url):
            scope.cancel()
            raise KeyError("mine")
    with trio.CancelScope() as scope:
        async with open_client(url):
            scope.cancel()
    assert scope.cancelled_caught
