"""What workflows tell those outside while they run: values that they publish, and streams."""

from __future__ import annotations

from typing import Any

import trio

from .... import (
    CancelScope,
    EncodingError,
    PayloadTooLargeError,
    Retry,
    Stream,
    attempt,
    move_on_after,
    open_nursery,
    open_stream,
    publish,
    sleep,
)
from ..cases import case
from ..world import chance, note
from .steps import at_once, fetch, linger, step


@step
async def soon(turns: int) -> int:
    """Ends after some turns of the loop, and no time."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    return turns


@step
async def speak(count: int) -> int:
    """Sends items, at its leisure, and ends the stream."""
    async with open_stream("tokens") as stream:
        for i in range(count):
            await linger(0.001)
            await stream.send(i)
    return count


@step(retry=Retry(attempts=3, delay=0.001))
async def stammer(count: int) -> int:
    """Fails by chance in the middle of a stream."""
    async with open_stream("tokens") as stream:
        for i in range(count):
            await stream.send([attempt(), i])
            if chance().random() < 0.2:
                raise ConnectionError(f"lost after {i}")
    return count


@step
async def speak_until_cancelled() -> None:
    """Sends until nobody wants it any more, and has a last word."""
    with open_stream("tokens") as stream:
        try:
            while True:
                await stream.send("more")
                await trio.sleep(0.5)
        finally:
            publish("tokens", "the last")


@step
def speak_in_a_thread(count: int) -> int:
    for i in range(count):
        publish("progress", i)
    with open_stream("tokens") as stream:
        trio.from_thread.run(stream.send, "from a thread")
        stream.close()
    return count


@case()
async def values_along_the_way() -> list[int]:
    """Values published before, between and after steps, some of them in branches that take turns."""
    got: list[int] = []

    async def branch(i: int) -> None:
        publish("branch", [i, "begins"])
        got.append(await fetch(i))
        publish("branch", [i, got[-1]])

    publish("state", "begun")
    async with open_nursery() as nursery:
        for i in range(3):
            nursery.go(branch, i)
        publish("state", "waits")
    note(got)
    publish("state", {"done": sorted(got)})
    return sorted(got)


@case()
async def a_stream_with_steps_between() -> int:
    """A stream of the workflow's own: items, many at once, the end, and what may not come after it."""
    total = 0
    async with open_stream("items") as stream:
        for i in range(4):
            total += await at_once(i)
            await stream.send(total)
        await stream.send_all(range(10))
    try:
        await stream.send("too late")
    except trio.ClosedResourceError:
        note("closed")
    await stream.aclose()
    publish("items", "again")
    return total


@case()
async def a_stream_while_steps_end() -> list[int]:
    """Items are sent while steps end, one after the other: their outcomes are in the log between the items."""
    async with open_nursery() as nursery:
        handles = [nursery.go(soon, 2 * i) for i in range(5)]
        await soon(0)
        async with open_stream("items") as stream:
            for i in range(12):
                await stream.send(i)
    return [await handle.result() for handle in handles]


@case()
async def a_stream_of_a_step() -> list[int]:
    """Streams of steps: one after the other under one name, and two side by side."""
    got = [await speak(3)]
    async with open_nursery() as nursery:
        handles = [nursery.go(speak, i) for i in (2, 4)]
    return got + [await handle.result() for handle in handles]


@case()
async def a_stream_that_stammers() -> Any:
    """A step that sends fails by chance, is tried again, and sends again; or has failed too often."""
    publish("state", "tries")
    try:
        return await stammer(4)
    except ConnectionError as exc:
        publish("state", str(exc))
        note(str(exc))
        return str(exc)


@case()
async def streams_that_are_cut_off() -> str:
    """A limit falls in the middle of two streams, one of the workflow's and one of a step's."""

    async def ticks(stream: Stream) -> None:
        i = 0
        while True:
            await stream.send(i)
            await sleep(0.4)
            i += 1

    with move_on_after(1.5):
        async with open_stream("ticks") as stream, open_nursery() as nursery:
            nursery.go(speak_until_cancelled)
            nursery.go(ticks, stream)
    publish("state", "cut off")
    note(repr(stream))
    return repr(stream)


@case()
async def what_cannot_be_published() -> list[str]:
    """Values that cannot be written, and ones that are too large: errors that leave no trace, and go on."""
    got: list[str] = []
    async with open_stream("items") as stream:
        for value in (object(), "x" * 3_000_000, "fits"):
            try:
                publish("value", value)
                await stream.send(value)
            except (EncodingError, PayloadTooLargeError) as exc:
                got.append(type(exc).__name__)
            await at_once(1)
    note(got)
    return got


@case()
async def published_on_the_way_out() -> None:
    """Values published while an error is on its way, and a stream that it leaves without an end."""
    try:
        with open_stream("items") as stream:
            await stream.send(await fetch(1))
            raise LookupError("not here")
    finally:
        publish("state", "leaving")
        with CancelScope(shield=True):
            await at_once(1)
        publish("state", "left")


@case(threads=True)
async def told_from_a_thread() -> int:
    """A sync step publishes values, and sends into a stream by Trio's own way out of a thread."""
    return int(await speak_in_a_thread(3))
