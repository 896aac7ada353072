"""A process with DBOS workflows in steps that do not end by themselves: `tests.kills.sleeper`, on DBOS.

    python -m tests.benchmarks.dbos_sleeper COUNT FOLDER

It says `ready` when all of them are in their step, and `stopped`, with the workflow's id and the time of the system's
monotonic clock in nanoseconds, when one of the steps has been cancelled. It ends when all workflows have.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path

from dbos import DBOS, SetWorkflowID, error  # type: ignore[import-not-found]  # only the session `benchmarks` installs it

from tests.benchmarks.on_dbos import open_dbos

COUNT, FOLDER = (int(sys.argv[1]), Path(sys.argv[2])) if __name__ == "__main__" else (0, Path())
begun = 0


@DBOS.step(preemptible=True)
async def sleep_for_ever() -> None:
    global begun  # noqa: PLW0603 - the whole process is about it
    begun += 1
    if begun == COUNT:
        print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("stopped", DBOS.workflow_id, time.monotonic_ns(), flush=True)


@DBOS.workflow()
async def asleep() -> None:
    await sleep_for_ever()


async def main() -> None:
    open_dbos(FOLDER)
    handles = []
    for number in range(COUNT):
        with SetWorkflowID(f"sleeper-{number}"):
            handles.append(await DBOS.start_workflow_async(asleep))
    for handle in handles:
        with suppress(error.DBOSWorkflowCancelledError, error.DBOSAwaitedWorkflowCancelledError):
            await handle.get_result()
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
