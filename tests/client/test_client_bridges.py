"""The way into the thread and back: outcomes, cancellation, and who is told when it ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import outcome
import pytest
import trio
import trio.testing

from nurselog import EngineClosed, UsageError
from nurselog._client import bridges
from nurselog._client.bridges import Bridge, OutOfAsyncio, Straight, seen_through, waited_for
from nurselog._client.calls import AsyncItems
from nurselog._client.opening import _beside_asyncio
from nurselog._client.receiving import Received
from nurselog._client.thread import Answer, Order, TrioThread
from nurselog._engine.desk import Desk
from tests.client.place import Place, in_asyncio, in_sync, twice

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


async def fail(error: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def see_context() -> tuple[str, str]:
    await trio.lowlevel.checkpoint()
    return variable.get(), threading.current_thread().name


ERRORS = [KeyError("k"), ExceptionGroup("some", [ValueError("v")]), asyncio.CancelledError(), TimeoutError()]


def test_outcomes_arrive_as_they_are() -> None:
    async def scene(_: Place, bridge: OutOfAsyncio) -> None:
        variable.set("asyncio")
        assert await bridge.call(twice, 4) == 8
        assert await bridge.call(see_context) == ("asyncio", "nurselog client")
        for error in ERRORS:
            if isinstance(error, Exception):
                with pytest.raises(type(error)) as caught:
                    await bridge.call(fail, error)
                assert caught.value is error
        with pytest.raises(RuntimeError, match="StopIteration"):  # as of any coroutine
            await bridge.call(fail, StopIteration())

    def sync_scene(_: Place, bridge: Bridge) -> None:
        variable.set("sync")
        assert bridge.call(twice, 4) == 8
        assert bridge.call(see_context) == ("sync", "nurselog client")
        for error in ERRORS[:2]:
            with pytest.raises(type(error)) as caught:
                bridge.call(fail, error)
            assert caught.value is error

    assert in_asyncio(scene) == ["closed"]
    assert contextvars.copy_context().run(in_sync, sync_scene) == ["closed"]


def test_what_has_been_answered_is_nobodys() -> None:
    """A result may be large: it must not wait for the collector."""

    class Large:
        pass

    async def large() -> Large:
        await trio.lowlevel.checkpoint()
        return Large()

    async def scene(_: Place, bridge: OutOfAsyncio) -> None:
        answer = weakref.ref(await bridge.call(large))
        await bridge.call(twice, 1)
        assert answer() is None

    def sync_scene(_: Place, bridge: Bridge) -> None:
        answer = weakref.ref(bridge.call(large))
        bridge.call(twice, 1)
        assert answer() is None

    gc.disable()
    try:
        in_asyncio(scene)
        in_sync(sync_scene)
    finally:
        gc.enable()


def test_what_asyncio_cancels_is_cancelled_there_and_waited_for() -> None:
    async def scene(place: Place, bridge: OutOfAsyncio) -> None:
        loop, began = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.create_task(bridge.call(place.wait_for_ever, lambda: loop.call_soon_threadsafe(began.set)))
        await began.wait()
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert place.said == ["let go"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await bridge.call(place.wait_for_ever)
        assert await bridge.call(twice, 1) == 2

    assert in_asyncio(scene) == ["let go", "let go", "closed"]


def test_what_asyncio_cancels_twice_is_cancelled_once() -> None:
    async def scene(place: Place, bridge: OutOfAsyncio) -> None:
        loop, began, asked = asyncio.get_running_loop(), asyncio.Event(), list[Order]()
        cancel = bridge._thread.cancel
        bridge._thread.cancel = asked.append  # type: ignore[method-assign]  # it waits on
        task = asyncio.create_task(bridge.call(place.wait_for_ever, lambda: loop.call_soon_threadsafe(began.set)))
        await began.wait()
        for why in "one", "two":
            task.cancel(why)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(asked) == 1
        cancel(asked[0])
        with pytest.raises(asyncio.CancelledError, match="two"):
            await task

    assert in_asyncio(scene) == ["let go", "closed"]


def test_what_asyncio_leaves_in_the_middle_is_cancelled() -> None:
    """A loop may end without its tasks; then these are closed, and cannot wait."""

    async def scene(place: Place, bridge: OutOfAsyncio) -> None:
        asked, cancel = list[Order](), bridge._thread.cancel
        bridge._thread.cancel = asked.append  # type: ignore[method-assign]  # it is looked at
        call = bridge.call(place.wait_for_ever)
        call.send(None)  # type: ignore[attr-defined]  # it is a coroutine
        call.close()  # type: ignore[attr-defined]  # as that one
        cancel(*asked)
        await asyncio.wait([asyncio.wrap_future(asked[0].answer)])

    assert in_asyncio(scene)[-1] == "closed"


async def test_what_comes_when_nobody_waits_any_more_is_the_next() -> None:
    """Whoever waits in another thread may be cancelled when the item is here already."""
    send, receive = trio.open_memory_channel[int](3)
    for number in range(3):
        send.send_nowait(number)
    send.close()
    received = Received(receive)
    assert await received.more()  # and who waited for it is cancelled
    assert await received.more()
    assert [received.take(), received.take()] == [0, 1]
    assert received.take() is None
    assert await received.more()
    assert received.take() == 2
    assert not await received.more()


async def test_what_came_for_who_was_cancelled_comes_before_the_end() -> None:
    """Also to whoever was waiting for the next, and hears of the end."""
    send, receive = trio.open_memory_channel[int](0)
    received, seen = Received(receive), list[int]()

    async def read() -> None:
        seen.extend([item async for item in AsyncItems(Straight(), received)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(received.more)  # and who waits for it is cancelled when something has come
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await send.send(7)
        send.close()
    assert seen == [7]
    assert not await received.more()


async def test_who_comes_late_goes_on_to_the_next() -> None:
    """Several may go through the same: what has come for one, another may have before the one is awake."""
    send, receive = trio.open_memory_channel[Any](2)
    for number in range(2):
        send.send_nowait(number)
    send.close()
    received, others = Received(receive), list[int | None]()

    class Late(Straight):
        async def call(self, function: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
            answer = await super().call(function, *args, **kwargs)
            if not others:
                others.append(received.take())
            return answer

    assert [item async for item in AsyncItems(Late(), received)] == [1]
    assert others == [0]


def test_what_is_cancelled_before_it_begins_does_not_begin() -> None:
    async def scene(place: Place, bridge: OutOfAsyncio) -> None:
        task = asyncio.create_task(bridge.call(place.wait_for_ever))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert in_asyncio(scene) == ["closed"]


def test_control_c_in_sync_code() -> None:
    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def scene(place: Place, bridge: Bridge) -> None:
        with pytest.raises(KeyboardInterrupt):
            bridge.call(place.wait_for_ever, interrupt)
        assert place.said == ["let go"]
        assert bridge.call(twice, 1) == 2

    assert in_sync(scene) == ["let go", "closed"]


def test_sync_code_that_waits_looks_up_for_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes just before a thread waits does not wake it: Control-C would be heard with the answer."""
    answer: Answer[int] = Future()
    seconds: list[float] = []

    def wait(waited: list[Answer[int]], timeout: float) -> None:
        seconds.append(timeout)
        if len(seconds) == 3:
            answer.set_result(outcome.Value(7))

    monkeypatch.setattr(bridges, "wait", wait)
    assert waited_for(answer, lambda: None) == 7
    assert seconds == [bridges.GLANCE] * 3


