"""Traces: a span for each workflow, each scope and each step; none twice, whoever lives how often.

A span is made when the thing begins in this life, on replay too, and is ended when it ends for the first time. One that
is not ended is not sent: a life that is cut off leaves nothing behind of what it had not brought to an end, and the
next life makes the same span again, with the same ids (see `derived`) and the same beginning, which is in the log.

    order                   the workflow, from when it was submitted to its end, in whatever processes
    ├─ in memory            each stay in a process, if there is more than one, linked to the one before
    ├─ nursery              a durable scope
    │  ├─ branch pay
    │  │  └─ charge         a step; its function runs with this as the current span
    │  └─ invoice           a child workflow
    └─ notify
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, TracerProvider

from ..abc import Happening, Instrument, Left, Life, Parting, Recorded, ScopeEntered, ScopeLeft, StepBegins, TakenUp
from ..lowlevel import Ended, Result, Row, StepEnded, StepRetried, decode_error
from .derived import Ids, ids_of, wanting

logger: logging.Logger = logging.getLogger("nurselog")


@dataclass(frozen=True)
class _Traced:
    """What is open in one life of a workflow."""

    begun: TakenUp
    caller: Context
    """Of whoever submitted the workflow, as far as it came along."""
    workflow: Span
    open: dict[str, Span] = field(default_factory=dict[str, Span])
    """Scopes and steps, by path."""

    def inside(self, scope: str) -> Context:
        """Return the context of what is in a scope."""
        return trace.set_span_in_context(self.open.get(scope, self.workflow), self.caller)


@final
class Traces(Instrument):
    """OpenTelemetry spans of workflows, scopes and steps; an instrument for `open_engine`.

    Clients and outboxes that have it, too, give their callers' trace along.

    Args:
        provider: makes tracers; by default the global one. Give it `nurselog.telemetry.ids.IdGenerator()`, or the spans
            of a workflow that is in memory more than once do not find each other.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("nurselog", tracer_provider=provider)
        self._traced: dict[int, _Traced] = {}
        """By the life's writer."""
        self._warned = False
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            TakenUp: self._taken_up,
            ScopeEntered: self._scope_entered,
            ScopeLeft: self._scope_left,
            StepBegins: self._step_begins,
            Recorded: self._recorded,
            Left: self._left,
        }

    def happened(self, what: Happening) -> None:
        """Begin spans, and end them."""
        if (handler := self._handlers.get(type(what))) is not None:
            handler(what)

    def headers(self, parent: Life | None, scope: str) -> Mapping[str, str]:
        """Give the caller's context along, or, to a child, that of its place in its parent."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier, None if parent is None else self._traced[parent.writer].inside(scope))
        return carrier

    # -- workflows -------------------------------------------------------------------------------

    def _taken_up(self, what: TakenUp) -> None:
        life = what.life
        caller = propagate.extract(life.started.headers, Context())
        about = {"nurselog.workflow.name": life.started.name}
        if life.started.version is not None:
            about["nurselog.workflow.version"] = life.started.version
        sources = [ids_of(life.started.seed, source, "") for source in what.sources]
        workflow = self._begin(life, "", life.started.name, what=about, at=life.began_at, inside=caller)
        for source in sources:
            workflow.add_link(_beside(workflow, source))
        self._traced[life.writer] = _Traced(what, caller, workflow)

    def _left(self, what: Left) -> None:
        traced = self._traced.pop(what.life.writer)
        begun = traced.begun
        if begun.former is None and what.why is Parting.ENDED:
            return  # the workflow's own span says as much
        about = {"nurselog.events": begun.events, "nurselog.left": what.why.value}
        key = _stay(what.life.writer)
        span = self._begin(what.life, key, "in memory", what=about, at=begun.at, inside=traced.inside(""))
        if begun.former is not None:
            span.add_link(_beside(span, ids_of(what.life.started.seed, what.life.id, _stay(begun.former))))
        if what.why is Parting.STUCK:
            span.set_status(Status(StatusCode.ERROR, "the workflow is stuck"))
        span.end(_nanoseconds(what.at))

    # -- scopes ----------------------------------------------------------------------------------

    def _scope_entered(self, what: ScopeEntered) -> None:
        if what.path:  # else it is the workflow
            traced = self._traced[what.life.writer]
            about, outer = {"nurselog.path": what.path}, traced.inside(what.outer)
            span = self._begin(what.life, what.path, what.name, what=about, at=what.at, inside=outer)
            traced.open[what.path] = span

    def _scope_left(self, what: ScopeLeft) -> None:
        traced = self._traced.get(what.life.writer)
        if traced is None:  # the workflow was lost, and what shows it was still on its way
            return
        span = traced.open.pop(what.path, traced.workflow)
        if what.cause is not None:
            assert what.cancelled_at is not None
            _cancelled(span, what.cancelled_at, by=what.cause.value, reason=what.reason)
        if what.path and not what.replaying:
            span.end(_nanoseconds(what.at))

    # -- steps -----------------------------------------------------------------------------------

    def _step_begins(self, what: StepBegins) -> None:
        traced = self._traced[what.life.writer]
        span = traced.open[what.path] = self._step(traced, what.path, what.name, what.at, what.scope)
        contexts.attach(trace.set_span_in_context(span, traced.caller))  # it is the function's own context: see there

    def _step(self, traced: _Traced, path: str, name: str, at: int, scope: str) -> Span:
        about, inside = {"nurselog.path": path}, traced.inside(scope)
        return self._begin(traced.begun.life, path, name, what=about, at=at, inside=inside)

    def _recorded(self, what: Recorded) -> None:
        traced = self._traced.get(what.life.writer)
        if traced is None:  # the same
            return
        match what.event:
            case StepEnded() as ended:
                self._step_ended(traced, ended, what.row)
            case StepRetried(path=path, attempt=attempt):
                _failed(traced.open[path], what.row, "retried", attempt=attempt)
            case Ended(result=result):
                _end(traced.workflow, result, what.row)
            case _:
                pass

    def _step_ended(self, traced: _Traced, ended: StepEnded, row: Row) -> None:
        span = traced.open.pop(ended.path, None)
        if span is None:  # cancelled before it began
            span = self._step(traced, ended.path, ended.name, row.at, "")
        span.set_attribute("nurselog.attempts", ended.attempts)
        if ended.result is Result.CANCELLED:
            _cancelled(span, row.at, by=f"scope {ended.scope}" if ended.scope else "scope", reason=ended.reason)
        _end(span, ended.result, row)

    # -- spans -----------------------------------------------------------------------------------

    def _begin(
        self, life: Life, key: str, name: str, *, what: Mapping[str, str | int], at: int, inside: Context
    ) -> Span:
        """Make a span, of the same ids in each life."""
        ids = ids_of(life.started.seed, life.id, key)
        with wanting(ids):
            span = self._tracer.start_span(
                name, inside, attributes={"nurselog.workflow.id": life.id, **what}, start_time=_nanoseconds(at)
            )
        if span.is_recording() and span.get_span_context().span_id != ids.span and not self._warned:
            self._warned = True
            logger.warning(
                "the tracer provider draws ids by itself: the spans of a workflow that is in memory more than once do "
                "not find each other. Make it with TracerProvider(id_generator=nurselog.telemetry.ids.IdGenerator())"
            )
        return span


def _stay(writer: int) -> str:
    return f"life {writer}"


def _nanoseconds(at: int) -> int:
    return at * 1000


def _beside(span: Span, ids: Ids) -> SpanContext:
    """Return the context of another span in the same trace."""
    own = span.get_span_context()
    return SpanContext(own.trace_id, ids.span, is_remote=True, trace_flags=own.trace_flags)


def _cancelled(span: Span, at: int, *, by: str, reason: str | None) -> None:
    said = {"nurselog.by": by} if reason is None else {"nurselog.by": by, "nurselog.reason": reason}
    span.add_event("cancelled", said, _nanoseconds(at))


def _failed(span: Span, row: Row, event: str, **said: int) -> str:
    """Enter an error into a span, as the row has it; return its text."""
    error = decode_error(row.value or b"")
    about = {
        "exception.type": error.type_name,
        "exception.message": error.message,
        "exception.stacktrace": error.traceback,
    }
    span.add_event(event, about | {f"nurselog.{name}": value for name, value in said.items()}, _nanoseconds(row.at))
    return error.message


def _end(span: Span, result: Result, row: Row) -> None:
    span.set_attribute("nurselog.result", result.value)
    if result is Result.ERROR:
        span.set_status(Status(StatusCode.ERROR, _failed(span, row, "exception")))
    span.end(_nanoseconds(row.at))
