"""The mirrors over real connections: each fault as an HTTP client meets it, and what a client's end leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from nurselog.demo.mirrors import Mirror, corrupt, start_mirrors
from nurselog.demo.temper import BAD_REQUESTS, TEMPERS, Fault, Temper

BODY = b"import this\n" * 20_000  # more than the socket's buffers take at once


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_bytes(BODY)
    (tmp_path / "package" / "empty.py").write_bytes(b"")
    return tmp_path


@asynccontextmanager
async def mirror_with(root: Path, *faults: Fault) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a mirror that has no other faults than these, without delays."""
    temper = Temper("test", {fault: 1 / len(faults) for fault in faults}, fast=0, slow=0, bad_days=0)
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(Mirror(root, temper, seed=7).serve)  # seed 7 starves none of these files
        async with httpx.AsyncClient(base_url=url, timeout=None) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_a_good_mirror_serves_the_bytes_and_keeps_the_connection(root: Path) -> None:
    async with mirror_with(root, Fault.NONE) as client:
        streams = []
        for _ in range(3):
            response = await client.get("/package/module.py")
            assert (response.status_code, response.content) == (HTTPStatus.OK, BODY)
            streams.append(response.extensions["network_stream"])
        assert len({stream.get_extra_info("client_addr") for stream in streams}) == 1


async def test_an_empty_file_is_served(root: Path) -> None:
    async with mirror_with(root, Fault.NONE) as client:
        assert (await client.get("/package/empty.py")).content == b""


@pytest.mark.parametrize("path", ["/package/none.py", "/package", "/../secret.py", "/%2e%2e/secret.py"])
async def test_nothing_but_files_below_the_root_is_served(root: Path, path: str) -> None:
    (root.parent / "secret.py").write_bytes(b"secret")
    async with mirror_with(root, Fault.NONE) as client:
        response = await client.get(client.base_url.copy_with(raw_path=path.encode()))
    assert response.status_code == HTTPStatus.NOT_FOUND


async def test_the_body_of_a_request_is_ignored(root: Path) -> None:
    async with mirror_with(root, Fault.NONE) as client:
        assert (await client.post("/package/module.py", content=b"please")).content == BODY


async def test_a_mirror_that_refuses_answers_503(root: Path) -> None:
    async with mirror_with(root, Fault.REFUSE) as client:
        assert (await client.get("/package/module.py")).status_code == HTTPStatus.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("name", ["module", "empty"])
async def test_a_body_that_is_cut_short_is_a_protocol_error(root: Path, name: str) -> None:
    async with mirror_with(root, Fault.CUT) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"/package/{name}.py")


@pytest.mark.parametrize("name", ["module", "empty"])
async def test_corrupt_bytes_look_like_a_good_answer(root: Path, name: str) -> None:
    async with mirror_with(root, Fault.CORRUPT) as client:
        response = await client.get(f"/package/{name}.py")
    original = (root / "package" / f"{name}.py").read_bytes()
    assert response.status_code == HTTPStatus.OK
    assert response.content == corrupt(original) != original


async def test_a_stall_gives_half_of_the_body_and_no_more(root: Path) -> None:
    received = bytearray()
    half = trio.Event()

    async def download(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/package/module.py") as response:
            async for chunk in response.aiter_raw():
                received.extend(chunk)
                if len(received) >= len(BODY) // 2:
                    half.set()

    async with mirror_with(root, Fault.STALL) as client, trio.open_nursery() as nursery:
        nursery.start_soon(download, client)
        await half.wait()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert bytes(received) == BODY[: len(BODY) // 2]


async def test_a_stalled_connection_ends_when_the_client_hangs_up(root: Path) -> None:
    temper = Temper("test", {Fault.STALL: 1}, fast=0, slow=0, bad_days=0)
    mirror = Mirror(root, temper, seed=7)
    client_end, server_end = trio.testing.memory_stream_pair()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mirror.converse, server_end)
            await client_end.send_all(b"GET /package/module.py HTTP/1.1\r\nHost: test\r\n\r\n")
            await client_end.receive_some(1)
            await client_end.aclose()  # the nursery ends only if `converse` does


async def test_from_the_fourth_request_on_a_mirror_is_good(root: Path) -> None:
    async with mirror_with(root, Fault.REFUSE) as client:
        answers = [(await client.get("/package/module.py")).status_code for _ in range(BAD_REQUESTS + 2)]
    assert answers == [HTTPStatus.SERVICE_UNAVAILABLE] * BAD_REQUESTS + [HTTPStatus.OK] * 2


async def test_all_mirrors_start_on_loopback_ports_of_their_own(root: Path) -> None:
    async with trio.open_nursery() as nursery:
        urls = await start_mirrors(nursery, root, seed=7)
        nursery.cancel_scope.cancel()
    assert list(urls) == [temper.name for temper in TEMPERS]
    assert len({*urls.values()}) == len(TEMPERS)
    assert all(url.startswith("http://127.0.0.1:") for url in urls.values())
