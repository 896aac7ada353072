"""Money that moves exactly once: transfers are transactions, and the process is killed in the middle of one.

    python examples/transfer.py

A transaction's outcome is committed together with what it writes, in the database of the log or in another one. The
first process is killed with -9 when a transfer has taken the money out of one account and not put it into the other:
the second one finds all as it was before, and does it. It is killed, too, behind two transfers, and the third one moves
nothing twice. A transfer that raises an error leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from nurselog import open_engine, step, transaction, workflow

ACCOUNTS = {"Ann": 100, "Bob": 50, "Cleo": 0}


class Funds(Exception):
    """There is not enough money in an account."""


def die(when: str) -> None:
    """Kill this process, the first time that anybody comes here."""
    if not Path(when).exists():
        Path(when).touch()
        print(f"  killed {when}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


@transaction(database="bank")
def transfer(bank: sqlite3.Connection, source: str, target: str, amount: int) -> int:
    """Move money from one account to another; return what is left in the first one."""
    [(left,)] = bank.execute(
        "UPDATE account SET amount = amount - ? WHERE name = ? RETURNING amount", (amount, source)
    ).fetchall()
    if left < 0:
        raise Funds(f"{source} lacks {-left}")  # undoes all that was written
    die("in the middle of a transfer")
    bank.execute("UPDATE account SET amount = amount + ? WHERE name = ?", (amount, target))
    return int(left)


@step
async def write_letter(text: str) -> None:
    """Tell somebody: an effect on the outside world, at least once."""
    die("behind two transfers")
    print(f"  {text}", flush=True)
    await trio.lowlevel.checkpoint()


@workflow
async def pay_round() -> list[int]:
    """Pass money on, and see what is left with whom."""
    left = [await transfer("Ann", "Bob", 30)]
    left.append(await transfer("Bob", "Cleo", 80))
    await write_letter("Bob has paid Cleo")
    try:
        await transfer("Ann", "Cleo", 500)
    except Funds as lack:
        await write_letter(f"not paid: {lack}")
    return left


def show(bank: Path) -> None:
    """Print what is in the accounts."""
    with contextlib.closing(sqlite3.connect(bank)) as connection:
        rows = connection.execute("SELECT name, amount FROM account ORDER BY name").fetchall()
    print("  " + ", ".join(f"{name} {amount}" for name, amount in rows), flush=True)


async def work() -> None:
    """Run the workflow, or go on with it."""
    async with open_engine("sqlite:///log.db", databases={"bank": "sqlite:///bank.db"}) as engine:
        print("  left:", await engine.run(pay_round, id="monday"), flush=True)


def main() -> None:
    """Make a bank, and start a process again and again until the work is done."""
    program = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with contextlib.closing(sqlite3.connect("bank.db")) as bank, bank:
            bank.execute("CREATE TABLE account (name TEXT PRIMARY KEY, amount INTEGER NOT NULL)")
            bank.executemany("INSERT INTO account VALUES (?, ?)", ACCOUNTS.items())
        for process in ("first", "second", "third"):
            print(f"{process} process:", flush=True)
            subprocess.run([sys.executable, str(program), "work"], check=False)  # noqa: S603 - this very program
            show(Path("bank.db"))


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        trio.run(work)
    else:
        main()
