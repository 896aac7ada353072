"""What a log says: one frozen record for each kind of event, and the row that carries it.

An event is written as JSON with its kind in the field `kind`; a value of the application (an input, a result, an
error) is no part of it: it stands beside it, in the bytes that the codec made. `docs/log-format` has the same table
for people who read the log with other tools.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

ROW_FORMAT = 1
"""The version of the row format, in every row."""

SEMANTICS = 1
"""The version of the engine's rules, in every `started` event: logs of an older one replay by the older rules."""


class Result(enum.Enum):
    """How something ended."""

    VALUE = "value"
    ERROR = "error"
    CANCELLED = "cancelled"
    KILLED = "killed"


class Cause(enum.Enum):
    """What cancelled a scope."""

    EXPLICIT = "explicit"
    DEADLINE = "deadline"
    FAILURE = "failure"
    EXTERNAL = "external"


class _Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", omit_defaults=True):
    path: str = ""
    """Where in the workflow's tree; empty for the workflow itself."""


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """The first row: what runs. The row's value is the input."""

    name: str
    version: str | None = None
    seed: str
    semantics: int = SEMANTICS
    headers: dict[str, str] = {}
    """What instruments have given along where it was submitted, for those where it runs."""


class Claimed(_Event, frozen=True, kw_only=True, tag="claimed"):
    """A new owner took the workflow over; the fence against the old one."""

    worker: str


class Resumed(_Event, frozen=True, kw_only=True, tag="resumed"):
    """An operator let a stuck workflow go on."""


class Forked(_Event, frozen=True, kw_only=True, tag="forked"):
    """Everything above this row was copied from another workflow's log."""

    source: str
    at: int


class StepEnded(_Event, frozen=True, kw_only=True, tag="step"):
    """A step's outcome. The row's value is the result or the error."""

    name: str
    result: Result
    attempts: int = 1
    began_at: int | None = None
    """UTC microseconds; None if no attempt of it ran in the process that recorded it."""
    begun: bool = True
    """For a cancelled step: whether its body had ever begun."""
    digest: str | None = None
    """Of the arguments, 16 hex digits; None where they cannot be encoded."""
    scope: str | None = None
    """For a cancelled step: the path of the scope that cancelled it, if that scope is durable."""
    reason: str | None = None


class StepBegan(_Event, frozen=True, kw_only=True, tag="began"):
    """A step has begun."""

    name: str
    attempt: int = 1


class StepRetried(_Event, frozen=True, kw_only=True, tag="retried"):
    """An attempt failed, and the next one is due. The row's value is the error."""

    name: str
    attempt: int
    """The attempt that failed, from 1."""
    due: int
    """UTC microseconds."""


class Selected(_Event, frozen=True, kw_only=True, tag="selected"):
    """Which case a select took."""

    index: int


class TimerSet(_Event, frozen=True, kw_only=True, tag="timer"):
    """An absolute deadline was set."""

    name: str
    """The operation it belongs to: sleep, after, scope …"""
    due: int
    """UTC microseconds."""


class TimerFired(_Event, frozen=True, kw_only=True, tag="fired"):
    """An absolute deadline is due."""

    due: int


class ScopeCancelled(_Event, frozen=True, kw_only=True, tag="cancelled"):
    """A scope was cancelled; an empty path is the whole workflow.

    Somebody outside cancels the whole workflow. That of a scope inside comes from tests only, which try what happens.
    """

    by: Cause
    reason: str | None = None


class ChildStarted(_Event, frozen=True, kw_only=True, tag="child"):
    """A workflow of its own was started as a child, whose id is this one's, a slash and the path."""

    name: str
    digest: str | None = None
    """Of the arguments, 16 hex digits; None where they cannot be encoded as they are."""


class ChildEnded(_Event, frozen=True, kw_only=True, tag="child_ended"):
    """A child has ended. The row's value is its result or its error."""

    result: Result
    reason: str | None = None


class Received(_Event, frozen=True, kw_only=True, tag="received"):
    """A message from outside has come. The row's value is the message, or the error of a rejected promise."""

    topic: str | None = None
    """Which mailbox it is for, or which updates it is one of; None: it settles the promise at `path`."""
    update: str | None = None
    """The key of an update, which is to be answered; None: it is none."""
    result: Result = Result.VALUE
    """ERROR for a promise that was rejected."""


class Answered(_Event, frozen=True, kw_only=True, tag="answered"):
    """The workflow's code has answered an update. The row's value is the answer, or the error of a rejected one."""

    key: str
    """The update's."""
    result: Result


class Published(_Event, frozen=True, kw_only=True, tag="published"):
    """The workflow's code has published something; `path` is the strand's. The row's value is what it was."""

    name: str
    end: bool = False
    """Whether it says instead that nothing more comes under this name; then the row has no value."""


class Emitted(_Event, frozen=True, kw_only=True, tag="emitted"):
    """A step that was running has published something; `path` is the step's. The row's value is what it was."""

    name: str
    attempt: int = 1
    """The step's attempt, from 1."""
    end: bool = False
    """Whether it says instead that nothing more comes under this name; then the row has no value."""


class Patched(_Event, frozen=True, kw_only=True, tag="patched"):
    """`patched(name)` answered True here."""

    name: str


class Ended(_Event, frozen=True, kw_only=True, tag="ended"):
    """The last row. The row's value is the result or the error."""

    result: Result
    reason: str | None = None


Event: TypeAlias = (
    Started
    | Claimed
    | Resumed
    | Forked
    | StepEnded
    | StepBegan
    | StepRetried
    | Selected
    | TimerSet
    | TimerFired
    | ScopeCancelled
    | ChildStarted
    | ChildEnded
    | Received
    | Answered
    | Published
    | Emitted
    | Patched
    | Ended
)


PUBLIC: tuple[type[Event], ...] = (Published, Emitted, Answered)
"""What readers outside wait for."""

FROM_OUTSIDE: tuple[type[Event], ...] = (Received, ChildEnded)
"""What has come as a message: its value is durable before it is in the log, and only its place there is not."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One event as the store has it."""

    seq: int
    """Dense from 1."""
    at: int
    """UTC microseconds by the appender's clock, never before the row above."""
    after: int
    """The number of events that had been delivered when it was appended."""
    writer: int
    """Who wrote it: new at every claim; a positive 63-bit integer."""
    event: bytes
    """The event as JSON."""
    value: bytes | None = None
    """What the codec made of the application's value."""
    format: int = ROW_FORMAT


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """Return the event's JSON form."""
    return _encoder.encode(event)


def decode_event(data: bytes) -> Event:
    """Return the event whose JSON form is `data`.

    Raises:
        msgspec.DecodeError: if it is none.
    """
    event: Event = _decoder.decode(data)
    return event
