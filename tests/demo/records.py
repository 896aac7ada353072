"""Logs written by hand, for the functions that read them."""

from __future__ import annotations

from collections.abc import Sequence

from nurselog.lowlevel import Event, LogEntry

START = 1_700_000_000_000_000
"""UTC microseconds."""


def log_of(*events: Event | tuple[Event, bytes]) -> Sequence[LogEntry]:
    """Return a log with one event a millisecond, each with a value if it comes with one."""
    pairs = [event if isinstance(event, tuple) else (event, None) for event in events]
    return [
        LogEntry(seq=number + 1, at=START + number * 1000, after=0, event=event, value=value)
        for number, (event, value) in enumerate(pairs)
    ]
