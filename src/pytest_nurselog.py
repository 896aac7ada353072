"""The pytest plugin: engines as fixtures, and the logs of a failed test's workflows beside its traceback.

A module of its own outside of the package: pytest imports its plugins in every run, and whoever does not use this one
must not wait for nurselog to be imported. So nothing is, until a fixture is asked for.

The fixtures are plain async ones. pytest-trio takes them in tests that it runs, and AnyIO's plugin in those that it
does.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from nurselog import Engine

_SHOWN = 5
"""How many logs are shown of a failed test: the newest."""

_FAILED, _LOGS = pytest.StashKey[bool](), pytest.StashKey[list[str]]()
_TITLE = "nurselog: what the log has"
_POSTGRES = "NURSELOG_TEST_POSTGRES"


def pytest_configure(config: pytest.Config) -> None:
    """Explain the marker."""
    config.addinivalue_line("markers", "nurselog(**options): options of open_engine for this test's engine fixtures")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take a folder of logs."""
    parser.getgroup("nurselog").addoption(
        "--nurselog-golden",
        type=Path,
        metavar="DIR",
        help="replay all logs of this folder (see `nurselog export`) by the workflows that the tests import",
    )


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each log."""
    folder: Path | None = config.getoption("--nurselog-golden")
    if folder is None:
        return
    found = sorted(folder.rglob("*.json"))
    if not found:
        raise pytest.UsageError(f"--nurselog-golden: there is no log in {folder}")
    items += [cast("Any", _GoldenLog).from_parent(session, name=str(path)) for path in found]


class _GoldenLog(pytest.Item):
    """The log of a real run, which the code of today must follow."""

    def runtest(self) -> None:
        from nurselog.testing.golden import load_log, replay, workflow_of  # noqa: PLC0415 - see above

        log = load_log(self.name)
        replay(workflow_of(log), log)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from nurselog import UsageError  # noqa: PLC0415 - see above

        if isinstance(excinfo.value, AssertionError | UsageError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return Path(self.name), None, self.name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of a failed test; where its fixtures are still open, remember that it has failed."""
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
        if report.failed:
            report.sections += [(_TITLE, text) for text in item.stash.get(_LOGS, list[str]())]
    return report


def _urls() -> list[str]:
    return ["memory", "sqlite", *(["postgresql"] if os.environ.get(_POSTGRES) else [])]


@pytest.fixture(params=_urls())
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The address of an empty store: in memory, in a file, and in a database if `NURSELOG_TEST_POSTGRES` names one."""
    if request.param == "postgresql":
        with _schema(os.environ[_POSTGRES]) as url:
            yield url
    else:
        yield "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'nurselog.db'}"


@pytest.fixture
async def engine(request: pytest.FixtureRequest) -> AsyncGenerator[Engine]:
    """An open engine on a store in memory."""
    async with _opened(request, {}) as engine:
        yield engine


@pytest.fixture
async def autojump_engine(request: pytest.FixtureRequest) -> AsyncGenerator[Engine]:
    """An open engine in virtual time, for tests whose Trio has a clock that jumps: pytest-trio's `autojump_clock`."""
    import trio  # noqa: PLC0415 - see above
    from trio.testing import MockClock  # noqa: PLC0415 - see above

    from nurselog.testing import VirtualClock  # noqa: PLC0415 - see above

    if not isinstance(trio.lowlevel.current_clock(), MockClock):
        pytest.fail("autojump_engine needs a clock that jumps: let the test ask for pytest-trio's autojump_clock, too")
    async with _opened(request, {"clock": VirtualClock()}) as engine:
        yield engine


@asynccontextmanager
async def _opened(request: pytest.FixtureRequest, options: dict[str, Any]) -> AsyncGenerator[Engine]:
    from nurselog import open_engine  # noqa: PLC0415 - see above
    from nurselog.testing.sanitizer import warn_of, watching  # noqa: PLC0415 - see above

    for marker in request.node.iter_markers("nurselog"):
        options = {**marker.kwargs, **options}
    with watching() as touches:
        async with open_engine("sqlite://", **options) as engine:
            yield engine
            await _keep_logs(request.node, engine)
    warn_of(touches)


async def _keep_logs(item: pytest.Item, engine: Engine) -> None:
    """Draw the logs while they can be read. pytest-trio comes here before the test is known to have failed."""
    import trio  # noqa: PLC0415 - see above

    from nurselog._tree import draw_log  # noqa: PLC0415 - see above

    with trio.CancelScope(shield=True):
        for info in await engine.list(limit=_SHOWN):
            entries = await (await engine.get(info.id)).log()
            text = "\n".join(line.text for line in draw_log(f"{info.id}, {info.status.value}", entries))
            item.stash.setdefault(_LOGS, []).append(text)
            if item.stash.get(_FAILED, False):
                item.add_report_section("teardown", _TITLE, text)


@contextmanager
def _schema(url: str) -> Generator[str]:
    """Lend a schema of a PostgreSQL database, and drop it."""
    import psycopg  # noqa: PLC0415 - see above
    from psycopg import sql  # noqa: PLC0415 - see above

    name = f"nurselog_test_{secrets.token_hex(8)}"
    yield f"{url}{'&' if '?' in url else '?'}schema={name}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
