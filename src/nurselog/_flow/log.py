"""One workflow's log, as the workflow itself sees it: what is appended to it, and the notes of the code.

A row that is appended is on its way to the journal; it is durable when `committed` says so. Nothing that is appended
after the log was closed is written: the workflow has ended, or leaves memory, and whatever its code still does while it
unwinds is no part of its history.

A note that the log has not is new, or a crash has lost it, and it is appended; but not while recorded events are
still to come. Until the whole recorded log has been followed, code that does not fit it may still show itself, and what
it had noted by then would stand in the way of the right code for ever. Such notes are *late*: they are written when
nothing recorded is left, each with the `after` that it was made at.

What comes from outside cannot wait: a message, a cancellation, an operator's resume are appended at once. But a later
life takes the `after` of a row for proof that the code had been given so many events, and had made all its notes on
the way there. As long as recorded events are left, or late notes, that is not proven: a crash may lose the notes and
keep the row, and the code may yet turn out not to fit. So such a row says of the code no more than the log has shown
before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio

from .._errors import PayloadTooLargeError
from .._log.cursor import Cursor, Entry, is_delivered
from .._log.events import FROM_OUTSIDE, Ended, Event, Row, encode_event
from .._log.failures import encode_error, record_error
from .host import Host

AHEAD, AHEAD_BYTES = 1024, 2**24
"""How much may be on its way when a step sends more: rows, and bytes of values in them."""


class Log:
    """What one workflow in memory has recorded, and records."""

    __slots__ = (
        "_ahead",
        "_host",
        "_late",
        "_watchers",
        "at",
        "closed",
        "coming",
        "cursor",
        "durable",
        "seq",
        "writer",
    )

    def __init__(self, host: Host, rows: Sequence[Row], writer: int) -> None:
        self._host = host
        self.writer: int = writer
        self._late: list[tuple[Event, bytes | None, int]] = []
        """Notes made during replay that the log has not, their values, and how many events had been delivered."""
        self._watchers: dict[int, trio.Event] = {}
        self._ahead = 0
        """Bytes of values in rows that are not durable yet."""
        self.coming: deque[Entry] = deque()
        """Events that were appended for the code, and that it has not got yet, in order."""
        self.cursor: Cursor = Cursor(rows)
        """Where the code stands in what was recorded."""
        self.seq: int = rows[-1].seq
        """The last row's."""
        self.durable: int = self.seq
        """The last committed row's."""
        self.at: int = rows[-1].at
        """The last row's, UTC microseconds."""
        self.closed: bool = False
        """Whether nothing more is written."""

    def append(self, event: Event, value: bytes | None = None, *, after: int | None = None) -> Row | None:
        """Queue an event for the next commit; None, and nothing happens, once the log is closed.

        What the code decides, and the end, have as `after` what it had been given; all else says no more than is shown.
        """
        if self.closed:
            return None
        data = encode_event(event)  # first: if it raises, no seq must be missing
        self.seq += 1
        self.at = max(self.at, self._host.clock.utc())
        row = Row(self.seq, self.at, self._shown if after is None else after, self.writer, data, value)
        self._ahead += len(value or b"")
        if is_delivered(event):
            self.coming.append(Entry(row, event))
        self._host.append(row, event)
        return row

    @property
    def _shown(self) -> int:
        """How many events the code may be said to have been given."""
        cursor = self.cursor
        return min(cursor.delivered, cursor.reached) if cursor.left or self._late else cursor.delivered

    def note(self, event: Event, value: bytes | None = None) -> Event:
        """Record what the code itself decides, or match it with what is recorded already, which is then returned.

        Raises:
            Mismatch: if the log has another note here, or none.
        """
        recorded = self.cursor.note(event)
        if recorded is None:
            self.append_note(event, value)
            return event
        return recorded

    def append_note(self, event: Event, value: bytes | None = None) -> None:
        """Append a note that the log has not, now or when all recorded events have been delivered."""
        if self.cursor.left and not isinstance(event, Ended):
            self._late.append((event, value, self.cursor.delivered))
            return
        self.append_late()
        self.append(event, value, after=self.cursor.delivered)

    def append_late(self) -> None:
        """Append the notes that had to wait."""
        late, self._late = self._late, []
        for event, value, after in late:
            self.append(event, value, after=after)

    # -- what becomes of it ----------------------------------------------------------------------

    @property
    def has_come(self) -> bool:
        """Whether the code may have the first event that is coming: it is durable, or was so before it was a row."""
        first = self.coming[0]
        return first.row.seq <= self.durable or isinstance(first.event, FROM_OUTSIDE)

    @property
    def all_durable(self) -> bool:
        """Whether everything that was appended is durable."""
        return self.durable == self.seq

    def committed(self, row: Row) -> None:
        """A row is durable."""
        self.durable = row.seq
        self._ahead -= len(row.value or b"")
        if self._watchers and (watcher := self._watchers.pop(row.seq, None)) is not None:
            watcher.set()

    def close(self) -> None:
        """Write nothing more. Nobody need wait for room: it may never come, when somebody else owns the workflow."""
        self.closed = True
        watchers, self._watchers = self._watchers, {}
        for watcher in watchers.values():
            watcher.set()

    async def written(self, row: Row) -> None:
        """Wait until a row is durable that was appended just now."""
        while self.durable < row.seq:
            await self.reached(row.seq)

    async def room(self) -> None:
        """Wait, if much is not durable yet, until half of it is, or the log is closed.

        Can be cancelled, but may be no checkpoint.
        """
        ahead = self.seq - self.durable
        if self.closed or (ahead < AHEAD and self._ahead < AHEAD_BYTES):
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await self.reached(self.durable + (ahead + 1) // 2)

    async def reached(self, seq: int) -> None:
        """Wait until a row is durable that is not yet, or the log is closed."""
        await self._watchers.setdefault(seq, trio.Event()).wait()

    # -- what one entry may hold -----------------------------------------------------------------

    def limited(self, what: str, data: bytes) -> bytes:
        """Return `data` if it is not too large for one log entry.

        Raises:
            PayloadTooLargeError: if it is.
        """
        if len(data) > self._host.max_payload:
            raise PayloadTooLargeError(what, len(data), self._host.max_payload)
        return data

    def error_bytes(self, what: str, error: Exception) -> bytes:
        """Return an error's bytes; one that is too large is replaced by the error that says so."""
        data = encode_error(record_error(error))
        if len(data) > self._host.max_payload:
            data = encode_error(record_error(PayloadTooLargeError(what, len(data), self._host.max_payload)))
        return data
