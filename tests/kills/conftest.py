"""Stores that several processes may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One address after the other."""
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'log.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found
