"""Stores to test: in memory and in a file, in the folder of the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stores.kit import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def file_url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, file_url: str) -> str:
    """One address after the other: what a store does must not depend on where it is."""
    return file_url if request.param == "file" else "sqlite://"
