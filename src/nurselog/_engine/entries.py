"""A workflow's log as those outside see it, entry by entry."""

from __future__ import annotations

import msgspec
import trio

from .._log.cursor import Entry
from .._log.events import Ended, Event, Row, decode_event
from .followed import Followed
from .follower import Follower


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


class Entries(Followed[LogEntry]):
    """A log, entry by entry, to its end. Not constructed directly: `handle.follow_log` makes it.

    Args:
        follower: reads the log.
        after: the seq behind which it begins.
    """

    def __init__(self, follower: Follower, after: int) -> None:
        super().__init__(follower)
        self._last = after
        """The seq of what was received last."""

    def _concerns(self, entry: Entry) -> bool:  # noqa: ARG002 - whatever it is
        return True

    def _take(self) -> LogEntry:
        first = self._found[0]
        row, event = first.row, first.event
        if row.seq <= self._last:  # only the end is found again
            raise trio.EndOfChannel
        if not isinstance(event, Ended):  # it stays: whoever asks again hears that there is no more
            self._found.popleft()
        self._last = row.seq
        return LogEntry(row.seq, row.at, row.after, event, row.value)
