"""Real processes, killed at random moments: nothing is lost, and nothing that is recorded runs twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from nurselog._log.identity import step_key
from nurselog.lowlevel import Event, StepEnded, decode_event, parse_path
from tests.house.tree import ROOT
from tests.kills.worker import expected

KILLS = 15
"""In each of the tests here; `NURSELOG_KILLS` asks for more."""


@pytest.fixture
def kills(scale: int) -> int:
    return int(os.environ.get("NURSELOG_KILLS", KILLS * scale))


@dataclass
class Site:
    """A database, the effects of those who work on it, and what was seen of both."""

    folder: Path
    lives: int = 0
    looks: list[tuple[frozenset[str], int]] = field(default_factory=list)
    """The keys of the steps that were recorded at a time, and how long the file of effects was then."""
    logs: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def effects(self) -> Path:
        return self.folder / "effects"

    @contextmanager
    def worker(self, *mode: str) -> Iterator[subprocess.Popen[str]]:
        """Start a process, and end it at the latest when the block ends."""
        self.lives += 1
        url = f"sqlite:///{self.folder / 'log.db'}"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.worker", url, self.effects, str(self.lives), *mode],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def look(self) -> None:
        """Read the logs: they only grow. Remember what is recorded."""
        recorded: set[str] = set()
        logs: dict[str, list[bytes]] = {}
        with closing(sqlite3.connect(self.folder / "log.db", timeout=30)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'log'").fetchone():
                return  # killed before there was anything
            rows = connection.execute(
                "SELECT id, seq, log.event, log.value FROM log JOIN workflow ON workflow.key = log.workflow "
                "ORDER BY id, seq"
            ).fetchall()
        for id_, seq, event, value in rows:
            log = logs.setdefault(id_, [])
            log.append(event.encode() + (value or b""))
            assert seq == len(log), "seqs are dense"
            decoded: Event = decode_event(event.encode())
            if isinstance(decoded, StepEnded):
                key = step_key(id_, parse_path(decoded.path))
                assert key not in recorded, f"{decoded} of {id_} is recorded twice"
                recorded.add(key)
        for id_, log in self.logs.items():
            assert logs.get(id_, [])[: len(log)] == log, f"the log of {id_} has changed"
        self.logs = logs
        self.looks.append((frozenset(recorded), self.effects.stat().st_size if self.effects.exists() else 0))

    def judge(self) -> None:
        """Hold the effects against what was recorded when they happened."""
        text = self.effects.read_bytes()
        for recorded, length in self.looks:
            for line in text[length:].decode().splitlines():
                _, _, kind, *words = line.split()
                assert kind != "body" or words[1] not in recorded, f"it was recorded, and ran again: {line}"
        lines = [line.split() for line in text.decode().splitlines()]
        bodies = Counter(tuple(words) for _, _, kind, *words in lines if kind == "body")
        paid = [count for (_, _, name, _), count in bodies.items() if name == "pay"]
        assert set(paid) == {1}, "at most once is not more than once"
        assert {words[0] for _, _, kind, *words in lines if kind == "submitted"} <= self.logs.keys(), "a submit is lost"
        in_one_life = Counter(tuple(words) for _, *words in lines if words[1] == "body")
        assert max(in_one_life.values()) == 1, "a body ran twice in one life"

    def results(self) -> dict[str, list[object]]:
        with closing(sqlite3.connect(self.folder / "log.db")) as connection:
            rows = connection.execute(
                "SELECT id, (SELECT value FROM log WHERE workflow = key ORDER BY seq DESC LIMIT 1) FROM workflow"
                " WHERE status = 'completed'"
            )
            return {id_: msgspec.json.decode(value) for id_, value in rows}


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
