"""`mailbox`: a receive channel of messages from outside."""

from __future__ import annotations

from typing import Any, TypeVar, final, overload

from .current import current_strand
from .inbox import Arrival
from .incoming import Incoming
from .names import check_readable, label
from .outcomes import Outcome
from .sequencer import Sequencer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@final
class Mailbox(Incoming[T_co]):
    """The receiving end of one topic, and a case of a select.

    Not constructed directly: `mailbox(topic, type)` returns it. All mailboxes of one topic share its messages: each
    message goes to one of those who wait, in the order in which they came. It never ends by itself; `async for` goes on
    until it is cancelled, or the mailbox is closed. A message that does not fit the mailbox's type is a `DecodingError`
    of whoever receives it, and used up.
    """

    def __init__(self, sequencer: Sequencer, name: str, annotation: Any) -> None:
        super().__init__(sequencer, name, sequencer.inbox.topic(name))
        self._annotation = annotation

    @property
    def topic(self) -> str:
        """The topic that senders name."""
        return self._name

    def __repr__(self) -> str:
        return f"<nurselog.Mailbox {self._name!r}, {len(self._topic.arrivals)} unread>"

    def _open(self, arrival: Arrival) -> Outcome[T_co]:
        return arrival.open(self._sequencer, self._annotation, f"a message for mailbox {self._name!r}")


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
