"""What a body may do to its transaction, and what it may not; and what a connection forgets between two bodies."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from nurselog import Isolation, Retry, TransactionEnded, UsageError, WorkflowNotFound, step, transaction
from nurselog._stores import open_store
from nurselog.abc import HasDatabase, Transaction, WorkflowKey
from nurselog.testing.stores.records import StandingClock, using
from tests.transactions.bank import Bank
from tests.transactions.test_transactions import calling

INSERT = "INSERT INTO transfer (id) VALUES ('x')"


@pytest.fixture
def file_bank(tmp_path: Any) -> Bank:
    bank = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    bank.open_accounts(2)
    return bank


@pytest.fixture
def postgres_bank(postgres_url: str) -> Bank:
    bank = Bank("sqlite://", postgres_url)
    bank.open_accounts(2)
    return bank


async def run(bank: Bank, body: Callable[..., Any], retry: Retry = Retry()) -> Any:  # noqa: B008 - it is frozen
    body.__annotations__ = {}
    works = calling(transaction(name="the body", database="shop")(body).using(retry=retry))
    async with bank.engine(works) as engine:
        return await engine.run(works)


# -- SQLite --------------------------------------------------------------------------------------

ENDS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "commit": lambda connection: connection.commit(),
    "rollback": lambda connection: connection.rollback(),
    "COMMIT": lambda connection: connection.execute("COMMIT"),
    "END": lambda connection: connection.execute("end transaction"),
    "ROLLBACK": lambda connection: connection.execute("ROLLBACK"),
    "BEGIN": lambda connection: connection.execute("BEGIN"),
    "script": lambda connection: connection.executescript("INSERT INTO transfer (id) VALUES ('y')"),
    "with": lambda connection: connection.__exit__(None, None, None),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("swallows", [False, True])
async def test_a_file_refuses_the_end(file_bank: Bank, end: str, *, swallows: bool) -> None:
    def body(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT)
        try:
            ENDS[end](connection)
        except sqlite3.DatabaseError:
            if not swallows:
                raise

    with pytest.raises(
        TransactionEnded, match=r"'the body' ends the transaction by itself .* Nothing of it was written"
    ):
        await run(file_bank, body)
    assert file_bank.transfers() == []


async def test_a_file_takes_savepoints(file_bank: Bank) -> None:
    def body(connection: sqlite3.Connection) -> None:
        connection.execute("SAVEPOINT part")
        connection.execute(INSERT)
        connection.execute("ROLLBACK TO part")
        connection.execute("RELEASE part")
        connection.execute("INSERT INTO transfer (id) VALUES ('kept')")

    await run(file_bank, body)
    assert file_bank.transfers() == ["kept"]


async def test_a_connection_that_the_body_closes(file_bank: Bank) -> None:
    def body(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT)
        connection.close()

    with pytest.raises(TransactionEnded, match="may be there"):
        await run(file_bank, body)
    assert file_bank.transfers() == []


async def test_a_file_that_cannot_be_opened(tmp_path: Any) -> None:
    bank = Bank("sqlite://", f"sqlite:///{tmp_path / 'gone' / 'shop.db'}")

    def body(connection: sqlite3.Connection) -> None:
        raise AssertionError

    works = calling(transaction(name="the body", database="shop", timeout=0.05)(body))
    async with bank.engine(works) as engine:
        with pytest.raises(trio.TooSlowError):
            await engine.run(works)


async def test_in_memory_the_stores_connection_is_left_as_it_was() -> None:
    def body(connection: sqlite3.Connection) -> int:
        connection.row_factory = sqlite3.Row
        connection.text_factory = bytes
        connection.isolation_level = "IMMEDIATE"
        connection.execute("CREATE TABLE IF NOT EXISTS t (n)")
        connection.execute("INSERT INTO t VALUES (1)")
        return int(connection.execute("SELECT count(*) AS n FROM t").fetchone()["n"])

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (1)")
        raise LookupError

    first, second = transaction(name="first")(body), transaction(name="second")(fails)

    async def both() -> list[int]:
        found = [await first()]
        with pytest.raises(LookupError):
            await second()
        return [*found, await first()]

    works = calling(both)
    async with Bank("sqlite://").engine(works) as engine:
        assert await engine.run(works) == [1, 2]


async def test_another_database_in_memory_lasts_as_long_as_the_engine() -> None:
    def body(connection: sqlite3.Connection) -> int:
        connection.execute("CREATE TABLE IF NOT EXISTS t (n)")
        connection.execute("INSERT INTO t VALUES (1)")
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])

    add = transaction(name="add", database="shop")(body)

    async def twice() -> list[int]:
        return [await add(), await add()]

    works = calling(twice)
    async with Bank("sqlite://", "sqlite://").engine(works) as engine:
        assert await engine.run(works) == [1, 2]


# -- PostgreSQL ----------------------------------------------------------------------------------


async def _commit_and_begin(connection: Any) -> None:
    await connection.execute("COMMIT")
    await connection.execute("BEGIN")


async def _fail_after_commit(connection: Any) -> None:
    await connection.execute("COMMIT")
    raise LookupError


DONE: dict[str, Callable[[Any], Awaitable[object]]] = {
    "COMMIT": lambda connection: connection.execute("COMMIT"),
    "COMMIT and BEGIN": _commit_and_begin,
    "COMMIT AND CHAIN": lambda connection: connection.execute("COMMIT AND CHAIN"),
    "an error after COMMIT": _fail_after_commit,
}


@pytest.mark.parametrize("end", DONE)
async def test_what_the_body_has_committed_is_not_done_again(postgres_bank: Bank, end: str) -> None:
    async def body(connection: Any) -> None:
        await connection.execute(INSERT)
        await DONE[end](connection)

    with pytest.raises(TransactionEnded, match="may be there, and is not written again"):
        await run(postgres_bank, body, Retry(attempts=3, delay=0.001))
    assert postgres_bank.transfers() == ["x"]
    assert postgres_bank.keys() == [None]


UNDONE: dict[str, Callable[[Any], Awaitable[object]]] = {
    "ROLLBACK": lambda connection: connection.execute("ROLLBACK"),
    "ROLLBACK AND CHAIN": lambda connection: connection.execute("ROLLBACK AND CHAIN"),
    "close": lambda connection: connection.close(),
}


@pytest.mark.parametrize("end", UNDONE)
async def test_what_the_body_has_undone_is_an_error(postgres_bank: Bank, end: str) -> None:
    async def body(connection: Any) -> None:
        await connection.execute(INSERT)
        await UNDONE[end](connection)

    with pytest.raises(TransactionEnded, match="may be there"):
        await run(postgres_bank, body)
    assert postgres_bank.transfers() == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_connection_refuses_the_end(postgres_bank: Bank, end: str) -> None:
    async def body(connection: Any) -> None:
        await connection.execute(INSERT)
        await getattr(connection, end)()

    with pytest.raises(TransactionEnded, match="Nothing of it was written"):
        await run(postgres_bank, body)
    assert postgres_bank.transfers() == []


async def test_a_connection_takes_savepoints(postgres_bank: Bank) -> None:
    async def body(connection: Any) -> None:
        try:
            async with connection.transaction():
                await connection.execute(INSERT)
                raise LookupError
        except LookupError:
            await connection.execute("INSERT INTO transfer (id) VALUES ('kept')")

    await run(postgres_bank, body)
    assert postgres_bank.transfers() == ["kept"]


@pytest.mark.parametrize("opens", [trio.CancelScope, trio.open_nursery])
async def test_what_a_failed_attempt_has_left_open_ends_with_its_task(
    postgres_bank: Bank, opens: Callable[[], Any]
) -> None:
    tries: list[int] = []

    async def body(connection: Any) -> int:
        tries.append(len(tries))
        if not tries[-1]:
            block = opens()
            await block.__aenter__() if hasattr(block, "__aenter__") else block.__enter__()
            raise LookupError
        await connection.execute("SELECT 1")
        return tries[-1]

    body.__annotations__ = {}
    first = transaction(name="the body", database="shop")(body).using(retry=Retry(attempts=2, delay=0))

    @step(name="plain")
    async def plain() -> int:
        return 2

    async def both() -> list[int]:
        return [await first(), await plain()]

    works = calling(both)
    async with postgres_bank.engine(works) as engine:
        assert await engine.run(works) == [1, 2]


async def test_who_goes_on_after_an_error_is_told(postgres_bank: Bank) -> None:
    async def body(connection: Any) -> None:
        await connection.execute(INSERT)
        with contextlib.suppress(Exception):  # the mistake
            await connection.execute("SELECT 1 / 0")

    with pytest.raises(UsageError, match="has gone on after an error of the database"):
        await run(postgres_bank, body)
    assert postgres_bank.transfers() == []


async def test_who_goes_on_without_a_connection_is_tried_again(postgres_bank: Bank) -> None:
    tries: list[int] = []

    async def body(connection: Any) -> int:
        await connection.execute(INSERT)
        tries.append(connection.info.backend_pid)
        if len(tries) == 1:
            postgres_bank.ask("SELECT pg_terminate_backend(?)", tries[0])
            with contextlib.suppress(Exception):  # the mistake
                await connection.execute("SELECT 1")
        return len(tries)

    assert await run(postgres_bank, body) == 2
    assert postgres_bank.transfers() == ["x"]


async def test_psycopgs_rollback_says_nothing_of_an_outcome(postgres_bank: Bank) -> None:
    psycopg = pytest.importorskip("psycopg")

    async def body(connection: Any) -> None:
        await connection.execute(INSERT)
        raise psycopg.Rollback

    with pytest.raises(UsageError, match=r"has raised psycopg\.Rollback"):
        await run(postgres_bank, body)
    assert postgres_bank.transfers() == []


async def test_a_connection_is_as_good_as_new(postgres_bank: Bank) -> None:
    kept: list[Any] = []

    async def first(connection: Any) -> int:
        kept.append(connection)
        connection.row_factory = lambda _: list
        await connection.execute("SET search_path = pg_catalog")
        await connection.execute("CREATE TEMPORARY TABLE gone (n int)")
        await connection.execute("SELECT pg_advisory_lock(5)")
        await connection.execute("SELECT 1", prepare=True)
        return int(connection.info.backend_pid)

    async def second(connection: Any) -> tuple[int, str, bool]:
        cursor = await connection.execute("SHOW search_path", prepare=True)
        [(path,)] = await cursor.fetchall()
        cursor = await connection.execute(
            "SELECT to_regclass('gone') IS NULL AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')"
        )
        [(clean,)] = await cursor.fetchall()
        return connection.info.backend_pid, path, clean

    one, two = transaction(name="1", database="shop")(first), transaction(name="2", database="shop")(second)

    async def both() -> bool:
        pid = await one()
        return list(await two()) == [pid, '"$user", public', True]

    works = calling(both)
    async with postgres_bank.engine(works) as engine:
        assert await engine.run(works)
    with pytest.raises(AttributeError):
        await kept[0].execute("SELECT 1")


async def test_a_database_that_lets_nobody_make_a_table(postgres_bank: Bank) -> None:
    postgres_bank.ask("CREATE ROLE nobody_special LOGIN")
    postgres_bank.ask("GRANT USAGE ON SCHEMA public TO nobody_special")
    bank = Bank("sqlite://", (postgres_bank.shop or "").replace("postgres@", "nobody_special@"))

    async def body(connection: Any) -> None:
        raise AssertionError

    try:
        with pytest.raises(Exception, match="this role may not do that"):
            await run(bank, body)
        postgres_bank.ask("CREATE TABLE nurselog_transaction (key text PRIMARY KEY, workflow text, outcome bytea)")
        with pytest.raises(Exception, match="this role may not do that"):
            await run(bank, body)
    finally:
        postgres_bank.ask("DROP TABLE IF EXISTS nurselog_transaction")
        postgres_bank.ask("DROP OWNED BY nobody_special")
        postgres_bank.ask("DROP ROLE nobody_special")


# -- what is found under a key -------------------------------------------------------------------


async def test_a_workflow_that_is_gone_writes_nothing(own_bank: Bank) -> None:
    """It was deleted while its owner was stopped."""
    clock = StandingClock()
    asked = Transaction(
        name="late",
        workflow=WorkflowKey(7 * 1024),
        id="w",
        writer=1,
        key="key",
        isolation=Isolation.SERIALIZABLE,
        body=_refuse,
        encode=_refuse,
        in_thread=trio.to_thread.run_sync,
    )
    async with using(open_store(own_bank.store, clock=clock), "a", 10**9) as store:
        assert isinstance(store, HasDatabase)
        with pytest.raises(WorkflowNotFound):
            await store.database.transact(asked)
        await store.database.close()


async def test_a_key_without_an_outcome_in_a_file(file_bank: Bank) -> None:
    """An authorizer that the body has removed, say."""

    def body(connection: sqlite3.Connection) -> None:
        connection.set_authorizer(None)
        connection.execute(INSERT)
        connection.execute("COMMIT")

    with pytest.raises(TransactionEnded, match="may be there"):
        await run(file_bank, body, Retry(attempts=2, delay=0.001))
    assert file_bank.transfers() == ["x"]


def _refuse(_: object) -> Any:
    raise AssertionError
