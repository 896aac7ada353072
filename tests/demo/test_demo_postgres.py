"""The whole demo on PostgreSQL, with two workers, kills, and a database that is away in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nurselog.cli import main
from nurselog.demo import run as demo
from nurselog.demo.run import Settings
from tests.demo.test_demo import TEMPORARY, facts
from tests.postgres_server import PostgresServer

psycopg = pytest.importorskip("psycopg", reason="no psycopg here: pip install 'nurselog[postgres]'")

SECRET = "open-sesame"


def with_password(url: str) -> str:
    """The same address with a password, which the server does not ask for."""
    if "//postgres@" not in url:
        pytest.skip("a server that was given may want another password")
    return url.replace("//postgres@", f"//postgres:{SECRET}@")


def schemas(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'demo'")}


def workers(folder: Path) -> list[str]:
    """The command lines, as everybody may read them, of the demo's workers."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_text("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "nurselog.demo.worker" in line and str(folder) in line:
            lines.append(line)
    return lines


@pytest.mark.skipif(sys.platform != "linux", reason="command lines are read from /proc")
def test_the_demo_survives_its_kills_and_a_restart_of_the_server(server: PostgresServer, tmp_path: Path) -> None:
    """The server is the test's child, and so the command asks the test to restart it."""
    asked, done = tmp_path / "asked", tmp_path / "done"
    restart = f"touch {asked}; while ! test -e {done}; do sleep 0.02; done"
    command = [sys.executable, "-m", "nurselog", "demo", "--files", "120", "--kills", "2"]
    command += ["--store", with_password(server.url), "--restart", restart]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with (tmp_path / "said").open("wb") as said:
        run = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    try:
        while run.poll() is None and not asked.exists():
            time.sleep(0.02)
        assert asked.exists(), (tmp_path / "said").read_text("utf-8")
        lines = workers(tmp_path)
        server.restart()
        done.touch()
        assert run.wait(300) == 0, (tmp_path / "said").read_text("utf-8")
    finally:
        run.kill()
        run.wait()
    output = (tmp_path / "said").read_text("utf-8")
    assert len(lines) == 2
    assert SECRET not in "".join([output, *lines])
    assert "All 120 copies are equal to their originals" in output
    assert "CANCELLED" in output
    counted = facts(output)
    assert counted["restarts of the database server"] == 1
    assert counted["worker processes killed"] == 2
    assert counted["processes of worker 1 killed"] == counted["processes of worker 2 killed"] == 1
    assert counted["step bodies run by worker 1"] > 0
    assert counted["step bodies run by worker 2"] > 0
    assert counted["steps replayed"] > 0
    assert schemas(server.url) == set()
    assert list(tmp_path.glob(TEMPORARY)) == []


def test_without_a_command_connections_are_ended_instead(
    postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, url = tmp_path / "kept", with_password(postgres_url)
    assert demo.run(Settings(files=120, kills=0, seed=2, keep=kept, workers=2, store=url)) == 0
    output = capsys.readouterr().out
    assert "All 120 copies are equal to their originals" in output
    assert "no --restart was given" in output
    assert "The workflows stay in schema 'nurselog_demo'." in output
    counted = facts(output)
    assert counted["connections to the database ended"] >= 2
    assert "restarts of the database server" not in counted
    assert "traces of workers taken to be dead" in counted
    assert schemas(postgres_url) == {"nurselog_demo"}
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert main(["list", f"{url}&schema=nurselog_demo"]) == 0
    assert "mirror_package  test-1" in capsys.readouterr().out
    assert demo.run(Settings(files=1, kills=0, seed=1, keep=kept, store=url)) == 2


def test_where_there_is_no_server_no_folder_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept"
    url = f"postgresql://user:{SECRET}@/database?host={tmp_path}"
    assert main(["demo", "--files", "1", "--store", url, "--keep", str(kept)]) == 1
    output = capsys.readouterr()
    assert "cannot be reached" in output.err
    assert SECRET not in output.out + output.err
    assert not kept.exists()


def test_a_schema_that_is_there_is_refused(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE SCHEMA nurselog_demo")
    assert main(["demo", "--files", "1", "--store", postgres_url]) == 2
    assert "schema 'nurselog_demo' is there already" in capsys.readouterr().err
    assert schemas(postgres_url) == {"nurselog_demo"}


def test_a_folder_that_cannot_be_made_leaves_no_schema(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        demo.run(Settings(files=1, kills=0, seed=1, keep=tmp_path / "file" / "kept", store=postgres_url))
    assert schemas(postgres_url) == set()


def test_a_restart_that_fails_ends_the_run(
    postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(files=120, kills=0, seed=1, keep=None, workers=2, store=postgres_url, restart="exit 5")
    assert demo.run(settings) == 1
    assert "--restart ended with code 5" in capsys.readouterr().out
    assert schemas(postgres_url) == set()
