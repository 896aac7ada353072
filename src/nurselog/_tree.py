"""A workflow's log as a tree of text: what happened where, in the order of the code, with the times at the left.

The log is in the order of time, which mixes what concurrent branches did. People ask what became of one branch, so the
tree follows the paths: a branch with all its operations, and below each operation what happened to it. Cancellations
are marked. Pure functions on entries; `nurselog log` and the demo print what they return.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from .lowlevel import (
    Answered,
    Cause,
    ChildEnded,
    ChildStarted,
    Claimed,
    Emitted,
    Ended,
    Event,
    Forked,
    LogEntry,
    Patched,
    Published,
    Received,
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
    decode_error,
    parse_path,
)


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

    path: str
    entries: list[LogEntry] = field(default_factory=list[LogEntry])
    children: dict[str, _Node] = field(default_factory=dict[str, "_Node"])


def draw_log(workflow_id: str, entries: Sequence[LogEntry]) -> Sequence[Line]:
    """Return a workflow's log as a tree.

    Args:
        workflow_id: its id, for the first line.
        entries: the log, or its beginning.
    """
    return [Line(printable(workflow_id)), *_draw(_plant(entries), "", entries[0].at)]


def draw_entry(entry: LogEntry, origin: int) -> Line:
    """Return an entry of a log as a line of its own, with its place in the tree as a path.

    Args:
        entry: the entry.
        origin: since when time is counted: the `at` of the first one.
    """
    return _line(entry, f"{entry.event.path} " if entry.event.path else "", origin)


def printable(text: str) -> str:
    """Return a text as one line of nothing but visible characters; of all others it has the escapes.

    Reasons and messages of errors come from anywhere: on a terminal, what they hold could clear the screen, and a line
    of theirs could pass for one of the log's.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _plant(entries: Iterable[LogEntry]) -> _Node:
    root = _Node("")
    for entry in entries:
        node, parts = root, entry.event.path.split(".") if entry.event.path else []
        for length in range(1, len(parts) + 1):
            path = ".".join(parts[:length])
            node = node.children.setdefault(path, _Node(path))
        node.entries.append(entry)
    return root


# -- lines ---------------------------------------------------------------------------------------


def _draw(node: _Node, rails: str, origin: int) -> Iterator[Line]:
    """Yield the lines below a node: what happened to it, then its children."""
    children = [node.children[path] for path in sorted(node.children, key=parse_path)]
    for entry, times in _without_streams(_notes(node)):
        line = _line(entry, f"{rails}{'│  ' if children else '   '}", origin)
        yield line if times == 1 else Line(f"{line.text}, the last of {times:,}", line.mark)
    for child in children:
        last = child is children[-1]
        yield _headline(child, f"{rails}{'└─ ' if last else '├─ '}{child.path} ", origin)
        yield from _draw(child, f"{rails}{'   ' if last else '│  '}", origin)


def _headline(node: _Node, rails: str, origin: int) -> Line:
    entry = _head(node)
    return Line(f"{'':>{_GUTTER}}  {rails}branch") if entry is None else _line(entry, rails, origin)


def _line(entry: LogEntry, rails: str, origin: int) -> Line:
    return Line(f"{_since(entry.at, origin):>{_GUTTER}}  {rails}{printable(_say(entry, origin))}", _mark(entry.event))


def _since(at: int, origin: int) -> str:
    return f"+{(at - origin) / 1e6:.3f}"


def _head(node: _Node) -> LogEntry | None:
    """Return the entry that says what a node is: an operation's outcome or its beginning; none of a branch."""
    return next((one for kind in _HEADS for one in node.entries if isinstance(one.event, kind)), None)


def _notes(node: _Node) -> Sequence[LogEntry]:
    """Return the entries that a node's headline does not tell."""
    head = _head(node) if node.path else None
    over = isinstance(head.event, StepEnded) if head else False
    return [one for one in node.entries if one is not head and not (over and isinstance(one.event, StepBegan))]


def _without_streams(entries: Sequence[LogEntry]) -> Iterator[tuple[LogEntry, int]]:
    """Yield entries with the number 1; of many values published under one name only the last, with how many they are.

    A stream may have thousands, between which nobody would find anything else.
    """
    times = Counter(event.name for entry in entries if _is_item(event := entry.event))
    left = times.copy()
    for entry in entries:
        event = entry.event
        if not _is_item(event) or times[event.name] <= _MANY:
            yield entry, 1
            continue
        left[event.name] -= 1
        if not left[event.name]:
            yield entry, times[event.name]


def _is_item(event: Event) -> TypeGuard[Published | Emitted]:
    return isinstance(event, Published | Emitted) and not event.end


