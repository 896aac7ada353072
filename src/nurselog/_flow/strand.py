"""A strand: one Trio task that runs workflow code, and moves only on its turn.

The problem: Trio's scheduler shuffles runnable tasks on purpose, and wakes them for reasons of its own. Recording its
every choice would need a row for each lock and each list that workflow code touches. Forbidding such code (what
other engines do: a special event loop, special locks) throws away the very libraries that one wants to use.

What does not work: ordering the wake-ups themselves (`reschedule`), since whoever owns a lock or a channel wakes tasks
without asking anybody; and a scheduler of our own that steps coroutines, since Trio's cancel scopes, nurseries and
current_task() belong to tasks.

The choice: let Trio schedule as it likes, and put a gate into the task itself. The coroutine of each strand is driven
by the generator below. Whatever wakes the task, the generator wakes first, and hands the wake-up on to the coroutine
only when the strand has the turn; if it has not, it parks the task once more, and the sequencer lets it go on, in an
order that depends on nothing but the workflow. What Trio sent (a value, a `Cancelled`) waits in the generator.

When the workflow is suspended the same gate turns every wait into `Suspended`. The wait's own abort function is asked
first, as Trio's cancellation does: a nursery that waits for its children says no, and really must wait for them.
"""

from __future__ import annotations

import contextvars
import logging
import sys
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import outcome
from trio.lowlevel import Abort, Task, cancel_shielded_checkpoint, current_task, enable_ki_protection, reschedule

from .._errors import Suspended, UsageError
from .._log.identity import TASK, Path, format_path
from .groups import find_fatal
from .leftovers import close_nurseries
from .where import chain, parked

if TYPE_CHECKING:
    from .body import Body
    from .scope import CancelScope
    from .sequencer import Sequencer

logger = logging.getLogger("nurselog")

place: contextvars.ContextVar[Strand | Body | None] = contextvars.ContextVar("nurselog_place", default=None)
"""Where the running code is: in a strand, in a step's body, or (None) outside of any workflow."""

LONG_TURN = 0.5
"""Seconds that code may compute without a pause before it is warned about: nothing else in the process can move."""

abandoned: list[object] = []
"""Coroutines that refused to be closed; kept so that the garbage collector does not try again."""


class Operation(msgspec.Struct, frozen=True, gc=False):
    """The identity of one durable operation: its path, for ordering and for the log."""

    path: Path
    text: str


def raise_suspended() -> NoReturn:
    """What `raise_cancel` is to a cancellation, for a suspension."""
    raise Suspended


