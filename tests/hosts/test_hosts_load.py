"""A web application under load, killed in the middle: each order that it has accepted ends, and ends once.

How many orders the environment may say: `nox -s hosts` asks for a thousand.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import trio

from nurselog import open_client
from nurselog.lowlevel import Ended
from tests.hosts.serving import PATIENCE, Server, example, sales, wish

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
    up: trio.Event = field(default_factory=trio.Event)
    """Whether the server runs, as far as is known."""
    half: trio.Event = field(default_factory=trio.Event)
    done: trio.Event = field(default_factory=trio.Event)

    def told(self, server: Server) -> None:
        """Hear where the server is."""
        self.url = server.url
        self.up.set()

    async def buy_all(self) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE) as client, trio.open_nursery() as nursery:
            rest = iter(self.wanted)
            for _ in range(AT_ONCE):
                nursery.start_soon(self.buy, client, rest)
        self.done.set()

    async def buy(self, client: httpx.AsyncClient, keys: Iterable[str]) -> None:
        for key in keys:
            self.answers[key] = await self.insist(client, key)
            if 2 * len(self.answers) >= len(self.wanted):
                self.half.set()

    async def insist(self, client: httpx.AsyncClient, key: str) -> Any:
        while True:
            await self.up.wait()
            try:
                answer = await client.post(f"{self.url}/orders", json=wish(key, 900), headers={"Idempotency-Key": key})
            except httpx.TransportError:
                continue
            assert answer.status_code == 200, answer.text
            return answer.json()


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    return cast("str", request.getfixturevalue("postgres_url"))


async def test_each_accepted_order_ends_once(url: str, tmp_path: Path) -> None:
    buyers, environment = Buyers([f"order-{number}" for number in range(ORDERS)]), {"SHOP_STORE": url}
    async with trio.open_nursery() as nursery, open_client(url) as store:
        with example(HOST, tmp_path, environment) as server:
            nursery.start_soon(buyers.buy_all)
            buyers.told(server)
            await buyers.half.wait()
            buyers.up = trio.Event()
            server.stop(signal.SIGKILL)
        accepted = [found.id for found in await store.list(limit=ORDERS)]
        assert len(buyers.answers) < len(accepted) < ORDERS  # it died in the middle of some
        with example(HOST, tmp_path, environment) as server:
            for id_ in accepted:
                await (await store.get(id_)).result()  # without anybody who asks for it again
            buyers.told(server)
            await buyers.done.wait()
            again = Buyers(buyers.wanted)
            again.told(server)
            await again.buy_all()
            server.stop(signal.SIGTERM)
        assert again.answers == buyers.answers
        for id_ in buyers.wanted:
            handle = await store.get(id_)
            assert await handle.result() == buyers.answers[id_]
            log = await handle.log()
            assert [entry for entry in log if isinstance(entry.event, Ended)] == [log[-1]]
    assert sorted(sales(tmp_path)) == sorted((id_, answer["number"]) for id_, answer in buyers.answers.items())
