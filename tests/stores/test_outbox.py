"""Workflows and messages in transactions of the application's: there with all else in them, or not at all."""

from __future__ import annotations

import functools
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import msgspec
import psycopg
import pytest
import trio

from nurselog import (
    EncodingError,
    Engine,
    InboxFull,
    MisplacedCallError,
    Outbox,
    PayloadTooLargeError,
    RegistrationError,
    Status,
    UsageError,
    WorkflowConflict,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowNotFound,
    mailbox,
    open_engine,
    outbox,
    step,
    transaction,
    workflow,
)
from nurselog._stores._postgres import voice
from nurselog.abc import Instrument
from nurselog.lowlevel import JsonCodec, Received, Started, decode_event
from tests.engine.watching import Painter, Watcher, colour
from tests.stores.callers import Act, Caller, RolledBack, fail, write
from tests.stores.conftest import address
from tests.stores.test_store_processes import ENVIRONMENT, ROOT

PATIENCE = 60
"""Seconds, for what happens at once."""


@workflow
async def adding(a: int, b: int = 1) -> int:
    return a + b


@workflow(name="collecting")
async def collecting(count: int) -> list[object]:
    box = mailbox("t")
    return [await box.receive() for _ in range(count)]


def submit(*args: Any, id: str | None = None, function: Any = adding) -> Act:
    return lambda outbox, connection: outbox.submit(connection, function, *args, id=id)


def send(id: str, value: object = "x", *, topic: str = "t", key: str | None = None) -> Act:
    return lambda outbox, connection: outbox.send(connection, id, topic, value, key=key)


PLACES = ("file", "shards", "schema")


@pytest.fixture(params=["file", "postgres", "shards", "schema asyncio", "postgres trio"])
async def caller(request: pytest.FixtureRequest) -> Caller:
    """An application with a table of its own beside a store, one after the other."""
    return await beside(request)


@pytest.fixture(params=PLACES)
async def sync_caller(request: pytest.FixtureRequest) -> Caller:
    """Those that are sync."""
    return await beside(request)


async def beside(request: pytest.FixtureRequest) -> Caller:
    place, _, style = request.param.partition(" ")
    request.param = place
    url = f"{request.getfixturevalue('postgres_url')}&schema=order" if place == "schema" else address(request)
    made = Caller(url, style or "sync")
    async with engine_on(made):
        made.make_table()
    return made


@asynccontextmanager
async def engine_on(caller: Caller, *workflows: Any, **options: Any) -> AsyncIterator[Engine]:
    """Open an engine on the caller's store, which knows these workflows; it must not hang."""
    with trio.fail_after(PATIENCE):
        async with open_engine(caller._url, workflows, **options) as engine:
            yield engine


async def result(engine: Engine, id: str) -> Any:
    return await (await engine.get(id)).result()


