"""Libraries of others, as they come: AnyIO's structures, and Tricycle's."""

from __future__ import annotations

from typing import Any

import anyio
import trio
from anyio.abc import TaskGroup, TaskStatus
from tricycle import MultiCancelScope, RWLock, open_service_nursery

from nurselog import CancelScope, move_on_after, open_nursery, sleep
from nurselog.testing.corpus import case, note
from nurselog.testing.corpus.workflows.steps import at_once, fail, fetch, refund, slow
from nurselog.testing.corpus.world import shape


@case()
async def task_group() -> list[Any]:
    """AnyIO's task group, limiter and event, as they come."""
    got: list[Any] = []

    async def worker(i: int) -> None:
        got.append(await fetch(i))
        if i == 3:
            group.cancel_scope.cancel()
        try:
            await slow(i)
        finally:
            got.append(["finally", i])
            note(got[-1])

    async with anyio.create_task_group() as group:
        for i in range(5):
            group.start_soon(worker, i)
    limiter, event = anyio.CapacityLimiter(2), anyio.Event()

    async def limited(i: int) -> None:
        async with limiter:
            got.append(["limited", i])
            await fetch(i)
        await event.wait()
        got.append(["event", i])

    async with anyio.create_task_group() as group2:
        for i in range(4):
            group2.start_soon(limited, i)
        got.append(await fetch(9))
        event.set()
    note(got)
    return got


@case()
async def task_groups_in_nurseries() -> list[Any]:
    """AnyIO's groups inside durable nurseries, and the other way round."""
    got: list[Any] = []

    async def inner(i: int) -> None:
        async with open_nursery() as nursery:
            got.append([i, await nursery.go(fetch, i).result()])
            note(got[-1])

    async def outer(i: int) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(inner, i)
            group.start_soon(inner, i + 10)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(outer, i)
    return got


@case()
async def a_failing_task_group() -> list[Any]:
    """The first failure cancels the group; shielded cleanup steps run."""
    got: list[Any] = []

    async def worker(i: int) -> None:
        try:
            await slow(i)
        finally:
            with anyio.CancelScope(shield=True):
                got.append(await refund(i))

    try:
        async with anyio.create_task_group() as group:
            for i in range(3):
                group.start_soon(worker, i)
            group.start_soon(fail, "in the group")
    except* ValueError as errors:
        note(shape(errors), got)
    return got


@case()
async def anyio_streams() -> list[Any]:
    """Memory object streams, cloned and closed, with a semaphore and a condition."""
    got: list[Any] = []
    send, receive = anyio.create_memory_object_stream[Any](1)
    semaphore, condition = anyio.Semaphore(2), anyio.Condition()

    async def produce(i: int) -> None:
        async with send.clone() as end:
            for j in range(2):
                async with semaphore:
                    await end.send([i, await fetch(j)])

    async def consume(i: int) -> None:
        async with receive.clone() as end:
            async for item in end:
                got.append([i, item])
                async with condition:
                    condition.notify_all()

    async with anyio.create_task_group() as group:
        for i in range(2):
            group.start_soon(consume, i)
            group.start_soon(produce, i)
        send.close()
        receive.close()
        async with condition:
            while len(got) < 3:
                await condition.wait()
        note(got)
    return got


@case()
async def anyio_start() -> list[Any]:
    """`TaskGroup.start`, with a step before and after `started`."""
    got: list[Any] = []

    async def service(i: int, *, task_status: TaskStatus[int]) -> None:
        task_status.started(await fetch(i))
        got.append(await fetch(i + 1))
        await slow(i)

    async with anyio.create_task_group() as group:
        got.append(await group.start(service, 1))
        got.append(await group.start(service, 2))
        got.append(await fetch(5))
        note(got)
        group.cancel_scope.cancel()
    return got


async def run_all(jobs: list[Any], at_once_: int) -> list[Any]:
    """What concurrency helpers on the package index look like: workers of AnyIO that share an iterator."""
    results: list[Any] = [None] * len(jobs)
    waiting = iter(enumerate(jobs))

    async def worker(group: TaskGroup) -> None:
        for i, job in waiting:
            results[i] = await job()
            note(i, results[i])

    async with anyio.create_task_group() as group:
        for _ in range(at_once_):
            group.start_soon(worker, group)
    return results


@case()
async def a_helper_on_anyio() -> list[Any]:
    """A helper that knows nothing of nurselog, twice, one inside the other."""

    async def batch(i: int) -> list[Any]:
        return await run_all([lambda j=j: fetch(i + j) for j in range(3)], 2)

    return await run_all([lambda i=i: batch(i) for i in range(3)], 2)


@case()
async def service_nursery() -> list[Any]:
    """Tricycle: the body is cancelled first, and its services only when it has left."""
    got: list[Any] = []

    async def service(*, task_status: trio.TaskStatus[int]) -> None:
        try:
            task_status.started(await fetch(0))
            while True:
                await sleep(0.001)
                got.append("beat")
        finally:
            got.append("service over")

    with move_on_after(0.004) as scope:
        async with open_service_nursery() as nursery:
            await nursery.start(service)
            nursery.start_soon(slow, 3)
            try:
                await slow(1)
            finally:
                with CancelScope(shield=True):
                    await fetch(2)
                got.append("body over")
    note(got, scope.cancelled_caught)
    return got


@case()
async def read_write_lock() -> list[Any]:
    """Tricycle's RWLock: many readers, few writers, and one who gives up."""
    got: list[Any] = []
    lock = RWLock()

    async def read(i: int) -> None:
        async with lock.read_locked():
            got.append(["r", i, await fetch(i)])

    async def write(i: int) -> None:
        with move_on_after(0.003 * i) as scope:
            async with lock.write_locked():
                got.append(["w", i, await fetch(i)])
        note(i, scope.cancelled_caught, got)

    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(read, i)
            nursery.go(write, i + 1)
            nursery.go(read, i + 10)
    return got


@case()
async def scopes_from_a_set() -> list[Any]:
    """Tricycle cancels many scopes in the order of a set: the strands go on in the order of their paths."""
    got: list[Any] = []
    scopes = MultiCancelScope()

    async def worker(i: int) -> None:
        with scopes.open_child():
            try:
                await slow(i)
            finally:
                got.append(i)
                note(got)
        got.append([i, await at_once(i)])

    async with open_nursery() as nursery:
        for i in range(5):
            nursery.start_soon(worker, i)
        await fetch(0)
        scopes.cancel()
        await fetch(1)
    return got
