"""A child's handle: a channel of exactly one outcome, which is not used up by receiving it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, final

from .._log.lifecycle import Status
from .cases import Watched, wait_for_first
from .current import arrive, own_strand
from .names import reason_text
from .outcomes import Failed, Outcome, Succeeded, WasCancelled
from .sequencer import Sequencer
from .strand import Operation

T_co = TypeVar("T_co", covariant=True)


@final
class Handle(Watched[T_co]):
    """A child that `go` has started.

    Not constructed directly: `nursery.go(...)` returns it. Handles are equal if they are the same child.
    """

    __slots__ = ("_ask_cancel", "_claimed", "_name", "_operation", "_outcome", "_since")

    def __init__(
        self, sequencer: Sequencer, operation: Operation, name: str, ask_cancel: Callable[[str | None], None]
    ) -> None:
        super().__init__(sequencer)
        self._operation = operation
        self._name = name
        self._ask_cancel = ask_cancel
        self._outcome: Outcome[T_co] | None = None
        self._since = 0
        self._claimed = False

    @property
    def path(self) -> str:
        """The child's place in the workflow."""
        return self._operation.text

    @property
    def name(self) -> str:
        """The child's name, for people."""
        return self._name

    @property
    def outcome(self) -> Outcome[T_co] | None:
        """What became of the child; None until it has settled. Reading a failure claims it."""
        own_strand("Handle.outcome", self._sequencer)
        if self._outcome is not None:
            self._claimed = True
        return self._outcome

    @property
    def status(self) -> Status:
        """RUNNING, COMPLETED, FAILED or CANCELLED. Claims nothing."""
        match self._outcome:
            case None:
                return Status.RUNNING
            case Succeeded():
                return Status.COMPLETED
            case Failed():
                return Status.FAILED
            case WasCancelled():  # pragma: no branch - there is no other case
                return Status.CANCELLED

    async def receive(self) -> Outcome[T_co]:
        """Wait for the child's outcome, and return it; never raises the child's error.

        Every receiver gets it, as often as asked. A checkpoint; cancelling the wait leaves the child alone.
        """
        _, outcome = await wait_for_first(await arrive("Handle.receive", self._sequencer), (self,))
        return outcome

    async def result(self) -> T_co:
        """Wait for the child, and return its value.

        A checkpoint; cancelling the wait leaves the child alone.

        Raises:
            ChildCancelled: if it was cancelled.
            Exception: the child's own error, if it failed.
        """
        return (await self.receive()).unwrap()

    def cancel(self, reason: str | None = None) -> None:
        """Cancel this child alone, and record it with its reason. Not a checkpoint.

        Args:
            reason: a text for people, kept in the log.
        """
        own_strand("Handle.cancel", self._sequencer)
        self._ask_cancel(reason_text(reason))

    def __hash__(self) -> int:
        return hash(self._operation.text)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<nurselog.Handle {self._name} at path {self.path}, {self.status.value}>"

    # -- for nurseries and selects ---------------------------------------------------------------

    def _settle(self, outcome: Outcome[T_co]) -> None:
        self._outcome = outcome
        self._ask_cancel = _too_late  # what was there leads to the child, and so back here
        self._since = self._sequencer.cursor.delivered
        for waiter, index in list(self._waiters.items()):
            self._claimed |= waiter.claims
            waiter.wake(index, outcome)

    def _ready_since(self) -> int | None:
        return None if self._outcome is None else self._since

    def _claim(self) -> None:
        self._claimed = True

    def _take(self) -> Outcome[T_co]:
        self._claimed = True
        assert self._outcome is not None
        return self._outcome


def _too_late(_reason: str | None) -> None:
    """Cancel a child that has settled: nothing happens."""


def unclaimed_error(handle: Handle[Any]) -> Exception | None:
    """Return the error of a child that nobody has asked for."""
    outcome = handle._outcome
    return outcome.error if isinstance(outcome, Failed) and not handle._claimed else None
