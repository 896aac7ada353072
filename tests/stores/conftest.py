"""Stores to test: in memory, in a file in the folder of the test, and in a PostgreSQL database that is empty.

With `NURSELOG_TEST_CITUS=postgresql://...` (a superuser's address on a cluster's coordinator) also distributed ones.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from nurselog._stores._sqlite import beacon
from nurselog.testing.stores.records import StandingClock
from tests.stores.kit import behind

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where this is needed
    from nurselog._stores._postgres.migrate import migrate

collect_ignore_glob = [] if importlib.util.find_spec("psycopg") else ["test_postgres_*.py"]
"""Tests of the driver and of psycopg's errors say nothing without it; those of all stores are skipped one by one."""

CITUS = "NURSELOG_TEST_CITUS"
DISTRIBUTED = ["citus"] if CITUS in os.environ else []

_numbers = itertools.count()


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def file_url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def citus_url() -> Iterator[str]:
    """A schema of the test's own on the cluster."""
    given = os.environ[CITUS]
    schema = f"nurselog_test_{os.getpid()}_{next(_numbers)}"
    url = f"{given}{'&' if '?' in given else '?'}schema={schema}"
    trio.run(partial(migrate, url, 8, distribute=True))
    yield url
    with behind(url) as admin:
        admin.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file be locked, as on some network file systems."""

    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(beacon, "flock", refuse)


@pytest.fixture(params=["memory", "file", "postgres", "shards", *DISTRIBUTED])
def url(request: pytest.FixtureRequest) -> str:
    """One address after the other: what a store does must not depend on where it is."""
    return address(request)


@pytest.fixture
def ordered(request: pytest.FixtureRequest) -> bool:
    """Whether the store at `url` has one order for all workflows; several shards have one each."""
    return request.node.callspec.params["url"] in {"memory", "file", "postgres"}


@pytest.fixture(params=["file", "postgres", "shards", *DISTRIBUTED])
def shared_url(request: pytest.FixtureRequest) -> str:
    """Those that several processes may use at the same time."""
    return address(request)


@pytest.fixture(params=["file", "postgres", "shards"])
def lit_url(request: pytest.FixtureRequest) -> str:
    """Those that have beacons, by which the death of a process is seen at once."""
    return address(request)


def address(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "sqlite://"
    fixtures = {"file": "file_url", "postgres": "postgres_url", "shards": "postgres_url", "citus": "citus_url"}
    found: str = request.getfixturevalue(fixtures[request.param])
    return f"{found}&shards=8" if request.param == "shards" else found
