"""The pytest plugin: engines as fixtures, and the logs of a failed test's workflows beside its traceback.

A module of its own outside of the package: pytest imports its plugins in every run, and whoever does not use this one
must not wait for nurselog to be imported. So nothing is, until a fixture is asked for.

The fixtures are plain async ones. pytest-trio takes them in tests that it runs, and AnyIO's plugin in those that it
does.
"""

from __future__ import annotations

import enum
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
    """Leave out tests of a database that there is not; add a test for each log."""
    if not os.environ.get(_POSTGRES):
        items[:] = [item for item in items if not _needs_database(item)]
    folder: Path | None = config.getoption("--nurselog-golden")
    if folder is None:
        return
    found = sorted(folder.rglob("*.json"))
    if not found:
        raise pytest.UsageError(f"--nurselog-golden: there is no log in {folder}")
    items += [cast("Any", _GoldenLog).from_parent(session, name=str(path)) for path in found]


class _GoldenLog(pytest.Item):
    """The log of a real run, which the code of today must follow."""

    obj = None
    """Plugins ask an item for the function that it runs; this one has none."""

    def runtest(self) -> None:
        from nurselog.testing.golden import load_log, replay, workflow_of  # noqa: PLC0415 - see above

        replay(workflow_of(load_log(self.name)), self.name)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from nurselog import UsageError  # noqa: PLC0415 - see above

        if isinstance(excinfo.value, AssertionError | UsageError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return Path(self.name), None, self.name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget what an earlier run of the same test has left: other plugins run tests again."""
    item.stash[_FAILED], item.stash[_LOGS] = False, []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of a failed test: with its call, or with its teardown, where its engines are open until then."""
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    if call.when != "setup" and item.stash.get(_FAILED, False):
        report.sections += [(f"{_TITLE}, {call.when}", text) for text in item.stash[_LOGS]]
        item.stash[_LOGS] = []
    return report


class _Where(enum.Enum):
    """Where a test's store is."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


def _needs_database(item: pytest.Item) -> bool:
    """Whether it runs in PostgreSQL. The fixture is made before a conftest.py can name a database, and cannot know."""
    call: Any = getattr(item, "callspec", None)
    return call is not None and any(one is _Where.POSTGRESQL for one in call.params.values())


@pytest.fixture(params=list(_Where), ids=lambda where: where.value)
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """The address of an empty store: in memory, in a file, and in a database if `NURSELOG_TEST_POSTGRES` names one."""
    match request.param:
        case _Where.MEMORY:
            yield "sqlite://"
        case _Where.SQLITE:
            yield f"sqlite:///{tmp_path / 'nurselog.db'}"
        case _:
            with _schema(os.environ[_POSTGRES]) as url:
                yield url


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
    from nurselog.testing.clock import Hold, hold_in_threads  # noqa: PLC0415 - see above

    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, MockClock):
        pytest.fail("autojump_engine needs a clock that jumps: let the test ask for pytest-trio's autojump_clock, too")
    async with _opened(request, {"clock": VirtualClock()}) as engine:
        hold_in_threads(engine, Hold(clock))
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
    """Draw the logs while they can be read: with pytest-trio, before anybody knows whether the test has failed."""
    import trio  # noqa: PLC0415 - see above

    from nurselog._tree import draw_log  # noqa: PLC0415 - see above

    with trio.CancelScope(shield=True):
        for info in await engine.list(limit=_SHOWN):
            entries = await (await engine.get(info.id)).log()
            text = "\n".join(line.text for line in draw_log(f"{info.id}, {info.status.value}", entries))
            item.stash[_LOGS].append(text)


@contextmanager
def _schema(url: str) -> Generator[str]:
    """Lend a schema of a PostgreSQL database, and drop it."""
    import psycopg  # noqa: PLC0415 - see above
    from psycopg import sql  # noqa: PLC0415 - see above

    from nurselog._stores._postgres.address import parse  # noqa: PLC0415 - see above

    name = f"nurselog_test_{secrets.token_hex(8)}"
    conninfo = parse(url).conninfo
    try:
        yield f"{url}{'&' if '?' in url else '?'}schema={name}"
    finally:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
