"""What people outside can tell a workflow; it waits in the store until the workflow's owner enters it."""

from __future__ import annotations

import enum

import msgspec

from ..abc import Message


class Kind(enum.Enum):
    """The kinds of messages."""

    CANCEL = "cancel"
    KILL = "kill"
    RESUME = "resume"


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    reason: str | None = None


def body_of(reason: str | None = None) -> bytes:
    """Return a message's body."""
    return msgspec.json.encode(_Body(reason))


def read_message(message: Message) -> tuple[Kind, str | None]:
    """Return what a message asks for, and the reason that it gives.

    Raises:
        ValueError: if this release does not know its kind.
        msgspec.DecodeError: if it cannot read the rest of it.
    """
    return Kind(message.kind), msgspec.json.decode(message.body, type=_Body).reason
