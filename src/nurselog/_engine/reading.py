"""What a workflow publishes, as those outside read it: the current value, and all of them as they come.

Both read the workflow's log, so that they see what the workflow itself will see after a crash, in the order in which
it was written; a position is the number of a row.
"""

# No `from __future__ import annotations`: as text, they would be looked up where `Item` is public, not here.

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
import trio

from .._errors import WorkflowNotFound
from .._flow.times import from_microseconds
from .._log.cursor import Entry
from .._log.events import Emitted, Ended, Event, Published, Result, Row, decode_event
from ..abc import Codec
from .ends import value_of
from .followed import Followed
from .follower import Follower

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

WINDOW, LARGEST = 64, 4096
"""How many of the last rows are looked at first, and how many at a time at most."""


class Item(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """Something that a workflow has published."""

    position: int
    """Its place: higher than that of all before; `follow(..., after=position)` begins behind it."""
    at: datetime
    """When it was published, UTC."""
    value: T_co
    """What was published."""


async def find_latest(read: Callable[[int, int], Awaitable[Sequence[Row]]], id: str, name: str) -> Row | None:
    """Return the last row of a log that publishes something under a name. A checkpoint.

    Args:
        read: reads the log from a seq on, that many rows at most.
        id: the workflow's.
        name: what is meant.

    It is looked for from the end on, in pieces that grow: what is asked for often is often published, too.

    Raises:
        WorkflowNotFound: if the workflow is not there any more.
    """
    size, found = WINDOW, None
    rows = await read(-size, size)
    while rows and (found := last_item(rows, name)) is None and (left := rows[0].seq - 1):
        size = min(8 * size, LARGEST, left)
        rows = await read(left - size + 1, size)
    if not rows:
        raise WorkflowNotFound(id)
    return found


def item_of(row: Row, codec: Codec, annotation: Any) -> Item[Any]:
    """Return what a row has published.

    Raises:
        DecodingError: if the value does not fit the annotation.
    """
    value = codec.decode(row.value or b"", annotation)
    return Item(position=row.seq, at=from_microseconds(row.at), value=value)


def says(event: Event, name: str) -> bool:
    """Whether an event publishes something under a name, or ends it."""
    return isinstance(event, Published | Emitted) and event.name == name


def last_item(rows: Sequence[Row], name: str) -> Row | None:
    """Return the last row that publishes something under a name."""
    for row in reversed(rows):
        event = decode_event(row.event)
        if says(event, name) and row.value is not None:
            return row
    return None


class Items(Followed[Item[T]], Generic[T]):
    """What a workflow publishes under a name, one after the other. Not constructed directly: `handle.follow` makes it.

    `receive` raises `trio.EndOfChannel` if the stream was closed or the workflow has completed, what `result` raises if
    that has ended in another way, and `DecodingError` for an item that does not fit; the next one comes the next time.
    Where `result` raises what would be the end here, `receive` raises a `RuntimeError` from it.

    Args:
        follower: reads the log.
        name: what is meant.
        id: the workflow's.
        codec: reads values.
        annotation: what they are read back as.
    """

    def __init__(self, follower: Follower, name: str, id: str, codec: Codec, annotation: Any) -> None:
        super().__init__(follower)
        self._name, self._id = name, id
        self._codec, self._annotation = codec, annotation

    def _concerns(self, entry: Entry) -> bool:
        return isinstance(entry.event, Ended) or says(entry.event, self._name)

    def _take(self) -> Item[T]:
        first = self._found[0]
        row, event = first.row, first.event
        if isinstance(event, Ended):  # it stays: whoever asks again gets the same
            if event.result is not Result.VALUE:
                self._raise(event, row.value)
            raise trio.EndOfChannel
        if row.value is None:
            raise trio.EndOfChannel
        self._found.popleft()
        return item_of(row, self._codec, self._annotation)

    def _raise(self, event: Ended, value: bytes | None) -> None:
        """Raise what became of the workflow.

        An error that says "no more" would be the end of the items to whoever goes through them, as if the workflow had
        completed. So it becomes another one, as PEP 479 has it for generators. (`StopIteration` no coroutine raises.)
        """
        try:
            value_of(self._id, event, value, self._codec, Any)
        except (trio.EndOfChannel, StopAsyncIteration) as error:
            raise RuntimeError(f"workflow {self._id!r} failed with {error!r}") from error
