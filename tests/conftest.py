"""What all tests share: how often the generated ones repeat."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def scale() -> int:
    """How many times as many programs, kills and rounds a generated test tries; `nox -s long` sets 100."""
    return int(os.environ.get("NURSELOG_TEST_SCALE", "1"))
