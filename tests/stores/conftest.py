"""Stores to test: in memory, in a file in the folder of the test, and in a PostgreSQL database that is empty."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.stores.kit import FakeClock

collect_ignore_glob = [] if importlib.util.find_spec("psycopg") else ["test_postgres_*.py"]
"""Tests of the driver and of psycopg's errors say nothing without it; those of all stores are skipped one by one."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def file_url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture(params=["memory", "file", "postgres", "shards"])
def url(request: pytest.FixtureRequest) -> str:
    """One address after the other: what a store does must not depend on where it is."""
    return address(request)


@pytest.fixture(params=["memory", "file", "postgres"])
def ordered_url(request: pytest.FixtureRequest) -> str:
    """Those that have one order for all workflows; several shards have one each."""
    return address(request)


@pytest.fixture(params=["file", "postgres", "shards"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """Those that several processes may use at the same time."""
    return address(request)


def address(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "sqlite://"
    found: str = request.getfixturevalue("file_url" if request.param == "file" else "postgres_url")
    return f"{found}&shards=8" if request.param == "shards" else found
