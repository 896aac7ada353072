"""Those who look on are told what happens, each thing once, and can do no harm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio

from nurselog import (
    Retry,
    WorkflowCancelled,
    WorkflowStuck,
    expose,
    move_on_after,
    open_engine,
    open_nursery,
    sleep,
    step,
    workflow,
)
from nurselog._engine.instruments import Instruments
from nurselog._flow import strand
from nurselog.abc import (
    Append,
    Batch,
    Committed,
    LeaseLost,
    Left,
    LongTurn,
    Looked,
    Parting,
    Receipt,
    Recorded,
    Replayed,
    ScopeEntered,
    ScopeLeft,
    StepBegins,
    Stuck,
    Submitted,
    TakenUp,
    WorkflowKey,
)
from nurselog.lowlevel import Cause, Ended, Result, Row, ScopeCancelled, StepEnded, StepRetried
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, crashed, file_store, in_memory, on_file, sql
from tests.engine.test_engine_many import stall
from tests.engine.watching import Watcher, nap, napping

Clock = trio.testing.MockClock


@workflow(name="instruments.sleeping")
async def sleeping(seconds: float) -> str:
    await sleep(seconds)
    return "awake"


async def test_a_life_from_its_beginning_to_its_end(autojump_clock: Clock) -> None:
    watcher, clock = Watcher(), VirtualClock()
    begin = clock.utc()
    async with in_memory(clock, workflows=[napping], instruments=[watcher]) as engine:
        await engine.run(napping, 1.0, id="one")
    assert watcher.names(Looked) == [
        "Committed", "Submitted", "TakenUp", "ScopeEntered", "StepBegins",
        "Committed", "Recorded",
        "Committed", "ScopeLeft", "Recorded", "Left",
    ]  # fmt: skip
    [submitted] = watcher.of(Submitted)
    started = submitted.started
    assert (submitted.id, started.name, submitted.at) == ("one", "instruments.napping", begin)
    [taken_up] = watcher.of(TakenUp)
    life = taken_up.life
    assert taken_up == TakenUp(life=life, at=begin, rows=1, events=0, former=None, sources=())
    assert (life.id, life.started, life.began_at) == ("one", started, begin)
    assert all(what.life == life for what in watcher.of(ScopeEntered, StepBegins, Recorded, ScopeLeft, Left))
    assert watcher.of(ScopeEntered) == [ScopeEntered(life=life, path="", outer="", name="workflow", at=begin)]
    assert watcher.of(StepBegins) == [
        StepBegins(life=life, path="1", scope="", name="nap", attempt=1, at=begin),
    ]
    ended, end = watcher.of(Recorded)
    assert (type(ended.event), ended.row.seq, ended.row.at, ended.row.value) == (StepEnded, 2, begin + 10**6, b'"none"')
    assert (type(end.event), end.row.seq) == (Ended, 3)
    [left] = watcher.of(Left)
    assert (left.why, left.at, left.turns) == (Parting.ENDED, begin + 10**6, 2)
    commits = watcher.of(Committed)
    assert [(one.workflows, one.rows) for one in commits] == [(1, 1), (1, 1), (1, 1)]
    assert all(one.bytes > 30 and 0 <= one.seconds <= one.lag for one in commits)
    assert sum(one.found for one in watcher.of(Looked)) == 0


async def test_what_was_there_already_is_not_committed_again() -> None:
    watcher = Watcher()
    async with in_memory(workflows=[napping], instruments=[watcher]) as engine:
        for _ in range(2):
            await engine.run(napping, id="one")
    assert [(one.workflows, one.rows) for one in watcher.of(Committed)] == [(1, 1), (1, 1), (0, 0)]


async def test_what_was_refused_is_not_committed() -> None:
    watcher = Watcher()
    ours, theirs = (Append(key=WorkflowKey(number), rows=[Row(2, 0, 0, 1, b"x")]) for number in (1, 2))
    instruments = Instruments.of([watcher], VirtualClock())
    assert instruments is not None
    receipt = Receipt(refused=frozenset({theirs.key}))
    instruments.committed(Batch(appends=[ours, theirs]), receipt, lag=0.0, seconds=0.0)
    assert watcher.of(Committed) == [Committed(workflows=1, rows=1, bytes=1, lag=0.0, seconds=0.0)]


async def test_nothing_is_told_twice_when_a_workflow_lives_again(autojump_clock: Clock, tmp_path: Path) -> None:
    watcher, clock = Watcher(), VirtualClock()
    for _ in range(2):
        async with on_file(tmp_path / "log.db", napping, clock=clock, instruments=[watcher]) as engine:
            if not watcher.all:
                await engine.submit(napping, 1.0, 5.0, id="one")
            await trio.sleep(3)
    async with on_file(tmp_path / "log.db", napping, clock=clock, instruments=[watcher]) as engine:
        await (await engine.get("one")).result()
    first, second, third = watcher.of(TakenUp)
    assert [one.life.writer for one in (first, second)] == [second.former, third.former]
    assert (first.events, second.events, third.events) == (0, 1, 1)
    assert [type(one).__name__ for one in watcher.events()] == [
        "StepEnded", "StepBegan", "StepBegan", "StepBegan", "StepEnded", "Ended",
    ]  # fmt: skip
    assert [one.why for one in watcher.of(Left)] == [Parting.SUSPENDED, Parting.SUSPENDED, Parting.ENDED]
    assert [what.life.writer for what in watcher.of(Replayed)] == [second.life.writer, third.life.writer]
    assert all(what.seconds >= 0 for what in watcher.of(Replayed))
    assert [one.path for one in watcher.of(StepBegins)] == ["1", "2", "2", "2"], "bodies that were cut off begin anew"
    assert len(watcher.of(ScopeEntered)) == 3
    assert [one.replaying for one in watcher.of(ScopeLeft)] == [False]
    assert len(watcher.of(Submitted)) == 1
    assert sum(one.found for one in watcher.of(Looked)) == 2


async def test_retries_and_attempts_of_former_lives(autojump_clock: Clock, tmp_path: Path) -> None:
    @step(name="flaky", retry=Retry(attempts=4, delay=10, jitter=0))
    async def flaky() -> str:
        if trio.current_time() < 12:
            raise OSError("down")
        return "up"

    @workflow(name="instruments.flaky")
    async def trying() -> str:
        return await flaky()

    watcher, clock = Watcher(), VirtualClock()
    async with on_file(tmp_path / "log.db", trying, clock=clock, instruments=[watcher]) as engine:
        await engine.submit(trying, id="one")
        await trio.sleep(5)
    async with on_file(tmp_path / "log.db", trying, clock=clock, instruments=[watcher]) as engine:
        assert await (await engine.get("one")).result() == "up"
    assert [one.attempt for one in watcher.of(StepBegins)] == [1, 2]
    assert [one.attempt for one in watcher.events() if isinstance(one, StepRetried)] == [1, 2]


async def test_scopes_and_what_is_in_them(autojump_clock: Clock) -> None:
    async def branch() -> str:
        with move_on_after(1) as scope:
            await nap(10)
        assert scope.cancelled_caught
        return await nap(0)

    @workflow(name="instruments.scopes")
    async def scopes() -> str:
        async with open_nursery() as nursery:
            nursery.go(nap, 1.0)
            handle = nursery.go(branch, name="deep")
        nursery.cancel_scope.cancel("too late to matter")
        return await handle.result()

    watcher, clock = Watcher(), VirtualClock()
    begin = clock.utc()
    async with in_memory(clock, workflows=[scopes], instruments=[watcher]) as engine:
        await engine.run(scopes)
    entered = [(one.path, one.outer, one.name, one.at - begin) for one in watcher.of(ScopeEntered)]
    assert entered == [
        ("", "", "workflow", 0),
        ("1", "", "nursery", 0),
        ("3", "1", "branch deep", 0),
        ("3.1", "3", "scope", 0),
    ]
    left = [(one.path, one.at - begin, one.cause, one.cancelled_at) for one in watcher.of(ScopeLeft)]
    assert left == [
        ("3.1", 10**6, Cause.DEADLINE, begin + 10**6),
        ("3", 10**6, None, None),
        ("1", 10**6, None, None),
        ("", 10**6, None, None),
    ]
    assert {one.path: one.scope for one in watcher.of(StepBegins)} == {"2": "1", "3.2": "3.1", "3.3": "3"}


@pytest.mark.parametrize(("shown", "replaying"), [(True, [False, True]), (False, [False])])
async def test_a_scope_is_told_to_be_left_when_the_log_shows_it(
    autojump_clock: Clock,
    tmp_path: Path,
    shown: bool,  # noqa: FBT001 - a parameter of the test
    replaying: list[bool],
) -> None:
    @workflow(name="instruments.leaving")
    async def leaving(more: float) -> None:
        with move_on_after(1):
            await sleep(10)
        if more:
            await nap(more)
        await nap(5)

    watcher, clock = Watcher(), VirtualClock()
    for _ in range(2):
        async with on_file(tmp_path / "log.db", leaving, clock=clock, instruments=[watcher]) as engine:
            await engine.submit(leaving, 0.5 if shown else 0.0, id="one")
            await trio.sleep(3.5)
        assert len([what for what in watcher.of(ScopeLeft) if what.path]) <= 2 * shown
    async with on_file(tmp_path / "log.db", leaving, clock=clock, instruments=[watcher]) as engine:
        await (await engine.get("one")).result()
    found = [what for what in watcher.of(ScopeLeft) if what.path]
    assert [what.replaying for what in found] == [*replaying, *[True] * shown]
    assert len({(what.path, what.at, what.cause, what.cancelled_at) for what in found}) == 1
    assert [one.by for one in watcher.events() if isinstance(one, ScopeCancelled)] == [Cause.DEADLINE]


async def test_a_cancellation_from_outside_and_its_reason(autojump_clock: Clock) -> None:
    watcher = Watcher()
    async with in_memory(workflows=[napping], instruments=[watcher]) as engine:
        handle = await engine.submit(napping, 10.0, id="one")
        await trio.sleep(1)
        await engine.cancel("one", "not any more")
        with pytest.raises(WorkflowCancelled):
            await handle.result()
    [left] = watcher.of(ScopeLeft)
    assert (left.path, left.cause, left.reason) == ("", Cause.EXTERNAL, "not any more")
    assert watcher.events()[-1] == Ended(result=Result.CANCELLED, reason="not any more")


async def test_who_waits_is_evicted_and_taken_up_again(autojump_clock: Clock) -> None:
    watcher = Watcher()
    async with in_memory(workflows=[sleeping], instruments=[watcher], evict_after=5) as engine:
        assert await engine.run(sleeping, 100.0) == "awake"
    assert [one.why for one in watcher.of(Left)] == [Parting.EVICTED, Parting.ENDED]
    assert len(watcher.of(TakenUp)) == 2


async def test_a_workflow_that_is_stuck(autojump_clock: Clock) -> None:
    @workflow(name="instruments.stuck")
    async def stuck() -> None:
        await trio.sleep(1)

    watcher = Watcher()
    async with in_memory(workflows=[stuck], instruments=[watcher]) as engine:
        handle = await engine.submit(stuck, id="one")
        with pytest.raises(WorkflowStuck):
            await handle.result()
        assert engine.statistics().stuck == 1
    [told] = watcher.of(Stuck)
    assert (told.id, told.name) == ("one", "instruments.stuck")
    assert "trio.sleep" in told.problem
    assert [one.why for one in watcher.of(Left)] == [Parting.STUCK]


async def test_a_log_that_cannot_be_read_is_told_of(autojump_clock: Clock, tmp_path: Path) -> None:
    watcher, clock = Watcher(), VirtualClock()
    async with on_file(tmp_path / "log.db", sleeping, clock=clock) as engine:
        await engine.submit(sleeping, 10.0, id="one")
    sql(tmp_path / "log.db", "UPDATE log SET format = 99 WHERE seq = 1")
    async with on_file(tmp_path / "log.db", sleeping, clock=clock, instruments=[watcher]) as engine:
        await trio.sleep(1)
        assert engine.statistics().stuck == 1
    [told] = watcher.of(Stuck)
    assert (told.id, told.name) == ("one", "instruments.sleeping")
    assert watcher.of(TakenUp, Left) == []


async def test_a_lost_lease_and_what_leaves_with_it(autojump_clock: Clock, tmp_path: Path) -> None:
    watcher, clock = Watcher(), VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))
    async with open_engine(store, [napping], clock=clock, instruments=[watcher]) as engine:
        handle = await engine.submit(napping, 5.0, 5.0, id="one")
        await trio.sleep(1)
        go_on = stall(store)
        await trio.sleep(20)
        go_on.set()
        await handle.result()
    assert watcher.of(LeaseLost) == [LeaseLost(workflows=1)]
    assert [one.why for one in watcher.of(Left)] == [Parting.LOST, Parting.ENDED]
    lives = watcher.of(TakenUp)
    assert Counter(what.life.writer for what in watcher.of(Left)) == Counter(one.life.writer for one in lives)


async def test_a_killed_workflow_has_ended(autojump_clock: Clock) -> None:
    watcher = Watcher()
    async with in_memory(workflows=[napping], instruments=[watcher]) as engine:
        await engine.submit(napping, 10.0, id="one")
        await trio.sleep(1)
        await engine.kill("one")
    assert [one.why for one in watcher.of(Left)] == [Parting.ENDED]
    assert watcher.events()[-1] == Ended(result=Result.KILLED)
    assert watcher.of(ScopeLeft) == [], "no code of it has run"


async def test_a_crash_repeats_nothing_that_was_durable(autojump_clock: Clock, tmp_path: Path) -> None:
    watcher, again, clock = Watcher(), Watcher(), VirtualClock()
    path = tmp_path / "log.db"
    async with on_file(path, napping, clock=clock, instruments=[watcher]) as engine:
        await engine.submit(napping, 1.0, 1.0, 100.0, id="one")
        await trio.sleep(2.5)
        twin = crashed(path)
    async with on_file(twin, napping, clock=clock, instruments=[again]) as engine:
        await (await engine.get("one")).result()
    assert [event.path for event in watcher.events() if isinstance(event, StepEnded)] == ["1", "2"]
    assert [event.path for event in again.events() if isinstance(event, StepEnded)] == ["3"]
    [taken_up] = again.of(TakenUp)
    assert (taken_up.events, taken_up.rows) == (2, 4)


async def test_forks_and_queries(autojump_clock: Clock) -> None:
    @workflow(name="instruments.asked")
    async def asked() -> str:
        expose("state")
        await nap(1)
        return await nap(1)

    @asked.query
    def state(state: str) -> str:
        return state

    watcher = Watcher()
    async with in_memory(workflows=[asked], instruments=[watcher]) as engine:
        await engine.run(asked, id="one")
        told = len(watcher.all)
        assert await engine.query("one", state) == "state"
        assert len(watcher.all) == told, "a replay that only follows a log is no life"
        await (await engine.fork("one", at=2, new_id="two")).result()
    original, fork = watcher.of(TakenUp)
    assert (original.sources, fork.sources) == ((), ("one",))
    assert fork.life.started == original.life.started
    assert fork.events == 1
    assert fork.former is None
    assert [one.id for one in watcher.of(Submitted)] == ["one", "two"]


async def test_a_long_turn(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strand, "LONG_TURN", -1.0)
    watcher = Watcher()
    async with in_memory(workflows=[napping], instruments=[watcher]) as engine:
        await engine.run(napping, 0.0)
    assert [one.path for one in watcher.of(LongTurn)] == ["", ""]
    async with in_memory(workflows=[napping]) as engine:
        await engine.run(napping, 0.0)
