"""Durable cancel scopes: Trio's own scopes do the work, and the log says who cancelled them, when and why.

A scope's deadline is an absolute UTC time in the log. It is no Trio deadline, which would fire at another place on
replay: when it is due the log gets a `fired` event, and the scope is cancelled when that event is delivered.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import final

import trio

from .._log.events import Cause, ScopeCancelled, TimerSet
from .current import current_strand, own_strand
from .guards import check_fatal
from .names import reason_text
from .strand import Operation, Strand
from .timers import Timer
from .times import check_seconds, due_in, due_microseconds, from_microseconds


@final
class CancelScope:
    """A durable `trio.CancelScope`: its deadline and its cancellation are in the log.

    Args:
        deadline: when it is cancelled, an aware datetime; None for never.
        shield: whether cancellation from outside is kept out.

    Entering and leaving it are no checkpoints.
    """

    def __init__(self, *, deadline: datetime | None = None, shield: bool = False) -> None:
        due = None if deadline is None else due_microseconds(deadline)
        strand = current_strand("CancelScope")
        self._start(strand, strand.operation(), trio.CancelScope(shield=shield), due, None)

    def _start(
        self, strand: Strand, operation: Operation, scope: trio.CancelScope, due: int | None, seconds: float | None
    ) -> None:
        self._name = "scope"
        self._sequencer = strand.sequencer
        self.path: str = operation.text
        """Its place in the workflow."""
        self.reason: str | None = None
        """The text that it was cancelled with."""
        self.cause: Cause | None = None
        """What cancelled it; None while nothing has."""
        self._cancelled_at: int | None = None
        self._trio = scope
        self._due, self._seconds = due, seconds
        self._timer: Timer | None = None
        self._outer: CancelScope | None = None
        self._strand: Strand | None = None
        self._entered = False
        self._nurseries = 0
        """How many nurseries its task had open when it was entered."""

    @classmethod
    def _around(
        cls, name: str, strand: Strand, operation: Operation, scope: trio.CancelScope | None = None
    ) -> CancelScope:
        """Make the durable scope of a nursery, a child or a whole workflow, named for people."""
        self = object.__new__(cls)
        self._start(strand, operation, scope or trio.CancelScope(), None, None)
        self._name = name
        return self

    @classmethod
    def _within(cls, what: str, seconds: float) -> CancelScope:
        """Make a scope that is cancelled some seconds after it is entered."""
        strand = current_strand(what)
        self = object.__new__(cls)
        self._start(strand, strand.operation(), trio.CancelScope(), None, seconds)
        return self

    # -- entering and leaving --------------------------------------------------------------------

    def __enter__(self) -> CancelScope:
        self._enter()  # first: it may raise, and then Trio's scope must not be open
        self._trio.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if exc is not None and self._strand is not None:
            check_fatal(self._strand, exc)
        self._leave()
        return bool(self._trio.__exit__(exc_type, exc, traceback))

    def _enter(self) -> None:
        if self._entered:
            raise RuntimeError("a CancelScope can be entered only once; make another one")
        strand = self._strand = own_strand("CancelScope", self._sequencer)
        self._entered = True
        self._nurseries = len(strand.task.child_nurseries)
        self._outer, strand.scope = strand.scope, self
        if self._seconds is not None and self._seconds != float("inf"):
            self._due = due_in(self._sequencer, self._seconds)
        if self._due is not None:
            self._set_timer(self._due)
        self._sequencer.host.scope_entered(self)

    def _leave(self) -> None:
        strand, self._strand = self._strand, None
        if strand is not None and strand.scope is self:
            strand.scope = self._outer
        if strand is not None and not self._sequencer.suspending:
            self._sequencer.host.scope_left(self)
        self._drop_timer()

    def _entered_in(self, strand: Strand, nurseries: int) -> bool:
        """Whether a strand has entered it when it had more than so many nurseries open; for nurselog itself."""
        return self._strand is strand and self._nurseries > nurseries

    # -- deadlines -------------------------------------------------------------------------------

    def _set_timer(self, due: int) -> None:
        note = self._sequencer.note(TimerSet(path=self.path, name="scope", due=due))
        assert isinstance(note, TimerSet)
        self._due = note.due
        self._timer = Timer(self.path, note.due, lambda: self.cancel_by(Cause.DEADLINE, None))
        self._sequencer.timers.arm(self._timer)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._sequencer.timers.disarm(self._timer)
            self._timer = None

    @property
    def deadline(self) -> datetime | None:
        """The time at which it is cancelled, UTC; None for never.

        It may be set at any time.
        """
        return None if self._due is None else from_microseconds(self._due)

    @deadline.setter
    def deadline(self, deadline: datetime | None) -> None:
        own_strand("CancelScope.deadline", self._sequencer)
        self._drop_timer()
        self._due = None if deadline is None else due_microseconds(deadline)
        self._seconds = None  # set before it is entered, it counts instead of those
        if self._due is not None and self._strand is not None:
            self._set_timer(self._due)

    # -- cancelling ------------------------------------------------------------------------------

    def cancel(self, reason: str | None = None) -> None:
        """Cancel everything in the scope, as `trio.CancelScope.cancel` does, and record it with its reason.

        Args:
            reason: a text for people, kept in the log.

        Not a checkpoint. Only the first cancellation counts.
        """
        own_strand("CancelScope.cancel", self._sequencer)
        self.cancel_by(Cause.EXPLICIT, reason_text(reason))

    def cancel_by(self, cause: Cause, reason: str | None) -> None:
        """Cancel the scope for a cause that is not the caller's own decision; for nurselog itself."""
        if self._trio.cancel_called:
            return
        self.cause, self.reason, self._cancelled_at = cause, reason, self._sequencer.now
        if cause is not Cause.EXTERNAL:  # that one is in the log already
            self._sequencer.note(ScopeCancelled(path=self.path, by=cause, reason=reason))
        self._trio.cancel(reason)

    @property
    def cancel_called(self) -> bool:
        """Whether it has been cancelled, for whatever cause. Never looks at a clock."""
        return self._trio.cancel_called

    @property
    def cancelled_caught(self) -> bool:
        """Whether it has stopped a `Cancelled` at its end."""
        return self._trio.cancelled_caught

    @property
    def shield(self) -> bool:
        """Whether cancellation from outside is kept out. It may be set at any time."""
        return self._trio.shield

    @shield.setter
    def shield(self, value: bool) -> None:
        own_strand("CancelScope.shield", self._sequencer)
        self._trio.shield = value

    def __repr__(self) -> str:
        return f"<nurselog.CancelScope at path {self.path or 'root'}{', cancelled' if self.cancel_called else ''}>"


