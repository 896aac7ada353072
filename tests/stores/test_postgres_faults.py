"""What goes wrong with servers and connections, provoked for real; and answers that are lost."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
import trio

from nurselog._errors import StoreCorrupt, StoreError, StoreReadOnly, StoreUnavailable
from nurselog._log.lifecycle import Status
from nurselog._stores import postgres
from nurselog._stores._postgres import driver, pool, voice
from nurselog._stores._postgres.driver import TrioConnection
from nurselog._stores._postgres.faults import translate
from nurselog.abc import Append, Batch, Change, Claim, Filter, Lease, Store, WorkflowKey
from nurselog.testing.stores.records import (
    LEASE,
    LONG,
    StandingClock,
    append,
    claim_due,
    claim_keys,
    create,
    creation,
    look,
    note,
    over,
    rows,
    sleeping,
)
from tests.postgres_server import PostgresServer
from tests.stores.kit import behind, opened, store_at


def lose_answers(monkeypatch: pytest.MonkeyPatch, of: str, times: int = 1) -> None:
    """Let some statements be done, and lose the connection before their answer comes."""
    left, call = times, TrioConnection.call

    async def lossy(self: TrioConnection, statement: bytes, parameters: Sequence[Any] = ()) -> Any:
        nonlocal left
        result = await call(self, statement, parameters)
        if left and of.encode() in statement:
            left -= 1
            self.discard()
            raise psycopg.OperationalError("the server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(TrioConnection, "call", lossy)


async def claim_in_vain(store: Store, monkeypatch: pytest.MonkeyPatch, lost: str = "claim_workflows") -> None:
    """Claim what is due, and do not hear the answer."""
    lose_answers(monkeypatch, lost)
    with pytest.raises(StoreUnavailable):
        await claim_due(store, "a")


# -- lost answers


async def test_the_lost_answer_to_an_append(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(postgres_url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        for batch, function in (
            (Append(key=key, rows=rows(2, 3, 7)), "append_rows"),
            (Append(key=key, rows=rows(4, 4, 7), standing=sleeping(9)), "commit_batch"),
        ):
            lose_answers(monkeypatch, function)
            with pytest.raises(StoreUnavailable):
                await append(store, batch)
            assert not await append(store, batch)
        assert await store.read(key) == rows(1, 4, 7)
        assert (await look(store, "one")).due_at == 9


async def test_the_lost_answer_to_a_creation(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(postgres_url) as store:
        lose_answers(monkeypatch, "commit_batch")
        batch = Batch(creations=[creation("one", 7, length=2), creation("two", 8)])
        with pytest.raises(StoreUnavailable):
            await store.commit(batch)
        assert [created.new for created in (await store.commit(batch)).created] == [True, True]
        other = Batch(creations=[creation("one", 9)])
        assert [created.new for created in (await store.commit(other)).created] == [False]


@pytest.mark.parametrize("lost", ["claim_workflows", "FROM log", "FROM message", "FROM workflow WHERE shard"])
async def test_the_lost_answer_to_a_claim(postgres_url: str, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """The worker does not know that it owns them; they must not be lost."""
    async with opened(postgres_url) as store:
        await create(store, *(creation(f"w{number}") for number in range(3)), creation("mine", owner="a"))
        await claim_in_vain(store, monkeypatch, lost)
        assert (await look(store, "w1")).owner == "a"
        claims = await claim_due(store, "a")
        assert [claim.workflow.id for claim in claims] == ["w0", "w1", "w2"]
        assert [len(claim.rows) for claim in claims] == [3, 3, 3]


async def test_a_heartbeat_undoes_a_claim_whose_answer_was_lost(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has no room claims nothing more, and others may have room."""
    async with opened(postgres_url) as store:
        await create(store, creation("one"))
        await claim_in_vain(store, monkeypatch)
        assert await store.renew()
        assert (await look(store, "one")).owner is None


