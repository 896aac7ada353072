"""Place orders, and take back what was done when one fails or is cancelled: compensation.

    python examples/order.py

Three orders: one goes through, one has its payment declined, and one is cancelled from outside while the parcel is
being packed. What was done is taken back in shielded scopes, so that the cleanup is not cancelled with the rest. In the
middle of the third order's cleanup the process is killed. A second one goes on in the middle of the cleanup: what was
refunded is not refunded again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from nurselog import CancelScope, WorkflowCancelled, open_engine, step, workflow
from nurselog.lowlevel import describe

DOOMED = sys.argv[1:2] == ["first"]
"""Whether this process will be killed."""
CREDIT = 100
being_packed = trio.Event()


class Declined(Exception):
    """The bank does not pay."""


def say(text: str) -> None:
    print(f"  {text}", flush=True)


@step
async def reserve(item: str) -> str:
    say(f"reserve {item}")
    return f"{item}-17"


@step
async def release(reservation: str) -> None:
    if DOOMED and reservation.startswith("lamp"):
        say("the process is killed")
        os.kill(os.getpid(), signal.SIGKILL)
    say(f"release {reservation}")


@step
async def pay(item: str, amount: int) -> str:
    if amount > CREDIT:
        raise Declined(f"{amount} is too much")
    say(f"pay {amount} for {item}")
    return f"payment for {item}"


@step
async def refund(payment: str) -> None:
    say(f"refund the {payment}")


@step
async def pack(item: str) -> None:
    say(f"pack {item}")
    if item == "lamp":
        being_packed.set()
        await trio.sleep(60)


@asynccontextmanager
async def undone_by(undo: Callable[[str], Awaitable[None]], done: str) -> AsyncGenerator[None]:
    """Undo something if the block fails or is cancelled. BaseException, because a cancellation may come in a group."""
    try:
        yield
    except BaseException:
        with CancelScope(shield=True):
            await undo(done)
        raise


@workflow
async def place_order(item: str, amount: int) -> str:
    async with undone_by(release, await reserve(item)), undone_by(refund, await pay(item, amount)):
        await pack(item)
    return f"{item} is on its way"


async def first(database: str) -> None:
    async with open_engine(f"sqlite:///{database}") as engine:
        print("book:", flush=True)
        say(await engine.run(place_order, "book", 20, id="order-1"))
        print("piano:", flush=True)
        try:
            await engine.run(place_order, "piano", 9000, id="order-2")
        except Declined as exc:
            say(f"declined: {exc}")
        print("lamp:", flush=True)
        lamp = await engine.submit(place_order, "lamp", 40, id="order-3")
        await being_packed.wait()
        await engine.cancel("order-3", "the customer has left")
        await lamp.result()


async def second(database: str) -> None:
    print("a second process:", flush=True)
    async with open_engine(f"sqlite:///{database}") as engine:
        lamp = await engine.get("order-3")
        try:
            await lamp.result()
        except WorkflowCancelled as exc:
            say(str(exc))
        print("the log of order-3:", flush=True)
        for entry in await lamp.log():
            say(f"{entry.seq} {describe(entry.event)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for worker in ("first", "second"):
            command = [sys.executable, __file__, worker, str(Path(folder, "orders.db"))]
            subprocess.run(command, check=False)  # noqa: S603 - this very program


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        trio.run({"first": first, "second": second}[sys.argv[1]], sys.argv[2])
