"""Processes that are killed while a step runs in asyncio or in a worker process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nurselog._flow.venue import Venue
from tests.house.tree import ROOT
from tests.kills.effects import told
from tests.neighbours import need

need(Venue.ASYNCIO)
need(Venue.PROCESS)


@contextmanager
def life(number: int, url: str, effects: Path, step: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.kills.elsewhere", url, str(effects), str(number), step]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def until(what: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not what():
        assert time.monotonic() < patience
        time.sleep(0.01)


def lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text("ascii").split()[2] != "Z"


@pytest.mark.parametrize(
    ("step", "end", "bodies"), [("wait", "waited", 2), ("wait_once", "interrupted", 1), ("compute", "computed", 2)]
)
def test_it_is_killed_and_goes_on(url: str, tmp_path: Path, step: str, end: str, bodies: int) -> None:
    effects = tmp_path / "effects"
    with life(1, url, effects, step) as first:
        until(lambda: bool(told(effects)))
        first.kill()
        first.communicate()
    with life(2, url, effects, step) as second:
        out, errors = second.communicate(timeout=120)
        assert out == f"{end}\n", errors
        assert second.returncode == 0, errors
    assert [line[1] for line in told(effects)] == ["1", "2"][:bodies]


def test_a_worker_process_dies_with_its_engines(tmp_path: Path) -> None:
    """Though it computes, and looks at nothing."""
    effects = tmp_path / "effects"
    with life(1, f"sqlite:///{tmp_path / 'log.db'}", effects, "compute") as process:
        until(lambda: bool(told(effects)))
        [[*_, pid]] = told(effects)
        assert lives(int(pid))
        process.kill()
        process.communicate()
    until(lambda: not lives(int(pid)))
