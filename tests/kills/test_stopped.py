"""Two processes on one store: one is stopped past its lease and continued, the other has taken over meanwhile."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from nurselog.lowlevel import Claimed, StepEnded, decode_event
from tests.house.tree import ROOT
from tests.stores.kit import behind


@contextmanager
def patient(url: str, folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills.patient", url, folder, name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def hear(process: subprocess.Popen[str], what: str) -> list[str]:
    """Read until a line begins with `what`; return all that was read."""
    assert process.stdout is not None
    heard: list[str] = []
    for line in process.stdout:
        heard.append(line.rstrip())
        if line.startswith(what):
            return heard
    raise AssertionError(f"{what!r} was never said: {heard}")


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    """Look behind the store's back."""
    if url.startswith("postgresql:"):
        with behind(url) as connection:
            return connection.execute(query).fetchall()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return file.execute(query).fetchall()


def test_a_process_that_was_stopped_past_its_lease_is_refused_and_lets_go(url: str, tmp_path: Path) -> None:
    with patient(url, tmp_path, "a") as a:
        hear(a, "in the step")
        a.send_signal(signal.SIGSTOP)
        with patient(url, tmp_path, "b") as b:
            hear(b, "in the step")  # its lease is over: b has taken over
            (tmp_path / "go").touch()
            assert hear(b, "done")[-1] == "done b"
            hear(b, "done")
            b.wait(timeout=60)
        a.send_signal(signal.SIGCONT)
        heard = hear(a, "done")
        assert heard[-1] == "done b", "what the other one has recorded is the result"
        hear(a, "done")
        a.wait(timeout=60)
    query = "SELECT event, writer FROM log JOIN workflow ON workflow.key = log.workflow WHERE id = 'one' ORDER BY seq"
    rows = ask(url, query)
    status = dict(ask(url, "SELECT id, status FROM workflow"))
    events = [decode_event(event.encode()) for event, _ in rows]
    [claimed] = [at for at, event in enumerate(events) if isinstance(event, Claimed)]
    assert sum(isinstance(event, StepEnded) for event in events) == 1
    first, second = {writer for _, writer in rows[:claimed]}, {writer for _, writer in rows[claimed:]}
    assert (len(first), len(second)) == (1, 1)
    assert first != second, "after the takeover only the new owner has written"
    assert status == {"one": "completed", "another of a": "completed", "another of b": "completed"}
