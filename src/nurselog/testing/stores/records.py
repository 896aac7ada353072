"""Short names for the records that stores take and give: what checks of stores are written in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from ... import Status
from ..._engine.unwrap import unwrapped
from ...abc import (
    Addressed,
    Append,
    Batch,
    Claim,
    Created,
    Creation,
    Lease,
    Post,
    Posted,
    Receipt,
    Standing,
    Store,
    Wanted,
    Workflow,
    WorkflowKey,
)
from ...lowlevel import Row, Selected, encode_event

AnyStore = TypeVar("AnyStore", bound=Store)

LEASE = 1_000_000
"""Microseconds."""
LONG = 10**15
"""A lease that does not expire."""
LEFT, ENDED, KNOWN, FULL = Posted
EVENT = encode_event(Selected(index=0))


class StandingClock:
    """UTC that stands still until somebody sets `now`, microseconds since 1970."""

    def __init__(self, now: int = 5_000_000) -> None:
        self.now: int = now

    def utc(self) -> int:
        """Return UTC as microseconds since 1970."""
        return self.now

    async def sleep_until(self, due: int) -> None:
        """Wait until somebody has set it to `due` or later. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.now < due:  # noqa: ASYNC110 - who sets it tells nobody
            await trio.sleep(0.01)


def row(seq: int, writer: int, *, at: int = 0, event: bytes = EVENT, value: bytes | None = None) -> Row:
    """Return a row of a log."""
    return Row(seq, at, seq - 1, writer, event, value)


def rows(first: int, last: int, writer: int) -> list[Row]:
    """Return consecutive rows of one writer, both ends included."""
    return [row(seq, writer) for seq in range(first, last + 1)]


def creation(
    id: str,
    writer: int = 1,
    *,
    name: str = "work",
    owner: str | None = None,
    parent: WorkflowKey | None = None,
    status: Status = Status.PENDING,
    length: int = 1,
    digest: str = "d",
    at: int = 0,
) -> Creation:
    """Return a workflow to be made, with so many rows."""
    log = rows(1, length, writer)
    return Creation(id=id, parent=parent, name=name, digest=digest, status=status, owner=owner, at=at, rows=log)


def sleeping(due_at: int | None = None) -> Standing:
    """Stand for a workflow that leaves memory."""
    return Standing(status=Status.WAITING, due_at=due_at, release=True)


def over(status: Status = Status.COMPLETED) -> Standing:
    """Stand for a workflow that has ended."""
    return Standing(status=status, due_at=None, release=True)


def stuck(problem: str = "the code has changed") -> Standing:
    """Stand for a workflow that is stuck."""
    return Standing(status=Status.STUCK, due_at=None, release=True, problem=problem)


def wanted(worker: str, *names: str, limit: int = 1000) -> Wanted:
    """Want workflows of these functions."""
    return Wanted(worker=worker, names=frozenset(names), limit=limit)


async def create(store: Store, *creations: Creation) -> list[WorkflowKey]:
    """Commit the creations, and return the new workflows' keys."""
    receipt = await store.commit(Batch(creations=creations))
    made = created_of(receipt)
    assert all(created.new for created in made)
    return [created.workflow.key for created in made]


def created_of(receipt: Receipt) -> list[Created]:
    """Return what became of a batch's creations, none of which was left out."""
    made = [created for created in receipt.created if created]
    assert len(made) == len(receipt.created), "workflows were not made"
    return made


async def append(store: Store, *appends: Append) -> frozenset[WorkflowKey]:
    """Commit the appends, and return who was refused."""
    return (await store.commit(Batch(appends=appends))).refused


def note(
    key: WorkflowKey, body: bytes = b"hello", *, kind: str = "note", once: str | None = None, most: int | None = None
) -> Post:
    """Return a message to be left."""
    return Post(key=key, kind=kind, body=body, once=once, most=most)


def early(
    id: str, body: bytes = b"hello", *, kind: str = "note", once: str | None = None, most: int | None = None
) -> Addressed:
    """Return a message for a workflow that need not be there yet."""
    return Addressed(id=id, kind=kind, body=body, once=once, most=most)


async def post(store: Store, *posts: Post) -> list[Posted]:
    """Leave messages in one call, and return what became of each."""
    return [*map(Posted.of, await store.post(posts))]


async def bodies(store: Store) -> list[bytes]:
    """Return what the messages say that wait for this worker's workflows."""
    return [message.body for message in await store.messages()]


async def claim_due(store: Store, worker: str, *names: str, limit: int = 1000) -> Sequence[Claim]:
    """Claim what is due of these functions; of "work" if none is named."""
    return await store.claim(wanted(worker, *(names or ("work",)), limit=limit))


async def claim_keys(store: Store, worker: str, *keys: WorkflowKey) -> Sequence[Claim]:
    """Claim these workflows."""
    return await store.claim(Wanted(worker=worker, names=frozenset(), limit=1000, keys=frozenset(keys)))


async def look(store: Store, id: str) -> Workflow:
    """Return the row of a workflow that is there."""
    [found] = await store.find([id])
    return found


async def seqs(store: Store, key: WorkflowKey) -> list[int]:
    """Return the numbers of a log's rows."""
    return [row.seq for row in await store.read(key)]


def ids(claims: Sequence[Claim]) -> list[str]:
    """Return whose claims these are."""
    return [claim.workflow.id for claim in claims]


@asynccontextmanager
async def using(store: AnyStore, worker: str = "a", duration: int = LONG) -> AsyncGenerator[AnyStore]:
    """Open a store, and close it."""
    await store.open(Lease(worker=worker, duration=duration))
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def chatting(*stores: Store) -> AsyncGenerator[None]:
    """Let stores hear each other, and tell each other what there is to tell, as engines do."""

    async def listen(store: Store) -> None:
        while True:
            await store.wait_changed()

    with unwrapped():
        async with trio.open_nursery() as nursery:
            for store in stores:
                nursery.start_soon(listen, store)
            yield
            nursery.cancel_scope.cancel()
