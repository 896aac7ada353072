"""A set that is iterated into `go`: the same code, the same log, and another order in another process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.house.tree import ROOT


def run(what: str, seed: int, log: bytes = b"") -> bytes:
    folders = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": folders}
    command = [sys.executable, "-m", "tests.laws.hash_seed", what]
    done = subprocess.run(command, input=log, env=environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def log() -> bytes:
    return run("record", 1)


def test_the_same_order_replays(log: bytes) -> None:
    assert run("replay", 1, log).startswith(b"Returned(")


@pytest.mark.parametrize("seed", [2, 3])
def test_another_order_is_found(log: bytes, seed: int) -> None:
    """Without the digest of the arguments, results would change places in silence."""
    problem = run("replay", seed, log).decode()
    assert "step 'greet'" in problem
    assert "other arguments" in problem
    assert "a set that is iterated" in problem
