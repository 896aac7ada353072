"""Workflows that have ended are kept for as long as one wants, and then deleted with their families."""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from nurselog import (
    Engine,
    Status,
    StoreReadOnly,
    StoreUnavailable,
    UsageError,
    open_engine,
    open_nursery,
    step,
    workflow,
)
from nurselog._engine import remover
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, in_memory, on_file

Clock = trio.testing.MockClock
KEPT, PAUSE = 60.0, 5.0
"""Seconds; a store on a file is looked at twenty times in each."""


@step
async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@workflow
async def napping(seconds: float) -> float:
    return await nap(seconds)


@workflow
async def parent(*seconds: float) -> int:
    async with open_nursery() as nursery:
        for one in seconds:
            nursery.go(napping, one)
    return len(seconds)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remover, "PAUSE", PAUSE)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remover, "BATCH", 3)


async def ids(engine: Engine) -> list[str]:
    return sorted(one.id for one in await engine.list())


async def test_what_has_been_over_for_long_enough_is_deleted(
    autojump_clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with on_file(tmp_path / "store.db", parent, napping, retention=KEPT) as engine:
        with caplog.at_level(logging.INFO):
            await engine.run(parent, 1, 2, id="old")
            await trio.sleep(KEPT / 2)
            await engine.run(napping, 1, id="new")
            assert len(await ids(engine)) == 4
            await trio.sleep(KEPT / 2 - 10)
            assert len(await ids(engine)) == 4
            await trio.sleep(10 + PAUSE)
            assert await ids(engine) == ["new"]
            await trio.sleep(KEPT)
            assert await ids(engine) == []
        told = [one.getMessage() for one in caplog.records if "deleted" in one.getMessage()]
        assert told == [f"{count} workflows were deleted, which ended more than 60 s ago" for count in (3, 1)]
        assert {one.levelno for one in caplog.records if "deleted" in one.getMessage()} == {logging.INFO}


async def test_what_has_not_ended_is_kept(autojump_clock: Clock, tmp_path: Path) -> None:
    """A root that is at it, and one whose child has outlived it; when the child has ended, its root's end counts."""
    async with on_file(tmp_path / "store.db", parent, napping, retention=KEPT) as engine:
        await engine.submit(napping, 3 * KEPT, id="long")
        await engine.submit(parent, 2 * KEPT, id="killed")
        await trio.sleep(1)
        await engine.kill("killed")
        await trio.sleep(1.5 * KEPT)
        assert len(await ids(engine)) == 3
        await trio.sleep(KEPT / 2 + PAUSE)
        assert await ids(engine) == ["long"]
        await trio.sleep(KEPT)
        assert [one.status for one in await engine.list()] == [Status.COMPLETED]
        await trio.sleep(KEPT + PAUSE)
        assert await ids(engine) == []


@pytest.mark.usefixtures("small_batches")
async def test_many_are_deleted_in_batches_at_once(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with on_file(path, parent, napping, clock=clock) as engine:
        for number in range(10):
            await engine.run(parent, 1, 1, id=f"w{number}")
    await trio.sleep(KEPT)
    store, calls = Hooked(file_store(path, clock)), 0

    async def count() -> None:
        nonlocal calls
        calls += 1

    store.before_delete = count
    async with open_engine(store, (), clock=clock, retention=1) as engine:
        await trio.sleep(1)
        assert await ids(engine) == []
        assert calls == 4


@pytest.mark.usefixtures("small_batches")
async def test_several_engines_do_it_together(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(on_file(path, napping, clock=clock, retention=retention))
            for retention in (KEPT, KEPT, None)
        ]
        for number in range(20):
            await engines[number % 3].run(napping, 0.1, id=f"w{number}")
        assert len(await ids(engines[2])) == 20
        await trio.sleep(KEPT + 2 * PAUSE)
        assert await ids(engines[2]) == []


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("batches", [0, 1, 2, 3])
async def test_who_dies_in_the_middle_has_removed_whole_families(
    autojump_clock: Clock, tmp_path: Path, batches: int
) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    async with on_file(path, parent, napping, clock=clock) as engine:
        for number in range(10):
            await engine.run(parent, 1, id=f"w{number}")
    await trio.sleep(KEPT)
    store, dead, left = Hooked(file_store(path, clock)), trio.Event(), batches

    async def die() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            dead.set()
            await trio.sleep_forever()

    store.before_delete = die
    async with open_engine(store, (), clock=clock, retention=1):
        await dead.wait()
        twin = crashed(path)
    async with on_file(twin, parent, napping, clock=clock) as engine:
        found = await ids(engine)
        assert len(found) == 2 * (10 - 3 * batches)
        assert sum("/" in id for id in found) == len(found) / 2
        again = next(f"w{number}" for number in range(10) if f"w{number}" not in found) if batches else "new"
        assert await engine.run(parent, 1, 2, id=again) == 2
    async with on_file(twin, clock=clock, retention=10) as engine:
        await trio.sleep(1)
        assert {id.partition("/")[0] for id in await ids(engine)} == {again}


async def test_a_store_that_is_away_is_waited_for(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    store, tries = Hooked(file_store(path, clock)), 0

    async def refuse() -> None:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise StoreUnavailable("away")

    store.before_delete = store.after_delete = refuse
    async with open_engine(store, [napping], clock=clock, retention=10) as engine:
        await engine.run(napping, 1, id="one")
        await trio.sleep(10 + 2 * PAUSE)
        assert tries > 5
        assert await ids(engine) == []


async def test_who_may_not_delete_hears_of_it(autojump_clock: Clock, tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", VirtualClock()
    store = Hooked(file_store(path, clock))

    async def refuse() -> None:
        raise StoreReadOnly("this role may not do that")

    store.before_delete = refuse
    with pytest.raises(StoreReadOnly):
        async with open_engine(store, [napping], clock=clock, retention=10) as engine:
            await engine.run(napping, 1, id="one")
            await trio.sleep_forever()


async def test_without_retention_all_is_kept(autojump_clock: Clock) -> None:
    async with in_memory() as engine:
        await engine.run(napping, 1, id="one")
        await trio.sleep(80_000)
        assert await ids(engine) == ["one"]


async def test_for_ever_is_a_retention(autojump_clock: Clock) -> None:
    async with in_memory(retention=math.inf) as engine:
        await engine.run(napping, 1, id="one")
        await trio.sleep(100)
        assert await ids(engine) == ["one"]


@pytest.mark.parametrize("retention", [0, -1, math.nan, "1", True])
async def test_what_is_no_period_is_refused(retention: object) -> None:
    with pytest.raises(UsageError, match="retention must be a number of seconds, more than 0"):
        async with in_memory(retention=retention):
            pass  # pragma: no cover - it does not come to this
