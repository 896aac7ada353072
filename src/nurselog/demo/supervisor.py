"""The process that starts the workers, kills them in turn, and starts them again, until they end by themselves.

All that is done to a run is done one thing after the other, in the order of the plans: so no worker is just starting
when the database is restarted, and none is killed while it is away. A worker is killed when it has something to lose,
or the kill would show nothing: no step would be replayed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import trio

from .catalogue import count_entries, read_catalogue
from .job import STORE, Layout, read_jobs, read_trace

_LOOK = 0.02
"""Seconds between two looks at the catalogue."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When one worker is to be killed, or the database restarted."""

    worker: int | None
    """Which one, from 0; None: the database."""
    entries: int
    """Not before the catalogue has so many entries."""
    pause: float = 0
    """Seconds after that, and after the engines are open that it concerns."""
    latest: int = 0
    """A worker that has nothing to lose by then is killed when the catalogue has so many entries."""
    absence: int = 0
    """Entries that others make before the worker is started again: they take over what it has left."""


@dataclass(frozen=True)
class Kill:
    """A worker that was killed."""

    worker: int
    """Which one, from 0."""
    pid: int


@dataclass(frozen=True)
class Restart:
    """The database was restarted, or its connections were ended instead."""

    ended: int | None
    """How many connections; None: it was restarted."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be supervised."""

    layout: Layout
    store: str = field(repr=False)
    """The URL of the workflows' store; there may be a password in it."""
    workers: int
    plans: Sequence[Plan]
    """What is to be done to them, in this order; to what comes after, nothing is done."""
    restart: Callable[[], Awaitable[Restart]] | None = None
    """Restarts the database, if one of the plans is for that."""


@dataclass(frozen=True)
class Course:
    """What was done."""

    kills: Sequence[Kill]
    restarts: Sequence[Restart]
    workers: Mapping[int, int]
    """Which worker, from 0, each process was, by pid."""


class RunFailed(Exception):
    """A run cannot come to its end; says why."""


class WorkerFailed(RunFailed):
    """A worker ended by itself, and not well."""

    def __init__(self, returncode: int, output: str) -> None:
        super().__init__(returncode, output)
        self.returncode: int = returncode
        self.output: str = output

    def __str__(self) -> str:
        return f"a worker ended with code {self.returncode} and wrote:\n{self.output}"


