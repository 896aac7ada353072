"""`nurselog worker`, called as a function; where a signal ends the process, as a program."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from nurselog import Engine, Status, Workflow, open_engine, step, workflow
from nurselog.cli import main, worker
from nurselog.cli.logs import FORMATS
from tests.postgres_server import skip_without_psycopg

STORE = "sqlite:///shop.db"
PROGRAM = [sys.executable, "-m", "nurselog", "worker", "shop", "--store", STORE]


@step
async def act() -> None:
    await trio.sleep_forever()


@workflow
async def job() -> None:
    await act()


JOB = """
import os, signal, warnings
from pathlib import Path
import trio
from nurselog import step, workflow

@step
async def act() -> None:
    {act}

@workflow
async def job() -> None:
    await act()
"""
"""The same workflow, with a step that does what a test is about."""

Write = Callable[[str], None]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes the module `shop` into a folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(code: str) -> None:
        Path("shop.py").write_text(code, "utf-8")

    yield write
    for name in ("shop", "stock"):
        sys.modules.pop(name, None)


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine is told; as soon as it is open, the worker gets a signal."""
    told: dict[str, Any] = {}

    @asynccontextmanager
    async def open_and_stop(
        store: str, workflows: Sequence[Workflow[..., Any]], **kwargs: Any
    ) -> AsyncIterator[Engine]:
        told.update(kwargs)
        async with open_engine(store, workflows, **kwargs) as engine:
            signal.raise_signal(signal.SIGTERM)
            yield engine

    monkeypatch.setattr(worker, "open_engine", open_and_stop)
    return told


def submit() -> None:
    """Leave a workflow that is due in the store."""

    async def leave() -> None:
        async with open_engine(STORE, [job]) as engine:
            await engine.submit(job, id="job-1")

    trio.run(leave)


def work(*arguments: str) -> int:
    return main(["worker", "shop", "--store", STORE, *arguments])


def messages(said: str) -> list[str]:
    """Return what the lines of a log say, each of which begins as it should."""
    found = [
        re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) +([\w.]+): (.*)", line) for line in said.splitlines()
    ]
    return [" ".join(line.groups()) if line else "" for line in found]


# -- stopping ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_it_in_order(
    shop: Write, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    submit()
    shop(JOB.format(act=f"signal.raise_signal({number:d}); await trio.sleep_forever()"))
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    assert work() == code
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    output = capsys.readouterr()
    assert output.out == ""
    assert messages(output.err) == [
        "INFO nurselog up, runs job on sqlite:///shop.db",
        f"INFO nurselog stops, asked by {number.name}; workflows in memory: 1",
        "INFO nurselog has stopped",
    ]

    async def look() -> None:
        async with open_engine(STORE, ()) as engine:
            handle = await engine.get("job-1")
            assert await handle.status() is Status.RUNNING
            assert [type(entry.event).__name__ for entry in await handle.log()] == ["Started", "Claimed"]

    trio.run(look)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(shop: Write, second: signal.Signals) -> None:
    """Also where nothing else moves: the step waits for nothing between the two."""
    submit()
    shop(JOB.format(act=f"signal.raise_signal(signal.SIGTERM); signal.raise_signal({second:d})"))
    done = subprocess.run(PROGRAM, capture_output=True, text=True, check=False)
    assert done.returncode == -second
    assert messages(done.stderr) == ["INFO nurselog up, runs job on sqlite:///shop.db"]


