"""`open_client`, `Client` and `open_engine_thread`: from a store's address to what can be asked, and back."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar, final

import trio

from .._engine.desk import Desk, check_place
from .._engine.engine import Engine
from .._engine.opening import open_engine
from .._errors import UsageError
from .._flow.arguments import PERIOD
from .._flow.workflow import Workflow
from .._log.codec import JsonCodec
from ..abc import Codec, Instrument, Store
from .blocking import BlockingClient
from .bridges import Bridge, OutOfAsyncio, Straight, cut_short_by, seen_through, waited_for
from .calls import AsyncClient
from .guest import Options, open_desk
from .thread import TrioThread

P = ParamSpec("P")
T = TypeVar("T")
Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[Desk]]
"""Opens a desk, on Trio."""


@asynccontextmanager
async def open_client(
    store: str | Store,
    *,
    codec: Codec | None = None,
    max_payload: int = 1 << 20,
    max_inbox: int = 1000,
    instruments: Sequence[Instrument] = (),
) -> AsyncGenerator[AsyncClient]:
    """Open a client of a store, on Trio or asyncio: for those who start, ask and tell workflows that others run.

    Args:
        store: the address of a file or a PostgreSQL database, as for `open_engine`, or a store that takes guests.
        codec: turns values into bytes, as for the engines; by default JSON.
        max_payload: bytes that one input or message may have, encoded.
        max_inbox: how many messages may wait for one workflow in the store.
        instruments: who is told what happens, and asked, in the caller's context, what goes along with a workflow.

    It needs no engine and not the workflows' code: see `AsyncClient.submit`. On asyncio it has a thread of its own.
    When the store is found broken, the block is cancelled, and raises why. Entering and leaving are checkpoints.

    Raises:
        UsageError: if the address is none, the store is in memory, or an option makes no sense; or if neither Trio nor
            asyncio runs here.
        StoreError: if the store cannot be opened, or breaks later.
    """
    check_place()
    options = Options(codec=codec or JsonCodec(), max_payload=max_payload, max_inbox=max_inbox, instruments=instruments)
    opening = partial(open_desk, store, options)
    if _is_asyncio():
        async with _beside_asyncio(opening) as client:
            yield client
    elif trio.lowlevel.in_trio_task():
        async with opening() as desk:
            yield AsyncClient(Straight(), desk)
    else:
        raise UsageError("open_client needs Trio or asyncio to run here. In sync code use nurselog.Client")


def _is_asyncio() -> bool:
    """Whether this is a task of asyncio's; not so in Trio's, where Trio is the guest of a loop of asyncio's."""
    asyncio = sys.modules.get("asyncio")
    with suppress(RuntimeError):  # there is no loop
        return asyncio is not None and asyncio.current_task() is not None
    return False


@asynccontextmanager
async def _beside_asyncio(opening: Opening) -> AsyncGenerator[AsyncClient]:
    """Open a desk in a thread, from asyncio. The block is cancelled when that breaks, as `open_engine`'s is."""
    thread = TrioThread(opening)
    thread.start()
    try:
        client = AsyncClient(OutOfAsyncio(thread), await seen_through(thread.opened, thread.close))
        with cut_short_by(thread.ended):
            yield client
    finally:
        if not thread.is_inherited:
            thread.close()
            try:
                await seen_through(thread.ended, thread.close)
            finally:
                thread.join()


