"""Transactions over several lives of their workflow: what one has done the next one knows, whatever came in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

from nurselog import WorkflowCancelled, WorkflowNotFound
from nurselog._engine import bench
from nurselog._engine.clock import SystemClock
from nurselog._errors import StoreUnavailable
from nurselog._stores import open_store
from nurselog._stores._sqlite import schema
from nurselog.abc import Batch, Database, HasDatabase, Transaction
from nurselog.lowlevel import Result, StepBegan
from tests.engine.rig import Hooked
from tests.transactions.bank import Bank, Script, transfer
from tests.transactions.test_transaction_engines import Stay, steps_of
from tests.transactions.test_transactions import calling


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a file's lock as long as a test can afford; the store tries again by itself."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.2)


async def suspend_in_the_body(bank: Bank, works: Any, stay: Stay) -> None:
    """Live until the body of workflow "w" is in the middle; a thread goes on for a while."""

    async def let_go() -> None:
        await trio.sleep(0.1)
        stay.go.set()

    async with trio.open_nursery() as nursery, bank.engine(works, grace=0.5) as engine:
        await engine.submit(works, id="w")
        await stay.inside.wait()
        nursery.start_soon(let_go)


async def test_suspended_in_the_body_and_done_in_the_next_life(bank: Bank) -> None:
    """A thread cannot be stopped: it goes on for a while, and what it has written is undone when it ends."""
    bank.open_accounts(2)
    stay = Stay(bank)
    works = calling(stay.step, "one")
    await suspend_in_the_body(bank, works, stay)
    async with bank.engine(works) as engine:
        assert await (await engine.get("w")).result() == 90
    assert stay.entered == 2
    assert bank.judge(2) == ["one"]


async def commit_and_lose_the_row(bank: Bank, works: Any, began: Callable[[], None] = bool) -> None:
    """Live until a transaction of workflow "w" has been committed, and its row in the log has not.

    Args:
        bank: where it runs.
        works: the workflow.
        began: called when the log is about to say that the transaction has begun.
    """
    store = Hooked(open_store(bank.store, clock=SystemClock()))
    if bank.shop is None:
        store.database = cast("HasDatabase", store._store).database  # type: ignore[attr-defined]  # that is what makes it have one
    lost = trio.Event()

    async def lose(batch: Batch) -> None:
        rows = b"".join(row.event for append in batch.appends for row in append.rows)
        if b'"began"' in rows:
            began()
        if b'"step"' in rows:
            lost.set()
            raise StoreUnavailable("on purpose")

    store.before_commit = lose
    async with bank.engine(works, store=store, grace=0.05) as engine:
        await engine.submit(works, id="w")
        await lost.wait()
        assert bank.judge(2) == ["one"]


async def test_suspended_between_the_commit_and_the_log(own_bank: Bank) -> None:
    """The next life is told the outcome, and the body does not run again."""
    own_bank.open_accounts(2)
    runs: list[str] = []

    def counted(id: str) -> Script:
        runs.append(id)
        left = yield from transfer(id, 0, 1, 10)
        return left

    works = calling(own_bank.transaction(counted, int), "one")
    await commit_and_lose_the_row(own_bank, works)
    async with own_bank.engine(works) as engine:
        assert await (await engine.get("w")).result() == 90
    assert runs == ["one"]
    assert own_bank.judge(2) == ["one"]


async def test_cancelled_between_the_commit_and_the_log(bank: Bank) -> None:
    """What was committed stays committed, and the log must not say that it was cancelled."""
    bank.open_accounts(2)
    works = calling(bank.transaction(transfer, int), "one", 0, 1, 10)
    await commit_and_lose_the_row(bank, works)
    async with bank.engine() as engine:  # it has no workflows, and leaves the word for who has
        await engine.cancel("w", "too late")
    async with bank.engine(works) as engine:
        assert await (await engine.get("w")).result() == 90
        [ended] = await steps_of(engine, "w")
    assert ended.result is Result.VALUE
    assert bank.judge(2) == ["one"]


async def test_timed_out_between_the_commit_and_the_log(server_bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout runs while nobody is there, and does not undo what was done in time."""
    monkeypatch.setattr(bench, "MOMENT", 0.01)
    server_bank.open_accounts(2)
    stay = Stay(server_bank, timeout=1)
    works = calling(stay.step, "one")
    await commit_and_lose_the_row(server_bank, works, stay.go.set)
    await trio.sleep(1)
    async with server_bank.engine(works) as engine:
        assert await (await engine.get("w")).result() == 90
        assert any(isinstance(entry.event, StepBegan) for entry in await (await engine.get("w")).log())
    assert stay.entered == 1


async def test_cancelled_when_a_former_life_had_committed_nothing(bank: Bank) -> None:
    """It is asked, says no, and the step is cancelled without a run of its body."""
    bank.open_accounts(2)
    stay = Stay(bank)
    works = calling(stay.step, "one")
    await suspend_in_the_body(bank, works, stay)
    async with bank.engine() as engine:
        await engine.cancel("w", "enough")
    async with bank.engine(works) as engine:
        with pytest.raises(WorkflowCancelled, match="enough"):
            await (await engine.get("w")).result()
    assert stay.entered == 1
    assert bank.judge(2) == []
    assert bank.keys() == []


class Gate:
    """A database that an owner comes to late."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_async = database.is_async
        self.inside, self.go = trio.Event(), trio.Event()
        self.error: Exception | None = None

    async def transact(self, transaction: Transaction) -> bytes:
        self.inside.set()
        await self.go.wait()
        try:
            return await self._database.transact(transaction)
        except Exception as exc:
            self.error = exc
            raise

    async def close(self) -> None:
        await self._database.close()


async def test_an_old_owner_that_comes_late_does_nothing(own_bank: Bank) -> None:
    """The new one's body has failed, and the log says so: that is not to be done after all."""
    own_bank.open_accounts(2)
    fails = True

    def pay() -> Script:
        if fails:
            raise LookupError
        left = yield from transfer("late", 0, 1, 10)
        return left

    works = calling(own_bank.transaction(pay, int))
    store = Hooked(open_store(own_bank.store, clock=SystemClock()))
    gate = Gate(cast("HasDatabase", store._store).database)
    store.database = gate  # type: ignore[attr-defined]  # that is what makes it have one
    async with own_bank.engine(works, store=store) as old:
        await old.submit(works, id="w")
        await gate.inside.wait()
        schema_ = "nurselog." if own_bank.is_async else ""
        own_bank.ask(
            f"UPDATE {schema_}workflow SET owner = NULL"
        )  # as if it had been stopped for longer than its lease
        async with own_bank.engine(works) as new:
            with pytest.raises(LookupError):
                await (await new.get("w")).result()
        fails = False
        gate.go.set()
        while gate.error is None:  # noqa: ASYNC110 - it is the only one who waits
            await trio.sleep(0.01)
    assert isinstance(gate.error, WorkflowNotFound)
    assert own_bank.judge(2) == []
