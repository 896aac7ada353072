"""Stores to ask, on which an engine runs in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nurselog import Client, open_engine_thread
from tests.client.colours import Colour
from tests.client.shop import SHOP


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is empty."""
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture(params=Colour, ids=lambda colour: colour.value)
def colour(request: pytest.FixtureRequest) -> Colour:
    found: Colour = request.param
    return found


@pytest.fixture(params=[Colour.TRIO, Colour.ASYNCIO], ids=lambda colour: colour.value)
def loop(request: pytest.FixtureRequest) -> Colour:
    """Those that have a loop, and so cancellation."""
    found: Colour = request.param
    return found


@pytest.fixture
def engine(url: str) -> Iterator[Client]:
    """The client of an engine that runs the shop."""
    with open_engine_thread(url, SHOP) as client:
        yield client
