"""The demo's worker: `python -m nurselog.demo.worker FOLDER`, the process that is killed and started again.

It does the same whether it is the first of its run or the fifth: it opens the engine, which takes over what a dead
worker left, and submits a workflow for each job; one that exists already is the same run, and is only waited for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from .. import open_engine
from .job import Layout, read_jobs
from .mirror_stdlib import mirror_package

_PACKAGES_AT_ONCE = 2


def main() -> None:
    """Run all jobs of the folder that is the program's argument."""
    trio.run(work, Layout(Path(sys.argv[1])))


async def work(layout: Layout) -> None:
    """Run all jobs; stop early, without harm, when standard input ends: whoever started this process has gone."""
    async with open_engine(layout.store, max_running=_PACKAGES_AT_ONCE) as engine, trio.open_nursery() as nursery:
        print("open", flush=True)  # whoever started this process waits for a line
        nursery.start_soon(_cancel_at_end_of_input, nursery.cancel_scope)
        packages = [await engine.submit(mirror_package, job, id=job.package) for job in read_jobs(layout)]
        for package in packages:
            await package.result()
        nursery.cancel_scope.cancel()


async def _cancel_at_end_of_input(scope: trio.CancelScope) -> None:
    # Not sys.stdin.read: its lock, held by an abandoned thread, aborts the interpreter at its end.
    await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 1, abandon_on_cancel=True)
    scope.cancel()


if __name__ == "__main__":
    main()