def culprit(scope: CancelScope | None) -> CancelScope | None:
    """Return the durable scope that cancels the code inside `scope`, if it is a durable one that does."""
    while scope is not None and not scope.cancel_called:
        if scope.shield:
            return None
        scope = scope._outer
    return scope


def rebased(scope: CancelScope | None, old: CancelScope | None, new: CancelScope) -> CancelScope | None:
    """Put `new` below a chain of scopes that stood on `old`, and return the innermost of the chain."""
    if scope is old:
        return new
    lowest = scope
    assert lowest is not None
    while lowest._outer is not old:
        lowest = lowest._outer
        assert lowest is not None
    lowest._outer = new
    return scope


def move_on_after(seconds: float) -> CancelScope:
    """Return a scope that is cancelled some seconds after it was entered; the deadline is in the log.

    Args:
        seconds: from entering on, not negative.

    Raises:
        ValueError: if `seconds` is negative or not a number.
    """
    return CancelScope._within("move_on_after", check_seconds(seconds))


def move_on_at(deadline: datetime) -> CancelScope:
    """Return a scope that is cancelled at a time of day; the deadline is in the log.

    Args:
        deadline: an aware datetime.

    Raises:
        ValueError: if `deadline` has no time zone.
    """
    return CancelScope(deadline=deadline)


@contextmanager
def fail_after(seconds: float) -> Generator[CancelScope]:
    """Like `move_on_after`, and raises if the time ran out.

    Args:
        seconds: from entering on, not negative.

    Raises:
        trio.TooSlowError: if the scope was cancelled and nothing else was raised.
        ValueError: if `seconds` is negative or not a number.
    """
    with move_on_after(seconds) as scope:
        yield scope
    if scope.cancelled_caught:
        raise trio.TooSlowError


@contextmanager
def fail_at(deadline: datetime) -> Generator[CancelScope]:
    """Like `move_on_at`, and raises if the time ran out.

    Args:
        deadline: an aware datetime.

    Raises:
        trio.TooSlowError: if the scope was cancelled and nothing else was raised.
        ValueError: if `deadline` has no time zone.
    """
    with move_on_at(deadline) as scope:
        yield scope
    if scope.cancelled_caught:
        raise trio.TooSlowError
