"""A parent, its children, and what they say to each other: a story that is cut at each of its writes, and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import trio

from nurselog import (
    CancelScope,
    Engine,
    StoreUnavailable,
    Workflow,
    gather,
    mailbox,
    move_on_after,
    open_nursery,
    send,
    step,
    workflow,
)
from nurselog.abc import Batch, Receipt, Store, WorkflowKey
from nurselog.lowlevel import (
    ChildEnded,
    ChildStarted,
    Ended,
    Event,
    Received,
    Result,
    Row,
    ScopeCancelled,
    StepEnded,
    decode_event,
)

WRITES = ("commit", "post")
"""And claims that find something."""


@dataclass
class World:
    """What has happened, as somebody knows who sees everything."""

    recorded: set[str] = field(default_factory=set)
    """Steps of the story whose outcome is in a log."""
    again: list[str] = field(default_factory=list)
    """Steps that began when their outcome was in the log."""
    rows: dict[tuple[WorkflowKey, int], Row] = field(default_factory=dict)
    """All that anybody has committed."""


world = World()


# -- the story -----------------------------------------------------------------------------------


@step
async def note(text: str) -> str:
    if text in world.recorded:
        world.again.append(text)
    await trio.sleep(0.1)
    return text


@workflow
async def worker(name: str, seconds: int) -> str:
    """Tells the parent that it has begun, and waits for an answer."""
    await note(f"{name} begins")
    await send("one", "news", name)
    answer = await mailbox("answer", str).receive()
    await note(f"{name} goes on for {seconds}")
    return f"{name} {answer}"


@workflow
async def sitter(name: str) -> None:
    """Waits for what never comes, and cleans up."""
    try:
        await mailbox("nothing").receive()
    finally:
        with CancelScope(shield=True):
            await note(f"{name} cleans up")


@workflow
async def late(seconds: float) -> str:
    try:
        with move_on_after(seconds):
            await sitter("other sitter")
        await note("late fails")
    finally:
        raise ValueError("late")


@workflow
async def parent() -> list[str]:
    news, got = mailbox("news", str), []
    async with open_nursery() as nursery:
        workers = {name: nursery.go(worker, name, 1) for name in ("a", "b")}
        idle = nursery.go(sitter, "sitter")
        await note("parent begins")
        for _ in workers:
            name = await news.receive()
            await send(f"one/{workers[name].path}", "answer", f"answered {name}")
        idle.cancel("enough")
        got += await gather(*workers.values())
        failing = nursery.go(late, 0.3)
        await failing.receive()
        got.append(repr(failing.outcome))
    return [*got, str(idle.outcome), await note("parent ends")]


FAMILY: list[Workflow[..., Any]] = [parent, worker, sitter, late]
TOLD = [
    "a answered a",
    "b answered b",
    "Failed(error=ValueError('late'))",
    "WasCancelled(reason='enough', path='4')",
    "parent ends",
]
IDS = {"one", "one/2", "one/3", "one/4", "one/8", "one/8/2"}


# -- seeing everything ---------------------------------------------------------------------------


class Mortal:
    """A store of an engine that dies at one of its writes.

    Args:
        store: does the work.
        at: the number of the write, from 0 on; None: it lives.
        after: whether that write takes effect; the engine hears of no more in either case.
        wrote: called after each write that took effect.
    """

    def __init__(
        self,
        store: Store,
        at: int | None = None,
        *,
        after: bool = True,
        wrote: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._at, self._after, self._wrote = store, at, after, wrote
        self._writes = 0
        self.dead = trio.Event()
        self.buried = trio.Event()
        """Set when nobody looks any more: its engine is to leave the test."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in {"shared", "database", "close"}:  # what an engine in a test does when it is dead
            return method

        async def call(*args: Any) -> Any:
            if self.dead.is_set() or (name in WRITES and not self._after and self._writes == self._at):
                await self._die()
            with trio.CancelScope(shield=name in WRITES):  # one that has begun ends
                answer = await method(*args)
            if name == "commit":
                _see(args[0], answer)
            if name in WRITES or (name == "claim" and answer):
                self._writes += 1
                self._wrote()
                if self._writes - 1 == self._at:
                    await self._die()
            return answer

        return call

    async def _die(self) -> None:
        self.dead.set()
        await self.buried.wait()
        raise StoreUnavailable("its engine is dead")

    @property
    def as_store(self) -> Store:
        return cast("Store", self)


def _see(batch: Batch, receipt: Receipt) -> None:
    for creation, made in zip(batch.creations, receipt.created, strict=True):
        if made is not None and made.new:
            _see_rows(made.workflow.key, creation.rows)
    for append in batch.appends:
        if append.key not in receipt.refused:
            _see_rows(append.key, append.rows)


def _see_rows(key: WorkflowKey, rows: Sequence[Row]) -> None:
    for row in rows:
        assert world.rows.setdefault((key, row.seq), row) == row, "a row was replaced by another one"
        event = decode_event(row.event)
        if isinstance(event, StepEnded) and event.name == "note" and event.result is Result.VALUE:
            world.recorded.add(msgspec.json.decode(row.value or b"", type=str))


# -- checking ------------------------------------------------------------------------------------


async def check_family(engine: Engine) -> None:
    """See that the story was told as it must be, whoever died meanwhile."""
    assert await engine.run(parent, id="one") == TOLD
    family = {info.id: info.key for info in await engine.list(prefix="one")}
    assert set(family) == IDS
    logs = {id: await engine._store.read(key) for id, key in family.items()}
    found = {(family[id], row.seq): row for id, rows in logs.items() for row in rows}
    assert found.items() >= world.rows.items(), "what was committed is there as it was"
    for rows in logs.values():
        assert [row.seq for row in rows] == [*range(1, len(rows) + 1)]
    assert world.again == []
    for id, rows in logs.items():
        events = [(decode_event(row.event), row.value) for row in rows]
        _check_one(id, events)
        for event, value in events:
            if isinstance(event, ChildEnded):
                end, own = decode_event(logs[f"{id}/{event.path}"][-1].event), logs[f"{id}/{event.path}"][-1].value
                assert isinstance(end, Ended)
                assert (end.result, end.reason, own or b"") == (event.result, event.reason, value)


def _check_one(id: str, events: list[tuple[Event, bytes | None]]) -> None:
    for kind in (ChildStarted, ChildEnded):
        paths = [event.path for event, _ in events if isinstance(event, kind)]
        assert sorted(paths, key=int) == {"one": ["2", "3", "4", "8"], "one/8": ["2"]}.get(id, [])
    received = sorted(value or b"" for event, value in events if isinstance(event, Received))
    expected = {"one": [b'"a"', b'"b"'], "one/2": [b'"answered a"'], "one/3": [b'"answered b"']}
    assert received == expected.get(id, []), (id, received)
    told = [event for event, _ in events if isinstance(event, ScopeCancelled) and event.path == ""]
    assert len(told) <= 1


@dataclass(frozen=True)
class Cut:
    """A database as it was after one of the writes."""

    path: Path
    recorded: frozenset[str]
    rows: dict[tuple[WorkflowKey, int], Row]


def new_world(cut: Cut | None = None) -> None:
    """Begin a story, or go on with one."""
    world.recorded = set(cut.recorded) if cut else set()
    world.rows = dict(cut.rows) if cut else {}
    world.again = []
