"""Steps that write down what they do to the outside world, for processes that are killed.

A process says where and who it is, once (`tell`). From then on each body adds a line to the file of effects before it
does anything else: the time, the life of the process, `body`, the workflow's id, the step's key, its name and the
attempt.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import trio

from nurselog import attempt as current_attempt
from nurselog import step, step_key, workflow_id

_here: list[tuple[Path, str]] = []
"""The file of effects, and the life of this process."""


def tell(file: Path, life: str) -> None:
    """Say where effects are written down, and whose they are."""
    _here[:] = [(file, life)]


def write(*words: object) -> None:
    """Add a line to the file of effects, whole or not at all."""
    [(path, life)] = _here
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, (" ".join(map(str, (time.time_ns() // 1000, life, *words))) + "\n").encode())
    finally:
        os.close(file)


def told(file: Path) -> list[list[str]]:
    """Return what was written down, line by line and word by word."""
    return [line.split() for line in file.read_text("ascii").splitlines()] if file.exists() else []


def effect(name: str) -> None:
    """Write down that a body begins."""
    write("body", workflow_id(), step_key(), name, current_attempt())


@step
async def fetch(n: int) -> int:
    effect("fetch")
    await trio.sleep(0.002 * (n % 5))
    return n * n


@step(at_most_once=True)
async def pay(n: int) -> str:
    effect("pay")
    await trio.sleep(0.005)
    return f"paid {n}"


@step
async def refund(n: int) -> int:
    effect("refund")
    return n
