"""Metrics: what an engine does, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from ..abc import (
    Committed,
    Happening,
    Instrument,
    LeaseLost,
    Left,
    LongTurn,
    Looked,
    Recorded,
    Replayed,
    Stuck,
    Submitted,
    TakenUp,
)
from ..lowlevel import Ended, StepEnded, StepRetried

_NAME, _RESULT = "nurselog.name", "nurselog.result"
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_LONG = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400)
"""Seconds: steps and workflows take as long as they like."""
_SHORT = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


@final
class Metrics(Instrument):
    """OpenTelemetry counters and histograms of an engine; an instrument for `open_engine`.

    Args:
        provider: makes meters; by default the global one.
    """

    def __init__(self, provider: MeterProvider | None = None) -> None:
        meter = metrics.get_meter("nurselog", meter_provider=provider)
        count, spread = meter.create_counter, meter.create_histogram
        self._commits = spread(
            "nurselog.commit.duration", "s", "of the store", explicit_bucket_boundaries_advisory=_SHORT
        )
        self._lag = spread(
            "nurselog.commit.lag",
            "s",
            "from when the first thing of a batch was appended until it was durable",
            explicit_bucket_boundaries_advisory=_SHORT,
        )
        self._rows = spread("nurselog.commit.rows", "{row}", "in a batch", explicit_bucket_boundaries_advisory=_ROWS)
        self._bytes = count("nurselog.commit.bytes", "By", "in events and values")
        self._submitted = count("nurselog.workflows.submitted", "{workflow}", "by this engine")
        self._memory = meter.create_up_down_counter("nurselog.workflows.in_memory", "{workflow}")
        self._left = count("nurselog.workflows.left", "{workflow}", "memory, by why")
        self._stuck = count("nurselog.workflows.stuck", "{workflow}")
        self._claimed = count("nurselog.workflows.claimed", "{workflow}", "that had no owner")
        self._workflows = spread(
            "nurselog.workflow.duration", "s", "from start to end", explicit_bucket_boundaries_advisory=_LONG
        )
        self._steps = spread(
            "nurselog.step.duration", "s", "of the last life of its function", explicit_bucket_boundaries_advisory=_LONG
        )
        self._retries = count("nurselog.step.retries", "{attempt}", "that failed, and were not the last")
        self._replays = spread(
            "nurselog.replay.duration", "s", "until it went on", explicit_bucket_boundaries_advisory=_SHORT
        )
        self._events = count("nurselog.replay.events", "{event}", "that were given again")
        self._turns = count("nurselog.turns", "{turn}", "of workflow code that has left memory")
        self._long_turns = count("nurselog.turns.long", "{turn}", "that have held up the process")
        self._leases = count("nurselog.leases.lost", "{lease}")
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Committed: self._note_commit,
            Submitted: lambda what: self._submitted.add(1, {_NAME: what.started.name}),
            TakenUp: self._note_life,
            Replayed: lambda what: self._replays.record(what.seconds, {_NAME: what.life.started.name}),
            Recorded: self._note_event,
            LongTurn: lambda what: self._long_turns.add(1, {_NAME: what.life.started.name}),
            Left: self._note_parting,
            Stuck: lambda what: self._stuck.add(1, {_NAME: what.name}),
            Looked: lambda what: self._claimed.add(what.found),
            LeaseLost: lambda _: self._leases.add(1),
        }

    def happened(self, what: Happening) -> None:
        """Count it."""
        if (handler := self._handlers.get(type(what))) is not None:
            handler(what)

    def _note_commit(self, what: Committed) -> None:
        self._commits.record(what.seconds)
        self._lag.record(what.lag)
        self._rows.record(what.rows)
        self._bytes.add(what.bytes)

    def _note_life(self, what: TakenUp) -> None:
        name = {_NAME: what.life.started.name}
        self._memory.add(1, name)
        self._events.add(what.events, name)

    def _note_parting(self, what: Left) -> None:
        name = {_NAME: what.life.started.name}
        self._memory.add(-1, name)
        self._turns.add(what.turns, name)
        self._left.add(1, {**name, "nurselog.why": what.why.value})

    def _note_event(self, what: Recorded) -> None:
        event, at = what.event, what.row.at
        match event:
            case StepEnded(name=name, result=result, began_at=began_at):
                self._steps.record(_seconds(began_at or at, at), {_NAME: name, _RESULT: result.value})
            case StepRetried(name=name):
                self._retries.add(1, {_NAME: name})
            case Ended(result=result):
                name = what.life.started.name
                self._workflows.record(_seconds(what.life.began_at, at), {_NAME: name, _RESULT: result.value})
            case _:
                pass


def _seconds(began: int, ended: int) -> float:
    return (ended - began) / 1e6
