"""The same programs on nurselog, and what only nurselog is asked: growth, sleep, and what it costs its host.

In SQLite, or, where a PostgreSQL server is measured, there; what is asked there only is in `on_nurselog_postgres`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from nurselog import Engine, Letter, mailbox, open_engine, open_nursery, sleep, step, workflow
from nurselog.testing import crash_everywhere
from tests.benchmarks.plan import Sample
from tests.benchmarks.weight import memory, resident
from tests.kills.lines import Lines

STEPS = 5
DAY = 86_400
HUNDRED = 100
TOPIC = "work"
PAUSE = 1.0
"""Seconds after which hundreds of workflows surely wait."""


class Gate:
    """A place in the last step where workflows wait for each other, and where the first process dies."""

    def __init__(self) -> None:
        self.wanted = 0
        """How many to wait for; 0: nobody waits."""
        self.arrived = 0
        self.deadly = False
        self.full = trio.Event()
        self.open = trio.Event()

    async def pass_through(self) -> None:
        """Wait at the gate, if anybody does."""
        if not self.wanted:
            return
        self.arrived += 1
        if self.arrived == self.wanted:
            self.full.set()
            if self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        await self.open.wait()


gate = Gate()


@step
async def increment(number: int) -> int:
    return number + 1


@step
async def last(number: int) -> int:
    await gate.pass_through()
    return number + 1


@workflow
async def chain(size: int) -> int:
    number = 0
    for _ in range(size - 1):
        number = await increment(number)
    return await last(number)


@workflow
async def listen(size: int) -> None:
    box = mailbox(TOPIC, int)
    for _ in range(size):
        await box.receive()


@workflow
async def nothing() -> None:
    """Do nothing: what a child costs, without what it does."""


@workflow
async def parent(size: int) -> None:
    for _ in range(size):
        await nothing()


@workflow
async def fan(size: int) -> int:
    async with open_nursery() as nursery:
        handles = [nursery.go(increment, number) for number in range(size)]
        return sum([await handle.result() for handle in handles])


@workflow
async def dream() -> None:
    await sleep(DAY)


@workflow
async def restless() -> None:
    while True:
        await increment(1)


def store_in(folder: Path) -> str:
    """Return the address of the store that is measured."""
    return os.environ.get("NURSELOG_BENCHMARK_STORE") or f"sqlite:///{folder / 'nurselog.db'}"


def engine_in(folder: Path, *, room: int = 0, **options: Any) -> AbstractAsyncContextManager[Engine]:
    """Open an engine as an application would, with room in memory for as many workflows as the case needs."""
    return open_engine(store_in(folder), max_running=max(room, 1_000), **options)


async def run_many(engine: Engine, count: int, steps: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(lambda number=number: engine.run(chain, steps, id=f"w{number}"))


async def submit_many(engine: Engine, what: Callable[[], Awaitable[object]], count: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(lambda number=number: engine.submit(what, id=f"s{number}"))


def measured(body: Callable[[Engine], Awaitable[object]], count: int, folder: Path, **options: Any) -> Sample:
    """Time `body` on an open engine that has run one workflow before."""

    async def main() -> Sample:
        async with engine_in(folder, room=count, **options) as engine:
            await engine.run(chain, STEPS, id="warm")
            before = memory()
            begin = time.perf_counter()
            await body(engine)
            return Sample(time.perf_counter() - begin, count, memory() - before)

    return trio.run(main)


def sequential(size: int, folder: Path) -> Sample:
    return measured(lambda engine: engine.run(chain, size, id="it"), size, folder)


def concurrent(size: int, folder: Path) -> Sample:
    return measured(lambda engine: engine.run(fan, size, id="it"), size, folder)


def workflows(size: int, folder: Path) -> Sample:
    return measured(lambda engine: run_many(engine, size, STEPS), size, folder)


def single(size: int, folder: Path) -> Sample:
    """Time each workflow from its start to its result, and take the one in the middle."""
    times: list[float] = []

    async def one_after_another(engine: Engine) -> None:
        for number in range(size):
            begin = time.perf_counter()
            await engine.run(chain, 1, id=f"w{number}")
            times.append(time.perf_counter() - begin)

    measured(one_after_another, size, folder)
    return Sample(statistics.median(times), size)


def message(size: int, folder: Path) -> Sample:
    """Time from each message's sending to the end of the workflow that waits for it; take the one in the middle.

    One after another, without a pause: the first commit after one takes a disk and a processor several times as long.
    """
    times: list[float] = []

    async def one_after_another(engine: Engine) -> None:
        handles = [await engine.submit(listen, 1, id=f"w{number}") for number in range(size)]
        await trio.sleep(PAUSE)
        for number, handle in enumerate(handles):
            begin = time.perf_counter()
            await engine.send(handle.id, TOPIC, number)
            await handle.result()
            times.append(time.perf_counter() - begin)

    measured(one_after_another, size, folder)
    return Sample(statistics.median(times), size)


def messages(size: int, folder: Path) -> Sample:
    """Send messages to one workflow, a hundred at a time, until it has them all."""

    async def body(engine: Engine) -> None:
        handle = await engine.submit(listen, size, id="listener")
        for _ in range(size // HUNDRED):
            await engine.send_all([Letter(handle.id, TOPIC, number) for number in range(HUNDRED)])
        await handle.result()

    return measured(body, size, folder, max_inbox=size)


async def cancelled(engine: Engine, ids: Sequence[str], heard: Lines) -> list[float]:
    """Cancel steps of another process; return the seconds from each call to the moment at which its step stopped."""
    asked: dict[str, int] = {}

    async def cancel(id: str) -> None:
        asked[id] = time.monotonic_ns()
        await engine.cancel(id)

    async with trio.open_nursery() as nursery:
        for id in ids:
            nursery.start_soon(cancel, id)
        stopped = [await heard.next() for _ in ids]
    return [(int(at) - asked[id]) / 1e9 for _, id, at in stopped]


def cancelling(size: int, folder: Path, at_once: int) -> Sample:
    command = [sys.executable, "-m", "tests.kills.sleeper", store_in(folder), str(size)]

    async def main() -> list[float]:
        times: list[float] = []
        async with trio.open_nursery() as nursery:
            sleeper = partial(trio.run_process, command, stdin=b"", stdout=subprocess.PIPE)
            process: trio.Process = await nursery.start(sleeper)
            heard = Lines(process)
            await heard.next()
            async with open_engine(store_in(folder), []) as engine:
                for first in range(0, size, at_once):
                    ids = [f"sleeper-{number}" for number in range(first, min(first + at_once, size))]
                    times += await cancelled(engine, ids, heard)
        return times

    times = trio.run(main)
    return Sample(statistics.median(times), size, p99=statistics.quantiles(times, n=100)[98])


def cancel(size: int, folder: Path) -> Sample:
    """Time how long a running step goes on when another process cancels its workflow, one after another."""
    return cancelling(size, folder, 1)


def cancel_all(size: int, folder: Path) -> Sample:
    """The same, all at the same time."""
    return cancelling(size, folder, size)


def interrupted(workflows: int, steps: int, folder: Path) -> Sample:
    """In the first process run and die; in the second, time what it takes from opening to the last workflow's end."""
    marker = folder / "begun"
    if not marker.exists():
        marker.touch()
        gate.wanted, gate.deadly = workflows, True

    with suppress(ImportError):
        import nurselog._stores.postgres  # noqa: F401, PLC0415 - psycopg takes 60 ms to import, once in a process

    async def main() -> Sample:
        begin = time.perf_counter()
        async with engine_in(folder) as engine:
            await run_many(engine, workflows, steps)  # the same ids and inputs: the same runs
            return Sample(time.perf_counter() - begin, workflows)

    return trio.run(main)


