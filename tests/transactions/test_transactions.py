"""What a transaction does in the ordinary course of things: its writes are there with its outcome, or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from nurselog import (
    Isolation,
    MisplacedCallError,
    OutsideWorkflowError,
    PayloadTooLargeError,
    RegistrationError,
    Retry,
    Status,
    Step,
    UsageError,
    WorkflowStuck,
    attempt,
    open_engine,
    open_nursery,
    step,
    step_key,
    transaction,
    workflow,
)
from nurselog.lowlevel import StepEnded
from tests.transactions.bank import Bank, Script, transfer


def calling(call: Callable[..., Awaitable[Any]], *args: object) -> Any:
    """Return a workflow that makes one call."""

    @workflow(name="calling")
    async def calls() -> Any:
        return await call(*args)

    return calls


async def test_its_writes_and_its_outcome_are_there_once(bank: Bank) -> None:
    bank.open_accounts(2)
    works = calling(bank.transaction(transfer, int), "one", 0, 1, 30)
    for _ in range(2):
        async with bank.engine(works) as engine:
            assert await engine.run(works, id="w") == 70
    assert bank.amounts() == [70, 130]
    assert bank.transfers() == ["one"]
    assert bank.keys() == [b"70"]


async def test_it_is_a_step_in_the_log(own_bank: Bank) -> None:
    own_bank.open_accounts(2)
    works = calling(own_bank.transaction(transfer, int), "one", 0, 1, 30)
    async with own_bank.engine(works) as engine:
        handle = await engine.submit(works)
        await handle.result()
        [entry] = [entry for entry in await handle.log() if isinstance(entry.event, StepEnded)]
    assert isinstance(entry.event, StepEnded)
    assert (entry.event.name, entry.event.path, entry.value) == ("transfer", "1", b"70")
    assert entry.event.digest is not None


async def test_an_error_undoes_all_and_is_the_steps(bank: Bank) -> None:
    bank.open_accounts(2)

    def fails(id: str) -> Script:
        yield "INSERT INTO transfer (id) VALUES (?)", id
        raise LookupError(id)

    works = calling(bank.transaction(fails), "one")
    for _ in range(2):
        async with bank.engine(works) as engine:
            with pytest.raises(LookupError, match="one"):
                await engine.run(works, id="w")
    assert bank.transfers() == []
    assert bank.keys() == []


async def test_an_error_of_the_database_is_the_bodys(bank: Bank) -> None:
    bank.open_accounts(2)
    works = calling(bank.transaction(transfer), "one", 0, 1, 130)
    async with bank.engine(works) as engine:
        with pytest.raises(Exception, match=r"(?i)check") as caught:
            await engine.run(works)
    assert type(caught.value).__name__ in {"IntegrityError", "StepFailed"}
    assert bank.amounts() == [100, 100]


async def test_it_can_be_tried_again_as_a_step_is(bank: Bank) -> None:
    bank.open_accounts(2)

    def flaky(id: str) -> Script:
        yield "INSERT INTO transfer (id) VALUES (?)", f"{id} {attempt()}"
        if attempt() < 3:
            raise OSError(id)
        return step_key()

    works = calling(bank.transaction(flaky, str).using(retry=Retry(attempts=3, delay=0.001)), "one")
    async with bank.engine(works) as engine:
        assert len(await engine.run(works)) == 32
    assert bank.transfers() == ["one 3"]


async def test_many_at_once(bank: Bank) -> None:
    bank.open_accounts(4)
    move = bank.transaction(transfer, int)

    @workflow(name="moving around")
    async def moving_around() -> None:
        async with open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(move, f"{number:02}", number % 4, (number + 1) % 4, 10)

    async with bank.engine(moving_around) as engine:
        await engine.run(moving_around)
    assert bank.amounts() == [100] * 4
    assert bank.transfers() == [f"{number:02}" for number in range(20)]


# -- outcomes that cannot be ---------------------------------------------------------------------


async def test_a_result_that_cannot_be_written_undoes_all(bank: Bank) -> None:
    bank.open_accounts(2)

    def large(id: str) -> Script:
        yield "INSERT INTO transfer (id) VALUES (?)", id
        return "x" * 20_000

    works = calling(bank.transaction(large), "one")
    async with bank.engine(works, max_payload=10_000) as engine:
        with pytest.raises(PayloadTooLargeError, match="the result of step 'large'"):
            await engine.run(works)
    assert bank.transfers() == []


async def test_a_body_that_returns_something_to_be_awaited(own_bank: Bank) -> None:
    own_bank.open_accounts(2)

    async def later() -> None:
        pass

    made: list[Any] = []

    def forgetful(id: str) -> Script:
        yield "INSERT INTO transfer (id) VALUES (?)", id
        made.append(later())
        return made[0]

    works = calling(own_bank.transaction(forgetful), "one")
    async with own_bank.engine(works) as engine:
        with pytest.raises(UsageError, match="returned something to be awaited"):
            await engine.run(works)
    made[0].close()
    assert own_bank.transfers() == []


async def test_a_body_that_leaves_a_scope_open(own_bank: Bank) -> None:
    if not own_bank.is_async:
        pytest.skip("a thread has no scopes")
    own_bank.open_accounts(2)

    def untidy(id: str) -> Script:
        yield "INSERT INTO transfer (id) VALUES (?)", id
        trio.CancelScope().__enter__()

    works = calling(own_bank.transaction(untidy), "one")
    async with own_bank.engine(works) as engine:
        with pytest.raises(UsageError, match="left open"):
            await engine.run(works)
    assert own_bank.transfers() == []


# -- where it cannot be --------------------------------------------------------------------------


@transaction
async def in_postgres(connection: Any) -> None:
    raise AssertionError


@transaction
def in_sqlite(connection: sqlite3.Connection) -> None:
    raise AssertionError


@transaction(database="cellar")
def in_the_cellar(connection: sqlite3.Connection) -> int:
    return 5


async def test_a_body_of_the_wrong_kind_gets_the_workflow_stuck(own_bank: Bank) -> None:
    wrong: Step[[], None] = in_sqlite if own_bank.is_async else in_postgres
    works = calling(wrong)
    async with own_bank.engine(works) as engine:
        with pytest.raises(WorkflowStuck, match=r"runs in the store's database, which wants a(n async| sync) function"):
            await engine.run(works)


async def test_an_unknown_database_gets_it_stuck_until_an_engine_has_it() -> None:
    works = calling(in_the_cellar)
    async with open_engine("sqlite://", [works], databases={"attic": "sqlite://"}) as engine:
        with pytest.raises(WorkflowStuck, match=r"there is no database 'cellar': .*databases='attic'"):
            await engine.run(works)
    async with open_engine("sqlite://", [works]) as engine:
        with pytest.raises(WorkflowStuck, match="databases=none"):
            await engine.run(works)


async def test_a_stuck_one_is_resumed_where_the_database_is_known(own_bank: Bank) -> None:
    works = calling(in_the_cellar)
    async with open_engine(own_bank.store, [works]) as engine:
        with pytest.raises(WorkflowStuck):
            await engine.run(works, id="w")
    async with open_engine(own_bank.store, [works], databases={"cellar": "sqlite://"}) as engine:
        await engine.resume("w")
        assert await (await engine.get("w")).result() == 5


async def test_a_kind_is_named_with_its_database() -> None:
    @transaction(name="wrong", database="cellar")
    async def wrong(connection: Any) -> None:
        raise AssertionError

    works = calling(wrong)
    async with open_engine("sqlite://", [works], databases={"cellar": "sqlite://"}) as engine:
        with pytest.raises(WorkflowStuck, match=r"'wrong' runs in database 'cellar', which wants a sync function"):
            await engine.run(works)


@pytest.mark.parametrize("url", ["mysql://there", "sqlite:there", "postgresql://x:secret@y/?schema=z", 5])
async def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match="is no address") as caught:
        async with open_engine("sqlite://", [], databases={"shop": url}):
            pass
    assert "secret" not in str(caught.value)


async def test_a_name_that_is_none() -> None:
    with pytest.raises(UsageError, match="the name of a database must be a str"):
        async with open_engine("sqlite://", [], databases={5: "sqlite://"}):  # type: ignore[dict-item]  # on purpose
            pass


async def test_outside_of_a_workflow() -> None:
    with pytest.raises(OutsideWorkflowError, match="transaction 'in_sqlite' works inside a workflow only"):
        await in_sqlite()


async def test_inside_a_step() -> None:
    @step(name="around")
    async def around() -> None:
        await in_sqlite()

    works = calling(around)
    async with open_engine("sqlite://", [works]) as engine:
        with pytest.raises(MisplacedCallError, match="transaction 'in_sqlite' was called inside a step"):
            await engine.run(works)


async def test_inside_another_one(own_bank: Bank) -> None:
    if not own_bank.is_async:
        pytest.skip("a sync body awaits nothing")

    @transaction(name="around")
    async def around(connection: Any) -> None:
        await in_postgres()

    works = calling(around)
    async with own_bank.engine(works) as engine:
        with pytest.raises(MisplacedCallError, match="was called inside a step"):
            await engine.run(works)


# -- what cannot be one --------------------------------------------------------------------------


def test_it_takes_a_connection() -> None:
    with pytest.raises(RegistrationError, match="whose first argument is the connection"):
        transaction(name="none")(lambda: None)  # type: ignore[call-overload, misc]  # on purpose
    with pytest.raises(RegistrationError, match="no method"):

        class _Shop:
            @transaction(name="method")  # type: ignore[arg-type]  # on purpose
            def sell(self) -> None: ...


def test_its_options_are_what_they_are() -> None:
    def body(connection: sqlite3.Connection) -> None: ...

    with pytest.raises(RegistrationError, match=r"isolation must be a nurselog\.Isolation, not 'SERIALIZABLE'"):
        transaction(name="a", isolation="SERIALIZABLE")(body)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(RegistrationError, match="the name of a database must be a str, not 5"):
        transaction(name="a", database=5)(body)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(RegistrationError, match="timeout must be"):
        transaction(name="a", timeout=-1)(body)
    with pytest.raises(RegistrationError, match="is a step already"):
        transaction(name="a")(in_sqlite)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(RegistrationError, match=r"@transaction\(name=...\)"):
        transaction(body)


async def test_in_a_class_it_is_no_method() -> None:
    class Shop:
        @transaction(name="sell")
        def sell(connection: sqlite3.Connection, n: int) -> int:  # type: ignore[misc]  # noqa: N805 - that is the point
            return n

    works = calling(Shop().sell, 5)
    async with open_engine("sqlite://", [works]) as engine:
        assert await engine.run(works) == 5


@pytest.mark.parametrize("isolation", Isolation)
async def test_isolation(server_bank: Bank, isolation: Isolation) -> None:
    def ask() -> Script:
        [(found,)] = yield ("SHOW transaction_isolation",)
        return found

    works = calling(server_bank.transaction(ask, str, isolation=isolation))
    async with server_bank.engine(works) as engine:
        assert await engine.run(works) == isolation.value.lower()


async def test_status_and_name(own_bank: Bank) -> None:
    own_bank.open_accounts(2)
    made = own_bank.transaction(transfer, int, timeout=5)
    assert (made.name, made.timeout, made.is_async) == ("transfer", 5, own_bank.is_async)
    works = calling(made, "one", 0, 1, 1)
    async with own_bank.engine(works) as engine:
        handle = await engine.submit(works)
        await handle.result()
        assert await handle.status() is Status.COMPLETED
