"""`crash_everywhere` and `cancel_everywhere`: everything that can happen to a workflow, tried in virtual time.

The workflow runs once with nothing happening. Then it runs again from every prefix of its log, as if the process had
died there, and again with a cancellation after every event. Each life must end as its log says.

How long does that take? After each of n events comes a life that replays what was before it, which is cheap, and lives
what is left, which is not: half of n on the average. So the work grows with the square of the log. What does not work
is to stop where a life's log has caught up with that of the first one: what the code keeps and no log has may still
differ, which is one of the mistakes that are looked for. For long logs there are forks, one for each processor, and a
bound on the time, with moments that are spread over the log.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import accumulate
from typing import Any

from .. import UsageError
from .._flow.where import defined_at
from ..abc import Clock, Codec, Store
from ..lowlevel import Cause, Event, JsonCodec, Row, ScopeCancelled, StepBegan, encode_event
from .fakes import Fakes
from .forks import processors, shared
from .hash_seeds import HashSeeds
from .keeper import Mail, is_move
from .laws import Problem, of_code, of_invariant
from .life import Closed, Letters, Life, Plan, beginning, in_memory, live, mail_of, with_value, without_value
from .progress import Progress
from .report import Broken, Finding, Law, Moment, Report, essence, is_bookkeeping, misfortune_at, say
from .sanitizer import Watcher, warn_of
from .world import Invariant, World


def crash_everywhere(
    workflow: Callable[..., Any],
    *args: Any,
    fakes: Fakes | None = None,
    invariant: Invariant | None = None,
    seeds: Sequence[int] = (0,),
    twice: bool = False,
    suspend: bool = False,
    letters: Letters | None = None,
    seconds: float | None = None,
    store: Callable[[Clock], Store] | None = None,
    codec: Codec | None = None,
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
        letters: by topic, messages that wait for it from the beginning. What comes later a fake may send.
        seconds: how long it may take, by the wall clock; what is tried then is spread over the log. None: no limit.
        store: makes an empty store for each life, which closes it; by default in memory.
        codec: turns values into bytes; by default JSON.

    Objects whose bound methods are fakes, and `Script`s, are copied (`copy.deepcopy`) for each life: keep what a fake
    remembers in such an object, and not in a global variable.

    Returns:
        What was tried.

    Raises:
        Broken: if anything went wrong, with the report.
        UsageError: if Trio runs already, a fake does not fit its step, or what the fakes remember cannot be copied.
    """
    plan = Plan(store=store or in_memory, codec=codec or JsonCodec())
    mail = mail_of(letters or {}, plan.codec)
    search = _Search(workflow, args, World(fakes or {}, invariant), plan, mail, hash_seeds=True)
    return search.run(partial(search.suspend if suspend else search.crash, twice=twice), seeds, seconds)


def cancel_everywhere(
    workflow: Callable[..., Any],
    *args: Any,
    fakes: Fakes | None = None,
    invariant: Invariant | None = None,
    seeds: Sequence[int] = (0,),
    crashes: bool = False,
    scopes: bool = False,
    letters: Letters | None = None,
    seconds: float | None = None,
    store: Callable[[Clock], Store] | None = None,
    codec: Codec | None = None,
) -> Report:
    """See that a workflow cleans up whenever it is cancelled from outside: after each of its events, and in each wait.

    Args:
        workflow: a function decorated with `@workflow`; for keyword arguments a `functools.partial` of it.
        args: its arguments.
        fakes: for each step what runs instead of it, as for `crash_everywhere`.
        invariant: as for `crash_everywhere`: that what was reserved is released, that what was paid is refunded.
        seeds: of Trio's scheduler; for each of them everything is tried.
        crashes: whether the process dies after each event of its cleanup, too. Where it dies before the cancellation
            is in the log, it is cancelled again.
        scopes: whether each scope that it opens (nurseries, branches, time limits) is cancelled, too, by itself and at
            each moment at which it is open: what is around it goes on.
        letters: by topic, messages that wait for it from the beginning.
        seconds: how long it may take, as for `crash_everywhere`.
        store: makes an empty store for each life, as for `crash_everywhere`.
        codec: turns values into bytes; by default JSON.

    Returns:
        What was tried.

    Raises:
        Broken: if anything went wrong, with the report.
        UsageError: as `crash_everywhere`.
    """
    plan = Plan(store=store or in_memory, codec=codec or JsonCodec(), note_scopes=scopes)
    search = _Search(workflow, args, World(fakes or {}, invariant), plan, mail_of(letters or {}, plan.codec))
    return search.run(partial(search.cancel, crashes=crashes), seeds, seconds)


# -- the search ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Left:
    """What is left when a process has died: the world outside, and where the workflow's code stood."""

    world: World
    where: str | None
    rows: int
    """How many rows were durable then."""


