"""Transactions and the engine around them: cancelled, timed out, suspended, and what the next life makes of it."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from nurselog import (
    StepTimedOut,
    UsageError,
    WorkflowCancelled,
    move_on_after,
    open_engine,
    open_nursery,
    step,
    transaction,
    workflow,
)
from nurselog._errors import StoreUnavailable
from nurselog._flow import transacting
from nurselog._stores import open_store
from nurselog._stores._sqlite import schema
from nurselog._stores._sqlite import transactions as in_files
from nurselog.abc import Clock, CommitUnanswered, Store, Transaction
from nurselog.lowlevel import Result, StepEnded
from nurselog.testing import Script as Scripted
from nurselog.testing import VirtualClock, crash_everywhere
from nurselog.testing.fakes import fakes
from nurselog.testing.life import in_memory
from tests.engine.rig import Hooked
from tests.transactions.bank import Bank, drive, drive_async, transfer
from tests.transactions.test_transactions import calling


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a file's lock as long as a test can afford; the store tries again by itself."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.2)


class Stay:
    """A transaction that moves money, and whose body stays as long as it is told."""

    def __init__(self, bank: Bank, **options: Any) -> None:
        self._bank = bank
        self.inside = trio.Event()
        self.go = threading.Event()
        self.entered = 0
        self._token = trio.lowlevel.current_trio_token()
        body = self._async if bank.is_async else self._sync
        self.step = transaction(name="stay", database=bank.name, **options)(_plain(body))  # type: ignore[call-overload]  # either kind

    def _sync(self, connection: Any, id: str) -> int:
        left = drive(transfer(id, 0, 1, 10), connection)
        self._token.run_sync_soon(self.inside.set)
        self.entered += 1
        self.go.wait(30)
        return int(left)

    async def _async(self, connection: Any, id: str) -> int:
        left = await drive_async(transfer(id, 0, 1, 10), connection)
        self.inside.set()
        self.entered += 1
        while not self.go.is_set():  # noqa: ASYNC110 - the same event as in the thread
            await trio.sleep(0.005)
        return int(left)


def _plain(body: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of a method: transactions are none."""
    if body.__name__ == "_async":

        async def in_postgres(connection: Any, id: str) -> int:
            left: int = await body(connection, id)
            return left

        return in_postgres

    def in_sqlite(connection: Any, id: str) -> int:
        left: int = body(connection, id)
        return left

    return in_sqlite


async def steps_of(engine: Any, id: str) -> list[StepEnded]:
    log = await (await engine.get(id)).log()
    return [entry.event for entry in log if isinstance(entry.event, StepEnded)]


async def test_cancelled_in_the_body(bank: Bank) -> None:
    if not (bank.shop or bank.is_async):
        pytest.skip("a body has the store's file for itself: nobody can cancel anything meanwhile")
    bank.open_accounts(2)
    stay = Stay(bank)
    works = calling(stay.step, "one")
    async with bank.engine(works) as engine:
        handle = await engine.submit(works, id="w")
        await stay.inside.wait()
        await engine.cancel("w", "enough")
        stay.go.set()
        with pytest.raises(WorkflowCancelled, match="enough"):
            await handle.result()
        [ended] = await steps_of(engine, "w")
    assert (ended.result, ended.begun) == (Result.CANCELLED, True)
    assert bank.judge(2) == []
    assert bank.keys() == []


async def test_timed_out_in_the_body(bank: Bank) -> None:
    bank.open_accounts(2)
    stay = Stay(bank, timeout=0.1)
    works = calling(stay.step, "one")
    async with bank.engine(works) as engine, trio.open_nursery() as nursery:

        async def let_go() -> None:
            await stay.inside.wait()
            await trio.sleep(0.15)
            stay.go.set()

        nursery.start_soon(let_go)
        with pytest.raises(StepTimedOut):
            await engine.run(works, id="w")
    assert bank.judge(2) == []


async def test_timed_out_while_others_are_in_the_way(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_files, "PATIENCE", 0.01)
    bank.open_accounts(2)

    works = calling(bank.transaction(transfer, int, timeout=0.3), "one", 0, 1, 10)
    with bank.connection() as other:
        if bank.shop or bank.is_async:  # a file that is locked takes no log either
            other.execute("BEGIN" if bank.is_async else "BEGIN IMMEDIATE")
            other.execute("UPDATE account SET amount = 5")
            async with bank.engine(works) as engine:
                with pytest.raises(StepTimedOut):
                    await engine.run(works, id="w")
            other.execute("ROLLBACK")
    assert bank.judge(2) == []


async def test_somebody_should_know_that_others_are_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(in_files, "PATIENCE", 0.0)
    bank = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    bank.open_accounts(2)
    works = calling(bank.transaction(transfer, int), "one", 0, 1, 10)
    with bank.connection() as other:
        other.execute("BEGIN IMMEDIATE")
        async with bank.engine(works) as engine:
            handle = await engine.submit(works, id="w")
            while "waits: " not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
                await trio.sleep(0.01)
            other.execute("ROLLBACK")
            assert await handle.result() == 90
    said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert "transaction 'transfer' of workflow 'w' waits: " in said[0]


async def test_who_leaves_between_two_tries_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(in_files, "PATIENCE", 0.0)
    monkeypatch.setattr(transacting, "_PATIENCE", 1)
    monkeypatch.setattr(transacting, "_BACKOFF", (1e6, 1e6))
    bank = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    bank.open_accounts(2)
    works = calling(bank.transaction(transfer, int), "one", 0, 1, 10)
    with bank.connection() as other:
        other.execute("BEGIN IMMEDIATE")
        async with bank.engine(works) as engine:
            await engine.submit(works, id="w")
            while "waits: " not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
                await trio.sleep(0.01)
    assert "runs in a thread" not in caplog.text