async def test_two_claims_undo_one_whose_answer_was_lost(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks for what is due, and who cancels a workflow, claim on two connections; both undo it first."""
    async with opened(postgres_url) as store:
        [key, *_] = await create(store, *(creation(f"w{number}") for number in range(3)))
        await claim_in_vain(store, monkeypatch)
        claims = list[Claim]()

        async def claim(claiming: Callable[[], Awaitable[Sequence[Claim]]]) -> None:
            claims.extend(await claiming())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, partial(claim_keys, store, "a", key))
            nursery.start_soon(claim, partial(claim_due, store, "a"))
        assert sorted(claim.workflow.id for claim in claims) == ["w0", "w1", "w2"]


async def test_a_claim_is_undone_late(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two undo the same one, and the second comes when the first has claimed anew: that is not what it is to undo."""
    async with opened(postgres_url) as store:
        [key, *_] = await create(store, *(creation(f"w{number}") for number in range(3)))
        await claim_in_vain(store, monkeypatch)
        call, undoing, claimed = TrioConnection.call, trio.Event(), trio.Event()

        async def hold_the_first(self: TrioConnection, statement: bytes, parameters: Sequence[Any] = ()) -> Any:
            if b"undo_claim" in statement and not undoing.is_set():
                undoing.set()
                await claimed.wait()
            return await call(self, statement, parameters)

        monkeypatch.setattr(TrioConnection, "call", hold_the_first)
        late = list[Claim]()

        async def claim_late() -> None:
            late.extend(await claim_due(store, "a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim_late)
            await undoing.wait()
            [claim] = await claim_keys(store, "a", key)
            claimed.set()
        assert claim.workflow.id == "w0"
        assert [claim.workflow.id for claim in late] == ["w1", "w2"]
        assert (await look(store, "w0")).owner == "a"


async def test_a_claim_that_breaks_half_way_loses_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one shard has given, nobody has heard of when the next one breaks."""
    async with opened(f"{postgres_url}&shards=4") as store:
        await create(store, *(creation(f"w{number}") for number in range(20)))
        call, claims = TrioConnection.call, 0

        async def break_at_the_third(self: TrioConnection, statement: bytes, parameters: Sequence[Any] = ()) -> Any:
            nonlocal claims
            claims += b"claim_workflows" in statement
            if claims == 3:
                raise psycopg.OperationalError("the server closed the connection unexpectedly")
            return await call(self, statement, parameters)

        monkeypatch.setattr(TrioConnection, "call", break_at_the_third)
        with pytest.raises(StoreUnavailable):
            await claim_due(store, "a")
        monkeypatch.undo()
        assert len(await claim_due(store, "a")) == 20


async def test_the_lost_answer_to_a_renewal_that_came_too_late(
    postgres_url: str, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must be heard that the lease was lost, although it is there again."""
    async with opened(postgres_url, clock, duration=LEASE) as store, opened(postgres_url, clock, "b") as other:
        await create(store, creation("one", owner="a"))
        clock.now += LEASE
        assert await claim_due(other, "b", "another") == []
        lose_answers(monkeypatch, "enter_worker")
        with pytest.raises(StoreUnavailable):
            await store.renew()
        assert await store.renew() is False
        assert await store.renew() is True
        assert (await look(store, "one")).owner is None


async def test_the_lost_answer_to_a_beacon(
    postgres_url: str, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(monkeypatch, "light_beacon")
    store = store_at(postgres_url, clock)
    with pytest.raises(StoreUnavailable):
        await store.open(Lease(worker="a", duration=LONG))
    await store.open(Lease(worker="a", duration=LONG))
    await store.close()


async def test_a_row_that_nurselog_never_writes(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        await create(store, creation("one"))
        with behind(postgres_url) as connection:
            connection.execute("UPDATE workflow SET status = 'dreaming'")
        with pytest.raises(StoreCorrupt, match="dreaming"):
            await store.find(["one"])


# -- the server


async def listen(store: Store) -> None:
    with trio.move_on_after(0.01):
        await store.wait_changed()


async def use(store: Store, key: WorkflowKey, seq: int) -> None:
    """Do one of everything, each for as long as it takes."""
    with trio.fail_after(60):
        for call in (
            lambda: append(store, Append(key=key, rows=rows(seq, seq, 7))),
            store.renew,
            lambda: listen(store),
            lambda: store.list(Filter()),
        ):
            while True:
                try:
                    await call()
                    break
                except StoreUnavailable:
                    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
async def test_a_server_that_comes_back(server: PostgresServer, number: signal.Signals) -> None:
    async with opened(server.url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        await use(store, key, 2)
        server.stop(number)
        for call in (store.renew, store.messages, lambda: append(store, Append(key=key, rows=rows(3, 3, 7)))):
            with pytest.raises(StoreUnavailable):
                await call()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.wait_changed()
        server.start()
        await use(store, key, 3)
        assert await store.read(key) == rows(1, 3, 7)


async def test_a_store_that_closes_without_its_server(server: PostgresServer, clock: StandingClock) -> None:
    store = store_at(server.url, clock)
    await store.open(Lease(worker="a", duration=LONG))
    server.stop()
    with pytest.raises(StoreUnavailable):
        await store.close()
    await store.close()


async def test_a_server_that_hangs(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(server.url) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        monkeypatch.setattr(postgres, "PATIENCE", 0.05)
        monkeypatch.setattr(driver, "PATIENCE", 0.05)
        server.pause()
        try:
            with pytest.raises(StoreUnavailable, match="has not answered"):
                await append(store, Append(key=key, rows=rows(2, 2, 7)))
        finally:
            server.go_on()
        monkeypatch.setattr(postgres, "PATIENCE", 30)
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7)))
        assert await store.read(key) == rows(1, 2, 7)


async def test_a_server_without_a_place(postgres_url: str, clock: StandingClock) -> None:
    with behind(postgres_url) as admin:
        admin.execute("CREATE ROLE nurselog_crowd LOGIN CONNECTION LIMIT 2")
        admin.execute("CREATE SCHEMA nurselog AUTHORIZATION nurselog_crowd")
        try:
            url = postgres_url.replace("postgres@", "nurselog_crowd@")
            async with opened(url, clock) as store:
                with pytest.raises(StoreUnavailable, match="too many connections"):
                    await create(store, creation("one"))
                await store.renew()
        finally:
            admin.execute("DROP OWNED BY nurselog_crowd")
            admin.execute("DROP ROLE nurselog_crowd")


async def test_many_calls_share_few_connections(postgres_url: str) -> None:
    async with opened(postgres_url) as store:
        await create(store, creation("one"))
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(look, store, "one")
        with behind(postgres_url) as connection:
            names = connection.execute(
                "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'nurselog %' ORDER BY 1"
            ).fetchall()
        assert names == [("nurselog listener a",)] + [("nurselog reader a",)] * 3 + [("nurselog writer a",)]


async def test_nothing_is_left_of_a_store_that_is_closed(postgres_url: str) -> None:
    for _ in range(20):
        async with opened(postgres_url) as store:
            await create(store)
            with trio.move_on_after(0):
                await store.wait_changed()
    with behind(postgres_url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'nurselog %'"
        while connection.execute(query).fetchone() != (0,):
            await trio.lowlevel.checkpoint()


async def test_a_connection_that_broke_takes_its_idle_neighbours_along(postgres_url: str) -> None:
    connections = pool.Pool(postgres_url, 2)
    one, other = await connections.take(), await connections.take()
    connections.give_back(other)
    one.discard()
    connections.give_back(one)
    another = await connections.take()
    assert another.is_at_rest
    assert another is not other
    connections.give_back(another)
    connections.close()


async def test_who_hears_nothing_looks_all_the_same_after_a_while(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "POLL", 0.01)
    async with opened(postgres_url) as store:
        await store.wait_changed()


async def test_who_hears_of_ends_need_not_look_for_work(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a busy engine makes all the idle ones ask the database for something twenty times a second."""
    monkeypatch.setattr(voice, "POLL", 1e9)
    async with opened(postgres_url) as a, opened(postgres_url, worker="b") as b:
        [key] = await create(a, creation("one", 7, owner="a"))
        await append(a, Append(key=key, standing=over()))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.wait_changed)
                assert await b.wait_changed() == {Change.END}
                nursery.cancel_scope.cancel()


async def test_mail_does_not_wait_for_the_one_who_listens(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy engine may not come to listening for a long time; and if telling fails, it is told later."""
    monkeypatch.setattr(voice, "POLL", 1e9)
    async with opened(postgres_url) as a, opened(postgres_url, worker="b") as b:
        [key] = await create(a, creation("one", 7, owner="a"))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.wait_changed)
                await b.post([note(key, b"")])
            lose_answers(monkeypatch, "pg_notify")
            await b.post([note(key, b"")])
            await a.wait_changed()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.wait_changed)
                await a.wait_changed()
                nursery.cancel_scope.cancel()
        assert len(await a.messages()) == 2


class Slow:
    """A connection that is slow to tell."""

    def __init__(self) -> None:
        self.gate = trio.Event()

    async def call(self, *_: object) -> None:
        await self.gate.wait()


async def test_of_two_pieces_of_mail_the_second_is_not_taken_to_be_told() -> None:
    """It is left while the first is still being told, and by then somebody listens again, who will tell it."""
    speaks, slow = voice.Voice("", "channel", "b"), cast("Any", Slow())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speaks.mail, slow, {"a"})
        await trio.testing.wait_all_tasks_blocked()
        speaks._waiting = trio.CancelScope()
        await speaks.mail(slow, {"a"})
        slow.gate.set()
    assert speaks._to_say == {"a"}


async def test_mail_that_is_cut_short_is_told_later() -> None:
    speaks = voice.Voice("", "channel", "b")
    with trio.CancelScope() as scope:
        scope.cancel()
        await speaks.mail(cast("Any", Slow()), {"a"})
    assert speaks._to_say == {"a"}


async def test_an_owner_of_many_is_told_once(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[set[str]] = []

    async def listen(_voice: object, _connection: object, workers: set[str]) -> None:
        told.append(workers)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(voice.Voice, "mail", listen)
    async with opened(postgres_url) as a, opened(postgres_url, worker="b"):
        owners = ["b", "b", "a", None]
        keys = await create(a, *(creation(f"w{number}", owner=owner) for number, owner in enumerate(owners)))
        await a.post([note(key, once="x") for key in keys])
        assert told == [{"a", "b"}]
        await a.post([note(key, once="x") for key in keys])
        await append(a, Append(key=keys[2], posts=[note(key, once="x") for key in keys]))
        assert told == [{"a", "b"}], "what was left before is no news"


# -- what errors mean


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (psycopg.OperationalError, StoreUnavailable),
        (psycopg.errors.AdminShutdown, StoreUnavailable),
        (psycopg.errors.CannotConnectNow, StoreUnavailable),
        (psycopg.errors.QueryCanceled, StoreUnavailable),
        (psycopg.errors.TooManyConnections, StoreUnavailable),
        (psycopg.errors.DiskFull, StoreUnavailable),
        (psycopg.errors.DeadlockDetected, StoreUnavailable),
        (psycopg.errors.SerializationFailure, StoreUnavailable),
        (psycopg.errors.LockNotAvailable, StoreUnavailable),
        (psycopg.errors.ReadOnlySqlTransaction, StoreUnavailable),
        (psycopg.errors.IoError, StoreUnavailable),
        (psycopg.errors.UniqueViolation, StoreUnavailable),
        (psycopg.errors.InsufficientPrivilege, StoreReadOnly),
        (psycopg.errors.DataCorrupted, StoreCorrupt),
        (psycopg.errors.UndefinedTable, StoreError),
        (psycopg.errors.NoActiveSqlTransaction, StoreError),
    ],
)
def test_what_an_error_means(kind: type[psycopg.Error], expected: type[StoreError]) -> None:
    error = translate(kind("one\n  thing"), "url")
    assert type(error) is expected
    assert f"{kind.__name__}: one thing" in str(error)
    assert str(error).startswith("url: ")


def test_every_final_status_is_one_for_the_database_too(databases: Any, postgres_url: str) -> None:
    script = Path(postgres.__file__).with_name("sql") / "postgres_0001.sql"
    finals = ", ".join(f"'{status.value}'" for status in Status if status.final)
    assert f"status IN ({finals})" in script.read_text("utf-8")


# -- beacons


async def test_a_listener_that_is_cut_off_is_back_at_once(postgres_url: str) -> None:
    """With a new beacon; and it looks whether it has missed anything."""
    async with opened(postgres_url) as store:
        with behind(postgres_url) as admin:
            before = admin.execute("SELECT beacon, lit_since FROM worker").fetchone()
            cut = (
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE '%listener%'"
            )
            assert admin.execute(cut).fetchall() == [(True,)]
            await store.wait_changed()
            after = admin.execute("SELECT beacon, lit_since FROM worker").fetchone()
        assert before
        assert after
        assert (before[0] != after[0], before[1]) == (True, after[1])
        assert await store.renew()


async def test_beacons_of_before_a_restart_say_nothing(server: PostgresServer, clock: StandingClock) -> None:
    async with opened(server.url, clock) as a, opened(server.url, clock, "b") as b:
        await create(a, creation("one", 7, owner="a"))
        server.restart()
        with pytest.raises(StoreUnavailable):
            await b.renew()
        assert await claim_due(b, "b") == []
        assert (await look(b, "one")).owner == "a"
        while True:
            try:
                assert await a.renew()
                break
            except StoreUnavailable:
                await trio.lowlevel.checkpoint()
