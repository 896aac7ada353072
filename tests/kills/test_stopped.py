"""Two processes on one file: one is stopped past its lease and continued, the other has taken over meanwhile."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nurselog.lowlevel import Claimed, StepEnded, decode_event
from tests.house.tree import ROOT


@contextmanager
def patient(folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills.patient", f"sqlite:///{folder / 'log.db'}", folder, name],
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


def test_a_process_that_was_stopped_past_its_lease_is_refused_and_lets_go(tmp_path: Path) -> None:
    with patient(tmp_path, "a") as a:
        hear(a, "in the step")
        a.send_signal(signal.SIGSTOP)
        with patient(tmp_path, "b") as b:
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
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        rows = connection.execute(
            "SELECT event, writer FROM log JOIN workflow ON workflow.key = log.workflow WHERE id = 'one' ORDER BY seq"
        ).fetchall()
        status = dict(connection.execute("SELECT id, status FROM workflow"))
    events = [decode_event(event.encode()) for event, _ in rows]
    [claimed] = [at for at, event in enumerate(events) if isinstance(event, Claimed)]
    assert sum(isinstance(event, StepEnded) for event in events) == 1
    first, second = {writer for _, writer in rows[:claimed]}, {writer for _, writer in rows[claimed:]}
    assert (len(first), len(second)) == (1, 1)
    assert first != second, "after the takeover only the new owner has written"
    assert status == {"one": "completed", "another of a": "completed", "another of b": "completed"}
