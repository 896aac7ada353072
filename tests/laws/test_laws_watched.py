"""What instruments are told of workflows that live several times, on every workflow of the corpus.

Whatever is in the log was told of once, by the life that has appended it; each life begins once, and is over once; and
of each workflow, step and scope there is one span, whose parent is there, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nurselog import open_engine
from nurselog.abc import Left, Recorded, ScopeEntered, ScopeLeft, StepBegins, TakenUp
from nurselog.lowlevel import Claimed, Ended, Event, Resumed, Started, StepEnded
from nurselog.telemetry import Traces
from nurselog.telemetry.ids import IdGenerator
from nurselog.testing.keeper import ID
from nurselog.testing.life import Closed, Stuck
from tests.engine.watching import Watcher
from tests.laws import harness
from tests.laws.corpus.registry import Case, whole_corpus
from tests.laws.harness import Recording, resume, run_live

each_quick_case = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in whole_corpus().items() if not case.slow]
)


def in_lives(case: Case, misfortune: str | None) -> Recording:
    """Run a workflow of the corpus to its end: a few moves in the first life, and one more in each."""
    plan = {} if misfortune is None else {misfortune: 2}
    recording = run_live(case.workflow, case.args, **plan)
    while isinstance(recording.outcome, Closed):
        plan = {name: moves + 1 for name, moves in plan.items()}  # else a step may begin in each life, and end in none
        recording = resume(
            case.workflow, recording.rows, recording.mail_at(len(recording.rows)), seed=len(recording.rows), **plan
        )
    return recording


def told(watcher: Watcher) -> Counter[int]:
    """Return how often each row was told of."""
    return Counter(what.row.seq for what in watcher.of(Recorded) if what.life.id == ID)


def logged(recording: Recording) -> list[int]:
    """Return the rows that are to be told of; those of claims, and the first one, are told of otherwise."""
    return [row.seq for row, event in zip(recording.rows, recording.events, strict=True) if not untold(event)]


def check_lives(watcher: Watcher) -> None:
    """See that what begins in a life begins once, and that what ends in it has begun."""
    lives = Counter(what.life.writer for what in watcher.of(TakenUp))
    assert lives == Counter(what.life.writer for what in watcher.of(Left))
    assert set(lives.values()) == {1}
    entered = Counter((what.life.writer, what.path) for what in watcher.of(ScopeEntered))
    assert entered >= Counter((what.life.writer, what.path) for what in watcher.of(ScopeLeft))
    assert set(entered.values()) == {1}
    assert set(Counter((what.life.writer, what.path) for what in watcher.of(StepBegins)).values()) <= {1}


def untold(event: Event) -> bool:
    return isinstance(event, Started | Claimed | Resumed)


def is_own(span: ReadableSpan) -> bool:
    """Whether it is no child workflow's: in each life here, these are made anew."""
    return (span.attributes or {})["nurselog.workflow.id"] == ID


def check_spans(spans: Sequence[ReadableSpan], recording: Recording) -> None:
    """See that there is one span for everything, in its place."""
    own = [span for span in spans if is_own(span)]
    ids = Counter(span.context.span_id for span in own)
    assert set(ids.values()) == {1}
    parents = [(span.name, span.attributes) for span in own if span.parent and span.parent.span_id not in ids]
    assert parents == []
    assert len({span.context.trace_id for span in own}) == 1
    paths = Counter((span.attributes or {}).get("nurselog.path") for span in own)
    steps = [event.path for event in recording.events if isinstance(event, StepEnded)]
    assert all(paths[path] == 1 for path in steps)
    assert sum(span.parent is None for span in own) == sum(isinstance(event, Ended) for event in recording.events) == 1
    assert all(span.start_time <= span.end_time for span in own)  # type: ignore[operator]  # all have ended


def watch(monkeypatch: pytest.MonkeyPatch) -> tuple[Watcher, InMemorySpanExporter]:
    """Have all engines looked at."""
    watcher, sent = Watcher(), InMemorySpanExporter()
    provider = TracerProvider(id_generator=IdGenerator(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(sent))
    monkeypatch.setattr(harness, "open_engine", partial(open_engine, instruments=[watcher, Traces(provider)]))
    return watcher, sent


@pytest.mark.parametrize("misfortune", [None, "close_after"])
@each_quick_case
def test_it_is_told_once_what_happens(case: Case, misfortune: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher, sent = watch(monkeypatch)
    recording = in_lives(case, misfortune)
    check_lives(watcher)
    assert sorted(told(watcher).elements()) == logged(recording)
    if not isinstance(recording.outcome, Stuck):
        check_spans(sent.get_finished_spans(), recording)


@each_quick_case
def test_nothing_is_told_twice_where_stores_break(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was durable when the answer to a commit was lost is told of by nobody."""
    watcher, sent = watch(monkeypatch)
    recording = in_lives(case, "break_after")
    check_lives(watcher)
    assert told(watcher) <= Counter(logged(recording))
    spans = [span.context.span_id for span in sent.get_finished_spans() if is_own(span)]
    assert len(spans) == len(set(spans))
