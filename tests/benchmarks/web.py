"""Measures a request that runs a workflow beside a bare one: `python -m tests.benchmarks.web [REQUESTS]`.

The workflow has one step, and the answer waits for its end. So the difference is made of three commits, one after
another, to a file whose disk is waited for; and on asyncio of the way to the engine's thread and back.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request

from nurselog import open_engine, open_engine_thread, step, workflow
from tests.hosts.serving import serving

HOSTS = {
    "uvicorn, an engine in a thread": [
        "-m",
        "uvicorn",
        "--port",
        "0",
        "--no-access-log",
        f"{__package__}.web:on_asyncio",
    ],
    "Hypercorn, an engine in the loop": [
        "-m",
        "hypercorn",
        "-b",
        "127.0.0.1:0",
        "-k",
        "trio",
        f"{__package__}.web:on_trio",
    ],
}
PATHS = ("/bare", "/workflow")
AT_ONCE = 50
Opening = Callable[..., AbstractAsyncContextManager[Any]]


@step
async def quote() -> float:
    return 12.5


@workflow(name="quoted on the web")
async def quoted() -> float:
    return await quote()


def application(opening: Opening) -> FastAPI:
    """Make the same application for both loops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        async with opening("sqlite:///web.db", [quoted]) as engine:
            yield {"engine": engine}

    app = FastAPI(lifespan=lifespan)

    @app.post("/bare")
    async def bare() -> float:
        return 12.5

    @app.post("/workflow")
    async def run(request: Request) -> float:
        found: float = await request.state.engine.run(quoted)
        return found

    return app


on_asyncio = application(open_engine_thread)
on_trio = application(open_engine)


def ask(address: str, path: str, count: int) -> list[float]:
    """Ask so many times, over one connection; return the seconds of each."""
    taken = []
    with closing(HTTPConnection(address)) as connection:
        for _ in range(count):
            began = time.perf_counter()
            connection.request("POST", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"12.5")
            taken.append(time.perf_counter() - began)
    return taken


def figures(address: str, path: str, count: int) -> str:
    """Measure requests one after another, and many at once."""
    ask(address, path, 20)
    alone = ask(address, path, count)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        began = time.perf_counter()
        list(threads.map(ask, [address] * AT_ONCE, [path] * AT_ONCE, [count // AT_ONCE] * AT_ONCE))
        rate = count // AT_ONCE * AT_ONCE / (time.perf_counter() - began)
    p50, p99 = statistics.median(alone), statistics.quantiles(alone, n=100)[98]
    return f"p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms; {AT_ONCE} at once: {rate:,.0f}/s"


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if sys.argv[1:] else 1_000
    for title, command in HOSTS.items():
        with tempfile.TemporaryDirectory() as folder, serving(command, Path(folder)) as server:
            for path in PATHS:
                print(f"{title}, {path}: {figures(server.url.removeprefix('http://'), path, count)}", flush=True)


if __name__ == "__main__":
    main()
