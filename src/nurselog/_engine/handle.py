"""A workflow as those outside see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

import msgspec

from .._log.events import Event, Row, decode_event
from .._log.lifecycle import Status
from ..abc import Workflow as WorkflowRow
from .ends import value_of

if TYPE_CHECKING:
    from .engine import Engine

T_co = TypeVar("T_co", covariant=True)


class LogEntry(msgspec.Struct, frozen=True):
    """One event of a workflow's log."""

    seq: int
    """Dense from 1."""
    at: int
    """UTC microseconds."""
    after: int
    """The number of events that the workflow had been given when this one was written."""
    event: Event
    """What happened."""
    value: bytes | None
    """The application's value, as the codec wrote it: an input, a result or an error."""

    @classmethod
    def of(cls, row: Row) -> LogEntry:
        """Decode a row."""
        return cls(row.seq, row.at, row.after, decode_event(row.event), row.value)


@final
class WorkflowHandle(Generic[T_co]):
    """A workflow in the store, wherever it runs.

    Not constructed directly: `engine.submit` and `engine.get` return it.
    """

    def __init__(self, engine: Engine, row: WorkflowRow, returns: Any) -> None:
        self._engine = engine
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
            EngineClosed: if the engine closes first.
            Exception: the workflow's own error, if it failed.
        """
        event, value = await self._engine._end_of(self._row)
        result: T_co = value_of(self.id, event, value, self._engine._codec, self._returns)
        return result

    async def status(self) -> Status:
        """Return where the workflow stands. A checkpoint."""
        return (await self._engine._find(self.id)).status

    async def log(self) -> Sequence[LogEntry]:
        """Return the whole log, first row first. A checkpoint."""
        return [LogEntry.of(row) for row in await self._engine._read(self._row)]

    def __repr__(self) -> str:
        return f"<nurselog.WorkflowHandle {self.id!r} of {self.name}>"