@dataclass(frozen=True)
class _Lived:
    """A life, the world at its end, and what would be left if the process had died on its way."""

    life: Life
    world: World
    plan: Plan
    left: Mapping[int, _Left]
    """By the number of rows that were durable, at the last moment when there were no more of them."""
    begun: Mapping[int, _Left]
    """The same at the first moment, for those of which the last row says that a step has begun."""


@dataclass
class _Tried:
    """What came of a misfortune, and of what struck later."""

    verdicts: list[Finding | None] = field(default_factory=list["Finding | None"])
    lives: int = 0
    replays: set[bytes] = field(default_factory=set[bytes])
    """Which logs were replayed in them, by what they say."""

    def add(self, other: _Tried) -> None:
        """Add what was tried elsewhere; a log that was replayed in both places counts once."""
        self.verdicts += other.verdicts
        self.lives += other.lives - len(self.replays & other.replays)
        self.replays |= other.replays


Strikes = Mapping[int, Callable[[], Iterator[Finding | None]]]
"""For each moment what is done then; it yields a verdict for each misfortune."""

ALL = range(sys.maxsize)
"""Each number of rows."""

LONG = 20_000
"""Moments times events from which on the work is shared among processes: some seconds."""


class _Search:
    """Tries misfortunes on one workflow."""

    def __init__(
        self,
        workflow: Callable[..., Any],
        args: tuple[Any, ...],
        world: World,
        plan: Plan,
        mail: Sequence[Mail],
        *,
        hash_seeds: bool = False,
    ) -> None:
        self._workflow, self._first = beginning(workflow, args, 0, plan.codec)
        self._hash_seeds = HashSeeds(self._workflow, plan.codec) if hash_seeds else None
        self._pristine = world.copy()
        self._plan, self._mail = plan, mail
        self._tried = _Tried()
        self._replays: dict[bytes, Problem | None] = {}
        """What was wrong with logs that were replayed, by what they say: many lives end in the same way."""

    def run(self, strikes: Callable[[_Lived], Strikes], seeds: Sequence[int], seconds: float | None) -> Report:
        """Try everything with each seed; return the report, or raise it."""
        report: Report | None = None
        if not seeds:
            raise UsageError("seeds= is empty: nothing would be tried")
        with Progress(self._workflow.name, len(seeds), seconds) as progress:
            for seed in seeds:
                watcher = Watcher()
                plan = replace(self._plan, seed=seed, instruments=(watcher,))
                first = self._begin(plan, keep=ALL)
                first = replace(first, plan=replace(plan, instruments=()))
                report = report or Report(self._workflow.name, first.life)
                report.touches += [touch for touch in watcher.touches if touch not in report.touches]
                if self._hash_seeds is not None:
                    self._hash_seeds.ask(first.life.rows)
                self._tried.verdicts.append(self._judge(first, "runs with nothing happening", first.life.where))
                found = strikes(first)
                tried = self._try_all(found, progress, events=len(first.life.rows))
                report.untried += len(found) - len(tried)
                for moment in found:
                    if moment in tried:
                        self._tried.add(tried[moment])
        assert report is not None, "there is a seed"
        return self._conclude(report)

    def _try_all(self, strikes: Strikes, progress: Progress, *, events: int) -> Mapping[int, _Tried]:
        """Try everything, or as much as there is time for; return what came of it, by the moment."""
        tried: dict[int, _Tried] = {}

        def strike_elsewhere(moment: int) -> _Tried | None:
            return None if progress.late else self._exchanged(self._strike(strikes[moment]), without_value)

        progress.begin(len(strikes))
        order = spread(list(strikes))
        if self._plan.store is in_memory and len(strikes) * events >= LONG and (count := processors()) > 1:
            for moment, found in shared(order, strike_elsewhere, count):  # stores in forks might get the same names
                if found:
                    tried[moment] = self._exchanged(found, self._with_value)
                    progress.step()
        for moment in order:
            if progress.late:
                break
            if moment not in tried:
                tried[moment] = self._strike(strikes[moment])
                progress.step()
        return tried

    def _strike(self, strike: Callable[[], Iterator[Finding | None]]) -> _Tried:
        before, self._tried = self._tried, _Tried()
        self._tried.verdicts = list(strike())
        found, self._tried = self._tried, before
        return found

    def _with_value(self, life: Life) -> Life:
        return with_value(life, self._workflow, self._plan.codec)

    def _exchanged(self, tried: _Tried, change: Callable[[Life], Life]) -> _Tried:
        verdicts = [one and replace(one, life=change(one.life)) for one in tried.verdicts]
        return replace(tried, verdicts=verdicts)

    def _conclude(self, report: Report) -> Report:
        tried = self._tried
        report.misfortunes = len(tried.verdicts)
        report.lives = tried.lives
        report.findings = [finding for finding in tried.verdicts if finding]
        if self._hash_seeds is not None:
            self._hash_seeds.tell(report)
        if report.findings:
            raise Broken(report)
        warn_of(report.touches)
        return report

    # -- misfortunes -----------------------------------------------------------------------------

    def crash(self, first: _Lived, *, twice: bool) -> Strikes:
        """Die after each event."""
        return {cut: partial(self._crash, first, cut, twice=twice) for cut in sorted(first.left)}

    def _crash(self, first: _Lived, cut: int, *, twice: bool) -> Iterator[Finding | None]:
        what, moment = misfortune_at("dies", first.life, cut), Moment("dies", "event", cut)
        yield from self._die(first, cut, what, moment, twice=len(first.life.rows) if twice else 0)

    def suspend(self, first: _Lived, *, twice: bool) -> Strikes:
        """Close the engine after each move, and go on in another one."""
        moves = _moves(first)
        return {after: partial(self._suspend, first, after, moves, twice=twice) for after in range(moves)}

    def _suspend(self, first: _Lived, after: int, moves: int, *, twice: bool) -> Iterator[Finding | None]:
        plan = replace(first.plan, close_after=after)
        closed = self._begin(plan)
        if not isinstance(closed.life.outcome, Closed):
            return  # pragma: no cover - it has ended at the same moment
        rows = len(closed.life.rows)
        left = {rows: _Left(closed.world, closed.life.where, rows)}
        what, moment = f"is suspended after move {after} of {moves}", Moment("is suspended", "move", after)
        before = replace(closed, left=left, begun={}, plan=first.plan)
        yield from self._die(before, rows, what, moment, twice=len(first.life.rows) if twice else 0)

    def cancel(self, first: _Lived, *, crashes: bool) -> Strikes:
        """Cancel after each move."""
        moves = _moves(first)
        return {after: partial(self._cancel_at, first, after, moves, crashes=crashes) for after in range(moves)}

    def _cancel_at(self, first: _Lived, after: int, moves: int, *, crashes: bool) -> Iterator[Finding | None]:
        """Cancel when a move is made, and, if everything waits before the next one, when it does."""
        for path in ("", *first.life.scopes.get(after, ())):
            plan = replace(first.plan, cancel_after=after, scope=path)
            of = f"in scope {path} " if path else ""
            for what, settled in ((f"is cancelled {of}".strip(), False), (f"is cancelled {of}a while", True)):
                if not settled or _waits(first.life, after):
                    moment = Moment(what, "move", after)
                    told = f"{what} after move {after} of {moves}"
                    yield from self._cancel(replace(plan, settled=settled), told, moment, crashes=crashes)

    def _cancel(self, plan: Plan, what: str, moment: Moment, *, crashes: bool) -> Iterator[Finding | None]:
        cancelled = self._begin(plan, keep=ALL if crashes else ())
        yield self._judge(cancelled, what, cancelled.life.cancelled_at, moment)
        asked, arrived = _asked(cancelled.life, plan.cancel_after or 0), _arrived(cancelled.life)
        for cut in sorted(cut for cut in cancelled.left if cut >= asked):
            again = cut < arrived  # nobody was told that it is cancelled: whoever wanted that asks once more
            dies = f"{misfortune_at('dies', cancelled.life, cut)}{', and is cancelled again' if again else ''}"
            again_later = again and bool(plan.scope)  # when the scope is open again
            before = replace(cancelled, plan=replace(plan, cancel_after=0 if again else None, settled=again_later))
            yield from self._die(before, cut, f"{what}, and {dies}", moment._replace(then=", and dies"))

    def _die(self, before: _Lived, cut: int, what: str, moment: Moment, *, twice: int = 0) -> Iterator[Finding | None]:
        """Live on with what was left; with `twice`, die again half way to so many rows.

        The worst moment to die at is the last one, when what was under way is done and not recorded. But where the
        log says that a step has begun, the worst is that it has done nothing.
        """
        yield from self._go_on(before, cut, before.left[cut], what, moment, twice=twice)
        if left := before.begun.get(cut):
            at_once = moment._replace(then=f"{moment.then}, at once")
            yield from self._go_on(before, cut, left, f"{what}, at once", at_once, twice=twice)

    def _go_on(
        self, before: _Lived, cut: int, left: _Left, what: str, moment: Moment, *, twice: int
    ) -> Iterator[Finding | None]:
        half = (cut + 1 + twice) // 2  # the takeover has written a row
        mail = before.life.mail_at(left.rows)
        after = self._live(before.life.rows[:cut], left.world, before.plan, mail=mail, keep=(half,) if twice else ())
        yield self._judge(after, what, left.where, moment)
        for cut_again in after.left:
            again = f"{what}, and {misfortune_at('again', after.life, cut_again)}"
            yield from self._die(after, cut_again, again, moment._replace(then=", and again"))

    def _begin(self, plan: Plan, *, keep: Container[int] = ()) -> _Lived:
        return self._live([self._first], self._pristine, plan, mail=self._mail, keep=keep)

    def _live(
        self,
        prefix: Sequence[Row],
        world: World,
        plan: Plan,
        *,
        mail: Sequence[Mail] = (),
        keep: Container[int] = (),
    ) -> _Lived:
        """Live; keep what is left at some numbers of rows: to copy the world at each is most of the work."""
        own = world.copy()
        left: dict[int, _Left] = {}
        begun: dict[int, _Left] = {}

        def watch(before: int, after: int, where: Callable[[], str | None]) -> None:
            if cuts := [cut for cut in range(before, after) if cut in keep]:
                now = begun[after] = _Left(own.copy(), where(), before)
                left.update(dict.fromkeys(cuts, now))

        life = live(self._workflow, prefix, plan, instead=own.fakes, mail=mail, watch=watch)
        self._tried.lives += 1
        begins = [cut for cut in begun if cut in left and isinstance(life.events[cut - 1], StepBegan)]
        return _Lived(life, own, plan, left, {cut: begun[cut] for cut in begins})

    # -- the laws --------------------------------------------------------------------------------

    def _judge(
        self, lived: _Lived, misfortune: str, struck: str | None, moment: Moment | None = None
    ) -> Finding | None:
        broken = next(self._broken(lived, struck), None)
        if broken is None:
            return None
        where = broken.where or defined_at(self._workflow.fn)
        return Finding(broken.law, misfortune, broken.text, lived.life, where, moment)

    def _broken(self, lived: _Lived, struck: str | None) -> Iterator[Problem]:
        """Yield what is wrong: first of all what the code does by itself, and where; then what a misfortune does."""
        yield from of_code(lived.life)
        if problem := self._replayed(lived):
            yield problem if problem.where else problem._replace(where=struck)
        yield from of_invariant(lived.world.invariant, lived.life, struck)

    def _replayed(self, lived: _Lived) -> Problem | None:
        """Return what is wrong with the replay of a life's log."""
        rows = lived.life.rows
        said = sha256()
        for event, row in zip(lived.life.events, rows, strict=True):
            if not is_bookkeeping(event):
                said.update(encode_event(essence(event)) + (row.value or b""))
        key = said.digest()
        if key not in self._replays:
            again = self._live(rows[:-1], lived.world, replace(self._plan, seed=0)).life
            self._replays[key] = _difference(lived.life, again)
            self._tried.replays.add(key)
        return self._replays[key]


