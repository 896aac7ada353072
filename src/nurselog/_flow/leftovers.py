"""What code has open in its task: cancel scopes, and nurseries, above all those that it leaves open when it returns.

Trio finds out when the task ends, and makes it an error of the nursery around the task. That is the engine's: one step
that forgets to close an `AsyncExitStack` would end the engine, and again at each start. So it is looked at where the
code has returned, and closed there. Trio does not say in public which scopes a task is in, nor how to leave a nursery
without the object that has opened it; the names below have been Trio's for years, and `nox -s trio` runs the tests on
each version that is admitted.
"""

from __future__ import annotations

import trio
from trio.lowlevel import Task, current_task


def open_scopes() -> object:
    """Return what stands for the cancel scopes and nurseries that the running task has open: the same, as many."""
    return current_task()._cancel_status


def is_innermost(scope: trio.CancelScope) -> bool:
    """Whether the running task is in no other cancel scope inside of this one, which is open."""
    return current_task()._cancel_status is scope._cancel_status


def leaves_nothing(scope: trio.CancelScope) -> bool:
    """Whether it has no nursery open there either: whoever leaves blocks in the wrong order may have just that."""
    return is_innermost(scope) and not current_task().child_nurseries


async def close_nurseries(task: Task) -> None:
    """Cancel the nurseries that the running task has left open, and wait for what is in them; their errors get lost."""
    for nursery in reversed(task.child_nurseries):
        nursery.cancel_scope.cancel()
        await nursery._nested_child_finished(None)
