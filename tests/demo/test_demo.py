"""The whole demo as its users start it, with kills; and that it does not call a damaged run a good one."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nurselog.demo import run as demo
from nurselog.demo.job import Layout, read_trace
from nurselog.demo.run import Settings
from nurselog.demo.supervisor import Course, Kill, Order, Restart, WorkerFailed, supervise

TEMPORARY = "nurselog-demo-*"


def facts(output: str) -> dict[str, int]:
    """The table of what happened."""
    return {
        name: int(count) for name, count in re.findall(r"^(\S.*?) {2,}([\d,]+)$", output.replace(",", ""), re.MULTILINE)
    }


def test_the_demo_survives_its_kills_and_says_what_happened(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nurselog", "demo", "--files", "40", "--kills", "2"]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "All 40 copies are equal to their originals" in run.stdout
    assert "CANCELLED" in run.stdout
    said = facts(run.stdout)
    assert said["worker processes killed"] == 2
    assert said["races"] >= 40
    assert said["steps replayed"] > 0
    assert list(tmp_path.glob(TEMPORARY)) == []


def test_two_workers_share_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert demo.run(Settings(files=40, kills=2, seed=1, keep=tmp_path / "kept", workers=2)) == 0
    said = facts(capsys.readouterr().out)
    assert said["processes of worker 1 killed"] == said["processes of worker 2 killed"] == 1
    assert said["step bodies run by worker 1"] > 0
    assert said["step bodies run by worker 2"] > 0
    assert said["step bodies run by worker 1"] + said["step bodies run by worker 2"] == said["step bodies run"]


def test_an_interrupted_demo_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    command = [sys.executable, "-m", "nurselog", "demo", "--files", "60", "--kills", "1", "--keep", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if "SIGKILL" in line)
        run.send_signal(signal.SIGINT)  # once: a second one, at the interpreter's end, would end it differently
        _, error = run.communicate(timeout=300)
    assert (run.returncode, error) == (130, "nurselog: interrupted\n")
    for pid in {body.pid for body in read_trace(Layout(folder))}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_demo_that_is_asked_to_end_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nurselog", "demo", "--files", "60", "--kills", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if "SIGKILL" in line)
        assert list(tmp_path.glob(TEMPORARY))
        run.terminate()
        _, error = run.communicate(timeout=300)
    assert (run.returncode, error) == (130, "nurselog: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_a_run_gives_the_signal_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert demo.run(Settings(files=1, kills=0, seed=1, keep=tmp_path / "kept")) == 0
    assert signal.getsignal(signal.SIGTERM) is before


Ruin = Callable[[Layout], object]


def tampering(ruin: Ruin) -> Callable[..., object]:
    async def supervise_and_ruin(order: Order, tell: Callable[[Kill | Restart], None]) -> Course:
        course = await supervise(order, tell)
        ruin(order.layout)
        return course

    return supervise_and_ruin


def spoil_a_copy(layout: Layout) -> None:
    next(path for path in layout.copies.rglob("*.py")).write_bytes(b"spoilt")


def spoil_the_trace(layout: Layout) -> None:
    first = layout.trace.read_bytes().splitlines()[0]
    with layout.trace.open("ab") as trace:
        trace.write(re.sub(rb'"at":\d+', b'"at":9000000000000000', first) + b"\n")


@pytest.mark.parametrize(
    ("ruin", "problem"),
    [(spoil_a_copy, "the copy differs"), (spoil_the_trace, "its body began after its outcome was recorded")],
)
def test_a_damaged_run_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, ruin: Ruin, problem: str
) -> None:
    monkeypatch.setattr(demo, "supervise", tampering(ruin))
    assert demo.run(Settings(files=3, kills=0, seed=1, keep=tmp_path / "kept")) == 1
    output = capsys.readouterr().out
    assert "1 PROBLEMS" in output
    assert problem in output
    assert (tmp_path / "kept" / "copies").is_dir()


def test_a_worker_that_fails_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def fail(*_: object) -> Course:
        raise WorkerFailed(3, "no luck")

    monkeypatch.setattr(demo, "supervise", fail)
    assert demo.run(Settings(files=1, kills=0, seed=1, keep=tmp_path / "kept")) == 1
    assert "code 3 and wrote:\nno luck" in capsys.readouterr().out


def test_a_run_that_takes_too_long_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "_TIME_LIMIT", 0.0)
    assert demo.run(Settings(files=1, kills=0, seed=1, keep=tmp_path / "kept")) == 1
    assert "not ready after 0 s" in capsys.readouterr().out


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(Settings(files=1, kills=0, seed=1, keep=tmp_path)) == 2
    assert "--keep" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_mirrors_of_this_machine_are_not_asked_through_a_proxy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nurselog", "demo", "--files", "3", "--kills", "0"]
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **proxies, "TMPDIR": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_disk_that_is_full_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def create_catalogue(layout: Layout) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(demo, "create_catalogue", create_catalogue)
    kept = tmp_path / "kept"
    assert demo.run(Settings(files=1, kills=0, seed=1, keep=kept)) == 1
    said = f"cannot be read or written (database or disk is full). Is there room on the disk of {kept}?"
    assert said in capsys.readouterr().out
