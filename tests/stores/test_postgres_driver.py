"""psycopg under Trio: all that is leaned on, walked through once. This is the canary for new versions of psycopg."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import trio
from psycopg import pq
from psycopg.rows import dict_row

from nurselog._stores._postgres import driver
from nurselog._stores._postgres.binary import int8, number, text
from nurselog._stores._postgres.driver import READ, WRITE, TrioConnection, TrioSockets, conninfo_of, poll
from tests.postgres_server import PostgresServer

PG_SLEEP = "SELECT pg_sleep(600)"


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[TrioConnection]:
    connection = await TrioConnection.connect(url, **{"autocommit": True, **options})
    try:
        yield connection
    finally:
        connection.discard()


async def values(connection: TrioConnection, query: str) -> list[Any]:
    return [row[0] for row in await (await connection.execute(query)).fetchall()]


async def wait_until_busy(url: str, connection: TrioConnection) -> None:
    """Wait until the server is in the middle of what the connection asked for."""
    pid = connection.info.backend_pid
    with psycopg.connect(url, autocommit=True) as other:
        state = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        while other.execute(state, [pid]).fetchone() != (1,):
            await trio.lowlevel.checkpoint()


async def cancel_in(url: str, connection: TrioConnection, query: str = PG_SLEEP) -> None:
    """Cancel a statement when the server is in the middle of it."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await wait_until_busy(url, connection)
                scope.cancel()

            nursery.start_soon(cancel)
            await connection.execute(query)
    assert scope.cancelled_caught


# -- what psycopg does


