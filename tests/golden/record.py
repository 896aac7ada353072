"""Writes what the current version leaves behind, for all later ones to replay: `python -m tests.golden.record`."""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import trio
from msgspec.structs import replace

from nurselog import Workflow
from nurselog.lowlevel import Row
from nurselog.testing import VirtualClock
from nurselog.testing.clock import in_virtual_time
from tests.engine.rig import on_file
from tests.golden import workflows
from tests.house.tree import ROOT
from tests.laws.harness import resume, run_live

HERE = Path(__file__).parent


class Golden(msgspec.Struct, frozen=True):
    """One log, as the file has it."""

    workflow: str
    """The name of its function in `workflows`."""
    rows: tuple[Row, ...]


def ways(flow: Workflow[..., Any], args: tuple[Any, ...]) -> Iterator[tuple[str, Sequence[Row]]]:
    """Give the logs of a workflow's lives: undisturbed, after a crash in its middle, and cancelled from outside."""
    live = run_live(flow, args, seed=1)
    yield "live", live.rows
    half = len(live.rows) // 2
    yield "recovered", resume(flow, live.rows[:half], live.mail_at(half), seed=2, downtime=1.0).rows
    yield "cancelled", run_live(flow, args, seed=3, cancel_after=3).rows


def scrubbed(data: bytes | None) -> bytes | None:
    """Leave out of an error's traceback where the project lay."""
    return None if data is None else data.replace(f"{ROOT}/".encode(), b"")


def record_logs(folder: Path) -> None:
    for flow, args in workflows.ARGUMENTS.items():
        assert isinstance(flow, Workflow)
        for way, rows in ways(flow, args):
            name = flow.__name__
            golden = Golden(name, tuple(replace(row, value=scrubbed(row.value)) for row in rows))
            (folder / f"{name}-{way}.json").write_bytes(msgspec.json.format(msgspec.json.encode(golden), indent=1))


async def record_store(path: Path) -> None:
    """Leave workflows in every state: ended, under way, asleep, cancelled, killed, stuck, forked, resumed."""
    clock = VirtualClock()
    flows = [flow for flow in workflows.ARGUMENTS if isinstance(flow, Workflow)]
    async with on_file(path, *flows, clock=clock, evict_after=5, grace=math.inf) as engine:
        for id_, flow in (("ended", workflows.best_quote), ("failed", workflows.failure)):
            await (await engine.submit(flow, *workflows.ARGUMENTS[flow], id=id_)).status()
        await engine.submit(workflows.order, 40, id="cancelled")
        await engine.submit(workflows.patience, id="killed")
        await engine.submit(workflows.patience, id="asleep")
        await trio.sleep(2)
        await engine.cancel("cancelled", "the customer has left")
        await engine.kill("killed")
        await engine.fork("ended", at=3, new_id="forked")
        await trio.sleep(60)
        await engine.submit(workflows.order, 41, id="under way")
        await engine.submit(workflows.patience, id="retrying")
        await engine.submit(workflows.conversation, id="talking")
        await engine.submit(workflows.family, id="parent")
        await trio.sleep(1.5)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(path.with_name("store.db"))) as target:
            source.backup(target)
            target.create_function("scrubbed", 1, scrubbed)
            target.execute("UPDATE log SET value = scrubbed(value)")
            target.commit()
            target.execute("VACUUM")


def main() -> None:
    folder = HERE / ".".join(version("nurselog").split(".")[:2])
    try:
        folder.mkdir()
    except FileExistsError:
        sys.exit(f"{folder} exists: what a release has written is never written anew")
    record_logs(folder)
    working = folder / "working.db"
    in_virtual_time(lambda _: record_store(working), seed=0)
    for leftover in folder.glob("working.db*"):
        leftover.unlink()


if __name__ == "__main__":
    main()
