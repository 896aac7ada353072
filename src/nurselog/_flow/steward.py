"""The children of a nursery that have no task of their own: steps, and workflows with logs of their own.

A step's body runs in the engine's tasks, and a child workflow anywhere. What is left here of either is a handle that is
settled when the log says how it ended. All of them share one task in their nursery, the *steward*: it keeps the nursery
open until the last of its *wards* has an outcome, and its abort function is where Trio says that the nursery's scope is
cancelled. So a thousand concurrent steps are a thousand bodies, and not two thousand tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from trio.lowlevel import Abort, RaiseCancelT, reschedule, wait_task_rescheduled

from .._log.events import Cause, ScopeCancelled
from .call import Call, Why
from .children import Child
from .current import current_strand
from .guards import refuses_abort
from .outcomes import Outcome, WasCancelled
from .strand import Strand

if TYPE_CHECKING:
    from .handle import Handle
    from .scope import CancelScope
    from .sequencer import Sequencer


class Home(Protocol):
    """A nursery, as the steward in it sees it."""

    cancel_scope: CancelScope
    _sequencer: Sequencer
    _steward: Steward | None

    def _settle(self, handle: Handle[Any], outcome: Outcome[Any]) -> None:
        """A child has its outcome."""
        ...

    def _enter_scope(self) -> None:
        """The strand that runs is in the nursery from now on."""
        ...


class _Settling:
    """What a child of a nursery does with its outcome: settle a handle."""

    __slots__ = ()

    nursery: Home
    handle: Handle[Any]
    """Both are given by the nursery that takes it on."""

    @property
    def scope(self) -> CancelScope:
        """The innermost durable scope around it."""
        return self.nursery.cancel_scope

    def settle(self, outcome: Outcome[Any]) -> None:
        """Hand the outcome to the handle, and let the steward know."""
        self.nursery._settle(self.handle, outcome)
        steward = self.nursery._steward
        assert steward is not None
        steward.settled(cast("Ward", self), outcome)


class ChildCall(_Settling, Call):
    """A step that is a child of a nursery."""

    __slots__ = ("handle", "nursery")


class ChildWorkflow(_Settling, Child):
    """A workflow that is a child of a nursery."""

    __slots__ = ("handle", "nursery")


Ward: TypeAlias = ChildCall | ChildWorkflow
"""A child of a nursery that has no task of its own."""


def cancel_ward(ward: Ward, reason: str | None) -> None:
    """Cancel one child alone, and record it."""
    if not ward.told:
        ward.sequencer.note(ScopeCancelled(path=ward.path, by=Cause.EXPLICIT, reason=reason))
        ward.cancel(Why(ward.path, reason))


class Steward:
    """The one task in a nursery that stands for all its wards."""

    def __init__(self, nursery: Home) -> None:
        self._nursery = nursery
        self._wards: dict[str, Ward] = {}
        self._strand: Strand | None = None
        self._parked = False
        self._told: RaiseCancelT | None = None
        """Trio's word that the nursery is cancelled, for what it has been given so far."""
        self._caught = False
        """Whether a ward ended as cancelled because of it."""

    def add(self, ward: Ward) -> None:
        """Take a ward on. If the nursery was cancelled, Trio must be asked again: a shield may have come since."""
        self._wards[ward.path] = ward
        if self._told is not None:
            self._told = None
            self._wake()

    def settled(self, ward: Ward, outcome: Outcome[Any]) -> None:
        """A ward has its outcome: let go of it, and of the nursery after the last one."""
        del self._wards[ward.path]
        if isinstance(outcome, WasCancelled) and ward.told and ward.why.scope != ward.path:
            self._caught = True  # else it was cancelled alone: through its handle, or a workflow by somebody outside
        if not self._wards:
            self._wake()

    def _wake(self) -> None:
        if self._parked:
            assert self._strand is not None
            self._parked = False
            reschedule(self._strand.task)

    async def run(self) -> None:
        """Wait until all wards are settled; end as cancelled if one of them was."""
        self._strand = current_strand("steward")
        self._nursery._enter_scope()
        raise_cancel: RaiseCancelT | None = None
        while self._wards:
            self._parked = True
            await wait_task_rescheduled(self._abort)
            raise_cancel = self._told or raise_cancel
        self._nursery._steward = None
        if self._caught and raise_cancel is not None:
            raise_cancel()

    def _abort(self, raise_cancel: RaiseCancelT) -> Abort:
        sequencer = self._nursery._sequencer
        if sequencer.suspending:
            return Abort.SUCCEEDED
        assert self._strand is not None
        if not refuses_abort(self._strand):
            self._told = raise_cancel
            why = Why.of(self._nursery.cancel_scope)
            for ward in self._wards.values():
                ward.cancel(why)
        return Abort.FAILED
