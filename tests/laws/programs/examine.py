"""The lives that a scenario is put through, to see whether the laws hold.

A scenario is run live. Its log is replayed as a whole; cut at some places, and each time resumed and replayed again;
what a cut has become is cut once more; once a life is stopped early, by closing its engine or by breaking its store;
and once the workflow leaves memory wherever it only waits. Every life but the first is checked against the one before.
"""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import trio

from nurselog import DeadlockError
from nurselog._log.identity import step_key
from nurselog.abc import Batch, Receipt
from nurselog.lowlevel import (
    Cause,
    Claimed,
    Ended,
    Received,
    Row,
    ScopeCancelled,
    StepBegan,
    StepEnded,
    TimerFired,
    TimerSet,
    decode_event,
    parse_path,
)
from nurselog.testing.corpus.world import chance
from nurselog.testing.keeper import ID
from nurselog.testing.life import Closed, Stuck
from tests.laws import harness
from tests.laws.checks import check_log, check_mail, check_replay, check_resumed, text
from tests.laws.harness import BenchStore, Recording, end_of, resume, run_live, tally
from tests.laws.programs.scenario import Scenario, program
from tests.laws.programs.steps import STEPS, too_late
from tests.watchdog import watchdog

CUTS = 10
"""How many places a log is cut at, at most."""
AGAIN = 0.3
"""How often what has become of a cut is cut once more."""

_THRESHOLDS = ((100_000, 10, 10), (700, 10, 10), (50, 2, 1))

met: Counter[str] = Counter()
"""What the first lives had in their logs, and how they ended."""


class SlowStore(BenchStore):
    """Its commits take some time, so that rows of several strands and bodies meet in one batch, in any order."""

    async def commit(self, batch: Batch) -> Receipt:
        with trio.CancelScope(shield=True):  # a commit that has begun ends
            await trio.sleep(chance().random() * 0.0005)
            return await super().commit(batch)


def examine(scenario: Scenario, cuts: int = CUTS) -> None:
    """Put a scenario through its lives.

    Raises:
        AssertionError: if a law does not hold.
    """
    with patch.object(harness, "BenchStore", SlowStore):
        Examination(scenario, cuts).run()
    tally["programs"] += 1


class Examination:
    """One scenario on its way through its lives."""

    def __init__(self, scenario: Scenario, cuts: int) -> None:
        self.scenario = scenario
        self.cuts = cuts
        self.random = random.Random(scenario.seed)

    def run(self) -> None:
        live = self._first()
        met.update([type(live.outcome).__name__, *(type(event).__name__ for event in live.events)])
        self._replay(live)
        for cut in self._places(1, len(_open_rows(live)), self.cuts):
            second = self._resume(live, cut)
            if self.random.random() < AGAIN:
                for again in self._places(cut + 1, len(_open_rows(second)), 1):
                    self._resume(second, again)
        self._stop_early()
        if self.scenario.is_brief:
            self._evict()

    def _places(self, first: int, last: int, most: int) -> list[int]:
        places = range(first, last + 1)
        return sorted(self.random.sample(places, min(most, len(places))))

    @property
    def _plan(self) -> dict[str, Any]:
        return {"seed": self.random.getrandbits(32)}

    def _downtime(self) -> float:
        return self.random.choice([0.0, 0.001, 0.01, 10.0])

    # -- lives -----------------------------------------------------------------------------------

    def _first(self, **plan: Any) -> Recording:
        plan = self._plan | {"cancel_after": self.scenario.cancel_after} | plan
        live = _watch(lambda: run_live(program, self.scenario.arguments, **plan))
        check_log(live)
        check_mail(live)
        return live

    def _resume(self, before: Recording, cut: int) -> Recording:
        """Go on with the first rows of a log, and replay what comes of it."""
        tally["cuts"] += 1
        cancel = self.random.choice([None, None, None, self.random.randrange(6)])
        plan = self._plan | {"cancel_after": cancel, "downtime": self._downtime()}
        life = _watch(lambda: resume(program, _open_rows(before)[:cut], before.mail_at(cut), **plan))
        check_resumed(before, life)
        _check_once(life)
        if '"shield"' not in self.scenario.arguments[0]:
            _check_overdue(life)
        self._replay(life)
        return life

    def _replay(self, before: Recording) -> None:
        """Go on with a whole log, without its end."""
        plan = self._plan | {"downtime": self._downtime()}
        if isinstance(before.events[-1], Ended):
            _watch(lambda: check_replay(before, **plan))
            return
        tally["replays"] += 1
        again = _watch(lambda: resume(program, before.rows, before.mail, **plan))
        check_resumed(before, again)
        # A timer that nobody waits for any more may fire, or not: that depends on when its alarm was collected.
        # And a message that nobody waits for may have come too late to be entered.
        added = [event for event in again.added if not isinstance(event, (Claimed, TimerFired, Received))]
        assert (again.trace, again.bodies, added) == (before.trace, (), []), f"another deadlock:\n{text(again.rows)}"

    def _stop_early(self) -> None:
        """Stop a first life early, and go on with what it has left."""
        how = self.random.choice(["close_after", "break_after"])
        before = self._first(**{how: self.scenario.stop_after, "cancel_after": None})
        if isinstance(before.outcome, Closed):
            tally["stopped early"] += 1
            self._resume(before, len(_open_rows(before)))

    def _evict(self) -> None:
        """Let the workflow leave memory whenever it only waits for a while, and come back."""
        life = self._first(evict_after=0.005)
        evicted = sum(isinstance(event, Claimed) for event in life.events)
        tally["evictions"] += evicted
        if evicted:
            self._replay(life)


