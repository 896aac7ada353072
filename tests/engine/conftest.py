"""Engines on files are tried on PostgreSQL, too."""

from __future__ import annotations

import contextlib

import pytest

from tests.engine import rig
from tests.inline import BlockingSockets

with contextlib.suppress(ImportError):  # psycopg may not be there: then no test comes to where these are needed
    from nurselog._stores._postgres.driver import TrioConnection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that has a folder puts a store into it: then it runs once on a file, and once on a database."""
    if "tmp_path" in metafunc.fixturenames and "autojump_clock" in metafunc.fixturenames:
        metafunc.fixturenames.append("place")
        metafunc.parametrize("place", ["file", "postgres"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "postgres":
        monkeypatch.setattr(rig, "postgres", request.getfixturevalue("postgres_url"))
        monkeypatch.setattr(TrioConnection, "sockets", BlockingSockets())
