"""Child workflows: workflows of their own, with logs of their own, that are bound to a scope of this one.

What the two have to do with each other are three rows and two messages. The parent notes that it has started a child,
and in the same transaction the child is made: where the row is, the child is, and where a crash has lost the one, it
has lost the other. When the child ends, a message to the parent is left in the same transaction as its last row; the
parent's owner enters that into the parent's log, which is where the outcome is delivered. When the scope is cancelled,
a message tells the child, and the parent waits for what becomes of it, cleanup included: a child that has ended
although it was told is one that has ended. So each side has the same outcome, whoever dies in between.

To tell a child is not in the parent's log: that follows from the cancelled scope, which is. It happens once the
workflow is quiet and its log has been followed, as the bodies of steps start; in each life anew, until the child ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from trio.lowlevel import RaiseCancelT, wait_task_rescheduled

from .._errors import NurselogError, Suspended, WorkflowKilled
from .._log.codec import digest
from .._log.cursor import describe
from .._log.events import ChildEnded, ChildStarted, Result
from .._log.failures import decode_error, rebuild_error
from .._log.identity import child_id
from . import trouble
from .arguments import digests_of
from .call import NOBODY, Awaited, Why
from .guards import check_deadline
from .outcomes import Failed, Outcome, Succeeded, WasCancelled
from .scope import CancelScope
from .strand import Operation, Strand

if TYPE_CHECKING:
    from .sequencer import Sequencer
    from .workflow import Workflow


class Child(ABC):
    """A child workflow, until its end is delivered."""

    __slots__ = ("_digests", "input", "operation", "path", "sequencer", "told", "why", "workflow")

    def __init__(
        self,
        sequencer: Sequencer,
        operation: Operation,
        workflow: Workflow[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        host = sequencer.host
        host.check_workflow(workflow)
        self.sequencer: Sequencer = sequencer
        self.operation: Operation = operation
        self.path: str = operation.text
        """Its place in the workflow."""
        self.workflow: Workflow[..., Any] = workflow
        self._digests = digests_of(args, kwargs, sequencer.id, sequencer.cursor.sources)
        data = workflow.signature.encode_call(host.codec.encode, args, kwargs)
        self.input: bytes = sequencer.log.limited(f"the input of workflow {self.id!r}", data)
        self.told: bool = False
        """Whether its scope was cancelled."""
        self.why: Why = NOBODY

    @property
    def id(self) -> str:
        """The child's id."""
        return child_id(self.sequencer.id, self.path)

    @property
    def digest(self) -> str:
        """Of the input, as it was encoded."""
        return digest(self.input)

    def start(self) -> None:
        """Enter it into the parent's log, and make it."""
        sequencer = self.sequencer
        sequencer.family.children[self.path] = self  # the row makes it
        noted = sequencer.note(ChildStarted(path=self.path, name=self.workflow.name, digest=self._digests[0]))
        assert isinstance(noted, ChildStarted)
        if None not in {noted.digest, self._digests[0]} and noted.digest not in self._digests:
            sequencer.stuck(trouble.other_arguments(sequencer, describe(noted), self.path))
            raise Suspended

    def cancel(self, why: Why) -> None:
        """Its scope is cancelled."""
        if not self.told:
            self.told, self.why = True, why
            self.sequencer.family.tell(self)

    def ended(self, event: ChildEnded, value: bytes | None) -> None:
        """Its end is in the log."""
        self.settle(self._outcome_of(event, value))

    def _outcome_of(self, event: ChildEnded, value: bytes | None) -> Outcome[Any]:
        try:
            match event.result:
                case Result.VALUE:
                    return Succeeded(self.sequencer.host.codec.decode(value or b"", self.workflow.returns))
                case Result.ERROR:
                    return Failed(rebuild_error(decode_error(value or b"")))
                case Result.CANCELLED:
                    return WasCancelled(event.reason, self.path)
                case Result.KILLED:  # pragma: no branch - there is no other case
                    return Failed(WorkflowKilled(self.id))
        except NurselogError as exc:
            raise trouble.unreadable(self.sequencer, describe(event), self.path, exc) from exc

    @property
    @abstractmethod
    def scope(self) -> CancelScope:
        """The innermost durable scope around it."""

    @abstractmethod
    def settle(self, outcome: Outcome[Any]) -> None:
        """Hand the outcome to whoever started it."""


class AwaitedChild(Awaited, Child):
    """A child workflow that a strand awaits."""

    __slots__ = ("_raise_cancel", "_strand")

    def wait(self, strand: Strand) -> Awaitable[Any]:
        """Start it, and park the strand until its end is delivered."""
        self._strand = strand
        self._raise_cancel: RaiseCancelT | None = None
        check_deadline(strand)
        self.start()
        return wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - the caller awaits it
