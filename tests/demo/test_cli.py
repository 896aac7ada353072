"""The command line, called as a function and as a program."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog import WorkflowStuck, mailbox, open_engine, sleep, step, workflow
from nurselog.cli import main
from nurselog.demo import run as demo
from nurselog.demo.run import Settings
from nurselog.testing import load_log


@step
async def greet(name: str) -> str:
    return f"Hello, {name}"


@workflow
async def greeting(name: str) -> str:
    return await greet(name)


@workflow
async def lasting() -> None:
    await sleep(1e6)


@workflow(name="waiting for a word")
async def waiting() -> str:
    return await mailbox("word", str).receive()


@workflow
async def nap() -> None:
    await trio.sleep(0.001)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with one workflow."""
    url = f"sqlite:///{tmp_path / 'greetings.db'}"

    async def fill() -> None:
        async with open_engine(url, ()) as engine:
            await engine.run(greeting, "Trio", id="greeting-1")

    trio.run(fill)
    return url


def test_list_shows_a_line_for_each_workflow(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", store]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[2:] == ["completed", "greeting", "greeting-1"]


def test_list_says_why_a_workflow_is_stuck(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def get_stuck() -> None:
        async with open_engine(store, ()) as engine:
            with pytest.raises(WorkflowStuck):
                await engine.run(nap, id="nap-1")

    trio.run(get_stuck)
    assert main(["list", store]) == 0
    line, _ = capsys.readouterr().out.splitlines()
    assert line.split()[2:5] == ["stuck", "nap", "nap-1"]
    assert len(line.split()) > 5
    assert main(["log", store, "nap-1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "It is stuck: `nurselog list` says why."


@workflow(name="nap of another kind")
async def hostile() -> None:
    raise ValueError("\x1b[2J\n    +0.000  a line")


def test_no_text_of_a_workflow_steers_the_terminal(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def fill() -> None:
        async with open_engine(store, ()) as engine:
            with pytest.raises(ValueError, match="a line"):
                await engine.run(hostile, id="one")

    trio.run(fill)
    with contextlib.closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as database, database:
        problem = "\x1b]0;title\x07\r\x0bmore\nthe second line"
        database.execute("UPDATE workflow SET status = 'stuck', problem = ? WHERE id = 'one'", (problem,))
    assert main(["list", store]) == 0
    listed, _ = capsys.readouterr().out.split("\n", 1)
    assert listed.endswith(r"nap of another kind  one  \x1b]0;title\x07\r\x0bmore")
    assert main(["log", store, "one"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_log_draws_a_tree(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", store, "greeting-1"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "greeting-1"
    assert lines[-1].endswith('-> "Hello, Trio"')
    assert "\x1b" not in "".join(lines)


def test_a_log_is_followed_to_its_end(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", store, "greeting-1", "--follow"]) == 0
    first, step, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["+0.000", "greeting", "started"]
    assert step.split()[1:3] == ["1", "greet,"]
    assert step.endswith('-> "Hello, Trio"')
    assert last.endswith("the workflow completed")


def test_a_log_is_followed_while_it_grows(store: str) -> None:
    """Each line is there when its row is, though the output is no terminal."""
    command = [sys.executable, "-m", "nurselog", "log", store, "waiting-1", "--follow"]

    async def fill() -> None:
        async with open_engine(store, [waiting]) as engine:
            handle = await engine.submit(waiting, id="waiting-1")
            async with trio.open_nursery() as nursery:
                process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE))
                said = b""
                while b"started" not in said:
                    said += await process.stdout.receive_some()
                await engine.send("waiting-1", "word", "go")
                while some := await process.stdout.receive_some():
                    said += some
            await handle.result()
        assert b"received in mailbox 'word' -> \"go\"" in said
        assert said.endswith(b"the workflow completed\n")

    trio.run(fill)


def test_on_a_terminal_the_tree_has_colours(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["log", store, "greeting-1"]) == 0
    assert "greeting started" in capsys.readouterr().out


def test_a_workflow_that_is_not_there_is_an_error_in_words(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", store, "greeting-2"]) == 1
    assert capsys.readouterr().err == "nurselog: there is no workflow 'greeting-2' in this store\n"


def test_a_workflow_is_deleted(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete", store, "greeting-1"]) == 0
    assert main(["list", store]) == 0
    assert capsys.readouterr().out == ""
    assert main(["delete", store, "greeting-1"]) == 1
    assert capsys.readouterr().err == "nurselog: there is no workflow 'greeting-1' in this store\n"


def test_what_has_not_ended_is_not_deleted(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def begin() -> None:
        async with open_engine(store, ()) as engine:
            await engine.submit(lasting, id="lasting-1")

    trio.run(begin)
    assert main(["delete", store, "lasting-1"]) == 1
    assert "it has not ended" in capsys.readouterr().err


def test_a_store_that_is_not_in_a_database_is_not_made(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", postgres_url]) == 1
    assert "there is no store" in capsys.readouterr().err
    assert main(["migrate", postgres_url]) == 0
    assert main(["list", postgres_url]) == 0


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.db"
    assert main(["list", f"sqlite:///{missing}"]) == 1
    assert capsys.readouterr().err == f"nurselog: there is no file {missing}\n"
    assert not missing.exists()


def test_a_log_is_exported_for_tests(store: str, tmp_path: Path) -> None:
    whole, redacted = tmp_path / "whole.json", tmp_path / "redacted.json"
    assert main(["export", store, "greeting-1", str(whole)]) == 0
    assert main(["export", store, "greeting-1", str(redacted), "--redact", "*"]) == 0
    assert [one.seq for one in load_log(whole)[:-1]] == [one.seq for one in load_log(redacted)]
    assert load_log(whole)[0] != load_log(redacted)[0]
    assert "greeting-1" in whole.read_text("utf-8"), "code that gives its id to a step wants the same"
    assert "greeting-1" not in redacted.read_text("utf-8"), "digests are left out, so any id will do"
    assert main(["export", store, "greeting-2", str(whole)]) == 1


def test_an_export_makes_its_folder_and_says_what_it_has_not_redacted(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "golden" / "1.json"
    assert main(["export", store, "greeting-1", str(file), "--redact", "name", "--redact", "nmae"]) == 0
    assert capsys.readouterr().err == "nurselog: no value of the log has a field 'nmae': nothing is crossed out there\n"
    assert b"xxxx" in (load_log(file)[0].value or b"")


def test_reading_changes_no_log(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["log", store, "greeting-1"])
    before = capsys.readouterr().out
    main(["list", store])
    main(["log", store, "greeting-1"])
    assert capsys.readouterr().out.endswith(before)


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["demo", "--files", "0"], ["demo", "--kills", "-1"], ["demo", "--workers", "0"]]
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert "usage: nurselog" in capsys.readouterr().err


def test_the_demo_gets_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = "postgresql://user:secret@host/database"
    asked: list[Settings] = []
    monkeypatch.setattr(demo, "run", lambda settings: asked.append(settings) or 7)
    assert main(["demo", "--files", "3", "--kills", "0", "--seed", "5", "--keep", str(tmp_path)]) == 7
    assert main(["demo"]) == 7
    assert main(["demo", "--store", url]) == 7
    assert main(["demo", "--store", url, "--workers", "3", "--restart", "again"]) == 7
    assert asked == [
        Settings(files=3, kills=0, seed=5, keep=tmp_path),
        Settings(files=None, kills=5, seed=1, keep=None),
        Settings(files=None, kills=5, seed=1, keep=None, workers=2, store=url),
        Settings(files=None, kills=5, seed=1, keep=None, workers=3, store=url, restart="again"),
    ]
    assert "secret" not in repr(asked)


def test_a_file_has_no_server_to_restart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--restart", "again"]) == 2
    assert capsys.readouterr().err == "--restart is for a database server: give --store, too.\n"


@pytest.mark.parametrize("store", ["quotes.db", "sqlite:///quotes.db", "postgresql://host/database?schema=No"])
def test_the_demo_wants_the_address_of_a_postgresql_database(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg")
    assert main(["demo", "--store", store]) == 2
    assert "is no address of a" in capsys.readouterr().err


def test_without_its_packages_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rich" else find(name))
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "The demo needs rich. Run: pip install 'nurselog[demo]'\n"


@pytest.mark.parametrize("module", ["nurselog", "nurselog.cli"])
def test_what_is_not_the_demo_imports_none_of_its_packages(module: str) -> None:
    program = f"import sys, {module}; print(*{{'httpx', 'h11', 'rich'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"\n"


@pytest.mark.parametrize("installed", [True, False])
def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, installed: bool
) -> None:
    def version(name: str) -> str:
        if installed:
            return "9.8.7"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"nurselog {'9.8.7' if installed else '(not installed)'}\n"


def test_a_log_may_be_read_in_part(store: str) -> None:
    """Whoever reads may stop, as `head` does."""
    command = [sys.executable, "-m", "nurselog", "log", store, "greeting-1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        run.stdout.close()
        assert run.stderr is not None
        assert run.stderr.read() == ""


def test_an_address_may_have_its_option(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", f"{store}?synchronous=normal"]) == 0
    assert "greeting-1" in capsys.readouterr().out


def test_an_address_that_is_none_is_an_error_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for address, said in (("sqlite:///", "no address of a SQLite store"), ("quotes.db", "no address of a store")):
        assert main(["list", address]) == 2
        assert said in capsys.readouterr().err


def test_a_store_in_memory_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "sqlite://"]) == 0
    assert capsys.readouterr().out == ""


def test_an_empty_file_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    assert main(["list", f"sqlite:///{empty}"]) == 1
    assert capsys.readouterr().err == f"nurselog: {empty} is empty\n"
    assert empty.read_bytes() == b""


def test_an_id_that_is_no_text_is_an_error_in_words(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte that is no character comes from the shell as half of one."""
    assert main(["log", store, "\udcff"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_limit_may_be_large(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", store, "--limit", "9" * 30]) == 0
    assert "greeting-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [(">/dev/full", 1, "nurselog: [Errno 28] No space left on device\n"), (">&-", 0, "")],
    ids=["full", "closed"],
)
def test_an_output_that_takes_nothing(store: str, output: str, code: int, said: str) -> None:
    command = [
        "sh",
        "-c",
        f'exec "$@" {output}',
        "sh",
        sys.executable,
        "-m",
        "nurselog",
        "log",
        store,
        "greeting-1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


def test_an_output_that_knows_only_ascii(store: str) -> None:
    command = [sys.executable, "-m", "nurselog", "log", store, "greeting-1"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2502" in done.stdout


def test_an_output_of_the_caller_s(store: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(["list", store]) == 0
    assert "greeting-1" in output.getvalue()
