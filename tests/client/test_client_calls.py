"""What a client is answered: the same on Trio, on asyncio and in sync code, on a file and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from typing import TypeVar

import pytest

from nurselog import (
    AsyncClient,
    DataError,
    Letter,
    PromiseSettled,
    Status,
    UsageError,
    WorkflowCancelled,
    WorkflowConflict,
    WorkflowEnded,
    WorkflowKilled,
    WorkflowNotFound,
    WorkflowStuck,
)
from nurselog.lowlevel import Ended, Forked, LogEntry, Received, Result, Started
from tests.client.colours import Colour, play
from tests.client.shop import Receipt, adds, asks, fails, listens, order, prices, runs_dry, sleeps, tells

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("engine")


def test_a_workflow_by_its_function(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        assert await client.run(order, 4, 2) == Receipt(12, tip=2)
        handle = await client.submit(order, 5, id="o-1")
        assert await handle.result() == Receipt(15, tip=0)
        assert (handle.id, handle.name) == ("o-1", "order")
        assert await handle.status() is Status.COMPLETED
        kinds = [type(entry.event).__name__ for entry in await handle.log()]
        assert [kind for kind in kinds if kind != "Claimed"] == ["Started", "StepEnded", "Ended"]
        assert await (await client.submit(order, 5, id="o-1")).result() == Receipt(15, tip=0)
        assert await (await client.get("o-1")).result() == Receipt(15, tip=0)
        with pytest.raises(WorkflowConflict):
            await client.submit(order, 6, id="o-1")

    play(colour, url, scene)


def test_a_workflow_by_its_name(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        assert await client.run("order", 5) == {"total": 15, "tip": 0}
        assert await client.run("order", 5, type=Receipt) == Receipt(15, tip=0)
        handle = await client.submit("order", 6, 2, id="o-1", type=Receipt)
        assert await handle.result() == Receipt(18, tip=2)
        assert await (await client.get("o-1")).result() == {"total": 18, "tip": 2}
        assert await (await client.get("o-1", Receipt)).result() == Receipt(18, tip=2)
        assert await (await client.submit("order", 6, 2, id="o-1")).status() is Status.COMPLETED
        assert await client.run("sums", 1, 2, 3) == 6
        assert repr(handle).endswith("ClientHandle 'o-1' of order>")

    play(colour, url, scene)


def test_who_names_and_who_has_the_function_mean_the_same_run(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        await client.submit("order", 6, 2, id="named")
        await client.submit(order, 6, 2, id="named")
        await client.submit(order, 7, 2, id="given")
        await client.submit("order", 7, 2, id="given")
        for other in (8, 2), (7, 0), (7,), ("7", 2):
            with pytest.raises(WorkflowConflict):
                await client.submit("order", *other, id="given")
        await client.submit("order", 7, id="short")
        await client.submit(order, 7, id="short")
        with pytest.raises(WorkflowConflict):
            await client.submit(order, 7, 2, id="short")

    play(colour, url, scene)


def test_what_does_not_fit_is_stuck(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        for args, why in (("many",), "Expected `int`"), ((1, 2, 3), "too many"), ((), "missing"):
            with pytest.raises(WorkflowStuck, match=why):
                await client.run("order", *args)

    play(colour, url, scene)


def test_a_version(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        assert await client.run("prices", 1, version="2") == 3
        assert await client.run(prices, 1) == 3
        waits = await client.submit("prices", 1)
        assert await waits.status() is Status.PENDING
        assert [info.version for info in await client.list()] == [None, "2", "2"]
        assert [info.problem for info in await client.list()] == [None, None, None]
        with pytest.raises(UsageError, match="by name"):
            await client.submit(prices, 1, version="2")  # type: ignore[call-overload]  # it is a mistake
        with pytest.raises(UsageError, match="cannot be written"):
            await client.submit("prices\ud800", 1)

    play(colour, url, scene)


def test_lists(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        for number in range(5):
            await client.run("order", number, id=f"o-{number}")
        await client.submit(sleeps, id="s")
        page = await client.list(name="order", limit=2)
        assert [info.id for info in page] == ["o-4", "o-3"]
        assert [info.id for info in await client.list(prefix="o", before=page[-1])] == ["o-2", "o-1", "o-0"]
        assert [info.id for info in await client.list(status=[Status.COMPLETED], limit=1)] == ["o-4"]
        with pytest.raises(UsageError):
            await client.list(limit=-1)

    play(colour, url, scene)


def test_errors_are_the_workflows_own(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        for workflow in fails, "fails":
            with pytest.raises(ValueError, match="no good"):
                await client.run(workflow)
        for call in client.get, client.cancel, client.kill, client.resume, client.delete:
            with pytest.raises(WorkflowNotFound):
                await call("nobody")

    play(colour, url, scene)


def test_messages(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(listens, 4, id="l")
        assert await client.send("l", "numbers", 1, key="one")
        assert not await client.send("l", "numbers", 1, key="one")
        assert await client.send_all([Letter("l", "numbers", 2), Letter("l", "numbers", 3)]) == [True, True]
        with pytest.raises(ExceptionGroup, match="1 of 2"):
            await client.send_all([Letter("l", "numbers", 4), Letter("nobody", "numbers", 4)])
        assert await handle.result() == [1, 2, 3, 4]
        with pytest.raises(WorkflowEnded):
            await client.send("l", "numbers", 5)
        assert await client.send("later", "numbers", 6, early=True)
        assert await client.run("listens", 1, id="later") == [6]
        with pytest.raises(DataError):
            await client.send("l", "numbers", object())

    play(colour, url, scene)


def test_what_the_caller_makes_one_by_one_is_made_in_the_callers_thread(colour: Colour, url: str) -> None:
    """It may belong to that thread, as a database's cursor does; and what it waits for, workflows need not."""

    async def scene(client: AsyncClient) -> None:
        here, places = threading.get_ident(), list[int]()

        def made(things: Iterable[T]) -> Iterator[T]:
            for thing in things:
                places.append(threading.get_ident())
                yield thing

        handle = await client.submit(listens, 2, id="l")
        assert await client.send_all(made([Letter("l", "numbers", 1), Letter("l", "numbers", 2)])) == [True, True]
        assert await handle.result() == [1, 2]
        assert [info.id for info in await client.list(status=made([Status.COMPLETED]))] == ["l"]
        assert places == [here] * 3

    play(colour, url, scene)


