"""A workflow that is asked about its state, and what it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from nurselog import (
    Engine,
    WorkflowHandle,
    expose,
    mailbox,
    move_on_after,
    open_nursery,
    step,
    workflow,
)
from tests.engine.rig import settle


@dataclass
class State:
    items: list[str] = field(default_factory=list)
    stage: str = "open"


ran: list[str] = []
"""Bodies that have begun."""


@step
async def pack(item: str) -> str:
    ran.append(item)
    await trio.sleep(1)
    return item


@workflow
async def parcel(weight: int) -> int:
    return weight


@workflow
async def order(seconds: float = 100.0) -> list[str]:
    """Take items until the time is up, pack them, and send a parcel."""
    state = State()
    expose(state)
    with move_on_after(seconds):
        async for item in mailbox("items", str):
            state.items.append(item)
    state.stage = "packing"
    async with open_nursery() as nursery:
        for item in state.items:
            nursery.go(pack, item)
    await parcel(len(state.items))
    state.stage = "sent"
    return state.items


@parcel.query
def weighed(state: object) -> None: ...


@order.query
def count(state: State) -> int:
    return len(state.items)


@order.query
def items(state: State, start: str = "", *, upper: bool = False) -> list[str]:
    found = [item for item in state.items if item.startswith(start)]
    return [item.upper() for item in found] if upper else found


@order.query
def whole(state: State) -> State:
    return state


@order.query
def stage(state: State) -> str:
    return state.stage


@order.query
def failing(state: State) -> int:
    raise LookupError(f"nothing in {state.items}")


@order.query
def spoiling(state: State) -> int:
    state.items.append("never sent")
    return len(state.items)


@order.query
def spoiling_and_failing(state: State) -> int:
    state.items.append("never sent")
    raise LookupError("failed")


@order.query
def unencodable(state: State) -> object:
    return object()


@order.query
def wrong(state: State) -> int:
    return state.items  # type: ignore[return-value]  # on purpose


async def said(handle: WorkflowHandle[Any]) -> list[str]:
    """Return a log as it is, to be compared."""
    return [repr(entry) for entry in await handle.log()]


async def with_items(engine: Engine, *given: str, seconds: float = 100, id: str = "one") -> WorkflowHandle[Any]:
    handle = await engine.submit(order, seconds, id=id)
    for item in given:
        await engine.send(id, "items", item)
    await settle()
    return handle
