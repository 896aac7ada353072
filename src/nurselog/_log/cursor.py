"""Replay matching: what a recorded log says to the code that runs again, as plain functions on a prefix.

Two readers go through a log side by side. The sequencer takes the *delivered* events, one after the other; the code
itself makes *notes* on its way, and each note must be the one that the log has next. The two sequences are matched
apart, never by position in the log: a step's body may append its outcome while a strand is still on its way to its
next note, so the order of the two in the log is an accident of timing. What ties them together is `after`, the number
of events that had been delivered when a row was appended: it tells a note that the code no longer makes from one that
a crash has lost.

- The log has a note with this very `after`: it must be the same, or the code has changed.
- The log has any row with a higher `after`: the code had gone past this place, so the note is new: changed.
- Else the note was lost in a crash, or is being made for the first time: it is appended.
- A delivered event is due while the next note's `after` has been passed: the code left the note out: changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence

import msgspec

from .events import (
    Answered,
    Cause,
    ChildEnded,
    ChildStarted,
    Claimed,
    Emitted,
    Ended,
    Event,
    Forked,
    Patched,
    Published,
    Received,
    Resumed,
    Row,
    ScopeCancelled,
    Selected,
    Started,
    StepBegan,
    StepEnded,
    StepRetried,
    TimerFired,
    TimerSet,
    decode_event,
)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A row with its event decoded."""

    row: Row
    event: Event


class Mismatch(Exception):
    """The code and the log disagree; the sequencer adds where it happened."""

    def __init__(self, recorded: str, called: str) -> None:
        super().__init__(recorded, called)
        self.recorded: str = recorded
        self.called: str = called


class History(msgspec.Struct):
    """What the log knows of a step that has no outcome yet."""

    began_at: int | None = None
    """UTC microseconds of the first sign that it had begun."""
    attempts: int = 0
    """Attempts that failed."""
    due: int = 0
    """When the next attempt is due, UTC microseconds."""

    @property
    def begun(self) -> bool:
        """Whether its function has ever been entered."""
        return self.began_at is not None


def is_delivered(event: Event) -> bool:
    """Whether the sequencer hands this event to the workflow."""
    return isinstance(event, _DELIVERED) or (isinstance(event, ScopeCancelled) and event.by is Cause.EXTERNAL)


def is_note(event: Event) -> bool:
    """Whether the workflow's code itself makes this event."""
    return isinstance(event, _NOTES) and not is_delivered(event)


_DELIVERED = (StepEnded, TimerFired, ChildEnded, Received)

_NOTES = (Selected, TimerSet, ScopeCancelled, Answered, ChildStarted, Published, Patched, Ended)


def _essence(event: Event) -> tuple[object, ...]:
    """What two notes must share: texts for people and due times may differ, since the recorded ones stand."""
    match event:
        case Selected(path=path, index=index):
            return ("selected", path, index)
        case TimerSet(path=path, name=name):
            return ("timer", path, name)
        case ScopeCancelled(path=path, by=by):
            return ("cancelled", path, by)
        case ChildStarted(path=path, name=name):
            return ("child", path, name)
        case Answered(key=key, result=result):
            return ("answered", key, result)
        case Published(path=path, name=name, end=end):
            return ("published", path, name, end)
        case Patched(name=name):
            return ("patched", name)
        case _:
            assert isinstance(event, Ended)
            return ("ended", event.result)


_LINES: dict[type, str] = {
    Started: "the start of {event.name!r}",
    Claimed: "a change of owner",
    Resumed: "an operator's resume",
    Forked: "a fork of {event.source!r}",
    StepEnded: "step {event.name!r}{at}, ended with {event.result.value}",
    StepBegan: "step {event.name!r}{at}, begun",
    StepRetried: "step {event.name!r}{at}, attempt {event.attempt} failed",
    Selected: "a select{at} that took case {event.index}",
    TimerSet: "a timer of {event.name}{at}",
    TimerFired: "a timer{at} that fired",
    ScopeCancelled: "a cancelled scope{at} (by {event.by.value})",
    ChildStarted: "child workflow {event.name!r}{at}",
    ChildEnded: "the child workflow{at}, ended with {event.result.value}",
    Received: "something received{at}",
    Answered: "an answer ({event.result.value}) to update {event.key!r}",
    Published: "{end}{event.name!r} published{at}",
    Emitted: "{end}{event.name!r} published by the step{at}",
    Patched: "patched({event.name!r})",
    Ended: "the workflow's end with {event.result.value}",
}


def describe(event: Event) -> str:
    """Return one line about an event, for errors and for people."""
    at = f" at path {event.path}" if event.path else " at the root"
    end = "the end of " if isinstance(event, Published | Emitted) and event.end else ""
    return _LINES[type(event)].format(event=event, at=at, end=end)


_NOTHING: deque[Entry] = deque()
"""What is left of a log that has just begun, of which most are: a deque, even an empty one, takes 600 bytes."""

_NOBODY: set[str] = set()
"""Its children, none; nothing is ever added to either of the two."""


