"""A workflow's log as a tree of text: what happened where, in the order of the code, with the times at the left.

The log is in the order of time, which mixes what concurrent branches did. People ask what became of one branch, so the
tree follows the paths: a branch with all its operations, and below each operation what happened to it. Cancellations
are marked. Pure functions on records; `nurselog log` and the demo print what they return.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .._log.events import (
    Cause,
    Claimed,
    Ended,
    Event,
    Forked,
    Patched,
    Result,
    Resumed,
    ScopeCancelled,
    Selected,
    Started,
    StepBegan,
    StepEnded,
    StepRetried,
    TimerFired,
    TimerSet,
)
from .._log.identity import Path, format_path, parse_path


class Record(Protocol):
    """A row of a log, with its event decoded."""

    @property
    def at(self) -> int:
        """UTC microseconds."""
        ...

    @property
    def event(self) -> Event:
        """What happened."""
        ...


class Mark(enum.Enum):
    """How a line stands out."""

    PLAIN = ""
    CANCELLED = "33"
    FAILED = "31"
    FAINT = "2"

    def paint(self, text: str) -> str:
        """Return the text in this mark's colour, for a terminal."""
        return f"\x1b[{self.value}m{text}\x1b[0m" if self.value else text


@dataclass(frozen=True)
class Line:
    """A line of the drawing."""

    text: str
    mark: Mark = Mark.PLAIN


@dataclass
class _Node:
    """A place in the tree."""

    path: Path
    records: list[Record] = field(default_factory=list)
    children: dict[Path, _Node] = field(default_factory=dict)


def draw_log(workflow_id: str, records: Sequence[Record]) -> Sequence[Line]:
    """Return a workflow's log as a tree.

    Args:
        workflow_id: its id, for the first line.
        records: the log, or its beginning.
    """
    return [Line(workflow_id), *_draw(_plant(records), "", records[0].at)]


def _plant(records: Iterable[Record]) -> _Node:
    root = _Node(())
    for record in records:
        node, path = root, parse_path(record.event.path)
        for length in range(1, len(path) + 1):
            node = node.children.setdefault(path[:length], _Node(path[:length]))
        node.records.append(record)
    return root


# -- lines ---------------------------------------------------------------------------------------


def _draw(node: _Node, rails: str, origin: int) -> Iterator[Line]:
    """Yield the lines below a node: what happened to it, then its children."""
    children = [node.children[path] for path in sorted(node.children)]
    for record in _notes(node):
        yield _line(record, f"{rails}{'│  ' if children else '   '}", origin)
    for child in children:
        last = child is children[-1]
        yield _headline(child, f"{rails}{'└─ ' if last else '├─ '}{format_path(child.path)} ", origin)
        yield from _draw(child, f"{rails}{'   ' if last else '│  '}", origin)


def _headline(node: _Node, rails: str, origin: int) -> Line:
    record = _head(node)
    return Line(f"{'':>{_GUTTER}}  {rails}branch") if record is None else _line(record, rails, origin)


def _line(record: Record, rails: str, origin: int) -> Line:
    return Line(f"{_since(record.at, origin):>{_GUTTER}}  {rails}{_say(record, origin)}", _mark(record.event))


def _since(at: int, origin: int) -> str:
    return f"+{(at - origin) / 1e6:.3f}"


def _head(node: _Node) -> Record | None:
    """Return the record that says what a node is: an operation's outcome or its beginning; none of a branch."""
    return next((one for kind in _HEADS for one in node.records if isinstance(one.event, kind)), None)


def _notes(node: _Node) -> Sequence[Record]:
    """Return the records that a node's headline does not tell."""
    head = _head(node) if node.path else None
    over = isinstance(head.event, StepEnded) if head else False
    return [one for one in node.records if one is not head and not (over and isinstance(one.event, StepBegan))]


_HEADS = (StepEnded, TimerSet, Selected, Patched, ScopeCancelled, StepBegan)
_GUTTER = 10


# -- events --------------------------------------------------------------------------------------


def _mark(event: Event) -> Mark:
    match event:
        case ScopeCancelled() | StepEnded(result=Result.CANCELLED) | Ended(result=Result.CANCELLED | Result.KILLED):
            return Mark.CANCELLED
        case StepEnded(result=Result.ERROR) | Ended(result=Result.ERROR) | StepRetried():
            return Mark.FAILED
        case Claimed() | Resumed() | Forked():
            return Mark.FAINT
        case _:
            return Mark.PLAIN


def _say(record: Record, origin: int) -> str:
    match record.event:
        case StepEnded() as event:
            return _say_step(record, event)
        case ScopeCancelled(by=by, reason=reason):
            return f"CANCELLED by {_CAUSES[by]}" + _because(reason)
        case Ended(result=result, reason=reason):
            return f"the workflow {_ENDS[result]}" + _because(reason)
        case event:
            due = _since(event.due, origin) if isinstance(event, StepRetried | TimerSet) else ""
            return _TEXTS[type(event)].format(event=event, due=due)


def _say_step(record: Record, event: StepEnded) -> str:
    again = f", at attempt {event.attempts}" if event.attempts > 1 else ""
    match event.result:
        case Result.VALUE:
            took = "" if event.began_at is None else f", {(record.at - event.began_at) // 1000} ms"
            return f"{event.name}{took}{again}"
        case Result.ERROR:
            return f"{event.name} FAILED{again}"
        case _:
            scope = "" if event.scope is None else f" by scope {event.scope or 'root'}"
            begun = "" if event.begun else " before it began"
            return f"{event.name} CANCELLED{begun}{scope}" + _because(event.reason)


def _because(reason: str | None) -> str:
    return f': "{reason}"' if reason else ""


_TEXTS: dict[type[Event], str] = {
    Started: "{event.name} started",
    Claimed: "taken over by {event.worker}",
    Resumed: "resumed",
    Forked: "forked from {event.source!r} at row {event.at}",
    StepBegan: "{event.name} began",
    StepRetried: "attempt {event.attempt} failed, the next is due at {due}",
    Selected: "select took case {event.index}",
    TimerSet: "{event.name}, due at {due}",
    TimerFired: "the time is up",
    Patched: "patched {event.name!r}",
}

_CAUSES = {
    Cause.EXPLICIT: "the code",
    Cause.DEADLINE: "its time limit",
    Cause.FAILURE: "a failure inside",
    Cause.EXTERNAL: "somebody outside",
}

_ENDS = {
    Result.VALUE: "completed",
    Result.ERROR: "FAILED",
    Result.CANCELLED: "was CANCELLED",
    Result.KILLED: "was KILLED",
}