def replay(size: int, folder: Path) -> Sample:
    return interrupted(1, size, folder)


def recovery(size: int, folder: Path) -> Sample:
    return interrupted(size, STEPS, folder)


def steps(size: int, folder: Path) -> Sample:
    return sequential(size, folder)


def alive(size: int, folder: Path) -> Sample:
    """Bring so many workflows into memory that all of them are in their last step at once; then let them end."""
    grown = 0

    async def body(engine: Engine) -> None:
        nonlocal grown
        before = resident()
        gate.wanted = size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_many, engine, size, 1)
            await gate.full.wait()
            grown = resident() - before
            gate.open.set()

    sample = measured(body, size, folder)
    return Sample(sample.seconds, size, grown)


def alive_tuned(size: int, folder: Path) -> Sample:
    """The same, as docs/production.md advises it for so many: the collector looks at them more seldom."""
    gc.set_threshold(50_000, 20, 100)
    return alive(size, folder)


def put_to_sleep(size: int, folder: Path) -> Sample:
    """Submit workflows that sleep for a day, and wait until the last one has left memory."""

    async def body(engine: Engine) -> None:
        already = engine.statistics().evicted
        await submit_many(engine, dream, size)
        while engine.statistics().evicted < already + size:  # noqa: ASYNC110 - eviction tells nobody
            await trio.sleep(0.1)

    return measured(body, size, folder, evict_after=1)


