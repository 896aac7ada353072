"""Steps: what they record, and what they are outside of workflows, inside steps, on methods and partials."""

from __future__ import annotations

import functools
import inspect
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import trio

from nurselog import (
    EncodingError,
    MisplacedCallError,
    OutsideWorkflowError,
    RegistrationError,
    Retry,
    StepFailed,
    StepTimedOut,
    UsageError,
    WorkflowStuck,
    attempt,
    open_engine,
    open_nursery,
    select,
    sleep,
    step,
    step_key,
    workflow,
    workflow_id,
)
from nurselog.lowlevel import Result, StepBegan, StepEnded, StepRetried
from tests.engine.rig import in_memory
from tests.flow.rig import events, play, play_on


class Declined(Exception):
    def __init__(self, card: str, *, code: int) -> None:
        super().__init__(card)
        self.code = code


@dataclass
class Quote:
    price: float
    at: datetime


@step
async def double(n: int) -> int:
    return 2 * n


@step(name="double in a thread")
def double_in_thread(n: int) -> int:
    return 2 * n


@step
async def quote(symbol: str) -> Quote:
    return Quote(price=len(symbol), at=datetime(2026, 1, 1, tzinfo=UTC))


@step
async def pair() -> tuple[int, ...]:
    return (1, 2)


@step
async def untyped():  # type: ignore[no-untyped-def]  # that is the point  # noqa: ANN201 - that is the point
    return (1, {"a": {2}})


@step
async def decline() -> None:
    raise Declined("4711", code=5)


@step
async def fail_locally() -> None:
    class LocalError(Exception):
        pass

    raise LocalError("only here")


@step
async def unencodable() -> Any:
    return object()


@step
async def whose() -> tuple[str, str, int]:
    return workflow_id(), step_key(), attempt()


# -- values and errors ---------------------------------------------------------------------------


async def test_a_step_gives_its_value(autojump_clock: trio.testing.MockClock) -> None:
    async def flow() -> int:
        return await double(await double(1))

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 4
        first, second = [event for event in await events(engine) if isinstance(event, StepEnded)]
        assert (first.path, first.name, first.result, first.attempts) == ("1", "double", Result.VALUE, 1)
        assert second.path == "2"


async def test_a_value_is_what_its_annotation_says(autojump_clock: trio.testing.MockClock) -> None:
    async def flow() -> bool:
        assert await quote("ACME") == Quote(4.0, datetime(2026, 1, 1, tzinfo=UTC))
        assert await pair() == (1, 2)
        return True

    assert await play(flow)


async def test_a_value_without_annotation_is_what_json_makes_of_it_live_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def flow() -> bool:
        assert await untyped() == [1, {"a": [2]}]
        return True

    assert await play(flow)


async def test_an_error_is_the_very_type(autojump_clock: trio.testing.MockClock) -> None:
    async def flow() -> int:
        with pytest.raises(Declined, match="4711") as caught:
            await decline()
        return caught.value.code

    assert await play(flow) == 5


async def test_an_error_that_cannot_be_rebuilt_is_step_failed_live_too(autojump_clock: trio.testing.MockClock) -> None:
    async def flow() -> list[str]:
        with pytest.raises(StepFailed) as caught:
            await fail_locally()
        assert "only here" in caught.value.traceback
        return [caught.value.type_name.rpartition(".")[2], caught.value.message]

    assert await play(flow) == ["LocalError", "only here"]


async def test_a_result_that_cannot_be_encoded_is_the_steps_error(autojump_clock: trio.testing.MockClock) -> None:
    async def flow() -> str:
        with pytest.raises(EncodingError, match="object"):
            await unencodable()
        return "lived on"

    assert await play(flow) == "lived on"


async def test_a_step_knows_where_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async def flow() -> tuple[str, str, int]:
        return await whose()

    async with in_memory() as engine:
        id_, key, count = await play_on(engine, flow)
    assert (id_, count) == ("played", 1)
    assert len(key) <= 64
    assert key.replace("-", "").replace("_", "").isalnum()


# -- retries and timeouts ------------------------------------------------------------------------


