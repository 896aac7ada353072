"""A process that runs one workflow whose step ends when a file appears.

    python -m tests.kills.patient URL FOLDER NAME

It says `in the step` when the body has begun, `done` with the result when the workflow has ended, whoever ended it, and
what the engine logs; then it runs another workflow, to show that it goes on.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import trio

from nurselog import open_engine, step, workflow

LEASE = 1.0
URL, FOLDER, NAME = sys.argv[1:] if __name__ == "__main__" else ("", "", "")


def say(*words: object) -> None:
    print(*words, flush=True)


@step
async def wait_for_the_file() -> str:
    say("in the step")
    while not (Path(FOLDER) / "go").exists():  # noqa: ASYNC110 - another process makes it
        await trio.sleep(0.01)
    return NAME


@workflow
async def waiting() -> str:
    return await wait_for_the_file()


class Sayer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say("log:", record.getMessage())


async def main() -> None:
    logging.getLogger("nurselog").addHandler(Sayer())
    async with open_engine(URL, [waiting], lease=LEASE) as engine:
        say("done", await engine.run(waiting, id="one"))
        say("done", await engine.run(waiting, id=f"another of {NAME}"))


if __name__ == "__main__":
    trio.run(main)
