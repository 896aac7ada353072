"""The supervisor with real processes: what it makes of a worker's end, and that it leaves none behind."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio

from nurselog.demo import worker
from nurselog.demo.catalogue import create_catalogue
from nurselog.demo.job import STORE, Body, Job, Layout, read_trace, read_waits, write_jobs
from nurselog.demo.manifest import jobs, manifest, standard_library
from nurselog.demo.supervisor import Kill, Order, Plan, Restart, WorkerFailed, _Crew, plan_run, supervise


def test_kills_are_planned_in_the_middle_of_the_work_by_the_seed() -> None:
    plans = plan_run(1000, 20, workers=1, seed=1, restart=False)
    assert len(plans) == 20
    assert [plan.entries for plan in plans] == sorted(plan.entries for plan in plans)
    assert all(100 <= plan.entries < plan.latest <= 900 for plan in plans)
    assert plans == plan_run(1000, 20, workers=1, seed=1, restart=False)
    assert plans != plan_run(1000, 20, workers=1, seed=2, restart=False)


def test_workers_are_killed_in_turn_and_the_database_is_restarted_in_the_middle() -> None:
    plans = plan_run(1000, 5, workers=2, seed=1, restart=True)
    assert [plan.worker for plan in plans if plan.worker is not None] == [0, 1, 0, 1, 0]
    [restart] = [plan for plan in plans if plan.worker is None]
    assert restart.entries == 500
    assert all(plan.absence == 20 for plan in plans if plan.worker is not None)
    assert plans == sorted(plans, key=lambda plan: plan.entries)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    create_catalogue(Layout(tmp_path))
    return Layout(tmp_path)


def order(layout: Layout, *plans: Plan, workers: int = 1, **more: Any) -> Order:
    return Order(layout=layout, store=layout.store, workers=workers, plans=plans, **more)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_that_ends_badly_is_an_error_with_its_traceback(layout: Layout) -> None:
    with pytest.raises(WorkerFailed, match=r"(?s)code 1 and wrote:.*FileNotFoundError.*jobs\.json"):
        await supervise(order(layout), not_told)


@pytest.mark.parametrize(
    "plan", [Plan(worker=0, entries=1, latest=1), Plan(worker=0, entries=0, latest=1)], ids=["not due", "no loss"]
)
async def test_a_worker_that_ends_before_its_kill_is_no_kill(layout: Layout, plan: Plan) -> None:
    write_jobs(layout, [])
    course = await supervise(order(layout, plan), not_told)
    assert course.kills == course.restarts == []
    assert list(course.workers.values()) == [0]


async def test_a_worker_that_ends_just_before_its_kill_is_no_kill(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reach_the_end(crew: _Crew, _: Plan) -> bool:
        await crew._processes[0].wait()
        return True

    monkeypatch.setattr(_Crew, "reach", reach_the_end)
    write_jobs(layout, [])
    assert (await supervise(order(layout, Plan(worker=0, entries=0)), not_told)).kills == []


async def test_a_killed_worker_is_missed_until_others_have_made_entries(layout: Layout) -> None:
    crew, entered = _Crew(order(layout, workers=2)), trio.Event()

    async def enter_one() -> None:
        enter(layout, 0)
        entered.set()

    async with trio.open_nursery() as nursery:
        write_jobs(layout, await unanswered(nursery, layout))
        await crew.start(0)
        await crew.start(1)
        assert await crew.kill(0) == Kill(0, next(iter(crew.workers)))
        nursery.start_soon(enter_one)  # it runs when the wait has begun
        await crew.miss(1)
        assert entered.is_set()
        await crew.end()
        nursery.cancel_scope.cancel()


async def test_a_killed_worker_is_missed_no_longer_when_the_others_have_done_all(layout: Layout) -> None:
    write_jobs(layout, [])
    crew = _Crew(order(layout, workers=2))
    await crew.start(1)
    await crew.miss(1)
    assert crew._processes[1].poll() == 0


async def test_a_restart_waits_until_all_engines_are_open(layout: Layout) -> None:
    workers: list[int] = []

    async def restart() -> Restart:
        with closing(sqlite3.connect(layout.store.removeprefix("sqlite:///"))) as db:
            workers.extend(db.execute("SELECT count(*) FROM worker").fetchone())
        return Restart(None)

    async with trio.open_nursery() as nursery:
        write_jobs(layout, await unanswered(nursery, layout))
        told: list[Kill | Restart] = []
        plans = [Plan(worker=None, entries=0)] * 2
        supervisor = trio.CancelScope()

        def tell(done: Kill | Restart) -> None:
            told.append(done)
            if len(told) == len(plans):
                supervisor.cancel()

        with supervisor:
            await supervise(order(layout, *plans, workers=2, restart=restart), tell)
        nursery.cancel_scope.cancel()
    assert told == [Restart(None), Restart(None)]
    assert workers == [2, 2]


async def unanswered(nursery: trio.Nursery, layout: Layout, asked: trio.Event | None = None) -> Sequence[Job]:
    """Return jobs that never end: the mirror does not answer."""

    async def never_answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if asked is not None:
            asked.set()
        await trio.sleep_forever()

    (listener,) = await nursery.start(partial(trio.serve_tcp, never_answer, 0, host="127.0.0.1"))
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    return jobs(manifest(standard_library(), 3, seed=1), {"deaf": url}, layout)


async def test_a_cancelled_supervisor_leaves_no_process(layout: Layout) -> None:
    asked = trio.Event()
    async with trio.open_nursery() as nursery:
        write_jobs(layout, await unanswered(nursery, layout, asked))
        nursery.start_soon(supervise, order(layout), not_told)
        await asked.wait()
        nursery.cancel_scope.cancel()
    assert not is_alive(read_trace(layout)[0].pid)


# -- what a worker can lose ----------------------------------------------------------------------


@pytest.fixture
def crew(layout: Layout) -> _Crew:
    """Two workers of which the second is in its second life; nobody runs."""
    files = manifest(standard_library(), 2, seed=1)
    write_jobs(layout, [Job(name="a", files=tuple(files), mirrors={}, folder=str(layout.folder))])
    made = _Crew(order(layout, workers=2))
    made.workers.update({1: 0, 2: 1, 3: 1})
    return made


def begin(layout: Layout, *bodies: tuple[str, int]) -> None:
    lines = [Body(workflow="a", step=step, key="k", attempt=1, pid=pid, at=1) for step, pid in bodies]
    layout.trace.write_bytes(msgspec.json.Encoder().encode_lines(lines))


def enter(layout: Layout, number: int) -> None:
    path = manifest(standard_library(), 2, seed=1)[number].path
    with closing(sqlite3.connect(layout.catalogue, isolation_level=None)) as db:
        db.execute("INSERT INTO entry VALUES ('k', ?, 'x', 'alder')", (path,))


def test_a_worker_can_lose_what_it_was_the_last_to_run(layout: Layout, crew: _Crew) -> None:
    begin(layout, ("download", 2))
    assert not crew._can_lose(1), "nothing is recorded yet"
    begin(layout, ("download", 2), ("keep", 2))
    assert crew._can_lose(1)
    assert not crew._can_lose(0)
    begin(layout, ("download", 2), ("keep", 2), ("enter", 3))
    assert crew._can_lose(1), "the successor goes on with it"
    begin(layout, ("download", 2), ("keep", 2), ("enter", 1))
    assert not crew._can_lose(1), "the other worker goes on with it"
    assert crew._can_lose(0)


def test_what_has_ended_cannot_be_lost(layout: Layout, crew: _Crew) -> None:
    begin(layout, ("download", 2), ("keep", 2), ("enter", 2))
    enter(layout, 0)
    assert crew._can_lose(1)
    enter(layout, 1)
    assert not crew._can_lose(1)


# -- the worker ----------------------------------------------------------------------------------


def test_a_worker_ends_with_the_process_that_started_it(layout: Layout) -> None:
    files = manifest(standard_library(), 3, seed=1)
    write_jobs(layout, jobs(files, {"nobody": "http://127.0.0.1:9"}, layout))
    command = [sys.executable, "-m", "nurselog.demo.worker", str(layout.folder)]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    assert run.stdout == b"open\n"


def test_a_worker_ends_when_its_jobs_are_done(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = layout.folder / "elsewhere.db"
    write_jobs(layout, [])
    monkeypatch.setattr(sys, "argv", ["worker", str(layout.folder)])
    monkeypatch.setenv(STORE, f"sqlite:///{store}")
    end, other_end = os.pipe()
    with os.fdopen(end) as stdin, os.fdopen(other_end, "w"):
        monkeypatch.setattr(sys, "stdin", stdin)
        worker.main()
        assert capsys.readouterr().out == "open\n"
    assert store.exists()


async def test_a_wait_that_is_longer_than_all_before_is_noted(layout: Layout, autojump_clock: object) -> None:
    lags = iter([0.0, 0.5, 0.7, 0.6, 0.0, 0.8])

    class Engine:
        def statistics(self) -> SimpleNamespace:
            lag = next(lags, None)
            if lag is None:
                scope.cancel()
            return SimpleNamespace(commit_lag=lag or 0.0)

    with trio.CancelScope() as scope:
        await worker.note_waits(Engine(), layout)
    assert [wait.seconds for wait in read_waits(layout)] == [0.5, 0.7, 0.8]


def not_told(done: Kill | Restart) -> None:
    raise AssertionError(done)