def kill_after(commands: list[str], program: list[str]) -> None:
    """Let a program do something, and kill it."""
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=ENVIRONMENT, cwd=ROOT
    ) as process:
        assert process.stdin
        assert process.stdout
        for line in commands:
            process.stdin.write(f"{line}\n")
            assert process.stdout.readline() == "done\n"
        process.kill()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, without a hint: what changes is in a database."""
    while not await holds():  # noqa: ASYNC110 - there is no event
        await trio.sleep(0.01)


async def has_status(handle: WorkflowHandle[Any], status: Status) -> bool:
    return await handle.status() is status


async def has_received(handle: WorkflowHandle[Any]) -> bool:
    return any(isinstance(entry.event, Received) for entry in await handle.log())


# -- together, or not at all ---------------------------------------------------------------------


async def test_what_was_committed_is_there(caller: Caller) -> None:
    answers = await caller.do(
        write(7), submit(2, function=collecting, id="one"), send("one", 1), send("one", [2]), submit(3, 4, id="two")
    )
    assert answers[1:] == ["one", True, True, "two"]
    assert caller.mine() == [7]
    async with engine_on(caller, adding, collecting) as engine:
        assert await result(engine, "one") == [1, [2]]
        assert await result(engine, "two") == 7


async def test_what_was_rolled_back_was_never_there(caller: Caller) -> None:
    with pytest.raises(RolledBack):
        await caller.do(write(7), submit(2, function=collecting, id="one"), send("one"), fail)
    assert caller.mine() == []
    async with engine_on(caller, collecting) as engine:
        assert await engine.list() == []


async def test_it_is_what_an_engine_would_have_written(caller: Caller) -> None:
    await caller.do(submit(1, id="ours"))
    async with engine_on(caller, adding) as engine:
        assert await result(engine, "ours") == 2
        assert await engine.run(adding, 1, id="theirs") == 2
        found = await engine._store.find(["ours", "theirs"])
        [ours], [theirs] = [(await engine._store.read(row.key))[:1] for row in found]
        events = [decode_event(row.event) for row in (ours, theirs)]
    one, other = [msgspec.structs.replace(row, id="", shard=0, key=0, created_at=0, updated_at=0) for row in found]
    assert one == other
    assert (ours.seq, ours.after, ours.format, ours.value) == (theirs.seq, theirs.after, theirs.format, theirs.value)
    assert [msgspec.structs.replace(event, seed="") for event in events] == [Started(name="adding", seed="")] * 2


@pytest.mark.parametrize("committed", [False, True])
async def test_an_application_that_is_killed(sync_caller: Caller, *, committed: bool) -> None:
    commands = ["write 1", "submit one", "send one", *(["commit"] if committed else [])]
    command = [sys.executable, "-m", "tests.stores.outbox_writer", sync_caller._url]
    kill_after(commands, command)
    async with engine_on(sync_caller, collecting) as engine:
        if committed:
            assert await result(engine, "one") == ["from there"]
        else:
            with pytest.raises(WorkflowNotFound):
                await engine.get("one")
    assert sync_caller.mine() == ([1] if committed else [])


async def test_who_catches_an_error_goes_on_without_it(caller: Caller) -> None:
    def refused(outbox: Outbox, connection: Any) -> Any:
        if caller._style == "sync":
            with pytest.raises(WorkflowConflict):
                outbox.submit(connection, adding, 2, id="one")
            return None
        return refused_later(outbox, connection)

    async def refused_later(outbox: Outbox, connection: Any) -> None:
        with pytest.raises(WorkflowConflict):
            await outbox.submit(connection, adding, 2, id="one")

    await caller.do(submit(1, id="one"), write(1), refused, write(2), submit(2, id="two"))
    assert caller.mine() == [1, 2]
    async with engine_on(caller, adding) as engine:
        assert [await result(engine, id) for id in ("one", "two")] == [2, 3]


# -- ids and inputs ------------------------------------------------------------------------------


async def test_an_id_and_an_input_are_one_workflow(caller: Caller) -> None:
    await caller.do(submit(1, id="one"), submit(1, 1, id="one"))
    await caller.do(submit(1, id="one"))
    async with engine_on(caller, adding) as engine:
        assert await result(engine, "one") == 2
        assert await caller.do(submit(1, id="one")) == ["one"]  # also when it has ended
        assert len(await engine.list()) == 1


@pytest.mark.parametrize(
    "other", [submit(2, id="one"), submit(1, id="one", function=collecting)], ids=["another input", "another function"]
)
async def test_an_id_that_is_taken(caller: Caller, other: Act) -> None:
    await caller.do(submit(1, id="one"))
    with pytest.raises(WorkflowConflict, match="id 'one' belongs to workflow 'adding'"):
        await caller.do(write(1), other)
    assert caller.mine() == []


async def test_the_input_is_compared_as_the_function_would_record_it_now(caller: Caller) -> None:
    @workflow(name="adding")
    async def adding_more(a: int, b: int = 1, c: int = 0) -> int:
        return a + b + c

    await caller.do(submit(1, id="one"))
    assert await caller.do(submit(1, id="one", function=adding_more)) == ["one"]
    with pytest.raises(WorkflowConflict, match="another input"):
        await caller.do(submit(1, 1, 1, id="one", function=adding_more))


async def test_an_input_that_the_function_would_not_take_any_more_is_another_one(sync_caller: Caller) -> None:
    @workflow(name="adding")
    async def adding_texts(texts: list[str]) -> str:
        return "".join(texts)

    await sync_caller.do(submit(1, id="one"))
    with pytest.raises(WorkflowConflict, match="another input"):
        await sync_caller.do(submit([], id="one", function=adding_texts))


async def test_a_fork_is_not_the_run_that_was_asked_for(sync_caller: Caller) -> None:
    async with engine_on(sync_caller, adding) as engine:
        await engine.run(adding, 1, id="one")
        await engine.fork("one", at=1, new_id="two")
    with pytest.raises(WorkflowConflict):
        await sync_caller.do(submit(1, id="two"))


async def test_without_an_id_each_is_a_new_one(caller: Caller) -> None:
    one, two = await caller.do(submit(1), submit(1))
    assert one != two


async def test_keywords_go_through_partials(caller: Caller) -> None:
    await caller.do(submit(1, function=functools.partial(adding, b=5), id="one"))
    async with engine_on(caller, adding) as engine:
        assert await result(engine, "one") == 6


# -- messages ------------------------------------------------------------------------------------


async def test_a_key_is_used_once(caller: Caller) -> None:
    await caller.do(submit(2, function=collecting, id="one"), send("one", 1, key="k"))
    assert await caller.do(send("one", 2, key="k"), send("one", 3, key="other")) == [False, True]
    async with engine_on(caller, collecting) as engine:
        assert await engine.send("one", "t", 4, key="k") is False
        assert await result(engine, "one") == [1, 3]


async def test_an_inbox_that_is_full(caller: Caller) -> None:
    small = Caller(caller._url, caller._style, max_inbox=2)
    await small.do(submit(2, function=collecting, id="one"), send("one", 1, key="k"), send("one", 2))
    with pytest.raises(InboxFull, match="2 messages wait for workflow 'one'"):
        await small.do(write(1), send("one", 3))
    assert await small.do(send("one", 3, key="k")) == [False]
    assert caller.mine() == []


async def test_a_receiver_that_has_ended_or_never_was(caller: Caller) -> None:
    await caller.do(submit(1, id="one"))
    async with engine_on(caller, adding) as engine:
        await result(engine, "one")
    with pytest.raises(WorkflowEnded, match="workflow 'one' has ended: it is completed"):
        await caller.do(send("one"))
    for id in ("two", "two\0"):
        with pytest.raises(WorkflowNotFound):
            await caller.do(send(id))


# -- engines hear of it --------------------------------------------------------------------------


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores on PostgreSQL not look without having been told."""
    monkeypatch.setattr(voice, "POLL", 1e6)


