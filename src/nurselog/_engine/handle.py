"""A workflow as those outside see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple, final, overload

import trio

from .._flow.arguments import NATURAL
from .._flow.names import check_readable, label
from .._log.lifecycle import Status
from ..abc import Workflow as WorkflowRow
from .ends import value_of
from .entries import Entries, LogEntry
from .follower import Follower
from .querying import ask
from .reading import Item, Items, find_latest, item_of

if TYPE_CHECKING:
    from .desk import Desk

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
T_co = TypeVar("T_co", covariant=True)


@final
class WorkflowHandle(Generic[T_co]):
    """A workflow in the store, wherever it runs.

    Not constructed directly: `engine.submit` and `engine.get` return it.
    """

    def __init__(self, desk: Desk, row: WorkflowRow, returns: Any) -> None:
        self._desk = desk
        self._row = row
        self._returns = returns

    @property
    def id(self) -> str:
        """The workflow's id."""
        return self._row.id

    @property
    def name(self) -> str:
        """The recorded name of its function."""
        return self._row.name

    async def result(self) -> T_co:
        """Wait until the workflow has ended, here or elsewhere, and return its result.

        A checkpoint. Cancelling the wait never cancels the workflow.

        Raises:
            WorkflowCancelled: if it was cancelled.
            WorkflowKilled: if it was killed.
            WorkflowStuck: if it cannot go on with the code as it is.
            WorkflowNotFound: if it was deleted.
            EngineClosed: if the engine closes first.
            Exception: the workflow's own error, if it failed.
        """
        event, value = await self._desk.end_of(self._row)
        result: T_co = value_of(self.id, event, value, self._desk.codec, self._returns)
        return result

    async def query(self, function: Callable[[Any, *Ts], T], *args: *Ts) -> T:
        """Ask the workflow, as `Engine.query`. A checkpoint."""
        answer: T = await ask(self._desk, await self._desk.find_again(self._row), function, args)
        return answer

    # -- what it publishes -----------------------------------------------------------------------

    @overload
    async def latest(self, name: str) -> Item[Any] | None: ...
    @overload
    async def latest(self, name: str, type: type[T]) -> Item[T] | None: ...
    @overload
    async def latest(self, name: str, type: object) -> Item[Any] | None: ...
    async def latest(self, name: str, type: object = Any) -> Item[Any] | None:
        """Return what the workflow has published last under a name; None if it has published nothing.

        Args:
            name: as in `publish`, or in `open_stream`.
            type: what the value is read back as: a class, or any annotation that the codec knows.

        Also of a workflow that has ended. A checkpoint.

        Raises:
            DecodingError: if the value does not fit the type.
            RegistrationError: if nothing could be read back as `type`.
            UsageError: if the name is none.
            WorkflowNotFound: if the workflow was deleted.
            EngineClosed: if the engine is closed.
        """
        name, codec = self._told("latest", name, type), self._desk.codec
        row = await find_latest(partial(self._desk.read, self._row), self.id, name)
        return None if row is None else item_of(row, codec, type)

    @overload
    def follow(self, name: str, *, after: int = 0) -> trio.abc.ReceiveChannel[Item[Any]]: ...
    @overload
    def follow(self, name: str, type: type[T], *, after: int = 0) -> trio.abc.ReceiveChannel[Item[T]]: ...
    @overload
    def follow(self, name: str, type: object, *, after: int = 0) -> trio.abc.ReceiveChannel[Item[Any]]: ...
    def follow(self, name: str, type: object = Any, *, after: int = 0) -> trio.abc.ReceiveChannel[Item[Any]]:
        """Return a channel of everything that the workflow publishes under a name, as it comes.

        Args:
            name: as in `publish`, or in `open_stream`.
            type: what the values are read back as: a class, or any annotation that the codec knows.
            after: the position behind which it begins, such as that of the last item that is known; 0: from the first
                item on.

        Each reader gets every item, however late it comes and wherever the workflow runs. The channel ends when the
        stream is closed, or the workflow has completed; `receive` raises what `result` raises if the workflow ends in
        any other way, is stuck, or the engine closes; of an error that would be the end here, a `RuntimeError`. Not a
        checkpoint, and nothing is read before the first `receive`.

        Raises:
            RegistrationError: if nothing could be read back as `type`.
            UsageError: if the name or the position is none.
            EngineClosed: if the engine is closed.
        """
        name = self._told("follow", name, type)
        NATURAL.check("after", after)
        items: Items[Any] = Items(Follower(self._desk, self._row, after), name, self.id, self._desk.codec, type)
        return items

    def _told(self, what: str, name: str, type: object) -> str:
        self._desk.check_open()
        check_readable(f"{what}, its values", type, self._desk.codec)
        return label("a name", name)

    # -- what is known of it ---------------------------------------------------------------------

    async def status(self) -> Status:
        """Return where the workflow stands. A checkpoint.

        Raises:
            WorkflowNotFound: if it was deleted.
        """
        return (await self._desk.find_again(self._row)).status

    async def log(self) -> Sequence[LogEntry]:
        """Return the whole log, first row first. A checkpoint.

        Raises:
            WorkflowNotFound: if it was deleted.
        """
        return [LogEntry.of(row) for row in await self._desk.read_log(self._row)]

    def follow_log(self, *, after: int = 0) -> trio.abc.ReceiveChannel[LogEntry]:
        """Return a channel of the log's entries, first row first, as they are written.

        Args:
            after: the seq behind which it begins, such as that of the last entry that is known; 0: with the first row.

        Each reader gets every entry, however late it comes and wherever the workflow runs. The channel ends behind the
        workflow's last row, however it has ended: that row says how. `receive` raises `WorkflowStuck` if there is no
        more and the workflow cannot go on, which is asked anew the next time, `WorkflowNotFound` if it was deleted, and
        `EngineClosed`. Not a checkpoint, and nothing is read before the first `receive`.

        While this engine has the workflow in memory, entries come as they are durable, and nobody looks for them. Else
        they are looked for, a twentieth of a second after the last one, then less and less often while nothing comes,
        once a second in the end: who had others told of each row of each workflow would wake up all processes all the
        time. Published values, the end, and all that is written into a SQLite file come in a tenth of a second.

        Raises:
            UsageError: if the seq is none.
            EngineClosed: if the engine is closed.
        """
        self._desk.check_open()
        NATURAL.check("after", after)
        return Entries(Follower(self._desk, self._row, after, each=True), after)

    def __repr__(self) -> str:
        return f"<nurselog.WorkflowHandle {self.id!r} of {self.name}>"
