"""Transactions that are cut off, held up and in each other's way, each at every moment that there is."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from nurselog import Isolation
from nurselog._errors import StoreUnavailable
from nurselog._stores import open_database
from nurselog._stores._sqlite import transactions as in_files
from nurselog.abc import CommitUnanswered, Database, Transaction, WorkflowKey
from tests.stores.proxy import Proxy, Where
from tests.transactions.bank import Bank, Script, drive, drive_async, transfer

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    from nurselog._stores._postgres import driver, transactions

MOST = 200
"""More exchanges than a transaction has."""
FAR = 10**6
"""More messages than anything has."""
STRIDE, COMMIT = 8, 8
"""One of so many messages is cut, and of the last ones, to COMMIT and behind it, each."""


@pytest.fixture(params=["shop file", "shop postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Any) -> Bank:
    """A database that is not the store's; there is no engine here."""
    if request.param == "shop file":
        return Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    return Bank("sqlite://", request.getfixturevalue("postgres_url"))


@pytest.fixture
def server_shop(postgres_url: str) -> Bank:
    return Bank("sqlite://", postgres_url)


@asynccontextmanager
async def opened(shop: Bank, url: str | None = None) -> AsyncIterator[Database]:
    assert shop.shop is not None
    database = open_database(url or shop.shop)
    yield database
    await database.close()


def body_of(shop: Bank, script: Callable[..., Script], *args: object) -> Callable[[Any], Any]:
    return lambda connection: (drive_async if shop.is_async else drive)(script(*args), connection)


def asked(body: Callable[[Any], Any], key: str = "key", isolation: Isolation = Isolation.READ_COMMITTED) -> Transaction:
    return Transaction(
        name="transfer",
        workflow=WorkflowKey(1),
        id="w",
        writer=1,
        key=key,
        isolation=isolation,
        body=body,
        encode=lambda value: str(value).encode(),
        in_thread=trio.to_thread.run_sync,
    )


async def persisted(call: Callable[[], Awaitable[bytes]]) -> bytes:
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await trio.lowlevel.checkpoint()


# -- an old owner and a new one ------------------------------------------------------------------


def refuse(_: object) -> Any:
    raise AssertionError("this body was not to run")


class Held:
    """A body that waits in the middle of its transaction."""

    def __init__(self, shop: Bank, *, fails: bool = False) -> None:
        self._shop, self._fails = shop, fails
        self.inside, self.go = trio.Event(), trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def __call__(self, connection: Any) -> Any:
        return self._wait(connection) if self._shop.is_async else self._wait_in_thread(connection)

    def _wait_in_thread(self, connection: sqlite3.Connection) -> Any:
        left = drive(transfer("old", 0, 1, 10), connection)
        trio.from_thread.run(self._stay, trio_token=self._token)
        return left

    async def _wait(self, connection: Any) -> Any:
        left = await drive_async(transfer("old", 0, 1, 10), connection)
        await self._stay()
        return left

    async def _stay(self) -> None:
        self.inside.set()
        await self.go.wait()
        if self._fails:
            raise LookupError


async def when_blocked(shop: Bank) -> None:
    """Wait until the second one waits for the first one, wherever that is."""
    if not shop.is_async:
        await trio.sleep(0.05)  # it waits for the file's lock, which nobody tells; if it has not come to that, no harm
        return
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'"
    while not shop.ask(blocked)[0][0]:  # noqa: ASYNC110 - the server tells nobody
        await trio.sleep(0.01)


