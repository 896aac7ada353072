"""The tasks that run step bodies: started when needed, and used again.

A body wants a task of its own, outside the workflow, and starting one costs as much as all the rest of a short step.
So a task whose body has returned cleanly waits for the next one. What a body may leave behind in its task, such as a
cancel scope that was entered and never left, shows when the body's own scope is closed around it, as an error; a task
whose body ended in any other way than by returning is therefore not used again.

Each body has its own context variables, those of the strand that called it: the task steps the body inside that
context, instead of being started in it.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any

import outcome
import trio
from trio.lowlevel import Abort, Task, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from .._flow.body import Body


class Bench:
    """Runs bodies, each in a task that runs nothing else meanwhile."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery
        self._idle: list[Task] = []
        self._stopped = False

    def start(self, body: Body) -> None:
        """Run a body; not a checkpoint."""
        if self._idle:
            reschedule(self._idle.pop(), outcome.Value(body))
        else:
            self.nursery.start_soon(self._work, body, name="nurselog steps")

    def stop(self) -> None:
        """Let every task end that has nothing to do, now or later."""
        self._stopped = True
        while self._idle:
            reschedule(self._idle.pop(), outcome.Value(None))

    async def _work(self, body: Body | None) -> None:
        while body is not None:
            await _in_context(body.call.context, body.run())
            if self._stopped or not body.clean:
                return
            del body  # what a step was given must not live until the next one comes
            self._idle.append(current_task())
            body = await wait_task_rescheduled(lambda _: Abort.FAILED)


@types.coroutine
@enable_ki_protection
def _in_context(context: Context, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Step a coroutine inside a context."""
    value: Any = None
    while True:
        try:
            trap = context.run(coroutine.send, value)
        except StopIteration:
            return
        value = yield trap
