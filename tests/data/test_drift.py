"""Workflows that are under way while the classes of their values change."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
import trio

from nurselog import DecodingError, Status, WorkflowStuck, mailbox, sleep, step, workflow
from nurselog.testing import VirtualClock
from tests.data.drift import CHANGES, KINDS, STUCK, Change, outcome, shown
from tests.engine.rig import on_file

Clock = trio.testing.MockClock


def release(annotation: Any, value: Any = None, show: Callable[[Any], str] = str) -> Any:
    """Return the workflow of a release in which a step's result is annotated so."""

    async def ask() -> Any:
        return value

    ask.__annotations__["return"] = annotation
    asked = step(name="ask")(ask)

    @workflow(name="drifting")
    async def drifting() -> str:
        answer = await asked()
        await sleep(10)
        return show(answer)

    return drifting


async def go_on(path: Path, before: Any, after: Any, mended: Any = None) -> str:
    """Start a workflow with one release, and end it with the next; with a third one, if it is stuck in between."""
    clock = VirtualClock()
    async with on_file(path, before, clock=clock) as engine:
        await engine.submit(before, id="one")
        await trio.sleep(1)
    async with on_file(path, after, clock=clock) as engine:
        if mended is None:
            return await (await engine.get("one")).result()
        with pytest.raises(WorkflowStuck, match=r"step 'ask' at path 1, ended with value cannot be read: .* not fit"):
            await (await engine.get("one")).result()
    async with on_file(path, mended, clock=clock) as engine:
        await engine.resume("one")
        return await (await engine.get("one")).result()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.text)
async def test_a_workflow_goes_on_with_the_classes_of_today(
    autojump_clock: Clock, tmp_path: Path, change: Change, kind: str
) -> None:
    """As the table of docs/data.md says; and one that is stuck goes on when the old class is brought back."""
    before, after = KINDS[kind](change.before), KINDS[kind](change.after)
    value = before(**change.value)
    old, new = release(before, value, shown), release(after, None, shown)
    expected = outcome(change, kind)
    if expected == STUCK:
        assert await go_on(tmp_path / "log.db", old, new, old) == shown(value)
    else:
        assert await go_on(tmp_path / "log.db", old, new) == expected


# -- how a name is changed, and nothing lost -----------------------------------------------------


class Named(msgspec.Struct):
    price: int


class Renamed(msgspec.Struct):
    cents: int = msgspec.field(name="price")


class Model(pydantic.BaseModel):
    price: int


class RenamedModel(pydantic.BaseModel):
    cents: int

    @pydantic.model_validator(mode="before")
    @classmethod
    def _know_old_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "price" in data:
            data["cents"] = data.pop("price")
        return data


@dataclass
class Both:
    cents: int | None = None
    price: int | None = None

    def __post_init__(self) -> None:
        if self.cents is None:
            self.cents = self.price


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [(Named, Named(5), Renamed), (Model, Model(price=5), RenamedModel), (Named, Named(5), Both)],
)
async def test_a_new_name_for_a_field(
    autojump_clock: Clock, tmp_path: Path, before: Any, value: Any, after: Any
) -> None:
    new = release(after, None, lambda record: str(record.cents))
    assert await go_on(tmp_path / "log.db", release(before, value), new) == "5"


# -- unions and enums ----------------------------------------------------------------------------


class Paid(msgspec.Struct, tag=True):
    cents: int


class Failed(msgspec.Struct, tag=True):
    why: str


class Settled(msgspec.Struct, tag="Paid"):
    cents: int


class Cleared(msgspec.Struct, tag=True):
    cents: int


class Color(enum.Enum):
    RED = "red"


class Colour(enum.Enum):
    CRIMSON = "red"
    BLUE = "blue"


class Blue(enum.Enum):
    BLUE = "blue"


@pytest.mark.parametrize(
    ("before", "value", "after", "shows"),
    [
        (Paid, Paid(5), Paid | Failed, "Paid(cents=5)"),
        (Paid | Failed, Paid(5), Settled | Failed, "Settled(cents=5)"),
        (Paid | Failed, Paid(5), Paid, "Paid(cents=5)"),
        (Paid | Failed, Failed("poor"), Paid, None),
        (Paid, Paid(5), Cleared, None),
        (Color, Color.RED, Colour, "Colour.CRIMSON"),
        (Color, Color.RED, Blue, None),
        (Color, Color.RED, str, "red"),
        (int, 5, int | str, "5"),
        (list[int], [5], tuple[int, ...], "(5,)"),
        (list[int], [5, 5], set[int], "{5}"),
        (Named, Named(5), dict[str, int], "{'price': 5}"),
        (Named, Named(5), Any, "{'price': 5}"),
    ],
)
async def test_other_types(
    autojump_clock: Clock, tmp_path: Path, before: Any, value: Any, after: Any, shows: str | None
) -> None:
    old, new = release(before, value), release(after)
    mended = None if shows else old
    assert await go_on(tmp_path / "log.db", old, new, mended) == (shows or str(value))


