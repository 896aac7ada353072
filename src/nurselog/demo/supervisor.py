"""The process that starts the worker, kills it, and starts it again, until it ends by itself."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import trio

from .catalogue import count_entries
from .job import Layout

_LOOK = 0.02
"""Seconds between two looks at the catalogue."""


@dataclass(frozen=True)
class Plan:
    """When one worker is to be killed."""

    entries: int
    """Not before the catalogue has so many entries."""
    pause: float
    """Seconds after that, and after the worker's engine is open."""


@dataclass(frozen=True)
class Kill:
    """A worker that was killed."""

    pid: int
    entries: int
    """In the catalogue by then."""


class WorkerFailed(Exception):
    """A worker ended by itself, and not well."""

    def __init__(self, returncode: int, output: str) -> None:
        super().__init__(returncode, output)
        self.returncode: int = returncode
        self.output: str = output

    def __str__(self) -> str:
        return f"the worker ended with code {self.returncode} and wrote:\n{self.output}"


def plan_kills(files: int, kills: int, seed: int) -> Sequence[Plan]:
    """Return when to kill, one plan for each worker but the last: in the middle of the work.

    Where two plans want almost the same number of entries, the second worker is killed during its recovery.
    """
    chance = random.Random(f"{seed} kills")
    points = sorted(int(files * chance.uniform(0.1, 0.8)) for _ in range(kills))
    return [Plan(entries, pause=chance.uniform(0, 0.3)) for entries in points]


async def supervise(layout: Layout, plans: Sequence[Plan], tell: Callable[[Kill], None]) -> Sequence[Kill]:
    """Run workers until one ends by itself; a checkpoint. If it is cancelled, the worker is killed.

    Args:
        layout: where the run's files lie.
        plans: when to kill the first worker, the second, and so on; those that come after are not killed.
        tell: called after each kill.

    Raises:
        WorkerFailed: if a worker ends by itself with another code than 0.
    """
    kills: list[Kill] = []
    for plan in plans:
        kill = await _run_worker(layout, plan)
        if kill is None:
            return kills
        kills.append(kill)
        tell(kill)
    await _run_worker(layout, None)
    return kills


async def _run_worker(layout: Layout, plan: Plan | None) -> Kill | None:
    """Run one worker until it ends; return the kill if that is why."""
    process = await _start(layout)
    try:
        kill = await _kill_when_due(process, layout, plan) if plan else None
        returncode = await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
    if returncode == 0:
        return None
    if kill is None:
        raise WorkerFailed(returncode, layout.output.read_text(errors="replace"))
    return kill


async def _start(layout: Layout) -> trio.Process:
    with layout.output.open("ab") as output:
        return await trio.lowlevel.open_process(
            [sys.executable, "-m", "nurselog.demo.worker", str(layout.folder)],
            stdin=subprocess.PIPE,  # its end tells the worker that this process has gone
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for this process, which then kills the worker
        )


async def _kill_when_due(process: trio.Process, layout: Layout, plan: Plan) -> Kill | None:
    """Kill the worker as planned; None if it ends before."""
    said = cast("trio.abc.ReceiveStream", process.stdout)
    await said.receive_some()  # a line says that the engine is open; the end of the stream, that the process has ended
    while (entries := count_entries(layout)) < plan.entries:
        if process.poll() is not None:
            return None
        await trio.sleep(_LOOK)
    await trio.sleep(plan.pause)
    process.kill()
    return Kill(process.pid, entries)