def _open_rows(life: Recording) -> tuple[Row, ...]:
    """A life's log without its end, so that somebody may go on with it."""
    return life.rows[:-1] if isinstance(life.events[-1], Ended) else life.rows


def _watch(run: Callable[[], Recording]) -> Recording:
    """See that a life ends, and that the code follows its log; a deadlock is no end, and no fault either."""
    too_late.clear()
    with watchdog(), _collecting():
        life = run()
    assert not too_late, f"bodies were entered after their cancellation: {too_late}"
    if life is None or not isinstance(life.outcome, Stuck):
        return life
    assert isinstance(life.problem, DeadlockError), f"stuck: {life.problem}\n{text(life.rows)}"
    met["deadlock"] += 1
    # A cancellation may have come later, and have ended it all the same.
    return replace(life, outcome=end_of(life.rows, life.workflow) or Closed())


@contextmanager
def _collecting() -> Iterator[None]:
    """Collect garbage hardly ever, as usual, or all the time: nothing may depend on when that happens."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS[tally["lives"] % len(_THRESHOLDS)])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _check_once(life: Recording) -> None:
    """An `at_most_once` body that is known to have begun does not run again."""
    prefix = (decode_event(row.event) for row in life.rows[: life.begun_with])
    begun = {event.path for event in prefix if isinstance(event, StepBegan) and STEPS[event.name].at_most_once}
    keys = {step_key(ID, parse_path(path)) for path in begun}
    again = [body for body in life.bodies if body[0] in keys]
    assert not again, f"an at_most_once body ran again: {again}\n{text(life.rows)}"


def _check_overdue(life: Recording) -> None:
    """What was due while nobody was there comes first: no body starts only to be cancelled by it.

    Not for programs that move shields: what is shielded now may be cancelled later, and by right has begun.
    """
    added, begin = life.added, life.rows[life.begun_with].at
    armed = {(event.path, event.due) for event in life.events[: life.begun_with] if isinstance(event, TimerSet)}
    fired = ((event.path, event.due) for event in added if isinstance(event, TimerFired))
    scopes = {path for path, due in fired if due <= begin and (path, due) in armed}
    if len(added) > 1 and isinstance(added[1], ScopeCancelled) and added[1].by is Cause.EXTERNAL:
        scopes.add("")
    spared = [event.path for event in added if isinstance(event, StepEnded) and event.scope in scopes]
    bodies = {key for key, _ in life.bodies}
    begun = [path for path in spared if step_key(ID, parse_path(path)) in bodies]
    assert not begun, f"bodies began although their cancellation was overdue: {begun}\n{text(life.rows)}"
