"""A ring of workflows that pass tokens on, in processes that are killed: no token is lost, doubled or overtaken."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.house.tree import ROOT

SEATS = 100
ROUNDS = 4
"""`NURSELOG_RING` asks for more."""
KILLS = 4
PATIENCE = 3600.0
"""Seconds: what the longest ring may take on a slow machine."""


@pytest.fixture
def rounds(scale: int) -> int:
    return int(os.environ.get("NURSELOG_RING", ROUNDS * scale))


@contextmanager
def worker(url: str, rounds: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.kills.ring", url, str(SEATS), str(rounds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_when_up(process: subprocess.Popen[str], seconds: float) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n", process.communicate()
    time.sleep(seconds)
    process.kill()


def test_tokens_go_round_while_processes_are_killed(url: str, rounds: int, scale: int) -> None:
    """Two processes at a time, so that seats that sit side by side are in different ones."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(KILLS * min(scale, 5)):
        with worker(url, rounds) as first, worker(url, rounds) as second:
            for process in (first, second):
                kill_when_up(process, dice.random() * (0.5 + rounds / 100))
    with worker(url, rounds) as last:
        out, errors = last.communicate(timeout=PATIENCE)
    assert out.split() == ["up", str(SEATS * rounds)], errors