def test_control_c_before_the_order_is_given() -> None:
    def scene(place: Place, bridge: Bridge) -> None:
        def interrupted() -> None:
            raise KeyboardInterrupt

        order = Order(place.wait_for_ever)
        with pytest.raises(KeyboardInterrupt):
            waited_for(order.answer, partial(bridge._thread.cancel, order), interrupted)

    assert in_sync(scene) == ["closed"]


def test_control_c_while_the_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until the thread runs; when that is interrupted, nobody gets what could be closed."""
    place = Place()
    thread = TrioThread(place.opening)
    start = thread._thread.start

    def interrupted() -> None:
        start()
        raise KeyboardInterrupt

    monkeypatch.setattr(thread._thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    waited_for(thread.ended, thread.close)
    thread.join()
    assert place.said == ["closed"]


def test_what_is_cancelled_when_all_is_over() -> None:
    orders: list[tuple[TrioThread, Order]] = []

    def scene(place: Place, bridge: Bridge) -> None:
        orders.append((bridge._thread, Order(place.wait_for_ever)))

    in_sync(scene)
    [(thread, order)] = orders
    thread.cancel(order)
    with pytest.raises(EngineClosed):
        order.answer.result().unwrap()


def test_an_order_that_the_loop_never_saw() -> None:
    """The loop may end between the two looks at it."""
    place = Place()
    thread, order = TrioThread(place.opening), Order(place.wait_for_ever)
    thread._orders[order.answer] = order
    thread.close()
    thread.start()
    waited_for(thread.ended, thread.close)
    thread.join()
    assert order.answer.done()
    with pytest.raises(EngineClosed):
        order.answer.result().unwrap()


def test_in_a_fork_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def sync_scene(_: Place, bridge: Bridge) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 0)
            with pytest.raises(UsageError, match="forked"):
                bridge.call(twice, 1)

    async def straight() -> None:
        bridge = Straight()
        assert await bridge.call(twice, 1) == 2
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 0)
            with pytest.raises(UsageError, match="forked"):
                await bridge.call(twice, 1)

    async def asyncio_main() -> None:
        place = Place()
        with monkeypatch.context() as patch:
            async with _beside_asyncio(place.opening) as client:
                patch.setattr(os, "getpid", lambda: 0)
                with pytest.raises(UsageError, match="forked"):
                    await client._bridge.call(twice, 1)
        assert place.said == []  # the parent's goes on
        thread = cast("OutOfAsyncio", client._bridge)._thread
        thread.close()
        await seen_through(thread.ended, thread.close)
        thread.join()

    assert in_sync(sync_scene) == ["closed"]
    trio.run(straight)
    asyncio.run(asyncio_main())


def test_who_waits_when_it_is_closed_is_told() -> None:
    async def scene(place: Place, bridge: OutOfAsyncio) -> None:
        loop, began = asyncio.get_running_loop(), asyncio.Event()
        waiting.append(
            asyncio.create_task(bridge.call(place.wait_for_ever, lambda: loop.call_soon_threadsafe(began.set)))
        )
        await began.wait()
        bridge._thread.close()
        with pytest.raises(EngineClosed):
            await waiting[0]
        await asyncio.to_thread(bridge._thread.join)
        with pytest.raises(EngineClosed):
            await bridge.call(twice, 1)

    waiting: list[asyncio.Task[None]] = []
    assert in_asyncio(scene) == ["let go", "closed"]


def test_who_asks_while_it_closes_is_told() -> None:
    def scene(place: Place, bridge: Bridge) -> None:
        def ask_again() -> None:
            """Ask while the nursery that takes orders waits for its last task."""
            bridge._thread.close()

        async def late() -> None:
            try:
                await place.wait_for_ever(ask_again)
            finally:
                order = Order(trio.sleep_forever)
                bridge._thread.give(order)
                with trio.CancelScope(shield=True):
                    while not order.answer.done():
                        await trio.lowlevel.checkpoint()
                with pytest.raises(EngineClosed):
                    order.answer.result().unwrap()
                place.said.append("told")

        with pytest.raises(EngineClosed):
            bridge.call(late)

    assert in_sync(scene) == ["let go", "told", "closed"]


def test_what_breaks_there_is_told_when_it_is_closed() -> None:
    def scene(place: Place, bridge: Bridge) -> None:
        with pytest.raises(EngineClosed):
            bridge.call(place.wait_for_ever, place.broken.set)

    with pytest.raises(ExceptionGroup) as caught:
        in_sync(scene)
    assert caught.group_contains(OSError, match="it broke")


def test_what_breaks_there_is_told_to_who_closes_at_once() -> None:
    """Letting go may take its time, and who was cancelled meanwhile would hear nothing."""
    place = Place()

    @asynccontextmanager
    async def opening() -> AsyncIterator[Desk]:
        try:
            async with place.opening() as desk:
                yield desk
        finally:
            thread.close()
            for _ in range(3):
                await trio.lowlevel.checkpoint()

    thread = TrioThread(opening)
    thread.start()
    waited_for(thread.opened, thread.close)
    with pytest.raises(EngineClosed):
        Bridge(thread).call(place.wait_for_ever, place.broken.set)
    with pytest.raises(ExceptionGroup) as caught:
        waited_for(thread.ended, thread.close)
    assert caught.group_contains(OSError, match="it broke")
    thread.join()


def test_what_cannot_be_opened() -> None:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        raise OSError("no such place")
        yield

    thread = TrioThread(opening)
    thread.start()
    for answer in thread.opened, thread.ended:
        with pytest.raises(OSError, match="no such place"):
            waited_for(answer, thread.close)
    thread.join()


def test_it_can_be_closed_before_it_is_open() -> None:
    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        await trio.sleep_forever()
        yield

    async def main() -> None:
        thread = TrioThread(opening)
        thread.close()
        thread.start()
        with pytest.raises(EngineClosed):
            await seen_through(thread.opened, thread.close)
        await seen_through(thread.ended, thread.close)
        thread.join()

    asyncio.run(main())
