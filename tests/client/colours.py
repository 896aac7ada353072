"""One set of tests in three colours: a scene is played with a client on Trio, on asyncio, and in sync code.

A scene is an async function that is given a client. In sync code it is given a client that looks as if it were to be
awaited, and never waits, so that one step runs it to its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import anyio

from nurselog import AsyncClient, Client, ClientHandle, open_client

T = TypeVar("T")
Scene: TypeAlias = Callable[[AsyncClient], Coroutine[Any, Any, T]]


class Colour(Enum):
    """Where a client is."""

    TRIO = "trio"
    ASYNCIO = "asyncio"
    SYNC = "sync"


def play(colour: Colour, url: str, scene: Scene[T], **options: Any) -> T:
    """Play a scene with a client of a store."""
    if colour is Colour.SYNC:
        with Client(url, **options) as client:
            return at_once(scene(cast("AsyncClient", Awaited(client))))
    return play_beside(colour, partial(open_client, url, **options), scene)


def play_beside(colour: Colour, opening: Callable[[], AbstractAsyncContextManager[AsyncClient]], scene: Scene[T]) -> T:
    """Play a scene with a client that is opened there."""

    async def main() -> T:
        async with opening() as client:
            return await scene(client)

    return anyio.run(main, backend=colour.value)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")


class Awaited:
    """A sync client or handle whose calls look as if they were to be awaited."""

    def __init__(self, inner: Client | ClientHandle[Any]) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        return partial(_gone_through if name in {"follow", "follow_log"} else _answered, found)


async def _answered(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    answer = call(*args, **kwargs)
    return Awaited(answer) if isinstance(answer, ClientHandle) else answer


def _gone_through(call: Callable[..., Iterator[T]], *args: Any, **kwargs: Any) -> AsyncIterator[T]:
    return _Turns(call(*args, **kwargs))


class _Turns:
    def __init__(self, items: Iterator[Any]) -> None:
        self._items = iter(items)

    def __aiter__(self) -> _Turns:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None