async def test_the_old_one_is_at_it_and_commits(shop: Bank) -> None:
    shop.open_accounts(2)
    old, answers = Held(shop), dict[str, bytes]()

    async def run(name: str, body: Callable[[Any], Any]) -> None:
        async with opened(shop) as database:
            answers[name] = await persisted(partial(database.transact, asked(body)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "old", old)
        await old.inside.wait()
        nursery.start_soon(run, "new", refuse)
        await when_blocked(shop)
        assert answers == {}
        old.go.set()
    assert answers == {"old": b"90", "new": b"90"}
    assert shop.judge(2) == ["old"]


@pytest.mark.parametrize("isolation", Isolation)
async def test_the_old_one_is_at_it_and_gives_up(shop: Bank, isolation: Isolation) -> None:
    shop.open_accounts(2)
    old, answers = Held(shop, fails=True), dict[str, bytes]()

    async def run_old() -> None:
        async with opened(shop) as database:
            with pytest.raises(LookupError):
                await database.transact(asked(old, isolation=isolation))

    async def run_new() -> None:
        async with opened(shop) as database:
            body = body_of(shop, transfer, "new", 0, 1, 20)
            answers["new"] = await persisted(partial(database.transact, asked(body, isolation=isolation)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_old)
        await old.inside.wait()
        nursery.start_soon(run_new)
        await when_blocked(shop)
        old.go.set()
    assert answers == {"new": b"80"}
    assert shop.judge(2) == ["new"]


@pytest.mark.parametrize("isolation", Isolation)
async def test_the_old_one_comes_when_the_new_one_has_done_it(shop: Bank, isolation: Isolation) -> None:
    shop.open_accounts(2)
    async with opened(shop) as new, opened(shop) as old:
        body = body_of(shop, transfer, "new", 0, 1, 20)
        assert await new.transact(asked(body, isolation=isolation)) == b"80"
        assert await old.transact(asked(refuse, isolation=isolation)) == b"80"
    assert shop.judge(2) == ["new"]


# -- others are in the way -----------------------------------------------------------------------


async def both_run(shop: Bank, one: Transaction, other: Transaction) -> list[int]:
    """Run two transactions at the same time, each until it is done; return how often each was tried."""
    tries = [0, 0]

    async def run(place: int, transaction: Transaction) -> None:
        async with opened(shop) as database:

            async def call() -> bytes:
                tries[place] += 1
                return await database.transact(transaction)

            await persisted(call)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, 0, one)
        nursery.start_soon(run, 1, other)
    return tries


class Meeting:
    """Where two bodies wait for each other, the first time that each comes there."""

    def __init__(self) -> None:
        self._came = 0
        self._both = trio.Event()

    async def wait(self) -> None:
        self._came += 1
        if self._came == 2:
            self._both.set()
        await self._both.wait()


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_deadlock_is_resolved_and_what_was_undone_is_tried_again(server_shop: Bank, *, grouped: bool) -> None:
    server_shop.open_accounts(2)
    meeting, has_both, tried = Meeting(), trio.Event(), set[int]()

    async def body(first: int, connection: Any) -> str:
        if first in tried:  # who was undone: else the two may meet head-on once more
            await has_both.wait()
        tried.add(first)

        async def move() -> None:
            await connection.execute("UPDATE account SET amount = amount + 1 WHERE name = %s", [first])
            await meeting.wait()
            await connection.execute("UPDATE account SET amount = amount + 1 WHERE name = %s", [1 - first])

        if grouped:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(move)
        else:
            await move()
        has_both.set()
        return "done"

    tries = await both_run(server_shop, asked(partial(body, 0), "a"), asked(partial(body, 1), "b"))
    assert sorted(tries) == [1, 2]
    assert server_shop.amounts() == [102, 102]


async def test_a_serialization_failure_is_tried_again(server_shop: Bank) -> None:
    """Each would move what it does not see the other move: one of the two is tried again, and sees."""
    server_shop.open_accounts(2)
    meeting = Meeting()

    async def body(own: int, connection: Any) -> bool:
        cursor = await connection.execute("SELECT sum(amount) FROM account")
        [(total,)] = await cursor.fetchall()
        await meeting.wait()
        if total >= 200:
            await connection.execute("UPDATE account SET amount = amount - 100 WHERE name = %s", [own])
        return total >= 200

    one, other = (asked(partial(body, own), str(own), Isolation.SERIALIZABLE) for own in (0, 1))
    assert sorted(await both_run(server_shop, one, other)) == [1, 2]
    assert sorted(server_shop.amounts()) == [0, 100]
    assert sorted(server_shop.keys()) == [b"False", b"True"]


async def test_a_file_that_is_locked_is_waited_for(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_files, "PATIENCE", 0.01)
    shop = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    shop.open_accounts(2)
    async with opened(shop) as database:
        transaction = asked(body_of(shop, transfer, "one", 0, 1, 10))
        with shop.connection() as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="another process holds a lock"):
                await database.transact(transaction)
        assert await database.transact(transaction) == b"90"
    assert shop.judge(2) == ["one"]


