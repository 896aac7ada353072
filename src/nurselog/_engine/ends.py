"""What became of a workflow, for those outside who ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._errors import StoreCorrupt, WorkflowCancelled, WorkflowKilled, WorkflowStuck
from .._log.events import Ended, Result, Row, decode_event
from .._log.failures import decode_error, rebuild_error
from .._log.lifecycle import Status
from ..abc import Codec
from ..abc import Workflow as WorkflowRow


def value_of(id: str, event: Ended, value: bytes | None, codec: Codec, returns: Any) -> Any:
    """Return a workflow's result, or raise what became of it instead."""
    match event.result:
        case Result.VALUE:
            return codec.decode(value or b"", returns)
        case Result.ERROR:
            raise rebuild_error(decode_error(value or b""))
        case Result.CANCELLED:
            raise WorkflowCancelled(id, event.reason)
        case Result.KILLED:  # pragma: no branch - there is no other case
            raise WorkflowKilled(id)


def end_of(row: WorkflowRow, log: Sequence[Row]) -> tuple[Ended, Row]:
    """Return the end of a workflow that has one, and its row."""
    for last in reversed(log):
        event = decode_event(last.event)
        if isinstance(event, Ended):
            return event, last
    raise StoreCorrupt(f"workflow {row.id!r} is {row.status.value}, but its log has no end")


def refuse_stuck(row: WorkflowRow) -> None:
    """Raise for a workflow that will not end by itself.

    Raises:
        WorkflowStuck: if it cannot go on.
    """
    if row.status is Status.STUCK:
        raise WorkflowStuck(row.id, row.problem or "")
