"""Four processes under load on PostgreSQL; they are killed at random, and so is the server: everything ends well."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from tests.house.tree import ROOT
from tests.kills.effects import told
from tests.kills.mixed import LEASE, expected
from tests.postgres_server import PostgresServer

psycopg = pytest.importorskip("psycopg", reason="no psycopg here: pip install 'nurselog[postgres]'")

from tests.kills.census import Census  # noqa: E402 - it needs psycopg

KILLS = 10
"""Workers that are killed; `NURSELOG_KILLS` asks for more."""
FULL = 200
"""More than that the long run does not kill: it has its load in one test, which is not to look as if it hung."""
SERVER_TOO = 5
"""With each so manieth worker, the server is killed."""
WORKERS = 4
EACH = 10
"""Workflows that there are at least for each kill."""
PATIENCE = 240.0
"""Seconds in which the rest must end when nobody is killed any more, on a machine that is busy."""


@pytest.fixture
def kills(scale: int) -> int:
    return int(os.environ.get("NURSELOG_KILLS", min(KILLS * scale, FULL)))


@dataclass
class Crew:
    """Processes on one store."""

    url: str
    folder: Path
    lives: int = 0
    members: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def hire(self) -> None:
        self.lives += 1
        command = [sys.executable, "-m", "tests.kills.mixed", self.url, self.folder, str(self.lives)]
        with (self.folder / f"said by {self.lives}").open("wb") as said:
            self.members.append(subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said))

    def replace(self, place: int) -> None:
        """Kill one of them, and hire another."""
        one = self.members.pop(place)
        assert one.poll() is None, f"it has ended by itself: {self.said()}"
        one.kill()
        one.wait()
        self.hire()

    def pause(self, place: int, seconds: float) -> None:
        """Stop one of them for some time, as a machine does that hangs."""
        one = self.members[place]
        one.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        one.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """Let them bring everything to an end, and go."""
        (self.folder / "enough").touch()
        deadline = time.monotonic() + PATIENCE
        while rest := [*self.submitting(), *unfinished(self.url)]:
            assert time.monotonic() < deadline, f"these never end: {rest[:10]}, {len(rest)} in all; {self.said()}"
            time.sleep(0.1)
        for one in self.members:
            one.terminate()
        assert [one.wait(60) for one in self.members] == [0] * len(self.members), self.said()

    def submitting(self) -> list[str]:
        """Return the lives that have workflows to submit, or have not even begun: what comes later would not end."""
        done = {life for _, life, kind, *_ in told(self.folder / "effects") if kind == "done"}
        return [life for life in map(life_of, self.members) if life not in done]

    def said(self) -> str:
        """Return the last words of the last of them."""
        return "\n".join(
            f"-- {path.name}:\n{path.read_text('utf-8', 'replace')[-2000:]}"
            for path in sorted(self.folder.glob("said by *"), key=lambda path: path.stat().st_mtime)[-WORKERS:]
        )


@contextmanager
def crew(url: str, folder: Path) -> Iterator[Crew]:
    workers = Crew(url, folder)
    try:
        for _ in range(WORKERS):
            workers.hire()
        yield workers
    finally:
        for one in workers.members:
            one.kill()
            one.wait()


def unfinished(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, options="-c search_path=nurselog") as connection:
        query = "SELECT id, status, owner, due_at, problem FROM workflow WHERE NOT is_final(status)"
        return connection.execute(query).fetchall()


def life_of(worker: subprocess.Popen[bytes]) -> str:
    """Return the number that a worker was given when it was started."""
    *_, life = cast("list[str]", worker.args)
    return life


def submitted(folder: Path) -> int:
    return sum(kind == "submitted" for _, _, kind, *_ in told(folder / "effects"))


def judge(url: str, folder: Path, *, bodies: bool) -> Census:
    census = Census(url, folder / "effects")
    census.check_logs()
    if bodies:
        census.check_bodies()
    for id_, (status, value) in census.results().items():
        name, _, number = id_.split("-")
        n = int(number)
        assert status == {"failing": "failed", "endless": "cancelled"}.get(name, "completed"), id_
        if name == "again":
            assert isinstance(value, list)
            assert value.pop() in {f"paid {n}", "interrupted"}, id_
        if status == "completed":
            assert value == expected(name, n), id_
    print(census)
    return census


def test_workers_and_the_server_are_killed(server: PostgresServer, tmp_path: Path, kills: int) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with crew(server.url, tmp_path) as workers:
        wait_for_load(tmp_path)
        for kill in range(1, kills + 1):
            time.sleep(dice.random() * 0.6)
            workers.replace(dice.randrange(WORKERS))
            if kill % SERVER_TOO == 0:
                server.stop(signal.SIGKILL)
                time.sleep(dice.random())
                server.start()
        wait_for_load(tmp_path, EACH * kills)
        workers.finish()
    judge(server.url, tmp_path, bodies=True)
    print(f"{kills} workers killed")


def test_workers_are_stopped_past_their_lease(server: PostgresServer, tmp_path: Path, kills: int) -> None:
    """What they do before they notice is in no log."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with crew(server.url, tmp_path) as workers:
        wait_for_load(tmp_path)
        for stop in range(max(3, kills // 10)):
            wait_for_load(tmp_path, 50 * (stop + 1))  # a worker that has nothing to do loses nothing
            workers.pause(dice.randrange(WORKERS), LEASE * (1.5 + dice.random()))
        workers.finish()
    assert judge(server.url, tmp_path, bodies=False).takeovers, "nobody has taken anything over"


def wait_for_load(folder: Path, count: int = WORKERS) -> None:
    """Wait until so many workflows have been submitted."""
    deadline = time.monotonic() + PATIENCE
    while submitted(folder) < count:
        assert time.monotonic() < deadline, "there is no load"
        time.sleep(0.1)
