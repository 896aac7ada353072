"""Workers that the command starts share a store: one is told to stop in the middle, and the other one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from nurselog import open_engine
from tests.house.tree import ROOT
from tests.kills.effects import tell, told, write
from tests.kills.sites import Site
from tests.kills.worker import expected, story
from tests.postgres_server import PostgresServer

AT_ONCE = 4
PATIENCE = 120.0
"""Seconds in which what is waited for must come, on a machine that is busy."""


@dataclass
class Shop:
    """A store, and those who submit to it."""

    url: str
    folder: Path
    ids: list[str] = field(default_factory=list)

    @property
    def effects(self) -> Path:
        return self.folder / "effects"

    async def submit(self, count: int) -> None:
        """Submit workflows, and leave to the workers what has not ended by then."""
        tell(self.effects, f"submitter-{len(self.ids)}")
        async with open_engine(self.url, [story], max_running=1) as engine:
            for _ in range(count):
                number = len(self.ids)
                handle = await engine.submit(story, number, id=f"story-{number}")
                self.ids.append(handle.id)
                write("submitted", handle.id)

    async def submit_until_busy(self, *lives: str) -> None:
        """Submit until each of these lives does something."""
        with trio.fail_after(PATIENCE):
            while not set(lives) <= {life for _, life, kind, *_ in told(self.effects) if kind == "body"}:
                await self.submit(2)

    async def results(self) -> list[list[object]]:
        """Wait for all, without doing any of it."""
        with trio.fail_after(PATIENCE):
            async with open_engine(self.url, ()) as engine:
                return [await (await engine.get(id_)).result() for id_ in self.ids]


@contextmanager
def worker(shop: Shop, life: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command, wait until it is up, and end it at the latest when the block ends."""
    # No server of the tests asks for a password.
    store = shop.url.replace("//postgres@", "//postgres:secret@")
    command = [sys.executable, "-m", "nurselog", "worker", "tests.kills.served", "--store", store]
    with subprocess.Popen(
        [*command, "--max-running", str(AT_ONCE)],
        cwd=ROOT,
        env={**os.environ, "NURSELOG_TEST_EFFECTS": str(shop.effects), "NURSELOG_TEST_LIFE": life},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            up = process.stderr.readline()
            assert "up, runs story on " in up, up + process.stderr.read()
            assert "secret" not in up
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal; return the exit code, and what was said."""
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def test_one_of_two_is_told_to_stop(url: str, tmp_path: Path) -> None:
    shop = Shop(url, tmp_path)
    with worker(shop, "first") as first, worker(shop, "second") as second:
        trio.run(shop.submit_until_busy, "first", "second")
        code, said = stop(first, signal.SIGTERM)
        assert (code, "asked by SIGTERM" in said, "has stopped" in said) == (0, True, True), said
        trio.run(shop.submit, 10)
        results = trio.run(shop.results)
        code, said = stop(second, signal.SIGINT)
        assert (code, "asked by SIGINT" in said, "has stopped" in said) == (130, True, True), said
    for number, (*result, paid) in enumerate(results):
        assert result == expected(number)
        assert paid in {f"paid {number}", "interrupted"}
    judge(shop)


def test_a_server_that_cannot_be_told_of_the_end(server: PostgresServer, tmp_path: Path) -> None:
    """Others wait for the lease of such a worker, so it has not stopped as it should."""
    with worker(Shop(server.url, tmp_path), "only") as process:
        server.stop(signal.SIGKILL)
        code, said = stop(process, signal.SIGTERM)
    assert (code, "asked by SIGTERM" in said, "has stopped" in said) == (1, True, False), said
    assert "the server cannot be reached just now" in said.splitlines()[-1]
    assert "secret" not in said


def judge(shop: Shop) -> None:
    """Hold what was done against what is recorded."""
    if shop.url.startswith("sqlite:"):
        site = Site(shop.folder)
        site.look()
        site.judge()
    else:
        from tests.kills.census import Census  # noqa: PLC0415 - it needs psycopg

        census = Census(shop.url, shop.effects)
        census.check_logs()
        census.check_bodies()