async def test_statements_and_their_checkpoints(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        with trio.testing.assert_checkpoints():
            cursor = await connection.execute("SELECT %s::text, %s::int[]", ["tree", [1, 2]])
        assert await cursor.fetchall() == [("tree", [1, 2])]
        with pytest.raises(psycopg.errors.UndefinedTable):
            await connection.execute("SELECT * FROM nowhere")
        large = "x" * 20_000_000
        assert await values(connection, "SELECT 1") == [1]
        assert await (await connection.execute("SELECT length(%s)", [large])).fetchone() == (len(large),)


async def test_options_of_connect(postgres_url: str) -> None:
    async with connected(postgres_url, autocommit=False, row_factory=dict_row, application_name="me") as connection:
        cursor = await connection.execute("SELECT current_setting('application_name') AS name")
        assert await cursor.fetchone() == {"name": "me"}
        assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
        await connection.rollback()
        assert connection.is_at_rest
        async with connected(
            postgres_url, context=connection, cursor_factory=psycopg.AsyncRawCursor, prepare_threshold=None
        ) as other:
            assert await (await other.execute("SELECT $1::int", [7])).fetchone() == (7,)


async def test_many_rows_copies_server_cursors_streams(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await connection.execute("CREATE TABLE heap (a int, b text)")
        async with connection.cursor() as cursor:
            await cursor.executemany("INSERT INTO heap VALUES (%s, %s)", [(number, "b") for number in range(3000)])
            async with cursor.copy("COPY heap FROM STDIN") as copy:
                for number in range(3000, 6000):
                    await copy.write_row((number, "x" * 1000))
            async with cursor.copy("COPY (SELECT a FROM heap ORDER BY a) TO STDOUT") as copy:
                assert [int(row[0]) async for row in copy.rows()] == list(range(6000))
            assert [row async for row in cursor.stream("SELECT 1 UNION ALL SELECT 2")] == [(1,), (2,)]
        async with connection.transaction(), connection.cursor("named") as cursor:
            await cursor.execute("SELECT a FROM heap ORDER BY a")
            assert await cursor.fetchmany(2) == [(0,), (1,)]


async def test_transactions_nested_and_in_pipelines(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await connection.execute("CREATE TABLE heap (a int)")
        async with connection.transaction():
            await connection.execute("INSERT INTO heap VALUES (1)")
            with pytest.raises(ValueError, match="inner"):
                async with connection.transaction():
                    await connection.execute("INSERT INTO heap VALUES (2)")
                    raise ValueError("inner")
        async with connection.pipeline(), connection.transaction():
            await connection.execute("INSERT INTO heap VALUES (3)")
        assert await values(connection, "SELECT a FROM heap ORDER BY a") == [1, 3]
        assert connection.is_at_rest


async def test_who_connects_to_nobody(tmp_path: object) -> None:
    with pytest.raises(psycopg.OperationalError):
        await TrioConnection.connect(f"postgresql://x@/x?host={tmp_path}")


async def test_connecting_can_be_cancelled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, trio.CancelScope() as scope:
        port = silent.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(TrioConnection.connect, f"postgresql://x@127.0.0.1:{port}/x?connect_timeout=2")
            accepted, _ = await trio.to_thread.run_sync(silent.accept)  # it is in the middle of connecting
            scope.cancel()
    accepted.close()
    assert scope.cancelled_caught


# -- cancellation


async def test_a_cancelled_statement_leaves_the_connection_idle(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await cancel_in(postgres_url, connection)
        assert connection.is_at_rest
        assert await values(connection, "SELECT 1") == [1]


async def test_nothing_is_sent_by_who_is_cancelled_before(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await connection.execute("CREATE TABLE heap (a int)")
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.call(b"INSERT INTO heap VALUES (1)")
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.wait(nothing for nothing in ())
        assert connection.is_at_rest
        assert await values(connection, "SELECT count(*) FROM heap") == [0]


async def test_a_cancelled_transaction_is_rolled_back(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await connection.execute("CREATE TABLE heap (a int)")
        with trio.CancelScope() as scope:
            async with connection.transaction():
                await connection.execute("INSERT INTO heap VALUES (1)")
                scope.cancel()
                await trio.sleep_forever()
        assert connection.is_at_rest
        with trio.CancelScope() as scope:
            async with connection.transaction():
                await connection.execute("INSERT INTO heap VALUES (1)")
                await cancel_in(postgres_url, connection)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert connection.is_at_rest
        assert await values(connection, "SELECT count(*) FROM heap") == [0]
        await connection.set_autocommit(False)
        with trio.CancelScope() as scope:
            await connection.execute("INSERT INTO heap VALUES (1)")
            scope.cancel()
            await connection.rollback()
        assert connection.is_at_rest


async def sleep_in_pipeline(connection: TrioConnection) -> None:
    async with connection.pipeline():
        await (await connection.execute(PG_SLEEP)).fetchall()


async def test_in_pipeline_mode_a_cancelled_connection_is_closed(postgres_url: str) -> None:
    async with connected(postgres_url) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(sleep_in_pipeline, connection)
        await wait_until_busy(postgres_url, connection)
        nursery.cancel_scope.cancel()
    assert connection.closed


async def test_a_cancelled_copy_leaves_no_connection_in_doubt(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await connection.execute("CREATE TABLE heap (a int)")
        with trio.CancelScope() as scope:
            async with connection.cursor() as cursor, cursor.copy("COPY heap FROM STDIN") as copy:
                await copy.write_row((1,))
                scope.cancel()
                await trio.sleep_forever()
        assert connection.is_at_rest or connection.closed
    async with connected(postgres_url) as connection:
        assert await values(connection, "SELECT count(*) FROM heap") == [0]


async def insert_by_call(connection: TrioConnection, value: int) -> None:
    await connection.call(b"INSERT INTO heap VALUES ($1)", [int8(value)])


async def insert_by_cursor(connection: TrioConnection, value: int) -> None:
    await connection.execute("INSERT INTO heap VALUES (%s)", [value])


async def insert_in_transaction(connection: TrioConnection, value: int) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO heap VALUES (%s)", [value])


async def insert_many(connection: TrioConnection, value: int) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO heap VALUES (%s)", [(value,)])


@pytest.mark.parametrize("insert", [insert_by_call, insert_by_cursor, insert_in_transaction, insert_many])
async def test_cancelled_at_many_moments(
    postgres_url: str, insert: Callable[[TrioConnection, int], Awaitable[None]]
) -> None:
    """Whoever is cancelled does not know whether it was done, and nearly always it was.

    But it is never done by half, what was not cancelled is there, and a connection is usable or closed, never in doubt.
    """
    moments, done, connection = 300, set[int](), await TrioConnection.connect(postgres_url, autocommit=True)
    await connection.execute("CREATE TABLE heap (a int)")
    for moment in range(moments):
        if connection.closed:
            connection = await TrioConnection.connect(postgres_url, autocommit=True)
        with trio.move_on_after(moment / 300_000) as scope:
            await insert(connection, moment)
        if not scope.cancelled_caught:
            done.add(moment)
        assert connection.closed or connection.is_at_rest
    async with connected(postgres_url) as other:
        found = await values(other, "SELECT a FROM heap")
    connection.discard()
    assert len(found) == len(set(found))
    assert done <= set(found) <= set(range(moments))


async def test_a_server_that_does_not_answer_is_given_up(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "PATIENCE", 0.05)
    async with connected(server.url) as connection, connected(server.url) as other:
        await connection.execute("SELECT 1")
        server.pause()
        try:
            with trio.move_on_after(0.01) as scope:
                await connection.execute("SELECT 1")
            assert scope.cancelled_caught
            assert connection.closed
            with pytest.raises(trio.TooSlowError):
                await other.cancel_safe(timeout=0.01)
        finally:
            server.go_on()


async def test_a_transaction_whose_end_gets_no_answer(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "PATIENCE", 0.05)
    async with connected(server.url) as connection:
        try:
            with pytest.raises(psycopg.OperationalError, match="unknown"):
                async with connection.transaction():
                    await connection.execute("SELECT 1")
                    server.pause()
            assert connection.closed
        finally:
            server.go_on()


async def test_a_transaction_whose_beginning_gets_no_answer(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "PATIENCE", 0.05)
    async with connected(server.url) as connection:
        server.pause()
        try:
            with pytest.raises(psycopg.OperationalError, match="beginning of the transaction is unknown"):
                async with connection.transaction():
                    pass
            assert connection.closed
        finally:
            server.go_on()


@pytest.mark.parametrize("safe", [True, False])
async def test_cancelling_from_another_task(
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    safe: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Older versions of libpq can only do it in a thread."""
    monkeypatch.setattr(type(psycopg.capabilities), "has_cancel_safe", lambda _: safe)
    async with connected(postgres_url) as connection, trio.open_nursery() as nursery:

        async def cancel() -> None:
            await wait_until_busy(postgres_url, connection)
            await connection.cancel_safe()

        nursery.start_soon(cancel)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await connection.execute(PG_SLEEP)
    await connection.cancel_safe()  # there is nothing to cancel any more


# -- notifications


async def test_notifications(postgres_url: str) -> None:
    async with connected(postgres_url) as connection, connected(postgres_url) as other:
        await connection.execute("LISTEN forest")
        with trio.move_on_after(0) as scope:
            await connection.wait_notifies()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def tell() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await other.execute("NOTIFY forest, 'timber'")

            nursery.start_soon(tell)
            [heard] = await connection.wait_notifies()
        assert (heard.channel, heard.payload, heard.pid) == ("forest", "timber", other.info.backend_pid)
        await connection.execute("NOTIFY forest, 'echo'")
        await connection.execute("SELECT 1")
        assert [heard.payload for heard in await connection.wait_notifies()] == ["echo"]
        with pytest.raises(psycopg.NotSupportedError):
            connection.notifies()


async def test_a_listener_whose_server_dies(server: PostgresServer) -> None:
    async with connected(server.url) as connection, trio.open_nursery() as nursery:
        await connection.execute("LISTEN forest")

        async def stop() -> None:
            await trio.testing.wait_all_tasks_blocked()
            server.stop()

        nursery.start_soon(stop)
        with pytest.raises(psycopg.OperationalError):
            await connection.wait_notifies()


# -- hot statements


async def test_prepared_statements(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        for value in (1, -(2**63)):
            with trio.testing.assert_checkpoints():
                result = await connection.call(b"SELECT $1 + 0, $2", [int8(value), text("x")])
            assert (number(result.get_value(0, 0)), result.get_value(0, 1)) == (value, b"x")
        names = await values(connection, "SELECT name FROM pg_prepared_statements WHERE name LIKE 'nurselog%'")
        assert names == ["nurselog_0"]
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.call(b"SELECT $1 / 0", [int8(1)])
        with pytest.raises(psycopg.errors.SyntaxError):
            await connection.call(b"SELCT")
        assert connection.is_at_rest


async def test_scripts(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await connection.run_script("CREATE TABLE one (a int); CREATE TABLE two (a int);")
        with pytest.raises(psycopg.errors.DuplicateTable):
            await connection.run_script("CREATE TABLE three (a int); CREATE TABLE one (a int);")
        assert await values(connection, "SELECT relname FROM pg_class WHERE relname IN ('one', 'three')") == ["one"]


async def test_a_connection_that_is_lost(server: PostgresServer) -> None:
    async with connected(server.url) as connection:
        server.restart()
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                await connection.call(b"SELECT 1")
        assert not connection.is_at_rest
        connection.discard()
        with pytest.raises(psycopg.OperationalError, match="is closed"):
            await connection.call(b"SELECT 1")


async def test_calls_from_several_tasks_take_turns(postgres_url: str) -> None:
    async with connected(postgres_url) as connection, trio.open_nursery() as nursery:
        found: list[int] = []

        async def ask(value: int) -> None:
            result = await connection.call(b"SELECT $1 + 0", [int8(value)])
            found.append(number(result.get_value(0, 0)))

        for value in range(5):
            nursery.start_soon(ask, value)
    assert sorted(found) == list(range(5))


async def test_null_where_there_must_be_a_value(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        result = await connection.call(b"SELECT NULL::bigint")
        with pytest.raises(ValueError, match="NULL"):
            number(result.get_value(0, 0))


# -- waiting, by itself


def fill(sender: socket.socket) -> None:
    while poll(sender.fileno(), WRITE):
        sender.send(bytes(100_000))


async def ready_after(sender: socket.socket, wanted: int, deed: Callable[[], object]) -> int:
    """Wait for a socket, and do something when that waits."""
    async with trio.open_nursery() as nursery:

        async def do() -> None:
            await trio.testing.wait_all_tasks_blocked()
            deed()

        nursery.start_soon(do)
        return await TrioSockets().ready(sender.fileno(), wanted)


async def test_waiting_for_sockets() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0)

        def drain() -> None:
            while poll(there.fileno(), READ):
                there.recv(1_000_000)

        nothing = list[int]().copy
        assert await ready_after(here, WRITE, nothing) == WRITE
        assert await ready_after(here, READ | WRITE, nothing) == WRITE
        fill(here)
        assert await ready_after(here, WRITE, drain) == WRITE
        fill(here)
        assert await ready_after(here, READ | WRITE, drain) == WRITE
        fill(here)
        assert await ready_after(here, READ | WRITE, lambda: there.send(b"x")) == READ
        assert here.recv(1) == b"x"
        there.close()
        assert poll(here.fileno(), READ) == READ


def test_what_is_given_comes_before_defaults_and_options_add_up() -> None:
    given = "postgresql://me@/db?connect_timeout=3&options=-c%20a%3D1"
    found = psycopg.conninfo.conninfo_to_dict(conninfo_of(given, connect_timeout="10", options="-c b=2", user="you"))
    assert found == {"user": "me", "dbname": "db", "connect_timeout": "3", "options": "-c a=1 -c b=2"}
