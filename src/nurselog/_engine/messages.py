"""What people outside can tell a workflow; it waits in the store until the workflow's owner enters it."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

from .._log.events import ChildEnded, Received
from ..abc import Message


class Letter(NamedTuple):
    """A message to a workflow's mailbox, for `Engine.send_all`."""

    id: str
    """The receiver's."""
    topic: str
    """The mailbox's."""
    value: object
    """What is sent; the codec must be able to write it."""
    key: str | None = None
    """Names the message: of several with one key the receiver gets the first."""
    early: bool = False
    """Whether it may come before there is a workflow of this id; it is kept for it then."""


class Kind(enum.Enum):
    """The kinds of messages."""

    CANCEL = "cancel"
    KILL = "kill"
    RESUME = "resume"
    SEND = "send"
    SETTLE = "settle"
    UPDATE = "update"
    ENDED = "ended"
    """A child's to its parent."""


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rest of a message, by its kind."""

    reason: str | None = None
    """Of a cancellation."""
    event: Received | ChildEnded | None = None
    """What is to be entered into the log, for all that tells the workflow's code something."""
    value: bytes = b""
    """The value that belongs to the event, as the codec wrote it."""


def body_of(reason: str | None = None, event: Received | ChildEnded | None = None, value: bytes = b"") -> bytes:
    """Return a message's body."""
    return msgspec.json.encode(Body(reason, event, value))


def read_message(message: Message) -> tuple[Kind, Body]:
    """Return what a message asks for, and the rest of it.

    Raises:
        ValueError: if this release does not know its kind.
        msgspec.DecodeError: if it cannot read the rest of it.
    """
    kind, body = Kind(message.kind), msgspec.json.decode(message.body, type=Body)
    if body.event is None and kind in {Kind.SEND, Kind.SETTLE, Kind.UPDATE, Kind.ENDED}:
        raise ValueError(f"a message of kind {kind.value!r} has no event")
    return kind, body