def asleep(size: int, folder: Path) -> Sample:
    """Time how workflows go to sleep in one process, and weigh the engine that keeps them in another."""
    command = [sys.executable, "-m", "tests.benchmarks.child", "NURSELOG", "put_to_sleep", str(size), str(folder)]
    sleepers = Sample(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    async def main() -> int:
        before = memory()
        async with engine_in(folder):
            await trio.sleep(2)  # let it look for what is due
            return memory() - before

    return Sample(sleepers.seconds, size, trio.run(main))


# -- what its users' tests take ------------------------------------------------------------------


def everywhere(size: int, _: Path) -> Sample:
    """Time a search, long ones in several processes: each event is followed by a life, as long as what is left."""
    before, begin = memory(), time.perf_counter()
    report = crash_everywhere(chain, size - BOOKKEEPING, fakes={increment: plus_one, last: plus_one})
    assert len(report.live.rows) == size
    return Sample(time.perf_counter() - begin, size, memory() - before)


def plus_one(number: int) -> int:
    return number + 1


BOOKKEEPING = 3
"""Events of a log beside its steps': the start, the taking over, the end."""


# -- what the host pays --------------------------------------------------------------------------


async def host(checkpoints: int) -> Sample:
    """Time the host's own task: how dear a checkpoint is, and how late a tick of a millisecond comes."""
    begin = time.perf_counter()
    for _ in range(checkpoints):
        await trio.lowlevel.checkpoint()
    seconds = time.perf_counter() - begin
    late = []
    for _ in range(1_000):
        due = trio.current_time() + 0.001
        await trio.sleep_until(due)
        late.append(trio.current_time() - due)
    return Sample(seconds, checkpoints, late=statistics.quantiles(late, n=100)[98])


@asynccontextmanager
async def engine_with(folder: Path, count: int, doing: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async with engine_in(folder) as engine:
        await submit_many(engine, doing, count)
        await trio.sleep(1)  # until those that only wait do so
        yield


def host_alone(size: int, _: Path) -> Sample:
    return trio.run(host, size)


def host_idle(size: int, folder: Path) -> Sample:
    async def main() -> Sample:
        async with engine_with(folder, 0, dream):
            return await host(size)

    return trio.run(main)


def host_waiting(size: int, folder: Path) -> Sample:
    async def main() -> Sample:
        async with engine_with(folder, 1_000, dream):
            return await host(size)

    return trio.run(main)


def host_busy(size: int, folder: Path) -> Sample:
    async def main() -> Sample:
        async with engine_with(folder, 10, restless):
            return await host(size // 100)

    return trio.run(main)