async def test_a_lock_that_the_body_meets_is_waited_for_too(tmp_path: Any) -> None:
    shop = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as busy:
        busy.execute("CREATE TABLE t (n)")
        busy.execute("BEGIN EXCLUSIVE")

        def body(connection: sqlite3.Connection) -> None:
            with contextlib.closing(sqlite3.connect(other, timeout=0, isolation_level=None)) as second:
                second.execute("INSERT INTO t VALUES (1)")

        async with opened(shop) as database:
            with pytest.raises(StoreUnavailable, match="another process holds a lock"):
                await database.transact(asked(body))


# -- a network that fails ------------------------------------------------------------------------


@asynccontextmanager
async def proxied(shop: Bank) -> AsyncIterator[Proxy]:
    assert shop.shop is not None
    proxy = Proxy(shop.shop)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()


async def messages_of(proxy: Proxy, database: Database, transaction: Transaction) -> int:
    """Return how many messages a transaction takes, from connecting on."""
    proxy.cut(FAR, Where.BEFORE)
    await database.transact(transaction)
    left = proxy._left
    assert left is not None
    proxy.disarm()
    return FAR - left


@pytest.mark.parametrize("where", Where)
async def test_a_connection_that_is_cut_at_each_message(server_shop: Bank, where: Where, scale: int) -> None:
    """Among them those to COMMIT: whether that was heard, or only its answer was not, the transfer is there once."""
    server_shop.open_accounts(2, 1000)
    unanswered = 0
    async with proxied(server_shop) as proxy:
        async with opened(server_shop, proxy.url) as database:
            await database.transact(asked(body_of(server_shop, transfer, "x", 0, 1, 1), "x"))
        async with opened(server_shop, proxy.url) as database:
            total = await messages_of(proxy, database, asked(body_of(server_shop, transfer, "y", 0, 1, 1), "y"))
        for messages in sorted({*range(0, total, STRIDE if scale == 1 else 1), *range(total - COMMIT, total)}):
            name = f"{messages:03}"
            transaction = asked(body_of(server_shop, transfer, name, 0, 1, 1), name)
            async with opened(server_shop, proxy.url) as database:
                proxy.cut(messages, where)
                try:
                    await database.transact(transaction)
                except CommitUnanswered:
                    unanswered += 1
                except StoreUnavailable:
                    pass
                assert proxy.disarm()
                await persisted(partial(database.transact, transaction))
            assert name in server_shop.judge(2, 1000)
    assert unanswered >= 1


async def test_a_server_that_is_silent_at_commit(server_shop: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "PATIENCE", 0.05)
    monkeypatch.setattr(transactions.LentConnection, "patience", 0.05)
    server_shop.open_accounts(2)
    async with proxied(server_shop) as proxy, opened(server_shop, proxy.url) as database:

        async def body(connection: Any) -> int:
            left = await drive_async(transfer("one", 0, 1, 10), connection)
            return int(left)

        transaction = asked(body)
        held: list[trio.Event] = []
        ask = driver.TrioConnection.wait

        async def holding(self: Any, gen: Any, *args: Any, **kwargs: Any) -> Any:
            if "_exit_gen" in repr(gen):
                held.append(proxy.hold())
            return await ask(self, gen, *args, **kwargs)

        monkeypatch.setattr(driver.TrioConnection, "wait", holding)
        with pytest.raises(CommitUnanswered, match="COMMIT was not answered"):
            await database.transact(transaction)
        monkeypatch.setattr(driver.TrioConnection, "wait", ask)
        held[0].set()
        assert await persisted(partial(database.transact, transaction)) == b"90"
    assert server_shop.judge(2) == ["one"]


# -- cancellation --------------------------------------------------------------------------------