async def test_a_step_is_tried_again_after_growing_delays(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []

    @step(name="flaky", retry=Retry(attempts=4, delay=1, factor=2, jitter=0))
    async def flaky() -> int:
        times.append(trio.current_time())
        if attempt() < 4:
            raise OSError(attempt())
        return attempt()

    async def flow() -> int:
        return await flaky()

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 4
        retried = [event for event in await events(engine) if isinstance(event, StepRetried)]
    assert [event.attempt for event in retried] == [1, 2, 3]
    assert [b - a for a, b in pairwise(times)] == pytest.approx([1, 2, 4])


@pytest.mark.parametrize("when", [OSError, (KeyError, OSError), lambda exc: isinstance(exc, OSError)])
async def test_only_wanted_errors_are_tried_again(autojump_clock: trio.testing.MockClock, when: Any) -> None:
    seen: list[int] = []

    @step(name="picky", retry=Retry(attempts=5, when=when))
    async def picky() -> None:
        seen.append(attempt())
        raise OSError if attempt() == 1 else ValueError("not wanted")

    async def flow() -> None:
        await picky()

    with pytest.raises(ValueError, match="not wanted"):
        await play(flow)
    assert seen == [1, 2]


async def test_what_retry_refuses() -> None:
    for wrong in ({"attempts": 0}, {"delay": -1}, {"factor": 0.5}, {"jitter": 2}, {"max_delay": -1}):
        with pytest.raises(UsageError, match="must"):
            Retry(**wrong)  # type: ignore[arg-type]  # parameters of several types


async def test_delays_grow_no_longer_than_max_delay() -> None:
    retry = Retry(attempts=10**6, delay=1, factor=3, max_delay=5, jitter=0.5)
    assert [retry.delay_after(n, 0.0) for n in (1, 2, 3, 10**5)] == [1, 3, 5, 5]
    assert retry.delay_after(1, 1.0) == 0.5


async def test_a_timeout_is_for_all_attempts(autojump_clock: trio.testing.MockClock) -> None:
    @step(name="slow", timeout=10, attempt_timeout=4, retry=Retry(attempts=9, delay=0))
    async def slow() -> None:
        await trio.sleep(100)

    async def flow() -> list[float]:
        began = trio.current_time()
        with pytest.raises(trio.TooSlowError) as caught:
            await slow()
        assert isinstance(caught.value, StepTimedOut)
        assert str(caught.value) == "step 'slow' took longer than 10 s"
        return [caught.value.seconds, began]

    async with in_memory() as engine:
        seconds, began = await engine.run(workflow(name="flow")(flow), id="played")
        assert (seconds, trio.current_time() - began) == (10, pytest.approx(10))
        assert len([event for event in await events(engine) if isinstance(event, StepRetried)]) == 2


async def test_a_timeout_of_an_attempt_is_an_error_like_others(autojump_clock: trio.testing.MockClock) -> None:
    @step(name="slow", attempt_timeout=4, retry=Retry(attempts=2, delay=0))
    async def slow() -> str:
        if attempt() == 1:
            await trio.sleep(100)
        return "second"

    async def flow() -> str:
        return await slow()

    assert await play(flow) == "second"


async def test_a_variant_for_one_call(autojump_clock: trio.testing.MockClock) -> None:
    @step(name="slow")
    async def slow(n: int) -> int:
        if attempt() == 1:
            raise ValueError("not the first time")
        await trio.sleep(n)
        return n

    async def flow() -> int:
        with pytest.raises(StepTimedOut):
            await slow.using(timeout=3, retry=Retry(attempts=2), name="slow with patience")(5)
        return await slow.using(retry=Retry(attempts=2))(5)

    async with in_memory() as engine:
        assert await play_on(engine, flow) == 5
        ended = [event for event in await events(engine) if isinstance(event, StepEnded)]
    assert [event.name for event in ended] == ["slow with patience", "slow"]


async def test_a_step_that_lasts_is_noted_as_begun(autojump_clock: trio.testing.MockClock) -> None:
    @step(name="nap")
    async def nap(seconds: float) -> None:
        await trio.sleep(seconds)

    async def flow() -> None:
        await nap(0.5)
        await nap(5)

    async with in_memory() as engine:
        await play_on(engine, flow)
        assert [event.path for event in await events(engine) if isinstance(event, StepBegan)] == ["2"]


# -- threads -------------------------------------------------------------------------------------


async def test_a_sync_step_runs_in_a_thread() -> None:
    main = trio.lowlevel.current_trio_token()

    @step(name="elsewhere")
    def elsewhere() -> tuple[bool, str, int]:
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_task()
        return trio.from_thread.run_sync(trio.lowlevel.current_trio_token) is main, workflow_id(), attempt()

    async def flow() -> tuple[bool, str, int]:
        return await elsewhere()

    assert await play(flow) == (True, "played", 1)


class Awaitable:
    def __await__(self) -> Any:
        raise AssertionError("nobody awaits it")


async def test_a_sync_step_must_not_return_something_to_await() -> None:
    @step(name="mistaken")
    def mistaken() -> Any:
        return Awaitable()

    async def flow() -> None:
        await mistaken()

    with pytest.raises(UsageError, match="no async function"):
        await play(flow)


# -- outside, inside -----------------------------------------------------------------------------


async def test_outside_a_workflow_a_step_is_its_function() -> None:
    assert await double(3) == 6
    assert await double_in_thread(3) == 6
    assert await double.fn(3) == 6
    assert double_in_thread.fn(3) == 6
    assert "object" in repr(await unencodable())
    for what in (step_key, attempt, workflow_id):
        with pytest.raises(OutsideWorkflowError):
            what()


async def test_inside_a_step_a_step_is_part_of_it() -> None:
    @step(name="outer")
    async def outer() -> list[int]:
        return [await double(1), await double_in_thread(2), attempt()]

    async def flow() -> list[int]:
        return await outer()

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [2, 4, 1]
        assert [event.name for event in await events(engine) if isinstance(event, StepEnded)] == ["outer"]


async def test_durable_operations_are_refused_inside_a_step(autojump_clock: trio.testing.MockClock) -> None:
    @step(name="misplaced")
    async def misplaced() -> list[str]:
        found = []
        for operation in (lambda: sleep(1), lambda: open_nursery().__aenter__(), select):
            with pytest.raises(MisplacedCallError) as caught:
                await operation()
            found.append(str(caught.value).split()[0])
        return found

    async def flow() -> list[str]:
        return await misplaced()

    assert await play(flow) == ["sleep", "open_nursery", "select"]


# -- methods, partials, functions of others ------------------------------------------------------


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.client = object()  # what cannot be recorded need not be

    @step
    async def pay(self, amount: int, *, fee: int = 0) -> int:
        self.balance -= amount + fee
        return self.balance


async def test_a_method_is_a_step_and_its_object_is_not_recorded(autojump_clock: trio.testing.MockClock) -> None:
    account = Account(100)

    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            handle = nursery.go(account.pay, 1)
        return [await account.pay(10), await account.pay(20, fee=5), await handle.result()]

    async with in_memory() as engine:
        assert await play_on(engine, flow) == [89, 64, 99]
        ended = [event for event in await events(engine) if isinstance(event, StepEnded)]
    assert [event.name for event in ended] == ["Account.pay"] * 3
    assert account.balance == 64, "a replay ran the body again"
    assert inspect.iscoroutinefunction(Account.pay.fn)


async def test_functions_of_others(autojump_clock: trio.testing.MockClock) -> None:
    async def of_a_library(n: int, *, factor: int) -> int:
        return n * factor

    triple = step(name="triple")(functools.partial(of_a_library, factor=3))

    async def flow() -> list[int]:
        async with open_nursery() as nursery:
            handle = nursery.go(functools.partial(triple, 2))
        return [await triple(1), await handle.result()]

    assert await play(flow) == [3, 6]


async def test_a_function_without_annotations_or_of_c_is_a_step_too() -> None:
    pause = step(name="pause")(time.sleep)

    async def flow() -> None:
        await pause(0)

    await play(flow)


async def test_a_callable_object_is_a_step(autojump_clock: trio.testing.MockClock) -> None:
    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

        async def __call__(self, n: int) -> int:
            return self.n + n

    add = step(name="add")(Adder(5))

    async def flow() -> int:
        return await add(1)

    assert await play(flow) == 6


def test_what_a_function_carries_does_not_change_the_step() -> None:
    def carrying() -> None: ...

    carrying.timeout = "not ours"  # type: ignore[attr-defined]  # as some decorators do
    made = step(name="carrying")(carrying)
    assert made.timeout is None
    assert (made.__name__, made.__doc__) == ("carrying", None)


def test_what_cannot_be_a_step() -> None:
    for wrong, why in (
        (lambda: None, "no name of its own"),
        (functools.partial(print), "no name of its own"),
        (double, "step already"),
        (5, "@step needs a function"),
    ):
        with pytest.raises(RegistrationError, match=why):
            step(wrong)  # type: ignore[call-overload]  # that is the point
    with pytest.raises(RegistrationError, match="timeout must be a number of seconds, more than 0"):
        step(timeout=0)(double.fn)
    with pytest.raises(RegistrationError, match="attempt_timeout must be a number of seconds, more than 0"):
        step(attempt_timeout=float("nan"))(double.fn)
    with pytest.raises(RegistrationError, match="exclude each other"):
        step(at_most_once=True, retry=Retry())(double.fn)
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(RegistrationError, match="printable"):
            step(name=name)(double.fn)


async def test_steps_with_a_file_of_their_own_are_awaited_once(tmp_path: Any) -> None:
    @workflow(name="flow")
    async def flow() -> int:
        return await double(1)

    async with open_engine(f"sqlite:///{tmp_path / 'log.db'}", [flow]) as engine:
        assert await engine.run(flow) == 2


async def test_a_step_that_is_called_and_not_awaited_is_told(autojump_clock: trio.testing.MockClock) -> None:
    @workflow(name="flow")
    async def flow() -> int:
        double(1)  # type: ignore[unused-awaitable]  # that is the point
        return await double(2)

    async with in_memory() as engine:
        with pytest.raises(WorkflowStuck, match=r"a call of step 'double' without await(?s:.)*nursery.go"):
            await engine.run(flow)
