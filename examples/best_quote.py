"""Ask two brokers, take the first quote, cancel the other call; and survive a SIGKILL after the choice.

    python examples/best_quote.py

The program starts itself twice, as two workers on one database. The first worker is killed with SIGKILL in the middle
of the purchase. For the second one the brokers have changed their speeds, so a new race would have another winner.
But there is no new race: the quote, the choice and the cancellation are in the log, and the second worker goes on from
there, with the purchase.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trio

from nurselog import fail_after, open_engine, open_nursery, select, step, step_key, workflow
from nurselog.lowlevel import describe

FAST, SLOW = 0.05, 2.0
"""Seconds that a broker takes for an answer."""


@dataclass(frozen=True)
class Quote:
    """What a broker asks for one share."""

    broker: str
    price: float


@dataclass
class World:
    """What the two worker processes do not have in common."""

    alpha: float = FAST
    beta: float = SLOW
    doomed: bool = True
    """Whether the process will be killed."""


world = World()


@step
async def quote(broker: str, symbol: str) -> Quote:
    """Ask a broker; in real life this is an HTTP call."""
    await trio.sleep({"alpha": world.alpha, "beta": world.beta}[broker])
    print(f"  {broker} has answered for {symbol}", flush=True)
    return Quote(broker, {"alpha": 12.5, "beta": 12.25}[broker])


@step
async def buy(offer: Quote) -> str:
    """Buy one share. The key is the same however often this runs, so the broker can see that it is the same order."""
    print(f"  buying from {offer.broker}, order {step_key()[:4]}...", flush=True)
    if world.doomed:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"bought from {offer.broker} at {offer.price}"


@workflow
async def best_quote(symbol: str) -> str:
    """Buy from whoever answers first."""
    async with open_nursery() as nursery:
        first = nursery.go(quote, "alpha", symbol)
        second = nursery.go(quote, "beta", symbol)
        with fail_after(5):
            winner = await select(first, second)
        nursery.cancel_scope.cancel("first quote wins")
    return await buy(winner.unwrap())


async def work(database: str) -> None:
    """Run the workflow, or go on with it."""
    async with open_engine(f"sqlite:///{database}") as engine:
        handle = await engine.submit(best_quote, "ACME", id="acme-1")
        print("  result:", await handle.result())
        print("the log:")
        for entry in await handle.log():
            print(f"  {entry.seq} {describe(entry.event)}")


def main() -> None:
    """Start the two workers, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        for worker in ("first", "second"):
            print(f"{worker} worker:", flush=True)
            command = [sys.executable, __file__, worker, str(Path(folder, "quotes.db"))]
            done = subprocess.run(command, check=False)  # noqa: S603 - this very program
            if done.returncode == -signal.SIGKILL:
                print("  killed", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        if sys.argv[1] == "second":
            world = World(alpha=SLOW, beta=FAST, doomed=False)
        trio.run(work, sys.argv[2])
