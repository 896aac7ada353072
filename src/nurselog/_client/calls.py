"""What one asks a client, for those who can await.

`blocking` has the same for sync code, and is made of this file by `tests/client/generate.py`: change nothing there.
What is asked here is answered by the desk, in Trio; the bridge is the way there.
"""

# No `from __future__ import annotations`: as text, they would be looked up where the classes are public, not here.

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, Self, TypeVar, TypeVarTuple, final, overload

from .._engine.desk import Desk
from .._engine.entries import LogEntry
from .._engine.handle import WorkflowHandle
from .._engine.info import WorkflowInfo, filter_of
from .._engine.messages import Kind, Letter
from .._engine.reading import Item
from .._log.lifecycle import Status
from .bridges import AsyncBridge
from .receiving import Received

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Ts = TypeVarTuple("Ts")


class AsyncItems(Generic[T]):
    """What comes from a workflow, one after the other."""

    def __init__(self, bridge: AsyncBridge, received: Received[T]) -> None:
        self._bridge, self._received = bridge, received

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while (item := self._received.take()) is None:
            if not await self._bridge.call(self._received.more):
                raise StopAsyncIteration
        return item


@final
class AsyncClientHandle(Generic[T_co]):
    """A workflow in the store, wherever it runs.

    Not constructed directly: an `AsyncClient` returns it.
    """

    def __init__(self, bridge: AsyncBridge, handle: WorkflowHandle[T_co]) -> None:
        self._bridge, self._handle = bridge, handle

    @property
    def id(self) -> str:
        """The workflow's id."""
        return self._handle.id

    @property
    def name(self) -> str:
        """The recorded name of its function."""
        return self._handle.name

    async def result(self) -> T_co:
        """Wait until the workflow has ended, and return its result, or raise its error, as `WorkflowHandle.result`."""
        return await self._bridge.call(self._handle.result)

    async def status(self) -> Status:
        """Return where the workflow stands, as `WorkflowHandle.status`."""
        return await self._bridge.call(self._handle.status)

    async def log(self) -> Sequence[LogEntry]:
        """Return the whole log, as `WorkflowHandle.log`."""
        return await self._bridge.call(self._handle.log)

    def follow_log(self, *, after: int = 0) -> AsyncIterator[LogEntry]:
        """Go through the log, first row first, as it is written; it ends behind the workflow's last row.

        Args:
            after: the seq behind which it begins, such as that of the last entry that is known.

        When an entry comes, `WorkflowHandle.follow_log` says. If it raises, nothing is lost: the next turn goes on from
        there. Nothing is read before the first turn, and there is nothing to close.

        Raises:
            What `WorkflowHandle.follow_log` raises, and in its turns what the channel's `receive` does.
        """
        return AsyncItems(self._bridge, Received(self._handle.follow_log(after=after)))

    @overload
    async def latest(self, name: str) -> Item[Any] | None: ...
    @overload
    async def latest(self, name: str, type: type[T]) -> Item[T] | None: ...
    @overload
    async def latest(self, name: str, type: object) -> Item[Any] | None: ...
    async def latest(self, name: str, type: object = Any) -> Item[Any] | None:
        """Return what the workflow has published last under a name, as `WorkflowHandle.latest`."""
        return await self._bridge.call(self._handle.latest, name, type)

    @overload
    def follow(self, name: str, *, after: int = ...) -> AsyncIterator[Item[Any]]: ...
    @overload
    def follow(self, name: str, type: type[T], *, after: int = ...) -> AsyncIterator[Item[T]]: ...
    @overload
    def follow(self, name: str, type: object, *, after: int = ...) -> AsyncIterator[Item[Any]]: ...
    def follow(self, name: str, type: object = Any, *, after: int = 0) -> AsyncIterator[Item[Any]]:
        """Go through everything that the workflow publishes under a name, as it comes.

        Args:
            name: as in `publish`, or in `open_stream`.
            type: what the values are read back as: a class, or any annotation that the codec knows.
            after: the position behind which it begins, such as that of the last item that is known.

        It ends when the stream is closed or the workflow has completed. If it raises, nothing is lost: the next turn
        goes on from there. Nothing is read before the first turn, and there is nothing to close.

        Raises:
            What `WorkflowHandle.follow` raises, and in its turns what the channel's `receive` does.
        """
        return AsyncItems(self._bridge, Received(self._handle.follow(name, type, after=after)))

    def __repr__(self) -> str:
        return f"<nurselog.AsyncClientHandle {self.id!r} of {self.name}>"