@final
class Client(BlockingClient):
    """A client of a store for sync code: starts, asks and tells workflows that engines elsewhere run.

    Its calls are those of `AsyncClient` without `await`, and may come from any thread. It is open from the beginning,
    with a thread of its own, until `close`: `with Client(url) as client`.

    Args:
        store: as for `open_client`, and so are the others.
        codec: turns values into bytes.
        max_payload: bytes that one input or message may have.
        max_inbox: how many messages may wait for one workflow.
        instruments: who is told what happens, in the client's thread.

    Raises:
        UsageError: if the address is none, the store is in memory, or an option makes no sense.
        StoreError: if the store cannot be opened.
    """

    def __init__(
        self,
        store: str | Store,
        *,
        codec: Codec | None = None,
        max_payload: int = 1 << 20,
        max_inbox: int = 1000,
        instruments: Sequence[Instrument] = (),
    ) -> None:
        options = Options(
            codec=codec or JsonCodec(), max_payload=max_payload, max_inbox=max_inbox, instruments=instruments
        )
        self._open(TrioThread(partial(open_desk, store, options)))

    @classmethod
    def _of(cls, opening: Opening) -> Client:
        client = cls.__new__(cls)
        client._open(TrioThread(opening))
        return client

    def _open(self, thread: TrioThread) -> None:
        check_place()
        self._thread, self._entered, self._closed = thread, False, False
        thread.start()
        try:
            super().__init__(Bridge(thread), waited_for(thread.opened, thread.close))
        except BaseException:
            self.close()
            raise

    def fail_after(self, seconds: float) -> AbstractContextManager[None]:
        """Let the calls of a block take so many seconds at most, all together: `with client.fail_after(10)`.

        Args:
            seconds: how many.

        A call that is not over by then is cancelled, as on Trio, and raises `TimeoutError`. No workflow is. Blocks of
        other threads are not concerned, and inside another block the earlier end counts.

        Raises:
            UsageError: if that is no time.
        """
        PERIOD.check("seconds", seconds)
        return self._bridge.fail_after(seconds)

    def wait_ended(self) -> None:
        """Wait until nothing is answered any more: the client was closed, or its engine or its store has broken.

        For a thread that ends the host then, and for a script whose only work is the engine's. Nothing in sync code can
        be cancelled from outside, as a block of asyncio's or Trio's is: who wants to know at once must wait for it.
        What has broken is raised when the block is left, not here. A client without an engine looks at its store only
        for its calls. `fail_after` counts, and Control-C ends it.

        Raises:
            TimeoutError: in a block of `fail_after`, if that ends first.
            UsageError: in the thread of its own engine, and in a process that was forked from the client's.
        """
        self._bridge.wait_ended()

    def close(self) -> None:
        """Let everything go; it may be called again. In a process that was forked from the client's it does nothing.

        Raises:
            StoreError: if the store has broken since it was opened.
            UsageError: in an async step of the client's own engine, which would wait for itself.
        """
        if not (self._closed or self._thread.is_inherited):
            self._thread.check_apart()
            self._closed = True
            self._thread.close()
            try:
                waited_for(self._thread.ended, self._thread.close)
            finally:
                self._thread.join()

    def __enter__(self) -> Self:
        if self._entered:
            raise UsageError(
                "this client was entered before, and leaving that block closes it. Use it inside of the block, from "
                "any thread, or open another one"
            )
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@final
class EngineThread:
    """An engine in a thread of its own: `with` gives a `Client` of it, and `async with`, on asyncio, an `AsyncClient`.

    Not constructed directly: use `open_engine_thread`.
    """

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Engine]]) -> None:
        self._opening = opening
        self._stack = AsyncExitStack()
        self._client: Client | None = None
        self._inside = Lock()
        """Held while somebody is in the block: who else came in would leave the first one's thread behind."""

    @asynccontextmanager
    async def _desk(self) -> AsyncGenerator[Desk]:
        async with self._opening() as engine:
            yield engine._desk

    @contextmanager
    def _entering(self) -> Generator[None]:
        if not self._inside.acquire(blocking=False):
            raise UsageError(
                "this engine's block was entered while somebody is inside. Hand on the client that it has given, or "
                "call open_engine_thread once more"
            )
        try:
            yield
        except BaseException:
            self._inside.release()
            raise

    def __enter__(self) -> Client:
        with self._entering():
            self._client = Client._of(self._desk)
        return self._client

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        try:
            self._client.close()
        finally:
            self._inside.release()

    async def __aenter__(self) -> AsyncClient:
        check_place()
        if not _is_asyncio():
            raise UsageError(
                "open_engine_thread is for asyncio and for sync code (there with a plain `with`). On Trio an engine "
                "needs no thread: use open_engine"
            )
        with self._entering():
            return await self._stack.enter_async_context(_beside_asyncio(self._desk))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._stack.__aexit__(kind, error, trace)
        finally:
            self._inside.release()


def _like(_: Callable[P, object]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the parameters of another one, for type checkers."""

    def decorate(function: Callable[..., T]) -> Callable[P, T]:
        return function

    return decorate


@_like(open_engine)
def open_engine_thread(
    store: str | Store, workflows: Iterable[Workflow[..., Any]] | None = None, **options: Any
) -> EngineThread:
    """Run an engine beside code that is not on Trio, and ask it.

    Args:
        store: as for `open_engine`.
        workflows: as for `open_engine`.
        options: as for `open_engine`.

    In sync code `with` gives a `Client` of it; on asyncio `async with` gives an `AsyncClient`. It runs in a thread
    of its own, on Trio: neither loop waits for the other, and workflows, steps and their libraries find Trio where they
    expect it. Leaving the block suspends all workflows, as leaving `open_engine`'s does. When the engine breaks,
    asyncio's block is cancelled, as `open_engine`'s would be, and raises why; in sync code `Client.wait_ended` returns.

    Raises:
        When entered, what `open_engine` raises, and `UsageError` if somebody is inside; when left, what has ended the
        engine meanwhile. Calls raise `EngineClosed` then.
    """
    if isinstance(workflows, Iterable):  # what is none is told by the engine
        workflows = tuple(workflows)  # a generator belongs to this thread, and the engine may be opened once more
    return EngineThread(partial(open_engine, store, workflows, **options))
