"""`crash_everywhere` and `cancel_everywhere`: everything that can happen to a workflow, tried in virtual time.

The workflow runs once with nothing happening. Then it runs again from every prefix of its log, as if the process had
died there, and again with a cancellation after every event. Each life must end as its log says.

What of the world outside? Effects outlive a crash, so what the fakes of the steps remember must, too. Running the
workflow up to each crash anew would do, and be twice the work. So the one run keeps, before each commit, a copy of the
fakes' objects. It goes with the prefix that was durable then: what had been done and was not recorded yet is in it,
which is the worst moment to die at. Each life after that crash gets a copy of that copy.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple

from .. import UsageError
from .._flow.where import defined_at
from ..lowlevel import Row
from .fakes import Fakes
from .life import Closed, Hung, Life, Plan, Stuck, beginning, live
from .recorder import is_move
from .report import Broken, Finding, Law, Report, essence, is_bookkeeping, misfortune_at, say

Invariant = Callable[[Life], object]
"""Looks at what a life has left behind; raises an AssertionError if it is not right."""


def crash_everywhere(
    workflow: Callable[..., Any],
    *args: Any,
    fakes: Fakes | None = None,
    invariant: Invariant | None = None,
    seeds: Sequence[int] = (0,),
    twice: bool = False,
    suspend: bool = False,
) -> Report:
    """See that a workflow survives the death of its process after each of its events.

    It runs once with nothing happening, and then from every prefix of its log. Wherever it dies, it must follow its
    log, come to an end, and come to the same end when its log is replayed; and the invariant must hold.

    Args:
        workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
        args: its arguments.
        fakes: for each step what runs instead of it. Steps without a fake run as they are.
        invariant: called at the end of each life with what it has left behind (`Life`); raises an AssertionError if
            that is not right. A bound method of an object that also has fakes sees that object as the life left it.
        seeds: of Trio's scheduler; for each of them everything is tried.
        twice: whether the process dies again, half way through what was left.
        suspend: whether the engine is closed instead, and its code unwinds.

    Objects whose bound methods are fakes, and `Script`s, are copied (`copy.deepcopy`) for each life: keep what a fake
    remembers in such an object, and not in a global variable.

    Returns:
        What was tried.

    Raises:
        Broken: if anything went wrong, with the report.
        UsageError: if Trio runs already, a fake does not fit its step, or what the fakes remember cannot be copied.
    """
    search = _Search(workflow, args, _World(fakes or {}, invariant))
    for seed in seeds:
        if suspend:
            search.suspend(seed)
        else:
            search.crash(seed, twice=twice)
    return search.conclude()


def cancel_everywhere(
    workflow: Callable[..., Any],
    *args: Any,
    fakes: Fakes | None = None,
    invariant: Invariant | None = None,
    seeds: Sequence[int] = (0,),
    crashes: bool = False,
) -> Report:
    """See that a workflow cleans up whenever it is cancelled from outside, after each of its events.

    Args:
        workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
        args: its arguments.
        fakes: for each step what runs instead of it, as for `crash_everywhere`.
        invariant: as for `crash_everywhere`: that what was reserved is released, that what was paid is refunded.
        seeds: of Trio's scheduler; for each of them everything is tried.
        crashes: whether the process dies after each event of its cleanup, too.

    Returns:
        What was tried.

    Raises:
        Broken: if anything went wrong, with the report.
        UsageError: as `crash_everywhere`.
    """
    search = _Search(workflow, args, _World(fakes or {}, invariant))
    for seed in seeds:
        search.cancel(seed, crashes=crashes)
    return search.conclude()


# -- the world outside ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _World:
    """The fakes and what they remember, and who judges it."""

    fakes: Fakes
    invariant: Invariant | None

    def copy(self) -> _World:
        """Return one of its own for another life: objects that fakes and invariant share are still shared."""
        try:
            values, invariant = copy.deepcopy((list(self.fakes.values()), self.invariant))
        except Exception as exc:
            raise UsageError(
                f"what the fakes remember cannot be copied, and each life needs a copy of its own: {exc!r}. Keep "
                "plain data in the objects whose methods are fakes."
            ) from exc
        return _World(dict(zip(self.fakes, values, strict=True)), invariant)


@dataclass(frozen=True)
class _Left:
    """What is left when a process has died: the world outside, and where the workflow's code stood."""

    world: _World
    where: str | None