@pytest.mark.usefixtures("only_told")
async def test_an_engine_hears_of_a_workflow_and_of_messages(caller: Caller) -> None:
    async with engine_on(caller, collecting, lease=3600) as engine:  # nothing is looked for but what was heard of
        await caller.do(submit(2, function=collecting, id="one"))
        handle = await engine.get("one")
        await until(functools.partial(has_status, handle, Status.RUNNING))
        await caller.do(send("one", 1))  # it has an owner
        await until(functools.partial(has_received, handle))
        await caller.do(send("one", 2))
        assert await handle.result() == [1, 2]


@pytest.mark.usefixtures("only_told")
async def test_an_engine_hears_of_what_another_process_does(sync_caller: Caller) -> None:
    command = [sys.executable, "-m", "tests.stores.outbox_writer", sync_caller._url]
    async with engine_on(sync_caller, collecting, lease=3600) as engine:
        await trio.to_thread.run_sync(kill_after, ["submit one", "send one", "commit"], command)
        assert await result(engine, "one") == ["from there"]


@pytest.mark.usefixtures("only_told")
async def test_a_workflow_that_is_out_of_memory_goes_on(caller: Caller) -> None:
    async with engine_on(caller, collecting, lease=3600, evict_after=0.01) as engine:
        handle = await engine.submit(collecting, 1, id="one")
        await until(functools.partial(has_status, handle, Status.WAITING))
        await caller.do(send("one", 1))
        assert await handle.result() == [1]


async def test_in_the_thread_of_the_engine(sync_caller: Caller) -> None:
    async with engine_on(sync_caller, collecting) as engine:
        for n in range(5):
            sync_caller.do_sync(write(n), submit(1, function=collecting, id=str(n)), send(str(n), n))
        assert [await result(engine, str(n)) for n in range(5)] == [[n] for n in range(5)]


async def test_a_workflow_that_no_engine_has_waits(caller: Caller) -> None:
    await caller.do(submit(1, id="one"))
    async with engine_on(caller, collecting) as engine:
        [found] = await engine.list()
        assert found.status is Status.PENDING
        assert found.problem is not None
    async with engine_on(caller, adding) as engine:
        assert await result(engine, "one") == 2


# -- what is refused before anything is written --------------------------------------------------


REFUSED: dict[str, tuple[type[Exception], Act]] = {
    "no JSON": (EncodingError, submit(object(), id="one")),
    "another type": (EncodingError, submit("text", id="one")),
    "a message without JSON": (EncodingError, send("one", object())),
    "a large input": (PayloadTooLargeError, submit(10**30, id="one")),
    "a large message": (PayloadTooLargeError, send("one", "x" * 30)),
    "no workflow": (RegistrationError, submit(1, function=len)),
    "no id": (UsageError, submit(1, id="a/b")),
    "no topic": (UsageError, send("one", topic="")),
    "no key": (UsageError, send("one", key="")),
    "an address": (UsageError, lambda outbox, _: outbox.submit("postgresql://", adding, 1)),
    "no connection": (UsageError, lambda outbox, _: outbox.send(None, "one", "t", 1)),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_before_the_database_is_asked(case: str) -> None:
    error, act = REFUSED[case]
    refusing = Outbox(max_payload=20)
    with closing(sqlite3.connect(":memory:")) as connection:
        with pytest.raises(error):
            act(refusing, connection)
        assert not connection.in_transaction


def test_who_has_no_psycopg_is_told_what_to_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "psycopg", raising=False)
    with pytest.raises(UsageError, match=r"needs a sqlite3\.Connection, a psycopg\.Connection or .*, not str"):
        outbox.submit("shop.db", adding, 1)  # type: ignore[call-overload]  # that is what is tried


