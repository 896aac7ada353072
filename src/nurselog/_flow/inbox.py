"""What has come for one workflow from outside, and is waited for: messages by topic, and the outcomes of promises.

Messages wait in the store until the workflow's owner enters them into the log, all of them, whether anybody asks for
them or not: then the log alone says what the code finds. The other way, to enter one when somebody waits for it, would
have a sleeping workflow woken by messages that it does not want, and put to sleep again, for ever.

What has been entered is in memory as long as the workflow is, read or not. So the engine enters no more than a number
of messages that nobody has read; the others stay in the store, where senders see that there is no room.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .._errors import DecodingError, NurselogError, Suspended, ValueUnavailable
from .._log.events import Received, Result
from .._log.failures import decode_error, rebuild_error
from . import trouble
from .outcomes import Failed, Outcome, Succeeded

if TYPE_CHECKING:
    from .._log.cursor import Cursor, Entry
    from .cases import Waiter
    from .host import Host
    from .sequencer import Sequencer


class Arrival(NamedTuple):
    """A message in the log."""

    seq: int
    """Its row's."""
    since: int
    """The number of delivered events when it came."""
    event: Received
    value: bytes

    def open(self, sequencer: Sequencer, annotation: Any, what: str) -> Outcome[Any]:
        """Return what is in it; what does not fit the annotation is an error for who reads it, and for nobody else.

        That is the fault of who has sent it. What cannot be read here and now is not: then the workflow is stuck.
        """
        if self.event.result is Result.ERROR:
            return Failed(rebuild_error(decode_error(self.value)))
        named = f"{what} (row {self.seq} of the log)"
        try:
            return Succeeded(sequencer.host.codec.decode(self.value, annotation))
        except ValueUnavailable as exc:
            sequencer.stuck(trouble.unreadable(sequencer, named, self.event.path, exc))
            raise Suspended from exc
        except NurselogError as exc:
            return Failed(DecodingError(f"{named} cannot be read: {exc}"))


class Reader(Protocol):
    """A mailbox, or what receives updates, as its topic sees it."""

    def _take(self) -> Outcome[Any] | None:
        """Take the topic's next message; return what becomes of it, None if the reader gets nothing of it."""
        ...


class Pending(Protocol):
    """A promise, as the inbox sees it."""

    @property
    def _is_awaited(self) -> bool:
        """Whether somebody waits for it."""
        ...

    def _settle(self, arrival: Arrival) -> None:
        """Here is its outcome."""
        ...


class Topic:
    """The messages of one topic that nobody has read, and who waits for the next one."""

    __slots__ = ("arrivals", "readers")

    def __init__(self) -> None:
        self.arrivals: deque[Arrival] = deque()
        self.readers: dict[tuple[Waiter, Reader], int] = {}
        """Parked, in the order of their arrival: on what, and under which index of their cases."""


class Inbox:
    """All that comes for one workflow from outside."""

    def __init__(self, host: Host, cursor: Cursor) -> None:
        self._host, self._cursor = host, cursor
        self._topics: dict[str, Topic] = {}
        self._updates: dict[str, Topic] = {}
        self._open: dict[str, Pending] = {}
        """Promises that have no outcome, by path."""
        self._early: dict[str, Arrival] = {}
        """Outcomes for which there is no open promise, by path: the code may come to one that it is for."""
        self._received = cursor.received
        self._read = 0

    @property
    def unread(self) -> int:
        """How many messages are in the log, or on their way there, that nobody has read."""
        return self._received - self._read

    def entered(self) -> None:
        """One more message is on its way to the log."""
        self._received += 1

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for what may come."""
        topics = (*self._topics.values(), *self._updates.values())
        return any(topic.readers for topic in topics) or any(promise._is_awaited for promise in self._open.values())

    def clear(self) -> None:
        """Let go of the promises, which lead back to the workflow: it has left memory."""
        self._open.clear()

    # -- mailboxes and updates -------------------------------------------------------------------

    def topic(self, name: str) -> Topic:
        """Return what there is of a topic."""
        return _entered(self._topics, name)

    def updates(self, name: str) -> Topic:
        """Return what there is of the updates of a name, which are apart from the messages."""
        return _entered(self._updates, name)

    def take(self, topic: Topic) -> Arrival:
        """Take the next message of a topic that has one."""
        self._mark_read()
        return topic.arrivals.popleft()

    def wanted(self) -> None:
        """Somebody waits for a message: if there is room, the engine need not keep any in the store."""
        self._host.hungry()

    def _mark_read(self) -> None:
        self._read += 1
        self._host.read()

    # -- promises --------------------------------------------------------------------------------

    def expect(self, path: str, promise: Pending) -> Arrival | None:
        """Enter a promise; return its outcome, if that has come already."""
        arrival = self._early.pop(path, None)
        if arrival is None:
            self._open[path] = promise
        return arrival

    # -- what comes ------------------------------------------------------------------------------

    def deliver(self, entry: Entry, event: Received) -> None:
        """Hand a message to who waits for it, or keep it until somebody asks."""
        arrival = Arrival(entry.row.seq, self._cursor.delivered, event, entry.row.value or b"")
        if event.topic is None:
            self._settle(arrival)
            return
        topic = self.topic(event.topic) if event.update is None else self.updates(event.topic)
        topic.arrivals.append(arrival)
        if topic.readers:
            (waiter, reader), index = next(iter(topic.readers.items()))
            if (outcome := reader._take()) is not None:
                waiter.wake(index, outcome)

    def _settle(self, arrival: Arrival) -> None:
        """Settle a promise. The first outcome counts: a fork has those of the original, and may get one of its own."""
        self._mark_read()
        promise = self._open.pop(arrival.event.path, None)
        if promise is None:
            self._early.setdefault(arrival.event.path, arrival)
        else:
            promise._settle(arrival)


def _entered(topics: dict[str, Topic], name: str) -> Topic:
    found = topics.get(name)
    if found is None:
        found = topics[name] = Topic()
    return found
