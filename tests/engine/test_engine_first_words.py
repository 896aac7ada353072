"""What a parent says to a child that it has started just now."""

from __future__ import annotations

from pathlib import Path

import trio

from nurselog import mailbox, open_engine, open_nursery, send, workflow, workflow_id
from nurselog.abc import Batch
from nurselog.testing import VirtualClock
from tests.engine.rig import Hooked, file_store

Clock = trio.testing.MockClock


@workflow(name="first_words.hears")
async def hears() -> str:
    return await mailbox("words", str).receive()


@workflow(name="first_words.speaks")
async def speaks() -> str:
    async with open_nursery() as nursery:
        child = nursery.go(hears)
        await send(f"{workflow_id()}/{child.path}", "words", "hello")
        return await child.result()


async def test_a_message_to_a_child_waits_until_the_child_is_there(autojump_clock: Clock, tmp_path: Path) -> None:
    """A send leaves its message at once, and what makes the child is still waiting for the commit before it."""
    clock = VirtualClock()
    store = Hooked(file_store(tmp_path / "log.db", clock))

    async def hesitate(batch: Batch) -> None:
        await trio.sleep(1)

    store.before_commit = hesitate
    async with open_engine(store, [speaks, hears], clock=clock) as engine:
        assert await engine.run(speaks, id="w") == "hello"