async def test_a_commit_does_not_wait_for_threads_that_are_busy(tmp_path: Path) -> None:
    """They may wait for the very lock that it holds."""
    bank = Bank("sqlite://", f"sqlite:///{tmp_path / 'shop.db'}")
    bank.open_accounts(2)
    stay = Stay(bank)

    @step(name="lock")
    def wait_for_the_lock() -> None:
        bank.ask("UPDATE account SET amount = 0 WHERE amount < 0")  # within 5 seconds, or it fails

    @workflow(name="crowded")
    async def crowded() -> int:
        async with open_nursery() as nursery:
            left = nursery.go(stay.step, "one")
            await stay_inside()
            nursery.start_soon(wait_for_the_lock)
            await let_go()
        return await left.result()

    @step(name="inside")
    async def stay_inside() -> None:
        await stay.inside.wait()

    @step(name="let go")
    async def let_go() -> None:
        await trio.testing.wait_all_tasks_blocked()  # the lock's step waits for the only thread
        stay.go.set()

    async with bank.engine(crowded, max_threads=1) as engine:
        assert await engine.run(crowded) == 90


# -- COMMIT without an answer --------------------------------------------------------------------

Answer = Callable[[Transaction], bytes]


def unanswered(_: Transaction) -> bytes:
    raise CommitUnanswered("on purpose")


def away(_: Transaction) -> bytes:
    raise StoreUnavailable("on purpose")


def not_there(question: Transaction) -> bytes:
    """There is no such key, so the body runs: it says that this is a question."""
    question.body(None)
    raise AssertionError


def five(_: Transaction) -> bytes:
    return b"5"


class Answering:
    """A database that gives the answers that a test wants, in order, each after a second."""

    is_async = False

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    async def transact(self, transaction: Transaction) -> bytes:
        await trio.sleep(1)
        return self.answers.pop(0)(transaction)

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()


@transaction(name="five")
def make_five(_connection: sqlite3.Connection) -> int:
    raise AssertionError


def answered_by(database: Answering, works: Any) -> Any:
    store = Hooked(open_store("sqlite://", clock=VirtualClock()))
    store.database = database  # type: ignore[attr-defined]  # that is what makes it have one
    return open_engine(store, [works], clock=VirtualClock(), grace=5)


@pytest.mark.parametrize(
    "answers",
    [
        [five],
        [away, away, five],
        [unanswered, five],
        [unanswered, away, five],
        [unanswered, not_there, five],
        [unanswered, away, not_there, unanswered, not_there, away, five],
    ],
)
async def test_it_goes_on_until_there_is_an_outcome(answers: list[Answer], autojump_clock: MockClock) -> None:
    works = calling(make_five)
    database = Answering(*answers)
    async with answered_by(database, works) as engine:
        assert await engine.run(works) == 5
    assert database.answers == []


@workflow
async def impatient_for_five() -> str:
    with move_on_after(1.5):
        return f"got {await make_five()}"
    return "moved on"


@pytest.mark.parametrize(
    ("answers", "result", "became"),
    [
        ([unanswered, away, five], "got 5", Result.VALUE),
        ([unanswered, away, not_there], "moved on", Result.CANCELLED),
        ([away, five], "moved on", Result.CANCELLED),
    ],
)
async def test_a_cancellation_waits_for_what_is_not_known(
    answers: list[Answer], result: str, became: Result, autojump_clock: MockClock
) -> None:
    async with answered_by(Answering(*answers), impatient_for_five) as engine:
        assert await engine.run(impatient_for_five, id="w") == result
        [ended] = await steps_of(engine, "w")
    assert ended.result is became


async def test_who_leaves_memory_does_not_wait_for_what_is_not_known(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    works = calling(make_five)
    database = Answering(unanswered, *[away] * 1000)
    async with answered_by(database, works) as engine:
        await engine.submit(works, id="w")
        await trio.sleep(5)
    assert trio.current_time() < 7
    assert "COMMIT" not in caplog.text
    assert "on purpose" in caplog.text
    assert "runs in a thread" not in caplog.text


# -- in tests ------------------------------------------------------------------------------------


@transaction
async def pay(connection: Any, amount: int, *, twice: bool = False) -> int:
    raise AssertionError


@workflow
async def paying_twice() -> int:
    return await pay(5) + await pay(6, twice=True)


def test_a_fake_has_the_signature_that_callers_see() -> None:
    with fakes({pay: lambda amount, *, twice: 1}):
        pass
    with pytest.raises(UsageError, match=r"with \(amount, twice\)"), fakes({pay: lambda connection, amount, twice: 1}):
        pass


async def test_a_fake_takes_its_place() -> None:
    with fakes({pay: lambda amount, *, twice: amount * (1 + twice)}):
        assert await pay(5, twice=True) == 10, "outside of a workflow, too"
        async with open_engine("sqlite://", [paying_twice]) as engine:
            assert await engine.run(paying_twice) == 17


def test_it_is_tried_everywhere_with_a_fake() -> None:
    crash_everywhere(paying_twice, fakes={pay: Scripted(5, 6)})


@pytest.mark.parametrize("store", [in_memory, lambda clock: open_store("sqlite://", clock=clock)])
def test_without_a_fake_there_is_no_database_in_a_life(store: Callable[[Clock], Store]) -> None:
    """Not in a store that has one, either: a log can be cut anywhere, and what was written cannot."""
    with pytest.raises(AssertionError, match="this store has no database for transactions"):
        crash_everywhere(paying_twice, store=store)
