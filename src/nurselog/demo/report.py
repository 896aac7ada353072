"""What happened in a run, counted from the workflows' logs and from the world's own trace."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .._log.events import Cause, Claimed, Event, Result, ScopeCancelled, StepEnded, StepRetried, TimerFired, TimerSet
from .tree import Record
from .job import Body


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
    REPLAYED = "steps replayed"
    BODIES = "step bodies run"
    REPEATED = "step bodies run again after a kill"


def count_log(log: Sequence[Record]) -> Counter[Fact]:
    """Return what happened in one workflow."""
    facts = Counter({Fact.WORKFLOWS: 1, Fact.ROWS: len(log)})
    limits, waits, fired, ended = set(), set(), set(), 0
    for record in log:
        match record.event:
            case TimerSet(name="scope", path=path):
                limits.add(path)
                facts[Fact.RACES] += 1
            case TimerSet(name="sleep", path=path):
                waits.add(path)
            case TimerFired(path=path):
                fired.add(path)
            case ScopeCancelled(by=Cause.DEADLINE):
                facts[Fact.LATE] += 1
            case StepEnded(name=name, result=result, scope=scope):
                ended += 1
                facts[Fact.LOSERS] += result is Result.CANCELLED and scope not in limits
                facts[Fact.CLEANUPS] += name == "discard" and result is Result.VALUE
            case StepRetried():
                facts[Fact.RETRIES] += 1
            case Claimed():
                facts[Fact.TAKEOVERS] += 1
                facts[Fact.REPLAYED] += ended
            case _:
                pass
    facts[Fact.UNSTARTED] = len(waits - fired)
    return facts


def count_trace(trace: Iterable[Body]) -> Counter[Fact]:
    """Return what the world saw: an attempt that began twice was cut short the first time."""
    began = Counter((body.key, body.attempt) for body in trace)
    return Counter({Fact.BODIES: began.total(), Fact.REPEATED: began.total() - len(began)})


def choose_log(logs: Mapping[str, Sequence[Record]]) -> str:
    """Return the id of the log to draw: the shortest in which a step was cancelled, or else just the shortest."""

    def dullness(name: str) -> tuple[bool, int]:
        return not any(_cancelled(record.event) for record in logs[name]), len(logs[name])

    return min(logs, key=dullness)


def _cancelled(event: Event) -> bool:
    return isinstance(event, StepEnded) and event.result is Result.CANCELLED
