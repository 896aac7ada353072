"""Clients and workers are processes of their own, and each of them may be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nurselog import AsyncClient, Status
from tests.client.colours import Colour, play
from tests.client.shop import Receipt


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module until the block ends; then it is killed."""
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def worker(url: str) -> Iterator[subprocess.Popen[str]]:
    with process("nurselog", "worker", "tests.client.shop:SHOP", "--store", url, "--log-level", "error") as running:
        yield running


def test_a_worker_is_killed_while_a_client_waits(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit("tells", 2, id="t")
        items, entries = aiter(handle.follow("numbers", int)), aiter(handle.follow_log())
        seen = [await anext(entries)]
        for number in range(2):
            with worker(url):
                assert (await anext(items)).value == number
                seen.append(await anext(entries))
            await client.send("t", "more", 0)
        with worker(url):
            assert await handle.result() is None
            with pytest.raises(StopAsyncIteration):
                await anext(items)
        assert await handle.status() is Status.COMPLETED
        assert [*seen, *[entry async for entry in entries]] == await handle.log()

    play(colour, url, scene)


def test_a_client_is_killed_while_it_starts_workflows(url: str) -> None:
    """What it was told is there is there, and what it was not told is there whole or not at all."""
    with process("tests.client.asker", url) as asker:
        assert asker.stdout is not None
        told = [int(asker.stdout.readline()) for _ in range(5)]

    async def scene(client: AsyncClient) -> None:
        there = await client.list(prefix="o-")
        assert {f"o-{number}" for number in told} <= {info.id for info in there}
        with worker(url):
            for info in there:
                number = int(info.id.removeprefix("o-"))
                assert await (await client.get(info.id, Receipt)).result() == Receipt(3 * number, 0)

    play(Colour.ASYNCIO, url, scene)
