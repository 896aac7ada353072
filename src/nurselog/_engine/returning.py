"""What was asked for in a former life of this engine, before it lost its lease, and comes when it has a new one."""

from __future__ import annotations

from collections.abc import Callable

from .._log.events import Event, Row
from ..abc import Standing, Workflow, WorkflowKey
from .journal import Journal


def give_back(journal: Journal, row: Workflow, writer: int, then: Callable[[], None]) -> None:
    """Let go of a workflow in the store, unless somebody has claimed it since: that is refused by its log.

    Args:
        journal: where that is said.
        row: the workflow.
        writer: of its last row, as far as is known here.
        then: called when it is anybody's.
    """
    journal.stand(_Returned(row.key, writer, then), Standing(status=row.status, due_at=0, release=True))


class _Returned:
    """The writer for a workflow that is let go, and that nothing of was ever in memory."""

    def __init__(self, key: WorkflowKey, number: int, then: Callable[[], None]) -> None:
        self.key: WorkflowKey = key
        self.number: int = number
        self._then = then

    def committed(self, row: Row, event: Event) -> None:
        """It writes no row."""

    def standing_committed(self, standing: Standing) -> None:  # noqa: ARG002 - there is one
        """It is anybody's."""
        self._then()

    def refused(self) -> None:
        """Somebody else owns it."""
