"""The pytest plugin, in a pytest of its own, under pytest-trio and under AnyIO's plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg
import pytest

HEAD = """
from datetime import UTC
import pytest, trio
from nurselog import now, open_engine, sleep, step, workflow

@step
async def add(one: int, other: int) -> int:
    return one + other

@workflow
async def total(numbers: list[int]) -> int:
    result = 0
    for number in numbers:
        result = await add(result, number)
    return result

@workflow
async def year() -> int:
    await sleep(365 * 86400)
    return now().year
"""


def run(folder: Path, code: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run pytest on a file; return its exit code and what it printed."""
    (folder / "test_it.py").write_text(HEAD + textwrap.dedent(code))
    (folder / "pytest.ini").write_text("[pytest]\nanyio_mode = strict\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *arguments, "test_it.py"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def test_engines_under_pytest_trio(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
        pytestmark = pytest.mark.trio

        async def test_memory(engine):
            assert await engine.run(total, [1, 2, 3]) == 6

        async def test_virtual_time(autojump_clock, autojump_engine):
            assert await autojump_engine.run(year) == 2031

        @pytest.mark.nurselog(max_payload=10)
        async def test_options(engine):
            with pytest.raises(Exception, match="limit is 10"):
                await engine.run(total, list(range(100)))

        async def test_stores(engine_url):
            async with open_engine(engine_url) as engine:
                assert await engine.run(total, [1]) == 1
        """,
        NURSELOG_TEST_POSTGRES="",
    )
    assert code == 0, said
    assert "5 passed" in said


def test_engines_under_anyio(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
        from trio.testing import MockClock

        @pytest.fixture(params=[pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="jumping")])
        def anyio_backend(request):
            return request.param

        pytestmark = pytest.mark.anyio

        async def test_memory(engine, anyio_backend):
            assert await engine.run(total, [1, 2, 3]) == 6

        async def test_virtual_time(anyio_backend, autojump_engine):
            assert await autojump_engine.run(year) == 2031
        """,
        "-p",
        "no:trio",
    )
    assert code == 0, said
    assert "2 passed" in said


@pytest.mark.parametrize("plugin", ["trio", "anyio"])
def test_a_failure_shows_the_logs(tmp_path: Path, plugin: str) -> None:
    code, said = run(
        tmp_path,
        f"""
        pytestmark = pytest.mark.{plugin}

        @pytest.fixture
        def anyio_backend():
            return "trio"

        async def test_it({"engine, anyio_backend" if plugin == "anyio" else "engine"}):
            assert await engine.run(total, [1, 2], id="sum") == 4

        async def test_that({"engine, anyio_backend" if plugin == "anyio" else "engine"}):
            assert await engine.run(total, [1, 2], id="right") == 3
        """,
        *(["-p", "no:trio"] if plugin == "anyio" else []),
    )
    assert code == 1, said
    assert "nurselog: what the log has" in said
    assert "sum, completed" in said
    assert "add, 0 ms -> 3" in said
    assert "right, completed" not in said


@pytest.mark.parametrize("plugin", ["trio", "anyio"])
def test_what_workflow_code_touches_is_a_warning(tmp_path: Path, plugin: str) -> None:
    asks = "engine, anyio_backend" if plugin == "anyio" else "engine"
    code, said = run(
        tmp_path,
        f"""
        import time

        pytestmark = pytest.mark.{plugin}

        @pytest.fixture
        def anyio_backend():
            return "trio"

        @step
        async def may() -> None:
            time.time()

        @workflow
        async def looks() -> None:
            await may()
            time.monotonic()  # here

        async def test_it({asks}):
            await engine.run(looks)

        async def test_that({asks}):
            await engine.run(total, [1])

        @pytest.mark.filterwarnings("error::nurselog.testing.TouchWarning")
        async def test_strictly({asks}):
            await engine.run(looks)
        """,
        "-W",
        "default::nurselog.testing.TouchWarning",
        *(["-p", "no:trio"] if plugin == "anyio" else []),
    )
    assert code == 1, said
    [line] = [
        number for number, line in enumerate((tmp_path / "test_it.py").read_text().splitlines(), 1) if "# here" in line
    ]
    assert f"test_it.py:{line}: TouchWarning: workflow code touches a clock (time.monotonic)" in said
    assert said.count("(time.monotonic)") >= 2
    assert "(time.time)" not in said
    assert "test_strictly" in said[said.index("short test summary") :]
    assert "test_it.py::test_it" not in said[said.index("short test summary") :]


