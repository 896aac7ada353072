"""A step that workflow code has called, until its outcome is delivered."""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from outcome import Error, Value, capture
from outcome import Outcome as Answer
from trio.lowlevel import Abort, RaiseCancelT, reschedule, wait_task_rescheduled

from .._errors import ChildCancelled, NurselogError
from .._log.cursor import History, describe
from .._log.events import Result, StepEnded
from .._log.failures import decode_error, rebuild_error
from . import trouble
from .body import Body
from .guards import check_deadline, refuses_abort
from .outcomes import Failed, Outcome, Succeeded, WasCancelled
from .scope import CancelScope, culprit
from .strand import Operation, Strand

if TYPE_CHECKING:
    from .sequencer import Sequencer
    from .step import Step


class Why(NamedTuple):
    """Which durable scope cancelled a step, and the reason given."""

    scope: str | None = None
    reason: str | None = None

    @classmethod
    def of(cls, scope: CancelScope | None) -> Why:
        """Find the scope that cancels the code inside `scope`."""
        found = culprit(scope)
        return NOBODY if found is None else cls(found.path, found.reason)


NOBODY = Why()


class Call(ABC):
    """One call of a step: it waits until the workflow is quiet, its body runs, and its outcome is delivered."""

    __slots__ = (
        "_digests",
        "args",
        "body",
        "context",
        "kwargs",
        "operation",
        "path",
        "sequencer",
        "since",
        "step",
        "told",
        "why",
    )

    def __init__(
        self,
        sequencer: Sequencer,
        operation: Operation,
        step: Step[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        codec = sequencer.host.codec
        if step._codec is not codec:
            step._check_result(codec)  # before the effect, not after it
        self.sequencer: Sequencer = sequencer
        self.operation: Operation = operation
        self.path: str = operation.text
        """Its place in the workflow."""
        self.step: Step[..., Any] = step
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self._digests = step._digests(args, kwargs, sequencer)
        self.context: contextvars.Context = contextvars.copy_context()
        self.since: int = sequencer.cursor.delivered
        """The number of events that had been delivered when it was made."""
        self.body: Body | None = None
        self.told: bool = False
        """Whether its scope was cancelled."""
        self.why: Why = NOBODY

    @property
    def digest(self) -> str | None:
        """Of the arguments, as they were when it was called; None where they cannot be encoded."""
        return self._digests[0]

    @property
    def may_be_done(self) -> bool:
        """Whether it is a transaction that a former life may have committed, though the log has no word of it."""
        step = self.step
        return step.transaction is not None and not step._stand_in and self.since <= self.sequencer.cursor.former

    def start(self, history: History | None) -> None:
        """The workflow is quiet: run the body, unless the scope is cancelled already."""
        history = history or History()
        if self.told and not self.may_be_done:
            self.sequencer.log.append(
                StepEnded(
                    path=self.path,
                    name=self.step.name,
                    result=Result.CANCELLED,
                    attempts=history.attempts,
                    begun=history.begun,
                    digest=self.digest,
                    scope=self.why.scope,
                    reason=self.why.reason,
                )
            )
            return
        self.body = Body(self, history)
        self.sequencer.host.start(self.body)

    def cancel(self, why: Why) -> None:
        """Its scope is cancelled."""
        if not self.told:
            self.told, self.why = True, why
            if self.body is not None:
                self.body.cancel()

    def abandon(self) -> None:
        """The workflow leaves memory."""
        if self.body is not None:
            self.body.abandon()

    def ended(self, event: StepEnded, value: bytes | None) -> None:
        """The outcome is in the log."""
        check_step(self.sequencer, self.step, self.path, self._digests, event)
        if event.result is Result.CANCELLED and not self.told:
            raise trouble.changed(self.sequencer, describe(event), "a call whose scope is not cancelled", self.path)
        self.body = None  # it is over; and without the circle that the two make, the collector is spared both
        self.settle(outcome_of(self.sequencer, self.step, event, value))

    @property
    @abstractmethod
    def scope(self) -> CancelScope:
        """The innermost durable scope around it."""

    @abstractmethod
    def settle(self, outcome: Outcome[Any]) -> None:
        """Hand the outcome to whoever called."""


class Awaited:
    """Something that a strand awaits until its outcome is in the log: a step, or a child workflow.

    Cancelling the wait does not end it: what is awaited is told, and what becomes of it decides.
    """

    __slots__ = ()

    sequencer: Sequencer
    path: str
    _strand: Strand
    _raise_cancel: RaiseCancelT | None
    """Trio's word that the wait is cancelled."""

    if TYPE_CHECKING:

        def cancel(self, why: Why) -> None:
            """Tell what is awaited."""

    @property
    def scope(self) -> CancelScope:
        """The innermost durable scope around it."""
        scope = self._strand.scope
        assert scope is not None, "there is that of the whole workflow"
        return scope

    def _abort(self, raise_cancel: RaiseCancelT) -> Abort:
        if self.sequencer.suspending:
            return Abort.SUCCEEDED
        if not refuses_abort(self._strand):
            self._raise_cancel = raise_cancel  # type: ignore[misc]  # the classes below have the slot
            self.cancel(Why.of(self._strand.scope))
        return Abort.FAILED

    def settle(self, outcome: Outcome[Any]) -> None:
        """Hand the outcome to the strand."""
        match outcome:
            case Succeeded(value=value):
                answer: Answer[Any] = Value(value)
            case Failed(error=error):
                answer = Error(error)
            case WasCancelled(reason=reason) if self._raise_cancel is None:  # a child, by somebody outside
                answer = Error(ChildCancelled(self.path, reason))
            case WasCancelled():  # pragma: no branch - there is no other case
                assert self._raise_cancel is not None
                answer = capture(self._raise_cancel)
        reschedule(self._strand.task, answer)
        del answer  # a cancellation's traceback leads here


class AwaitedCall(Awaited, Call):
    """A step that a strand awaits."""

    __slots__ = ("_raise_cancel", "_strand")

    def wait(self, strand: Strand) -> Awaitable[Any]:
        """Park the strand until the outcome is delivered."""
        self._strand = strand
        self._raise_cancel: RaiseCancelT | None = None
        check_deadline(strand)
        self.sequencer.add_call(self)
        return wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - the caller awaits it, which saves a frame


def check_step(
    sequencer: Sequencer, step: Step[..., Any], path: str, digests: tuple[str | None, ...], event: StepEnded
) -> None:
    """See that a recorded outcome belongs to the call that the code has made."""
    if event.name != step.name:
        raise trouble.changed(sequencer, describe(event), f"a call of step {step.name!r}", path)
    if step.check_arguments and event.digest is not None and digests[0] is not None and event.digest not in digests:
        raise trouble.other_arguments(sequencer, describe(event), path)


def outcome_of(sequencer: Sequencer, step: Step[..., Any], event: StepEnded, value: bytes | None) -> Outcome[Any]:
    """Return what a recorded outcome is to the code: decoded from what was encoded, live as on replay."""
    try:
        match event.result:
            case Result.VALUE:
                return Succeeded(sequencer.host.codec.decode(value or b"", step.returns))
            case Result.ERROR:
                return Failed(rebuild_error(decode_error(value or b"")))
            case _:
                return WasCancelled(event.reason, event.path)
    except NurselogError as exc:
        raise trouble.unreadable(sequencer, describe(event), event.path, exc) from exc
