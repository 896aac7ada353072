"""What a life's store is told and tells: the log that it begins with, each commit, where the code stands meanwhile.

A misfortune strikes at an event, and a reader wants to know at which line. The line is where the workflow's strands
stand when the event is about to be committed: whoever called the operation waits there. A cancellation and a suspension
come between events. Trio tells of them in the same moment, by scheduling a task, and the strands have not moved yet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import trio
from trio.testing import MockClock

from .. import Engine
from .._engine.run import Run
from .._flow import trouble
from .._flow.scope import CancelScope
from .._flow.sequencer import Sequencer
from ..abc import Batch, Claim, Receipt, Store, Wanted, WorkflowKey
from ..lowlevel import Cause, Row, decode_event
from .clock import Hold
from .keeper import Keeper, Mail, is_move

MOST = 15_000
"""How often tasks may be woken while no time passes and nothing happens: twice that is taken to be a circle."""

LET_GO = 10.0
"""Virtual seconds after which an engine waits no longer for code that will not go: more than its grace."""

OnCommit = Callable[[int, int, Callable[[], str | None]], None]
"""Called before each commit: the number of rows before and after it, and who can tell where the code stands."""


class HeldStore:
    """A store that holds virtual time while it works: it may do that in a thread, or on another machine."""

    def __init__(self, inner: Store, hold: Hold) -> None:
        self._inner, self._hold = inner, hold

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name == "database":  # a log can be cut anywhere, and what transactions have written cannot: fakes can
            raise AttributeError(name)
        call = getattr(self._inner, name)

        async def held(*args: Any, **kwargs: Any) -> Any:
            with self._hold():
                return await call(*args, **kwargs)

        return held


class Recorder(Keeper, trio.abc.Instrument):
    """A `Store` that begins with a log, and keeps it.

    Args:
        inner: an empty store.
        rows: the log.
        mail: what had been left for the workflow by then.
        id: the workflow's.
        watch: told of each commit.
        cancelled: whether the workflow is to find that somebody has cancelled it.
        follow: whether nothing is to be written that moves the workflow.
    """

    def __init__(
        self,
        inner: Store,
        rows: Sequence[Row],
        mail: Sequence[Mail],
        watch: OnCommit,
        *,
        id: str,
        cancelled: bool,
        follow: bool,
    ) -> None:
        super().__init__(inner, rows, mail, id=id, cancelled=cancelled)
        self._watch, self._follow = watch, follow
        self._runs: Mapping[WorkflowKey, Run] = {}
        self._begun = trio.Event()
        self._path = decode_event(rows[-1].event).path
        """Of the last event."""
        self._over = False
        self._woken = 0
        self._instant = -1.0
        self._most = MOST + 100 * len(rows)  # a replay makes no events
        self.patience: trio.CancelScope = trio.CancelScope()
        """Around whoever waits for the workflow's end; cancelled if its code goes in a circle."""
        self.ahead: tuple[Row, ...] = ()
        """What would have been written next, where the log is only followed."""
        self.followed: trio.Event = trio.Event()
        """Set when the log has been followed, and there would be another row."""
        self.stood: str | None = None
        """File and line where the code stood last."""
        self.cancelled_at: str | None = None
        """File and line where it stood when it was cancelled from outside."""
        self._cancelled_scope = ""
        self.note_scopes: bool = False
        """Whether anybody wants to know about scopes."""
        self.scopes: dict[int, Sequence[str]] = {}
        """Which scopes inside of it were open after how many moves, by their paths."""

    def begin(self, engine: Engine) -> None:
        """Let the engine have the workflow."""
        self._runs = engine._runner.runs
        self._begun.set()

    # -- the store -------------------------------------------------------------------------------

    async def claim(self, wanted: Wanted) -> Sequence[Claim]:
        """Let the workflow be taken over, as soon as this knows by which engine."""
        await self._begun.wait()
        return await super().claim(wanted)

    async def commit(self, batch: Batch) -> Receipt:
        """Tell of what is committed."""
        rows = [row for append in batch.appends for row in append.rows]
        events = [decode_event(row.event) for row in rows]
        if self._follow and any(map(is_move, events)):
            self._look(events[0].path)
            self.ahead = tuple(row for row, event in zip(rows, events, strict=True) if is_move(event))
            self.followed.set()
            await trio.sleep_forever()
        if events:
            if self.note_scopes:
                self.scopes[self.moves] = sorted({scope.path for scope in self._open_scopes() if scope.path})
            self._watch(self.length, self.length + len(rows), partial(self._look, events[0].path))
            self._path = events[-1].path
        receipt = await super().commit(batch)
        if any(map(is_move, events)) and not self.cancelled_at:
            self._woken = 0  # afterwards it may do and be refused the same thing again and again
        return receipt

    def cancel(self, path: str) -> None:
        """Cancel a scope from outside, unless the workflow has ended."""
        self._cancelled_scope = path
        for run in self._runs.values():
            run.sequencer.cancel(None, path)

    # -- where the code stands -------------------------------------------------------------------

    def _look(self, path: str) -> str | None:
        """Return where the strand stands that has most to do with a path, or, where nobody stands any more, stood."""
        for run in self._runs.values():
            self.stood = trouble.standing(run.sequencer, path) or self.stood
        return self.stood

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - when matters, and not what
        """See whether the workflow has been cancelled, or suspended, just now, or goes in a circle."""
        self._woken += 1
        if self._woken > self._most:
            self._give_up()
        for run in self._runs.values():
            sequencer = run.sequencer
            if not self.cancelled_at and self._is_cancelled(sequencer):
                self.cancelled_at = self._look(self._path)
            if sequencer.suspending and not self._over:
                self._over = True
                self.stood = getattr(sequencer.problem, "where", None) or self._look(self._path)

    def _open_scopes(self) -> Iterator[CancelScope]:
        for run in self._runs.values():
            if has_scopes(run.sequencer):
                yield from run.sequencer.scopes()

    def _is_cancelled(self, sequencer: Sequencer) -> bool:
        """Whether the cancellation from outside has arrived."""
        scope = sequencer.open_scope(self._cancelled_scope) if has_scopes(sequencer) else None
        return scope is not None and scope.cause is Cause.EXTERNAL

    def _give_up(self) -> None:
        """See whether time stands still; then nobody waits any longer, neither for the end nor for code to let go."""
        clock = cast("MockClock", trio.lowlevel.current_clock())
        stands = clock.current_time() == self._instant
        self._instant, self._woken = clock.current_time(), 0
        if stands:
            self.patience.cancel()
        if self._over:
            clock.jump(LET_GO)


def has_scopes(sequencer: Sequencer) -> bool:
    """Whether any may be open: there are none before the workflow begins, and when it is over."""
    return hasattr(sequencer, "root")