class Cursor:
    """One workflow's recorded log on its way to the code."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.delivered: int = 0
        """How many events the workflow has been given."""
        self.left: deque[Entry] = _NOTHING
        """Delivered events that are still to be given."""
        self.histories: dict[str, History] = {}
        """Steps that had begun and have no outcome, by path."""
        self.cancelled: bool = False
        """Whether somebody outside has cancelled the workflow, anywhere in the log."""
        self.children: set[str] = _NOBODY
        """Paths of children that have not ended."""
        self.orphans: set[str] = _NOBODY
        """Those of them that are another workflow's, which this one was forked from."""
        self.sources: tuple[str, ...] = ()
        """Ids of the workflows that its first rows were copied from: it is their fork."""
        self.received: int = 0
        """How many messages from outside the log has."""
        self.former: int = -1
        """How many events a former life may have been given; -1: there was none."""
        self._notes: deque[Entry] = _NOTHING
        self._bound = 0
        if len(rows) > 1:
            self.left, self._notes, self.children, self.orphans = deque(), deque(), set(), set()
            for row in rows:
                self._load(Entry(row, decode_event(row.event)))
            self.former = len(self.left)
        self.lived: bool = bool(self.left or self._notes or self.histories)
        """Whether the log shows that its code has run before: in a former life, or in the workflow it is a fork of."""
        self.reached: int = self._bound if self.lived else -1
        """How many events a former life was given for certain; -1: there was none."""

    def _load(self, entry: Entry) -> None:
        row, event = entry.row, entry.event
        self._bound = max(self._bound, row.after)
        if is_delivered(event):
            self.left.append(entry)
            self._load_delivered(event)
        elif is_note(event):
            self._notes.append(entry)
            if isinstance(event, ChildStarted):
                self.children.add(event.path)
        elif isinstance(event, (StepBegan, StepRetried, Emitted)):
            history = self.histories.setdefault(event.path, History())
            if history.began_at is None:
                history.began_at = row.at
            if isinstance(event, StepRetried):
                history.attempts, history.due = event.attempt, event.due
        elif isinstance(event, Forked):  # what had begun by then was begun under another key, and for the original
            self.histories = {path: History() for path in self.histories}
            self.orphans = set(self.children)
            self.sources += (event.source,)

    def _load_delivered(self, event: Event) -> None:
        match event:
            case StepEnded(path=path):
                self.histories.pop(path, None)
            case ChildEnded(path=path):
                self.children.discard(path)
                self.orphans.discard(path)
            case Received():
                self.received += 1
            case ScopeCancelled(path=""):
                self.cancelled = True
            case _:
                pass

    def take(self) -> Entry:
        """Return the next event to deliver.

        Raises:
            Mismatch: if the code has left out a note that the log has.
        """
        self.advance()
        return self.left.popleft()

    def advance(self) -> None:
        """Count one more delivered event: all notes made until now must have been met.

        Raises:
            Mismatch: if the code has left one out.
        """
        if self._notes and self._notes[0].row.after <= self.delivered:
            raise Mismatch(describe(self._notes[0].event), "go on without it")
        self.delivered += 1

    def close(self) -> None:
        """All recorded events have been delivered, and the code waits: all its notes must have been met.

        Raises:
            Mismatch: if the code has left one out.
        """
        if self._notes:
            raise Mismatch(describe(self._notes[0].event), "wait without it")

    def note(self, event: Event) -> Event | None:
        """Match a note that the code makes now.

        Returns:
            The recorded note, whose due time stands; None if the note is new and must be appended.

        Raises:
            Mismatch: if the log has another note here, or none.
        """
        if self._notes and self._notes[0].row.after <= self.delivered:
            recorded = self._notes[0].event
            if _essence(recorded) != _essence(event):
                raise Mismatch(describe(recorded), describe(event))
            self._notes.popleft()
            return recorded
        if self._notes or self.delivered < self._bound:
            following = self._notes or self.left
            coming = f"; what follows is {describe(following[0].event)}" if following else ""
            raise Mismatch(f"nothing of the kind at this place{coming}", describe(event))
        if isinstance(event, Ended):
            for entry in self.left:  # a timer may fire too late, but no step can end when nobody waits for it
                if isinstance(entry.event, (StepEnded, ChildEnded)):
                    raise Mismatch(describe(entry.event), describe(event))
        return None

    def patched(self, name: str, called_before: Container[str]) -> bool | None:
        """Answer whether the code at this place is the patched one.

        Args:
            name: the marker's.
            called_before: paths of the steps that were called before the last event was delivered.

        Returns:
            True if the log has the marker here, False if the log shows that the code has passed here without it, None
            if it does not: then the answer is True, and the marker, which a crash may have lost, is to be appended.
        """
        if self._notes and self._notes[0].row.after <= self.delivered:
            if _essence(self._notes[0].event) == ("patched", name):
                self._notes.popleft()
                return True
            return False
        return False if self._passed(called_before) else None

    def _passed(self, called_before: Container[str]) -> bool:
        """Whether the log has anything that the code can have brought about only beyond this place.

        The outcome of a step that had been called before is no sign: its body ran while the code came here. One of any
        other step is: bodies start when the workflow is quiet, that is, when the code is through with this place.
        """
        if self._notes or self.delivered < self._bound:
            return True
        steps = [entry.event.path for entry in self.left if isinstance(entry.event, StepEnded)]
        return any(path not in called_before for path in (*steps, *self.histories))
