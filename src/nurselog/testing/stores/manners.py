"""A store's manners under Trio: every call is a checkpoint, and none is cancelled half way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import trio
import trio.testing

from ...abc import Append, Batch, Filter, Lease, WorkflowKey
from .checks import Bench, clause
from .records import LONG, append, claim_due, create, creation, note, rows, seqs, wanted


@clause()
async def all_calls_are_checkpoints(bench: Bench) -> None:
    """Every call is a checkpoint, also one that has nothing to do."""
    store = bench.make(bench.clock)
    key = WorkflowKey(1)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.open(Lease(worker="a", duration=LONG)),
        lambda: store.commit(Batch(creations=[creation("one", 7, owner="a")])),
        lambda: store.commit(Batch(appends=[Append(key=key, rows=rows(2, 2, 7))])),
        lambda: store.commit(Batch()),
        lambda: claim_due(store, "a"),
        store.renew,
        store.reenter,
        lambda: store.post([note(key)]),
        lambda: store.post([]),
        store.messages,
        lambda: store.find(["one"]),
        lambda: store.list(Filter()),
        lambda: store.read(key),
        lambda: store.next_due(wanted("a")),
        lambda: store.delete([key]),
        lambda: store.delete([]),
        lambda: store.expired(0, 1),
        store.close,
    ]
    for call in calls:
        with trio.testing.assert_checkpoints():
            await call()


@clause()
async def a_cancelled_call_has_no_effect(bench: Bench) -> None:
    """A call in a scope that is cancelled already raises Cancelled, and does nothing."""
    async with bench.opened() as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await create(store, creation("one"))
        assert scope.cancelled_caught
        assert await store.find(["one"]) == []


@clause()
async def a_commit_is_whole_or_not_at_all(bench: Bench) -> None:
    """A commit that is cancelled, whenever that is, has written everything or nothing."""
    async with bench.opened() as store:
        steps, cancelled = 0, True
        while cancelled:  # by and by it takes fewer steps than it may
            steps += 1
            [key] = await create(store, creation(f"old/{steps}", 7, owner="a"))
            batch = Batch(creations=[creation(f"new/{steps}", 8)], appends=[Append(key=key, rows=rows(2, 3, 7))])
            with trio.CancelScope() as scope, _cancelling(scope, steps):
                await store.commit(batch)
            assert await seqs(store, key) == ([1, 2, 3] if await store.find([f"new/{steps}"]) else [1])
            cancelled = scope.cancel_called


@clause()
async def a_post_is_whole_or_not_at_all(bench: Bench) -> None:
    """A call of `post` that is cancelled, whenever that is, has left all messages or none."""
    async with bench.opened() as store:
        steps, cancelled = 0, True
        while cancelled:
            steps += 1
            [key] = await create(store, creation(f"w{steps}", owner="a"))
            with trio.CancelScope() as scope, _cancelling(scope, steps):
                await store.post([note(key, b"1"), note(key, b"2"), note(key, b"3")])
            assert sum(message.key == key for message in await store.messages()) in (0, 3)
            cancelled = scope.cancel_called


@contextmanager
def _cancelling(scope: trio.CancelScope, steps: int) -> Generator[None]:
    """Cancel a scope when this task has made so many steps."""
    instrument = _Canceller(scope, trio.lowlevel.current_task(), steps)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)


class _Canceller(trio.abc.Instrument):
    """A step ends where its task waits for the next one. So this comes to every wait that there is."""

    def __init__(self, scope: trio.CancelScope, task: trio.lowlevel.Task, steps: int) -> None:
        self._scope, self._task, self._left = scope, task, steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self._left -= task is self._task
        if not self._left:
            self._scope.cancel()


@clause()
async def calls_from_many_tasks(bench: Bench) -> None:
    """Tasks may call a store at the same time; each sees what it has written."""
    async with bench.opened() as store:
        keys = await create(store, *(creation(f"w{number}", 7, owner="a") for number in range(10)))

        async def work(key: WorkflowKey) -> None:
            for seq in range(2, 12):
                assert not await append(store, Append(key=key, rows=rows(seq, seq, 7)))
                assert len(await store.read(key)) == seq

        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(work, key)