_HEADS = (StepEnded, ChildStarted, TimerSet, Selected, Received, Patched, ScopeCancelled, StepBegan, Emitted)
_MANY = 3
_GUTTER = 10
_LONGEST = 60
_NUL = "\0"
"""What some codecs mark their own with, since no JSON begins so."""


# -- events --------------------------------------------------------------------------------------


def _mark(event: Event) -> Mark:
    match event:
        case ScopeCancelled() | StepEnded(result=Result.CANCELLED) | Ended(result=Result.CANCELLED | Result.KILLED):
            return Mark.CANCELLED
        case ChildEnded(result=Result.CANCELLED | Result.KILLED):
            return Mark.CANCELLED
        case StepEnded(result=result) | ChildEnded(result=result) | Ended(result=result) if result is Result.ERROR:
            return Mark.FAILED
        case Received(result=Result.ERROR) | Answered(result=Result.ERROR):
            return Mark.FAILED
        case StepRetried():
            return Mark.FAILED
        case Claimed() | Resumed() | Forked():
            return Mark.FAINT
        case _:
            return Mark.PLAIN


def _say(entry: LogEntry, origin: int) -> str:
    match entry.event:
        case StepEnded() as event:
            return _say_step(entry, event)
        case StepRetried(attempt=attempt, due=due):
            return f"attempt {attempt} failed{_error(entry)}; the next is due at {_since(due, origin)}"
        case ScopeCancelled(by=by, reason=reason):
            return f"CANCELLED by {_CAUSES[by]}{_because(reason)}"
        case Received() as event:
            return _say_received(entry, event)
        case Published(name=name, end=end) | Emitted(name=name, end=end):
            return f"published {'the end of ' if end else ''}{name!r}{_value(entry)}"
        case Answered(key=key, result=result):
            return f"update {key!r} was {_ANSWERS[result]}{_OUTCOMES[result](entry)}"
        case ChildEnded(result=result, reason=reason):
            say = _OUTCOMES.get(result)
            return f"the child {_ENDS[result]}{_because(reason)}{say(entry) if say else ''}"
        case Ended(result=result, reason=reason):
            return f"the workflow {_ENDS[result]}{_because(reason)}{_error(entry) if result is Result.ERROR else ''}"
        case event:
            when = _since(event.due, origin) if isinstance(event, TimerSet) else ""
            return _TEXTS[type(event)].format(event=event, when=when)


def _say_step(entry: LogEntry, event: StepEnded) -> str:
    again = f", at attempt {event.attempts}" if event.attempts > 1 else ""
    match event.result:
        case Result.VALUE:
            took = "" if event.began_at is None else f", {(entry.at - event.began_at) // 1000} ms"
            return f"{event.name}{took}{again}{_value(entry)}"
        case Result.ERROR:
            return f"{event.name} FAILED{again}{_error(entry)}"
        case _:
            scope = "" if event.scope is None else f" by scope {event.scope or 'root'}"
            begun = "" if event.begun else " before it began"
            return f"{event.name} CANCELLED{begun}{scope}{_because(event.reason)}"


def _say_received(entry: LogEntry, event: Received) -> str:
    if event.update is not None:
        return f"asked for update {event.topic!r} by key {event.update!r}{_value(entry)}"
    if event.topic is not None:
        return f"received in mailbox {event.topic!r}{_value(entry)}"
    rejected = event.result is Result.ERROR
    return f"the promise was REJECTED{_error(entry)}" if rejected else f"the promise was resolved{_value(entry)}"


def _because(reason: str | None) -> str:
    return f': "{reason}"' if reason else ""


def _value(entry: LogEntry) -> str:
    """Return what a codec has written, as far as it is text: a codec may compress, or encrypt."""
    if entry.value in {None, b"null"}:
        return ""
    try:
        return f" -> {_shortened((entry.value or b'').decode().lstrip(_NUL))}"
    except UnicodeDecodeError:
        return f" -> {len(entry.value or b''):,} bytes"


def _error(entry: LogEntry) -> str:
    if entry.value is None:
        return ""
    error = decode_error(entry.value)
    return f": {error.type_name}: {_shortened(error.message)}"


_OUTCOMES = {Result.VALUE: _value, Result.ERROR: _error}
_ANSWERS = {Result.VALUE: "answered", Result.ERROR: "REJECTED"}


def _shortened(text: str) -> str:
    """Return the first line, or as much of it as fits."""
    line = text.partition("\n")[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


_TEXTS: dict[type[Event], str] = {
    Started: "{event.name} started",
    Claimed: "taken over by {event.worker}",
    Resumed: "resumed",
    Forked: "forked from {event.source!r} at row {event.at}",
    StepBegan: "{event.name} began",
    ChildStarted: "child workflow {event.name}",
    Selected: "select took case {event.index}",
    TimerSet: "{event.name}, due at {when}",
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
