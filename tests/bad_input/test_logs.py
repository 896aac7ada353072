"""Logs that this release cannot follow: the workflow is stuck, says why, and nothing of it is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from nurselog import (
    Status,
    StoreCorrupt,
    WorkflowCancelled,
    WorkflowEnded,
    WorkflowHandle,
    WorkflowKilled,
    WorkflowStuck,
    sleep,
    step,
    workflow,
)
from nurselog.lowlevel import Ended
from nurselog.testing import VirtualClock
from tests.engine.rig import in_background, on_file, sql

Clock = trio.testing.MockClock
bodies: list[float] = []


@pytest.fixture(autouse=True)
def no_bodies() -> None:
    bodies.clear()


@step
async def nap(seconds: float) -> float:
    bodies.append(seconds)
    await trio.sleep(seconds)
    return seconds


@workflow
async def napping() -> list[float]:
    return [await nap(1), await nap(50)]


@workflow
async def sleeping() -> str:
    await sleep(100)
    return "awake"


# -- unreadable ----------------------------------------------------------------------------------

FIRST_EVENT = "UPDATE log SET event = json_{} WHERE seq = 1"

DAMAGES = {
    "a newer format": ("UPDATE log SET format = 99 WHERE seq = 2", "version 99"),
    "newer semantics": (FIRST_EVENT.format("set(event, '$.semantics', 99)"), "version 99"),
    "no start": ("UPDATE log SET event = (SELECT event FROM log WHERE seq = 2) WHERE seq = 1", "its start"),
    "an unknown kind": (FIRST_EVENT.format("set(event, '$.kind', 'of the future')"), "of the future"),
    "a field of another type": (FIRST_EVENT.format("set(event, '$.name', 5)"), "Expected `str`, got `int`"),
}


async def under_way(path: Path, clock: VirtualClock) -> None:
    """Leave a workflow behind whose log has some rows."""
    async with on_file(path, napping, clock=clock) as engine:
        await engine.submit(napping, id="one")
        await trio.sleep(10)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_log_that_cannot_be_read_is_stuck_and_goes_on_when_it_can(
    autojump_clock: Clock, tmp_path: Path, damage: str
) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    statement, said = DAMAGES[damage]
    await under_way(path, clock)
    sql(path, "CREATE TABLE good AS SELECT * FROM log", statement)
    async with on_file(path, napping, clock=clock) as engine:
        await trio.sleep(10)
        [info] = await engine.list()
        assert info.status is Status.STUCK
        assert info.problem is not None
        assert "cannot be read by this release" in info.problem
        assert said in info.problem
        assert engine.statistics().stuck == 1
        await engine.resume("one")
        [info] = await engine.list()
        assert info.status is Status.STUCK, "nothing has changed"
    mend = "UPDATE log SET (format, event) = (SELECT format, event FROM good WHERE seq = log.seq) WHERE seq <= 2"
    sql(path, mend, "DROP TABLE good")
    async with on_file(path, napping, clock=clock) as engine:
        await engine.resume("one")
        assert await (await engine.get("one")).result() == [1, 50]
    assert bodies == [1, 50, 50]


def messages_left(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [kind for (kind,) in database.execute("SELECT kind FROM message ORDER BY number")]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_log_that_cannot_be_read_can_be_killed(autojump_clock: Clock, tmp_path: Path, damage: str) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await under_way(path, clock)
    sql(path, DAMAGES[damage][0])
    async with on_file(path, napping, clock=clock) as engine:
        await trio.sleep(10)
        await engine.cancel("one")
        await engine.resume("one")
        await trio.sleep(10)
        stuck = engine.statistics().stuck
        assert messages_left(path) == ["cancel"], "it is cancelled when its log can be read"
        await engine.kill("one")
        await trio.sleep(10)
        assert messages_left(path) == []
        handle = await engine.get("one")
        assert await handle.status() is Status.KILLED
        with pytest.raises(WorkflowKilled):
            await handle.result()
        with pytest.raises(WorkflowEnded):
            await engine.kill("one")
        assert engine.statistics().stuck == stuck
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT seq, at, json_extract(event, '$.kind') FROM log ORDER BY seq").fetchall()
    assert [seq for seq, _, _ in rows] == list(range(1, len(rows) + 1))
    assert [at for _, at, _ in rows] == sorted(at for _, at, _ in rows)
    assert [kind for _, _, kind in rows].count("ended") == 1
    assert rows[-1][2] == "ended"


async def test_a_cancellation_reaches_a_log_when_it_can_be_read(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    await under_way(path, clock)
    sql(path, "UPDATE log SET format = 99 WHERE seq = 2")
    async with on_file(path, napping, clock=clock) as engine:
        await engine.cancel("one", "not needed")
        assert await (await engine.get("one")).status() is Status.STUCK
    sql(path, "UPDATE log SET format = 1 WHERE seq = 2")
    async with on_file(path, napping, clock=clock) as engine:
        await engine.resume("one")
        with pytest.raises(WorkflowCancelled, match="not needed"):
            await (await engine.get("one")).result()
    assert messages_left(path) == []


async def test_who_waits_for_a_workflow_is_told_that_its_log_cannot_be_read(
    autojump_clock: Clock, tmp_path: Path
) -> None:
    """It has left memory, and its log is damaged before it comes back."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, sleeping, clock=clock, evict_after=1) as engine:
        handle = await engine.submit(sleeping, id="one")
        told: list[str] = []

        async def wait() -> None:
            with pytest.raises(WorkflowStuck, match="its log cannot be read") as caught:
                await handle.result()
            told.append(caught.value.problem)

        with trio.fail_after(1000):
            async with in_background(wait):
                await trio.sleep(50)
                assert engine.statistics().evicted == 1
                sql(path, "UPDATE log SET format = 99 WHERE seq = 1")
        assert len(told) == 1


# -- ends ----------------------------------------------------------------------------------------


async def test_an_end_that_did_not_reach_the_workflows_row_is_made_good(autojump_clock: Clock, tmp_path: Path) -> None:
    """They are written together; but a file may have been mended by hand."""
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping, clock=clock) as engine:
        await engine.run(napping, id="one")
    sql(path, "UPDATE workflow SET status = 'running', due_at = 0")
    async with on_file(path, napping, clock=clock) as engine:
        handle: WorkflowHandle[list[float]] = await engine.get("one")
        with trio.fail_after(100):
            assert await handle.result() == [1, 50]
        assert await handle.status() is Status.COMPLETED
        ends = [entry for entry in await handle.log() if isinstance(entry.event, Ended)]
    assert len(ends) == 1
    assert bodies == [1, 50]


async def test_a_row_that_has_ended_and_a_log_that_has_not(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "log.db", VirtualClock()
    async with on_file(path, napping, clock=clock) as engine:
        await engine.run(napping, id="one")
    sql(path, "DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)")
    async with on_file(path, napping, clock=clock) as engine:
        handle = await engine.get("one")
        with pytest.raises(StoreCorrupt, match="'one' is completed, but its log has no end"):
            await handle.result()
