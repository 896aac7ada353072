"""Crawl a small web with four workers, channels between them, and a time limit.

    python examples/crawler.py

The coordinator hands out pages through one channel and gets their links back through another one. It waits with
`select` for whatever comes first: a page, or the end of its time. Channels and locks need no record of their own: which
worker takes which page follows from the order in which pages were fetched, and that is in the log.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

from nurselog import (
    MemoryReceiveChannel,
    MemorySendChannel,
    after,
    open_engine,
    open_memory_channel,
    open_nursery,
    select,
    step,
    workflow,
)

WORKERS = 4
WEB = {
    "/": ["/moss", "/bark"],
    "/moss": ["/", "/spore"],
    "/bark": ["/beetle", "/moss"],
    "/spore": [],
    "/beetle": ["/larva"],
    "/larva": ["/endless"],
    "/endless": [],
}


@step
async def fetch(page: str) -> list[str]:
    """Fetch a page and return its links; one page never comes."""
    await trio.sleep(60 if page == "/endless" else 0.02)
    return WEB[page]


async def worker(pages: MemoryReceiveChannel[str], found: MemorySendChannel[tuple[str, list[str]]]) -> None:
    async for page in pages:
        await found.send((page, await fetch(page)))


@workflow
async def crawl(start: str, seconds: float) -> list[str]:
    """Return the pages that were reached in time."""
    reached: list[str] = []
    to_fetch, pages = open_memory_channel[str](1000)
    found_in, found = open_memory_channel[tuple[str, list[str]]](0)
    async with open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(worker, pages, found_in)
        seen = {start}
        await to_fetch.send(start)
        time_is_up = after(seconds)
        while len(reached) < len(seen):
            chosen = await select(found, time_is_up)
            if chosen.case is time_is_up:
                break
            page, links = chosen.unwrap()  # type: ignore[misc]  # the other case was excluded
            reached.append(page)
            for link in links:
                if link not in seen:
                    seen.add(link)
                    await to_fetch.send(link)
        nursery.cancel_scope.cancel("enough")
    return reached


async def main(database: Path) -> None:
    async with open_engine(f"sqlite:///{database}") as engine:
        handle = await engine.submit(crawl, "/", 3.0, id="crawl-1")
        print("reached:", *sorted(await handle.result()))
        print("rows in the log:", len(await handle.log()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, Path(folder, "crawl.db"))