def test_promises(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        for settle in "resolve", "reject":
            handle = await client.submit(asks)
            item = await anext(aiter(handle.follow("promise", str)))
            if settle == "resolve":
                await client.resolve(item.value, "yes")
                assert await handle.result() == "yes"
                with pytest.raises((PromiseSettled, WorkflowEnded)):
                    await client.resolve(item.value, "no")
            else:
                await client.reject(item.value, KeyError("never"))
                with pytest.raises(KeyError, match="never"):
                    await handle.result()

    play(colour, url, scene)


def test_streams_and_what_is_published(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(tells, 3, id="t")
        seen = []
        async for item in handle.follow("numbers", int):
            seen.append(item)
            await client.send("t", "more", 0)
        assert [item.value for item in seen] == [0, 1, 2]
        await handle.result()
        assert (await handle.latest("current", int)).value == 2  # type: ignore[union-attr]  # it is there
        assert await handle.latest("nothing") is None
        again = [item.value async for item in handle.follow("numbers", after=seen[0].position)]
        assert again == [1, 2]
        with pytest.raises(DataError):
            await anext(aiter(handle.follow("numbers", str)))
        with pytest.raises(UsageError):
            handle.follow("")

    play(colour, url, scene)


@pytest.mark.parametrize("channel", [True, False])
def test_a_failure_that_says_no_more_is_no_end_of_the_items(colour: Colour, url: str, *, channel: bool) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(partial(runs_dry, channel=channel))
        items, seen = handle.follow("numbers", int), list[int]()
        with pytest.raises(RuntimeError, match="failed with"):
            async for item in items:
                seen.append(item.value)
        assert seen == [1]

    play(colour, url, scene)


def test_a_log_as_it_grows(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(listens, 3, id="l")
        entries, seen, sent = aiter(handle.follow_log()), list[LogEntry](), 0
        while not seen or not isinstance(seen[-1].event, Ended):
            seen.append(await anext(entries))
            if isinstance(seen[-1].event, Started | Received) and sent < 3:
                assert await client.send("l", "numbers", sent)
                sent += 1
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(entries)
        assert seen == await handle.log()
        assert [entry async for entry in handle.follow_log(after=2)] == seen[2:]
        assert [entry async for entry in handle.follow_log(after=2**70)] == []
        for after in -1, "1":
            with pytest.raises(UsageError, match="after must be a whole number"):
                handle.follow_log(after=after)  # type: ignore[arg-type]  # on purpose

    play(colour, url, scene)


def test_a_log_that_ends_otherwise(colour: Colour, url: str) -> None:
    """How a workflow has ended is in its last row; what is no end is raised."""

    async def scene(client: AsyncClient) -> None:
        for ending, result in (client.cancel, Result.CANCELLED), (client.kill, Result.KILLED):
            handle = await client.submit(sleeps)
            await ending(handle.id)
            *_, last = [entry.event async for entry in handle.follow_log()]
            assert isinstance(last, Ended)
            assert last.result is result
        *_, last = [entry.event async for entry in (await client.submit(fails)).follow_log()]
        assert isinstance(last, Ended)
        stuck = aiter((await client.submit("order", "many", id="stuck")).follow_log())
        for _ in range(2):
            with pytest.raises(WorkflowStuck):
                while True:
                    await anext(stuck)
        fork = await client.fork(handle.id, at=1)
        assert [type(entry.event) async for entry in _some(fork.follow_log(), 2)] == [Started, Forked]
        await client.delete(handle.id)
        with pytest.raises(WorkflowNotFound):
            await anext(aiter(handle.follow_log()))

    play(colour, url, scene)


async def _some(entries: AsyncIterator[LogEntry], count: int) -> AsyncIterator[LogEntry]:
    for _ in range(count):
        yield await anext(entries)


def test_updates(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(adds, 1, id="a")
        assert await client.update("a", "add", 2) == 3
        assert await client.update("a", "add", 3, int, key="once") == 6
        assert await client.update("a", "add", 3, key="once") == 6
        assert await client.update("a", "add", 100) == 106
        assert await handle.result() == 106

    play(colour, url, scene)


def test_orders(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        handle = await client.submit(sleeps, id="s")
        await client.cancel("s", "no more")
        with pytest.raises(WorkflowCancelled, match="no more"):
            await handle.result()
        handle = await client.submit(sleeps)
        await client.kill(handle.id)
        with pytest.raises(WorkflowKilled):
            await handle.result()
        await client.delete("s")
        with pytest.raises(WorkflowNotFound):
            await client.get("s")

    play(colour, url, scene)


def test_forks_and_stuck_ones(colour: Colour, url: str) -> None:
    async def scene(client: AsyncClient) -> None:
        await client.run(order, 5, id="o")
        fork = await client.fork("o", at=1, new_id="again")
        assert await fork.result() == {"total": 15, "tip": 0}
        stuck = await client.submit("order", "many", id="stuck")
        with pytest.raises(WorkflowStuck):
            await stuck.result()
        before = len(await stuck.log())
        await client.resume("stuck")  # it is taken up, and is stuck again
        while "Resumed" not in [type(entry.event).__name__ for entry in (await stuck.log())[before:]]:
            with pytest.raises(WorkflowStuck):
                await stuck.result()
        await client.resume("o")

    play(colour, url, scene)
