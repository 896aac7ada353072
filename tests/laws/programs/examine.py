"""The laws, and the lives that a scenario is put through to see whether they hold.

A scenario is run live. Its log is replayed as a whole; cut at some places, and each time resumed and replayed again;
what a cut has become is cut once more; and once a life is stopped early, by closing its engine or by breaking its
store. Every life but the first is compared with the one before it:

- a recorded body never runs again, and an `at_most_once` body that is known to have begun does not either;
- the recorded prefix never changes;
- up to the last event that both lives have been given, the code saw the same;
- a replay of a whole log adds nothing but its own `claimed`, and the same end.
"""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn
from unittest.mock import patch

import trio

from nurselog import DeadlockError
from nurselog._log.identity import parse_path, step_key
from nurselog.abc import Batch, Receipt
from nurselog.lowlevel import (
    Cause,
    Claimed,
    Ended,
    Event,
    Row,
    ScopeCancelled,
    StepBegan,
    StepEnded,
    decode_event,
    describe,
    is_delivered,
)

from .. import harness
from ..harness import ID, BenchStore, GotStuck, Recording, Unfinished, chance, resume, run_live, tally
from .scenario import Scenario, program
from .steps import STEPS

CUTS = 10
"""How many places a log is cut at, at most."""
PATIENCE = 20
"""Seconds of the wall clock that one life may take: in virtual time even a day takes none."""


class Broken(AssertionError):
    """A law does not hold."""

    def __init__(self, law: str, life: str, detail: str) -> None:
        super().__init__(f"{life}: {law}\n{detail}")
        self.law, self.life, self.detail = law, life, detail

    @property
    def signature(self) -> str:
        """What two failures share that probably have the same cause."""
        text = f"{self.law}: {self.detail.splitlines()[0]}" if self.detail else self.law
        return re.sub(r"\([^)]*\)|[0-9a-f]{8,}|(\bt?\d+(\.t?\d+)*\b)|/\S+", "#", text)[:120]


class Hang(BaseException):
    """A life does not end, not even in virtual time."""


class SlowStore(BenchStore):
    """Its commits take some time, so that rows of several strands and bodies meet in one batch, in any order."""

    async def commit(self, batch: Batch) -> Receipt:
        with trio.CancelScope(shield=True):  # a commit that has begun ends
            await trio.sleep(chance().random() * 0.0005)
            return await super().commit(batch)


def examine(scenario: Scenario, cuts: int = CUTS) -> None:
    """Put a scenario through its lives.

    Raises:
        Broken: if a law does not hold.
    """
    tally["programs"] += 1
    Examination(scenario, cuts).run()


class Examination:
    """One scenario on its way through its lives."""

    def __init__(self, scenario: Scenario, cuts: int) -> None:
        self.scenario, self.cuts = scenario, cuts
        self.random = random.Random(scenario.seed)
        self.threads = scenario.is_threaded

    def run(self) -> None:
        live = self._life("live", None, cancel_after=self.scenario.cancel_after)
        tally["events"] += len(live.rows)
        tally.update(type(event).__name__ for event in live.events)
        tally.update(type(live.outcome).__name__ for _ in [0])
        self._replay("replay", live)
        for cut in self._places(1, len(_whole(live)), self.cuts):
            second = self._resume(f"resumed at {cut}", live, cut)
            if second.moves:
                for again in self._places(cut + 1, len(_whole(second)), 1):
                    self._resume(f"resumed at {cut} and {again}", second, again)
        self._stopped(live)

    def _places(self, first: int, last: int, most: int) -> list[int]:
        places = range(first, last + 1)
        return sorted(self.random.sample(places, min(most, len(places))))

    # -- lives -----------------------------------------------------------------------------------

    def _life(self, name: str, prefix: Sequence[Row] | None, **plan: Any) -> Recording:
        plan = {"seed": self.random.getrandbits(32), "threads": self.threads, **plan}
        try:
            with _watchdog(), patch.object(harness, "BenchStore", SlowStore):
                if prefix is None:
                    life = run_live(program, self.scenario.arguments, **plan)
                else:
                    life = resume(program, prefix, **plan)
        except trio.TooSlowError:
            raise Broken("a life ends", name, "a year of virtual time is not enough") from None
        except (Exception, Hang) as exc:
            raise Broken("a life ends well", name, f"{type(exc).__name__}: {exc}") from exc
        if isinstance(life.outcome, GotStuck) and not isinstance(life.outcome.problem, DeadlockError):
            raise Broken("the code follows its log", name, f"{life.outcome.problem}\n{show(life.rows)}")
        _check_rows(name, life)
        return life

    def _resume(self, name: str, before: Recording, cut: int) -> Recording:
        """Go on with the first rows of a log, and replay what comes of it."""
        tally["cuts"] += 1
        cancel = self.random.choice([None, None, None, self.random.randrange(6)])
        downtime = self.random.choice([0.0, 0.001, 0.01, 10.0])
        life = self._life(name, before.rows[:cut], cancel_after=cancel, downtime=downtime)
        _check_bodies(name, life)
        _check_trace(name, before, life, _delivered(before.rows[:cut]))
        self._replay(f"{name}, then replayed", life)
        return life

    def _replay(self, name: str, before: Recording) -> None:
        """Go on with a whole log, without its end."""
        tally["replays"] += 1
        life = self._life(name, _whole(before), downtime=self.random.choice([0.0, 0.01, 10.0]))
        _check_bodies(name, life)
        if life.bodies:
            raise Broken("a replay runs no bodies", name, f"{life.bodies}\n{show(before.rows)}")
        _check_trace(name, before, life, len(before.rows))
        if repr(life.outcome) != repr(before.outcome):
            raise Broken("a replay ends the same", name, f"before {before.outcome!r}\nafter  {life.outcome!r}")
        added = [row for row in life.rows[life.begun_with :] if not isinstance(decode_event(row.event), Claimed)]
        ends = [row for row in before.rows if isinstance(decode_event(row.event), Ended)]
        if [row.event for row in added] != [row.event for row in ends]:
            raise Broken("a replay adds nothing", name, f"{show(added)}\n{show(before.rows)}")

    def _stopped(self, live: Recording) -> None:
        """Stop a first life early, and go on with what it has left."""
        how = self.random.choice(["close_after", "break_after"])
        tally[how] += 1
        name = how.replace("_", " ")
        before = self._life(name, None, cancel_after=self.scenario.cancel_after, **{how: self.scenario.stop_after})
        if not isinstance(before.outcome, Unfinished):
            return
        life = self._life(f"{name}, resumed", _whole(before), downtime=self.random.choice([0.0, 10.0]))
        _check_bodies(name, life)
        _check_trace(name, before, life, _delivered(before.rows), prefix=True)
        self._replay(f"{name}, resumed, replayed", life)


