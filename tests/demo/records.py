"""Logs written by hand, for the functions that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nurselog._log.events import Event

START = 1_700_000_000_000_000
"""UTC microseconds."""


@dataclass(frozen=True)
class Row:
    """A record as `_tree` and the demo read it."""

    seq: int
    at: int
    event: Event


def log_of(*events: Event) -> Sequence[Row]:
    """Return a log with one event a millisecond."""
    return [Row(number + 1, START + number * 1000, event) for number, event in enumerate(events)]
