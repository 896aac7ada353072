"""An order that a person must approve, and that can be changed until then: with a promise and a mailbox.

    python examples/approval.py

The workflow reserves the goods, mails somebody the id of a promise, and waits: for the answer, for wishes of the
customer's, or for three days. The process that began it ends meanwhile. The answers come hours later, to another one.
If the answer is no, or none comes, the goods are released.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import trio

from nurselog import (
    Promise,
    Selected,
    after,
    mailbox,
    open_engine,
    promise,
    select,
    step,
    workflow,
)

THREE_DAYS = 3 * 24 * 3600.0


@dataclass(frozen=True)
class Decision:
    """What the person says."""

    by: str
    approved: bool


DECISIONS = {"lamp": Decision("Ann", approved=True), "piano": Decision("Bob", approved=False)}

mail_server, letter_box = trio.open_memory_channel[tuple[str, str]](10)
"""Letters: an order, and the id of the promise that approves it."""


@step
async def reserve(order: str) -> None:
    """Keep the goods for this order."""
    print(f"  {order}: the goods are reserved")


@step
async def release(order: str) -> None:
    """Sell the goods to somebody else."""
    print(f"  {order}: the goods are released")


@step
async def ask(order: str, approval: str) -> None:
    """Mail a link; who follows it settles the promise of this id."""
    print(f"  {order}: somebody is asked to approve")
    await mail_server.send((order, approval))


@step
async def ship(order: str, address: str) -> None:
    """Send the goods."""
    print(f"  {order}: shipped to {address}")


@workflow
async def place_order(order: str, address: str) -> str:
    """Ship an order once it is approved, to the address that the customer named last."""
    await reserve(order)
    approval = promise(Decision)
    await ask(order, approval.id)
    addresses = mailbox("address", str)
    patience = after(THREE_DAYS)
    while True:
        chosen: Selected[Decision | str | None] = await select(approval, addresses, patience)
        if chosen.case is not addresses:
            break
        address = str(chosen.unwrap())
    return await _finish(order, address, approval)


async def _finish(order: str, address: str, approval: Promise[Decision]) -> str:
    if approval.outcome is None:
        await release(order)
        return "nobody has answered"
    decision = approval.outcome.unwrap()
    if not decision.approved:
        await release(order)
        return f"{decision.by} has declined"
    await ship(order, address)
    return f"{decision.by} has approved"


async def begin(database: Path) -> dict[str, str]:
    """Place the orders, and end when all wait for an answer, which takes no process; return the letters."""
    async with open_engine(f"sqlite:///{database}") as engine:
        for order in DECISIONS:
            await engine.submit(place_order, order, "Oak Lane 1", id=order)
        letters = dict([await letter_box.receive() for _ in DECISIONS])
        while engine.statistics().waiting < len(DECISIONS):  # noqa: ASYNC110 - else a letter might be written again
            await trio.sleep(0.01)
        return letters


async def answer(database: Path, letters: dict[str, str]) -> None:
    """Be the customer and the person who decides."""
    async with open_engine(f"sqlite:///{database}") as engine:
        for address in ("Elm Street 2", "Fir Road 3"):
            await engine.send("lamp", "address", address)
        for order, decision in DECISIONS.items():
            await engine.resolve(letters[order], decision)
            print(f"  {order}: {await (await engine.get(order)).result()}")
        try:
            await engine.resolve(letters["piano"], Decision("Ann", approved=True))
        except Exception as error:  # noqa: BLE001 - shown
            print("  too late:", error)


def main() -> None:
    """Run the two processes' parts, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "orders.db")
        print("monday:")
        letters = trio.run(begin, database)
        print("tuesday:")
        trio.run(answer, database, letters)


if __name__ == "__main__":
    main()
