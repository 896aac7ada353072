"""Orders that a person must approve, that can be changed until then, and that customers watch: a saga with progress.

    python examples/approval.py

The workflow reserves the goods, mails somebody the id of a promise, and waits: for the answer, for wishes of the
customer's, or for three days. Then it takes the money and packs. If it fails on the way, what was done is taken back.
At each turn it publishes its state, and packing is a stream.

The process that began the orders ends while they wait. The answers come hours later, to another process, and who
watches goes on behind the last thing that was seen.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from nurselog import (
    CancelScope,
    Engine,
    Selected,
    after,
    mailbox,
    open_engine,
    open_stream,
    promise,
    publish,
    select,
    step,
    workflow,
)

THREE_DAYS = 3 * 24 * 3600.0
ASKED = "somebody is asked to approve"


@dataclass(frozen=True)
class Decision:
    """What the person says."""

    by: str
    approved: bool


class OrderFailed(Exception):
    """The order comes to nothing."""


DECISIONS = {
    "lamp": Decision("Ann", approved=True),
    "piano": Decision("Bob", approved=False),
    "vase": Decision("Ann", approved=True),
}

mail_server, letter_box = trio.open_memory_channel[tuple[str, str]](10)
"""Letters: an order, and the id of the promise that approves it."""


@step
async def reserve(order: str) -> None:
    """Keep the goods for this order."""


@step
async def release(order: str) -> None:
    """Sell the goods to somebody else."""
    publish("state", f"the {order} is released")


@step
async def ask(order: str, approval: str) -> None:
    """Mail a link; who follows it settles the promise of this id."""
    await mail_server.send((order, approval))


@step
async def pay(order: str) -> None:
    """Take the customer's money."""


@step
async def refund(order: str) -> None:
    """Give the money back."""
    publish("state", f"the money for the {order} is refunded")


@step
async def pack(order: str) -> None:
    """Put the goods into a box, and say how far that is."""
    async with open_stream("packed") as stream:
        await stream.send_all([25, 50])
        if order == "vase":
            raise OrderFailed("it is broken")
        await stream.send_all([75, 100])


@asynccontextmanager
async def undone_by(undo: Callable[[str], Awaitable[None]], order: str) -> AsyncGenerator[None]:
    """Undo something if the block fails or is cancelled."""
    try:
        yield
    except BaseException:
        with CancelScope(shield=True):
            await undo(order)
        raise


@workflow
async def place_order(order: str, address: str) -> str:
    """Ship an order once it is approved, to the address that the customer named last."""
    await reserve(order)
    publish("state", "reserved")
    async with undone_by(release, order):
        by, address = await approved(order, address)
        publish("state", f"approved by {by}")
        await pay(order)
        async with undone_by(refund, order):
            publish("state", "paid")
            await pack(order)
    return f"is on its way to {address}"


async def approved(order: str, address: str) -> tuple[str, str]:
    """Wait until somebody approves, and take wishes meanwhile; return who it was, and the address."""
    approval, addresses, patience = promise(Decision), mailbox("address", str), after(THREE_DAYS)
    await ask(order, approval.id)
    publish("state", ASKED)
    while True:
        chosen: Selected[Decision | str | None] = await select(approval, addresses, patience)
        if chosen.case is not addresses:
            break
        address = str(chosen.unwrap())
    if approval.outcome is None:
        raise OrderFailed("nobody has answered")
    decision = approval.outcome.unwrap()
    if not decision.approved:
        raise OrderFailed(f"{decision.by} has declined")
    return decision.by, address


async def watch(engine: Engine, order: str, position: int = 0) -> int:
    """Show what becomes of an order, until somebody is asked or it is over; return how much was seen."""
    handle = await engine.get(order)
    try:
        async for item in handle.follow("state", str, after=position):
            print(f"  {order}: {item.value}")
            if item.value == ASKED:
                return item.position
        percents = [item.value async for item in handle.follow("packed", int)]
        print(f"  {order}: packed {percents}, and {await handle.result()}")
    except OrderFailed as failed:
        print(f"  {order}: failed, {failed}")
    return 0


async def begin(database: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Place the orders, and end when all wait for an answer, which takes no process; return the letters."""
    async with open_engine(f"sqlite:///{database}") as engine:
        for order in DECISIONS:
            await engine.submit(place_order, order, "Oak Lane 1", id=order)
        seen = {order: await watch(engine, order) for order in DECISIONS}
        letters = dict([await letter_box.receive() for _ in DECISIONS])
        while engine.statistics().waiting < len(DECISIONS):  # noqa: ASYNC110 - else a letter might be written again
            await trio.sleep(0.01)
        return letters, seen


async def answer(database: Path, letters: dict[str, str], seen: dict[str, int]) -> None:
    """Be the customer, the person who decides, and whoever watches."""
    async with open_engine(f"sqlite:///{database}") as engine:
        for address in ("Elm Street 2", "Fir Road 3"):
            await engine.send("lamp", "address", address)
        for order, decision in DECISIONS.items():
            await engine.resolve(letters[order], decision)
            await watch(engine, order, seen[order])
        try:
            await engine.resolve(letters["piano"], Decision("Ann", approved=True))
        except Exception as error:  # noqa: BLE001 - shown
            print("  too late:", error)


def main() -> None:
    """Run the two processes' parts, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "orders.db")
        print("monday:")
        letters, seen = trio.run(begin, database)
        print("tuesday:")
        trio.run(answer, database, letters, seen)


if __name__ == "__main__":
    main()
