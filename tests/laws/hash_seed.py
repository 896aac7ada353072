"""A program for a process of its own: runs a workflow that iterates over a set, or goes on with its log.

`python -m tests.laws.hash_seed record` writes a log to standard output; `… replay` reads one from standard input and
writes what became of it. PYTHONHASHSEED decides in which order the set is iterated.
"""

from __future__ import annotations

import sys

import msgspec

import nurselog
from nurselog import gather, open_nursery
from nurselog.lowlevel import Row
from tests.laws.corpus.registry import step
from tests.laws.harness import GotStuck, resume, run_live


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@nurselog.workflow
async def greet_all() -> list[str]:
    names = {"ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "oak"}
    async with open_nursery() as nursery:
        return await gather(*[nursery.go(greet, name) for name in names])


def main() -> None:
    """Record, or replay and say how it ended."""
    if sys.argv[1] == "record":
        sys.stdout.buffer.write(msgspec.msgpack.encode(run_live(greet_all).rows))
        return
    rows = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[Row])
    outcome = resume(greet_all, rows[:-1]).outcome
    print(outcome.problem if isinstance(outcome, GotStuck) else outcome)


if __name__ == "__main__":
    main()
