"""What tests of whole engines are made of: engines in virtual time, stores that hang or fail on demand, short logs."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from nurselog import Engine, Workflow, WorkflowHandle, open_engine
from nurselog._stores._sqlite.executors import InlineExecutor
from nurselog._stores.sqlite import SqliteStore, parse_url
from nurselog.abc import (
    Addressed,
    Batch,
    Change,
    Claim,
    Deleted,
    Filter,
    Lease,
    Message,
    Post,
    Posted,
    Receipt,
    Store,
    Wanted,
    WorkflowKey,
)
from nurselog.abc import Workflow as WorkflowRow
from nurselog.lowlevel import Row
from nurselog.testing import VirtualClock
from tests import inline


def in_memory(clock: VirtualClock | None = None, **options: Any) -> AbstractAsyncContextManager[Engine]:
    """Open an engine in memory; the workflows that it is to know at once are given as `workflows`."""
    options.setdefault("workflows", ())
    return open_engine("sqlite://", clock=clock or VirtualClock(), **options)


postgres: str | None = None
"""The database in which there is a schema for each file that a test speaks of; None: the file is one."""


def file_store(path: Path, clock: VirtualClock) -> Store:
    """Return a store on a file that needs no thread, so that it can be used in virtual time."""
    if postgres:
        return inline.store_at(postgres, path, clock)
    return SqliteStore(parse_url(f"sqlite:///{path}?synchronous=normal"), InlineExecutor(), clock)


def on_file(
    path: Path, *workflows: Workflow[..., Any], clock: VirtualClock | None = None, **options: Any
) -> AbstractAsyncContextManager[Engine]:
    """Open an engine on a file, in virtual time."""
    clock = clock or VirtualClock()
    return open_engine(file_store(path, clock), workflows, clock=clock, **options)


def crashed(path: Path) -> Path:
    """Copy the database as it would be if all its processes died now."""
    twin = path.with_name(f"{path.stem}-crashed{path.suffix}")
    if postgres:
        inline.copy(postgres, path, twin)
        return twin
    twin.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(twin)) as target:
        source.backup(target)
    return twin


def sql(path: Path, *statements: str) -> None:
    """Write into a database behind the engines' back."""
    if postgres:
        inline.execute(postgres, path, statements)
        return
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def kinds(handle: WorkflowHandle[Any]) -> list[str]:
    """Return the kinds of a log's events, in order."""
    return [type(entry.event).__name__ for entry in await handle.log()]


async def settle(times: int = 20) -> None:
    """Let everything that can happen now happen."""
    for _ in range(times):
        await trio.testing.wait_all_tasks_blocked()


def once(seconds: float) -> Callable[[], Awaitable[None]]:
    """Return what takes so long the first time that it is called."""
    left = iter([seconds])

    async def take_long() -> None:
        await trio.sleep(next(left, 0))

    return take_long


class Hooked:
    """A store whose calls go through a hook first, which may wait or raise."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.before_commit: Callable[[Batch], Awaitable[None]] = _nothing
        self.after_commit: Callable[[Batch], Awaitable[None]] = _nothing
        self.before_renew: Callable[[], Awaitable[None]] = _nothing
        self.after_renew: Callable[[], Awaitable[None]] = _nothing
        self.after_reenter: Callable[[], Awaitable[None]] = _nothing
        self.before_claim: Callable[[], Awaitable[None]] = _nothing
        self.after_claim: Callable[[], Awaitable[None]] = _nothing
        self.after_messages: Callable[[], Awaitable[None]] = _nothing
        self.before_read: Callable[[], Awaitable[None]] = _nothing
        self.after_read: Callable[[], Awaitable[None]] = _nothing
        self.before_find: Callable[[], Awaitable[None]] = _nothing
        self.after_find: Callable[[], Awaitable[None]] = _nothing
        self.before_post: Callable[[], Awaitable[None]] = _nothing
        self.after_post: Callable[[], Awaitable[None]] = _nothing
        self.before_delete: Callable[[], Awaitable[None]] = _nothing
        self.after_delete: Callable[[], Awaitable[None]] = _nothing
        self.before_close: Callable[[], Awaitable[None]] = _nothing

    @property
    def shared(self) -> bool:
        return self._store.shared

    async def open(self, lease: Lease) -> None:
        await self._store.open(lease)

    async def close(self) -> None:
        try:
            await self.before_close()
        finally:  # as each store does: one that could not close is closed all the same
            await self._store.close()

    async def commit(self, batch: Batch) -> Receipt:
        with trio.CancelScope(shield=True):  # a call that has begun ends
            await self.before_commit(batch)
            receipt = await self._store.commit(batch)
            await self.after_commit(batch)
            return receipt

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        await self.before_claim()
        with trio.CancelScope(shield=True):  # a call that has begun ends
            claims = await self._store.claim(wanted)
            await self.after_claim()
            return claims

    async def renew(self) -> bool:
        await self.before_renew()
        extended = await self._store.renew()
        await self.after_renew()
        return extended

    async def reenter(self) -> None:
        await self.before_renew()
        await self._store.reenter()
        await self.after_reenter()

    async def wait_changed(self) -> frozenset[Change]:
        return await self._store.wait_changed()

    async def post(self, posts: Sequence[Post]) -> Sequence[Posted | Message]:
        await self.before_post()
        answers = await self._store.post(posts)
        await self.after_post()
        return answers

    async def post_early(self, messages: Sequence[Addressed]) -> Sequence[Posted]:
        await self.before_post()
        answers = await self._store.post_early(messages)
        await self.after_post()
        return answers

    async def messages(self, behind: Mapping[WorkflowKey, int] | None = None) -> Sequence[Message]:
        messages = await self._store.messages(behind)
        await self.after_messages()
        return messages

    async def find(self, ids: Sequence[str]) -> Sequence[WorkflowRow]:
        await self.before_find()
        found = await self._store.find(ids)
        await self.after_find()
        return found

    async def list(self, where: Filter) -> Sequence[WorkflowRow]:
        return await self._store.list(where)

    async def read(self, key: WorkflowKey, from_seq: int = 1, limit: int | None = None) -> Sequence[Row]:
        await self.before_read()
        rows = await self._store.read(key, from_seq, limit)
        await self.after_read()
        return rows

    async def next_due(self, names: frozenset[str]) -> int | None:
        return await self._store.next_due(names)

    async def delete(self, roots: Sequence[WorkflowKey]) -> Sequence[Deleted]:
        await self.before_delete()
        became = await self._store.delete(roots)
        await self.after_delete()
        return became

    async def expired(self, before: int, limit: int) -> Sequence[WorkflowKey]:
        return await self._store.expired(before, limit)


def hold_ends(store: Hooked, go_on: trio.Event) -> None:
    """Keep a store from committing the end of a workflow before an event is set."""

    async def hold(batch: Batch) -> None:
        if any(b'"ended"' in row.event for append in batch.appends for row in append.rows):
            await go_on.wait()

    store.before_commit = hold


async def _nothing(*_: object) -> None:
    pass


@asynccontextmanager
async def in_background(fn: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run a function beside the block, and wait for it at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fn)
        yield
