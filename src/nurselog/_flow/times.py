"""UTC as whole microseconds inside, as aware datetimes outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sequencer import Sequencer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
FAR = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The last time that a datetime can express: 'for ever' as a due time."""


def to_microseconds(seconds: float) -> int:
    """Return seconds as whole microseconds; what is too long is for ever."""
    return int(min(seconds * 1e6, FAR))


def from_microseconds(at: int) -> datetime:
    """Return microseconds since 1970 as an aware datetime."""
    return _EPOCH + timedelta(microseconds=at)


def due_microseconds(deadline: datetime) -> int:
    """Return an aware datetime as microseconds since 1970.

    Raises:
        ValueError: if it has no time zone.
    """
    if deadline.tzinfo is None:
        raise ValueError("a deadline needs a time zone, for instance datetime(..., tzinfo=UTC)")
    return (deadline - _EPOCH) // _MICROSECOND


def due_in(sequencer: Sequencer, seconds: float) -> int:
    """Return when some seconds from now will be over; read from the clock, so the log's answer must replace it."""
    return min(max(sequencer.log.at, sequencer.host.clock.utc()) + to_microseconds(seconds), FAR)


def check_seconds(seconds: float) -> float:
    """Return `seconds` if they are not negative.

    Raises:
        ValueError: if they are, or if they are not a number.
    """
    if not seconds >= 0:
        raise ValueError("seconds must be a number that is not negative")
    return seconds
