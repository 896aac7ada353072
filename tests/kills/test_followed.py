"""A workflow is followed from one process while others run it, and are killed: each item comes once, and each row."""

from __future__ import annotations

import itertools
import subprocess
import sys

import trio

from nurselog import Engine, Item, WorkflowHandle, WorkflowNotFound, open_engine
from nurselog.lowlevel import Ended, LogEntry
from tests.house.tree import ROOT
from tests.kills.teller import ID

COUNT, LIVES = 60, 3
"""How many numbers are sent, and how many processes are killed on the way."""


async def test_a_reader_sees_each_item_once_while_writers_are_killed(url: str) -> None:
    async with open_engine(url, ()) as engine, trio.open_nursery() as nursery:
        numbers, in_steps, log = list[Item[int]](), list[Item[int]](), list[LogEntry]()
        nursery.start_soon(read, engine, "numbers", numbers)
        nursery.start_soon(read, engine, "in a step", in_steps)
        nursery.start_soon(read_log, engine, log)
        for life in range(LIVES + 1):
            command = [sys.executable, "-m", "tests.kills.teller", url, str(COUNT)]
            process = await trio.lowlevel.open_process(command, cwd=ROOT, stderr=subprocess.DEVNULL)
            while life < LIVES and len(numbers) < (life + 1) * COUNT // (LIVES + 1):  # noqa: ASYNC110 - by and by
                await trio.sleep(0.005)
            if life < LIVES:
                process.kill()
            await process.wait()
    assert [item.value for item in numbers] == list(range(COUNT))
    assert list(dict.fromkeys(item.value for item in in_steps)) == list(range(COUNT)), "at least once, in order"
    assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
    assert isinstance(log[-1].event, Ended)
    for items in (numbers, in_steps):
        assert all(one.position < other.position for one, other in itertools.pairwise(items))
        assert all(one.at <= other.at for one, other in itertools.pairwise(items))


async def found(engine: Engine) -> WorkflowHandle[object]:
    """Wait until somebody has made the workflow."""
    while True:
        try:
            return await engine.get(ID)
        except WorkflowNotFound:
            await trio.sleep(0.01)


async def read_log(engine: Engine, log: list[LogEntry]) -> None:
    """Read the workflow's log, through all of its lives."""
    async for entry in (await found(engine)).follow_log():
        log.append(entry)


async def read(engine: Engine, name: str, items: list[Item[int]]) -> None:
    """Read what a workflow publishes, again and again from where one has got to, until it ends."""
    handle = await found(engine)
    while not await read_some(handle.follow(name, int, after=items[-1].position if items else 0), items):
        pass


async def read_some(channel: trio.abc.ReceiveChannel[Item[int]], items: list[Item[int]]) -> bool:
    """Read until one has got ten more, or to the end; return whether it was the end."""
    async with channel:
        for _ in range(10):
            try:
                items.append(await channel.receive())
            except trio.EndOfChannel:
                return True
    return False
