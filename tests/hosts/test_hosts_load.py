"""A web application under load, killed in the middle: each order that it has accepted ends, and ends once.

How many orders the environment may say: `nox -s hosts` asks for a thousand.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, cast

import httpx
import pytest

from nurselog import Client
from nurselog.lowlevel import Ended
from tests.hosts.serving import PATIENCE, Server, example, place, sales

ORDERS = int(os.environ.get("NURSELOG_ORDERS", "60"))
AT_ONCE = min(50, ORDERS // 3)
"""Requests that are under way."""
HOST = "fastapi_on_uvicorn.py"


@dataclass
class Buyers:
    """Customers who ask until they have an answer, each time with the same key."""

    wanted: list[str]
    answers: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    up: Event = field(default_factory=Event)
    """Whether the server runs, as far as is known."""
    half: Event = field(default_factory=Event)

    def told(self, server: Server) -> None:
        """Hear where the server is."""
        self.url = server.url
        self.up.set()

    def buy_all(self) -> None:
        limits = httpx.Limits(max_connections=AT_ONCE)
        with httpx.Client(timeout=PATIENCE, limits=limits) as client, ThreadPoolExecutor(AT_ONCE) as threads:
            for _ in threads.map(self.buy, [client] * len(self.wanted), self.wanted):
                pass

    def buy(self, client: httpx.Client, key: str) -> None:
        self.answers[key] = self.insist(client, key)
        if 2 * len(self.answers) >= len(self.wanted):
            self.half.set()

    def insist(self, client: httpx.Client, key: str) -> Any:
        while self.up.wait(PATIENCE):
            try:
                answer = place(client, key, "lamp", 900, self.url)
            except httpx.TransportError:
                continue
            assert answer.status_code == 200, answer.text
            return answer.json()
        raise AssertionError("there is no server any more")


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    return cast("str", request.getfixturevalue("postgres_url"))


def test_each_accepted_order_ends_once(url: str, tmp_path: Path) -> None:
    buyers, environment = Buyers([f"order-{number}" for number in range(ORDERS)]), {"SHOP_STORE": url}
    with Client(url) as store, ThreadPoolExecutor() as threads:
        with example(HOST, tmp_path, environment) as server:
            bought = threads.submit(buyers.buy_all)
            buyers.told(server)
            assert buyers.half.wait(PATIENCE)
            buyers.up.clear()
            server.stop(signal.SIGKILL)
        accepted = [found.id for found in store.list(limit=ORDERS)]
        assert len(buyers.answers) < len(accepted) < ORDERS  # it died in the middle of some
        with example(HOST, tmp_path, environment) as server:
            for id_ in accepted:
                store.get(id_).result()  # without anybody who asks for it again
            buyers.told(server)
            bought.result()
            again = Buyers(buyers.wanted)
            again.told(server)
            again.buy_all()
            server.stop(signal.SIGTERM)
        assert again.answers == buyers.answers
        for id_ in buyers.wanted:
            handle = store.get(id_)
            assert handle.result() == buyers.answers[id_]
            log = handle.log()
            assert [entry for entry in log if isinstance(entry.event, Ended)] == [log[-1]]
    assert sorted(sales(tmp_path)) == sorted((id_, answer["number"]) for id_, answer in buyers.answers.items())
