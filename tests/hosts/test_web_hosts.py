"""Web applications with an engine inside, one for each kind of host: the same requests have the same answers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from json import dumps
from pathlib import Path

import httpx
import pytest

from nurselog import Client, Status
from tests.hosts.serving import EXAMPLES, PATIENCE, example, place, sales, wait_until_there, wish

STOPPED = {"fastapi_on_uvicorn.py": -signal.SIGTERM, "starlette_on_trio.py": 0, "quart_on_trio.py": 0}
"""The exit codes when they are told to stop; uvicorn dies of the signal, when all is done."""
LARGE = 5_000
"""Cents that somebody must approve."""


@dataclass(frozen=True)
class Shop:
    """A host that runs."""

    client: httpx.Client
    folder: Path


@pytest.fixture(scope="module", params=STOPPED)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with example(request.param, folder) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield Shop(client, folder)


def test_the_same_key_has_the_same_answer(shop: Shop) -> None:
    first, second = [place(shop.client, "twice", "lamp", 900) for _ in range(2)]
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert first.json() == {"order": "twice", "item": "lamp", "cents": 900, "number": dict(sales(shop.folder))["twice"]}
    assert [id for id, _ in sales(shop.folder)].count("twice") == 1


def test_a_key_that_came_with_another_order(shop: Shop) -> None:
    place(shop.client, "taken", "lamp", 900)
    answer = place(shop.client, "taken", "lamp", 901)
    assert answer.status_code == 409
    assert answer.json() == {
        "error": "WorkflowConflict",
        "detail": "Idempotency-Key 'taken' came with another request before. A new request needs a new key",
    }


@pytest.mark.parametrize("key", ["", "a/b", "x" * 201])
def test_a_key_that_is_none(shop: Shop, key: str) -> None:
    answer = place(shop.client, key, "lamp", 900)
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.text


def test_an_order_without_a_key(shop: Shop) -> None:
    answer = shop.client.post("/orders", json=wish("lamp", 900))
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.text


def test_an_order_that_is_none(shop: Shop) -> None:
    assert place(shop.client, "wrong", "lamp", -1).status_code == 422
    assert shop.client.get("/orders/wrong").status_code == 404


def test_an_error_is_an_answer_too(shop: Shop) -> None:
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(place, shop.client, "declined", "piano", LARGE)
        wait_until_there(shop.client, "declined")
        assert shop.client.post("/orders/declined/approval?approved=false").status_code == 202
    for answer in (waiting.result(), place(shop.client, "declined", "piano", LARGE)):
        assert answer.status_code == 402
        assert answer.json() == {"error": "Declined", "detail": "nobody wants to sell the piano for 5000 cents"}
    assert shop.client.post("/orders/declined/approval").status_code == 202  # the first word counts
    assert shop.client.get("/orders/declined").json() == {"status": "failed"}


def test_an_approval_that_nobody_waits_for(shop: Shop) -> None:
    assert shop.client.post("/orders/nowhere/approval").status_code == 404
    assert place(shop.client, "small", "book", 20).status_code == 200
    answer = shop.client.post("/orders/small/approval")
    assert (answer.status_code, answer.json()["error"]) == (409, "WorkflowEnded")


def test_who_hangs_up_cancels_nothing(shop: Shop) -> None:
    url = shop.client.base_url
    with closing(HTTPConnection(url.host, url.port, timeout=PATIENCE)) as connection:
        headers = {"Idempotency-Key": "hung up", "Content-Type": "application/json"}
        connection.request("POST", "/orders", dumps(wish("vase", LARGE)), headers)
        wait_until_there(shop.client, "hung up")
    for _ in range(10):  # the server hears of it
        assert shop.client.get("/orders/hung up").json() == {"status": "running"}
    assert shop.client.post("/orders/hung up/approval").status_code == 202
    assert place(shop.client, "hung up", "vase", LARGE).status_code == 200
    assert [id for id, _ in sales(shop.folder)].count("hung up") == 1


@pytest.mark.parametrize("host", STOPPED)
def test_a_server_that_stops_suspends(host: str, tmp_path: Path) -> None:
    with example(host, tmp_path) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(ask_in_vain, client, "large", LARGE)
            wait_until_there(client, "large")
            assert server.stop(signal.SIGTERM) == STOPPED[host]
        assert waiting.result() != 200
    with Client(f"sqlite:///{tmp_path}/shop.db") as looking:
        assert looking.get("large").status() is Status.RUNNING
        assert [entry.seq for entry in looking.get("large").log()] == [1]
    with example(host, tmp_path) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        assert client.post("/orders/large/approval").status_code == 202
        assert place(client, "large", "vase", LARGE).json()["number"] == 1
    assert sales(tmp_path) == [("large", 1)]


@pytest.mark.parametrize("host", STOPPED)
def test_an_engine_that_breaks(host: str, tmp_path: Path) -> None:
    """On the server's loop it ends the server; in a thread it ends its block, and that the server."""
    with example(host, tmp_path) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        (tmp_path / "shop.db").unlink()
        assert ask_in_vain(client, "small", 900) in {500, 503, None}
        assert server.process.wait(PATIENCE) == (1 if "trio" in host else STOPPED[host])


def ask_in_vain(client: httpx.Client, key: str, cents: int) -> int | None:
    """Order from a server that stops meanwhile; return the status of its answer, if there is one."""
    try:
        return place(client, key, "vase", cents).status_code
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("name", [*STOPPED, "script.py"])
def test_an_example_says_how_to_run_it(name: str) -> None:
    assert f"\n    python examples/hosts/{name}\n" in (EXAMPLES / name).read_text("utf-8")