@dataclass(frozen=True)
class _Lived:
    """A life, the world at its end, and what would be left if the process had died on its way."""

    life: Life
    world: _World
    left: dict[int, _Left]
    """By the number of rows that were durable."""


class _Problem(NamedTuple):
    """What is wrong with a life."""

    law: Law
    text: str
    where: str | None


ALL = range(sys.maxsize)
"""Each number of rows."""


# -- the search ----------------------------------------------------------------------------------


class _Search:
    """Tries misfortunes on one workflow."""

    def __init__(self, workflow: Callable[..., Any], args: tuple[Any, ...], world: _World) -> None:
        self._workflow, self._first = beginning(workflow, args, 0)
        self._pristine = world.copy()
        self._replayed: set[tuple[object, ...]] = set()
        """What logs that were replayed said: many lives end in the same way."""
        self._progress = _Progress(self._workflow.name)
        self._lives = 0
        self._report: Report | None = None

    def crash(self, seed: int, *, twice: bool) -> None:
        """Die after each event."""
        first = self._begin(seed)
        last = len(first.life.rows)
        for cut in sorted(first.left):
            what = misfortune_at("dies", first.life, cut)
            again = (cut + 1 + last) // 2  # the takeover has written a row
            second = self._go_on(first, cut, what, seed, keep=(again,) if twice else ())
            for cut_again in second.left:
                self._go_on(second, cut_again, f"{what}, and {misfortune_at('again', second.life, cut_again)}", seed)

    def suspend(self, seed: int) -> None:
        """Close the engine after each event, and go on in another one."""
        for after, moves in self._moves(seed):
            closed = self._live([self._first], self._pristine, Plan(seed=seed, close_after=after))
            if not isinstance(closed.life.outcome, Closed):
                continue  # pragma: no cover - it has ended at the same moment
            rows = len(closed.life.rows)
            left = _Lived(closed.life, closed.world, {rows: _Left(closed.world, closed.life.where)})
            self._go_on(left, rows, f"is suspended after move {after} of {moves}", seed)

    def cancel(self, seed: int, *, crashes: bool) -> None:
        """Cancel after each event."""
        for after, moves in self._moves(seed):
            what = f"is cancelled after move {after} of {moves}"
            plan = Plan(seed=seed, cancel_after=after)
            cancelled = self._live([self._first], self._pristine, plan, keep=ALL if crashes else ())
            self._judge(cancelled, what, cancelled.life.cancelled_at)
            for cut in sorted(cancelled.left):
                self._go_on(cancelled, cut, f"{what}, and {misfortune_at('dies', cancelled.life, cut)}", seed)

    def conclude(self) -> Report:
        """Return the report, or raise it."""
        assert self._report
        self._report.lives = self._lives
        self._progress.end()
        if self._report.findings:
            raise Broken(self._report)
        return self._report

    def _moves(self, seed: int) -> Iterator[tuple[int, int]]:
        """Live with nothing happening; yield the number of each move that was made, and of all."""
        moves = sum(map(is_move, self._begin(seed).life.events))
        for after in range(moves):
            yield after, moves

    def _begin(self, seed: int) -> _Lived:
        """Live with nothing happening."""
        first = self._live([self._first], self._pristine, Plan(seed=seed), keep=ALL)
        self._report = self._report or Report(self._workflow.name, first.life)
        self._judge(first, "runs with nothing happening", first.life.where)
        return first

    def _go_on(self, before: _Lived, cut: int, misfortune: str, seed: int, *, keep: Container[int] = ()) -> _Lived:
        """Live on with what was left."""
        left = before.left[cut]
        after = self._live(before.life.rows[:cut], left.world, Plan(seed=seed), keep=keep)
        self._judge(after, misfortune, left.where)
        return after

    def _live(self, prefix: Sequence[Row], world: _World, plan: Plan, *, keep: Container[int] = ()) -> _Lived:
        """Live; keep what is left at some numbers of rows: to copy the world for each is most of the work."""
        own = world.copy()
        left: dict[int, _Left] = {}

        def watch(before: int, after: int, where: Callable[[], str | None]) -> None:
            if cuts := [cut for cut in range(before, after) if cut in keep]:
                left.update(dict.fromkeys(cuts, _Left(own.copy(), where())))

        life = live(self._workflow, prefix, plan, instead=own.fakes, watch=watch)
        self._lives += 1
        self._progress.show(self._lives)
        return _Lived(life, own, left)

    # -- the laws --------------------------------------------------------------------------------

    def _judge(self, lived: _Lived, misfortune: str, struck: str | None) -> None:
        report = self._report
        assert report
        report.misfortunes += 1
        if broken := next(self._broken(lived, struck), None):
            law, problem, where = broken
            where = where or defined_at(self._workflow.fn)
            report.findings.append(Finding(law, misfortune, problem, lived.life, where))

    def _broken(self, lived: _Lived, struck: str | None) -> Iterator[_Problem]:
        """Yield what is broken: first of all what the code does by itself, and where; then what a misfortune does."""
        life = lived.life
        if isinstance(life.outcome, Stuck):
            yield _Problem(Law.FOLLOWS, life.outcome.problem, life.where)
        elif isinstance(life.outcome, Hung):
            yield _Problem(Law.ENDS, f"The last event: {life.events[-1]}", life.where)
        else:
            yield from self._broken_by_replay(lived, struck)
            yield from _broken_by_invariant(lived, struck)

    def _broken_by_replay(self, lived: _Lived, struck: str | None) -> Iterator[_Problem]:
        rows = lived.life.rows
        events = zip(lived.life.events, rows, strict=True)
        key = tuple((essence(event), row.value) for event, row in events if not is_bookkeeping(event))
        if key in self._replayed:
            return
        self._replayed.add(key)
        again = self._live(rows[:-1], lived.world, Plan()).life
        where = again.where or struck
        if again.rows[-1].value != rows[-1].value and again.outcome != lived.life.outcome:
            yield _Problem(Law.REPLAYS, f"It {say(lived.life.outcome)}; replayed it {say(again.outcome)}", where)
        elif more := [event for event in again.events[len(rows) - 1 : -1] if not is_bookkeeping(event)]:
            yield _Problem(Law.REPLAYS, f"Replayed, it did more than it had done: {more}", where)


def _broken_by_invariant(lived: _Lived, struck: str | None) -> Iterator[_Problem]:
    if lived.world.invariant is None:
        return
    try:
        lived.world.invariant(lived.life)
    except AssertionError as exc:
        problem = f"It {say(lived.life.outcome)}, and: {str(exc) or 'an assertion failed'}"
        yield _Problem(Law.INVARIANT, problem, struck)


class _Progress:
    """A line that is written over, on a terminal, once it takes longer than a moment."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = monotonic() + 1 if sys.stderr.isatty() else float("inf")
        self._shown = False

    def show(self, lives: int) -> None:
        """Show how far it has come."""
        if monotonic() >= self._next:
            self._next, self._shown = monotonic() + 0.2, True
            sys.stderr.write(f"\r{self._name}: {lives:,} lives")

    def end(self) -> None:
        """Take it away."""
        if self._shown:
            sys.stderr.write("\r\033[K")