# -- inputs, messages, results -------------------------------------------------------------------


@dataclass
class Order:
    item: str


@dataclass
class LargerOrder:
    item: str
    number: int = 1


@dataclass
class StricterOrder:
    item: str
    customer: str


@functools.cache
def taking(order: Any) -> Any:
    async def takes(order: Any) -> str:
        more = await mailbox("more", type_).receive()
        await sleep(10)
        return f"{order} {more}"

    type_, takes.__annotations__["order"] = order, order
    return workflow(name="taking")(takes)


async def test_inputs_and_messages(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, taking(Order), clock=clock) as engine:
        await engine.submit(taking(Order), Order("lamp"), id="one")
        await trio.sleep(1)
    async with on_file(path, taking(StricterOrder), clock=clock) as engine:
        with pytest.raises(WorkflowStuck, match=r"its input cannot be read: .*missing required field `customer`"):
            await (await engine.get("one")).result()
    async with on_file(path, taking(LargerOrder), clock=clock) as engine:
        await engine.resume("one")
        await engine.send("one", "more", Order("vase"))
        said = await (await engine.get("one")).result()
        assert said == "LargerOrder(item='lamp', number=1) LargerOrder(item='vase', number=1)"


async def test_a_message_of_another_release_is_an_error_of_who_reads_it(autojump_clock: Clock, tmp_path: Path) -> None:
    """Its sender may be anybody: so it is for the code to handle, and not a reason to be stuck."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, taking(StricterOrder), clock=clock) as engine:
        await engine.submit(taking(StricterOrder), StricterOrder("lamp", "Ann"), id="one")
        await engine.send("one", "more", Order("vase"))
        with pytest.raises(DecodingError, match=r"a message for mailbox 'more' \(row \d of the log\) cannot be read: "):
            await (await engine.get("one")).result()
        assert await (await engine.get("one")).status() is Status.FAILED


async def test_a_result_that_is_read_with_other_code(autojump_clock: Clock, tmp_path: Path) -> None:
    def giving(kind: Any, value: Any = None) -> Any:
        async def gives() -> Any:
            return value

        gives.__annotations__["return"] = kind
        return workflow(name="giving")(gives)

    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, clock=clock) as engine:
        await engine.run(giving(Order, Order("lamp")), id="one")
    async with on_file(path, giving(LargerOrder), clock=clock) as engine:
        assert await (await engine.get("one")).result() == LargerOrder("lamp")
    async with on_file(path, giving(StricterOrder), clock=clock) as engine:
        with pytest.raises(DecodingError, match="missing required field `customer`"):
            await (await engine.get("one")).result()
        assert await (await engine.get("one")).status() is Status.COMPLETED


# -- arguments of steps, of which a digest is recorded -------------------------------------------


class Slim(msgspec.Struct, omit_defaults=True):
    item: str


class LargerSlim(msgspec.Struct, omit_defaults=True):
    item: str
    number: int = 1


def passing(kind: Any, *, check: bool = True) -> Any:
    @step(name="pass on", check_arguments=check)
    async def pass_on(order: Any) -> str:
        item: str = order.item
        return item

    @workflow(name="passing")
    async def passing() -> str:
        item = await pass_on(kind("lamp"))
        await sleep(10)
        return item

    return passing


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (passing(Order), passing(LargerOrder), False),
        (passing(Order), passing(LargerOrder, check=False), True),
        (passing(Slim), passing(LargerSlim), True),
    ],
    ids=["a field more", "unchecked", "a field more that is left out"],
)
async def test_arguments_of_steps(
    autojump_clock: Clock, tmp_path: Path, before: Any, after: Any, *, goes_on: bool
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, before, clock=clock) as engine:
        await engine.submit(before, id="one")
        await trio.sleep(1)
    async with on_file(path, after, clock=clock) as engine:
        if goes_on:
            assert await (await engine.get("one")).result() == "lamp"
        else:
            with pytest.raises(WorkflowStuck, match=r"other arguments(?s:.)*check_arguments=False"):
                await (await engine.get("one")).result()