def _difference(life: Life, again: Life) -> Problem | None:
    rows = life.rows
    if _end(again) != _end(life) and again.outcome != life.outcome:
        text = f"It {say(life.outcome)}; replayed it {say(again.outcome)}"
    elif more := [event for event in again.events[len(rows) - 1 : -1] if not is_bookkeeping(event)]:
        text = f"Replayed, it did more than it had done: {more}"
    else:
        return None
    return Problem(Law.REPLAYS, text, again.where)


def _end(life: Life) -> tuple[Event, bytes | None]:
    return essence(life.events[-1]), life.rows[-1].value


def _moves(lived: _Lived) -> int:
    return sum(map(is_move, lived.life.events))


def _waits(life: Life, after: int) -> bool:
    """Whether time passes between a move and the next one."""
    at = [life.rows[0].at, *(row.at for row, event in zip(life.rows, life.events, strict=True) if is_move(event))]
    return at[after] < at[after + 1]


def _asked(life: Life, after: int) -> int:
    """Return how many rows were durable when so many moves were."""
    made = accumulate(map(is_move, life.events))
    return next(row for row, moves in enumerate(made, 1) if moves >= after)


def _arrived(life: Life) -> int:
    """Return the seq of the cancellation from outside; where it came too late, of what would have followed the end."""
    events = [*life.events, ScopeCancelled(by=Cause.EXTERNAL)]
    return next(
        row for row, event in enumerate(events, 1) if isinstance(event, ScopeCancelled) and event.by is Cause.EXTERNAL
    )


def spread(moments: Sequence[int]) -> Sequence[int]:
    """Put moments into an order of which each beginning is spread over all of them."""
    bits = max(1, (len(moments) - 1).bit_length())
    return [moments[place] for place in sorted(range(len(moments)), key=lambda place: f"{place:0{bits}b}"[::-1])]