@pytest.mark.parametrize(
    "options", [{"codec": JsonCodec}, {"max_payload": 0}, {"max_inbox": None}, {"instruments": [JsonCodec]}], ids=str
)
def test_an_outbox_that_makes_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Outbox(**options)


async def test_what_goes_along_is_the_callers(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever raises is asked once, and hinders nothing."""

    class Broken(Instrument):
        def headers(self, parent: object, scope: str) -> dict[str, str]:
            asked.append((parent, scope))
            raise ValueError

    asked: list[tuple[object, str]] = []
    watcher = Watcher()
    mine = Caller(caller._url, caller._style, instruments=[Broken(), Painter("red"), watcher])
    token = colour.set("blue")
    await mine.do(submit(1, id="one"), submit(1, id="two"))
    colour.reset(token)
    await caller.do(submit(1, id="three"))
    async with engine_on(caller, adding) as engine:
        begun = [(await (await engine.get(id)).log())[0].event for id in ("one", "two", "three")]
    assert [event.headers for event in begun if isinstance(event, Started)] == [
        {"red": "blue:"}, {"red": "blue:"}, {},
    ]  # fmt: skip
    assert asked == [(None, "")]
    assert len(caplog.records) == 1
    assert watcher.all == []


async def test_a_codec_of_ones_own(sync_caller: Caller) -> None:
    class Turned:
        """JSON, backwards."""

        def check(self, annotation: Any) -> None:
            JsonCodec().check(annotation)

        def encode(self, value: object, annotation: Any) -> bytes:
            return JsonCodec().encode(value, annotation)[::-1]

        def decode(self, data: bytes, annotation: Any) -> Any:
            return JsonCodec().decode(data[::-1], annotation)

    own = Caller(sync_caller._url, codec=Turned())
    await own.do(submit(1, function=collecting, id="one"), send("one", [1, 2]))
    async with engine_on(own, collecting, codec=Turned()) as engine:
        assert await result(engine, "one") == [[1, 2]]


async def test_steps_may_and_workflow_code_may_not(sync_caller: Caller) -> None:
    @step(name="ordering")
    def ordering(n: int) -> str:
        return str(sync_caller.do_sync(submit(n))[0])

    @workflow(name="ordering")
    async def orders() -> str:
        with sync_caller.connect() as connection:
            with pytest.raises(MisplacedCallError, match=r"Use nurselog\.submit"):
                sync_caller.outbox.submit(connection, adding, 1)
            with pytest.raises(MisplacedCallError, match=r"Use nurselog\.send"):
                sync_caller.outbox.send(connection, "one", "t", 1)
        return await ordering(4)

    async with engine_on(sync_caller, adding, orders) as engine:
        assert await result(engine, await engine.run(orders)) == 5


# -- in transactions of workflows ----------------------------------------------------------------


@transaction(name="order here")
def order_here(connection: sqlite3.Connection, fails: bool) -> str:  # noqa: FBT001 - a flag of the test's
    id = outbox.submit(connection, collecting, 1, id="made")
    outbox.send(connection, id, "t", "from a transaction")
    if fails:
        raise RolledBack
    return id


@transaction(name="order there")
async def order_there(connection: psycopg.AsyncConnection[Any], fails: bool) -> str:  # noqa: FBT001 - a flag of the test's
    id = await outbox.submit(connection, collecting, 1, id="made")
    await outbox.send(connection, id, "t", "from a transaction")
    if fails:
        raise RolledBack
    return id


@workflow(name="ordering in a transaction")
async def ordering(there: bool, fails: bool) -> str:  # noqa: FBT001 - flags of the test's
    return await (order_there(fails) if there else order_here(fails))


@pytest.mark.usefixtures("only_told")
@pytest.mark.parametrize("place", ["memory", "file", "postgres"])
async def test_in_a_transaction_of_a_workflow(request: pytest.FixtureRequest, place: str) -> None:
    request.param = place
    url = address(request)
    with trio.fail_after(PATIENCE):
        async with open_engine(url, [ordering, collecting], lease=3600) as engine:
            there = place == "postgres"
            with pytest.raises(RolledBack):
                await engine.run(functools.partial(ordering, there, fails=True))
            assert [found.name for found in await engine.list()] == [ordering.name]
            assert await engine.run(functools.partial(ordering, there, fails=False)) == "made"
            assert await result(engine, "made") == ["from a transaction"]
