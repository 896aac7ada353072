"""The tasks that run step bodies: started when needed, and used again.

A body wants a task of its own, outside the workflow, and starting one costs as much as all the rest of a short step.
So a task whose body has returned cleanly waits for the next one. What a body may leave behind in its task, such as a
cancel scope that was entered and never left, shows when the body's own scope is closed around it, as an error; a task
whose body ended in any other way than by returning is therefore not used again.

Each body has its own context variables, those of the strand that called it: the task steps the body inside that
context, instead of being started in it. Since it is stepped here, a body that will not go when the engine closes (it
shields its wait, or swallows every exception) can be closed at its wait; only one that has tasks of its own cannot.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Coroutine, Generator
from typing import Any

import outcome
import trio
from trio.lowlevel import Abort, Task, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from .._flow.body import Body
from .._flow.leftovers import close_nurseries, is_innermost
from .._flow.strand import abort, close

logger = logging.getLogger("nurselog")


MOMENT = 1.0
"""Seconds from one look at the running steps to the next: what both have seen is noted as begun."""


class Bench:
    """Runs bodies, each in a task that runs nothing else meanwhile."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery
        self._idle: list[Task] = []
        self._surplus = 0
        """The fewest idle tasks there were since the last look: so many were not needed."""
        self._busy: dict[Task, _Stepper] = {}
        self._some = trio.Event()
        """Set when there are bodies to look at."""
        self._stopped = False
        self._ended = trio.Event()

    def start(self, body: Body) -> None:
        """Run a body; not a checkpoint."""
        if self._idle:
            reschedule(self._idle.pop(), outcome.Value(body))
            self._surplus = min(self._surplus, len(self._idle))
        else:
            self.nursery.start_soon(self._work, body, name="nurselog steps")

    async def note_beginnings(self) -> None:
        """Have the steps that last noted as begun, for ever. Most end before anybody need know that they had begun."""
        while True:
            await self._some.wait()
            await trio.sleep(MOMENT)
            self._some = trio.Event()
            if self._look():
                self._some.set()

    def _look(self) -> bool:
        return any([stepper.body.look() for stepper in self._busy.values()])  # noqa: C419 - at all of them

    def trim(self) -> None:
        """Let tasks end that have not been needed since this was called before: a burst leaves many behind."""
        self._dismiss(self._surplus)
        self._surplus = len(self._idle)

    def stop(self) -> None:
        """Let every task end that has nothing to do, now or later."""
        self._stopped = True
        self._dismiss(len(self._idle))

    def _dismiss(self, count: int) -> None:
        for _ in range(count):
            reschedule(self._idle.pop(), outcome.Value(None))

    async def ended(self) -> None:
        """Wait until no body runs any more, after `stop`. A checkpoint."""
        if self._busy:
            await self._ended.wait()
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """Close the bodies that would not go. A checkpoint."""
        if not self._busy:
            return
        for task, stepper in self._busy.items():
            stepper.closing = not task.child_nurseries
            call = stepper.body.call
            logger.error(
                "workflow %r: step %r (path %s) does not end although it was cancelled, and %s",
                call.sequencer.id, call.step.name, call.path,
                "is closed at its wait" if stepper.closing else "keeps the engine from closing by tasks of its own",
            )  # fmt: skip
        watch = _Scheduled()
        trio.lowlevel.add_instrument(watch)
        try:
            for _ in range(2):  # then whatever had been scheduled before has had its step, and has been closed
                await trio.lowlevel.checkpoint()
            for task, stepper in list(self._busy.items()):
                if stepper.closing and task not in watch.tasks:
                    stepper.interrupt(task)
        finally:
            trio.lowlevel.remove_instrument(watch)

    async def _work(self, body: Body | None) -> None:
        task = current_task()
        tidy = True
        try:
            with trio.CancelScope() as scope:
                while body is not None:
                    self._busy[task] = stepper = _Stepper(body)
                    self._some.set()
                    await stepper.run(scope)
                    if not body.clean:
                        tidy = is_innermost(scope)
                        await close_nurseries(task)
                    del self._busy[task]
                    if self._stopped or not body.clean:
                        break
                    del body, stepper  # what a step was given must not live until the next one comes
                    self._idle.append(task)
                    body = await wait_task_rescheduled(lambda _: Abort.FAILED)
        except RuntimeError:
            if tidy:  # pragma: no cover - that would be a defect here
                raise  # else it is Trio's, about what was left open: the step has been told
        finally:
            self._busy.pop(task, None)
            if self._stopped and not self._busy:
                self._ended.set()


class _Stepper:
    """Steps one body inside its own context."""

    __slots__ = ("_trap", "body", "closing")

    def __init__(self, body: Body) -> None:
        self.body: Body = body
        self._trap: Any = None
        self.closing = False
        """Whether it is closed at its next step."""

    @enable_ki_protection  # outermost: the other makes a new code object
    @types.coroutine
    def run(self, scope: trio.CancelScope) -> Generator[Any, Any, None]:
        """Run the body to its end, or until it is closed."""
        coroutine: Coroutine[Any, Any, None] = self.body.run(scope)
        context = self.body.call.context
        value: Any = None
        while not self.closing:
            try:
                self._trap = context.run(coroutine.send, value)
            except StopIteration:
                return
            finally:
                value = None  # it may be an error, whose traceback leads here: circles are the collector's work
            value = yield self._trap
        close(coroutine)

    def interrupt(self, task: Task) -> None:
        """Wake the task from its wait, if that can be left."""
        if abort(self._trap) is Abort.SUCCEEDED:
            reschedule(task)


class _Scheduled(trio.abc.Instrument):
    """Which tasks are about to run."""

    def __init__(self) -> None:
        self.tasks: set[Task] = set()

    def task_scheduled(self, task: Task) -> None:
        """Trio will step it."""
        self.tasks.add(task)

    def before_task_step(self, task: Task) -> None:
        """Trio steps it."""
        self.tasks.discard(task)
