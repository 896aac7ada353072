"""`mailbox`: a receive channel of messages from outside."""

from __future__ import annotations

from typing import Any, TypeVar, final, overload

import trio

from .cases import Case, Waiter, wait_for_first
from .current import arrive, current_strand, own_strand
from .inbox import Topic
from .names import check_readable, label
from .outcomes import Failed, Outcome
from .sequencer import Phase, Sequencer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@final
class Mailbox(Case[T_co], trio.abc.ReceiveChannel[T_co]):
    """The receiving end of one topic, and a case of a select.

    Not constructed directly: `mailbox(topic, type)` returns it. All mailboxes of one topic share its messages: each
    message goes to one of those who wait, in the order in which they came. It never ends by itself; `async for` goes on
    until it is cancelled, or the mailbox is closed.
    """

    def __init__(self, sequencer: Sequencer, name: str, annotation: Any) -> None:
        self._sequencer = sequencer
        self._name = name
        self._annotation = annotation
        self._topic: Topic = sequencer.inbox.topic(name)
        self._closed = False

    @property
    def topic(self) -> str:
        """The topic that senders name."""
        return self._name

    def receive_nowait(self) -> T_co:
        """Receive without waiting.

        Raises:
            trio.WouldBlock: if no message is there.
            trio.ClosedResourceError: if this mailbox is closed.
            DecodingError: if the message does not fit the mailbox's type; it is used up.
        """
        own_strand("receive_nowait", self._sequencer)
        if self._ready_since() is None:
            raise trio.WouldBlock
        return self._take().unwrap()

    async def receive(self) -> T_co:
        """Receive, waiting for a message. A checkpoint; if it is cancelled nothing was received.

        Raises:
            trio.ClosedResourceError: if this mailbox is closed.
            DecodingError: if the message does not fit the mailbox's type; it is used up.
        """
        _, outcome = await wait_for_first(await arrive("receive", self._sequencer), (self,))
        value: T_co = outcome.unwrap()
        return value

    def close(self) -> None:
        """Close this mailbox: who waits on it gets ClosedResourceError. Its messages stay for others of its topic.

        Not a checkpoint.
        """
        if self._sequencer.phase is Phase.RUNNING:  # else nobody is left to be told
            own_strand("close", self._sequencer)
        self._closed = True
        for (waiter, mailbox), index in list(self._topic.readers.items()):
            if mailbox is self:
                waiter.wake(index, Failed(trio.ClosedResourceError()))

    async def aclose(self) -> None:
        """Close this mailbox, as `close`. A checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        return f"<nurselog.Mailbox {self._name!r}, {len(self._topic.arrivals)} unread>"

    # -- as a case -------------------------------------------------------------------------------

    def _ready_since(self) -> int | None:
        if self._closed:
            return self._sequencer.cursor.delivered
        return self._topic.arrivals[0].since if self._topic.arrivals else None

    def _take(self) -> Outcome[T_co]:
        if self._closed:
            return Failed(trio.ClosedResourceError())
        arrival = self._sequencer.inbox.take(self._topic)
        return arrival.open(self._sequencer.host.codec, self._annotation, f"a message for mailbox {self._name!r}")

    def _watch(self, waiter: Waiter, index: int) -> None:
        self._topic.readers.setdefault((waiter, self), index)
        self._sequencer.inbox.wanted()

    def _forget(self, waiter: Waiter) -> None:
        self._topic.readers.pop((waiter, self), None)


@overload
def mailbox(topic: str) -> Mailbox[Any]: ...
@overload
def mailbox(topic: str, type: type[T]) -> Mailbox[T]: ...
@overload
def mailbox(topic: str, type: object) -> Mailbox[Any]: ...
def mailbox(topic: str, type: object = Any) -> Mailbox[Any]:
    """Return the mailbox of a topic: a channel of the messages that others send to this workflow.

    Args:
        topic: 1 to 200 printable characters, chosen by you; senders name it.
        type: what the messages are read back as: a class, or any annotation that the codec knows.

    Messages come in the order in which they were sent, each exactly once. Those that came before anybody asked are
    there. Those that nobody has received are gone when the workflow ends.

    Not a checkpoint, and nothing of it is in the log; the messages are.

    Raises:
        RegistrationError: if nothing could be read back as `type`.
        UsageError: if the topic is none.
        OutsideWorkflowError: outside of a workflow.
    """
    sequencer = current_strand("mailbox").sequencer
    name = label("a topic", topic)
    check_readable(f"mailbox {name!r}, its messages", type, sequencer.host.codec)
    return Mailbox(sequencer, name, type)
