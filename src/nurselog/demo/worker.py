"""The demo's worker: `python -m nurselog.demo.worker FOLDER`, a process that is killed and started again.

It does the same whether it is the first of its run or the fifth, and alone or one of several: it opens the engine,
which takes over what a dead worker left, and submits a workflow for each job; one that exists already is the same run,
whoever runs it, and is only waited for. Each has few workflows in memory, so that others have something to do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from .. import Engine, open_engine
from .job import STORE, Layout, note_wait, read_jobs
from .mirror_stdlib import mirror_package

_PACKAGES_AT_ONCE = 4
_LOOK = 0.02
"""Seconds between two looks at how long commits take."""


def main() -> None:
    """Run all jobs of the folder that is the program's argument."""
    layout = Layout(Path(sys.argv[1]))
    trio.run(work, layout, os.environ.get(STORE, layout.store))


async def work(layout: Layout, store: str) -> None:
    """Run all jobs; stop early, without harm, when standard input ends: whoever started this process has gone."""
    async with (
        open_engine(store, [mirror_package], max_running=_PACKAGES_AT_ONCE) as engine,
        trio.open_nursery() as nursery,
    ):
        print("open", flush=True)  # whoever started this process waits for a line
        nursery.start_soon(_cancel_at_end_of_input, nursery.cancel_scope)
        nursery.start_soon(note_waits, engine, layout)
        packages = [await engine.submit(mirror_package, job, id=job.name) for job in read_jobs(layout)]
        for package in packages:
            await package.result()
        nursery.cancel_scope.cancel()


async def _cancel_at_end_of_input(scope: trio.CancelScope) -> None:
    # Not sys.stdin.read: its lock, held by an abandoned thread, aborts the interpreter at its end.
    await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 1, abandon_on_cancel=True)
    scope.cancel()


async def note_waits(engine: Engine, layout: Layout) -> None:
    """Note how long rows wait for their commits, whenever one waits longer than all before; for ever.

    This is what an engine feels of a store that is away. It is noted while it lasts, since the process may be killed.
    """
    longest = 0.0
    while True:
        lag = engine.statistics().commit_lag
        if lag > longest:
            longest = lag
            note_wait(layout, lag)
        await trio.sleep(_LOOK)


if __name__ == "__main__":
    main()
