"""Real processes, killed at random moments: nothing is lost, and nothing that is recorded runs twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.kills.sites import Site
from tests.kills.worker import expected

KILLS = 15
"""In each of the tests here; `NURSELOG_KILLS` asks for more."""


@pytest.fixture
def kills(scale: int) -> int:
    return int(os.environ.get("NURSELOG_KILLS", KILLS * scale))


def finish(site: Site) -> None:
    """Let one process run to the end, undisturbed."""
    with site.worker("finish") as process:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    site.look()
    site.judge()
    results = site.results()
    assert results.keys() == site.logs.keys(), "not all have completed"
    for id_, (*result, paid) in results.items():
        number = int(id_.rpartition("-")[2])
        assert result == expected(number), id_
        assert paid in {f"paid {number}", "interrupted"}


def kill_somewhere(process: subprocess.Popen[str], dice: random.Random) -> None:
    """Kill it while it is starting (one time in five), or while it works."""
    if dice.random() < 0.8:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n", process.communicate()
    time.sleep(dice.random() * 0.4)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_one_process_after_the_other(tmp_path: Path, kills: int) -> None:
    site, seed = Site(tmp_path), random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(kills):
        with site.worker() as process:
            kill_somewhere(process, dice)
        if (tmp_path / "log.db").exists():
            site.look()
    finish(site)
    assert len(site.logs) > kills / 2


def test_two_processes_on_one_file(tmp_path: Path, kills: int) -> None:
    """One of the two is killed, the other goes on, takes over, and is killed when the next one is there."""
    site, seed = Site(tmp_path), random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(kills // 2):
        with site.worker() as first, site.worker() as second:
            kill_somewhere(first, dice)
            site.look()
            kill_somewhere(second, dice)
        site.look()
    finish(site)
