"""What releases have written replays: same end, no body, not a row changed."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from nurselog import Status, Workflow
from nurselog._log import events
from nurselog.lowlevel import Claimed, Ended, Event, Row, TimerFired, decode_event
from nurselog.testing import VirtualClock
from nurselog.testing.clock import BEGIN, in_virtual_time
from nurselog.testing.keeper import ID
from tests.engine.rig import on_file
from tests.golden import workflows
from tests.golden.record import HERE, Golden
from tests.laws.harness import end_of, resume

LOGS = sorted(HERE.glob("*/*.json"))
STORES = sorted(HERE.glob("*/store.db"))
KINDS: tuple[type[Event], ...] = events.Event.__args__  # type: ignore[attr-defined]  # a union has them


def load(path: Path) -> Golden:
    return msgspec.json.decode(path.read_bytes(), type=Golden)


def as_of_now(end: Row) -> Row:
    """Return a log's end, with the id that its workflow has here, in case that is what it returns."""
    return replace(end, value=(end.value or b"").replace(b'"law"', f'"{ID}"'.encode()))


@pytest.mark.parametrize("path", LOGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_log_replays(path: Path) -> None:
    golden = load(path)
    flow: Workflow[..., Any] = getattr(workflows, golden.workflow)
    assert isinstance(decode_event(golden.rows[-1].event), Ended)
    prefix = golden.rows[:-1]
    for seed in range(3):
        life = resume(flow, prefix, seed=seed, downtime=10.0)
        assert life.bodies == (), "what is recorded does not run again"
        assert life.rows[: len(prefix)] == prefix
        added = [event for event in life.added if not isinstance(event, TimerFired)]
        assert [type(event) for event in added] == [Claimed, Ended]
        assert life.outcome == end_of([as_of_now(golden.rows[-1])], flow)


@pytest.mark.parametrize("folder", sorted({path.parent for path in LOGS}), ids=lambda folder: folder.name)
def test_a_release_has_left_every_kind_of_event(folder: Path) -> None:
    """Those that only operators bring about are in its store."""
    seen = {type(decode_event(row.event)) for path in folder.glob("*.json") for row in load(path).rows}
    assert set(KINDS) - seen == {events.Resumed, events.Forked}


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.parent.name)
def test_a_store_goes_on(tmp_path: Path, path: Path) -> None:
    copy = tmp_path / "store.db"
    shutil.copy(path, copy)
    statuses = in_virtual_time(lambda _: go_on(copy), seed=1)
    assert statuses == {
        "ended": Status.COMPLETED,
        "failed": Status.FAILED,
        "cancelled": Status.CANCELLED,
        "killed": Status.KILLED,
        "asleep": Status.COMPLETED,
        "forked": Status.COMPLETED,
        "under way": Status.COMPLETED,
        "retrying": Status.COMPLETED,
        "talking": Status.COMPLETED,
        "parent": Status.COMPLETED,
        "parent/2": Status.COMPLETED,
        "parent/3": Status.FAILED,
        "parent/4": Status.CANCELLED,
    }


async def go_on(path: Path) -> dict[str, Status]:
    """Open an engine an hour later, or after years, and wait for everything that is in the store."""
    clock = VirtualClock(BEGIN + timedelta(hours=1))
    flows = [flow for flow in workflows.ARGUMENTS if isinstance(flow, Workflow)]
    statuses = {}
    async with on_file(path, *flows, clock=clock, evict_after=1e9) as engine:
        for info in await engine.list():
            handle = await engine.get(info.id)
            with suppress(Exception):  # what became of it is in its status
                await handle.result()
            log = await handle.log()
            assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
            assert [entry.at for entry in log] == sorted(entry.at for entry in log)
            statuses[info.id] = await handle.status()
    return statuses