async def check_cancelled(shop: Bank, name: str, database: Database, scope: trio.CancelScope) -> bool:
    """Run a transaction that is cancelled somewhere; see that it is there or not; return whether it was cancelled."""
    transaction = asked(body_of(shop, transfer, name, 0, 1, 1), name)
    before = shop.judge(2, 1000)
    with scope:
        outcome = await database.transact(transaction)
        assert shop.judge(2, 1000) == sorted([*before, name])
        assert outcome
    if scope.cancelled_caught:
        assert shop.judge(2, 1000) == before
        assert len(shop.keys()) == len(before)
    return scope.cancelled_caught


async def test_cancelled_at_each_exchange(server_shop: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    server_shop.open_accounts(2, 1000)
    ready = driver.TrioSockets.ready
    outcomes: list[bool] = []
    async with opened(server_shop) as database:
        await database.transact(asked(body_of(server_shop, transfer, "warm", 0, 1, 1), "warm"))
        for moment in range(MOST):
            scope, left = trio.CancelScope(), [moment]

            async def counting(self: Any, fd: int, wanted: int) -> int:
                if left[0] == 0:  # noqa: B023 - it is gone before the next one
                    scope.cancel()  # noqa: B023 - the same
                left[0] -= 1  # noqa: B023 - the same
                return await ready(self, fd, wanted)

            monkeypatch.setattr(driver.TrioSockets, "ready", counting)
            outcomes.append(await check_cancelled(server_shop, f"{moment:03}", database, scope))
            monkeypatch.setattr(driver.TrioSockets, "ready", ready)
            if not scope.cancel_called:
                break
    assert not scope.cancel_called
    assert outcomes.count(True) >= 6
    assert outcomes.count(False) >= 2, "not one was cancelled when it was too late"


async def test_cancelled_at_each_statement_in_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    shop.open_accounts(2, 1000)
    connect = sqlite3.connect
    outcomes: list[bool] = []
    async with opened(shop) as database:
        await database.transact(asked(body_of(shop, transfer, "warm", 0, 1, 1), "warm"))
        for moment in range(MOST):
            scope, left = trio.CancelScope(), [moment]

            class Counting(sqlite3.Connection):
                def execute(self, *args: Any) -> Any:
                    if left[0] == 0:  # noqa: B023 - it is gone before the next one
                        trio.from_thread.run_sync(scope.cancel)  # noqa: B023 - the same
                    left[0] -= 1  # noqa: B023 - the same
                    return super().execute(*args)

            with monkeypatch.context() as patched:
                patched.setattr(in_files.sqlite3, "connect", partial(_only_threads, connect, Counting))
                outcomes.append(await check_cancelled(shop, f"{moment:03}", database, scope))
            if not scope.cancel_called:
                break
    assert not scope.cancel_called
    assert outcomes.count(True) >= 6
    assert outcomes.count(False) >= 2, "not one was cancelled when it was too late"


async def test_a_file_that_fails_at_each_statement(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the commit all is undone; behind it there is nothing that could fail."""
    shop = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    shop.open_accounts(2, 1000)
    connect, failed, closed = sqlite3.connect, 0, set[int]()
    async with opened(shop) as database:
        for moment in range(MOST):
            left = [moment]

            class Failing(sqlite3.Connection):
                def execute(self, *args: Any) -> Any:
                    if left[0] == 0:  # noqa: B023 - it is gone before the next one
                        raise ConnectionError
                    left[0] -= 1  # noqa: B023 - the same
                    return super().execute(*args)

                def close(self) -> None:
                    closed.add(moment)  # noqa: B023 - the same
                    super().close()

            name = f"{moment:03}"
            transaction = asked(body_of(shop, transfer, name, 0, 1, 1), name)
            with monkeypatch.context() as patched, contextlib.suppress(ConnectionError):
                patched.setattr(in_files.sqlite3, "connect", partial(_only_threads, connect, Failing))
                await database.transact(transaction)
            assert moment in closed
            done = name in shop.judge(2, 1000)
            assert await database.transact(transaction)
            assert name in shop.judge(2, 1000)
            failed += not done
            if done:
                break
    assert failed >= 10


def _only_threads(connect: Callable[..., Any], factory: type[sqlite3.Connection], *args: Any, **kwargs: Any) -> Any:
    """Connect in another way where a transaction does, and not where the test looks."""
    chosen = {"factory": factory} if kwargs.get("check_same_thread") is False else {}
    return connect(*args, **kwargs, **chosen)