def test_a_clock_that_does_not_jump(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
        @pytest.mark.trio
        async def test_it(autojump_engine):
            pass
        """,
    )
    assert code == 1
    assert "let the test ask for pytest-trio's autojump_clock, too" in said


def test_a_database(tmp_path: Path, postgres_url: str) -> None:
    code, said = run(
        tmp_path,
        """
        @pytest.mark.trio
        @pytest.mark.parametrize("number", [1, 2])
        async def test_stores(engine_url, number):
            async with open_engine(engine_url) as engine:
                assert await engine.run(total, [number], id="one") == number
        """,
        "-k",
        "postgresql",
        NURSELOG_TEST_POSTGRES=f"{postgres_url}{'&' if '?' in postgres_url else '?'}synchronous=normal",
    )
    assert code == 0, said
    assert "2 passed" in said
    with psycopg.connect(postgres_url) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'nurselog%'").fetchall()
    assert not schemas


def test_a_database_that_a_conftest_names(tmp_path: Path) -> None:
    """It is asked for after the plugin was imported."""
    (tmp_path / "conftest.py").write_text("import os\nos.environ['NURSELOG_TEST_POSTGRES'] = 'postgresql:nonsense'\n")
    code, said = run(
        tmp_path,
        """
        def test_stores(engine_url):
            pass
        """,
        NURSELOG_TEST_POSTGRES="",
    )
    assert code == 1, said
    assert "2 passed, 1 error" in said
    assert "'postgresql:nonsense' is no address of a PostgreSQL store" in said


def test_fixtures_of_ones_own_with_the_same_names(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        textwrap.dedent("""
        import enum, pytest

        @pytest.fixture
        def engine():
            return "a motor"

        @pytest.fixture(params=["postgresql", "else"])
        def engine_url(request):
            return request.param
        """)
    )
    code, said = run(
        tmp_path,
        """
        def test_them(engine, engine_url):
            assert engine == "a motor"
            assert engine_url in {"postgresql", "else"}
        """,
        NURSELOG_TEST_POSTGRES="",
    )
    assert code == 0, said
    assert "2 passed" in said


AGAIN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, nextitem=nextitem, log=False)
    item._initrequest()
    runtestprotocol(item, nextitem=nextitem, log=True)
    return True
"""


def run_twice(folder: Path, plugin: str, claim: str) -> tuple[int, str]:
    """Run a test twice, as plugins for flaky ones do; it runs a workflow each time, and claims something."""
    (folder / "conftest.py").write_text(AGAIN)
    return run(
        folder,
        f"""
        pytestmark = pytest.mark.{plugin}
        runs = []

        @pytest.fixture
        def anyio_backend():
            return "trio"

        async def test_it({"engine, anyio_backend" if plugin == "anyio" else "engine"}):
            runs.append(1)
            await engine.run(total, [1, 2], id=f"run-{{len(runs)}}")
            assert {claim}
        """,
        "-rA",
        *(["-p", "no:trio"] if plugin == "anyio" else []),
    )


@pytest.mark.parametrize("plugin", ["trio", "anyio"])
def test_a_test_that_runs_again_shows_the_logs_of_its_last_run(tmp_path: Path, plugin: str) -> None:
    code, said = run_twice(tmp_path, plugin, "False")
    assert code == 1, said
    assert said.count("run-2, completed") == 1, said
    assert "run-1" not in said


@pytest.mark.parametrize("plugin", ["trio", "anyio"])
def test_a_test_that_fails_and_then_passes_shows_no_logs(tmp_path: Path, plugin: str) -> None:
    code, said = run_twice(tmp_path, plugin, "len(runs) > 1")
    assert code == 0, said
    assert "nurselog: what the log has" not in said


def test_golden_logs(tmp_path: Path) -> None:
    def logs(after: str) -> str:
        code = (
            HEAD
            + after
            + """
from nurselog.testing import save_log, VirtualClock

async def main():
    async with open_engine("sqlite://", clock=VirtualClock()) as engine:
        handle = await engine.submit(total, [1, 2])
        await handle.result()
        (__import__("pathlib").Path("golden")).mkdir(exist_ok=True)
        save_log(await handle.log(), "golden/one.json")

trio.run(main)
"""
        )
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
        return "golden"

    code, said = run(tmp_path, "", "--nurselog-golden", logs(""))
    assert code == 0, said
    assert "1 passed" in said
    code, said = run(tmp_path, "", "-o", "trio_mode=true", "--nurselog-golden", "golden")
    assert code == 0, said
    code, said = run(tmp_path, "", "--nurselog-golden", logs("add = step(name='plus')(add.fn)"))
    assert code == 1
    assert "the log has step 'plus'" in said
    assert "test_it.py:" in said
    code, said = run(tmp_path, "", "--nurselog-golden", str(tmp_path / "nowhere"))
    assert code == 4
    assert "there is no log in" in said
    (tmp_path / "golden" / "one.json").write_text("{}")
    code, said = run(tmp_path, "", "--nurselog-golden", "golden")
    assert code == 1
    assert "has no log as save_log writes them" in said
    (tmp_path / "golden" / "one.json").unlink()
    (tmp_path / "golden" / "one.json").mkdir()
    code, said = run(tmp_path, "", "--nurselog-golden", "golden")
    assert code == 1
    assert "IsADirectoryError" in said


def test_nothing_is_imported_that_nobody_asks_for(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        """
        """,
        "--version",
    )
    assert code == 0, said
    (tmp_path / "test_it.py").write_text("import sys\n\ndef test_it():\n    assert 'nurselog' not in sys.modules\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "test_it.py"], cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == 0