class Strand:
    """One task of workflow code: its place in the tree, its own operation counters, and its gate."""

    __slots__ = (
        "children",
        "closing",
        "coroutine",
        "count",
        "done",
        "outside",
        "path",
        "queued",
        "scheduled",
        "scope",
        "sequencer",
        "task",
        "text",
        "trap",
    )

    def __init__(self, sequencer: Sequencer, path: Path, scope: CancelScope | None) -> None:
        self.sequencer: Sequencer = sequencer
        self.path: Path = path
        self.text: str = format_path(path)
        self.scope: CancelScope | None = scope
        """The innermost durable scope around the code that runs."""
        self.task: Task
        self.count: int = 0
        self.children: int = 0
        self.scheduled: int = 0
        """How often Trio has scheduled the task without having run it: 0 means parked."""
        self.queued: bool = False
        """Whether its wait is over, and only the turn is missing."""
        self.trap: Any = None
        """What the task waits in, as it was handed to Trio."""
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.outside: BaseException | None = sys.exception()
        """What is being handled around all this: the host may run Trio in an `except` block."""
        self.done: bool = False
        self.closing: bool = False

    def operation(self) -> Operation:
        """Take the identity of the next durable operation."""
        self.count += 1
        count = self.count
        return Operation((*self.path, count), f"{self.text}.{count}" if self.path else str(count))

    def plain_child(self) -> Path:
        """Take the path of the next plain task: counted apart, so that it shifts no durable operation."""
        self.children += 1
        return (*self.path, TASK + self.children)

    # -- the gate --------------------------------------------------------------------------------

    def adopt(self, task: Task) -> None:
        """Make a task that has not started yet this strand.

        The one thing beyond Trio's documented extension points: `Task.coro` is replaced before the first step.
        """
        self.task = task
        task.coro = self._run(task.coro)  # type: ignore[assignment]  # any coroutine will do
        task.context.run(place.set, self)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Run a coroutine as this strand in the current task."""
        self.task = current_task()
        place.set(self)
        return self._run(coroutine)

    async def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            try:
                result = await self._drive(coroutine)
            except BaseException:
                await self._close_nurseries()
                raise
            if await self._close_nurseries():
                raise UsageError(  # noqa: TRY301 - as if the coroutine had raised it
                    f"task {self.task.name} (path {self.text}) has returned with a nursery left open; one in an async "
                    "generator is left open by whoever leaves that half-way: use contextlib.aclosing()"
                )
        except BaseException as exc:
            if fatal := find_fatal(exc):
                self.sequencer.crash(fatal)
            raise
        else:
            return result
        finally:
            self.done = True
            self.trap = None  # it may lead back here, and so does the context: circles are the collector's work
            place.set(None)

    async def _close_nurseries(self) -> bool:
        """Close what the code has left open, on its turn; return whether there was any.

        Those of the workflow's own task are closed when it is over.
        """
        left_open = bool(self.path and self.task.child_nurseries)
        if left_open:
            await self._drive(close_nurseries(self.task))
        return left_open

    @enable_ki_protection  # outermost: the other makes a new code object, and Trio knows protected code by that
    @types.coroutine
    def _drive(self, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Step the coroutine whenever Trio steps the task and the strand has the turn."""
        self.coroutine = coroutine
        sequencer = self.sequencer
        value: Any = None
        while True:
            if sequencer.turn is not self and not sequencer.suspending and not sequencer.take_turn(self):
                self.queued = True
                yield from sequencer.queue(self).__await__()
                self.queued = False
            if sequencer.suspending:
                return (yield from self._unwind(coroutine, value))
            hooks = sys.get_asyncgen_hooks()
            sys.set_asyncgen_hooks(sequencer.generators.add, None)
            began = perf_counter()
            try:
                self.trap = coroutine.send(value)
            except StopIteration as stop:
                return stop.value
            finally:
                sys.set_asyncgen_hooks(*hooks)
                sequencer.turn = value = None  # what was sent may be an error, whose traceback leads here
                sequencer.turns += 1
                if (seconds := perf_counter() - began) > LONG_TURN:
                    self._warn_of_turn(seconds)
            value = yield self.trap

    def _warn_of_turn(self, seconds: float) -> None:
        self.sequencer.host.held_up(self.text, seconds)
        logger.warning(
            "workflow %r, path %s held up its whole process for %.1f s before %s: move what computes that long into a "
            "sync step, which has a thread", self.sequencer.id, self.text or "root", seconds,
            parked(self.coroutine) or "its end"
        )  # fmt: skip

    def _unwind(self, coroutine: Coroutine[Any, Any, Any], value: Any) -> Generator[Any, Any, Any]:
        """Step the coroutine to its end; every wait raises Suspended, except one that is over already.

        A nursery's wait for its children must not be left by an exception: it has refused to be aborted.
        """
        if isinstance(value, outcome.Error):
            value = outcome.Error(Suspended())
        while True:
            try:
                self.trap = coroutine.send(value)
            except StopIteration:
                break
            if abort(self.trap) is Abort.FAILED:
                value = yield self.trap
            elif self.closing:
                break
            else:  # give Trio a chance, lest code that swallows Suspended in a loop hang the process
                yield from cancel_shielded_checkpoint().__await__()  # noqa: ASYNC105 - a generator cannot await
                value = outcome.Error(Suspended())
        self._close(coroutine)
        raise Suspended

    def _close(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        if not close(coroutine):
            logger.error(
                "workflow %r, path %s: the code swallows every exception at its waits and was left behind; let "
                "BaseException pass", self.sequencer.id, self.text or "root"
            )  # fmt: skip

    def interrupt(self) -> None:
        """Raise Suspended at the current wait, shielded or not, unless the task is about to run anyway."""
        if self.scheduled:
            return
        if self.queued:
            reschedule(self.task)
        elif abort(self.trap) is Abort.SUCCEEDED:
            reschedule(self.task, outcome.Error(Suspended()))


def close(coroutine: Coroutine[Any, Any, Any]) -> bool:
    """Close a coroutine; False if anything inside it refuses.

    What counts is what is left: whoever awaits the one that refuses gets a RuntimeError, and may swallow it.
    """
    inside = list(chain(coroutine))
    with suppress(Exception):
        coroutine.close()
    left = [one for one, kind in inside if getattr(one, f"{kind}_frame") is not None]
    abandoned.extend(left)
    return not left


def abort(trap: Any) -> Abort:
    """Ask a wait's own abort function whether it may be left."""
    abort_func = getattr(trap, "abort_func", None)
    if abort_func is None:
        return Abort.SUCCEEDED
    verdict: Abort = abort_func(raise_suspended)
    return verdict