def plan_run(files: int, kills: int, workers: int, seed: int, *, restart: bool) -> Sequence[Plan]:
    """Return what is to be done to a run: workers are killed in turn, and the database is restarted in the middle.

    Where two plans for one worker want almost the same number of entries, it is killed during its recovery.
    """
    chance = random.Random(f"{seed} kills")
    points = sorted(int(files * chance.uniform(0.1, 0.7)) for _ in range(kills))
    plans = [
        Plan(
            worker=number % workers,
            entries=entries,
            pause=chance.uniform(0, 0.3),
            latest=entries + files // 5,
            absence=files // 50 if workers > 1 else 0,
        )
        for number, entries in enumerate(points)
    ]
    if restart:
        plans.append(Plan(worker=None, entries=files // 2))
    return sorted(plans, key=lambda plan: plan.entries)


async def supervise(order: Order, tell: Callable[[Kill | Restart], None]) -> Course:
    """Run workers until they end by themselves; a checkpoint. If it is cancelled, they are killed.

    Args:
        order: what is to be done.
        tell: called after each kill, and after the restart.

    Raises:
        WorkerFailed: if a worker ends by itself with another code than 0.
    """
    crew = _Crew(order)
    kills: list[Kill] = []
    restarts: list[Restart] = []
    try:
        for worker in range(order.workers):
            await crew.start(worker)
        for plan in order.plans:
            if not await crew.reach(plan):
                break
            if plan.worker is None:
                assert order.restart
                restarts.append(await order.restart())
                tell(restarts[-1])
            elif kill := await crew.kill(plan.worker):
                kills.append(kill)
                tell(kill)
                await crew.miss(plan.absence)
                await crew.start(plan.worker)
        await crew.finish()
    finally:
        with trio.CancelScope(shield=True):
            await crew.end()
    return Course(kills, restarts, crew.workers)


class _Crew:
    """The processes of a run, one for each worker."""

    def __init__(self, order: Order) -> None:
        self._layout, self._store = order.layout, order.store
        self._processes: dict[int, trio.Process] = {}
        self._opening: set[int] = set()
        """Pids of those that have not said yet that their engine is open."""
        self.workers: dict[int, int] = {}

    async def start(self, worker: int) -> None:
        """Start a worker, or its successor."""
        with self._layout.output.open("ab") as output:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "nurselog.demo.worker", str(self._layout.folder)],
                env={**os.environ, STORE: self._store},
                stdin=subprocess.PIPE,  # its end tells the worker that this process has gone
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for this process, which then kills the worker
            )
        self._processes[worker] = process
        self._opening.add(process.pid)
        self.workers[process.pid] = worker

    async def reach(self, plan: Plan) -> bool:
        """Wait until a plan is due; return whether there is still something to be done."""
        if not await self._until(lambda: self._entries >= plan.entries):
            return False
        for worker, process in self._processes.items():
            if plan.worker in {None, worker}:
                await self._opened(process)
        await trio.sleep(plan.pause)
        return await self._until(
            lambda: plan.worker is None or self._entries >= plan.latest or self._can_lose(plan.worker)
        )

    async def kill(self, worker: int) -> Kill | None:
        """Kill a worker; None if it has ended by itself just before."""
        process = self._processes[worker]
        process.kill()
        if await process.wait() != -signal.SIGKILL:  # how it ended, `_is_over` sees
            return None
        del self._processes[worker]
        return Kill(worker, process.pid)

    async def miss(self, entries: int) -> None:
        """Wait until others have made so many entries, or have done all that there is to do."""
        enough = self._entries + entries
        await self._until(lambda: self._entries >= enough)

    async def finish(self) -> None:
        """Wait until all have ended by themselves."""
        while any(process.poll() is None for process in self._processes.values()):
            self._is_over()
            await trio.sleep(_LOOK)
        self._is_over()

    async def end(self) -> None:
        """Kill those that have not ended."""
        for process in self._processes.values():
            process.kill()
            await process.wait()

    @property
    def _entries(self) -> int:
        return count_entries(self._layout)

    async def _until(self, due: Callable[[], bool]) -> bool:
        """Wait until something is due; return False if a worker ends before: there is nothing left to do."""
        while not self._is_over():
            if due():
                return True
            await trio.sleep(_LOOK)
        return False

    def _is_over(self) -> bool:
        """Return whether a worker has ended by itself, which it does when all is done.

        Raises:
            WorkerFailed: if it was not done.
        """
        codes = [process.poll() for process in self._processes.values()]
        failed = next(filter(None, codes), None)
        if failed is not None:
            raise WorkerFailed(failed, self._layout.output.read_text(errors="replace"))
        return 0 in codes

    async def _opened(self, process: trio.Process) -> None:
        """Wait until a worker's engine is open, or it has ended."""
        if process.pid in self._opening:
            await cast("trio.abc.ReceiveStream", process.stdout).receive_some()  # a line, or the end
            self._opening.remove(process.pid)

    def _can_lose(self, worker: int) -> bool:
        """Return whether the log has steps of a workflow that this worker was the last to run, and that has not ended.

        What a body knows of steps before it is in the log: where a file is kept, its download is recorded.
        """
        last: dict[str, int] = {}
        recorded: set[str] = set()
        for body in read_trace(self._layout):
            last[body.workflow] = self.workers[body.pid]
            if body.step == "keep":
                recorded.add(body.workflow)
        entered = {entry.path for entry in read_catalogue(self._layout)}
        return any(
            last[job.name] == worker and not entered.issuperset(file.path for file in job.files)
            for job in read_jobs(self._layout)
            if job.name in recorded
        )
