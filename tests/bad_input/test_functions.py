"""What cannot be a workflow, and functions that one engine cannot tell apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never, NoReturn

import pytest
import trio

from nurselog import (
    RegistrationError,
    Status,
    Step,
    UsageError,
    Workflow,
    WorkflowStuck,
    open_engine,
    open_nursery,
    step,
    workflow,
)
from tests.engine.rig import in_memory, on_file
from tests.flow.rig import play

if TYPE_CHECKING:
    from decimal import Decimal

Clock = trio.testing.MockClock


@step
async def quick() -> int:
    return 1


@step
async def nap() -> None:
    await trio.sleep(50)


@workflow
async def first() -> int:
    return await quick()


@workflow
async def lasting() -> int:
    await nap()
    return 5


@workflow(name="first")
async def second() -> int:
    return 2


@workflow
async def takes_decimal(number: Decimal) -> None:
    """Its annotation means nothing at run time."""


class Service:
    async def method(self, n: int) -> int:
        return n


async def test_what_cannot_be_a_workflow() -> None:
    def sync() -> None: ...

    async def generator() -> Any:
        yield 1

    wrongs: list[Any] = [sync, generator, 5, None, Service, print]
    for wrong in wrongs:
        if wrong is not None:  # `workflow(None)` is `workflow()`
            with pytest.raises(RegistrationError, match="must be an async function"):
                workflow(name="x")(wrong)
    for nameless in (generator_of_none, functools.partial(Service().method, 1)):
        with pytest.raises(RegistrationError, match="no name of its own"):
            workflow(nameless)
    with pytest.raises(RegistrationError, match="printable"):
        workflow(name="")(quick.fn)


generator_of_none = type("Nameless", (), {"__call__": Service.method})()


async def test_a_step_is_no_workflow() -> None:
    with pytest.raises(RegistrationError):
        workflow(name="x")(quick)


async def test_two_workflows_of_one_name(autojump_clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(RegistrationError, match="two functions are recorded as workflow 'first'"):
        async with open_engine("sqlite://", [first, second]):
            pytest.fail("it must not open")
    async with in_memory() as engine:
        assert await engine.run(first) == 1
        with pytest.raises(RegistrationError, match=r"@workflow\(name=...\)"):
            await engine.run(second)
        assert await engine.run(first) == 1


async def test_what_is_no_workflow_in_the_list() -> None:
    with pytest.raises(RegistrationError, match="is no workflow"):
        async with open_engine("sqlite://", [first.fn]):  # type: ignore[list-item]  # that is the point
            pytest.fail("it must not open")


@pytest.mark.parametrize("at_opening", [True, False])
async def test_an_annotation_that_means_nothing(
    autojump_clock: Clock,
    at_opening: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    with pytest.raises(RegistrationError, match=r"parameter 'number'(?s:.)*if TYPE_CHECKING"):
        async with in_memory(workflows=[takes_decimal] if at_opening else []) as engine:
            await engine.submit(takes_decimal, 1)  # type: ignore[arg-type]  # it is refused before that


ran: list[str] = []


@step
async def gives_an_iterable() -> Iterable[int]:
    ran.append("a step")
    return [1]


@step
async def gives_a_decimal() -> Decimal:
    """Its annotation means nothing at run time."""
    ran.append("a step")
    raise NotImplementedError


@step
async def returns_in_no_case() -> NoReturn:
    raise LookupError("as it must")


@step
async def never_returns() -> Never:
    raise LookupError("as it must")


@step
async def gives_what_is_annotated_at_length() -> Annotated[int, ["which makes it unhashable"]]:
    return 1


@workflow
async def returns_an_iterable() -> Iterable[int]:
    ran.append("a workflow")
    return [1]


@workflow
async def takes_an_iterable(numbers: Iterable[int]) -> int:
    ran.append("a workflow")
    return len(list(numbers))


@pytest.mark.parametrize("asked", [gives_an_iterable, gives_a_decimal], ids=lambda asked: asked.name)
@pytest.mark.parametrize("child", [True, False])
async def test_a_step_whose_result_could_not_be_read_back_never_runs(
    autojump_clock: Clock,
    asked: Step[[], Any],
    child: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What it did to the world would be done, and its result lost."""

    async def flow() -> str:
        async with open_nursery() as nursery:
            for _ in range(2):
                with pytest.raises(RegistrationError, match=f"(?s){asked.name}.* its result") as caught:
                    await (nursery.go(asked).result() if child else asked())
        return str(await quick()) + str(caught.value)

    ran.clear()
    assert (await play(flow)).startswith("1")
    assert ran == []


