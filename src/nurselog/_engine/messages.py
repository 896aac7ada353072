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


def reason_of(message: Message) -> str | None:
    """Return the reason that a message gives."""
    return msgspec.json.decode(message.body, type=_Body).reason
