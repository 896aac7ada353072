"""A process that moves money about, and is killed; or that kills lives of its own at every statement.

    python -m tests.transactions.teller STORE SHOP moments FIRST STRIDE
    python -m tests.transactions.teller STORE SHOP busy LIFE
    python -m tests.transactions.teller STORE SHOP finish
    python -m tests.transactions.teller STORE SHOP body FOLDER

SHOP is another database, or `-`. With `moments` each life is a process of its own, forked from this one, which starts
faster. Life number n first sees to the end of what the life before has left, and then runs a workflow of three
transactions; it is killed before its n-th exchange with a database, or, in PostgreSQL, in the middle of it, when it has
been sent. The numbers are FIRST, FIRST + STRIDE and so on, until a life comes to its end. Prints how many lives there
were.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from nurselog import Step, open_nursery, workflow
from tests.transactions.bank import Bank, Script, transfer

with contextlib.suppress(ImportError):  # psycopg may not be there: then nobody asks for PostgreSQL
    from nurselog._stores._postgres import driver

STORE, SHOP, MODE, *REST = sys.argv[1:] if __name__ == "__main__" else ("", "-", "")
ACCOUNTS = 50
bank = Bank(STORE, None if SHOP == "-" else SHOP)


class Fuse:
    """Kills the process at an exchange with a database."""

    def __init__(self) -> None:
        self.left: int | None = None
        """How many exchanges are let through; None: all."""

    def burn(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.left:
            self.left -= 1


fuse = Fuse()


class FusedConnection(sqlite3.Connection):
    def execute(self, *args: Any) -> Any:
        fuse.burn()
        return super().execute(*args)


def lay_fuses() -> None:
    """Have every exchange burn, in SQLite at its beginning, in PostgreSQL at its beginning and whenever it waits."""
    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **kwargs: connect(*args, factory=FusedConnection, **kwargs)  # type: ignore[assignment]  # for this process
    if not (STORE + SHOP).count("postgresql:"):
        return
    ask, wait, ready = driver.TrioConnection._ask, driver.TrioConnection.wait, driver.TrioSockets.ready

    def fused(fn: Callable[..., Any]) -> Callable[..., Any]:
        async def burning(*args: Any) -> Any:
            fuse.burn()
            return await fn(*args)

        return burning

    driver.TrioConnection._ask = fused(ask)  # type: ignore[method-assign]  # for this process
    driver.TrioConnection.wait = fused(wait)  # type: ignore[method-assign]  # for this process
    driver.TrioSockets.ready = fused(ready)  # type: ignore[method-assign]  # for this process


def refuse(id: str) -> Script:
    """Move money, and think better of it."""
    yield from transfer(id, 0, 1, 5)
    raise LookupError(id)


move: Step[..., int] = bank.transaction(transfer, int)
think_better: Step[..., int] = bank.transaction(refuse, int)


@workflow
async def three_transfers(name: str) -> int:
    first = await move(f"{name}-1", 0, 1, 2)
    with contextlib.suppress(LookupError):
        await think_better(f"{name}-never")
    second = await move(f"{name}-2", 1, 0, 1)
    return int(first is not None) + int(second is not None)


@workflow
async def moving_money(name: str, seed: int) -> None:
    dice = random.Random(seed)
    async with open_nursery() as nursery:
        for number in range(4):
            source, target = dice.sample(range(ACCOUNTS), 2)
            nursery.start_soon(move, f"{name}-{number}", source, target, dice.randrange(3))


async def live(number: int, before: int | None) -> None:
    async with bank.engine(three_transfers) as engine:
        if before is not None:
            assert await (await engine.get(f"w{before}")).result() == 2
        handle = await engine.submit(three_transfers, f"w{number}", id=f"w{number}")
        fuse.left = number
        assert await handle.result() == 2
        fuse.left = None


def moments(first: int, stride: int) -> None:
    """Live until a life is not killed."""
    lay_fuses()
    before: int | None = None
    for number in range(first, 10_000, stride):
        child = os.fork()
        if not child:
            trio.run(live, number, before)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(len(range(first, number, stride)), os.waitstatus_to_exitcode(status), flush=True)
            return
        before = number


async def be_busy(life: str) -> None:
    async with bank.engine(moving_money, lease=3) as engine:
        print("up", flush=True)
        number = 0
        while True:
            name = f"{life}-{number}"
            handle = await engine.submit(moving_money, name, hash(name), id=name)
            number += 1
            if number % 4 == 0:
                await handle.result()


async def finish() -> None:
    async with bank.engine(moving_money, three_transfers, lease=3) as engine:
        page = await engine.list()
        while page:
            for info in page:
                await (await engine.get(info.id)).result()
            page = await engine.list(before=page[-1])


def patient(id: str, folder: str) -> Script:
    """Move money when a file is there."""
    print("in the body", flush=True)
    yield from transfer(id, 0, 1, 5)
    while not (Path(folder) / "go").exists():
        yield ("SELECT 1",)
    return id


move_patiently: Step[..., str] = bank.transaction(patient, str)


@workflow
async def one_patient_transfer(id: str, folder: str) -> str:
    return await move_patiently(id, folder)


async def stay_in_a_body(folder: str) -> None:
    async with bank.engine(one_patient_transfer, lease=1) as engine:
        print(await engine.run(one_patient_transfer, "one", folder, id="w"), flush=True)


if __name__ == "__main__":
    match MODE:
        case "moments":
            moments(*map(int, REST))
        case "busy":
            trio.run(be_busy, *REST)
        case "finish":
            trio.run(finish)
        case _:
            trio.run(stay_in_a_body, *REST)