def test_a_store_that_breaks_ends_it(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    submit()
    shop(JOB.format(act="[file.unlink() for file in Path().glob('shop.db*')]"))
    assert work() == 1
    *_, last = messages(capsys.readouterr().err)
    assert last.startswith("ERROR nurselog sqlite:///shop.db: the file ")
    assert "was deleted or replaced" in last


def test_a_step_that_exits_is_a_failure(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever looks after the process would take 0 for an end in order."""
    submit()
    shop(JOB.format(act="raise SystemExit(0)"))
    assert work() == 1
    said = capsys.readouterr().err
    assert "ERROR nurselog the worker has failed" in messages(said)
    assert "    SystemExit: 0\n" in said


# -- what it runs --------------------------------------------------------------------------------

STOCK = """
from nurselog import workflow

async def other() -> None: ...

one = workflow(name="one")(other)
two = workflow(name="two")(other)
alias = two
"""
"""Three names for two workflows."""


@pytest.mark.parametrize(
    ("code", "target", "runs"),
    [
        ("from stock import one\nfrom stock import alias, two\nimport stock", "shop", "one, two"),
        ("import stock\nfrom stock import one, two", "shop:two", "two"),
        ("import stock\nfast = [stock.two, stock.one]", "shop:fast", "one, two"),
        ("import stock\nfast = (one for one in {stock.one})", "shop:fast", "one"),
    ],
)
@pytest.mark.usefixtures("options")
def test_what_it_runs(shop: Write, capsys: pytest.CaptureFixture[str], code: str, target: str, runs: str) -> None:
    Path("stock.py").write_text(STOCK, "utf-8")
    shop(code)
    assert main(["worker", target, "--store", STORE]) == 0
    first, *_ = messages(capsys.readouterr().err)
    assert first == f"INFO nurselog up, runs {runs} on sqlite:///shop.db"


@pytest.mark.parametrize(
    ("code", "target", "said"),
    [
        ("", "ship", "there is no module 'ship', in "),
        ("", "ship.yard", "there is no module 'ship.yard', in "),
        ("", "shop.py", "there is no module 'shop.py' (write it without .py), in "),
        ("", "shop", "there is no workflow at the top level of module 'shop'"),
        ("", "shop:fast", "there is no 'fast' in module 'shop'"),
        ("fast = []", "shop:fast", "there is no workflow in 'fast' of module 'shop'"),
        ("async def fast(): ...", "shop:fast", "there is no workflow in 'fast' of module 'shop'"),
        ("fast = None", "shop:fast", "there is no workflow in 'fast' of module 'shop'"),
        ("fast = ['order']", "shop:fast", "'order' is no workflow: decorate the function with @workflow"),
        (
            "import nurselog, trio\nfast = map(nurselog.workflow(name='a'), (trio.sleep, trio.sleep_until))",
            "shop:fast",
            "two functions are recorded as workflow 'a'",
        ),
    ],
)
def test_what_is_no_workflow(
    shop: Write, capsys: pytest.CaptureFixture[str], code: str, target: str, said: str
) -> None:
    shop(code)
    assert main(["worker", target, "--store", STORE]) == 2
    [line] = messages(capsys.readouterr().err)
    assert line.startswith(f"ERROR nurselog {said}")
    assert not Path("shop.db").exists()


@pytest.mark.parametrize("target", ["", ":", "shop:", ".shop", "shop.", "shop..orders"])
def test_what_names_nothing(capsys: pytest.CaptureFixture[str], target: str) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["worker", target, "--store", STORE])
    assert refused.value.code == 2
    assert "write MODULE or MODULE:ATTR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import ship", "ModuleNotFoundError: No module named 'ship'"),
        ("from nurselog import ship", "ImportError: cannot import name 'ship' from 'nurselog'"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_raises_has_its_traceback_shown(
    shop: Write, capsys: pytest.CaptureFixture[str], code: str, raised: str
) -> None:
    shop(code)
    assert work() == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert messages(first)[0].startswith("ERROR nurselog module 'shop' cannot be imported: ")
    assert rest[0] == "    Traceback (most recent call last):"
    assert any(line.endswith(('shop.py", line 1, in <module>', 'shop.py", line 1')) for line in rest)
    assert rest[-1].startswith(f"    {raised}")


def test_a_list_that_cannot_be_read(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    shop("fast = map(int, ['order'])")
    assert main(["worker", "shop:fast", "--store", STORE]) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert messages(first) == ["ERROR nurselog the worker has failed"]
    assert last == "    ValueError: invalid literal for int() with base 10: 'order'"


# -- stores --------------------------------------------------------------------------------------


def refused(store: str, code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is said of a store, in one line, by a worker that ends with this code."""
    assert main(["worker", "shop", "--store", store]) == code
    [line] = messages(capsys.readouterr().err)
    assert line.startswith("ERROR nurselog ")
    return line.removeprefix("ERROR nurselog ")


def test_addresses_that_are_none(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    shop(JOB.format(act="..."))
    assert "no address of a store" in refused("shop.db", 2, capsys)
    assert "no address of a SQLite store" in refused("sqlite:///", 2, capsys)
    assert "'mongo://me:***@host' is no address" in refused("mongo://me:secret@host", 2, capsys)
    assert "in the worker's own memory" in refused("sqlite://", 2, capsys)


def test_a_store_that_cannot_be_opened(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    shop(JOB.format(act="..."))
    assert "does its folder exist" in refused("sqlite:///nowhere/shop.db", 1, capsys)
    Path("text.db").write_text("no database" * 1000, "utf-8")
    assert "no SQLite database" in refused("sqlite:///text.db", 1, capsys)


def test_a_store_of_a_newer_release(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    shop(JOB.format(act="..."))
    submit()
    with closing(sqlite3.connect("shop.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "has schema version 99" in refused(STORE, 1, capsys)


def test_a_store_that_is_read_only(
    shop: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop(JOB.format(act="..."))
    folder = Path(tempfile.mkdtemp())  # not `tmp_path`, into which not everybody may look
    monkeypatch.setattr(sys, "path", [str(Path.cwd()), *sys.path])
    try:
        monkeypatch.chdir(folder)
        submit()
        Path("shop.db").chmod(0o444)
        folder.chmod(0o555)
        importlib.import_module("shop")  # its folder may not be looked into later
        root = os.geteuid() == 0  # for whom nothing is read-only
        if root:
            os.seteuid(65534)
        try:
            assert "read-only" in refused(STORE, 1, capsys)
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)
    finally:
        shutil.rmtree(folder)


def test_a_server_that_is_not_there(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    skip_without_psycopg()
    shop(JOB.format(act="..."))
    said = refused("postgresql://me:secret@127.0.0.1:1/shop", 1, capsys)
    assert said.startswith("postgresql://me:***@127.0.0.1:1/shop: the server cannot be reached just now")
    assert "secret" not in said


def test_without_psycopg(shop: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shop(JOB.format(act="..."))
    monkeypatch.setitem(sys.modules, "nurselog._stores.postgres", None)
    assert "pip install 'nurselog[postgres]'" in refused("postgresql:///shop", 2, capsys)


# -- options and the log -------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--grace", "--lease", "--retention"])
def test_times_that_make_no_sense(shop: Write, capsys: pytest.CaptureFixture[str], option: str) -> None:
    shop(JOB.format(act="..."))
    assert work(option, "0") == 2
    assert f"{option[2:]} must be a number of seconds, more than 0, not 0.0" in capsys.readouterr().err


def test_the_engine_gets_the_options(shop: Write, options: dict[str, Any]) -> None:
    shop(JOB.format(act="..."))
    counts = ("--max-running", "3", "--max-threads", "2", "--max-processes", "4")
    bounds = (*counts, "--max-payload", "99", "--max-inbox", "8")
    databases = ("--database", "shop=sqlite:///shop.db", "--database", "bank=sqlite:///a=b.db")
    assert work(*databases, *bounds, "--lease", "7", "--grace", ".5", "--retention", "9") == 0
    assert options == {
        "databases": {"shop": "sqlite:///shop.db", "bank": "sqlite:///a=b.db"},
        "max_running": 3,
        "max_threads": 2,
        "max_processes": 4,
        "max_payload": 99,
        "max_inbox": 8,
        "lease": 7,
        "grace": 0.5,
        "retention": 9,
        "codec": None,
        "instruments": (),
    }


def test_the_engine_gets_the_codec(shop: Write, options: dict[str, Any]) -> None:
    shop(JOB.format(act="...") + "from nurselog.codecs import CompressedCodec\ncodec = CompressedCodec()")
    assert work("--codec", "shop:codec") == 0
    assert options["codec"] is sys.modules["shop"].codec


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("shop", "the codec in module 'shop' has a name: write --codec shop:NAME"),
        ("shop:codec", "there is no 'codec' in module 'shop'"),
        ("shop:act", "codec must have the interface of nurselog.abc.Codec: "),
        ("ship:codec", "there is no module 'ship', in "),
    ],
)
def test_what_is_no_codec(shop: Write, capsys: pytest.CaptureFixture[str], target: str, said: str) -> None:
    shop(JOB.format(act="..."))
    assert work("--codec", target) == 2
    assert f"ERROR   nurselog: {said}" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["shop", "=sqlite:///shop.db", "shop="])
def test_what_is_no_database(shop: Write, capsys: pytest.CaptureFixture[str], text: str) -> None:
    shop(JOB.format(act="..."))
    with pytest.raises(SystemExit, match="2"):
        work("--database", text)
    assert "write NAME=URL, as in open_engine(databases={NAME: URL})" in capsys.readouterr().err


def test_the_defaults_are_the_engine_s(shop: Write, options: dict[str, Any]) -> None:
    shop(JOB.format(act="..."))
    assert work() == 0
    engine = inspect.signature(open_engine).parameters
    assert len(options) == 11
    assert options == {name: engine[name].default for name in options}


def test_the_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["worker", "--help"])
    _, _, codes = capsys.readouterr().out.partition("exit codes:\n")
    assert [line.split()[0] for line in codes.splitlines()] == ["0", "1", "2", "130"]


def test_a_log_for_programs(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    submit()
    shop(JOB.format(act="signal.raise_signal(signal.SIGTERM); await trio.sleep_forever()"))
    assert work("--log-format", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line.pop("time")).utcoffset() == timedelta()
    assert lines == [
        {"level": "info", "logger": "nurselog", "message": message}
        for message in (
            "up, runs job on sqlite:///shop.db",
            "stops, asked by SIGTERM; workflows in memory: 1",
            "has stopped",
        )
    ]


def test_an_error_for_programs_has_its_traceback(shop: Write) -> None:
    """Also one whose text no encoding can write; as a program, for test runners cannot either."""
    shop("raise ValueError('\\udcff\\n')")
    done = subprocess.run([*PROGRAM, "--log-format", "json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert line.keys() == {"time", "level", "logger", "message", "error"}
    assert line["level"] == "error"
    assert line["error"].startswith("Traceback (most recent call last):\n")
    assert line["error"].endswith("ValueError: \udcff\n")


def test_no_text_steers_the_terminal_or_passes_for_a_line(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    shop("import logging\nlogging.getLogger('a').error('one\\n2026-01-01 \\x1b[2J')")
    assert work() == 2
    _, second, _ = capsys.readouterr().err.splitlines()
    assert second == r"    2026-01-01 \x1b[2J"


def test_the_log_has_what_the_level_lets_through(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    shop("import logging\nlogging.getLogger('a').warning('one')\nlogging.getLogger('a').debug('two')")
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    for level, count in (("debug", 3), ("info", 2), ("warning", 2), ("error", 1)):
        sys.modules.pop("shop", None)
        assert work("--log-level", level) == 2
        assert len([line for line in messages(capsys.readouterr().err) if " a " in line]) == count - 1
    assert (root.level, root.handlers) == before


@pytest.mark.parametrize(
    ("form", "begins"), [("text", "1970-01-01 00:00:00,000 "), ("json", '{"time": "1970-01-01T00:00:00.000+00:00", ')]
)
def test_times_are_in_utc(monkeypatch: pytest.MonkeyPatch, form: str, begins: str) -> None:
    record = logging.makeLogRecord({"created": 0.0, "msecs": 0.0})
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert time.localtime(0).tm_hour == 9
        assert FORMATS[form]().format(record).startswith(begins)
    time.tzset()


def test_warnings_are_lines_of_the_log(shop: Write, capsys: pytest.CaptureFixture[str]) -> None:
    shop("import warnings\nwarnings.warn('that is old', stacklevel=1)")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert work() == 2
    first, *_ = messages(capsys.readouterr().err)
    assert first.startswith("WARNING py.warnings ")
    assert "that is old" in first
