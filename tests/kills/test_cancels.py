"""What is cancelled in one process stops in another: a running step, and many at once."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import trio

from nurselog import Status, open_engine
from tests.house.tree import ROOT
from tests.kills.lines import Lines

COUNT = 200


async def test_steps_in_another_process_are_cancelled(url: str) -> None:
    """First one of them, and no other stops; then all that are left, at once."""
    command = [sys.executable, "-m", "tests.kills.sleeper", url, str(COUNT)]
    async with trio.open_nursery() as nursery:
        sleeper = partial(trio.run_process, command, cwd=ROOT, stdin=b"", stdout=subprocess.PIPE)
        process: trio.Process = await nursery.start(sleeper)
        with trio.fail_after(120):
            await speak_with(process, url)


async def speak_with(process: trio.Process, url: str) -> None:
    heard = Lines(process)
    assert await heard.next() == ["ready"]
    async with open_engine(url, []) as engine:
        await engine.cancel("sleeper-7", "no more of this")
        assert (await heard.next())[:2] == ["stopped", "sleeper-7"]
        others = {f"sleeper-{number}" for number in range(COUNT)} - {"sleeper-7"}
        assert {info.id for info in await engine.list(status=[Status.RUNNING], limit=COUNT)} == others
        async with trio.open_nursery() as calls:
            for id in others:
                calls.start_soon(engine.cancel, id)
        assert {(await heard.next())[1] for _ in others} == others
        await process.wait()
        assert {info.status for info in await engine.list(limit=COUNT)} == {Status.CANCELLED}
