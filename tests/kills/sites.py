"""A SQLite database that processes work on, and what holds of it and of what they do, whatever happens to them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nurselog._log.identity import step_key
from nurselog.lowlevel import Event, StepEnded, decode_event, parse_path
from tests.house.tree import ROOT


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