@contextmanager
def _watchdog() -> Iterator[None]:
    def bark(number: int, frame: FrameType | None) -> NoReturn:
        raise Hang(f"still running after {PATIENCE} s, at {frame and frame.f_code}")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- laws ----------------------------------------------------------------------------------------


def _whole(life: Recording) -> tuple[Row, ...]:
    """A life's log without its end, so that somebody may go on with it."""
    ended = life.rows and isinstance(decode_event(life.rows[-1].event), Ended)
    return life.rows[:-1] if ended else life.rows


def _delivered(rows: Sequence[Row]) -> int:
    return sum(is_delivered(decode_event(row.event)) for row in rows)


def _check_rows(name: str, life: Recording) -> None:
    rows = life.rows
    if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        raise Broken("seqs are dense", name, show(rows))
    for field in ("at", "after"):
        values = [getattr(row, field) for row in rows if not _is_from_outside(decode_event(row.event))]
        if values != sorted(values):
            raise Broken(f"`{field}` never goes back", name, show(rows))
    paths = [event.path for event in life.events if isinstance(event, StepEnded)]
    if len(paths) != len(set(paths)):
        raise Broken("a step ends once", name, show(rows))
    if life.outcome != Unfinished() and not isinstance(life.outcome, GotStuck):
        if [isinstance(event, Ended) for event in life.events].index(True) != len(rows) - 1:
            raise Broken("the end is the last row", name, show(rows))


def _is_from_outside(event: Event) -> bool:
    """Whether it is written by somebody who does not know how far the replay is."""
    return isinstance(event, Claimed) or (isinstance(event, ScopeCancelled) and event.by is Cause.EXTERNAL)


def _check_bodies(name: str, life: Recording) -> None:
    """What is recorded in the prefix does not run again."""
    prefix = [decode_event(row.event) for row in life.rows[: life.begun_with]]
    done = {event.path for event in prefix if isinstance(event, StepEnded)}
    done |= {event.path for event in prefix if isinstance(event, StepBegan) and STEPS[event.name].at_most_once}
    keys = {step_key(ID, parse_path(path)): path for path in done}
    again = [(keys[key], number) for key, number in life.bodies if key in keys]
    if again:
        raise Broken("a recorded body never runs again", name, f"{again}\n{show(life.rows)}")
    if len(set(life.bodies)) != len(life.bodies):
        raise Broken("an attempt is made once in each life", name, f"{life.bodies}\n{show(life.rows)}")


def _check_trace(name: str, before: Recording, life: Recording, delivered: int, *, prefix: bool = False) -> None:
    """Up to an event, the code saw the same in two lives; or all that it saw in the first one, it saw again."""
    a = [seen for seen in before.trace if seen[0] <= delivered]
    b = [seen for seen in life.trace if seen[0] <= delivered]
    if prefix:
        b = b[: len(a)]
    if a != b:
        raise Broken("two lives look alike", name, f"{difference(a, b)}\n{show(before.rows)}")


# -- for people ----------------------------------------------------------------------------------


def show(rows: Sequence[Row]) -> str:
    return "\n".join(f"  {row.seq:3} after {row.after:2} {describe(decode_event(row.event))}" for row in rows)


def difference(a: Sequence[Any], b: Sequence[Any]) -> str:
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return "\n".join([
        f"the trace {' and then '.join(' '.join(one[1][2:4]) for one in [*a[at : at + 1], *b[at : at + 1]])}",
        f"  place {at} of {len(a)} and {len(b)}",
        *(f"  both   {one}" for one in a[max(0, at - 3) : at]),
        *(f"  before {one}" for one in a[at : at + 3]),
        *(f"  after  {one}" for one in b[at : at + 3]),
    ])