async def test_a_step_that_never_returns_has_nothing_to_be_read_back(autojump_clock: Clock) -> None:
    async def flow() -> int:
        for asked in (never_returns, returns_in_no_case):
            with pytest.raises(LookupError, match="as it must"):
                await asked()
        return await gives_what_is_annotated_at_length()

    assert await play(flow) == 1


@pytest.mark.parametrize("asked", [returns_an_iterable, takes_an_iterable], ids=lambda asked: asked.name)
@pytest.mark.parametrize("at_opening", [True, False])
async def test_a_workflow_whose_data_could_not_be_read_back_is_refused(
    autojump_clock: Clock,
    asked: Workflow[..., Any],
    at_opening: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    ran.clear()
    said = f"workflow '{asked.name}', its (result|parameters): .* cannot be read back"
    if at_opening:
        with pytest.raises(RegistrationError, match=said):
            async with in_memory(workflows=[asked]):
                pytest.fail("it must not open")
        return
    async with in_memory() as engine:
        for _ in range(2):
            with pytest.raises(RegistrationError, match=said):
                await engine.submit(asked, *([[1]] if asked is takes_an_iterable else []))
        assert await engine.list() == []
        assert await engine.run(first) == 1
    assert ran == []


async def test_the_same_workflow_twice_is_no_conflict(autojump_clock: Clock) -> None:
    async with in_memory(workflows=[first, first]) as engine:
        assert await engine.run(first) == 1


async def test_a_method_is_a_workflow_where_it_has_a_name(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        assert await engine.run(workflow(name="method")(Service().method), 3) == 3


async def test_a_function_that_is_gone_waits_for_a_worker(autojump_clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with on_file(path, lasting) as engine:
        await engine.submit(lasting, id="one")
    async with on_file(path) as engine:
        await trio.sleep(100)
        [info] = await engine.list()
        assert (info.status, info.problem) == (Status.RUNNING, "no worker for 'lasting' here")
        assert engine.statistics().running == 0
    async with on_file(path, lasting) as engine:
        assert await (await engine.get("one")).result() == 5
        assert [info.problem for info in await engine.list()] == [None]


def version(fn: Callable[..., Any]) -> Workflow[..., Any]:
    return workflow(name="changing")(fn)


async def test_parameters_that_no_longer_fit(autojump_clock: Clock, tmp_path: Path) -> None:
    async def old(number: int, text: str) -> str:
        await nap()
        return f"{number} {text}"

    async def renamed(number: int, words: str) -> str:
        return f"{number} {words}"

    async def retyped(number: list[int], text: str) -> str:
        return f"{number} {text}"

    async def extended(*, text: str, more: int = 5, number: int) -> str:
        await nap()
        return f"{number} {text} {more}"

    path = tmp_path / "log.db"
    async with on_file(path, version(old)) as engine:
        await engine.submit(version(old), 1, "a", id="one")
    for wrong in (renamed, retyped):
        async with on_file(path, version(wrong)) as engine:
            await engine.resume("one")
            handle = await engine.get("one")
            with pytest.raises(WorkflowStuck, match="does not fit"):
                await handle.result()
    async with on_file(path, version(extended)) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == "1 a 5"


async def test_an_address_that_is_none() -> None:
    for wrong in ("", "postgres", "sqlite:", "sqlite:log.db", "file:///x", "sqlite://host/x", "sqlite:///x?mode=ro"):
        with pytest.raises(UsageError, match="address"):
            async with open_engine(wrong, []):
                pytest.fail("it must not open")
