"""What happened in a run, counted from the workflows' logs and from the world's own trace."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from ..lowlevel import (
    Cause,
    Claimed,
    Event,
    LogEntry,
    Result,
    ScopeCancelled,
    StepEnded,
    StepRetried,
    TimerFired,
    TimerSet,
)
from .job import Body

_FIRST_CLAIM = 2
"""The row of a claim that takes up what nobody has run yet."""

_PAGE = 60
"""Rows of a log that is short enough to be drawn."""


class Fact(enum.Enum):
    """Something that is counted; the value is its line in the report."""

    WORKFLOWS = "workflows"
    ROWS = "log rows"
    RACES = "races"
    LATE = "races out of time"
    UNSTARTED = "losers cancelled before their start"
    LOSERS = "losers cancelled in a download"
    CLEANUPS = "shielded cleanups"
    RETRIES = "attempts that failed"
    TAKEOVERS = "workflows taken over"
    MOVED = "workflows that moved to another worker"
    REPLAYED = "steps replayed"
    BODIES = "step bodies run"
    REPEATED = "step bodies run again"


def count_log(log: Sequence[LogEntry]) -> Counter[Fact]:
    """Return what happened in one workflow."""
    facts = Counter({Fact.WORKFLOWS: 1, Fact.ROWS: len(log)})
    limits = {event.path for event in _timers(log, "scope")}
    fired = {record.event.path for record in log if isinstance(record.event, TimerFired)}
    facts[Fact.RACES] = len(limits)
    facts[Fact.UNSTARTED] = sum(event.path not in fired for event in _timers(log, "sleep"))
    ended = 0
    for before, record in pairwise(log):
        match record.event:
            case ScopeCancelled(by=Cause.DEADLINE):
                facts[Fact.LATE] += 1
            case StepEnded(name=name, result=result, scope=scope):
                ended += 1
                facts[Fact.LOSERS] += result is Result.CANCELLED and scope not in limits
                facts[Fact.CLEANUPS] += name == "discard" and result is Result.VALUE
            case StepRetried():
                facts[Fact.RETRIES] += 1
            # A worker whose claim's answer was lost, as when the database is restarted, has made it once more.
            case Claimed() if record.seq > _FIRST_CLAIM and record.event != before.event:
                facts[Fact.TAKEOVERS] += 1
                facts[Fact.REPLAYED] += ended
            case _:
                pass
    return facts


def _timers(log: Sequence[LogEntry], name: str) -> Iterator[TimerSet]:
    """Yield the timers that operations of one kind have set."""
    for record in log:
        if isinstance(record.event, TimerSet) and record.event.name == name:
            yield record.event


def count_trace(trace: Iterable[Body], workers: Mapping[int, int]) -> Counter[Fact]:
    """Return what the world saw: an attempt that began twice was cut short the first time.

    Args:
        trace: the bodies that began.
        workers: which worker each process was, by pid; a worker is one process after the other.
    """
    began: Counter[tuple[str, int]] = Counter()
    last: dict[str, int] = {}
    moved = 0
    for body in trace:
        began[body.key, body.attempt] += 1
        worker = workers[body.pid]
        moved += last.get(body.workflow, worker) != worker
        last[body.workflow] = worker
    return Counter({Fact.BODIES: began.total(), Fact.REPEATED: began.total() - len(began), Fact.MOVED: moved})


def choose_log(logs: Mapping[str, Sequence[LogEntry]]) -> str:
    """Return the id of the log to draw: of those that fit on a page, or else of all, the one with most to see."""
    short = {name for name, log in logs.items() if len(log) <= _PAGE} or logs.keys()
    return max(sorted(short), key=lambda name: len({_kind(entry.event) for entry in logs[name]}))


def _kind(event: Event) -> tuple[object, ...]:
    match event:
        case StepEnded(result=outcome) | ScopeCancelled(by=outcome):
            return type(event), outcome
        case _:
            return (type(event),)
