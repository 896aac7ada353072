"""Steps of the corpus: they take some time, fail by chance, ignore cancellation, answer it with errors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, overload

import trio

from .... import Retry
from .... import step as durable
from ..world import chance, entered


@overload
def step(fn: Callable[..., Any], /) -> Any: ...
@overload
def step(**options: Any) -> Callable[[Callable[..., Any]], Any]: ...
def step(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a step that tells the world when its body is entered; like `nurselog.step` otherwise."""

    def decorate(fn: Callable[..., Any]) -> Any:
        @functools.wraps(fn)
        async def run(*args: Any, **kwargs: Any) -> Any:
            entered()
            return await fn(*args, **kwargs)

        @functools.wraps(fn)
        def run_sync(*args: Any, **kwargs: Any) -> Any:
            entered()
            return fn(*args, **kwargs)

        return durable(**options)(run if inspect.iscoroutinefunction(fn) else run_sync)

    return decorate if fn is None else decorate(fn)


async def linger(longest: float) -> None:
    """Take some time; how much differs from life to life."""
    await trio.sleep(chance().random() * longest)


# -- steps ---------------------------------------------------------------------------------------


@step
async def fetch(i: int) -> int:
    await linger(0.003)
    return i * 10


@step
async def at_once(i: int) -> int:
    """Ends without a checkpoint."""
    return i + 1


@step
async def flaky(i: int) -> int:
    """Fails by chance, so that a body that runs again may end in another way."""
    await linger(0.002)
    if chance().random() < 0.3:
        raise ValueError(f"flaky {i}")
    return i


@step
async def fail(message: str) -> None:
    await linger(0.002)
    raise ValueError(message)


@step
async def slow(i: int) -> int:
    """Lasts until it is cancelled, and takes a moment to leave."""
    try:
        await trio.sleep(10)
    finally:
        with trio.CancelScope(shield=True):
            await linger(0.001)
    return i


@step
async def stubborn(i: int) -> list[Any]:
    """Ignores cancellation, and ends with a value."""
    with trio.CancelScope(shield=True):
        await linger(0.004)
    return ["finished anyway", i]


@step
async def spiteful(i: int) -> int:
    """Answers a cancellation with an error."""
    try:
        await linger(0.01)
    except trio.Cancelled:
        raise ValueError(f"cancelled {i}") from None
    return i


@step
async def crowded(i: int) -> int:
    """Has tasks of its own, and a plain deadline: no strand, and no business of the workflow."""
    with trio.move_on_after(0.001):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.0005)
            nursery.start_soon(trio.sleep, chance().random() * 0.002)
    return i


@step
async def refund(i: int) -> str:
    await trio.sleep(0.0002)
    return f"refunded {i}"


@step(retry=Retry(attempts=3, delay=0.001))
async def shaky(i: int) -> int:
    """Needs several attempts, and may need too many."""
    await linger(0.001)
    if chance().random() < 0.5:
        raise ConnectionError(f"shaky {i}")
    return i
