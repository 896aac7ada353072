"""Several processes on one file: killed, stopped, racing. None of it waits for the wall clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import nurselog
from nurselog._errors import StoreUnavailable
from nurselog._stores._sqlite import schema
from nurselog.abc import Append, Claim
from nurselog.testing.stores.records import LEASE, LONG, StandingClock, append, claim_due, create, creation, rows
from tests.stores.kit import beacons, files, opened

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{Path(nurselog.__path__[0]).parent}"}

LOCKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


class Child:
    """A process that this test may end."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
            bufsize=1,
        )

    def order(self, command: str) -> None:
        """Send a command, and do not wait for the answer."""
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")

    def answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def ask(self, command: str) -> Any:
        self.order(command)
        return self.answer()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def leave(self) -> int:
        """Let it end by itself."""
        self._process.communicate(timeout=20)
        return self._process.returncode

    def let_go(self) -> None:
        """Make sure that nothing of it is left."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()


@contextmanager
def child(*command: str) -> Iterator[Child]:
    process = Child(*command)
    try:
        yield process
    finally:
        process.let_go()


@contextmanager
def worker(url: str, id: str, lease: int = LONG) -> Iterator[Child]:
    with child("-m", "tests.stores.worker", url, id, str(lease), str(StandingClock().now)) as process:
        yield process


async def test_what_a_killed_worker_owned_is_taken_over_at_once(
    lit_url: str, clock: StandingClock, tmp_path: Path
) -> None:
    with worker(lit_url, "victim") as victim:
        assert victim.answer() == "open"
        keys = victim.ask("create one two")
        async with opened(lit_url, clock) as store:
            assert await claim_due(store, "a") == []
            victim.kill()
            claims: list[Claim] = []
            while len(claims) < len(keys):  # a server notices within a moment
                claims += await claim_due(store, "a")
            assert sorted(claim.workflow.key for claim in claims) == sorted(keys)
            assert len(beacons(tmp_path)) <= 1
    assert files(tmp_path) in ([], ["store.db"])


async def test_a_stopped_worker_keeps_what_it_has_until_its_lease_is_over(
    shared_url: str, clock: StandingClock, tmp_path: Path
) -> None:
    with worker(shared_url, "sleeper", LEASE) as sleeper:
        assert sleeper.answer() == "open"
        [key] = sleeper.ask("create one")
        sleeper.signal(signal.SIGSTOP)
        async with opened(shared_url, clock) as store:
            clock.now += LEASE - 1
            assert await claim_due(store, "a") == []
            clock.now += 1
            [claim] = await claim_due(store, "a")
            assert not await append(store, Append(key=key, rows=rows(3, 3, claim.writer)))

            sleeper.signal(signal.SIGCONT)
            assert sleeper.ask(f"append {key} 2 3"), "refused"
            assert sleeper.ask(f"append {key} 4 4"), "refused"
            assert sleeper.ask("claim") == []
            assert sleeper.ask("renew") is False
            assert sleeper.ask("renew") is True
            assert await store.read(key) == [*claim.rows, *rows(3, 3, claim.writer)]
        assert sleeper.leave() == 0
    assert files(tmp_path) in ([], ["store.db"])


async def test_a_worker_that_ends_properly_leaves_its_workflows_to_others(
    shared_url: str, clock: StandingClock
) -> None:
    with worker(shared_url, "leaver") as leaver:
        assert leaver.answer() == "open"
        [key] = leaver.ask("create one")
        assert leaver.leave() == 0
    async with opened(shared_url, clock) as store:
        assert [claim.workflow.key for claim in await claim_due(store, "a")] == [key]


async def test_a_lock_of_another_process(
    path: Path, file_url: str, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.02)
    async with opened(file_url, clock) as store:
        [key] = await create(store, creation("one", 7, owner="a"))
        with child("-c", LOCKED, str(path)) as locker:
            locker_says = locker._process.stdout
            assert locker_says
            assert locker_says.readline() == "locked\n"
            for call in (store.renew, lambda: append(store, Append(key=key, rows=rows(2, 2, 7)))):
                with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
                    await call()
        assert await store.renew()
        assert not await append(store, Append(key=key, rows=rows(2, 2, 7)))


def test_processes_that_make_a_schema_at_the_same_time(postgres_url: str) -> None:
    with ExitStack() as stack:
        racers = [stack.enter_context(worker(postgres_url, f"w{id}")) for id in range(3)]
        assert [racer.answer() for racer in racers] == ["open"] * 3
        assert [racer.leave() for racer in racers] == [0] * 3


def test_processes_that_make_a_database_at_the_same_time(tmp_path: Path, scale: int) -> None:
    for number in range(scale):
        folder = tmp_path / str(number)
        folder.mkdir()
        with ExitStack() as stack:
            url = f"sqlite:///{folder}/store.db"
            racers = [stack.enter_context(worker(url, f"w{id}")) for id in range(3)]
            assert [racer.answer() for racer in racers] == ["open"] * 3
            assert [racer.leave() for racer in racers] == [0] * 3
        assert files(folder) == ["store.db"]


async def test_a_claim_goes_to_one_of_many(shared_url: str, clock: StandingClock) -> None:
    async with opened(shared_url, clock) as store:
        await create(store, *(creation(f"w{number}") for number in range(30)))
        with ExitStack() as stack:
            racers = [stack.enter_context(worker(shared_url, f"racer-{number}")) for number in range(3)]
            assert [racer.answer() for racer in racers] == ["open"] * 3
            for racer in racers:
                racer.order("claim")
            claimed = [id for racer in racers for id in racer.answer()]
            assert sorted(claimed) == sorted(f"w{number}" for number in range(30))
            assert [racer.leave() for racer in racers] == [0] * 3
