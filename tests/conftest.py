"""What all tests share: how often the generated ones repeat."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from nurselog._flow.workflow import registry
from tests.postgres_server import Databases, PostgresServer, given_server, running_server, skip_without_psycopg


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times as many programs, kills and rounds a generated test tries; `nox -s long` sets 100."""
    return int(os.environ.get("NURSELOG_TEST_SCALE", "1"))


@pytest.fixture(scope="session", autouse=True)
def _control_c() -> None:
    """Hear Control-C: what a script runs in the background ignores it, and tests of it would wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _only_its_own_workflows(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hide the workflows of other test modules: an engine that is told of none takes all that there are."""
    before = dict(registry)
    for key in before:
        if key[0].rpartition(".")[2].startswith("test_") and key[0] != request.module.__name__:
            del registry[key]
    yield
    registry.clear()
    registry.update(before)


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Databases on a server that no test harms: the one that the environment names, or one of our own."""
    skip_without_psycopg()
    if url := given_server():
        pool = Databases(url)
        yield pool
        pool.drop_all()
    else:
        with running_server() as server:
            yield Databases(server.url)


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """An empty database."""
    with databases.lend() as url:
        yield url


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that the test may stop, kill and start again; what it has committed survives that."""
    with running_server(fsync=True) as own:
        yield own
