"""The supervisor with real processes: what it makes of a worker's end, and that it leaves none behind."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog.demo import worker
from nurselog.demo.catalogue import create_catalogue
from nurselog.demo.job import Layout, read_trace, write_jobs
from nurselog.demo.manifest import jobs, manifest, standard_library
from nurselog.demo.supervisor import Kill, Plan, WorkerFailed, plan_kills, supervise


def test_kills_are_planned_in_the_middle_of_the_work_by_the_seed() -> None:
    plans = plan_kills(1000, 20, seed=1)
    assert len(plans) == 20
    assert [plan.entries for plan in plans] == sorted(plan.entries for plan in plans)
    assert all(100 <= plan.entries <= 800 for plan in plans)
    assert plans == plan_kills(1000, 20, seed=1) != plan_kills(1000, 20, seed=2)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    create_catalogue(Layout(tmp_path))
    return Layout(tmp_path)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_that_ends_badly_is_an_error_with_its_traceback(layout: Layout) -> None:
    with pytest.raises(WorkerFailed, match=r"(?s)code 1 and wrote:.*FileNotFoundError.*jobs\.json"):
        await supervise(layout, [], no_kills)


async def test_a_worker_that_ends_before_its_kill_is_no_kill(layout: Layout) -> None:
    write_jobs(layout, [])
    assert await supervise(layout, [Plan(entries=1, pause=0)], no_kills) == []


async def test_a_cancelled_supervisor_leaves_no_process(layout: Layout) -> None:
    asked = trio.Event()

    async def never_answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, never_answer, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        write_jobs(layout, jobs(manifest(standard_library(), 3, seed=1), {"deaf": url}, layout))
        nursery.start_soon(supervise, layout, [], no_kills)
        await asked.wait()
        nursery.cancel_scope.cancel()
    assert not is_alive(read_trace(layout)[0].pid)


def test_a_worker_ends_with_the_process_that_started_it(layout: Layout) -> None:
    files = manifest(standard_library(), 3, seed=1)
    write_jobs(layout, jobs(files, {"nobody": "http://127.0.0.1:9"}, layout))
    command = [sys.executable, "-m", "nurselog.demo.worker", str(layout.folder)]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    assert run.stdout == b"open\n"


def test_a_worker_ends_when_its_jobs_are_done(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jobs(layout, [])
    monkeypatch.setattr(sys, "argv", ["worker", str(layout.folder)])
    end, other_end = os.pipe()
    with os.fdopen(end) as stdin, os.fdopen(other_end, "w"):
        monkeypatch.setattr(sys, "stdin", stdin)
        worker.main()
        assert capsys.readouterr().out == "open\n"


def no_kills(kill: Kill) -> None:
    raise AssertionError(kill)
