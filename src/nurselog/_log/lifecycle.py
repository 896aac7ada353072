"""The states of a workflow, as a table.

Two rules: a final status never changes, and everything that is not in the table is an error that changes nothing.
"""

from __future__ import annotations

import enum


class Status(enum.Enum):
    """Where a workflow stands."""

    PENDING = "pending"
    """Submitted, and no engine has taken it up yet."""
    RUNNING = "running"
    """In an engine's memory."""
    WAITING = "waiting"
    """Out of memory until something is due or arrives."""
    CANCELLING = "cancelling"
    """Cancelled from outside, and its cleanup is not over."""
    STUCK = "stuck"
    """Cannot go on with the code as it is."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    KILLED = "killed"

    @property
    def final(self) -> bool:
        """Whether it is over for good."""
        return not NEXT[self]


_P, _R, _W, _C, _S = Status.PENDING, Status.RUNNING, Status.WAITING, Status.CANCELLING, Status.STUCK
_ENDS = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.KILLED})

NEXT: dict[Status, frozenset[Status]] = {
    _P: frozenset({_R, _C, _S, Status.KILLED}),
    _R: frozenset({_R, _W, _C, _S}) | _ENDS,
    _W: frozenset({_R, _C, _S, Status.KILLED}),
    _C: frozenset({_C, _S}) | _ENDS,
    _S: frozenset({_R, _C, _S, Status.KILLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.KILLED: frozenset(),
}
"""What may follow what."""