class AsyncClient:
    """Asks for workflows, and tells them something; engines elsewhere run them.

    Not constructed directly: `async with open_client(url) as client`, on Trio or asyncio. Its calls are those of
    `Engine`, and raise what these do. Cancelling a call cancels it as it would be in Trio, and waits for that; it never
    cancels a workflow.
    """

    def __init__(self, bridge: AsyncBridge, desk: Desk) -> None:
        self._bridge, self._desk = bridge, desk

    @overload
    async def run(self, workflow: Callable[[*Ts], Awaitable[T]], *args: *Ts, id: str | None = ...) -> T: ...
    @overload
    async def run(
        self, workflow: str, *args: object, type: type[T], id: str | None = ..., version: str | None = ...
    ) -> T: ...
    @overload
    async def run(
        self, workflow: str, *args: object, type: object = ..., id: str | None = ..., version: str | None = ...
    ) -> Any: ...
    async def run(
        self,
        workflow: Callable[[*Ts], Awaitable[Any]] | str,
        *args: *Ts,
        type: object = Any,
        id: str | None = None,
        version: str | None = None,
    ) -> Any:
        """Run a workflow and return its result: `submit` and `result` in one."""
        return await self._bridge.call(self._desk.run, workflow, args, id, version=version, returns=type)

    @overload
    async def submit(
        self, workflow: Callable[[*Ts], Awaitable[T]], *args: *Ts, id: str | None = ...
    ) -> AsyncClientHandle[T]: ...
    @overload
    async def submit(
        self, workflow: str, *args: object, type: type[T], id: str | None = ..., version: str | None = ...
    ) -> AsyncClientHandle[T]: ...
    @overload
    async def submit(
        self, workflow: str, *args: object, type: object = ..., id: str | None = ..., version: str | None = ...
    ) -> AsyncClientHandle[Any]: ...
    async def submit(
        self,
        workflow: Callable[[*Ts], Awaitable[Any]] | str,
        *args: *Ts,
        type: object = Any,
        id: str | None = None,
        version: str | None = None,
    ) -> AsyncClientHandle[Any]:
        """Start a workflow; return when it is durable that it will run.

        Args:
            workflow: a function decorated with `@workflow`, or its recorded name: then its code need not be here.
            args: its arguments. With a name, they are taken by position when the workflow runs, and it is stuck if they
                do not fit.
            type: what its result is read back as, where a name was given; by default, plain JSON.
            id: 1 to 200 characters without "/"; the same id with the same input is the same run. None: a new one.
            version: of the function, where a name was given and the function has one.

        Raises:
            What `Engine.submit` raises.
        """
        handle = await self._bridge.call(self._desk.submit, workflow, args, id, version=version, returns=type)
        return AsyncClientHandle(self._bridge, handle)

    @overload
    async def get(self, id: str) -> AsyncClientHandle[Any]: ...
    @overload
    async def get(self, id: str, type: type[T]) -> AsyncClientHandle[T]: ...
    @overload
    async def get(self, id: str, type: object) -> AsyncClientHandle[Any]: ...
    async def get(self, id: str, type: object = None) -> AsyncClientHandle[Any]:
        """Return the handle of a workflow that exists, as `Engine.get`.

        Args:
            id: the workflow's id.
            type: what its result is read back as; None: what its function says, if that was given to this client, or
                plain JSON.
        """
        return AsyncClientHandle(self._bridge, await self._bridge.call(self._desk.get, id, type))

    async def list(
        self,
        *,
        status: Iterable[Status] | None = None,
        name: str | None = None,
        prefix: str | None = None,
        limit: int = 100,
        before: WorkflowInfo | None = None,
    ) -> Sequence[WorkflowInfo]:
        """Return workflows, the newest first, as `Engine.list`; whether anybody can run them a client does not know."""
        return await self._bridge.call(self._desk.list, filter_of(status, name, prefix, limit, before))

    async def cancel(self, id: str, reason: str | None = None) -> None:
        """Cancel a workflow, as `Engine.cancel`."""
        await self._bridge.call(self._desk.tell, id, Kind.CANCEL, reason)

    async def kill(self, id: str) -> None:
        """End a workflow without running its code, as `Engine.kill`; an engine that has its function does it."""
        await self._bridge.call(self._desk.tell, id, Kind.KILL)

    async def resume(self, id: str) -> None:
        """Let a stuck workflow go on, as `Engine.resume`."""
        await self._bridge.call(self._desk.resume, id)

    async def fork(self, id: str, *, at: int, new_id: str | None = None) -> AsyncClientHandle[Any]:
        """Start a new workflow with the first rows of another one's log, as `Engine.fork`, in the same version."""
        return AsyncClientHandle(self._bridge, await self._bridge.call(self._desk.fork, id, at, new_id))

    async def send(self, id: str, topic: str, value: object, *, key: str | None = None, early: bool = False) -> bool:
        """Send a message to a workflow's mailbox, as `Engine.send`; return False if it was sent before."""
        return await self._bridge.call(self._desk.send, Letter(id, topic, value, key, early))

    async def send_all(self, letters: Iterable[Letter]) -> Sequence[bool]:
        """Send many messages at once, as `Engine.send_all`."""
        # A generator is the caller's code: it belongs to the caller's thread, and must not hold up the other one.
        return await self._bridge.call(self._desk.send_all, tuple(letters))

    async def resolve(self, promise: str, value: object = None) -> None:
        """Settle a promise of a workflow's with a value, as `Engine.resolve`."""
        await self._bridge.call(self._desk.resolve, promise, value)

    async def reject(self, promise: str, error: Exception) -> None:
        """Settle a promise of a workflow's with an error, as `Engine.reject`."""
        await self._bridge.call(self._desk.reject, promise, error)

    @overload
    async def update(self, id: str, name: str, value: object = ..., *, key: str | None = ...) -> Any: ...
    @overload
    async def update(self, id: str, name: str, value: object, type: type[T], *, key: str | None = ...) -> T: ...
    @overload
    async def update(
        self, id: str, name: str, value: object = ..., type: object = ..., *, key: str | None = ...
    ) -> Any: ...
    async def update(
        self, id: str, name: str, value: object = None, type: object = Any, *, key: str | None = None
    ) -> Any:
        """Ask a workflow for something, and return its answer, as `Engine.update`."""
        return await self._bridge.call(self._desk.update, id, name, value, type, key)

    async def delete(self, id: str) -> None:
        """Remove a workflow that has ended, and its descendants, as `Engine.delete`."""
        await self._bridge.call(self._desk.delete, id)
