"""Banks: where transactions run, in the store's own database or in another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from nurselog._stores._sqlite.schema import connect
from nurselog._stores.sqlite import parse_url
from tests.transactions.bank import Bank


@pytest.fixture(params=["file", "postgres", "shards", "shop file", "shop postgres"])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Bank:
    """One after the other: what a transaction does must not depend on where it runs."""
    return make_bank(request, tmp_path)


@pytest.fixture(params=["file", "postgres"])
def own_bank(request: pytest.FixtureRequest, tmp_path: Path) -> Bank:
    """Those in the store's own database."""
    return make_bank(request, tmp_path)


@pytest.fixture(params=["postgres", "shop postgres"])
def server_bank(request: pytest.FixtureRequest, tmp_path: Path) -> Bank:
    """Those in PostgreSQL."""
    return make_bank(request, tmp_path)


def make_bank(request: pytest.FixtureRequest, folder: Path) -> Bank:
    file = f"sqlite:///{folder / 'log.db'}"
    connect(parse_url(file)).close()  # a file that is to be a store must not begin with somebody else's tables
    match request.param:
        case "file":
            return Bank(file)
        case "shop file":
            return Bank(file, f"sqlite:///{folder / 'shop.db'}")
        case "shop postgres":
            return Bank(file, request.getfixturevalue("postgres_url"))
        case kind:
            url = request.getfixturevalue("postgres_url")
            return Bank(f"{url}&shards=4" if kind == "shards" else url)
