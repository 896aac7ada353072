"""What a search for mistakes has found, for people and for scripts."""

from __future__ import annotations

import enum
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import NamedTuple

import msgspec

from ..lowlevel import Claimed, Event, Result, StepBegan, StepEnded, StepRetried, TimerSet, decode_event, describe
from .life import Cancelled, Closed, Hung, Life, Outcome, Raised, Returned, Stuck
from .sanitizer import Touch

_SHOWN = 3
"""How many findings a report tells at length: most are the same mistake, at one event after the other."""
_WIDTH = 58


class Law(enum.Enum):
    """What must hold of a workflow, whatever happens to its process; the value says what does not."""

    FOLLOWS = "its code does not follow its log"
    ENDS = "it does not come to an end"
    ASSERTION = "an assertion failed, or a name is not there, in a fake or in the workflow's code"
    REPLAYS = "its log, replayed, comes to another end: the code depends on what no log has"
    HASHING = "in another process its code does not follow its log: an order hangs on hashing, as that of a set does"
    INVARIANT = "the invariant does not hold"


OF_REPLAY = {Law.FOLLOWS, Law.REPLAYS, Law.HASHING}
"""Laws that are broken by code that is not the same in each run."""


class Moment(NamedTuple):
    """When a misfortune struck first: "dies after event 5", "is cancelled after move 3, and dies"."""

    what: str
    unit: str
    number: int
    then: str = ""
    """What struck later."""


@dataclass(frozen=True)
class Finding:
    """A law that a life has broken."""

    law: Law
    misfortune: str
    """What happened to the workflow."""
    problem: str
    life: Life
    """The life that broke it."""
    where: str | None = None
    """File and line where the workflow's code stood then: at the operation that had just ended, or was waited for."""
    moment: Moment | None = None
    """When it happened, where that is a place in the log."""


class Report:
    """What was tried, and what came of it.

    Attributes:
        name: the workflow's.
        live: the life to which nothing happened.
        lives: how many lives were lived, replays included.
        misfortunes: how many things were done to it.
        findings: what went wrong.
        untried: after how many events or moves nothing was tried, for want of time.
        touches: what its code has asked for that no log has, in the life to which nothing happened.
        obstacle: why other hash seeds were not tried, in a sentence; None if they were.
    """

    def __init__(self, name: str, live: Life) -> None:
        self.name: str = name
        self.live: Life = live
        self.lives: int = 0
        self.misfortunes: int = 0
        self.findings: list[Finding] = []
        self.untried: int = 0
        self.touches: list[Touch] = []
        self.obstacle: str | None = None

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield (
            f"workflow {self.name!r}, {len(self.live.rows)} events: of {self.misfortunes:,} misfortunes "
            f"{len(self.findings):,} broke it ({self.lives:,} lives)"
        )
        yield f"With nothing happening it {say(self.live.outcome)}."
        if self.untried:
            yield f"There was no time for {self.untried:,} more moments; the others are spread over the log."
        if self.obstacle and not self.findings:
            yield self.obstacle
        if self.findings and self.touches:
            laws = {finding.law for finding in self.findings}
            what = "Most likely" if laws & OF_REPLAY else "What no log has"
            yield f"{what}: {', '.join(map(str, self.touches))}"
        for finding in self.findings[:_SHOWN]:
            yield from _told(finding)
            if finding.law is not Law.HASHING:  # there, it has not come to a log of its own
                yield from side_by_side(self.live.events, finding.life.events)
        if left := self.findings[_SHOWN:]:
            yield "\nThe others:"
            yield from _in_short(left)


def _told(finding: Finding) -> Iterator[str]:
    """Yield what went wrong, beginning with the line that a reader wants to see."""
    yield f"\n{finding.where or 'somewhere'}: {finding.misfortune}: {finding.law.value}."
    file, _, line = (finding.where or "").rpartition(":")
    if code := linecache.getline(file, int(line or 0)).strip():
        yield f"    {code}"
    yield f"{finding.problem}\n"


def _in_short(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each mistake, and at which moments it shows."""
    kinds: dict[tuple[str | None, Law, str | Moment], set[int]] = {}
    for one in findings:
        what = one.moment._replace(number=0) if one.moment else one.misfortune
        kinds.setdefault((one.where, one.law, what), set()).add(one.moment.number if one.moment else 0)
    for (where, law, what), numbers in kinds.items():
        place = f"{where or 'somewhere'}: "
        if isinstance(what, Moment):
            plural = "s" if len(numbers) > 1 else ""
            yield f"{place}{what.what} after {what.unit}{plural} {_ranges(sorted(numbers))}{what.then}: {law.value}"
        else:
            yield f"{place}{what}: {law.value}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return "2, 5-7" for 2, 5, 6, 7."""
    runs = [[pair[1] for pair in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


class Broken(AssertionError):
    """A workflow does not survive what it must survive.

    Attributes:
        report: what was found.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report: Report = report

    def __str__(self) -> str:
        return str(self.report)


# -- logs ----------------------------------------------------------------------------------------


def is_bookkeeping(event: Event) -> bool:
    """Whether an event says nothing of what the workflow did: who took it over, that a step has lasted a moment."""
    return isinstance(event, Claimed | StepBegan)


def has_error(event: Event) -> bool:
    """Whether the value of an event's row is an error."""
    return isinstance(event, StepRetried) or getattr(event, "result", None) is Result.ERROR


def essence(event: Event) -> Event:
    """Return what two logs share that were written at different times."""
    match event:
        case StepEnded():
            return msgspec.structs.replace(event, began_at=None)
        case TimerSet() | StepRetried():
            return msgspec.structs.replace(event, due=0)
        case _:
            return event


def side_by_side(live: Sequence[Event], other: Sequence[Event]) -> Iterator[str]:
    """Yield two logs as two columns; where they part there is a mark. What only the engine needs is left out."""
    one, two = ([essence(event) for event in log if not is_bookkeeping(event)] for log in (live, other))
    yield f"  {'with nothing happening':<{_WIDTH}}   with it"
    for left, right in zip_longest(one, two):
        mark = " " if left == right else "|"
        yield f"  {_line(left):<{_WIDTH}} {mark} {_line(right) if left != right else 'the same'}".rstrip()


def _line(event: Event | None) -> str:
    text = "" if event is None else describe(event)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def say(outcome: Outcome) -> str:
    """Say what became of a workflow."""
    match outcome:
        case Returned(value=value):
            return f"returned {value!r:.200}"
        case Raised(error=error):
            return f"raised {error!r:.200}"
        case Stuck(problem=problem):
            return f"got stuck: {problem}"
        case Cancelled(reason=reason):
            return f"was cancelled: {reason}" if reason else "was cancelled"
        case Hung() | Closed():  # pragma: no branch - there is no other case
            return "did not end"


def misfortune_at(what: str, life: Life, rows: int) -> str:
    """Say what was done to a workflow, and when."""
    last = decode_event(life.rows[rows - 1].event)
    return f"{what} after event {rows} of {len(life.rows)} ({describe(last)})"
